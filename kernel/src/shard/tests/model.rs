//! A shard against a simple model that keeps rows in a list and processes incoming rows one by one, through random
//! stages, truncations, abandons, publications (with their merges) and replay.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::error::SqlState;
use crate::expr::scalar::{Value, array, interpret, value_at};
use crate::expr::{Arithmetic, Comparison, Expr, Literal, OnDuplicate, Update};
use crate::message::{Counts, ShardCommand, ShardReply, Work};
use crate::schema::{CatalogChange, ColumnDef, ColumnType, TableDef};
use crate::shard::{Shard, ShardLimits};
use crate::snapshot::ShardView;
use crate::*;

const TYPES: [ColumnType; 5] =
    [ColumnType::Int64, ColumnType::Text, ColumnType::Int64, ColumnType::Int16, ColumnType::Text];
const NAMES: [&str; 5] = ["a", "b", "n", "m", "t"];
/// Primary keys of the tables: none, one that is hashed exactly, one that is not, a composite one.
const KEYS: [&[u16]; 4] = [&[], &[0], &[1], &[1, 0]];

fn table(at: usize) -> Arc<TableDef> {
    let column = |i: usize| ColumnDef {
        id: ColumnId(i as u32),
        name: NAMES[i].into(),
        column_type: TYPES[i],
        nullable: matches!(NAMES[i], "n" | "t"),
        default_sql: None,
    };
    Arc::new(TableDef {
        id: TableId(at as u32 + 1),
        name: format!("t{at}"),
        schema_version: 1,
        columns: (0..TYPES.len()).map(column).collect(),
        primary_key: KEYS[at].iter().map(|at| ColumnId(u32::from(*at))).collect(),
        shard_key: vec![],
        sort_key: vec![],
        created_at: Sequence(1),
    })
}

/// The user's columns, then provenance.
type Row = Vec<Value>;

/// In the stored schema, except that all columns are nullable.
fn batch(rows: &[Row]) -> RecordBatch {
    let hidden = [ColumnType::Int64, ColumnType::Int32, ColumnType::Int64];
    let columns: Vec<ArrayRef> = TYPES
        .iter()
        .chain(&hidden)
        .enumerate()
        .map(|(at, t)| array(*t, &rows.iter().map(|r| r[at].clone()).collect::<Vec<_>>()))
        .collect();
    let field = |(at, c): (usize, &ArrayRef)| Field::new(format!("c{at}"), c.data_type().clone(), true);
    let fields: Vec<Field> = columns.iter().enumerate().map(field).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn rules() -> Vec<OnDuplicate> {
    let stored = |c| Box::new(Expr::Stored(ColumnId(c)));
    let incoming = |c| Box::new(Expr::Incoming(ColumnId(c)));
    let update = |assignments: Vec<(u32, Expr)>, condition| {
        let assignments = assignments.into_iter().map(|(column, expr)| (ColumnId(column), expr)).collect();
        OnDuplicate::Update(Update { assignments, condition })
    };
    let add = |c| Expr::Arithmetic(Arithmetic::Add, stored(c), incoming(c));
    let null_is_five =
        Expr::Coalesce(vec![Expr::Stored(ColumnId(2)), Expr::Literal(Literal::Int(5), ColumnType::Int64)]);
    vec![
        OnDuplicate::Reject,
        OnDuplicate::Ignore,
        OnDuplicate::Replace,
        // Folds.
        update(vec![(2, add(2))], None),
        update(vec![(3, add(3)), (2, Expr::Incoming(ColumnId(2)))], None),
        update(
            vec![
                (2, Expr::Greatest(vec![Expr::Stored(ColumnId(2)), Expr::Incoming(ColumnId(2))])),
                (3, Expr::Least(vec![Expr::Stored(ColumnId(3)), Expr::Incoming(ColumnId(3))])),
                (4, Expr::Concat(incoming(1), incoming(4))),
            ],
            None,
        ),
        update(vec![(3, Expr::Cast(incoming(2), ColumnType::Int16))], None),
        update(
            vec![
                (3, Expr::Arithmetic(Arithmetic::Subtract, stored(3), incoming(3))),
                (2, Expr::Arithmetic(Arithmetic::Divide, incoming(2), incoming(0))),
            ],
            None,
        ),
        // Rounds.
        update(
            vec![(2, Expr::Incoming(ColumnId(2))), (4, Expr::Concat(stored(4), incoming(4)))],
            Some(Expr::Compare(Comparison::Greater, incoming(2), Box::new(null_is_five.clone()))),
        ),
        update(
            vec![
                (
                    2,
                    Expr::Arithmetic(
                        Arithmetic::Divide,
                        Box::new(null_is_five),
                        Box::new(Expr::Cast(stored(3), ColumnType::Int64)),
                    ),
                ),
                (3, add(3)),
            ],
            None,
        ),
        update(
            vec![(3, Expr::Arithmetic(Arithmetic::Multiply, stored(3), incoming(3)))],
            Some(Expr::Compare(
                Comparison::NotEqual,
                Box::new(Expr::Arithmetic(Arithmetic::Remainder, incoming(2), stored(2))),
                Box::new(Expr::Literal(Literal::Int(1), ColumnType::Int64)),
            )),
        ),
    ]
}

#[derive(Clone, Debug, Default)]
struct Model {
    tables: BTreeMap<usize, Vec<Row>>,
}

/// The model's result of a stage: counts, and rejected rows by offset.
type Verdict = (Counts, Vec<(i64, SqlState)>, u64);

impl Model {
    fn stage(&mut self, at: usize, rule: &OnDuplicate, rows: &[Row]) -> Verdict {
        let stored = self.tables.get_mut(&at).unwrap();
        let (mut counts, mut refused) = (Counts::default(), vec![]);
        for row in rows {
            let Value::I64(offset) = row[7] else { panic!() };
            if row[3] == Value::Null {
                refused.push((offset, SqlState::NOT_NULL_VIOLATION));
                continue;
            }
            let key = |r: &Row| KEYS[at].iter().map(|c| r[*c as usize].clone()).collect::<Vec<_>>();
            let found = stored.iter_mut().find(|s| !KEYS[at].is_empty() && key(s) == key(row));
            let Some(old) = found else {
                stored.push(row.clone());
                counts.inserted += 1;
                continue;
            };
            match rule {
                OnDuplicate::Reject => refused.push((offset, SqlState::UNIQUE_VIOLATION)),
                OnDuplicate::Ignore => counts.ignored += 1,
                OnDuplicate::Replace => {
                    *old = row.clone();
                    counts.updated += 1;
                }
                OnDuplicate::Update(update) => match updated(old, row, update) {
                    Ok(Some(new)) => {
                        *old = new;
                        counts.updated += 1;
                    }
                    Ok(None) => counts.ignored += 1,
                    Err(kind) => refused.push((offset, kind)),
                },
            }
        }
        let ignored = counts.ignored;
        (counts, refused, ignored)
    }
}

fn updated(old: &Row, row: &Row, update: &Update) -> Result<Option<Row>, SqlState> {
    if let Some(condition) = &update.condition
        && interpret(condition, old, row)? != Value::Bool(true)
    {
        return Ok(None);
    }
    let mut new = old.clone();
    for (column, expr) in &update.assignments {
        new[column.0 as usize] = interpret(expr, old, row)?;
    }
    if new[3] == Value::Null {
        return Err(SqlState::NOT_NULL_VIOLATION);
    }
    new[5..].clone_from_slice(&row[5..]);
    Ok(Some(new))
}

#[derive(Clone, Debug)]
enum Op {
    Rows {
        table: usize,
        rule: usize,
        rows: Vec<Row>,
        cut: usize,
        deletes: Vec<prop::sample::Index>,
        same_record: bool,
    },
    Truncate(usize),
    DropAndCreate(usize),
    /// Drops this number of staged records.
    Abandon(usize),
    /// Publishes all but this number of staged records.
    Publish(usize),
}

fn row() -> impl Strategy<Value = Row> {
    let small = prop_oneof![3 => (-2i64..6).prop_map(Value::I64), 1 => Just(Value::Null)];
    let m = prop_oneof![
        6 => (-2i16..3).prop_map(Value::I16),
        2 => prop::sample::select(&[i16::MAX, i16::MIN][..]).prop_map(Value::I16),
        1 => Just(Value::Null)
    ];
    let t = prop_oneof![3 => "[xy]{0,2}".prop_map(Value::Text), 1 => Just(Value::Null)];
    (0i64..7, "[pq]{1,2}", prop_oneof![4 => small, 1 => any::<i64>().prop_map(Value::I64)], m, t).prop_map(
        |(a, b, n, m, t)| {
            vec![Value::I64(a), Value::Text(b), n, m, t, Value::I64(1), Value::I32(3), Value::Null]
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let rows = (
        0..KEYS.len(),
        0..rules().len(),
        vec(row(), 0..14),
        0usize..14,
        vec(any::<prop::sample::Index>(), 0..3),
        prop::bool::weighted(0.2),
    );
    prop_oneof![
        12 => rows.prop_map(|(table, rule, rows, cut, deletes, same_record)| Op::Rows {
            table, rule, rows, cut, deletes, same_record
        }),
        1 => (0..KEYS.len()).prop_map(Op::Truncate),
        1 => (0..KEYS.len()).prop_map(Op::DropAndCreate),
        2 => (0usize..3).prop_map(Op::Abandon),
        6 => (0usize..3).prop_map(Op::Publish),
    ]
}

/// Rows of a table with their ids, in order; also checks the invariants of a view.
fn rows_of(view: &ShardView, table: TableId) -> Vec<(RowId, Row)> {
    let Some(table) = view.tables.get(&table) else {
        return vec![];
    };
    let mut found = vec![];
    let mut all_ids = vec![];
    for chunk in &table.chunks {
        assert_eq!(chunk.ids.len(), chunk.rows.num_rows());
        assert!(chunk.live_rows() > 0);
        for row in 0..chunk.rows.num_rows() {
            all_ids.push(chunk.ids.get(row));
            if !chunk.deleted.as_ref().is_some_and(|d| d.value(row)) {
                let values = chunk.rows.columns().iter().map(|c| value_at(c, row)).collect();
                found.push((chunk.ids.get(row), values));
            }
        }
    }
    assert!(all_ids.is_sorted_by(|a, b| a < b), "row ids ascend over all chunks");
    assert_eq!(table.live_rows as usize, found.len());
    found
}

fn sorted(mut rows: Vec<Row>) -> Vec<String> {
    rows.sort_by_key(|r| format!("{r:?}"));
    rows.into_iter().map(|r| format!("{r:?}")).collect()
}

/// A staged record: its log bytes, and the model before it.
struct Record {
    sequence: u64,
    changes: Vec<CatalogChange>,
    outcomes: Vec<bytes::Bytes>,
    before: Model,
    ids_before: [u32; KEYS.len()],
}

struct World {
    shard: Shard,
    model: Model,
    /// Tables are created again under new ids.
    ids: [u32; KEYS.len()],
    next_id: u32,
    offset: i64,
    staged: Vec<Record>,
    log: Vec<(u64, Vec<CatalogChange>, Vec<bytes::Bytes>)>,
    published: Model,
    published_ids: [u32; KEYS.len()],
    next: u64,
    trace: Vec<u8>,
}

impl World {
    fn new(limits: ShardLimits) -> World {
        let mut world = World {
            shard: Shard::with_limits(ShardId(0), 1, limits),
            model: Model::default(),
            ids: [0; KEYS.len()],
            next_id: 1,
            offset: 0,
            staged: vec![],
            log: vec![],
            published: Model::default(),
            published_ids: [0; KEYS.len()],
            next: 1,
            trace: vec![],
        };
        let tables = (0..KEYS.len()).map(|at| world.definition(at)).collect::<Vec<_>>();
        world.record();
        for (at, table) in tables.into_iter().enumerate() {
            world.create(at, table);
        }
        world.publish(0);
        world
    }

    fn definition(&mut self, at: usize) -> Arc<TableDef> {
        let mut definition = table(at).as_ref().clone();
        definition.id = TableId(self.next_id);
        self.next_id += 1;
        Arc::new(definition)
    }

    fn record(&mut self) {
        let before = self.model.clone();
        let ids_before = self.ids;
        self.staged.push(Record {
            sequence: self.next,
            changes: vec![],
            outcomes: vec![],
            before,
            ids_before,
        });
        self.next += 1;
    }

    fn create(&mut self, at: usize, table: Arc<TableDef>) {
        self.ids[at] = table.id.0;
        self.model.tables.insert(at, vec![]);
        self.define(CatalogChange::TableCreated(table.as_ref().clone()), Work::CreateTable(table));
    }

    fn define(&mut self, change: CatalogChange, work: Work) {
        let record = self.staged.last_mut().unwrap();
        record.changes.push(change);
        let sequence = Sequence(record.sequence);
        let reply = self.shard.handle(ShardCommand::Stage { sequence, work: vec![work] });
        assert!(matches!(reply, ShardReply::Staged { outcome, .. } if outcome.is_empty()));
    }

    fn tip(&mut self) -> Arc<ShardView> {
        match self.shard.handle(ShardCommand::ViewTip { table_lock: TableLockId(1) }) {
            ShardReply::Tip { view, .. } => view,
            other => panic!("{other:?}"),
        }
    }

    fn check_tip(&mut self) {
        let view = self.tip();
        check(&view, &self.model, &self.ids);
    }

    fn rows(
        &mut self,
        at: usize,
        rule: usize,
        mut rows: Vec<Row>,
        cut: usize,
        deletes: &[prop::sample::Index],
    ) {
        for row in &mut rows {
            row[7] = Value::I64(self.offset);
            self.offset += 1;
        }
        let table = TableId(self.ids[at]);
        let living = rows_of(&self.tip(), table);
        let mut chosen: Vec<usize> =
            deletes.iter().filter(|_| !living.is_empty()).map(|d| d.index(living.len())).collect();
        chosen.sort();
        chosen.dedup();
        let deletes: Vec<RowId> = chosen.iter().map(|i| living[*i].0).collect();
        let model = self.model.tables.get_mut(&at).unwrap();
        for chosen in &chosen {
            let deleted =
                model.iter().position(|r| format!("{r:?}") == format!("{:?}", living[*chosen].1)).unwrap();
            model.remove(deleted);
        }
        let rule = &rules()[rule];
        let (mut counts, refused, ignored) = self.model.stage(at, rule, &rows);
        counts.deleted = deletes.len() as u64;
        let (front, back) = rows.split_at(cut.min(rows.len()));
        let work =
            Work::Rows { table, on_duplicate: rule.clone(), deletes, rows: vec![batch(front), batch(back)] };
        let record = self.staged.last_mut().unwrap();
        let sequence = Sequence(record.sequence);
        match self.shard.handle(ShardCommand::Stage { sequence, work: vec![work] }) {
            ShardReply::Staged { outcome, counts: got, rejected, ignored: ignored_of, .. } => {
                assert_eq!(got, counts);
                let rejected: Vec<_> =
                    rejected.iter().map(|r| (r.origin.unwrap().1, r.error.sqlstate)).collect();
                assert_eq!(rejected, refused);
                assert_eq!(ignored_of.values().map(|offsets| offsets.len() as u64).sum::<u64>(), ignored);
                self.trace.extend_from_slice(&outcome);
                record.outcomes.push(outcome);
            }
            other => panic!("{other:?}"),
        }
    }

    fn abandon(&mut self, count: usize) {
        let keep = self.staged.len().saturating_sub(count);
        if keep == self.staged.len() {
            return;
        }
        let from = self.staged[keep].sequence;
        self.shard.handle(ShardCommand::Abandon { from: Sequence(from) });
        self.model = self.staged[keep].before.clone();
        self.ids = self.staged[keep].ids_before;
        self.staged.truncate(keep);
        // Sequences of dropped records are reused.
        self.next = from;
    }

    fn publish(&mut self, hold_back: usize) {
        let count = self.staged.len().saturating_sub(hold_back);
        let through = if count == 0 { 0 } else { self.staged[count - 1].sequence };
        if let Some(next) = self.staged.get(count) {
            (self.published, self.published_ids) = (next.before.clone(), next.ids_before);
        } else {
            (self.published, self.published_ids) = (self.model.clone(), self.ids);
        }
        for record in self.staged.drain(..count) {
            self.log.push((record.sequence, record.changes, record.outcomes));
        }
        let through = Sequence(through);
        match self.shard.handle(ShardCommand::Publish { through }) {
            ShardReply::Published { view, .. } => check(&view, &self.published, &self.published_ids),
            other => panic!("{other:?}"),
        }
    }

    fn recover(&self) -> (Shard, Arc<ShardView>) {
        let mut shard = Shard::new(ShardId(0), 1);
        for (sequence, changes, outcomes) in &self.log {
            shard.replay(Sequence(*sequence), changes, outcomes).unwrap();
        }
        let view = shard.recovered();
        (shard, view)
    }
}

fn check(view: &ShardView, model: &Model, ids: &[u32; KEYS.len()]) {
    for (at, rows) in &model.tables {
        let found = rows_of(view, TableId(ids[*at])).into_iter().map(|(_, row)| row).collect();
        assert_eq!(sorted(found), sorted(rows.clone()), "table {at}");
    }
}

fn run(ops: &[Op], limits: ShardLimits) -> Vec<u8> {
    let mut world = World::new(limits);
    for op in ops {
        match op {
            Op::Rows { table, rule, rows, cut, deletes, same_record } => {
                if !*same_record || world.staged.is_empty() {
                    world.record();
                }
                world.rows(*table, *rule, rows.clone(), *cut, deletes);
            }
            Op::Truncate(at) => {
                world.record();
                let id = TableId(world.ids[*at]);
                world.model.tables.insert(*at, vec![]);
                world.define(CatalogChange::TableTruncated(id), Work::TruncateTable(id));
            }
            Op::DropAndCreate(at) => {
                world.record();
                let id = TableId(world.ids[*at]);
                world.define(CatalogChange::TableDropped(id), Work::DropTable(id));
                let definition = world.definition(*at);
                world.create(*at, definition);
            }
            Op::Abandon(count) => world.abandon(*count),
            Op::Publish(hold_back) => world.publish(*hold_back),
        }
        world.check_tip();
    }
    world.publish(0);
    let (recovered, view) = world.recover();
    check(&view, &world.model, &world.ids);
    assert_same(&world.tip(), &view, &world.ids);
    let before = std::mem::replace(&mut world.shard, recovered);
    go_on(&mut world, before);
    world.trace
}

/// A recovered shard continues like the one before it, and a second shard follows by replay.
fn go_on(world: &mut World, mut follower: Shard) {
    for at in 0..KEYS.len() {
        let row = |(i, key): (i64, &str)| {
            let own = [Value::I64(i), Value::Text(key.into()), Value::I64(1), Value::I16(1), Value::Null];
            own.into_iter().chain([Value::I64(1), Value::I32(3), Value::Null]).collect()
        };
        let rows: Vec<Row> = (0..).zip(["p", "q", "pp", "pq", "qp", "qq"]).map(row).collect();
        world.record();
        world.rows(at, 3, rows, 2, &[]);
        let record = world.staged.last().unwrap();
        follower.replay(Sequence(record.sequence), &[], &record.outcomes).unwrap();
        assert_same(&world.tip(), &follower.recovered(), &world.ids);
    }
}

/// The same rows under the same ids in the same order.
fn assert_same(a: &ShardView, b: &ShardView, ids: &[u32]) {
    for id in ids {
        let (a, b) = (rows_of(a, TableId(*id)), rows_of(b, TableId(*id)));
        assert_eq!(format!("{a:?}"), format!("{b:?}"), "table {id}");
    }
}

/// The default limits, or small ones.
fn limits() -> impl Strategy<Value = ShardLimits> {
    let small = (400..4000usize, 1..9usize, 4..200usize, 100..4000usize, 1..100usize, 1..9usize, 0..65u32)
        .prop_map(
            |(
                step_bytes_max,
                piece_rows_max,
                chunk_rows_max,
                chunk_bytes_max,
                row_text_bytes_max,
                keys_at_once,
                key_hash_bits,
            )| ShardLimits {
                step_bytes_max,
                piece_rows_max,
                chunk_rows_max,
                chunk_bytes_max,
                row_text_bytes_max,
                keys_at_once,
                key_hash_bits,
            },
        );
    prop_oneof![1 => Just(ShardLimits::default()), 2 => small]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]
    #[test]
    fn a_shard_is_its_model(
        ops in vec(op(), 1..40),
        limits in limits(),
    ) {
        let once = run(&ops, limits);
        prop_assert_eq!(once, run(&ops, limits), "the same inputs give the same bytes");
    }
}

#[test]
fn types_of_the_model_are_those_of_the_table() {
    let schema = table(0).stored_schema();
    let types: Vec<&DataType> = schema.fields().iter().map(|f| f.data_type()).collect();
    let made = batch(&[vec![
        Value::I64(1),
        Value::Text("x".into()),
        Value::Null,
        Value::I16(1),
        Value::Null,
        Value::Null,
        Value::Null,
        Value::Null,
    ]]);
    assert_eq!(types, made.columns().iter().map(|c| c.data_type()).collect::<Vec<_>>());
}
