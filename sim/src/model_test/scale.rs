//! Shards with the numbers of rows, keys, deletions and columns of large batches and wide tables, with the limits of a
//! server. Small limits do not reach these sizes. The rows are simple (a key, a number), so that a map predicts them.

use std::collections::BTreeMap;
use std::fmt::Arguments;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int32Array, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use kernel::expr::{Expr, OnDuplicate, Update};
use kernel::message::{Counts, ShardCommand, ShardReply, TableSpec, Work};
use kernel::schema::{CatalogChange, ColumnDef, ColumnType, TableDef};
use kernel::snapshot::ShardView;
use kernel::{ColumnId, RowId, Sequence, Shard, ShardId, TableId, TableLockId};

use crate::decide::Decisions;
use crate::oracle::{Check, ensure};
use crate::scenario::{Duplicate, TableShape};

const TABLE: TableId = TableId(7);

/// Mostly nothing; else one of the sizes.
pub fn check(d: &Decisions<'_>, tell: &dyn Fn(Arguments<'_>)) -> Check {
    match d.below(40) {
        1 => Rows::new(66_000 + d.below(3000) as usize, tell).check(d),
        2..=7 => Rows::new(1000 + d.below(2000) as usize, tell).check(d),
        8..=10 => check_columns(d, tell),
        _ => Ok(()),
    }
}

/// A shard, and what it must hold.
struct Rows {
    def: Arc<TableDef>,
    shard: Shard,
    sequence: Sequence,
    /// The number of each key at the staged tip.
    numbers: BTreeMap<i64, i64>,
    keys: usize,
    /// Each record, as the log would have it.
    outcomes: Vec<(Vec<CatalogChange>, Vec<Bytes>)>,
}

impl Rows {
    fn new(keys: usize, tell: &dyn Fn(Arguments<'_>)) -> Rows {
        tell(format_args!("a shard takes {keys} keys at once"));
        let def = Arc::new(super::table_of(TableShape::Latest.spec("scale", false), TABLE));
        let shard = Shard::new(ShardId(0), 1);
        Rows { def, shard, sequence: Sequence(0), numbers: BTreeMap::new(), keys, outcomes: vec![] }
    }

    fn check(mut self, d: &Decisions<'_>) -> Check {
        let created = vec![CatalogChange::TableCreated((*self.def).clone())];
        let counts = self.stage(vec![Work::CreateTable(self.def.clone())], created);
        ensure("bounded", counts == Counts::default(), || format!("a table is created: {counts:?}"))?;
        let hot = 1100 + d.below(500);
        self.add(d, Duplicate::Add, hot)?;
        self.publish_and_compare()?;
        // The rows of a key one after the other, where the update is no fold.
        self.add(d, Duplicate::AddGains, if self.keys > 10_000 { 3 } else { hot })?;
        self.publish_and_compare()?;
        self.remove(d, true)?;
        self.add(d, Duplicate::Add, hot)?;
        self.remove(d, false)?;
        self.publish_and_compare()?;
        self.add(d, Duplicate::Replace, 2)?;
        self.publish_and_compare()?;
        self.replay()
    }

    /// Rows of all keys in one batch, and many more of a single one.
    fn add(&mut self, d: &Decisions<'_>, duplicate: Duplicate, hot: u64) -> Check {
        let number = |row: i64| row % 17 - 8;
        let first_hot = d.index(self.keys);
        let all = (0..self.keys as i64).map(|key| key * 7919 % self.keys as i64);
        let mut keys: Vec<i64> = all.collect();
        let hot_key = keys[first_hot];
        keys.splice(first_hot..first_hot, std::iter::repeat_n(hot_key, hot as usize));
        let mut due = Counts::default();
        for (row, key) in keys.iter().enumerate() {
            let number = number(row as i64);
            let Some(stored) = self.numbers.get_mut(key) else {
                self.numbers.insert(*key, number);
                due.inserted += 1;
                continue;
            };
            match duplicate {
                Duplicate::AddGains if number <= 0 => {
                    due.ignored += 1;
                    continue;
                }
                Duplicate::Replace => *stored = number,
                _ => *stored += number,
            }
            due.updated += 1;
        }
        let numbers: Vec<i64> = (0..keys.len() as i64).map(number).collect();
        let work = Work::Rows {
            table: TABLE,
            on_duplicate: duplicate.lowered(TableShape::Latest),
            deletes: vec![],
            rows: vec![self.batch(keys, numbers)],
        };
        let counts = self.stage(vec![work], vec![]);
        ensure("exactly once", counts == due, || {
            format!("{} rows of {} keys come to {counts:?}, must come to {due:?}", self.keys, hot)
        })
    }

    fn batch(&self, keys: Vec<i64>, numbers: Vec<i64>) -> RecordBatch {
        let rows = keys.len();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(keys)),
            Arc::new(Int64Array::from(numbers)),
            Arc::new(StringArray::new_null(rows)),
            Arc::new(Int64Array::new_null(rows)),
            Arc::new(Int32Array::new_null(rows)),
            Arc::new(Int64Array::new_null(rows)),
        ];
        RecordBatch::try_new(self.def.stored_schema(), columns).expect("rows of the table")
    }

    /// Most rows go; where that is abandoned they are all there again, and their keys are.
    fn remove(&mut self, d: &Decisions<'_>, abandons: bool) -> Check {
        let view = self.tip();
        let left = d.below(7) as usize + 2;
        let mut going: Vec<(RowId, i64)> = Vec::new();
        for_each_row(&view, |id, row| going.push((id, row[0])));
        let going: Vec<(RowId, i64)> =
            going.into_iter().enumerate().filter(|(at, _)| at % left != 0).map(|(_, row)| row).collect();
        let deletes = going.iter().map(|(id, _)| *id).collect();
        let work = Work::Rows { table: TABLE, on_duplicate: OnDuplicate::Reject, deletes, rows: vec![] };
        let counts = self.stage(vec![work], vec![]);
        ensure("exactly once", counts.deleted == going.len() as u64, || {
            format!("{} rows go, {counts:?} did", going.len())
        })?;
        if abandons {
            self.outcomes.pop();
            let from = self.sequence;
            self.shard.handle(ShardCommand::Abandon { from });
            self.sequence = Sequence(from.0 - 1);
        } else {
            going.iter().for_each(|(_, key)| {
                self.numbers.remove(key);
            });
        }
        compare(&self.tip(), &self.numbers)
    }

    fn stage(&mut self, work: Vec<Work>, changes: Vec<CatalogChange>) -> Counts {
        self.sequence = self.sequence.next();
        let sequence = self.sequence;
        let ShardReply::Staged { outcome, counts, rejected, .. } =
            self.shard.handle(ShardCommand::Stage { sequence, work })
        else {
            panic!("a shard answers what it is asked");
        };
        assert!(rejected.is_empty(), "nothing is wrong with these rows: {rejected:?}");
        self.outcomes.push((changes, vec![outcome]));
        counts
    }

    fn tip(&mut self) -> Arc<ShardView> {
        match self.shard.handle(ShardCommand::ViewTip { table_lock: TableLockId(1) }) {
            ShardReply::Tip { view, .. } => view,
            other => panic!("a shard answers {other:?}"),
        }
    }

    fn publish_and_compare(&mut self) -> Check {
        let through = self.sequence;
        match self.shard.handle(ShardCommand::Publish { through }) {
            ShardReply::Published { view, .. } => compare(&view, &self.numbers),
            other => panic!("a shard answers {other:?}"),
        }
    }

    /// Another shard reads it all back.
    fn replay(self) -> Check {
        let mut shard = Shard::new(ShardId(0), 1);
        for (sequence, (changes, outcomes)) in (1..).map(Sequence).zip(&self.outcomes) {
            let replayed = shard.replay(sequence, changes, outcomes);
            ensure("recovered", replayed.is_ok(), || format!("record {sequence}: {replayed:?}"))?;
        }
        compare(&shard.recovered(), &self.numbers)
    }
}

/// Calls `take` with id and numbers (those of its bigint columns) of each live row.
fn for_each_row(view: &ShardView, mut take: impl FnMut(RowId, &[i64])) {
    let mut row = Vec::new();
    for chunk in &view.tables[&TABLE].chunks {
        let columns = chunk.rows.columns().iter();
        let numbers: Vec<&Int64Array> = columns.filter_map(|c| c.as_primitive_opt::<Int64Type>()).collect();
        for at in 0..chunk.rows.num_rows() {
            if chunk.deleted.as_ref().is_some_and(|deleted| deleted.value(at)) {
                continue;
            }
            row.clear();
            row.extend(numbers.iter().filter(|column| column.is_valid(at)).map(|column| column.value(at)));
            take(chunk.ids.get(at), &row);
        }
    }
}

fn compare(view: &ShardView, due: &BTreeMap<i64, i64>) -> Check {
    let (mut found, mut rows) = (BTreeMap::new(), 0);
    for_each_row(view, |_, row| {
        rows += 1;
        found.insert(row[0], row[1]);
    });
    ensure("exactly once", rows == due.len() && found == *due, || {
        let wrong = due.iter().find(|(key, number)| found.get(key) != Some(number));
        format!("{rows} rows of {} keys, {} must be; {wrong:?}", found.len(), due.len())
    })
}

/// A table of so many columns that their number has more than eight bits.
fn check_columns(d: &Decisions<'_>, tell: &dyn Fn(Arguments<'_>)) -> Check {
    let count = d.between(256, 700) as usize;
    tell(format_args!("a shard has a table of {count} columns"));
    let column = |number: usize| ColumnDef {
        id: ColumnId(number as u32),
        name: format!("c{number}"),
        column_type: ColumnType::Int64,
        nullable: number > 0,
        default_sql: None,
    };
    let columns = (0..count).map(column).collect();
    let spec = TableSpec {
        name: "columns".into(),
        columns,
        primary_key: vec![0],
        shard_key: vec![0],
        sort_key: vec![],
    };
    let def = Arc::new(super::table_of(spec, TABLE));
    let set = d.between(255, count as u64 - 1) as u16;
    let rows = d.between(1, 4) as i64;
    let batch = |first: i64| {
        let own = (0..count as i64).map(|column| -> ArrayRef {
            let value = |row: i64| if column == 0 { row } else { first + column * 10 + row };
            Arc::new(Int64Array::from_iter_values((0..rows).map(value)))
        });
        let none = rows as usize;
        let hidden: [ArrayRef; 3] = [
            Arc::new(Int64Array::new_null(none)),
            Arc::new(Int32Array::new_null(none)),
            Arc::new(Int64Array::new_null(none)),
        ];
        RecordBatch::try_new(def.stored_schema(), own.chain(hidden).collect()).expect("rows of the table")
    };
    let update = Update {
        assignments: vec![(ColumnId(set.into()), Expr::Incoming(ColumnId(set.into())))],
        condition: None,
    };
    let work =
        |on_duplicate, rows| Work::Rows { table: TABLE, on_duplicate, deletes: vec![], rows: vec![rows] };
    let works = [
        vec![Work::CreateTable(def.clone()), work(OnDuplicate::Reject, batch(0))],
        vec![work(OnDuplicate::Update(update), batch(1_000_000))],
    ];
    let (mut shard, mut again) = (Shard::new(ShardId(0), 1), Shard::new(ShardId(0), 1));
    for (sequence, items) in (1..).map(Sequence).zip(works) {
        let reply = shard.handle(ShardCommand::Stage { sequence, work: items });
        let ShardReply::Staged { outcome, .. } = reply else { panic!("a shard answers what it is asked") };
        let created = (sequence == Sequence(1)).then(|| CatalogChange::TableCreated((*def).clone()));
        let replayed = again.replay(sequence, created.as_slice(), &[outcome]);
        ensure("recovered", replayed.is_ok(), || format!("{count} columns: {replayed:?}"))?;
    }
    let through = Sequence(2);
    let ShardReply::Published { view, .. } = shard.handle(ShardCommand::Publish { through }) else {
        panic!("a shard answers what it is asked");
    };
    for view in [view, again.recovered()] {
        let mut found = Vec::new();
        for_each_row(&view, |_, row| found.push(row.to_vec()));
        found.sort();
        let value = |row: i64, column: i64| match column {
            0 => row,
            _ if column == i64::from(set) => 1_000_000 + column * 10 + row,
            _ => column * 10 + row,
        };
        let due: Vec<Vec<i64>> =
            (0..rows).map(|row| (0..count as i64).map(|column| value(row, column)).collect()).collect();
        ensure("exactly once", found == due, || {
            format!("{rows} rows of {count} columns, of which column {set} is set, are {found:?}")
        })?;
    }
    Ok(())
}
