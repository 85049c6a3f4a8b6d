//! `to_char`: timestamps, intervals and numbers with a pattern. `pg-values` implements the patterns.

use std::sync::Arc;

use bytes::BytesMut;
use datafusion::arrow::array::{Array, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use pg_values::format::numbers::{Number, NumberPattern};
use pg_values::format::{self, Pattern};
use pg_values::time::Interval;

use super::overload::{Kind, Memory, Read, Value, rows_of, unknown};
use crate::error::{SqlError, SqlState};
use crate::types::encode;

/// The function.
pub fn function() -> ScalarUDF {
    ScalarUDF::from(ToChar { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct ToChar {
    signature: Signature,
}

/// A pattern of times.
pub fn time_pattern(text: &str, memory: &mut Memory) -> crate::Result<Arc<Pattern>> {
    match memory.of(text, |text| Ok(Read::Pattern(Arc::new(Pattern::new(text)))))? {
        Read::Pattern(pattern) => Ok(pattern),
        _ => Ok(Arc::new(Pattern::new(text))),
    }
}

fn number_pattern(text: &str, memory: &mut Memory) -> crate::Result<Arc<NumberPattern>> {
    let new = |text: &str| match NumberPattern::to_write(text) {
        Ok(pattern) => Ok(Arc::new(pattern)),
        Err(wrong) => Err(SqlError::syntax(wrong)),
    };
    match memory.of(text, |text| new(text).map(Read::Numbers))? {
        Read::Numbers(pattern) => Ok(pattern),
        _ => new(text),
    }
}

fn written(
    value: &Value<'_>,
    kind: Kind,
    pattern: &str,
    memory: &mut Memory,
) -> crate::Result<Option<String>> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let pattern = time_pattern(pattern, memory)?;
    // A time of day is written as the interval since midnight.
    let since_midnight = match value {
        Value::Micros(micros) if kind == Kind::Time => {
            Value::Interval(Interval { months: 0, days: 0, micros: *micros })
        }
        other => other.clone(),
    };
    match &since_midnight {
        Value::Interval(interval) => {
            let wrong = || {
                SqlError::new(
                    SqlState::INVALID_DATETIME_FORMAT,
                    "invalid format specification for an interval value",
                )
                .with_hint("Intervals are not tied to specific calendar dates.")
            };
            format::interval(*interval, &pattern).map(Some).ok_or_else(wrong)
        }
        value => Ok(format::timestamp(value.micros(), kind == Kind::TimestampTz, &pattern)),
    }
}

/// Numbers with a pattern, from a column of any numeric type.
fn numbers(values: &dyn Array, patterns: &StringArray, rows: usize) -> Result<Vec<Option<String>>> {
    let mut memory = Memory::default();
    let mut digits = BytesMut::new();
    let mut texts = Vec::with_capacity(rows);
    for row in 0..rows {
        let (at, of) = (row % values.len().max(1), row % patterns.len().max(1));
        if values.is_null(at) || patterns.is_null(of) {
            texts.push(None);
            continue;
        }
        let pattern = number_pattern(patterns.value(of), &mut memory)?;
        let text;
        let number = match values.data_type() {
            DataType::Float64 => Number::Double(values.as_primitive::<Float64Type>().value(at)),
            DataType::Float32 => Number::Real(values.as_primitive::<Float32Type>().value(at)),
            _ => {
                digits.clear();
                encode::text(values, at, &mut digits)?;
                text = String::from_utf8_lossy(&digits).into_owned();
                Number::Exact(&text)
            }
        };
        texts.push(Some(pattern.write(number)));
    }
    Ok(texts)
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, pattern] = types else { return Err(unknown("to_char", types).into()) };
        let value = match Kind::of(value) {
            Some(Kind::Date) => Kind::TimestampTz.arrow(),
            Some(kind @ (Kind::Timestamp | Kind::TimestampTz | Kind::Interval)) => kind.arrow(),
            Some(Kind::Time) => Kind::Time.arrow(),
            _ if value.is_numeric() || value.is_null() => value.clone(),
            _ => return Err(unknown("to_char", types).into()),
        };
        match Kind::of(pattern) {
            Some(Kind::Text) => {}
            _ if pattern.is_null() => {}
            _ => return Err(unknown("to_char", types).into()),
        }
        Ok(vec![value, DataType::Utf8])
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, pattern] = args.args.as_slice() else { return Err(unknown("to_char", &[]).into()) };
        let is_scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if is_scalar { 1 } else { args.number_rows };
        let texts = match Kind::of(&value.data_type()) {
            Some(kind) if kind.is_time() => rows_of(&args.args, rows, |row, memory| {
                written(&row[0], kind, row[1].text(), &mut memory[1])
            })?,
            _ if value.data_type().is_null() => vec![None; rows],
            _ => {
                let (values, patterns) = (value.to_array(rows)?, pattern.to_array(rows)?);
                numbers(values.as_ref(), patterns.as_string(), rows)?
            }
        };
        let array = StringArray::from(texts);
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(Arc::new(array)),
        })
    }
}
