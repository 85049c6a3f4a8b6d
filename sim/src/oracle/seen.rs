//! Compares a snapshot with the model: tables, cursors, failures of pipelines, sizes of views. `super` selects the
//! snapshots.

use std::collections::BTreeMap;

use kernel::snapshot::Snapshot;
use kernel::{ShardLimits, TableId};

use super::model::Model;
use super::value::{self, Row};
use super::{Check, Violation, ensure};

pub(super) fn check_cursors(snapshot: &Snapshot, model: &Model) -> Check {
    let ids: Vec<u32> = snapshot.catalog.pipelines.keys().map(|id| id.0).collect();
    let expected: Vec<u32> = model.pipelines.keys().copied().collect();
    ensure("atomic", ids == expected, || {
        format!("snapshot {} has pipelines {ids:?}, must have {expected:?}", snapshot.sequence)
    })?;
    for (def, expected) in snapshot.catalog.pipelines.values().zip(model.pipelines.values()) {
        let told = &snapshot.catalog.cursors[&def.id];
        let cursors: BTreeMap<i32, i64> =
            told.positions().map(|(split, at)| (split.0 as i32, at.ordinal())).collect();
        let agree = cursors == expected.cursors
            && def.generation.0 == expected.generation
            && told.dead_letters == expected.dead_letters
            && def.state == expected.state;
        ensure("atomic", agree, || {
            format!("snapshot {}: pipeline {def:?} must agree with {expected:?}", snapshot.sequence)
        })?;
    }
    Ok(())
}

/// Checks a view's counts: live rows in all and per chunk, and at least the bytes of its columns.
pub(crate) fn check_counts(snapshot: &Snapshot, id: u32) -> Check {
    for (shard, view) in snapshot.shards.iter().enumerate() {
        let Some(view) = view.tables.get(&TableId(id)) else { continue };
        let value::Sizes { living, bytes, .. } = value::sizes(view);
        ensure("atomic", view.live_rows == living && view.bytes >= bytes, || {
            let (rows, held) = (view.live_rows, view.bytes);
            format!(
                "shard {shard}, table {id}: {rows} rows of {held} bytes are reported as live, {living} of {bytes} are"
            )
        })?;
        let misled = view.chunks.iter().find(|chunk| {
            let filter = chunk.live_filter().map(|filter| filter.true_count() as u64);
            let living = value::living(chunk);
            chunk.live_rows() != living || filter.unwrap_or(chunk.rows.num_rows() as u64) != living
        });
        ensure("atomic", misled.is_none(), || {
            format!("shard {shard}, table {id}: a chunk miscounts its rows")
        })?;
        let empty = view.chunks.iter().any(|chunk| value::living(chunk) == 0);
        ensure("bounded", !empty, || format!("shard {shard}, table {id}: a chunk without live rows"))?;
    }
    Ok(())
}

/// Checks that a view takes no more memory than necessary, and reports it correctly.
pub(crate) fn check_sizes(snapshot: &Snapshot, id: u32, model: &Model, limits: &ShardLimits) -> Check {
    check_counts(snapshot, id)?;
    let keyed = model.tables.get(&id).is_some_and(|table| !table.key.is_empty());
    for (shard, view) in snapshot.shards.iter().enumerate() {
        let Some(view) = view.tables.get(&TableId(id)) else { continue };
        let value::Sizes { rows, living, bytes } = value::sizes(view);
        let merged_too_far = view.chunks.iter().find(|chunk| {
            let last = chunk.rows.num_rows() - 1;
            let of_several_records = chunk.ids.get(0).sequence != chunk.ids.get(last).sequence;
            let bytes = value::chunk_bytes(chunk);
            of_several_records && (last >= limits.chunk_rows_max || bytes > 2 * limits.chunk_bytes_max as u64)
        });
        ensure("bounded", merged_too_far.is_none(), || {
            format!("shard {shard}, table {id}: a chunk is merged beyond {limits:?}")
        })?;
        // Besides the columns: ids, bitmaps, and the index, which has space for at least 2,048 keys.
        let most = 2 * bytes + 100 * living + 200_000;
        let least = bytes + if keyed { 8 * living } else { 0 };
        ensure("bounded", (least..=most).contains(&view.bytes), || {
            format!(
                "shard {shard}, table {id}: {} bytes are reported as held, {least} to {most} are allowed",
                view.bytes
            )
        })?;
        // Merges keep the number of small chunks low, and most of their rows are live. The model tests of shards predict
        // the chunks exactly; this is a coarse bound, measured and not derived.
        let (chunks, of_rows) = (view.chunks.len() as u64, limits.chunk_rows_max as u64);
        let most = 48 + 40 * living / of_rows + 40 * bytes / limits.chunk_bytes_max as u64;
        ensure("bounded", chunks <= most, || {
            format!(
                "shard {shard}, table {id}: {chunks} chunks for {living} rows of {bytes} bytes, {most} are allowed"
            )
        })?;
        ensure("bounded", rows <= 3 * living + 4 * of_rows + 64, || {
            format!("shard {shard}, table {id}: {rows} rows are held, {living} of them live")
        })?;
    }
    Ok(())
}

pub(crate) fn check_table(snapshot: &Snapshot, id: u32, model: &Model) -> Check {
    let Some(table) = model.tables.get(&id) else {
        return Err(Violation::new("atomic", format!("table {id} is read and does not exist")));
    };
    let found = value::digest(snapshot, TableId(id));
    if found == table.digest() {
        return Ok(());
    }
    let mut found: BTreeMap<Row, i64> = BTreeMap::new();
    for read in value::rows(snapshot, TableId(id)) {
        *found.entry(read.row).or_default() += 1;
    }
    for (row, count) in table.rows() {
        *found.entry(row.clone()).or_default() -= i64::from(*count);
    }
    let differences: Vec<String> = found
        .into_iter()
        .filter(|(_, count)| *count != 0)
        .map(|(row, count)| format!("{count:+} {row:?}"))
        .collect();
    let shown = differences[..differences.len().min(8)].join("; ");
    let text = format!(
        "table {} in snapshot {} differs from the fold in {} rows (+ too many, - missing): {shown}",
        table.name,
        snapshot.sequence,
        differences.len()
    );
    Err(Violation::new("exactly once", text))
}

/// Each failed pipeline has a row in the errors table. (Transient failures may have one.)
pub(super) fn check_failures(snapshot: &Snapshot, model: &Model) -> Check {
    let mut found: BTreeMap<Row, u32> = BTreeMap::new();
    for row in value::source_failures(snapshot) {
        *found.entry(row).or_default() += 1;
    }
    let stranger = found.keys().find(|row| {
        let of_it = |id: &u32| row[0] == value::Value::Int((*id).into());
        !model.pipelines.keys().any(of_it)
    });
    ensure("honest", stranger.is_none(), || {
        format!(
            "snapshot {}: the errors table has a row of a dropped pipeline: {stranger:?}",
            snapshot.sequence
        )
    })?;
    let missing =
        model.failures.iter().find(|(row, count)| found.get(*row).is_none_or(|found| found < count));
    ensure("honest", missing.is_none(), || {
        format!("snapshot {}: the errors table lacks {missing:?}", snapshot.sequence)
    })
}
