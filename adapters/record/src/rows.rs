//! Columns in a recording: rows written whole, in the log's column encoding, with their types, so that no catalog is
//! needed to read them; and placeholders for rows that the log has.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Schema, TimeUnit};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use kernel::columns::{self, PIECE_ROWS_MAX};
use kernel::schema::{ColumnDef, ColumnType, HIDDEN_COLUMNS, TableDef};
use kernel::{ColumnId, Error, Result, Sequence, SqlState, TableId};
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// Bytes that are stored as a block, not as a list of numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Blob(pub Bytes);

impl<C> Encode<C> for Blob {
    fn encode<W: Write>(
        &self,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> std::result::Result<(), encode::Error<W::Error>> {
        encoder.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Blob {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> std::result::Result<Blob, decode::Error> {
        decoder.bytes().map(|bytes| Blob(Bytes::copy_from_slice(bytes)))
    }
}

/// Rows in a table's stored schema, written whole.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Rows {
    #[n(0)]
    types: Vec<ColumnType>,
    #[n(1)]
    pieces: Blob,
}

impl Rows {
    /// Encodes rows, which must be in a table's stored schema.
    pub fn of(rows: &RecordBatch) -> Rows {
        let own = rows.num_columns().checked_sub(HIDDEN_COLUMNS.len()).expect("rows in a stored schema");
        let schema = rows.schema();
        let types: Vec<ColumnType> =
            schema.fields()[..own].iter().map(|field| column_type(field.data_type())).collect();
        let table = table_of(&types);
        let mut pieces = vec![];
        for start in (0..rows.num_rows()).step_by(PIECE_ROWS_MAX) {
            let slice = rows.slice(start, (rows.num_rows() - start).min(PIECE_ROWS_MAX));
            columns::encode(&table, &[], Some(&slice), &mut pieces);
        }
        Rows { types, pieces: Blob(pieces.into()) }
    }

    /// The rows. Their columns are named by number: the kernel uses positions. Never panics, whatever the bytes.
    pub fn read(&self) -> Result<RecordBatch> {
        let table = table_of(&self.types);
        if self.types.iter().any(|t| matches!(t, ColumnType::Decimal { precision: 0 | 39.., .. })) {
            return Err(damaged("a numeric column has an impossible precision"));
        }
        let schema = table.stored_schema();
        let mut parts = vec![];
        for piece in columns::pieces(&self.pieces.0)? {
            if piece.table != table.id {
                return Err(damaged("recorded rows are of an unknown kind"));
            }
            parts.extend(piece.read(&table, &schema)?.1);
        }
        match parts.len() {
            1 => Ok(parts.remove(0)),
            _ => concat_batches(&schema, &parts).map_err(|error| damaged(&error.to_string())),
        }
    }

    /// Bytes that the rows take here.
    pub fn len_bytes(&self) -> usize {
        self.pieces.0.len()
    }
}

fn damaged(what: &str) -> Error {
    Error::new(SqlState::DATA_CORRUPTED, format!("recording: {what}"))
}

/// Each Arrow type that rows can have, back to one of the SQL types that it carries.
fn column_type(data_type: &DataType) -> ColumnType {
    match data_type {
        DataType::Boolean => ColumnType::Bool,
        DataType::Int16 => ColumnType::Int16,
        DataType::Int32 => ColumnType::Int32,
        DataType::Int64 => ColumnType::Int64,
        DataType::Float32 => ColumnType::Float32,
        DataType::Float64 => ColumnType::Float64,
        DataType::Decimal128(precision, scale) => {
            ColumnType::Decimal { precision: *precision, scale: *scale }
        }
        DataType::Utf8 => ColumnType::Text,
        DataType::Binary => ColumnType::Bytea,
        DataType::Date32 => ColumnType::Date,
        DataType::Timestamp(TimeUnit::Microsecond, None) => ColumnType::Timestamp,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => ColumnType::TimestampTz,
        other => unreachable!("no column type maps to {other}"),
    }
}

/// A table that exists only to name the columns of recorded rows.
fn table_of(types: &[ColumnType]) -> TableDef {
    let column = |(at, column_type): (usize, &ColumnType)| ColumnDef {
        id: ColumnId(at as u32),
        name: format!("c{at}"),
        column_type: *column_type,
        nullable: true,
        default_sql: None,
    };
    TableDef {
        id: TableId(1),
        name: "recorded".into(),
        schema_version: 1,
        columns: types.iter().enumerate().map(column).collect(),
        primary_key: vec![],
        shard_key: vec![],
        sort_key: vec![],
        created_at: Sequence(0),
    }
}

/// A placeholder for rows that are elsewhere: a batch without columns, which the coordinator passes on unread.
pub fn placeholder(rows: u32) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows as usize));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)
        .expect("a batch without columns may have any number of rows")
}

/// Whether the rows are elsewhere: every stored row has columns.
pub fn is_placeholder(rows: &RecordBatch) -> bool {
    rows.num_columns() == 0
}
