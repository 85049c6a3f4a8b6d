//! Converts rows in the plain form of `oracle::value` to the kernel's columns. `oracle::value` converts back.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array,
    Int16Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use kernel::schema::{ColumnType, TableDef};

use crate::oracle::value::{Row, Value};

/// Types of the hidden columns: a row's provenance.
const HIDDEN: [ColumnType; 3] = [ColumnType::Int64, ColumnType::Int32, ColumnType::Int64];

/// Types of the columns of a table's stored schema.
pub fn stored_types(def: &TableDef) -> impl Iterator<Item = ColumnType> + '_ {
    def.columns.iter().map(|column| column.column_type).chain(HIDDEN)
}

/// What is no number has many forms, which are one value: those of either sign, and those that say something besides.
fn many_forms(column: ArrayRef) -> ArrayRef {
    let forms = [0x7ff8_0000_0000_0000, 0xfff8_0000_0000_0000, 0x7ff8_0000_2000_0001, 0xfff8_dead_0000_0000];
    let form = |row: usize| f64::from_bits(forms[row % forms.len()]);
    if let Some(reals) = column.as_primitive_opt::<Float32Type>() {
        let formed =
            |(row, real): (usize, Option<f32>)| real.map(|r| if r.is_nan() { form(row) as f32 } else { r });
        return Arc::new(reals.iter().enumerate().map(formed).collect::<Float32Array>());
    }
    if let Some(reals) = column.as_primitive_opt::<Float64Type>() {
        let formed = |(row, real): (usize, Option<f64>)| real.map(|r| if r.is_nan() { form(row) } else { r });
        return Arc::new(reals.iter().enumerate().map(formed).collect::<Float64Array>());
    }
    column
}

/// A client's rows, with where they came from, as columns.
pub fn batch(def: &TableDef, rows: &[Row]) -> RecordBatch {
    let own = stored_types(def).enumerate();
    let column = |(at, column_type)| many_forms(column(column_type, rows.iter().map(|row| &row[at])));
    let columns = own.map(column).collect();
    RecordBatch::try_new(def.stored_schema(), columns).expect("rows fit their table")
}

/// Values in the form of `oracle::value` as a column.
pub fn column<'r>(column_type: ColumnType, values: impl Iterator<Item = &'r Value>) -> ArrayRef {
    let values: Vec<&Value> = values.collect();
    let int = values.iter().map(|value| if let Value::Int(int) = value { Some(*int) } else { None });
    let text =
        values.iter().map(|value| if let Value::Text(text) = value { Some(text.as_str()) } else { None });
    let float = values.iter().map(|value| match value {
        Value::Float(bits) => Some(f64::from_bits(*bits)),
        _ => None,
    });
    let fits = "the value was made for its column";
    let made: ArrayRef = match column_type {
        ColumnType::Bool => Arc::new(int.map(|v| v.map(|v| v == 1)).collect::<BooleanArray>()),
        ColumnType::Int16 => {
            Arc::new(int.map(|v| v.map(|v| v.try_into().expect(fits))).collect::<Int16Array>())
        }
        ColumnType::Int32 => {
            Arc::new(int.map(|v| v.map(|v| v.try_into().expect(fits))).collect::<Int32Array>())
        }
        ColumnType::Date => {
            Arc::new(int.map(|v| v.map(|v| v.try_into().expect(fits))).collect::<Date32Array>())
        }
        ColumnType::Int64 => Arc::new(int.collect::<Int64Array>()),
        ColumnType::Float32 => Arc::new(float.map(|v| v.map(|v| v as f32)).collect::<Float32Array>()),
        ColumnType::Float64 => Arc::new(float.collect::<Float64Array>()),
        ColumnType::Decimal { .. } => {
            let unscaled = values.iter().map(|value| value.integer());
            Arc::new(unscaled.collect::<Decimal128Array>().with_data_type(column_type.arrow()))
        }
        ColumnType::Timestamp | ColumnType::TimestampTz => {
            Arc::new(int.collect::<TimestampMicrosecondArray>().with_data_type(column_type.arrow()))
        }
        ColumnType::Bytea => Arc::new(text.map(|t| t.map(str::as_bytes)).collect::<BinaryArray>()),
        ColumnType::Text | ColumnType::Varchar { .. } | ColumnType::Json | ColumnType::Uuid => {
            Arc::new(text.collect::<StringArray>())
        }
    };
    made
}
