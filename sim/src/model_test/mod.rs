//! Shards alone, at the end of a run: all commands of a coordinator, denser than in a run, with rows and updates of
//! every kind. Every answer and every view is compared with a plain model of the tables. Sometimes other shards, with
//! other limits, are made from the staged records and replace these.
//!
//! `rows` draws rows; `piece` checks their encoding, `chunks` their chunks. [`limits`] tests exact limits, [`columns`]
//! the column encoding, [`program`] updates, [`log`] logs, and [`continuity`] the continuity guard.

mod chunks;
pub mod columns;
pub mod continuity;
pub mod limits;
pub mod log;
mod piece;
pub mod program;
mod rows;
pub mod scale;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Arguments;
use std::sync::Arc;

use bytes::Bytes;
use kernel::coverage::{self, CoverageMark};
use kernel::expr::OnDuplicate;
use kernel::message::{Counts, Rejected, ShardCommand, ShardReply, TableSpec, Work};
use kernel::schema::{Catalog, CatalogChange, TableDef};
use kernel::snapshot::{ShardView, Snapshot};
use kernel::{ColumnId, RowId, Sequence, Shard, ShardId, ShardLimits, SqlState, TableId, TableLockId};

use self::chunks::{Chunks, Step};
use self::rows::Mix;
use crate::decide::Decisions;
use crate::oracle::model::{Change, Fate, Model, Transaction};
use crate::oracle::value::{self, Digest, Row, Value};
use crate::oracle::{Check, Violation, check_counts, check_sizes, check_table, describe, ensure};
use crate::program::{MISFIT, Program, of_table};
use crate::scenario::{Duplicate, TableShape};
use crate::swarm::draw_shard_limits;
use crate::wide::{Layout, is_text};

/// A name for each table ever made.
const TABLES_MAX: usize = 3;
/// Most staged and unpublished records.
const STAGED_MAX: usize = 5;

/// A table created by one record.
fn table_of(spec: TableSpec, id: TableId) -> TableDef {
    let ids = |key: Vec<u16>| key.into_iter().map(|at| spec.columns[usize::from(at)].id).collect();
    TableDef {
        id,
        name: spec.name,
        schema_version: 1,
        primary_key: ids(spec.primary_key),
        shard_key: ids(spec.shard_key),
        sort_key: ids(spec.sort_key),
        columns: spec.columns,
        created_at: Sequence(1),
    }
}

/// Tests shards against a model for a while. `restarts`: other shards may replace them. `tell` is called for every
/// step.
pub fn check(d: &Decisions<'_>, restarts: bool, tell: &dyn Fn(Arguments<'_>)) -> Check {
    let mut model_test = ModelTest::new(d, tell);
    tell(format_args!(
        "{} shards are tested against a model alone, with {:?}",
        model_test.shards.len(),
        model_test.limits
    ));
    for _ in 0..d.between(6, 24) {
        match d.below(12) {
            0..=6 if model_test.staged.len() < STAGED_MAX => model_test.stage()?,
            0..=8 => model_test.publish()?,
            9 => model_test.abandon(),
            10 if restarts => model_test.restart()?,
            _ => model_test.look_at_tip()?,
        }
    }
    if restarts {
        model_test.restart()?;
    }
    model_test.held.iter().try_for_each(|(snapshot, digests)| {
        let unchanged = digests.iter().all(|(table, before)| value::digest(snapshot, *table) == *before);
        ensure("atomic", unchanged, || format!("a view of record {} changed later", snapshot.sequence))
    })
}

/// The tables after a record.
#[derive(Clone, Debug)]
struct State {
    sequence: Sequence,
    model: Model,
    tables: BTreeMap<TableId, (Arc<TableDef>, TableShape)>,
}

/// A record as in the log.
#[derive(Debug)]
struct Logged {
    sequence: Sequence,
    changes: Vec<CatalogChange>,
    /// By shard.
    parts: Vec<Vec<Bytes>>,
}

struct ModelTest<'d, 'a> {
    d: &'d Decisions<'a>,
    tell: &'d dyn Fn(Arguments<'_>),
    limits: ShardLimits,
    shards: Vec<Shard>,
    chunks: Vec<Chunks>,
    views: Vec<Arc<ShardView>>,
    published: State,
    staged: VecDeque<State>,
    log: Vec<Logged>,
    tables_made: u32,
    key_values: u64,
    /// There may be text under nulls, whose memory is unpredictable.
    covers_text: bool,
    /// Earlier views, with their digests.
    held: Vec<(Snapshot, Vec<(TableId, Digest)>)>,
}

/// Which rows are deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Deleting {
    Any,
    /// As many as possible without making a chunk mostly deleted.
    Halves,
    /// One of each chunk: half-deleted chunks become mostly deleted.
    OneEach,
}

/// Deleted rows, by shard: the first live ones of each chunk.
fn first_of_each_chunk(snapshot: &Snapshot, table: TableId, habit: Deleting) -> BTreeSet<(usize, RowId)> {
    let mut going = BTreeSet::new();
    for (shard, view) in snapshot.shards.iter().enumerate() {
        for chunk in &view.tables[&table].chunks {
            let (rows, living) = (chunk.rows.num_rows(), value::living(chunk) as usize);
            let count = if habit == Deleting::Halves { living.saturating_sub(rows.div_ceil(2)) } else { 1 };
            let lives = |row: &usize| chunk.deleted.as_ref().is_none_or(|deleted| !deleted.value(*row));
            let first = (0..rows).filter(lives).take(count);
            going.extend(first.map(|row| (shard, chunk.ids.get(row))));
        }
    }
    going
}

/// The rule for a row whose key exists.
#[derive(Debug)]
enum Rule {
    Fits(Duplicate),
    /// Refuses every row: an ill-typed update.
    Misfit(OnDuplicate),
}

/// The expected answers of all shards for one record.
#[derive(Default)]
struct Due {
    counts: Counts,
    ignored: Vec<(TableId, i32, i64)>,
    refused: Vec<String>,
    /// Rows are updated by a fold.
    folds: bool,
}

impl<'d, 'a> ModelTest<'d, 'a> {
    fn new(d: &'d Decisions<'a>, tell: &'d dyn Fn(Arguments<'_>)) -> ModelTest<'d, 'a> {
        let keys_at_once = d.pick(&[ShardLimits::default().keys_at_once, 1, 3]);
        let limits = ShardLimits { keys_at_once, ..draw_shard_limits(d) };
        let covers_text = limits.chunk_bytes_max == ShardLimits::default().chunk_bytes_max && d.below(2) == 1;
        let shard_count = d.between(1, 3) as u16;
        let mut shards: Vec<Shard> =
            (0..shard_count).map(|id| Shard::with_limits(ShardId(id), shard_count, limits)).collect();
        let views = shards.iter_mut().map(Shard::recovered).collect();
        let published = State { sequence: Sequence(0), model: Model::new(), tables: BTreeMap::new() };
        ModelTest {
            d,
            tell,
            limits,
            chunks: vec![Chunks::new(limits, !covers_text); shards.len()],
            shards,
            views,
            published,
            staged: VecDeque::new(),
            log: Vec::new(),
            tables_made: 0,
            key_values: d.between(1, 60),
            covers_text,
            held: Vec::new(),
        }
    }

    fn tip(&self) -> &State {
        self.staged.back().unwrap_or(&self.published)
    }

    // ---- One record ----

    fn stage(&mut self) -> Check {
        let mut state = self.tip().clone();
        state.sequence = state.sequence.next();
        let mut work: Vec<Vec<Work>> = vec![vec![]; self.shards.len()];
        let changes = self.define(&mut state, &mut work);
        self.log.push(Logged { sequence: state.sequence, changes, parts: vec![vec![]; self.shards.len()] });
        // A second command adds to the first.
        let commands = if self.d.below(5) == 1 { 2 } else { 1 };
        for _ in 0..commands {
            let mut due = Due::default();
            for _ in 0..self.d.between(1, 2) {
                self.draw_rows(&mut state, &mut work, &mut due);
            }
            self.tell_shards(
                state.sequence,
                std::mem::replace(&mut work, vec![vec![]; self.shards.len()]),
                due,
            )?;
        }
        self.staged.push_back(state);
        if self.d.below(3) == 1 { self.look_at_tip() } else { Ok(()) }
    }

    /// Definitions come before rows.
    fn define(&mut self, state: &mut State, work: &mut [Vec<Work>]) -> Vec<CatalogChange> {
        let choice = if state.tables.is_empty() { 0 } else { self.d.below(12) };
        let chosen = state.tables.keys().copied().nth(self.d.index(state.tables.len().max(1)));
        let (what, change, item) = match (choice, chosen) {
            (0, _) if state.tables.len() < TABLES_MAX => {
                let (def, shape) = self.new_table(state.sequence);
                let key = shape.key().iter().map(|column| usize::from(*column)).collect();
                state.model.apply(&Change::TableCreated(def.id.0, def.name.clone(), key));
                state.tables.insert(def.id, (def.clone(), shape));
                let what = format!("{} is created, {shape:?}", def.name);
                (what, CatalogChange::TableCreated((*def).clone()), Work::CreateTable(def))
            }
            (1, Some(id)) => {
                state.model.apply(&Change::TableTruncated(id.0));
                let what = format!("table {id} is truncated");
                (what, CatalogChange::TableTruncated(id), Work::TruncateTable(id))
            }
            (2, Some(id)) if state.tables.len() > 1 => {
                state.model.apply(&Change::TableDropped(id.0));
                state.tables.remove(&id);
                (format!("table {id} is dropped"), CatalogChange::TableDropped(id), Work::DropTable(id))
            }
            _ => return vec![],
        };
        (self.tell)(format_args!("record {}: {what}", state.sequence));
        work.iter_mut().for_each(|work| work.push(item.clone()));
        self.chunks.iter_mut().for_each(|chunks| chunks.stage(state.sequence, [Step::of(&change)]));
        vec![change]
    }

    fn new_table(&mut self, created_at: Sequence) -> (Arc<TableDef>, TableShape) {
        self.tables_made += 1;
        let shape = match self.d.below(5) {
            0 => TableShape::Events,
            _ => TableShape::Wide(Layout::draw(self.d)),
        };
        let name = format!("drill_{}", self.tables_made);
        let mut spec = shape.spec(&name, self.d.below(3) == 1);
        if self.d.below(2) == 1 {
            // As after columns were dropped and added: no id is the ordinal of its column.
            let last = 2 * spec.columns.len() as u32;
            let ids = (0..).map(|ordinal| ColumnId(last - ordinal));
            spec.columns.iter_mut().zip(ids).for_each(|(column, id)| column.id = id);
        }
        let id = TableId(self.tables_made + 10);
        let def = TableDef { created_at, ..table_of(spec, id) };
        (Arc::new(def), shape)
    }

    /// Draws rows and deletions of one table.
    fn draw_rows(&mut self, state: &mut State, work: &mut [Vec<Work>], due: &mut Due) {
        let d = self.d;
        let chosen = d.index(state.tables.len().max(1));
        let Some((def, shape)) = state.tables.values().nth(chosen).cloned() else { return };
        let most = d.pick(&[3, 20, 20, 20, 60, 60, 200, 400]);
        let mix = Mix {
            rows: d.between(0, most),
            key_values: self.key_values,
            from_messages: d.below(2) == 1,
            long: self.limits.step_bytes_max > 1 << 20,
        };
        let duplicate = self.draw_duplicate(shape);
        let deletes = self.draw_deletes(&def, state, due);
        let rows = rows::draw(d, &def, mix);
        (self.tell)(format_args!(
            "record {}: {} rows go, {} come into {}, {shape:?}, ON DUPLICATE KEY {duplicate:?}",
            state.sequence,
            deletes.iter().map(Vec::len).sum::<usize>(),
            rows.len(),
            def.name
        ));
        self.take_in(state, &def, shape, &duplicate, &rows, due);
        let by_shard = self.split(&def, &rows);
        for ((work, deletes), rows) in work.iter_mut().zip(deletes).zip(by_shard) {
            if !deletes.is_empty() || !rows.is_empty() {
                let on_duplicate = match &duplicate {
                    Rule::Fits(duplicate) => duplicate.lowered(shape),
                    Rule::Misfit(update) => update.clone(),
                };
                let on_duplicate = of_table(on_duplicate, &def);
                work.push(Work::Rows { table: def.id, on_duplicate, deletes, rows });
            }
        }
    }

    fn draw_duplicate(&self, shape: TableShape) -> Rule {
        let TableShape::Wide(layout) = shape else { return Rule::Fits(Duplicate::Reject) };
        if self.d.below(25) == 1 {
            return Rule::Misfit(Program::draw_misfit(self.d, layout));
        }
        Rule::Fits(match self.d.below(10) {
            0 => Duplicate::Reject,
            1 => Duplicate::Ignore,
            2 => Duplicate::Replace,
            _ => {
                let mut program = Program::draw_rough(self.d, layout);
                let is_text = |column: ColumnId| is_text(layout.columns()[column.0 as usize].1);
                program.update.assignments.retain(|(column, _)| self.covers_text || !is_text(*column));
                Duplicate::Update(Arc::new(program))
            }
        })
    }

    /// Some of the live rows at the tip before the record, by shard. Rows of the current record are excluded: a table
    /// lock's snapshot is older.
    fn draw_deletes(&mut self, def: &TableDef, state: &mut State, due: &mut Due) -> Vec<Vec<RowId>> {
        let mut deletes = vec![vec![]; self.shards.len()];
        let untold =
            |record: &Logged| record.changes.is_empty() && record.parts.iter().all(|parts| parts.is_empty());
        let fresh = self.log.last().is_some_and(untold) && due.counts == Counts::default();
        if !fresh || self.d.below(2) == 0 {
            return deletes;
        }
        let habit = self.d.pick(&[Deleting::Any, Deleting::Any, Deleting::Halves, Deleting::OneEach]);
        let one_in = self.d.between(1, 9);
        let snapshot = self.view_tip();
        let first = first_of_each_chunk(&snapshot, def.id, habit);
        let mut transaction = Transaction::new(&mut state.model);
        for read in value::rows(&snapshot, def.id) {
            let goes = match habit {
                Deleting::Any => self.d.below(one_in) == 0,
                Deleting::Halves | Deleting::OneEach => first.contains(&(read.shard, read.id)),
            };
            if goes {
                assert!(transaction.remove(def.id.0, &read.row), "views are checked before they are used");
                deletes[read.shard].push(read.id);
                due.counts.deleted += 1;
            }
        }
        deletes
    }

    /// Applies rows to the model, one by one.
    fn take_in(
        &self,
        state: &mut State,
        def: &TableDef,
        shape: TableShape,
        duplicate: &Rule,
        rows: &[Row],
        due: &mut Due,
    ) {
        let mut transaction = Transaction::new(&mut state.model);
        for row in rows {
            let complete =
                row.iter().zip(shape.columns()).all(|(value, column)| column.2 || *value != Value::Null);
            if let Rule::Fits(Duplicate::Update(program)) = duplicate {
                due.folds |= complete && program.folds();
            }
            let fate = match (complete, duplicate) {
                (false, _) => Fate::Rejected("23502"),
                (true, Rule::Misfit(_)) => Fate::Rejected(MISFIT.as_str()),
                (true, Rule::Fits(duplicate)) => transaction.upsert(def.id.0, duplicate, row.clone()),
            };
            match fate {
                Fate::Inserted => due.counts.inserted += 1,
                Fate::Updated => due.counts.updated += 1,
                Fate::Ignored => {
                    due.counts.ignored += 1;
                    let [.., Value::Int(partition), Value::Int(offset)] = row[..] else { continue };
                    due.ignored.push((def.id, partition as i32, offset));
                }
                Fate::Rejected(code) => {
                    let text = describe::row_text(shape, row, self.limits.row_text_bytes_max);
                    let why = match code {
                        "23502" => String::new(),
                        _ if matches!(duplicate, Rule::Misfit(_)) => String::new(),
                        _ => describe::refusal(code, &def.name, shape, row),
                    };
                    let origin = match row[..] {
                        [.., Value::Int(partition), Value::Int(offset)] => Some((partition as i32, offset)),
                        _ => None,
                    };
                    due.refused.push(refusal(def.id, code, &why, origin, &text));
                }
            }
        }
    }

    /// Rows by shard, in several batches.
    fn split(&self, def: &TableDef, rows: &[Row]) -> Vec<Vec<arrow_array::RecordBatch>> {
        let mut pieces = vec![vec![]; self.shards.len()];
        let mut rest = rows;
        while !rest.is_empty() {
            let (some, others) =
                rest.split_at(if self.d.below(2) == 0 { rest.len() } else { 1 + self.d.index(rest.len()) });
            rest = others;
            let batch = rows::batch(self.d, def, some, self.covers_text);
            let routed = kernel::route::route(def, &batch, self.shards.len() as u16);
            for (piece, batch) in pieces.iter_mut().zip(routed) {
                piece.extend(batch);
            }
        }
        pieces
    }

    /// Sends each shard its work and checks the answers together.
    fn tell_shards(&mut self, sequence: Sequence, work: Vec<Vec<Work>>, mut due: Due) -> Check {
        let mut told = Due::default();
        let folded = || coverage::so_far(CoverageMark::Folded);
        let folded_before = folded();
        for (number, work) in work.into_iter().enumerate().filter(|(_, work)| !work.is_empty()) {
            let most = self.pieces_max(&work);
            let reply = self.shards[number].handle(ShardCommand::Stage { sequence, work });
            let ShardReply::Staged { sequence: echo, outcome, counts, ignored, rejected } = reply else {
                return Err(Violation::new("honest", format!("shard {number} answers {reply:?}")));
            };
            ensure("honest", echo == sequence, || format!("shard {number} replies for record {echo}"))?;
            let pieces = piece::check(&outcome)?;
            ensure("bounded", pieces.len() <= most, || {
                format!("record {sequence} has {} pieces of shard {number}, {most} are enough", pieces.len())
            })?;
            self.chunks[number].stage(sequence, pieces.into_iter().map(Step::Rows));
            told.counts.add(counts);
            for ((table, split), ordinals) in ignored {
                told.ignored.extend(ordinals.into_iter().map(|ordinal| (table, split.0 as i32, ordinal)));
            }
            told.refused.extend(rejected.iter().map(|rejected| self.told(rejected)));
            self.log.last_mut().expect("just begun").parts[number].push(outcome);
        }
        // A fold is much faster, with the same result.
        ensure("bounded", !due.folds || folded() > folded_before, || {
            format!("record {sequence}: an update that is a fold is not carried out as one")
        })?;
        for due in [&mut due, &mut told] {
            due.ignored.sort();
            due.refused.sort();
        }
        ensure("exactly once", told.counts == due.counts, || {
            format!("record {sequence} has the counts {:?}, must have {:?}", told.counts, due.counts)
        })?;
        ensure("exactly once", told.ignored == due.ignored, || {
            format!("record {sequence} ignores {:?}, must ignore {:?}", told.ignored, due.ignored)
        })?;
        ensure("exactly once", told.refused == due.refused, || {
            let only = |a: &[String], b: &[String]| a.iter().find(|text| !b.contains(text)).cloned();
            format!(
                "record {sequence} refuses {:?}, must refuse {:?}",
                only(&told.refused, &due.refused),
                only(&due.refused, &told.refused)
            )
        })
    }

    /// Most pieces of the work: rows are split only at limits.
    fn pieces_max(&self, work: &[Work]) -> usize {
        let of_item = |item: &Work| {
            let Work::Rows { deletes, rows, .. } = item else { return 0 };
            let rows: usize = rows.iter().map(|rows| rows.num_rows()).sum();
            let cut = self.limits.step_bytes_max < ShardLimits::default().step_bytes_max;
            let most = if cut { rows } else { rows.div_ceil(self.limits.piece_rows_max) };
            most + usize::from(!deletes.is_empty())
        };
        work.iter().map(of_item).sum()
    }

    fn told(&self, rejected: &Rejected) -> String {
        let code = rejected.error.sqlstate.as_str();
        let is_foretold = code != "23502" && code != MISFIT.as_str();
        let why = if is_foretold { rejected.error.message.as_str() } else { "" };
        let origin = rejected.origin.map(|(split, ordinal)| (split.0 as i32, ordinal));
        refusal(rejected.table, code, why, origin, &rejected.row_text)
    }

    // ---- Views ----

    fn view_tip(&mut self) -> Snapshot {
        let table_lock = TableLockId(1);
        let view = |shard: &mut Shard| match shard.handle(ShardCommand::ViewTip { table_lock }) {
            ShardReply::Tip { view, .. } => view,
            other => panic!("a shard answers {other:?}"),
        };
        let shards = self.shards.iter_mut().map(view).collect();
        Snapshot { sequence: self.tip().sequence, catalog: Arc::new(Catalog::default()), shards }
    }

    fn look_at_tip(&mut self) -> Check {
        let snapshot = self.view_tip();
        self.compare(&snapshot, self.tip())?;
        self.hold(snapshot);
        Ok(())
    }

    fn compare(&self, snapshot: &Snapshot, state: &State) -> Check {
        for (number, shard) in snapshot.shards.iter().enumerate() {
            let own = shard.tables.keys().filter(|id| **id != kernel::schema::ERRORS_TABLE);
            ensure("atomic", own.eq(state.tables.keys()), || {
                format!(
                    "shard {number} shows tables {:?}, must show {:?}",
                    shard.tables.keys(),
                    state.tables.keys()
                )
            })?;
        }
        state.tables.keys().try_for_each(|id| {
            check_table(snapshot, id.0, &state.model)?;
            check_counts(snapshot, id.0)
        })
    }

    /// Published views are also merged.
    fn compare_published(&mut self) -> Check {
        let sequence = self.published.sequence;
        let snapshot =
            Snapshot { sequence, catalog: Arc::new(Catalog::default()), shards: self.views.clone() };
        self.compare(&snapshot, &self.published)?;
        let tables = self.published.tables.keys();
        tables
            .into_iter()
            .try_for_each(|id| check_sizes(&snapshot, id.0, &self.published.model, &self.limits))?;
        let whole = ShardLimits::default();
        // Parts of split rows share the buffers of all rows until they are merged.
        let is_cut = self.limits.step_bytes_max < whole.step_bytes_max
            || self.limits.piece_rows_max < whole.piece_rows_max;
        for (number, (chunks, view)) in self.chunks.iter().zip(&self.views).enumerate() {
            chunks.check(number, view)?;
            ensure("bounded", is_cut || chunks::holds_little(view), || {
                format!("shard {number}: a chunk holds on to much more than its rows")
            })?;
        }
        self.hold(snapshot);
        Ok(())
    }

    fn hold(&mut self, snapshot: Snapshot) {
        if self.d.below(4) == 1 {
            let tables = self.tip().tables.keys();
            let digests = tables.map(|id| (*id, value::digest(&snapshot, *id))).collect();
            self.held.push((snapshot, digests));
        }
    }

    fn publish(&mut self) -> Check {
        let Some(last) = self.staged.len().checked_sub(1) else { return Ok(()) };
        let through = self.staged[self.d.index(last + 1)].sequence;
        (self.tell)(format_args!("up to record {through} all is shown"));
        for (number, shard) in self.shards.iter_mut().enumerate() {
            match shard.handle(ShardCommand::Publish { through }) {
                ShardReply::Published { view, .. } => self.views[number] = view,
                other => return Err(Violation::new("honest", format!("shard {number} answers {other:?}"))),
            }
            self.chunks[number].publish(through);
        }
        while self.staged.front().is_some_and(|state| state.sequence <= through) {
            self.published = self.staged.pop_front().expect("just seen");
        }
        self.compare_published()
    }

    fn abandon(&mut self) {
        let Some(last) = self.staged.len().checked_sub(1) else { return };
        let kept = self.d.index(last + 1);
        let from = self.staged[kept].sequence;
        (self.tell)(format_args!("the records staged from {from} on are dropped"));
        self.shards.iter_mut().for_each(|shard| drop(shard.handle(ShardCommand::Abandon { from })));
        self.chunks.iter_mut().for_each(|chunks| chunks.abandon(from));
        self.staged.truncate(kept);
        self.log.retain(|record| record.sequence < from);
    }

    /// A record that deletes a row that never existed is refused, however close its id is to an existing one.
    fn replay_strange_deletions(&self) -> Check {
        if !self.staged.is_empty() {
            return Ok(());
        }
        for (number, view) in self.views.iter().enumerate() {
            for (def, _) in self.published.tables.values() {
                let ids: BTreeSet<RowId> =
                    view.tables[&def.id].chunks.iter().flat_map(|c| c.ids.iter()).collect();
                let Some(near) = ids.iter().nth(self.d.index(ids.len().max(1))) else { continue };
                let id = match self.d.below(4) {
                    0 => RowId { ordinal: near.ordinal + 1, ..*near },
                    1 => RowId { ordinal: near.ordinal.wrapping_sub(1), ..*near },
                    2 => RowId { sequence: near.sequence.next(), ..*near },
                    _ => RowId { sequence: Sequence(near.sequence.0 - 1), ..*near },
                };
                let mut piece = vec![];
                kernel::columns::encode(def, &[id], None, &mut piece);
                let piece = vec![piece.into()];
                let found = self.shards[number].clone().replay(self.published.sequence.next(), &[], &piece);
                let code = found.as_ref().map_err(|error| error.sqlstate);
                let is_right = ids.contains(&id) || code == Err(SqlState::DATA_CORRUPTED);
                ensure("recovered", is_right, || {
                    format!("shard {number}: row {id:?} goes, which is not there: {found:?}")
                })?;
            }
        }
        Ok(())
    }

    /// Makes other shards from the staged records, as if all were durable.
    fn restart(&mut self) -> Check {
        // An accepted row may be too large for smaller steps.
        let ShardLimits { step_bytes_max, keys_at_once, .. } = self.limits;
        self.limits = ShardLimits { step_bytes_max, keys_at_once, ..draw_shard_limits(self.d) };
        if self.covers_text {
            self.limits.chunk_bytes_max = ShardLimits::default().chunk_bytes_max;
        }
        (self.tell)(format_args!("other shards are made of the records, with {:?}", self.limits));
        self.replay_strange_deletions()?;
        for (number, shard) in self.shards.iter_mut().enumerate() {
            *shard = Shard::with_limits(ShardId(number as u16), self.views.len() as u16, self.limits);
            let chunks = &mut self.chunks[number];
            *chunks = Chunks::new(self.limits, !self.covers_text);
            for record in &self.log {
                chunks.stage(record.sequence, record.changes.iter().map(Step::of));
                for part in &record.parts[number] {
                    chunks.stage(record.sequence, piece::check(part)?.into_iter().map(Step::Rows));
                }
                chunks.publish(record.sequence);
                let piece = record.parts[number].clone();
                shard.replay(record.sequence, &record.changes, &piece).map_err(|error| {
                    let text =
                        format!("shard {number} does not take record {} again: {error}", record.sequence);
                    Violation::new("recovered", text)
                })?;
            }
            self.views[number] = shard.recovered();
        }
        if let Some(last) = self.staged.pop_back() {
            self.published = last;
            self.staged.clear();
        }
        self.compare_published()
    }
}

fn refusal(table: TableId, code: &str, why: &str, origin: Option<(i32, i64)>, row: &str) -> String {
    format!("{code} in table {table}: {why}; {row} from {origin:?}")
}
