//! Rows in plain terms, and the way from a snapshot's columns to them. Knows Arrow, but nothing of how the kernel keeps rows.

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use kernel::snapshot::Snapshot;
use kernel::{RowId, TableId};

/// A value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
}

/// A row: a table's own columns, then run, source partition and offset.
pub type Row = Vec<Value>;

/// Sum of the hashes of rows, in any order, and their number: two tables with the same digest have the same rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    /// Wrapping sum.
    pub sum: u64,
    /// How many.
    pub rows: u64,
}

impl Digest {
    /// Adds a row.
    pub fn add(&mut self, row: &[Value]) {
        self.sum = self.sum.wrapping_add(hash_row(row));
        self.rows += 1;
    }

    /// Takes a row away.
    pub fn remove(&mut self, row: &[Value]) {
        self.sum = self.sum.wrapping_sub(hash_row(row));
        self.rows -= 1;
    }
}

fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
    (product as u64) ^ ((product >> 64) as u64).rotate_left(23)
}

fn mix_text(state: u64, text: &str) -> u64 {
    text.as_bytes().chunks(8).fold(mix(state, 3 + text.len() as u64), |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(state, u64::from_le_bytes(word))
    })
}

const START: u64 = 0x243f_6a88_85a3_08d3;

fn hash_value(state: u64, value: &Value) -> u64 {
    match value {
        Value::Null => mix(state, 1),
        Value::Int(i) => mix(mix(state, 2), *i as u64),
        Value::Text(t) => mix_text(state, t),
    }
}

fn hash_row(row: &[Value]) -> u64 {
    row.iter().fold(START, hash_value)
}

/// One cell of a column.
fn value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Int64 => Value::Int(column.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => Value::Int(i64::from(column.as_primitive::<Int32Type>().value(row))),
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row).to_string()),
        other => panic!("no table of the simulator has a column of type {other}"),
    }
}

/// Columns of the errors table that the oracle foretells: pipeline, run, source partition, offset.
const FORETOLD_ERROR_COLUMNS: [usize; 4] = [0, 6, 7, 8];
/// Of these, the offset; null in rows that tell of a source's failure, which the oracle does not foretell.
const ERROR_OFFSET_COLUMN: usize = 8;

/// Columns that are compared.
fn compared_columns(table: TableId, rows: &RecordBatch) -> Vec<usize> {
    if table == kernel::schema::ERRORS_TABLE {
        FORETOLD_ERROR_COLUMNS.to_vec()
    } else {
        (0..rows.num_columns()).collect()
    }
}

/// One row as read from a snapshot.
#[derive(Clone, Debug)]
pub struct ReadRow {
    /// Where.
    pub shard: usize,
    /// Its stable identity.
    pub id: RowId,
    /// Its values.
    pub row: Row,
}

/// Calls `take` for every living row of a table, shard by shard: shard, the chunk, the index in it, the row's stable id.
fn for_each_row(
    snapshot: &Snapshot,
    table: TableId,
    mut take: impl FnMut(usize, &RecordBatch, usize, RowId),
) {
    for (shard, view) in snapshot.shards.iter().enumerate() {
        let Some(view) = view.tables.get(&table) else { continue };
        for chunk in &view.chunks {
            for index in 0..chunk.rows.num_rows() {
                let deleted = chunk.deleted.as_ref().is_some_and(|d| d.value(index));
                let skipped = table == kernel::schema::ERRORS_TABLE
                    && chunk.rows.column(ERROR_OFFSET_COLUMN).is_null(index);
                if !deleted && !skipped {
                    take(shard, &chunk.rows, index, chunk.ids.get(index));
                }
            }
        }
    }
}

/// Digest of a table in a snapshot.
pub fn digest(snapshot: &Snapshot, table: TableId) -> Digest {
    let mut digest = Digest::default();
    for_each_row(snapshot, table, |_, rows, index, _| {
        let columns = compared_columns(table, rows);
        let hash = columns.iter().fold(START, |state, c| {
            let column = rows.column(*c).as_ref();
            match column.data_type() {
                DataType::Utf8 if column.is_valid(index) => {
                    mix_text(state, column.as_string::<i32>().value(index))
                }
                _ => hash_value(state, &value(column, index)),
            }
        });
        digest.sum = digest.sum.wrapping_add(hash);
        digest.rows += 1;
    });
    digest
}

/// Rows of a table in a snapshot.
pub fn rows(snapshot: &Snapshot, table: TableId) -> Vec<ReadRow> {
    let mut all = Vec::new();
    for_each_row(snapshot, table, |shard, rows, index, id| {
        let row =
            compared_columns(table, rows).iter().map(|c| value(rows.column(*c).as_ref(), index)).collect();
        all.push(ReadRow { shard, id, row });
    });
    all
}
