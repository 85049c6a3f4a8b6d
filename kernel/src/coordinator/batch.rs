//! Closing of micro-batches: selects the extracts of the next record, and makes its cursors and work.

use std::collections::{BTreeMap, BTreeSet};

use arrow_array::RecordBatch;
use bytes::Bytes;

use super::staging::{Origin, WorkByShard};
use super::{Coordinator, OwnRecord};
use crate::coverage::{CoverageMark, reached};
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
    /// Credit to return after the publication.
    pub source_bytes: u64,
    /// The raw messages by split, if the table may refuse rows.
    pub originals: Vec<(SplitId, Originals)>,
    /// Ordinals of messages with a row that a shard refused, by split.
    pub rejected: BTreeMap<SplitId, BTreeSet<i64>>,
}

impl BatchPart {
    /// The raw message of a refused row.
    pub fn original(&self, split: SplitId, ordinal: i64) -> Option<Bytes> {
        let of_split = self.originals.iter().filter(|(of, _)| *of == split);
        of_split.into_iter().find_map(|(_, originals)| originals.at(ordinal))
    }
}

impl Coordinator {
    /// Starts the next batch, or a record of the kernel's own that must precede it. False if there is none.
    pub(super) fn start_batch(&mut self) -> bool {
        if self.read_only {
            return false;
        }
        if self.start_own_record() {
            return true;
        }
        let ready = self.ready_pipelines();
        // When the log becomes idle, all verified extracts are the next batch. While it is busy, only a full batch is
        // started.
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

    /// Starts a record of the kernel's own: first cursors, and errors of sources. They precede any batch.
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
        assert!(splits.iter().all(is_first), "a first cursor is set only once");
        let catalog = vec![CatalogChange::CursorsSet { pipeline: id, splits }];
        let commit = Commit { at_us: self.now_us, catalog, ..Commit::default() };
        self.stage(RecordKind::Cursor, Origin::Own, commit, WorkByShard::new());
    }

    /// Pipelines with a batch that is due, at most one per table, so that a refused row identifies its pipeline.
    fn ready_pipelines(&self) -> Vec<PipelineId> {
        let mut tables = BTreeSet::new();
        let mut ready = vec![];
        for (&id, source) in &self.pipelines {
            let table = self.tip.pipelines[&id].table;
            if self.batch_due(id, source).is_none_or(|due_us| due_us > self.now_us) {
                continue;
            }
            if self.requests.is_barred(table) {
                reached(CoverageMark::TableLockHeldUpBatch);
            } else if tables.insert(table) {
                ready.push(id);
            } else {
                reached(CoverageMark::TableTakenInBatch);
            }
        }
        ready
    }

    /// Verified extracts up to the batch's limit, at least one, in order (split, ordinal).
    fn take_extracts(&mut self, id: PipelineId) -> Vec<Extract> {
        let bytes_max = self.tip.pipelines[&id].batch_bytes_max;
        if self.tip.pipelines[&id].batch_interval_us > 0 {
            reached(CoverageMark::BatchAfterInterval);
        }
        let source = self.pipelines.get_mut(&id).expect("a ready pipeline has a source");
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
                for (shard, of_shard) in extract.rows.into_iter().enumerate() {
                    if let Some(of_shard) = of_shard {
                        rows.entry(ShardId(shard as u16)).or_default().push(of_shard);
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

    /// One advance per split. Extracts of one split are contiguous.
    fn cursor_advances(&self, id: PipelineId, extracts: &[Extract]) -> Vec<CursorAdvance> {
        let mut advances: Vec<CursorAdvance> = vec![];
        for extract in extracts {
            let next = extract.next;
            let dead_letters = extract.dead_letters.len() as u64;
            if extract.messages == 0 {
                reached(CoverageMark::HolesCommitted);
            }
            let applied = extract.messages.checked_sub(extract.filtered + dead_letters);
            let tally = Tally {
                applied: applied.expect("each message of an extract has one disposition"),
                filtered: extract.filtered,
                ignored: 0,
                dead_letters,
            };
            match advances.last_mut().filter(|a| a.split == extract.split) {
                Some(last) => {
                    reached(CoverageMark::ExtractsJoined);
                    assert!(last.next.is_continued_by(&extract.first), "ranges are contiguous");
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
        for advance in &mut advances {
            advance.finished = self.pipelines[&id].finishes(advance.split, &advance.next);
            if advance.finished {
                reached(CoverageMark::SplitFinished);
            }
        }
        advances
    }
}
