//! Closing micro-batches: which extracts become the next record, and the record's cursors and work.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;
use bytes::Bytes;

use super::staging::{Origin, WorkByShard};
use super::{Coordinator, OwnRecord};
use crate::coverage::{CoverageMark, reached};
use crate::defects::{self, Defect};
use crate::extract::{DeadLetter, Extract, Originals};
use crate::ids::*;
use crate::message::Work;
use crate::record::{Commit, CursorAdvance, RecordKind, Tally};
use crate::schema::{CatalogChange, CursorSet};

/// One pipeline's part of a batch.
#[derive(Clone, Debug)]
pub(super) struct BatchPart {
    pub pipeline: PipelineId,
    pub table: TableId,
    pub epoch: Epoch,
    /// Credit to be given back.
    pub source_bytes: u64,
    /// The messages themselves, by split, where the table may refuse rows.
    pub originals: Vec<(SplitId, Originals)>,
    /// Ordinals of messages of which shards refused a row, by split.
    pub rejected: BTreeMap<SplitId, BTreeSet<i64>>,
}

impl BatchPart {
    /// The message that a refused row is of.
    pub fn original(&self, split: SplitId, ordinal: i64) -> Option<Bytes> {
        let of_split = self.originals.iter().filter(|(of, _)| *of == split);
        of_split.into_iter().find_map(|(_, originals)| originals.at(ordinal))
    }
}

impl Coordinator {
    /// Starts the next batch, or a record of the kernel's own that must come before it. False if there is none.
    pub(super) fn start_batch(&mut self) -> bool {
        if self.read_only {
            return false;
        }
        if self.start_own_record() {
            return true;
        }
        let ready = self.ready_pipelines();
        // The log falls idle: what has arrived is the next batch. While it is busy, only a full batch joins the queue.
        let full =
            |id: &PipelineId| self.pipelines[id].verified_bytes() >= self.tip.pipelines[id].batch_bytes_max;
        if ready.is_empty() || !(self.in_flight.is_empty() || ready.iter().any(full)) {
            return false;
        }
        reached(if self.in_flight.is_empty() {
            CoverageMark::BatchAtIdle
        } else {
            CoverageMark::BatchWhenFull
        });
        if ready.len() > 1 {
            reached(CoverageMark::BatchOfSeveralPipelines);
        }
        let batches: Vec<(PipelineId, Vec<Extract>)> =
            ready.into_iter().map(|id| (id, self.take_extracts(id))).collect();
        self.stage_batch(batches);
        true
    }

    /// Cursors first seen, and errors of sources: each a record of its own, before any batch.
    fn start_own_record(&mut self) -> bool {
        let mut sources = self.pipelines.iter_mut();
        let Some((id, own)) = sources.find_map(|(id, source)| Some((*id, source.take_own_record()?))) else {
            return false;
        };
        match own {
            OwnRecord::Failure(error) => self.stage_failure(id, &error),
            OwnRecord::Report(error) => {
                let rows = super::errors_table::source_error(&self.tip, self.now_us, id, &error);
                let work = self.route_errors(rows);
                let commit = Commit { at_us: self.now_us, ..Commit::default() };
                self.stage(RecordKind::Cursor, Origin::Own, commit, work);
            }
            OwnRecord::Splits(discovered) => self.stage_discovered(id, discovered),
        }
        true
    }

    /// Stages a record with the first cursors of splits.
    fn stage_discovered(&mut self, id: PipelineId, splits: Vec<CursorSet>) {
        let cursors = &self.tip.cursors[&id];
        if cursors.has_identity() {
            reached(CoverageMark::PartitionAdded);
        }
        let is_first = |set: &CursorSet| {
            let known = cursors.get(set.split).and_then(|split| split.position);
            known.is_none_or(|known| known == set.position)
        };
        assert!(
            splits.iter().all(is_first) || defects::is(Defect::LossIsReset),
            "a cursor is set once, then advanced"
        );
        let catalog = vec![CatalogChange::CursorsSet { pipeline: id, splits }];
        let commit = Commit { at_us: self.now_us, catalog, ..Commit::default() };
        self.stage(RecordKind::Cursor, Origin::Own, commit, WorkByShard::new());
    }

    /// Pipelines that may commit now, at most one a table, so that a refused row names its pipeline.
    fn ready_pipelines(&self) -> Vec<PipelineId> {
        let mut tables = BTreeSet::new();
        let mut ready = vec![];
        for (&id, source) in &self.pipelines {
            let table = self.tip.pipelines[&id].table;
            if self.batch_due(id, source).is_none_or(|due_us| due_us > self.now_us) {
                continue;
            }
            if self.requests.is_barred(table) && !defects::is(Defect::TableLockIgnored) {
                reached(CoverageMark::TableLockHeldUpBatch);
            } else if tables.insert(table) {
                ready.push(id);
            } else {
                reached(CoverageMark::TableTakenInBatch);
            }
        }
        ready
    }

    /// Proven extracts up to the batch's limit, at least one, in order (split, ordinal).
    fn take_extracts(&mut self, id: PipelineId) -> Vec<Extract> {
        let bytes_max = self.tip.pipelines[&id].batch_bytes_max;
        if self.tip.pipelines[&id].batch_interval_us > 0 {
            reached(CoverageMark::BatchAfterInterval);
        }
        let source = self.pipelines.get_mut(&id).expect("a ready pipeline runs");
        source.last_batch_us = self.now_us;
        let mut extracts = source.take_verified(bytes_max);
        extracts.sort_by_key(|e| e.split);
        extracts
    }

    fn stage_batch(&mut self, batches: Vec<(PipelineId, Vec<Extract>)>) {
        let mut commit = Commit { at_us: self.now_us, ..Commit::default() };
        let mut work = WorkByShard::new();
        let mut dead_letters = vec![];
        let mut parts = vec![];
        for (id, mut extracts) in batches {
            let table = self.tip.pipelines[&id].table;
            let epoch = self.pipelines[&id].epoch;
            let source_bytes = extracts.iter().map(|e| e.source_bytes).sum();
            let kept = extracts.iter_mut().filter_map(|e| Some((e.split, e.originals.take()?)));
            let (originals, rejected) = (kept.collect(), BTreeMap::new());
            parts.push(BatchPart { pipeline: id, table, epoch, source_bytes, originals, rejected });
            commit.cursors.extend(self.cursor_advances(id, &extracts));
            let mut rows: BTreeMap<ShardId, Vec<RecordBatch>> = BTreeMap::new();
            for extract in extracts {
                for (shard, piece) in extract.pieces.into_iter().enumerate() {
                    if let Some(piece) = piece {
                        rows.entry(ShardId(shard as u16)).or_default().push(piece);
                    }
                }
                dead_letters.extend(extract.dead_letters.into_iter().map(|message| (id, message)));
            }
            let on_duplicate = &self.tip.pipelines[&id].on_duplicate;
            for (shard, rows) in rows {
                let on_duplicate = on_duplicate.clone();
                work.entry(shard).or_default().push(Work::Rows {
                    table,
                    on_duplicate,
                    deletes: vec![],
                    rows,
                });
            }
        }
        self.add_dead_letters(&mut work, commit.at_us, &dead_letters);
        self.stage(RecordKind::Batch, Origin::Batch(parts), commit, work);
    }

    fn add_dead_letters(
        &self,
        work: &mut WorkByShard,
        at_us: Micros,
        dead_letters: &[(PipelineId, DeadLetter)],
    ) {
        if !dead_letters.is_empty() {
            for (shard, mut more) in self.errors_work(at_us, dead_letters) {
                work.entry(shard).or_default().append(&mut more);
            }
        }
    }

    /// One advance a split: extracts of one split follow one another.
    fn cursor_advances(&self, id: PipelineId, extracts: &[Extract]) -> Vec<CursorAdvance> {
        let mut advances: Vec<CursorAdvance> = vec![];
        for extract in extracts {
            let mut next = extract.next;
            if defects::is(Defect::LeaderEpochForgotten) {
                next = next.unmarked();
            }
            let dead_letters = extract.dead_letters.len() as u64;
            if extract.messages == 0 {
                reached(CoverageMark::HolesCommitted);
            }
            let applied = extract.messages.checked_sub(extract.filtered + dead_letters);
            let tally = Tally {
                applied: applied.expect("an extractor gives each message one disposition"),
                filtered: extract.filtered,
                ignored: 0,
                dead_letters,
            };
            match advances.last_mut().filter(|a| a.split == extract.split) {
                Some(last) => {
                    reached(CoverageMark::ExtractsJoined);
                    assert!(last.next.is_continued_by(&extract.first), "ranges follow one another");
                    last.next = next;
                    last.tally.applied += tally.applied;
                    last.tally.filtered += tally.filtered;
                    last.tally.dead_letters += tally.dead_letters;
                }
                None => advances.push(CursorAdvance {
                    pipeline: id,
                    generation: self.tip.pipelines[&id].generation,
                    epoch: extract.epoch,
                    split: extract.split,
                    first: extract.first,
                    next,
                    identity: self.pipelines[&id].identity(extract.split),
                    finished: false,
                    tally,
                }),
            }
        }
        advances
    }
}
