//! Limits to the byte: rows of just as many bytes as a shard works on at once are taken at once, one more are taken in parts, and a row
//! of more than four times as many is refused. Any other limits are drawn in `super`.

use std::fmt::Arguments;
use std::sync::Arc;

use arrow_array::RecordBatch;
use bytes::Bytes;
use kernel::expr::OnDuplicate;
use kernel::message::{Rejected, ShardCommand, ShardReply, Work};
use kernel::schema::TableDef;
use kernel::{Sequence, Shard, ShardId, ShardLimits, TableId};

use super::rows::{self, Mix};
use super::{chunks, piece};
use crate::decide::Decisions;
use crate::oracle::value::Value;
use crate::oracle::{Check, ensure};
use crate::scenario::TableShape;

/// A row may take so many times the bytes of a step.
const ROW_STEPS_MAX: usize = 4;

/// Draws a few rows and hands them to shards that have just room for them, or just not.
pub fn check(d: &Decisions<'_>, tell: &dyn Fn(Arguments<'_>)) -> Check {
    let spec = TableShape::Events.spec("to_the_byte", false);
    let def = Arc::new(TableDef {
        id: TableId(9),
        name: spec.name,
        schema_version: 1,
        columns: spec.columns,
        primary_key: vec![],
        shard_key: spec.shard_key,
        sort_key: vec![],
        created_at: Sequence(1),
    });
    let batch = |rows: u64| {
        let mix = Mix { rows, key_values: 9, from_messages: d.below(2) == 1, long: false };
        let mut drawn = rows::draw(d, &def, mix);
        // What is refused takes no room.
        drawn
            .retain(|row| row.iter().zip(&def.columns).all(|(value, c)| c.nullable || *value != Value::Null));
        (!drawn.is_empty()).then(|| rows::batch(d, &def, &drawn, false))
    };
    let batches: Vec<RecordBatch> = (0..d.between(1, 3)).filter_map(|_| batch(d.between(1, 9))).collect();
    if batches.is_empty() {
        return Ok(());
    }
    // Together they may take more: where one of them has nulls all have.
    let apart: usize = batches.iter().map(|batch| bytes_of(&def, std::slice::from_ref(batch))).sum();
    let bytes = apart.max(bytes_of(&def, &batches));
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    tell(format_args!(
        "{rows} rows of {bytes} bytes are taken by shards with just room for them, or just not"
    ));
    let parts = |step_bytes_max: usize| stage(&def, &batches, step_bytes_max).0;
    ensure("bounded", parts(bytes) == 1, || {
        format!("{rows} rows of {bytes} bytes are taken in {} parts", parts(bytes))
    })?;
    let split = rows == 1 || parts(bytes - 1) > 1;
    ensure("bounded", split, || {
        format!("{rows} rows of {bytes} bytes are taken where one byte less may be")
    })?;
    let row = batches[0].slice(0, 1);
    let bytes = bytes_of(&def, std::slice::from_ref(&row));
    for (step_bytes_max, is_taken) in
        [(bytes.div_ceil(ROW_STEPS_MAX), true), ((bytes - 1) / ROW_STEPS_MAX, false)]
    {
        let (parts, refused) = stage(&def, std::slice::from_ref(&row), step_bytes_max);
        let codes: Vec<&str> = refused.iter().map(|refused| refused.error.kind.sqlstate()).collect();
        let due: (usize, &[&str]) = if is_taken { (1, &[]) } else { (0, &["54000"]) };
        ensure("bounded", (parts, &codes[..]) == due, || {
            format!(
                "a row of {bytes} bytes and steps of {step_bytes_max}: {parts} are taken, {refused:?} refused"
            )
        })?;
    }
    Ok(())
}

/// Bytes of rows once they are stored.
fn bytes_of(def: &Arc<TableDef>, batches: &[RecordBatch]) -> usize {
    let (piece, _) = staged(def, batches, ShardLimits::default());
    let pieces = piece::check(&piece).expect("what is written is measured elsewhere");
    pieces.iter().flat_map(|piece| &piece.columns).map(chunks::column_bytes).sum()
}

/// In how many parts rows are taken, and which are refused.
fn stage(def: &Arc<TableDef>, batches: &[RecordBatch], step_bytes_max: usize) -> (usize, Vec<Rejected>) {
    let (piece, refused) = staged(def, batches, ShardLimits { step_bytes_max, ..ShardLimits::default() });
    (piece::check(&piece).expect("what is written is measured elsewhere").len(), refused)
}

fn staged(def: &Arc<TableDef>, batches: &[RecordBatch], limits: ShardLimits) -> (Bytes, Vec<Rejected>) {
    let mut shard = Shard::with_limits(ShardId(0), 1, limits);
    let rows = Work::Rows {
        table: def.id,
        on_duplicate: OnDuplicate::Reject,
        deletes: vec![],
        rows: batches.to_vec(),
    };
    let work = vec![Work::CreateTable(def.clone()), rows];
    match shard.handle(ShardCommand::Stage { sequence: Sequence(1), work }) {
        ShardReply::Staged { piece, rejected, .. } => (piece, rejected),
        other => panic!("a shard answers {other:?}"),
    }
}
