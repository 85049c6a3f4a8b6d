//! Exact limits: rows of exactly a step's bytes are taken at once, one byte more is taken in parts, and a row of more
//! than four times as many is refused. `super` draws other limits.

use std::fmt::Arguments;
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use kernel::expr::{Comparison, Expr, Literal, OnDuplicate, Update};
use kernel::message::{Rejected, ShardCommand, ShardReply, Work};
use kernel::schema::{ColumnType, TableDef};
use kernel::{ColumnId, Sequence, Shard, ShardId, ShardLimits, TableId};

use super::rows::{self, Mix};
use super::{chunks, piece};
use crate::decide::Decisions;
use crate::oracle::value::{Row, Value};
use crate::oracle::{Check, describe, ensure};
use crate::scenario::TableShape;
use crate::wide::{AMOUNT, Layout};

/// Most bytes of a row, in steps.
const ROW_STEPS_MAX: usize = 4;

/// Draws a few rows for shards whose limits just suffice, or just do not.
pub fn check(d: &Decisions<'_>, tell: &dyn Fn(Arguments<'_>)) -> Check {
    tell(format_args!("rows are taken by shards with just room for them, or just not"));
    check_steps(d)?;
    check_constants(d)?;
    check_stored(d)?;
    check_texts(d)
}

fn table(shape: TableShape) -> Arc<TableDef> {
    Arc::new(super::table_of(shape.spec("to_the_byte", false), TableId(9)))
}

/// Checks the bytes of a step, and of a row.
fn check_steps(d: &Decisions<'_>) -> Check {
    let def = table(TableShape::Events);
    let batch = |rows: u64| {
        let mix = Mix { rows, key_values: 9, from_messages: d.below(2) == 1, long: false };
        let mut drawn = rows::draw(d, &def, mix);
        // Refused rows take no space.
        drawn
            .retain(|row| row.iter().zip(&def.columns).all(|(value, c)| c.nullable || *value != Value::Null));
        (!drawn.is_empty()).then(|| rows::batch(d, &def, &drawn, false))
    };
    let batches: Vec<RecordBatch> = (0..d.between(1, 3)).filter_map(|_| batch(d.between(1, 9))).collect();
    if batches.is_empty() {
        return Ok(());
    }
    // Together they may take more: if one batch has nulls, all need a bitmap.
    let apart: usize = batches.iter().map(|batch| bytes_of(&def, std::slice::from_ref(batch))).sum();
    let bytes = apart.max(bytes_of(&def, &batches));
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let parts = |step_bytes_max: usize| {
        let limits = ShardLimits { step_bytes_max, ..ShardLimits::default() };
        stage(&def, &OnDuplicate::Reject, &batches, limits).0
    };
    check_parts(rows, bytes, &parts)?;
    let row = batches[0].slice(0, 1);
    let bytes = bytes_of(&def, std::slice::from_ref(&row));
    for (step_bytes_max, is_taken) in
        [(bytes.div_ceil(ROW_STEPS_MAX), true), ((bytes - 1) / ROW_STEPS_MAX, false)]
    {
        let limits = ShardLimits { step_bytes_max, ..ShardLimits::default() };
        let (parts, refused) = stage(&def, &OnDuplicate::Reject, std::slice::from_ref(&row), limits);
        let codes: Vec<&str> = refused.iter().map(|refused| refused.error.sqlstate.as_str()).collect();
        let due: (usize, &[&str]) = if is_taken { (1, &[]) } else { (0, &["54000"]) };
        ensure("bounded", (parts, &codes[..]) == due, || {
            format!(
                "a row of {bytes} bytes and steps of {step_bytes_max}: {parts} are taken, {refused:?} refused"
            )
        })?;
    }
    Ok(())
}

/// Rows are taken at once within this limit, and in parts with one byte less.
fn check_parts(rows: usize, bytes: usize, parts: &dyn Fn(usize) -> usize) -> Check {
    let found = parts(bytes);
    ensure("bounded", found == 1, || format!("{rows} rows of {bytes} bytes are taken in {found} parts"))?;
    ensure("bounded", rows == 1 || parts(bytes - 1) > 1, || {
        format!("{rows} rows of {bytes} bytes are taken at once where one byte less may be")
    })
}

/// Constants of an update become columns during its execution.
fn check_constants(d: &Decisions<'_>) -> Check {
    let def = table(TableShape::Latest);
    let rows = d.between(2, 6) as usize;
    let row = |number: usize| {
        vec![Value::Int(number as i64), Value::Int(1), Value::Null, Value::Null, Value::Null, Value::Null]
    };
    let drawn: Vec<Row> = (0..rows).map(row).collect();
    let batch = rows::batch(d, &def, &drawn, false);
    // More bytes than the rows themselves.
    let [a, b, c] = [(); 3].map(|()| 200 + d.index(40));
    let text = |bytes: usize| Box::new(Expr::Literal(Literal::Text("x".repeat(bytes)), ColumnType::Text));
    let third = Expr::IsNull(Box::new(Expr::Literal(Literal::Bytes(vec![7; c]), ColumnType::Bytea)));
    let second = Expr::Compare(Comparison::NotEqual, text(b), Box::new(Expr::Incoming(ColumnId(2))));
    let update = Update {
        assignments: vec![(ColumnId(2), Expr::Coalesce(vec![Expr::Incoming(ColumnId(2)), *text(a)]))],
        condition: Some(Expr::And(Box::new(second), Box::new(third))),
    };
    let parts = |step_bytes_max: usize| {
        let limits = ShardLimits { step_bytes_max, ..ShardLimits::default() };
        stage(&def, &OnDuplicate::Update(update.clone()), std::slice::from_ref(&batch), limits).0
    };
    check_parts(rows, rows * (a + b + c), &parts)?;
    // Even if they are too large for a single row, each row is taken.
    let found = parts(a + b + c - 1);
    ensure("bounded", found == rows, || {
        format!("{rows} rows with too long constants are taken in {found} parts")
    })
}

/// Stored rows may be much longer than incoming ones: their gathered bytes are bounded as well.
fn check_stored(d: &Decisions<'_>) -> Check {
    let def = table(TableShape::Latest);
    let (rows, bytes) = (d.between(3, 9) as usize, 300 + d.index(300));
    let row = |number: usize, tag: Value| {
        vec![Value::Int(number as i64), Value::Int(1), tag, Value::Null, Value::Null, Value::Null]
    };
    let long = |number: usize| rows::batch(d, &def, &[row(number, Value::Text("x".repeat(bytes)))], false);
    let short: Vec<Row> = (0..rows).map(|number| row(number, Value::Null)).collect();
    let short = rows::batch(d, &def, &short, false);
    let update = Update { assignments: vec![(ColumnId(1), Expr::Incoming(ColumnId(1)))], condition: None };
    let limits = ShardLimits { step_bytes_max: bytes, ..ShardLimits::default() };
    let mut shard = Shard::with_limits(ShardId(0), 1, limits);
    let create = Work::CreateTable(def.clone());
    let insert =
        |rows| Work::Rows { table: def.id, on_duplicate: OnDuplicate::Reject, deletes: vec![], rows };
    let works = [
        vec![create, insert((0..rows).map(long).collect())],
        vec![Work::Rows {
            table: def.id,
            on_duplicate: OnDuplicate::Update(update),
            deletes: vec![],
            rows: vec![short],
        }],
    ];
    for (sequence, work) in (1..).map(Sequence).zip(works) {
        let ShardReply::Staged { outcome, counts, .. } = shard.handle(ShardCommand::Stage { sequence, work })
        else {
            panic!("a shard replies to its command");
        };
        let parts = piece::check(&outcome)?.len();
        let changed = counts.inserted + counts.updated;
        ensure("bounded", (parts, changed) == (rows, rows as u64), || {
            format!(
                "{rows} rows of more than {bytes} bytes, as a step takes: {counts:?}, taken in {parts} parts"
            )
        })?;
    }
    Ok(())
}

/// The text of a refused row is truncated at the limit.
fn check_texts(d: &Decisions<'_>) -> Check {
    let shape = TableShape::Wide(Layout::draw(d));
    let def = table(shape);
    let mix = Mix { rows: 1, key_values: 9, from_messages: true, long: false };
    let mut drawn = rows::draw(d, &def, mix);
    drawn[0][AMOUNT] = Value::Null;
    let batch = rows::batch(d, &def, &drawn, true);
    let whole = describe::row_text(shape, &drawn[0], usize::MAX);
    for _ in 0..12 {
        let row_text_bytes_max = d.index(whole.len() + 2);
        let limits = ShardLimits { row_text_bytes_max, ..ShardLimits::default() };
        let (_, refused) = stage(&def, &OnDuplicate::Reject, std::slice::from_ref(&batch), limits);
        let due = describe::row_text(shape, &drawn[0], row_text_bytes_max);
        let told: Vec<&str> = refused.iter().map(|refused| refused.row_text.as_str()).collect();
        ensure("bounded", told == [&due], || {
            format!("of a refused row {row_text_bytes_max} bytes are told as {told:?}, must be as {due:?}")
        })?;
    }
    Ok(())
}

/// Bytes of rows once they are stored.
fn bytes_of(def: &Arc<TableDef>, batches: &[RecordBatch]) -> usize {
    let (outcome, _) = staged(def, &OnDuplicate::Reject, batches, ShardLimits::default());
    let pieces = piece::check(&outcome).expect("the outcome is well-formed");
    pieces.iter().flat_map(|piece| &piece.columns).map(chunks::column_bytes).sum()
}

/// In how many parts rows are taken, and which are refused.
fn stage(
    def: &Arc<TableDef>,
    on_duplicate: &OnDuplicate,
    batches: &[RecordBatch],
    limits: ShardLimits,
) -> (usize, Vec<Rejected>) {
    let (outcome, refused) = staged(def, on_duplicate, batches, limits);
    (piece::check(&outcome).expect("the outcome is well-formed").len(), refused)
}

fn staged(
    def: &Arc<TableDef>,
    on_duplicate: &OnDuplicate,
    batches: &[RecordBatch],
    limits: ShardLimits,
) -> (Bytes, Vec<Rejected>) {
    let mut shard = Shard::with_limits(ShardId(0), 1, limits);
    let rows = Work::Rows {
        table: def.id,
        on_duplicate: on_duplicate.clone(),
        deletes: vec![],
        rows: batches.to_vec(),
    };
    let work = vec![Work::CreateTable(def.clone()), rows];
    match shard.handle(ShardCommand::Stage { sequence: Sequence(1), work }) {
        ShardReply::Staged { outcome, rejected, .. } => (outcome, rejected),
        other => panic!("a shard answers {other:?}"),
    }
}
