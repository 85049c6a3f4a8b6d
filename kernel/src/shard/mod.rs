//! One shard: rows in immutable column chunks, deletions, and for keyed tables the index from key to row. Stages
//! outcomes, applies them, publishes views. Owned by one thread; it shares no mutable state.
//!
//! Rows are versioned by appending: an update adds the new version in the batch's chunk and marks the old one as
//! deleted, so that a batch copies no existing rows and a reader's chunks never change. There are two states of each
//! table: the *staged tip*, against which outcomes are computed, and the *published* state, a prefix of it. Every
//! staged application is kept until it is published, so that a suffix can be undone exactly.
//!
//! | Module | Content |
//! |---|---|
//! | `contents` | a table's chunks and index, and the one `apply` |
//! | `incoming`, `outcome`, `update` | the outcome of a batch of rows, computed before any change |
//! | `merge` | merging of small chunks, without deleted rows |
//! | `chunk`, `bitmap`, `index`, `row_ids` | the parts |
//! | `limits` | sizes of the steps of work |

mod bitmap;
mod chunk;
mod contents;
mod fold;
mod incoming;
mod index;
mod limits;
mod merge;
mod outcome;
mod rounds;
mod row_ids;
mod update;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;

use self::contents::{Applied, Contents, Keys};
use self::incoming::Incoming;
use self::index::RowLocation;
use crate::columns::{self, PIECE_ROWS_MAX};
use crate::coverage::{CoverageMark, reached};
use crate::error::{Error, Result};
use crate::expr::OnDuplicate;
use crate::ids::*;
use crate::message::{Counts, Rejected, ShardCommand, ShardReply, Work};
use crate::schema::{CatalogChange, ERRORS_TABLE, TableDef, errors_table};
use crate::snapshot::ShardView;

pub use limits::ShardLimits;
pub use row_ids::{IdRun, RowIds};

/// Id of a table's contents between one creation or truncation and the next.
type ContentsId = u64;

/// A shard.
#[derive(Clone, Debug)]
pub struct Shard {
    id: ShardId,
    shard_count: u16,
    contents: BTreeMap<ContentsId, Contents>,
    next_contents: ContentsId,
    /// Tables at the staged tip.
    tip: BTreeMap<TableId, ContentsId>,
    /// Tables for readers.
    published: BTreeMap<TableId, ContentsId>,
    limits: ShardLimits,
    /// In order of sequence. A record that changes nothing here has no steps.
    staged: VecDeque<Staged>,
    view: Arc<ShardView>,
    /// Last record applied by `replay`.
    replayed: Sequence,
}

/// The changes of one record that is not yet published.
#[derive(Clone, Debug)]
struct Staged {
    sequence: Sequence,
    steps: Vec<Step>,
    /// Rows added so far by this record, which is the next ordinal.
    rows: BTreeMap<ContentsId, u32>,
}

/// One change, to be published or undone.
#[derive(Clone, Debug)]
enum Step {
    Created { table: TableId, new: ContentsId },
    Dropped { table: TableId, old: ContentsId },
    Truncated { table: TableId, old: ContentsId, new: ContentsId },
    Applied(ContentsId, Applied),
}

impl Shard {
    /// An empty shard of a database with `shard_count` shards.
    pub fn new(id: ShardId, shard_count: u16) -> Shard {
        Shard::with_limits(id, shard_count, ShardLimits::default())
    }

    /// An empty shard with other limits: see [`ShardLimits`].
    pub fn with_limits(id: ShardId, shard_count: u16, limits: ShardLimits) -> Shard {
        assert!(id.0 < shard_count, "shards are counted from 0");
        assert!(
            (1..=PIECE_ROWS_MAX).contains(&limits.piece_rows_max),
            "a piece has a row, and no more than fit"
        );
        let mut shard = Shard {
            id,
            shard_count,
            contents: BTreeMap::new(),
            next_contents: 0,
            tip: BTreeMap::new(),
            published: BTreeMap::new(),
            limits,
            staged: VecDeque::new(),
            view: Arc::default(),
            replayed: Sequence(0),
        };
        let errors = shard.add_contents(Arc::new(errors_table()));
        shard.tip.insert(ERRORS_TABLE, errors);
        shard.published.insert(ERRORS_TABLE, errors);
        shard
    }

    /// Executes a command and returns its reply.
    pub fn handle(&mut self, command: ShardCommand) -> ShardReply {
        let reply = match command {
            ShardCommand::Stage { sequence, work } => self.stage(sequence, work),
            ShardCommand::Abandon { from } => {
                self.abandon(from);
                ShardReply::Abandoned { from }
            }
            ShardCommand::Publish { through } => {
                self.publish(through);
                ShardReply::Published { through, view: Arc::clone(&self.view) }
            }
            ShardCommand::ViewTip { table_lock } => ShardReply::Tip { table_lock, view: self.view_tip() },
        };
        let nothing_staged = || self.contents.values().all(|contents| contents.staged == 0);
        assert!(!self.staged.is_empty() || nothing_staged(), "contents count the steps staged on them");
        reply
    }

    /// Recovery: applies a logged record's definitions and this shard's outcomes, through the same function as `handle`.
    /// Records come in order of sequence. Never panics for any bytes: an outcome that contradicts the state is an error.
    /// After an error the shard must not be used.
    pub fn replay(
        &mut self,
        sequence: Sequence,
        changes: &[CatalogChange],
        outcomes: &[Bytes],
    ) -> Result<()> {
        if sequence <= self.replayed {
            return Err(columns::corrupt("records are out of order"));
        }
        self.replayed = sequence;
        self.begin(sequence);
        for change in changes {
            self.replay_change(change)?;
        }
        for outcome in outcomes {
            for piece in columns::pieces(outcome)? {
                self.replay_piece(sequence, &piece)?;
            }
        }
        self.settle(sequence);
        Ok(())
    }

    /// Ends the recovery: everything replayed is published. Returns the first view.
    pub fn recovered(&mut self) -> Arc<ShardView> {
        assert!(self.staged.is_empty(), "a replayed record is durable");
        self.contents.values_mut().for_each(Contents::publish_view);
        self.make_view();
        Arc::clone(&self.view)
    }

    /// Its part of the fingerprint: see [`crate::fingerprint`].
    #[cfg(feature = "explore")]
    pub fn fingerprint(&self) -> crate::fingerprint::StateFingerprint {
        let Shard {
            id,
            shard_count,
            contents,
            next_contents: _,
            tip,
            published,
            limits: _,
            staged,
            // Derived from the published state.
            view: _,
            replayed: _,
        } = self;
        let base = staged.front().map_or(Sequence(0), |first| first.sequence);
        let mut to = crate::fingerprint::StateFingerprint::new(base, vec![]);
        to.word(id.0);
        to.word(*shard_count);
        let order: BTreeMap<ContentsId, u64> = contents.keys().copied().zip(0..).collect();
        for tables in [tip, published] {
            to.count(tables.len());
            for (table, id) in tables {
                to.word(table.0);
                to.word(order[id]);
            }
        }
        contents.values().for_each(|contents| contents.fingerprint(&mut to));
        to.count(staged.len());
        for Staged { sequence, steps, rows } in staged {
            to.sequence(*sequence);
            to.count(steps.len());
            for step in steps {
                match step {
                    Step::Created { table, new: _ } => to.word(table.0),
                    Step::Dropped { table, old: _ } => to.word(1000 + u64::from(table.0)),
                    Step::Truncated { table, old: _, new: _ } => to.word(2000 + u64::from(table.0)),
                    Step::Applied(id, applied) => contents[id].logical_step(applied, &mut to),
                }
            }
            rows.values().for_each(|rows| to.word(*rows));
        }
        to
    }

    fn add_contents(&mut self, table: Arc<TableDef>) -> ContentsId {
        let id = self.next_contents;
        self.next_contents += 1;
        let before = self.contents.insert(id, Contents::new(table, self.limits));
        assert!(before.is_none(), "contents are numbered once");
        id
    }

    /// Starts a record, to which the next steps belong.
    fn begin(&mut self, sequence: Sequence) {
        let last = self.staged.back().map(|s| s.sequence);
        assert!(last <= Some(sequence), "records are staged in order of sequence");
        if last != Some(sequence) {
            self.staged.push_back(Staged { sequence, steps: Vec::new(), rows: BTreeMap::new() });
        }
    }

    fn step(&mut self, step: Step) {
        self.staged.back_mut().expect("a record has begun").steps.push(step);
    }

    fn stage(&mut self, sequence: Sequence, work: Vec<Work>) -> ShardReply {
        self.begin(sequence);
        let mut stage = Stage::default();
        for work in work {
            match work {
                Work::CreateTable(table) => self.create(table).expect("a table is created once"),
                Work::DropTable(table) => self.drop_table(table).expect("the dropped table exists"),
                Work::TruncateTable(table) => self.truncate(table).expect("the truncated table exists"),
                Work::RemoveErrors(pipeline) => {
                    let errors = &self.contents[&self.tip[&ERRORS_TABLE]];
                    let deletes = errors.ids_where(0, i64::from(pipeline.0));
                    self.stage_rows(ERRORS_TABLE, &OnDuplicate::Reject, &deletes, &[], &mut stage);
                }
                Work::Rows { table, on_duplicate, deletes, rows } => {
                    self.stage_rows(table, &on_duplicate, &deletes, &rows, &mut stage);
                }
            }
        }
        ShardReply::Staged {
            sequence,
            outcome: Bytes::from(stage.outcome),
            counts: stage.counts,
            ignored: stage.ignored,
            rejected: stage.rejected,
        }
    }

    fn stage_rows(
        &mut self,
        table: TableId,
        on_duplicate: &OnDuplicate,
        deletes: &[RowId],
        rows: &[RecordBatch],
        stage: &mut Stage,
    ) {
        let id = *self.tip.get(&table).expect("the coordinator stages rows of tables that exist");
        if !deletes.is_empty() {
            let contents = &self.contents[&id];
            let locations = contents.locations(deletes).expect("rows read under a table lock live");
            columns::encode(&contents.table, deletes, None, &mut stage.outcome);
            stage.counts.deleted += deletes.len() as u64;
            self.apply(id, locations, None, Keys::default()).expect("rows that live can go");
        }
        for part in incoming::parts(rows, &self.limits) {
            let incoming = Incoming::new(&self.contents[&id], &part);
            self.stage_part(id, on_duplicate, incoming, stage);
        }
    }

    /// Stages rows in one step, or halves them until they fit one.
    fn stage_part(&mut self, id: ContentsId, on_duplicate: &OnDuplicate, all: Incoming, stage: &mut Stage) {
        let contents = &self.contents[&id];
        let table = contents.table.id;
        let mut refused = Vec::new();
        let (kept, kept_rows) = all.clone().not_null(&contents.table, &mut refused);
        let Ok(outcome) = outcome::outcome(contents, kept, on_duplicate) else {
            for half in all.halves() {
                self.stage_part(id, on_duplicate, half, stage);
            }
            return;
        };
        let row_of = |row: usize| kept_rows.as_ref().map_or(row, |kept| kept[row] as usize);
        refused.extend(outcome.refused.iter().map(|(row, error)| (row_of(*row), error.clone())));
        refused.sort_by_key(|(row, _)| *row);
        for row in &outcome.ignored {
            if let Some((split, ordinal)) = all.origin(row_of(*row as usize)) {
                stage.ignored.entry((table, split)).or_default().push(ordinal);
            }
        }
        for (row, error) in refused {
            stage.rejected.push(all.rejected(contents, row, error));
        }
        stage.counts.add(outcome.counts);
        if let Some(rows) = outcome.rows(contents) {
            let keys = Keys { hashes: &outcome.hashes, before: &outcome.before };
            self.stage_outcome(id, &rows, keys, stage);
        }
    }

    /// Encodes and applies an outcome, in pieces of bounded size.
    fn stage_outcome(&mut self, id: ContentsId, rows: &RecordBatch, keys: Keys<'_>, stage: &mut Stage) {
        let placed = self.contents[&id].placed(rows, self.id, self.shard_count, false);
        assert!(placed, "rows are routed to the shard that their hash names");
        let piece_rows_max = self.limits.piece_rows_max;
        for start in (0..rows.num_rows()).step_by(piece_rows_max) {
            let end = rows.num_rows().min(start + piece_rows_max);
            let slice = rows.slice(start, end - start);
            let keys = Keys {
                hashes: keys.hashes.get(start..end).unwrap_or_default(),
                before: keys.before.get(start..end).unwrap_or_default(),
            };
            let contents = &self.contents[&id];
            let deletes: Vec<RowLocation> =
                keys.before.iter().copied().filter(|location| !location.is_none()).collect();
            let ids: Vec<RowId> = deletes.iter().map(|location| contents.id(*location)).collect();
            columns::encode(&contents.table, &ids, Some(&slice), &mut stage.outcome);
            self.apply(id, deletes, Some(slice), keys)
                .expect("an outcome fits the tip it was computed against");
        }
    }

    /// The only caller of [`Contents::apply`]: live and in recovery.
    fn apply(
        &mut self,
        id: ContentsId,
        deletes: Vec<RowLocation>,
        rows: Option<RecordBatch>,
        keys: Keys<'_>,
    ) -> Result<()> {
        let contents = self.contents.get_mut(&id).expect("contents that are referred to are there");
        let staged = self.staged.back_mut().expect("a record has begun");
        let first = staged.rows.entry(id).or_default();
        let count = rows.as_ref().map_or(0, |r| r.num_rows() as u32);
        let next = first.checked_add(count).ok_or_else(|| columns::corrupt("a record has too many rows"))?;
        let applied = contents.apply(staged.sequence, *first, deletes, rows, keys)?;
        *first = next;
        staged.steps.push(Step::Applied(id, applied));
        Ok(())
    }

    fn create(&mut self, table: Arc<TableDef>) -> Result<()> {
        let id = table.id;
        if self.tip.contains_key(&id) {
            return Err(columns::corrupt("a table is created twice"));
        }
        let new = self.add_contents(table);
        self.tip.insert(id, new);
        self.step(Step::Created { table: id, new });
        Ok(())
    }

    fn drop_table(&mut self, table: TableId) -> Result<()> {
        let old = self.tip.remove(&table).ok_or_else(|| columns::corrupt("a dropped table is not there"))?;
        assert!(!self.staged_rows().contains_key(&old), "one record's definitions come before its rows");
        self.step(Step::Dropped { table, old });
        Ok(())
    }

    fn truncate(&mut self, table: TableId) -> Result<()> {
        let old = *self.tip.get(&table).ok_or_else(|| columns::corrupt("a truncated table is not there"))?;
        assert!(!self.staged_rows().contains_key(&old), "one record's definitions come before its rows");
        let definition = Arc::clone(&self.contents[&old].table);
        let new = self.add_contents(definition);
        self.tip.insert(table, new);
        self.step(Step::Truncated { table, old, new });
        Ok(())
    }

    /// Of the record that has begun. In replay its definitions precede its rows, so they must be live, too.
    fn staged_rows(&self) -> &BTreeMap<ContentsId, u32> {
        &self.staged.back().expect("a record has begun").rows
    }

    fn abandon(&mut self, from: Sequence) {
        while let Some(mut staged) = self.staged.pop_back_if(|s| s.sequence >= from) {
            while let Some(step) = staged.steps.pop() {
                self.undo(step);
            }
        }
    }

    fn undo(&mut self, step: Step) {
        match step {
            Step::Created { table, new } => {
                assert_eq!(self.tip.remove(&table), Some(new), "later steps are undone first");
                self.contents.remove(&new);
            }
            Step::Dropped { table, old } => {
                let before = self.tip.insert(table, old);
                assert!(before.is_none(), "a table id is not used again");
            }
            Step::Truncated { table, old, new } => {
                assert_eq!(self.tip.insert(table, old), Some(new), "later steps are undone first");
                self.contents.remove(&new);
            }
            Step::Applied(id, applied) => {
                reached(if applied.deletes.is_empty() {
                    CoverageMark::RowsUndone
                } else {
                    CoverageMark::DeletionsUndone
                });
                self.contents.get_mut(&id).expect("contents of a staged step are there").undo(&applied);
            }
        }
    }

    /// Publishes everything up to `through`.
    fn publish(&mut self, through: Sequence) {
        let touched = self.publish_steps(through);
        for (id, rows) in touched {
            // Contents dropped or truncated in a later record of the same publication are already removed.
            if self.contents.contains_key(&id) {
                self.merge(id, rows);
                self.contents.get_mut(&id).expect("just seen").publish_view();
            } else {
                reached(CoverageMark::TableGoneInPublication);
            }
        }
        self.make_view();
    }

    /// Publishes steps; returns the contents they touched, with the number of added rows.
    fn publish_steps(&mut self, through: Sequence) -> BTreeMap<ContentsId, usize> {
        let mut touched: BTreeMap<ContentsId, usize> = BTreeMap::new();
        while let Some(staged) = self.staged.pop_front_if(|s| s.sequence <= through) {
            for step in staged.steps {
                match step {
                    Step::Created { table, new } => {
                        self.published.insert(table, new);
                        touched.entry(new).or_default();
                    }
                    Step::Dropped { table, old } => {
                        assert_eq!(self.published.remove(&table), Some(old), "readers are never ahead");
                        self.contents.remove(&old);
                    }
                    Step::Truncated { table, old, new } => {
                        assert_eq!(self.published.insert(table, new), Some(old), "readers are never ahead");
                        self.contents.remove(&old);
                        touched.entry(new).or_default();
                    }
                    Step::Applied(id, applied) => {
                        let contents =
                            self.contents.get_mut(&id).expect("contents of a staged step are there");
                        contents.publish(&applied);
                        let rows = applied.chunk.map_or(0, |slot| contents.chunk(slot).len());
                        *touched.entry(id).or_default() += rows + applied.deletes.len();
                    }
                }
            }
        }
        touched
    }

    /// Merges a table's chunks within a budget that depends on the rows just published, and updates the locations kept
    /// for staged records.
    fn merge(&mut self, id: ContentsId, rows: usize) {
        let contents = self.contents.get_mut(&id).expect("contents that are merged are there");
        let Some(moves) = merge::merge(contents, rows) else { return };
        for step in self.staged.iter_mut().flat_map(|s| &mut s.steps) {
            if let Step::Applied(of, applied) = step
                && *of == id
            {
                for location in &mut applied.deletes {
                    let before = std::mem::replace(location, moves.follow(*location));
                    if *location != before {
                        reached(CoverageMark::MergeMovedStaged);
                    }
                }
            }
        }
    }

    fn make_view(&mut self) {
        let tables = self.published.iter().map(|(table, id)| (*table, Arc::clone(&self.contents[id].view)));
        self.view = Arc::new(ShardView { tables: tables.collect() });
    }

    fn view_tip(&self) -> Arc<ShardView> {
        let tables = self.tip.iter().map(|(table, id)| (*table, self.contents[id].view_tip()));
        Arc::new(ShardView { tables: tables.collect() })
    }

    fn replay_change(&mut self, change: &CatalogChange) -> Result<()> {
        match change {
            CatalogChange::TableCreated(table) if !table.is_consistent() => {
                Err(columns::corrupt("a table's key has a column that the table does not have"))
            }
            CatalogChange::TableCreated(table) => self.create(Arc::new(table.clone())),
            CatalogChange::TableDropped(table) => self.drop_table(*table),
            CatalogChange::TableTruncated(table) => self.truncate(*table),
            // Their rows are in the outcomes.
            CatalogChange::PipelineSet(_)
            | CatalogChange::CursorsSet { .. }
            | CatalogChange::CursorsForgotten(_)
            | CatalogChange::DeadLettersRestarted(_)
            | CatalogChange::PipelineDropped(_)
            | CatalogChange::ErrorsCleared(_) => Ok(()),
        }
    }

    fn replay_piece(&mut self, sequence: Sequence, piece: &columns::TablePiece) -> Result<()> {
        let id = self.tip.get(&piece.table);
        let id = *id.ok_or_else(|| columns::corrupt("rows of a table that does not exist"))?;
        let contents = &self.contents[&id];
        let (deletes, rows) = piece.read(&contents.table, &contents.schema)?;
        let locations = contents.locations(&deletes)?;
        let (mut hashes, mut before) = (Vec::new(), Vec::new());
        if let Some(rows) = &rows {
            if !contents.placed(rows, self.id, self.shard_count, true) {
                let what =
                    format!("record {sequence} has rows that belong on another shard than {}", self.id);
                return Err(corrupt(&contents.table, what));
            }
            if contents.index.is_some() {
                self.limits.hash_keys(rows, &contents.key, &mut hashes);
                let twice = || corrupt(&contents.table, "a primary key is there twice".into());
                before = outcome::before(contents, rows, &hashes).ok_or_else(twice)?;
                if before.iter().any(|location| !location.is_none()) {
                    reached(CoverageMark::KeyedRowsReplayed);
                }
            }
        }
        self.apply(id, locations, rows, Keys { hashes: &hashes, before: &before })
    }

    /// A replayed record is durable: it is published at once, without a view.
    fn settle(&mut self, sequence: Sequence) {
        let touched = self.publish_steps(sequence);
        for (id, rows) in touched {
            // Removed, if a later step of the record dropped the table.
            if self.contents.contains_key(&id) {
                self.merge(id, rows);
            }
        }
    }
}

/// The totals of staging in one command.
#[derive(Debug, Default)]
struct Stage {
    outcome: Vec<u8>,
    counts: Counts,
    ignored: BTreeMap<(TableId, SplitId), Vec<i64>>,
    rejected: Vec<Rejected>,
}

fn corrupt(table: &TableDef, what: String) -> Error {
    columns::corrupt(&format!("table \"{}\": {what}", table.name))
}
