//! Updates alone: many programs, each over the same few rows with values at the bounds of their types. The oracle's
//! evaluator predicts the results. Also the depth limit of programs.

use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::sync::Arc;

use kernel::expr::{Expr, OnDuplicate, Update};
use kernel::message::{Counts, Rejected, ShardCommand, ShardReply, Work};
use kernel::schema::{Catalog, ColumnType, TableDef};
use kernel::snapshot::Snapshot;
use kernel::{ColumnId, Sequence, Shard, ShardId, SqlState, TableId, TableLockId};

use super::{piece, rows};
use crate::decide::Decisions;
use crate::oracle::value::{self, Row, Value};
use crate::oracle::{Check, Violation, ensure, expr};
use crate::program::{MISFIT, Program};
use crate::scenario::TableShape;
use crate::wide::{Layout, edges, plain};

/// Deepest nesting of an expression.
const DEPTH_MAX: usize = 400;
/// Index of the first hidden column.
const HIDDEN: usize = 16;

/// Executes some programs. `tell` is called for each.
pub fn check(d: &Decisions<'_>, tell: &dyn Fn(Arguments<'_>)) -> Check {
    let mut model_test = ModelTest::new(d)?;
    for _ in 0..d.between(4, 12) {
        match d.below(10) {
            0 => model_test.refuse_misfit()?,
            _ => model_test.carry_out(tell)?,
        }
    }
    if d.below(4) == 0 { check_depth(&model_test.def) } else { Ok(()) }
}

struct ModelTest<'d, 'a> {
    d: &'d Decisions<'a>,
    layout: Layout,
    def: Arc<TableDef>,
    shard: Shard,
    stored: Vec<Row>,
}

fn table(layout: Layout) -> Arc<TableDef> {
    Arc::new(super::table_of(TableShape::Wide(layout).spec("programs", false), TableId(5)))
}

/// The result of a shard.
struct Staged {
    counts: Counts,
    rejected: Vec<Rejected>,
}

/// The record that makes the table, and the one that changes it.
const MADE: Sequence = Sequence(1);
const CHANGED: Sequence = Sequence(2);

fn stage(shard: &mut Shard, sequence: Sequence, work: Vec<Work>) -> Result<Staged, Violation> {
    match shard.handle(ShardCommand::Stage { sequence, work }) {
        ShardReply::Staged { outcome, counts, rejected, .. } => {
            piece::check(&outcome)?;
            Ok(Staged { counts, rejected })
        }
        other => Err(Violation::new("honest", format!("a shard answers {other:?}"))),
    }
}

impl<'d, 'a> ModelTest<'d, 'a> {
    fn new(d: &'d Decisions<'a>) -> Result<ModelTest<'d, 'a>, Violation> {
        let layout = Layout::draw(d);
        let mut model_test =
            ModelTest { d, layout, def: table(layout), shard: Shard::new(ShardId(0), 1), stored: Vec::new() };
        model_test.stored = (0..d.between(2, 16)).map(|number| model_test.row(number, number)).collect();
        let create = Work::CreateTable(model_test.def.clone());
        let insert = model_test.rows(OnDuplicate::Reject, &model_test.stored);
        let staged = stage(&mut model_test.shard, MADE, vec![create, insert])?;
        ensure("exactly once", staged.counts.inserted == model_test.stored.len() as u64, || {
            format!("{} different keys come to {:?}", model_test.stored.len(), staged.counts)
        })?;
        Ok(model_test)
    }

    /// A row of the key of that number.
    fn row(&self, key: u64, offset: u64) -> Row {
        let d = self.d;
        let value = |(at, (_, column_type, nullable)): (usize, &(&str, ColumnType, bool))| {
            if self.layout.key().contains(&(at as u16)) {
                return plain(*column_type, key);
            }
            match d.below(8) {
                0 if *nullable => Value::Null,
                0..=4 => d.pick(&edges(*column_type)),
                _ => plain(*column_type, d.below(24)),
            }
        };
        let own = self.layout.columns().iter().enumerate().map(value);
        own.chain([1, 0, offset as i64].map(Value::Int)).collect()
    }

    fn rows(&self, on_duplicate: OnDuplicate, rows: &[Row]) -> Work {
        let rows = vec![rows::batch(self.d, &self.def, rows, true)];
        Work::Rows { table: self.def.id, on_duplicate, deletes: vec![], rows }
    }

    /// One to three rows for most keys, in any order.
    fn incoming(&self) -> Vec<(usize, Row)> {
        let d = self.d;
        let count = d.between(1, 2 * self.stored.len() as u64);
        let one = |offset: u64| {
            let key = d.index(self.stored.len());
            (key, self.row(key as u64, 100 + offset))
        };
        (0..count).map(one).collect()
    }

    fn carry_out(&mut self, tell: &dyn Fn(Arguments<'_>)) -> Check {
        let program = Program::draw_short(self.d, self.layout);
        let incoming = self.incoming();
        tell(format_args!("{} rows come to {} by {:?}", incoming.len(), self.stored.len(), program.update));
        let (mut due, mut counts, mut refused) = (self.stored.clone(), Counts::default(), BTreeMap::new());
        for (key, row) in &incoming {
            match expr::updated(&program, &due[*key][..HIDDEN], &row[..HIDDEN]) {
                Ok(Some(own)) => {
                    due[*key] = [&own[..], &row[HIDDEN..]].concat();
                    counts.updated += 1;
                }
                Ok(None) => counts.ignored += 1,
                Err(code) => drop(refused.insert(row[HIDDEN + 2].clone(), code)),
            }
        }
        let rows: Vec<Row> = incoming.into_iter().map(|(_, row)| row).collect();
        let work = self.rows(OnDuplicate::Update(program.update.clone()), &rows);
        let staged = stage(&mut self.shard, CHANGED, vec![work])?;
        let why = || format!("by {:?}", program.update);
        ensure("exactly once", staged.counts == counts, || {
            format!("rows come to {:?}, must come to {counts:?} {}", staged.counts, why())
        })?;
        let told: BTreeMap<Value, &str> = staged.rejected.iter().map(told).collect();
        ensure("exactly once", told == refused, || {
            format!("rows are refused {told:?}, must be refused {refused:?} {}", why())
        })?;
        let found = self.view();
        for (due, found) in due.iter().zip(&found) {
            ensure("exactly once", due == found, || {
                format!("a row is {found:?}, must be {due:?} {}", why())
            })?;
        }
        ensure("exactly once", found.len() == due.len(), || format!("{} rows are there", found.len()))?;
        self.shard.handle(ShardCommand::Abandon { from: CHANGED });
        Ok(())
    }

    /// In order of their keys' numbers.
    fn view(&mut self) -> Vec<Row> {
        let ShardReply::Tip { view, .. } =
            self.shard.handle(ShardCommand::ViewTip { table_lock: TableLockId(1) })
        else {
            panic!("a view was asked for")
        };
        let snapshot =
            Snapshot { sequence: CHANGED, catalog: Arc::new(Catalog::default()), shards: vec![view] };
        let key = |row: &Row| -> Vec<Value> {
            self.layout.key().iter().map(|column| row[usize::from(*column)].clone()).collect()
        };
        let read = value::rows(&snapshot, self.def.id).into_iter().map(|read| read.row);
        let mut by_key: BTreeMap<Vec<Value>, Row> = read.map(|row| (key(&row), row)).collect();
        self.stored.iter().filter_map(|stored| by_key.remove(&key(stored))).collect()
    }

    /// An ill-typed update rejects all rows.
    fn refuse_misfit(&mut self) -> Check {
        let misfit = Program::draw_misfit(self.d, self.layout);
        let rows: Vec<Row> = self.incoming().into_iter().map(|(_, row)| row).collect();
        let work = self.rows(misfit.clone(), &rows);
        let staged = stage(&mut self.shard, CHANGED, vec![work])?;
        let refused = staged.rejected.iter().filter(|rejected| rejected.error.sqlstate == MISFIT).count();
        self.shard.handle(ShardCommand::Abandon { from: CHANGED });
        ensure("honest", refused == rows.len() && staged.counts == Counts::default(), || {
            format!("{refused} of {} rows are refused by {misfit:?}", rows.len())
        })
    }
}

fn told(rejected: &Rejected) -> (Value, &str) {
    let offset = rejected.origin.map_or(Value::Null, |(_, offset)| Value::Int(offset));
    (offset, rejected.error.sqlstate.as_str())
}

/// The maximum depth and one more: definition and decoding.
fn check_depth(def: &TableDef) -> Check {
    let flag = def.columns.iter().position(|column| column.column_type == ColumnType::Bool);
    let leaf = Expr::Incoming(ColumnId(flag.expect("the wide table has one") as u32));
    let nested = |depth: usize| (1..depth).fold(leaf.clone(), |inner, _| Expr::Not(Box::new(inner)));
    for depth in [DEPTH_MAX, DEPTH_MAX + 1, DEPTH_MAX + 2] {
        let condition = Some(nested(depth));
        let check = OnDuplicate::Update(Update { assignments: vec![], condition }).check(def);
        let due = if depth > DEPTH_MAX { Err(SqlState::INVALID_PARAMETER_VALUE) } else { Ok(()) };
        let found = check.map_err(|error| error.sqlstate);
        ensure("honest", found == due, || format!("an expression of depth {depth} gives {found:?}"))?;
    }
    // An array of its nodes, operands first: its length in two bytes, then each node, of which `Not` takes three.
    let mut bytes = kernel::cbor::to_vec(&nested(DEPTH_MAX));
    let read = |bytes: &[u8]| kernel::cbor::from_slice::<Expr>(bytes).ok();
    let same = read(&bytes) == Some(nested(DEPTH_MAX));
    let [head, high, low] = [0, 1, 2].map(|at| bytes[at]);
    let longer = (u16::from_be_bytes([high, low]) + 1).to_be_bytes();
    ensure("honest", head == 0x99, || format!("{DEPTH_MAX} nodes are an array that begins with {head:#x}"))?;
    bytes[1..3].copy_from_slice(&longer);
    bytes.extend_from_within(bytes.len() - 3..);
    ensure("recovered", same && read(&bytes).is_none(), || {
        format!("an expression of depth {DEPTH_MAX} is read again: {same}; a deeper one: {:?}", read(&bytes))
    })
}
