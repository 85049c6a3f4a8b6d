//! Texts to values, as PostgreSQL's input functions convert them.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, IntervalMonthDayNanoArray,
    PrimitiveArray, StringArray, new_null_array,
};
use datafusion::arrow::datatypes::*;
use pg_values::{Fault, number, text, time};

use crate::error::{Result, SqlError};
use crate::functions::overload::to_arrow;
use crate::types::Base;

/// The values of texts: of type `base`, stored as `into`.
pub fn from_texts(texts: &StringArray, base: Base, into: &DataType) -> Result<ArrayRef> {
    Ok(match (base, into) {
        (Base::Bool, _) => {
            let values: Result<Vec<Option<bool>>> = texts
                .iter()
                .map(|t| t.map(|t| text::boolean(t.as_bytes()).map_err(bad(base, t))).transpose())
                .collect();
            Arc::new(BooleanArray::from(values?))
        }
        (Base::Uuid, _) => {
            let canonical = |t: &str| -> Result<String> {
                let digits = text::uuid(t.as_bytes()).map_err(bad(base, t))?;
                Ok(String::from_utf8_lossy(&digits).into_owned())
            };
            let values: Result<Vec<Option<String>>> =
                texts.iter().map(|t| t.map(canonical).transpose()).collect();
            Arc::new(StringArray::from(values?))
        }
        (Base::Bytea, _) => {
            let bytes = |t: &str| -> Result<Vec<u8>> {
                let mut out = Vec::new();
                text::bytea(t.as_bytes(), &mut out).map_err(bad(base, t))?;
                Ok(out)
            };
            let values: Result<Vec<Option<Vec<u8>>>> =
                texts.iter().map(|t| t.map(bytes).transpose()).collect();
            Arc::new(values?.iter().map(|v| v.as_deref()).collect::<BinaryArray>())
        }
        (_, DataType::Int16) => numbers::<Int16Type>(texts, base, narrow)?,
        (_, DataType::Int32) => numbers::<Int32Type>(texts, base, narrow)?,
        (_, DataType::Int64) => numbers::<Int64Type>(texts, base, whole)?,
        (_, DataType::Float32) => numbers::<Float32Type>(texts, base, number::float32)?,
        (_, DataType::Float64) => numbers::<Float64Type>(texts, base, number::float64)?,
        (_, DataType::Decimal128(precision, scale)) => {
            let read = |t: &[u8]| number::decimal(t, *precision, *scale);
            let values = primitives::<Decimal128Type>(texts, base, read)?;
            Arc::new(values.with_precision_and_scale(*precision, *scale)?)
        }
        (_, DataType::Date32) => numbers::<Date32Type>(texts, base, time::date)?,
        (_, DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            let read = |t: &[u8]| time::timestamp(t, zone.is_some());
            let values = primitives::<TimestampMicrosecondType>(texts, base, read)?;
            Arc::new(values.with_timezone_opt(zone.clone()))
        }
        (_, DataType::Time64(TimeUnit::Microsecond)) => {
            numbers::<Time64MicrosecondType>(texts, base, |t| time::time(t, None))?
        }
        (_, DataType::Interval(IntervalUnit::MonthDayNano)) => {
            let read = |t: &str| -> Result<IntervalMonthDayNano> {
                to_arrow(time::interval(t.as_bytes(), None).map_err(bad(base, t))?)
            };
            let values = texts.iter().map(|t| t.map(read).transpose());
            Arc::new(values.collect::<Result<IntervalMonthDayNanoArray>>()?)
        }
        (_, DataType::Utf8) => Arc::new(texts.clone()),
        (_, DataType::Null) => new_null_array(into, texts.len()),
        _ => {
            return Err(SqlError::unsupported(format!("text cannot be read as {}", base.sql_name())));
        }
    })
}

fn narrow<T: TryFrom<i64>>(text: &[u8]) -> Result<T, Fault> {
    T::try_from(whole(text)?).map_err(|_| Fault::OutOfRange)
}

/// Digits with a sign: unlike a number of a message, a text with a point or an exponent is not an integer.
fn whole(text: &[u8]) -> Result<i64, Fault> {
    let text = text.trim_ascii();
    let digits = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    match !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        true => std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()).ok_or(Fault::OutOfRange),
        false => Err(Fault::Invalid),
    }
}

fn numbers<T: ArrowPrimitiveType>(
    texts: &StringArray,
    base: Base,
    read: impl Fn(&[u8]) -> Result<T::Native, Fault>,
) -> Result<ArrayRef> {
    Ok(Arc::new(primitives::<T>(texts, base, read)?))
}

fn primitives<T: ArrowPrimitiveType>(
    texts: &StringArray,
    base: Base,
    read: impl Fn(&[u8]) -> Result<T::Native, Fault>,
) -> Result<PrimitiveArray<T>> {
    texts.iter().map(|t| t.map(|t| read(t.as_bytes()).map_err(bad(base, t))).transpose()).collect()
}

fn bad<'a>(base: Base, text: &'a str) -> impl FnOnce(Fault) -> SqlError + 'a {
    move |fault| bad_text(fault, base.sql_name(), text)
}

/// The error for a text that is not a value of a type.
pub fn bad_text(fault: Fault, type_name: &str, text: &str) -> SqlError {
    match fault {
        Fault::UnknownZone => {
            SqlError::new(fault.sqlstate(), format!("time zone of \"{text}\" not recognized"))
        }
        Fault::ZoneOutOfRange => {
            SqlError::new(fault.sqlstate(), format!("time zone displacement out of range: \"{text}\""))
        }
        Fault::IntervalFieldOverflow => {
            SqlError::new(fault.sqlstate(), format!("interval field value out of range: \"{text}\""))
        }
        Fault::IntervalOverflow => SqlError::new(fault.sqlstate(), "interval out of range"),
        fault => SqlError::bad_text(fault.sqlstate(), type_name, text),
    }
}
