//! A decoded row as JSON-like text, for the errors table: the message itself is gone by then.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};

/// `{"name": value, …}`; times as numbers, bytes as `\x` and hexadecimal digits.
pub(crate) fn row_text(rows: &RecordBatch, row: usize) -> String {
    let mut text = String::from("{");
    for (index, (field, column)) in rows.schema_ref().fields().iter().zip(rows.columns()).enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        write!(text, "{comma}{:?}: ", field.name()).expect("a string takes everything");
        value_text(column, row, &mut text).expect("a string takes everything");
    }
    text + "}"
}

fn value_text(column: &dyn Array, row: usize, text: &mut String) -> std::fmt::Result {
    if column.is_null(row) {
        return text.write_str("null");
    }
    match column.data_type() {
        DataType::Boolean => write!(text, "{}", column.as_boolean().value(row)),
        DataType::Int16 => write!(text, "{}", column.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => write!(text, "{}", column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => write!(text, "{}", column.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => write!(text, "{}", column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => write!(text, "{}", column.as_primitive::<Float64Type>().value(row)),
        DataType::Date32 => write!(text, "{}", column.as_primitive::<Date32Type>().value(row)),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            write!(text, "{}", column.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Decimal128(..) => {
            text.write_str(&column.as_primitive::<Decimal128Type>().value_as_string(row))
        }
        DataType::Utf8 => write!(text, "{:?}", column.as_string::<i32>().value(row)),
        DataType::Binary => {
            text.write_str("\"\\x")?;
            column.as_binary::<i32>().value(row).iter().try_for_each(|byte| write!(text, "{byte:02x}"))?;
            text.write_str("\"")
        }
        other => write!(text, "\"({other})\""),
    }
}
