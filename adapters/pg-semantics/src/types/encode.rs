//! Values as PostgreSQL writes them: text and binary, for result rows and for COPY.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::*;
use datafusion::arrow::datatypes::*;
use pg_values::time::{Interval, calendar, write};

use super::{Base, PgType};
use crate::decimal::Decimal;
use crate::error::{Result, SqlError, SqlState};

const MICROS_A_DAY: i64 = 86_400_000_000;
/// Microseconds and days from 1970-01-01 to 2000-01-01, PostgreSQL's epoch.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const EPOCH_DAYS: i32 = 10_957;

/// The format of a value on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// Text.
    Text,
    /// Network byte order.
    Binary,
}

impl Format {
    /// From the wire.
    pub fn from_code(code: i16) -> Result<Format> {
        match code {
            0 => Ok(Format::Text),
            1 => Ok(Format::Binary),
            other => Err(SqlError::new(
                SqlState::PROTOCOL_VIOLATION,
                format!("format code {other} is neither 0 nor 1"),
            )),
        }
    }

    /// For the wire.
    pub fn code(self) -> i16 {
        match self {
            Format::Text => 0,
            Format::Binary => 1,
        }
    }
}

/// Writes a field of a DataRow: its length, -1 for null, and its value.
pub fn field(array: &dyn Array, row: usize, pg: PgType, format: Format, out: &mut BytesMut) -> Result<()> {
    if array.is_null(row) || matches!(array.data_type(), DataType::Null) {
        out.put_i32(-1);
        return Ok(());
    }
    let start = out.len();
    out.put_i32(0);
    match format {
        Format::Text => text(array, row, out)?,
        Format::Binary => binary(array, row, pg, out)?,
    }
    let len = (out.len() - start - 4) as i32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    Ok(())
}

macro_rules! put {
    ($out:expr, $($arg:tt)*) => {
        // Writing into a growing buffer does not fail.
        let _ = write!($out, $($arg)*);
    };
}

/// Writes a value that is not null as text.
pub fn text(array: &dyn Array, row: usize, out: &mut BytesMut) -> Result<()> {
    use DataType as D;
    macro_rules! plain {
        ($t:ty) => {{
            put!(out, "{}", array.as_primitive::<$t>().value(row));
        }};
    }
    match array.data_type() {
        D::Boolean => out.put_u8(if array.as_boolean().value(row) { b't' } else { b'f' }),
        D::Int8 => plain!(Int8Type),
        D::Int16 => plain!(Int16Type),
        D::Int32 => plain!(Int32Type),
        D::Int64 => plain!(Int64Type),
        D::UInt8 => plain!(UInt8Type),
        D::UInt16 => plain!(UInt16Type),
        D::UInt32 => plain!(UInt32Type),
        D::UInt64 => plain!(UInt64Type),
        D::Float16 => {
            float(&format!("{:e}", array.as_primitive::<Float16Type>().value(row).to_f32()), 6, out)
        }
        D::Float32 => float(&format!("{:e}", array.as_primitive::<Float32Type>().value(row)), 6, out),
        D::Float64 => float(&format!("{:e}", array.as_primitive::<Float64Type>().value(row)), 15, out),
        D::Decimal32(..) | D::Decimal64(..) | D::Decimal128(..) | D::Decimal256(..) => {
            out.put_slice(decimal_text(array, row)?.as_bytes())
        }
        D::Utf8 => out.put_slice(array.as_string::<i32>().value(row).as_bytes()),
        D::LargeUtf8 => out.put_slice(array.as_string::<i64>().value(row).as_bytes()),
        D::Utf8View => out.put_slice(array.as_string_view().value(row).as_bytes()),
        D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => {
            out.put_slice(b"\\x");
            for byte in bytes_value(array, row)? {
                put!(out, "{byte:02x}");
            }
        }
        D::Date32 | D::Date64 => {
            let _ = write::date(days(array, row)?, out);
        }
        D::Time32(_) | D::Time64(_) => {
            let _ = write::time(micros_of_day(array, row)?, out);
        }
        D::Timestamp(_, zone) => {
            let _ = write::timestamp(micros(array, row)?, zone.is_some(), out);
        }
        D::Interval(_) | D::Duration(_) => {
            let (months, days, micros) = interval_parts(array, row)?;
            let _ = Interval { months, days, micros }.write(out);
        }
        D::Dictionary(..) => {
            let values = array.as_any_dictionary();
            let key = values.normalized_keys()[row];
            text(values.values().as_ref(), key, out)?;
        }
        D::List(_) | D::LargeList(_) | D::FixedSizeList(..) => list_text(&list_value(array, row)?, out)?,
        D::Struct(_) | D::Map(..) => json(array, row, out)?,
        other => return Err(no_type(other)),
    }
    Ok(())
}

/// Writes a value that is not null in binary, as values of type `pg`.
pub fn binary(array: &dyn Array, row: usize, pg: PgType, out: &mut BytesMut) -> Result<()> {
    let base = match pg {
        PgType::Array(base) => return list_binary(array, row, base, out),
        PgType::One(base) => base,
    };
    match base {
        Base::Bool => out.put_u8(u8::from(array.as_boolean().value(row))),
        Base::Int2 => out.put_i16(integer(array, row)?.try_into().map_err(|_| out_of_range("smallint"))?),
        Base::Int4 => out.put_i32(integer(array, row)?.try_into().map_err(|_| out_of_range("integer"))?),
        Base::Oid => out.put_u32(integer(array, row)?.try_into().map_err(|_| out_of_range("oid"))?),
        Base::Int8 => out.put_i64(integer(array, row)?),
        Base::Float4 => out.put_f32(match array.data_type() {
            DataType::Float16 => array.as_primitive::<Float16Type>().value(row).to_f32(),
            _ => array.as_primitive::<Float32Type>().value(row),
        }),
        Base::Float8 => out.put_f64(array.as_primitive::<Float64Type>().value(row)),
        Base::Numeric => numeric_binary(&decimal_text(array, row)?, out),
        Base::Bytea => out.put_slice(bytes_value(array, row)?),
        Base::Date => out.put_i32(match days(array, row)? {
            // Infinity is the same number with either epoch.
            calendar::DATE_INFINITY => i32::MAX,
            calendar::DATE_MINUS_INFINITY => i32::MIN,
            days => days - EPOCH_DAYS,
        }),
        Base::Time => out.put_i64(micros_of_day(array, row)?),
        Base::Timestamp | Base::TimestampTz => {
            out.put_i64(match micros(array, row)? {
                infinite if calendar::is_infinite(infinite) => infinite,
                micros => micros.checked_sub(EPOCH_MICROS).ok_or_else(|| out_of_range("timestamp"))?,
            });
        }
        Base::Interval => {
            let (months, days, micros) = interval_parts(array, row)?;
            out.put_i64(micros);
            out.put_i32(days);
            out.put_i32(months);
        }
        Base::Uuid => uuid_binary(array, row, out)?,
        Base::Regtype => {
            let mut name = BytesMut::new();
            text(array, row, &mut name)?;
            let known = PgType::from_sql_name(&String::from_utf8_lossy(&name));
            out.put_u32(known.map_or(UNKNOWN_OID, PgType::oid));
        }
        Base::Jsonb => {
            out.put_u8(1);
            text(array, row, out)?;
        }
        Base::Text | Base::Json | Base::Name | Base::Char | Base::Bpchar | Base::Varchar => {
            text(array, row, out)?
        }
    }
    Ok(())
}

/// The OID of literals of unknown type.
const UNKNOWN_OID: u32 = 705;

fn no_type(data_type: &DataType) -> SqlError {
    SqlError::unsupported(format!(
        "a result of type {data_type} cannot be sent to a client. Cast it to text."
    ))
}

fn out_of_range(name: &str) -> SqlError {
    SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"))
}

fn integer(array: &dyn Array, row: usize) -> Result<i64> {
    use DataType as D;
    Ok(match array.data_type() {
        D::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        D::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        D::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        D::Int64 => array.as_primitive::<Int64Type>().value(row),
        D::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        D::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        D::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        D::UInt64 => {
            array.as_primitive::<UInt64Type>().value(row).try_into().map_err(|_| out_of_range("bigint"))?
        }
        other => return Err(no_type(other)),
    })
}

/// Converts scientific notation with the shortest digits (`1.5e-7`) to PostgreSQL's form: fixed between 1e-4 and
/// `1e<fixed_below>`.
fn float(scientific: &str, fixed_below: i32, out: &mut BytesMut) {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return out.put_slice(match scientific {
            "inf" => b"Infinity",
            "-inf" => b"-Infinity",
            _ => b"NaN",
        });
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |m| ("-", m));
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    out.put_slice(sign.as_bytes());
    if !(-4..fixed_below).contains(&exponent) {
        let mark = if exponent < 0 { '-' } else { '+' };
        put!(out, "{mantissa}e{mark}{:02}", exponent.abs());
    } else if exponent < 0 {
        put!(out, "0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    } else {
        let whole = exponent as usize + 1;
        if digits.len() <= whole {
            put!(out, "{digits}{}", "0".repeat(whole - digits.len()));
        } else {
            put!(out, "{}.{}", &digits[..whole], &digits[whole..]);
        }
    }
}

fn decimal_text(array: &dyn Array, row: usize) -> Result<String> {
    use DataType as D;
    Ok(match array.data_type() {
        D::Decimal32(..) => array.as_primitive::<Decimal32Type>().value_as_string(row),
        D::Decimal64(..) => array.as_primitive::<Decimal64Type>().value_as_string(row),
        D::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        D::Decimal256(precision, scale) => {
            let unscaled = array.as_primitive::<Decimal256Type>().value(row);
            Decimal { unscaled, scale: i32::from(*scale) }.shown(i32::from(*precision))
        }
        _ => integer(array, row)?.to_string(),
    })
}

/// Digits of base 10,000, as PostgreSQL sends numeric.
fn numeric_binary(text: &str, out: &mut BytesMut) {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |t| (true, t));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole = whole.trim_start_matches('0');
    let left = whole.len().div_ceil(4) * 4;
    let right = fraction.len().div_ceil(4) * 4;
    let padded = format!("{whole:0>left$}{fraction:0<right$}");
    let mut groups: Vec<i16> =
        padded.as_bytes().chunks(4).map(|g| g.iter().fold(0, |n, d| n * 10 + i16::from(d - b'0'))).collect();
    let mut weight = (left / 4) as i16 - 1;
    while groups.first() == Some(&0) {
        groups.remove(0);
        weight -= 1;
    }
    while groups.last() == Some(&0) {
        groups.pop();
    }
    if groups.is_empty() {
        weight = 0;
    }
    out.put_i16(groups.len() as i16);
    out.put_i16(weight);
    out.put_u16(if negative && !groups.is_empty() { 0x4000 } else { 0 });
    out.put_i16(fraction.len() as i16);
    groups.into_iter().for_each(|g| out.put_i16(g));
}

fn bytes_value(array: &dyn Array, row: usize) -> Result<&[u8]> {
    use DataType as D;
    Ok(match array.data_type() {
        D::Binary => array.as_binary::<i32>().value(row),
        D::LargeBinary => array.as_binary::<i64>().value(row),
        D::BinaryView => array.as_binary_view().value(row),
        D::FixedSizeBinary(_) => array.as_fixed_size_binary().value(row),
        other => return Err(no_type(other)),
    })
}

fn uuid_binary(array: &dyn Array, row: usize, out: &mut BytesMut) -> Result<()> {
    let mut canonical = BytesMut::new();
    text(array, row, &mut canonical)?;
    let hex: Vec<u8> = canonical.iter().copied().filter(|b| *b != b'-').collect();
    let bytes = std::str::from_utf8(&hex).ok().and_then(|hex| u128::from_str_radix(hex, 16).ok());
    out.put_u128(bytes.filter(|_| hex.len() == 32).ok_or_else(|| {
        SqlError::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid value for type uuid")
    })?);
    Ok(())
}

fn days(array: &dyn Array, row: usize) -> Result<i32> {
    match array.data_type() {
        DataType::Date32 => Ok(array.as_primitive::<Date32Type>().value(row)),
        DataType::Date64 => Ok(array
            .as_primitive::<Date64Type>()
            .value(row)
            .div_euclid(86_400_000)
            .try_into()
            .unwrap_or(i32::MAX)),
        other => Err(no_type(other)),
    }
}

fn micros_of_day(array: &dyn Array, row: usize) -> Result<i64> {
    use DataType as D;
    use TimeUnit as U;
    Ok(match array.data_type() {
        D::Time32(U::Second) => i64::from(array.as_primitive::<Time32SecondType>().value(row)) * 1_000_000,
        D::Time32(_) => i64::from(array.as_primitive::<Time32MillisecondType>().value(row)) * 1000,
        D::Time64(U::Microsecond) => array.as_primitive::<Time64MicrosecondType>().value(row),
        D::Time64(_) => array.as_primitive::<Time64NanosecondType>().value(row) / 1000,
        other => return Err(no_type(other)),
    })
}

fn micros(array: &dyn Array, row: usize) -> Result<i64> {
    let scaled = |value: i64, by: i64| value.checked_mul(by).ok_or_else(|| out_of_range("timestamp"));
    match array.data_type() {
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => scaled(array.as_primitive::<TimestampSecondType>().value(row), 1_000_000),
            TimeUnit::Millisecond => {
                scaled(array.as_primitive::<TimestampMillisecondType>().value(row), 1000)
            }
            TimeUnit::Microsecond => Ok(array.as_primitive::<TimestampMicrosecondType>().value(row)),
            TimeUnit::Nanosecond => {
                Ok(array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1000))
            }
        },
        other => Err(no_type(other)),
    }
}

/// Months, days and microseconds.
fn interval_parts(array: &dyn Array, row: usize) -> Result<(i32, i32, i64)> {
    use DataType as D;
    Ok(match array.data_type() {
        D::Interval(IntervalUnit::YearMonth) => {
            (array.as_primitive::<IntervalYearMonthType>().value(row), 0, 0)
        }
        D::Interval(IntervalUnit::DayTime) => {
            let value = array.as_primitive::<IntervalDayTimeType>().value(row);
            (0, value.days, i64::from(value.milliseconds) * 1000)
        }
        D::Interval(IntervalUnit::MonthDayNano) => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(row);
            (value.months, value.days, value.nanoseconds / 1000)
        }
        D::Duration(unit) => {
            let micros = match unit {
                TimeUnit::Second => {
                    array.as_primitive::<DurationSecondType>().value(row).saturating_mul(1_000_000)
                }
                TimeUnit::Millisecond => {
                    array.as_primitive::<DurationMillisecondType>().value(row).saturating_mul(1000)
                }
                TimeUnit::Microsecond => array.as_primitive::<DurationMicrosecondType>().value(row),
                TimeUnit::Nanosecond => array.as_primitive::<DurationNanosecondType>().value(row) / 1000,
            };
            (0, (micros / MICROS_A_DAY) as i32, micros % MICROS_A_DAY)
        }
        other => return Err(no_type(other)),
    })
}

fn list_value(array: &dyn Array, row: usize) -> Result<ArrayRef> {
    Ok(match array.data_type() {
        DataType::List(_) => array.as_list::<i32>().value(row),
        DataType::LargeList(_) => array.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => array.as_fixed_size_list().value(row),
        other => return Err(no_type(other)),
    })
}

fn list_text(items: &ArrayRef, out: &mut BytesMut) -> Result<()> {
    let nested = matches!(items.data_type(), DataType::List(_) | DataType::LargeList(_));
    out.put_u8(b'{');
    for row in 0..items.len() {
        if row > 0 {
            out.put_u8(b',');
        }
        if items.is_null(row) {
            out.put_slice(b"NULL");
            continue;
        }
        let mut item = BytesMut::new();
        text(items.as_ref(), row, &mut item)?;
        if nested || !needs_quotes(&item) {
            out.put_slice(&item);
            continue;
        }
        out.put_u8(b'"');
        for byte in &item {
            if matches!(byte, b'"' | b'\\') {
                out.put_u8(b'\\');
            }
            out.put_u8(*byte);
        }
        out.put_u8(b'"');
    }
    out.put_u8(b'}');
    Ok(())
}

fn needs_quotes(item: &[u8]) -> bool {
    item.is_empty()
        || item.eq_ignore_ascii_case(b"null")
        || item.iter().any(|b| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\') || b.is_ascii_whitespace())
}

fn list_binary(array: &dyn Array, row: usize, base: Base, out: &mut BytesMut) -> Result<()> {
    let items = list_value(array, row)?;
    if matches!(items.data_type(), DataType::List(_) | DataType::LargeList(_)) {
        return Err(SqlError::unsupported("arrays of arrays are sent as text only"));
    }
    let dimensions = i32::from(!items.is_empty());
    out.put_i32(dimensions);
    out.put_i32(i32::from(items.null_count() > 0));
    out.put_u32(base.oid());
    if dimensions == 1 {
        out.put_i32(items.len() as i32);
        out.put_i32(1);
    }
    for row in 0..items.len() {
        field(items.as_ref(), row, PgType::One(base), Format::Binary, out)?;
    }
    Ok(())
}

/// A struct or map as JSON.
fn json(array: &dyn Array, row: usize, out: &mut BytesMut) -> Result<()> {
    if array.is_null(row) {
        out.put_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Struct(fields) => {
            out.put_u8(b'{');
            for (i, (name, values)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                if i > 0 {
                    out.put_u8(b',');
                }
                put!(out, "{}:", serde_json::Value::from(name.name().as_str()));
                json(values.as_ref(), row, out)?;
            }
            out.put_u8(b'}');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            out.put_u8(b'{');
            for i in 0..entries.len() {
                if i > 0 {
                    out.put_u8(b',');
                }
                let mut key = BytesMut::new();
                text(entries.column(0).as_ref(), i, &mut key)?;
                put!(out, "{}:", serde_json::Value::from(String::from_utf8_lossy(&key)));
                json(entries.column(1).as_ref(), i, out)?;
            }
            out.put_u8(b'}');
        }
        DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => {
            let items = list_value(array, row)?;
            out.put_u8(b'[');
            for i in 0..items.len() {
                if i > 0 {
                    out.put_u8(b',');
                }
                json(items.as_ref(), i, out)?;
            }
            out.put_u8(b']');
        }
        DataType::Boolean => {
            put!(out, "{}", array.as_boolean().value(row));
        }
        t if t.is_numeric() => text(array, row, out)?,
        _ => {
            let mut value = BytesMut::new();
            text(array, row, &mut value)?;
            put!(out, "{}", serde_json::Value::from(String::from_utf8_lossy(&value)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::types::decode;

    fn shown(array: impl Array + 'static) -> String {
        let mut out = BytesMut::new();
        text(&array, 0, &mut out).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    /// Binary out, and back in as text.
    fn round_trip(array: impl Array + 'static, base: Base) -> String {
        let mut out = BytesMut::new();
        binary(&array, 0, PgType::One(base), &mut out).unwrap();
        decode::binary_text(PgType::One(base), &out).unwrap()
    }

    #[test]
    fn floats_are_written_as_postgresql_does() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123456789012345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.5e300, "1.5e+300"),
            (0.1 + 0.2, "0.30000000000000004"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(shown(Float64Array::from(vec![value])), expected);
        }
        assert_eq!(shown(Float32Array::from(vec![1e6])), "1e+06");
        assert_eq!(shown(Float32Array::from(vec![123456.0])), "123456");
    }

    #[test]
    fn numerics_survive_the_binary_format() {
        for text in ["0.00", "0.01", "-0.05", "1.00", "9999.99", "10000.00", "-123456789.10", "100000000.00"]
        {
            let unscaled: i128 = text.replace('.', "").parse().unwrap();
            let array = Decimal128Array::from(vec![unscaled]).with_precision_and_scale(38, 2).unwrap();
            assert_eq!(round_trip(array, Base::Numeric), text);
        }
        let small = Decimal128Array::from(vec![1]).with_precision_and_scale(38, 9).unwrap();
        assert_eq!(round_trip(small, Base::Numeric), "0.000000001");
    }

    #[test]
    fn times_are_written_as_postgresql_does() {
        let at = |micros| shown(TimestampMicrosecondArray::from(vec![micros]));
        assert_eq!(at(0), "1970-01-01 00:00:00");
        assert_eq!(at(1_500_000), "1970-01-01 00:00:01.5");
        assert_eq!(at(-1), "1969-12-31 23:59:59.999999");
        assert_eq!(at(-62_167_219_200_000_000), "0001-01-01 00:00:00 BC");
        assert_eq!(
            shown(TimestampMicrosecondArray::from(vec![0]).with_timezone("+00:00")),
            "1970-01-01 00:00:00+00"
        );
        assert_eq!(shown(Date32Array::from(vec![19_782])), "2024-02-29");
        let interval = IntervalMonthDayNanoType::make_value(14, 3, 4_500_000_000);
        assert_eq!(shown(IntervalMonthDayNanoArray::from(vec![interval])), "1 year 2 mons 3 days 00:00:04.5");
        assert_eq!(
            round_trip(TimestampMicrosecondArray::from(vec![1_700_000_000_123_456]), Base::Timestamp),
            "2023-11-14 22:13:20.123456"
        );
    }

    #[test]
    fn arrays_are_quoted_where_they_must_be() {
        let items: Vec<Option<&str>> =
            vec![Some("a"), None, Some(""), Some("b,c"), Some("q\"\\"), Some("null")];
        let mut list = ListBuilder::new(StringBuilder::new());
        items.iter().for_each(|i| list.values().append_option(*i));
        list.append(true);
        let text = shown(list.finish());
        assert_eq!(text, r#"{a,NULL,"","b,c","q\"\\","null"}"#);
        let read = decode::array_text_items(&text).unwrap();
        assert_eq!(read.iter().map(Option::as_deref).collect::<Vec<_>>(), items);
    }

    #[test]
    fn bytes_and_structs() {
        assert_eq!(shown(BinaryArray::from(vec![&b"\x00\xff\\"[..]])), "\\x00ff5c");
        assert_eq!(decode::bytea("\\x00FF5c").unwrap(), b"\x00\xff\\");
        assert_eq!(decode::bytea("a\\\\b\\001").unwrap(), b"a\\b\x01");
        assert!(decode::bytea("\\x0").is_err());
        let fields = vec![
            (
                Arc::new(Field::new("n", DataType::Int64, true)),
                Arc::new(Int64Array::from(vec![1])) as ArrayRef,
            ),
            (
                Arc::new(Field::new("s", DataType::Utf8, true)),
                Arc::new(StringArray::from(vec![Some("a\"b")])) as ArrayRef,
            ),
        ];
        assert_eq!(shown(StructArray::from(fields)), r#"{"n":1,"s":"a\"b"}"#);
    }

    #[test]
    fn malformed_binary_values_are_errors() {
        for base in Base::ALL {
            for bytes in [&b""[..], b"\x00", b"\xff\xff\xff\xff\xff", &[0xff; 16], &[0x7f; 33]] {
                // The result does not matter; it must not panic.
                let _ = decode::binary_text(PgType::One(*base), bytes);
                let _ = decode::binary_text(PgType::Array(*base), bytes);
            }
        }
        assert!(decode::binary_text(PgType::One(Base::Int8), b"\x00").is_err());
    }
}
