//! A decoder under test, and its rows as text.
#![allow(dead_code)]

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use kernel::schema::ColumnType;
use kernel::{Error, Mark, RawMessage};
use tidemark_decode::{DecodePlan, Decoded, Decoder, FieldMapping, Format, Refused};

/// A nullable column from the key of its own name.
pub fn field(name: &str, column_type: ColumnType) -> FieldMapping {
    at(name, column_type, &[name])
}

/// A nullable column from a path.
pub fn at(name: &str, column_type: ColumnType, path: &[&str]) -> FieldMapping {
    let path = path.iter().map(|key| key.to_string()).collect();
    FieldMapping { name: name.into(), column_type, nullable: true, path, default: None, unit: None }
}

/// A message with this value at this offset.
pub fn message(offset: i64, value: Option<&[u8]>) -> RawMessage<'_> {
    RawMessage { ordinal: offset, mark: Mark::LeaderEpoch(0), timestamp_ms: -1, key: None, value }
}

pub struct Table {
    decoder: Box<dyn Decoder>,
    decoded: Option<Decoded>,
    pub refused: Vec<Refused>,
}

impl Table {
    pub fn new(format: Format, fields: Vec<FieldMapping>) -> Table {
        let decoder = DecodePlan { format, fields }.decoder().expect("a sound plan");
        Table { decoder, decoded: None, refused: Vec::new() }
    }

    pub fn push(&mut self, value: &str) {
        self.push_bytes(Some(value.as_bytes()));
    }

    pub fn push_bytes(&mut self, value: Option<&[u8]>) {
        self.refused.extend(self.decoder.push(&[message(0, value)]));
    }

    pub fn clear(&mut self) {
        self.decoder.finish();
        self.decoded = None;
        self.refused.clear();
    }

    /// The rows since the last `clear`.
    pub fn rows(&mut self) -> Vec<Vec<String>> {
        if self.decoded.is_none() {
            self.decoded = Some(self.decoder.finish());
        }
        let columns = &self.decoded.as_ref().expect("just set").columns;
        (0..columns.num_rows()).map(|row| texts(columns, row)).collect()
    }

    pub fn origin(&self) -> &[u32] {
        &self.decoded.as_ref().expect("rows() was asked first").origin
    }

    /// The only column's value of a single message, or why it is refused.
    pub fn one(&mut self, value: &str) -> Result<String, Error> {
        self.clear();
        self.push(value);
        if let Some(refused) = self.refused.pop() {
            assert_eq!(self.rows(), Vec::<Vec<String>>::new(), "a refused message leaves no row");
            return Err(refused.error);
        }
        let rows = self.rows();
        assert_eq!((rows.len(), rows[0].len()), (1, 1));
        Ok(rows[0][0].clone())
    }
}

/// A row's values.
pub fn texts(rows: &RecordBatch, row: usize) -> Vec<String> {
    rows.columns().iter().map(|column| value_text(column, row)).collect()
}

fn value_text(column: &dyn Array, row: usize) -> String {
    if column.is_null(row) {
        return "null".into();
    }
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).to_string(),
        DataType::Int16 => column.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => format!("{:?}", column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => format!("{:?}", column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => column.as_primitive::<Decimal128Type>().value(row).to_string(),
        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).to_string(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            column.as_primitive::<TimestampMicrosecondType>().value(row).to_string()
        }
        DataType::Utf8 => column.as_string::<i32>().value(row).to_string(),
        DataType::Binary => format!("{:?}", column.as_binary::<i32>().value(row)),
        other => panic!("no decoder makes a {other}"),
    }
}
