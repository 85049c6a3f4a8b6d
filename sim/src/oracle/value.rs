//! Rows in plain form, and their extraction from a snapshot's columns. Depends on Arrow, but not on the kernel's
//! storage of rows.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, TimestampMicrosecondType,
};
use arrow_array::{Array, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::DataType;
use kernel::shard::RowIds;
use kernel::snapshot::{ChunkView, Snapshot};
use kernel::{RowId, TableId};

/// A value.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum Value {
    Null,
    Int(i64),
    Text(String),
    /// A real number as the bits of a double; NaN has one form.
    Float(u64),
    /// A decimal whose unscaled value has more than 64 bits.
    Big(i128),
    /// Bytes that are not valid text.
    Bytes(Vec<u8>),
}

impl Value {
    /// A real number of either precision.
    pub fn float(value: f64) -> Value {
        Value::Float(if value.is_nan() { f64::NAN } else { value }.to_bits())
    }

    /// Bytes: a text where they are one.
    pub fn bytes(bytes: &[u8]) -> Value {
        match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.into()),
            Err(_) => Value::Bytes(bytes.into()),
        }
    }

    /// A decimal by its unscaled value.
    pub fn decimal(unscaled: i128) -> Value {
        i64::try_from(unscaled).map_or(Value::Big(unscaled), Value::Int)
    }

    /// Values stored as an integer: integers, booleans, times, unscaled decimals.
    pub fn integer(&self) -> Option<i128> {
        match self {
            Value::Int(int) => Some((*int).into()),
            Value::Big(int) => Some(*int),
            Value::Null | Value::Text(_) | Value::Float(_) | Value::Bytes(_) => None,
        }
    }

    /// A normal form for keys: 0.0 and -0.0 are equal.
    pub fn as_key(&self) -> Value {
        match self {
            Value::Float(bits) if f64::from_bits(*bits) == 0.0 => Value::float(0.0),
            other => other.clone(),
        }
    }
}

/// A row: a table's own columns, then generation, source partition and offset.
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

    /// Removes a row.
    pub fn remove(&mut self, row: &[Value]) {
        self.sum = self.sum.wrapping_sub(hash_row(row));
        self.rows -= 1;
    }
}

fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * 0x9e37_79b9_7f4a_7c15_u128;
    (product as u64) ^ ((product >> 64) as u64).rotate_left(23)
}

fn mix_text(state: u64, text: &[u8]) -> u64 {
    text.chunks(8).fold(mix(state, 3 + text.len() as u64), |state, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mix(state, u64::from_le_bytes(word))
    })
}

const START: u64 = 0x243f_6a88_85a3_08d3;

fn hash_value(state: u64, value: &Value) -> u64 {
    match value {
        Value::Null => hash_null(state),
        Value::Int(i) => hash_int(state, *i),
        Value::Text(t) => mix_text(state, t.as_bytes()),
        Value::Bytes(bytes) => mix_text(state, bytes),
        Value::Float(bits) => mix(mix(state, 4), *bits),
        Value::Big(int) => mix(mix(mix(state, 5), *int as u64), (*int >> 64) as u64),
    }
}

fn hash_null(state: u64) -> u64 {
    mix(state, 1)
}

fn hash_int(state: u64, int: i64) -> u64 {
    mix(mix(state, 2), int as u64)
}

fn hash_row(row: &[Value]) -> u64 {
    row.iter().fold(START, hash_value)
}

/// Columns of the errors table.
#[allow(missing_docs)]
pub mod errors {
    pub const KIND: usize = 3;
    pub const CODE: usize = 4;
    pub const MESSAGE: usize = 5;
    pub const OFFSET: usize = 8;
    pub const PAYLOAD: usize = 9;
}

/// Columns of the errors table that the oracle does not predict: texts of the decoder and of the extractor.
fn unforetold_columns(kind: &str, code: &str) -> &'static [usize] {
    match (kind, code) {
        (_, "23502") => &[errors::MESSAGE, errors::PAYLOAD],
        ("decode", _) => &[errors::MESSAGE],
        _ => &[],
    }
}

fn unforetold(columns: &[Cells<'_>], row: usize) -> &'static [usize] {
    let [Cells::Text(kinds), Cells::Text(codes)] = [&columns[errors::KIND], &columns[errors::CODE]] else {
        panic!("kinds and codes are texts")
    };
    unforetold_columns(kinds.value(row), codes.value(row))
}

/// A row of the errors table without the unpredicted columns.
pub fn as_foretold(mut row: Row) -> Row {
    let text = |column: usize| if let Value::Text(text) = &row[column] { text } else { "" };
    for column in unforetold_columns(text(errors::KIND), text(errors::CODE)) {
        row[*column] = Value::Null;
    }
    row
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

/// Calls `take` for every chunk of a table that has rows, shard by shard: shard, the chunk, the indexes of its live
/// rows.
fn for_each_chunk(
    snapshot: &Snapshot,
    table: TableId,
    mut take: impl FnMut(usize, &ChunkView, &mut dyn Iterator<Item = usize>),
) {
    for (shard, view) in snapshot.shards.iter().enumerate() {
        let Some(view) = view.tables.get(&table) else { continue };
        for chunk in &view.chunks {
            let deleted = |index: &usize| chunk.deleted.as_ref().is_some_and(|d| d.value(*index));
            let mut living = (0..chunk.rows.num_rows()).filter(|index| !deleted(index));
            take(shard, chunk, &mut living);
        }
    }
}

/// Memory of a table on one shard.
#[allow(missing_docs)]
pub struct Sizes {
    pub rows: u64,
    pub living: u64,
    /// Of the columns and the ids.
    pub bytes: u64,
}

/// Live rows of a chunk.
pub fn living(chunk: &ChunkView) -> u64 {
    chunk.rows.num_rows() as u64 - chunk.deleted.as_ref().map_or(0, |d| d.count_set_bits() as u64)
}

/// Memory of a table on one shard, computed.
pub fn sizes(view: &kernel::snapshot::TableView) -> Sizes {
    let (mut rows, mut living, mut bytes) = (0, 0, 0);
    for chunk in &view.chunks {
        living += self::living(chunk);
        rows += chunk.rows.num_rows() as u64;
        bytes += chunk_bytes(chunk);
        bytes += match &chunk.ids {
            RowIds::Run { .. } => 0,
            RowIds::Runs { runs, .. } => size_of_val(&runs[..]) as u64,
            RowIds::Explicit(ids) => size_of_val(&ids[..]) as u64,
        };
    }
    Sizes { rows, living, bytes }
}

/// Bytes of a chunk's columns, computed.
pub fn chunk_bytes(chunk: &ChunkView) -> u64 {
    let of_column = |column: &arrow_array::ArrayRef| {
        let rows = column.len() as u64;
        match column.data_type() {
            DataType::Boolean => rows / 8,
            DataType::Utf8 => text_bytes(column.as_string::<i32>().value_offsets()),
            DataType::Binary => text_bytes(column.as_binary::<i32>().value_offsets()),
            DataType::Int16 => 2 * rows,
            DataType::Int32 | DataType::Float32 | DataType::Date32 => 4 * rows,
            DataType::Decimal128(..) => 16 * rows,
            _ => 8 * rows,
        }
    };
    chunk.rows.columns().iter().map(of_column).sum()
}

fn text_bytes(offsets: &[i32]) -> u64 {
    (offsets[offsets.len() - 1] - offsets[0]) as u64
}

/// Digest of a table in a snapshot. Computed for every table at every publication, so it makes no [`Row`]s.
pub fn digest(snapshot: &Snapshot, table: TableId) -> Digest {
    let mut digest = Digest::default();
    let of_errors = table == kernel::schema::ERRORS_TABLE;
    for_each_chunk(snapshot, table, |_, chunk, living| {
        let columns = cells(&chunk.rows);
        for index in living {
            if of_errors && columns[errors::OFFSET].is_null(index) {
                continue;
            }
            let unforetold = if of_errors { unforetold(&columns, index) } else { &[] };
            let hash = columns.iter().enumerate().fold(START, |state, (at, column)| {
                if unforetold.contains(&at) { hash_null(state) } else { column.hash(state, index) }
            });
            digest.sum = digest.sum.wrapping_add(hash);
            digest.rows += 1;
        }
    });
    digest
}

/// The cells of a column, by type.
enum Cells<'c> {
    Int64(&'c Int64Array),
    Int32(&'c Int32Array),
    Text(&'c StringArray),
    Bytes(&'c BinaryArray),
    /// Other types, which only the wide table has.
    Other(&'c dyn Array),
}

impl<'c> Cells<'c> {
    fn of(column: &'c dyn Array) -> Cells<'c> {
        match column.data_type() {
            DataType::Int64 => Cells::Int64(column.as_primitive()),
            DataType::Int32 => Cells::Int32(column.as_primitive()),
            DataType::Utf8 => Cells::Text(column.as_string()),
            DataType::Binary => Cells::Bytes(column.as_binary()),
            _ => Cells::Other(column),
        }
    }

    fn hash(&self, state: u64, row: usize) -> u64 {
        match self {
            Cells::Int64(c) if c.is_valid(row) => hash_int(state, c.value(row)),
            Cells::Int32(c) if c.is_valid(row) => hash_int(state, i64::from(c.value(row))),
            Cells::Text(c) if c.is_valid(row) => mix_text(state, c.value(row).as_bytes()),
            Cells::Bytes(c) if c.is_valid(row) => mix_text(state, c.value(row)),
            Cells::Other(c) => hash_value(state, &other_value(*c, row)),
            _ => hash_null(state),
        }
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Cells::Int64(c) => c.is_null(row),
            Cells::Int32(c) => c.is_null(row),
            Cells::Text(c) => c.is_null(row),
            Cells::Bytes(c) => c.is_null(row),
            Cells::Other(c) => c.is_null(row),
        }
    }

    fn value(&self, row: usize) -> Value {
        match self {
            Cells::Int64(c) if c.is_valid(row) => Value::Int(c.value(row)),
            Cells::Int32(c) if c.is_valid(row) => Value::Int(i64::from(c.value(row))),
            Cells::Text(c) if c.is_valid(row) => Value::Text(c.value(row).to_string()),
            Cells::Bytes(c) if c.is_valid(row) => Value::bytes(c.value(row)),
            Cells::Other(c) => other_value(*c, row),
            _ => Value::Null,
        }
    }
}

/// A cell of a type that only the wide table has; bytes as text.
fn other_value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => Value::Int(column.as_boolean().value(row).into()),
        DataType::Int16 => Value::Int(column.as_primitive::<Int16Type>().value(row).into()),
        DataType::Float32 => Value::float(column.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Value::float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => Value::decimal(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Date32 => Value::Int(column.as_primitive::<Date32Type>().value(row).into()),
        DataType::Timestamp(..) => Value::Int(column.as_primitive::<TimestampMicrosecondType>().value(row)),
        other => panic!("no table of the simulator has a column of type {other}"),
    }
}

fn cells(rows: &RecordBatch) -> Vec<Cells<'_>> {
    rows.columns().iter().map(|column| Cells::of(column)).collect()
}

/// Rows of a table in a snapshot. For the errors table the rows of messages, without the unpredicted columns.
pub fn rows(snapshot: &Snapshot, table: TableId) -> Vec<ReadRow> {
    let mut all = all_rows(snapshot, table);
    if table == kernel::schema::ERRORS_TABLE {
        all.retain(|read| read.row[errors::OFFSET] != Value::Null);
        all.iter_mut().for_each(|read| read.row = as_foretold(std::mem::take(&mut read.row)));
    }
    all
}

/// Rows of the errors table for failures of sources.
pub fn source_failures(snapshot: &Snapshot) -> Vec<Row> {
    let all = all_rows(snapshot, kernel::schema::ERRORS_TABLE).into_iter().map(|read| read.row);
    all.filter(|row| row[errors::OFFSET] == Value::Null).collect()
}

/// Rows of a batch.
pub fn of_batch(rows: &RecordBatch) -> Vec<Row> {
    let columns = cells(rows);
    let row = |index: usize| columns.iter().map(|column| column.value(index)).collect();
    (0..rows.num_rows()).map(row).collect()
}

fn all_rows(snapshot: &Snapshot, table: TableId) -> Vec<ReadRow> {
    let mut all = Vec::new();
    for_each_chunk(snapshot, table, |shard, chunk, living| {
        let columns = cells(&chunk.rows);
        all.extend(living.map(|index| ReadRow {
            shard,
            id: chunk.ids.get(index),
            row: columns.iter().map(|column| column.value(index)).collect(),
        }));
    });
    all
}
