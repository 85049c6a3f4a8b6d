//! The one record that is being staged: commands to the shards, their outcomes, a second round for refused rows, and
//! then the append or the abandonment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::batch::BatchPart;
use super::publish::InFlight;
use super::{Coordinator, apply, errors_table};
use crate::coverage::{CoverageMark, reached};
use crate::error::Error;
use crate::event::Event;
use crate::extract::DeadLetter;
use crate::ids::*;
use crate::message::{Counts, Effect, Rejected, ShardCommand, Work};
use crate::record::{Body, Commit, CursorAdvance, RecordKind, Tally};
use crate::schema::{CatalogChange, ERRORS_TABLE, PipelineState};

/// The origin of a record.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    /// A client's rows, perhaps under a table lock. Any refused row abandons the record.
    Write { id: RequestId, table_lock: Option<TableLockId> },
    /// A client's definition.
    Define { id: RequestId },
    /// Batches of pipelines. Refused rows become dead letters.
    Batch(Vec<BatchPart>),
    /// The kernel's own: first cursors, a failed pipeline.
    Own,
}

/// A record before it is appended.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    kind: RecordKind,
    origin: Origin,
    commit: Commit,
    /// By shard: the outcomes of its stages.
    outcomes: Vec<Vec<Bytes>>,
    /// Shards that have not answered yet.
    waiting: BTreeSet<ShardId>,
    touched: BTreeSet<ShardId>,
    counts: Counts,
    rejected: Vec<Rejected>,
    ignored: BTreeMap<(TableId, SplitId), Vec<i64>>,
    /// The second round, which adds refused rows to the errors table, has begun.
    second_round: bool,
}

impl Staging {
    /// Ranges of sources that the record consumes.
    pub(super) fn advances(&self) -> &[CursorAdvance] {
        &self.commit.cursors
    }
}

#[cfg(feature = "explore")]
impl Staging {
    /// See [`crate::fingerprint`]. The content of the outcomes is in the shards' staged state.
    pub(super) fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let Staging {
            kind,
            origin,
            commit,
            outcomes,
            waiting,
            touched,
            counts,
            rejected,
            ignored,
            second_round,
        } = self;
        to.word(*kind as u64);
        match origin {
            Origin::Write { id: _, table_lock } => to.word(1 + u64::from(table_lock.is_some())),
            Origin::Define { id: _ } => to.word(3u64),
            Origin::Batch(parts) => {
                to.word(4u64);
                for BatchPart { pipeline, table, epoch, source_bytes, originals: _, rejected } in parts {
                    to.word(table.0);
                    to.epoch(*pipeline, *epoch);
                    to.word(*source_bytes);
                    to.count(rejected.values().map(BTreeSet::len).sum());
                }
            }
            Origin::Own => to.word(5u64),
        }
        to.commit(commit);
        outcomes.iter().for_each(|outcomes| to.count(outcomes.iter().map(Bytes::len).sum()));
        for shards in [waiting, touched] {
            to.count(shards.len());
            shards.iter().for_each(|shard| to.word(shard.0));
        }
        let Counts { inserted, updated, deleted, ignored: dropped } = counts;
        [inserted, updated, deleted, dropped].iter().for_each(|count| to.word(**count));
        to.count(rejected.len());
        to.count(ignored.values().map(Vec::len).sum());
        to.word(*second_round);
    }
}

/// Work of each shard that has any.
pub(super) type WorkByShard = BTreeMap<ShardId, Vec<Work>>;

impl Coordinator {
    /// Begins a record. `commit` has definitions and cursors; the outcomes come from the shards.
    pub(super) fn stage(&mut self, kind: RecordKind, origin: Origin, commit: Commit, work: WorkByShard) {
        assert!(self.staging.is_none(), "one record is staged at a time");
        assert!(!self.read_only, "no record is started below the reserve");
        let mut staging = Staging {
            kind,
            origin,
            commit,
            outcomes: vec![vec![]; self.shard_count as usize],
            waiting: BTreeSet::new(),
            touched: BTreeSet::new(),
            counts: Counts::default(),
            rejected: vec![],
            ignored: BTreeMap::new(),
            second_round: false,
        };
        self.send_work(&mut staging, work);
        self.staging = Some(staging);
        self.finish_staging_if_complete();
    }

    fn send_work(&mut self, staging: &mut Staging, work: WorkByShard) {
        let sequence = self.next_sequence;
        for (shard, work) in work {
            assert!((0..self.shard_count).contains(&shard.0), "the shard exists in this database");
            assert!(!work.is_empty(), "a command has work");
            staging.waiting.insert(shard);
            staging.touched.insert(shard);
            self.effects.push_back(Effect::Shard { shard, command: ShardCommand::Stage { sequence, work } });
        }
    }

    pub(super) fn staged(
        &mut self,
        shard: ShardId,
        sequence: Sequence,
        outcome: Bytes,
        counts: Counts,
        ignored: BTreeMap<(TableId, SplitId), Vec<i64>>,
        rejected: Vec<Rejected>,
    ) {
        assert_eq!(sequence, self.next_sequence, "the reply is for the record that is being staged");
        let staging = self.staging.as_mut().expect("a shard stages only on command");
        assert!(staging.waiting.remove(&shard), "one reply per command");
        if !outcome.is_empty() {
            staging.outcomes[shard.0 as usize].push(outcome);
        }
        staging.counts.add(counts);
        for (origin, mut offsets) in ignored {
            staging.ignored.entry(origin).or_default().append(&mut offsets);
        }
        staging.rejected.extend(rejected);
        self.finish_staging_if_complete();
    }

    fn finish_staging_if_complete(&mut self) {
        let Some(mut staging) = self.staging.take_if(|s| s.waiting.is_empty()) else { return };
        if !staging.rejected.is_empty() {
            match &staging.origin {
                Origin::Write { .. } => return self.abandon_write(staging),
                Origin::Batch(_) => return self.dead_letter_rejected(staging),
                _ => unreachable!("definitions are never refused"),
            }
        }
        self.settle_batch(&mut staging);
        self.append_staged(staging);
    }

    /// Fails a client's statement as a whole: its shards drop the staged rows, and the client gets the error.
    fn abandon_write(&mut self, staging: Staging) {
        let Origin::Write { id, table_lock } = staging.origin else {
            unreachable!("only writes are abandoned")
        };
        reached(CoverageMark::WriteAbandoned);
        let from = self.next_sequence;
        for shard in staging.touched {
            self.effects.push_back(Effect::Shard { shard, command: ShardCommand::Abandon { from } });
        }
        self.drop_table_lock(table_lock);
        let error = staging.rejected.into_iter().next().expect("a failed statement has a refused row").error;
        self.effects.push_back(Effect::Reply { id, result: Err(error) });
    }

    /// Adds the refused rows of pipelines to the errors table, in the same record: a second round of staging.
    fn dead_letter_rejected(&mut self, mut staging: Staging) {
        let Origin::Batch(parts) = &mut staging.origin else {
            unreachable!("only batches have dead letters")
        };
        assert!(!staging.second_round, "rows of the errors table are never refused");
        reached(CoverageMark::SecondRound);
        let rejected = std::mem::take(&mut staging.rejected);
        let mut rows = Vec::with_capacity(rejected.len());
        let mut rows_of_message: BTreeMap<_, usize> = BTreeMap::new();
        for row in &rejected {
            *rows_of_message.entry((row.table, row.origin)).or_default() += 1;
        }
        for row in rejected {
            let part = parts
                .iter_mut()
                .find(|p| p.table == row.table)
                .expect("a refused row is of a pipeline of this batch");
            let mut dead_letter = row.dead_letter().expect("rows of a batch have an origin");
            // One dead letter per message: several or all of its rows may be refused.
            if rows_of_message[&(row.table, row.origin)] == 1 {
                let original = part.original(dead_letter.split, dead_letter.ordinal);
                dead_letter.payload = original.or(dead_letter.payload);
            }
            part.rejected.entry(dead_letter.split).or_default().insert(dead_letter.ordinal);
            rows.push((part.pipeline, dead_letter));
        }
        staging.second_round = true;
        let work = self.errors_work(staging.commit.at_us, &rows);
        self.send_work(&mut staging, work);
        self.staging = Some(staging);
    }

    /// Completes the tallies of a batch's cursors, and stops pipelines that exceeded their error limit.
    fn settle_batch(&mut self, staging: &mut Staging) {
        let Origin::Batch(parts) = &staging.origin else { return };
        for advance in &mut staging.commit.cursors {
            let part = parts.iter().find(|p| p.pipeline == advance.pipeline).expect("a cursor of this batch");
            let rejected = part.rejected.get(&advance.split);
            let ignored = staging.ignored.remove(&(part.table, advance.split)).unwrap_or_default();
            dispose(&mut advance.tally, rejected.unwrap_or(&BTreeSet::new()), ignored);
        }
        let mut failed = vec![];
        for part in parts {
            let advances = staging.commit.cursors.iter().filter(|a| a.pipeline == part.pipeline);
            let dead_letters: u64 = advances.map(|a| a.tally.dead_letters).sum();
            let pipeline = &self.tip.pipelines[&part.pipeline];
            let before = self.tip.cursors[&part.pipeline].dead_letters;
            // If the limit was lowered below the count, the next dead letter stops the pipeline.
            if let Some(limit) = pipeline.error_limit
                && dead_letters > 0
                && before + dead_letters > limit
            {
                let error = errors_table::limit_reached(pipeline, before + dead_letters, limit);
                failed.push((part.pipeline, error));
            }
        }
        for (id, error) in failed {
            reached(CoverageMark::ErrorLimitReached);
            let change = self.fail_source(id, &error);
            staging.commit.catalog.push(change);
        }
    }

    fn append_staged(&mut self, staging: Staging) {
        let Staging { kind, origin, mut commit, outcomes, touched, counts, .. } = staging;
        commit.outcomes = outcomes;
        apply::apply(Arc::make_mut(&mut self.tip), &commit)
            .expect("a record of the kernel agrees with the catalog");
        let (reply, credits) = match origin {
            Origin::Write { id, table_lock } => {
                self.drop_table_lock(table_lock);
                (Some((id, counts)), vec![])
            }
            // Rows that a definition deleted are not counted.
            Origin::Define { id } => (Some((id, Counts::default())), vec![]),
            Origin::Batch(parts) => {
                (None, parts.into_iter().map(|p| (p.pipeline, p.epoch, p.source_bytes)).collect())
            }
            Origin::Own => (None, vec![]),
        };
        let record =
            InFlight { sequence: self.next_sequence, catalog: self.tip.clone(), touched, reply, credits };
        self.append(Body::Commit(kind, commit), record);
    }

    /// Work that adds dead letters to the errors table.
    pub(super) fn errors_work(&self, at_us: Micros, rows: &[(PipelineId, DeadLetter)]) -> WorkByShard {
        let mut work = WorkByShard::new();
        for part in errors_table::parts(rows, self.config.dead_letter_bytes_max) {
            for (shard, mut more) in self.route_errors(errors_table::rows(&self.tip, at_us, part)) {
                work.entry(shard).or_default().append(&mut more);
            }
        }
        work
    }

    /// Stages a record that stops a pipeline in state Failed, with a row in the errors table that gives the reason. For
    /// its turn see `sources::ActiveSource::failure`.
    pub(super) fn stage_failure(&mut self, id: PipelineId, error: &Error) {
        let change = self.fail_source(id, error);
        let work = self.route_errors(errors_table::source_error(&self.tip, self.now_us, id, error));
        let commit = Commit { at_us: self.now_us, catalog: vec![change], ..Commit::default() };
        self.stage(RecordKind::Catalog, Origin::Own, commit, work);
    }

    pub(super) fn route_errors(&self, rows: arrow_array::RecordBatch) -> WorkByShard {
        let table = &self.tip.tables[&ERRORS_TABLE];
        let by_shard = crate::route::route(table, &rows, self.shard_count).into_iter().enumerate();
        let by_shard = by_shard.filter_map(|(shard, rows)| Some((ShardId(shard as u16), rows?)));
        by_shard.map(|(shard, rows)| (shard, vec![Work::append(ERRORS_TABLE, rows)])).collect()
    }

    /// The definition of a pipeline in state Failed. Its source is closed.
    fn fail_source(&mut self, id: PipelineId, error: &Error) -> CatalogChange {
        self.close_source(id);
        let mut pipeline = (*self.tip.pipelines[&id]).clone();
        pipeline.state = PipelineState::Failed(error.clone());
        pipeline.epoch = self.new_epoch();
        pipeline.altered_at_us = self.now_us;
        let (name, error) = (pipeline.name.clone(), error.clone());
        self.effects.push_back(Effect::Event(Event::PipelineFailed { pipeline: id, name, error }));
        CatalogChange::PipelineSet(pipeline)
    }
}

/// Moves messages with refused or dropped rows from `applied` to their disposition. A message has one disposition,
/// however many rows and shards it has: refused before dropped before applied.
pub(super) fn dispose(tally: &mut Tally, rejected: &BTreeSet<i64>, mut ignored: Vec<i64>) {
    // The ordinals of each shard are nearly sorted, so a stable sort is fast.
    ignored.sort();
    ignored.dedup();
    ignored.retain(|offset| !rejected.contains(offset));
    if !ignored.is_empty() {
        reached(CoverageMark::RowsIgnored);
    }
    let (rejected, ignored) = (rejected.len() as u64, ignored.len() as u64);
    let applied = tally.applied.checked_sub(rejected + ignored);
    tally.applied = applied.expect("shards name only messages with rows");
    tally.dead_letters += rejected;
    tally.ignored += ignored;
}
