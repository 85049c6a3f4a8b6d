//! Values on their way into a column: the conversions that PostgreSQL makes when it assigns, with its errors. Texts are read
//! as the decoders read them, so that a value means the same in a message, in a literal and in COPY.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, Decimal128Array, PrimitiveArray, StringArray,
    new_null_array,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use datafusion::arrow::util::display::FormatOptions;
use kernel::expr::Literal;
use kernel::schema::{ColumnDef, ColumnType};
use tidemark_decode::parse_texts;
use tidemark_pipeline_sql::type_name;

use crate::error::{Result, SqlError, state};
use crate::types::PgType;

/// Longest piece of a bad value that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// Converts values to the type of a column, as an assignment does.
pub fn to_column(values: &ArrayRef, column: &ColumnDef) -> Result<ArrayRef> {
    let into = column.column_type;
    let mut wanted = into.arrow();
    if *values.data_type() == wanted && !matches!(into, ColumnType::Json | ColumnType::Uuid) {
        return Ok(Arc::clone(values));
    }
    if matches!(values.data_type(), DataType::Null) {
        return Ok(new_null_array(&wanted, values.len()));
    }
    if let DataType::Dictionary(_, plain) = values.data_type() {
        let plain = arrow_cast(values, plain)?;
        return to_column(&plain, column);
    }
    let from = Kind::of_arrow(values.data_type());
    match (from, Kind::of(into)) {
        (Some(Kind::Text), Kind::Text) => {
            let texts = arrow_cast(values, &DataType::Utf8)?;
            match into {
                ColumnType::Text => Ok(texts),
                _ => from_texts(texts.as_string(), into),
            }
        }
        (Some(Kind::Text), _) => from_texts(arrow_cast(values, &DataType::Utf8)?.as_string(), into),
        (Some(_), Kind::Text) if into == ColumnType::Text => to_text(values),
        (Some(Kind::Nested), Kind::Text) if into == ColumnType::Json => Err(SqlError::unsupported(format!(
            "column \"{}\" is of type jsonb; cast the expression to text",
            column.name
        ))),
        (Some(Kind::Number), Kind::Number) => number(values, into),
        (Some(Kind::Bytes), Kind::Bytes) | (Some(Kind::Bool), Kind::Bool) => arrow_cast(values, &wanted),
        (Some(Kind::Time), Kind::Time) => {
            // From and to a zone goes through UTC, the zone of the server.
            if let (DataType::Timestamp(unit, _), DataType::Timestamp(_, _)) = (values.data_type(), &wanted) {
                let in_utc = arrow_cast(values, &DataType::Timestamp(*unit, Some("+00:00".into())))?;
                wanted = DataType::Timestamp(
                    datafusion::arrow::datatypes::TimeUnit::Microsecond,
                    Some("+00:00".into()),
                );
                let micros = arrow_cast(&in_utc, &wanted)?;
                let micros = micros.as_primitive::<TimestampMicrosecondType>().clone();
                return Ok(Arc::new(micros.with_data_type(into.arrow())));
            }
            arrow_cast(values, &wanted)
        }
        _ => Err(SqlError::new(
            state::DATATYPE_MISMATCH,
            format!(
                "column \"{}\" is of type {} but expression is of type {}",
                column.name,
                type_name(into),
                type_shown(values.data_type()),
            ),
        )
        .with_hint("You will need to rewrite or cast the expression.")),
    }
}

/// Families within which PostgreSQL assigns without being asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Number,
    Text,
    Bytes,
    Time,
    Nested,
}

impl Kind {
    fn of(column_type: ColumnType) -> Kind {
        match column_type {
            ColumnType::Bool => Kind::Bool,
            ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64 => Kind::Number,
            ColumnType::Float32 | ColumnType::Float64 | ColumnType::Decimal { .. } => Kind::Number,
            ColumnType::Text | ColumnType::Json | ColumnType::Uuid => Kind::Text,
            ColumnType::Bytea => Kind::Bytes,
            ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampTz => Kind::Time,
        }
    }

    fn of_arrow(data_type: &DataType) -> Option<Kind> {
        use DataType as D;
        Some(match data_type {
            D::Boolean => Kind::Bool,
            t if t.is_numeric() => Kind::Number,
            D::Utf8 | D::LargeUtf8 | D::Utf8View => Kind::Text,
            D::Binary | D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => Kind::Bytes,
            D::Date32 | D::Date64 | D::Timestamp(..) => Kind::Time,
            D::List(_) | D::LargeList(_) | D::FixedSizeList(..) | D::Struct(_) | D::Map(..) => Kind::Nested,
            _ => return None,
        })
    }
}

/// A literal of the kernel's out of its text.
pub fn literal_from_text(text: &str, column_type: ColumnType) -> Result<Literal> {
    let array = from_texts(&StringArray::from(vec![text]), column_type)?;
    Ok(match column_type {
        ColumnType::Bool => Literal::Bool(array.as_boolean().value(0)),
        ColumnType::Int16 => Literal::Int(array.as_primitive::<Int16Type>().value(0).into()),
        ColumnType::Int32 => Literal::Int(array.as_primitive::<Int32Type>().value(0).into()),
        ColumnType::Int64 => Literal::Int(array.as_primitive::<Int64Type>().value(0)),
        ColumnType::Float32 => {
            Literal::Float(array.as_primitive::<datafusion::arrow::datatypes::Float32Type>().value(0).into())
        }
        ColumnType::Float64 => Literal::Float(array.as_primitive::<Float64Type>().value(0)),
        ColumnType::Decimal { scale, .. } => {
            Literal::Decimal(array.as_primitive::<Decimal128Type>().value(0), scale)
        }
        ColumnType::Text | ColumnType::Json | ColumnType::Uuid => {
            Literal::Text(array.as_string::<i32>().value(0).into())
        }
        ColumnType::Bytea => Literal::Bytes(array.as_binary::<i32>().value(0).into()),
        ColumnType::Date => Literal::Date(array.as_primitive::<Date32Type>().value(0)),
        ColumnType::Timestamp | ColumnType::TimestampTz => {
            Literal::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(0))
        }
    })
}

/// Values out of texts.
pub fn from_texts(texts: &StringArray, column_type: ColumnType) -> Result<ArrayRef> {
    parse_texts(column_type, texts.iter()).map_err(|bad| {
        let text = texts.value(bad.row);
        let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        let name = type_name(column_type);
        let message = match bad.code {
            state::INVALID_TEXT_REPRESENTATION | state::INVALID_DATETIME_FORMAT => {
                format!("invalid input syntax for type {name}: \"{shown}\"")
            }
            state::NUMERIC_OUT_OF_RANGE => format!("value \"{shown}\" is out of range for type {name}"),
            _ => format!("\"{shown}\" {}", bad.reason),
        };
        SqlError::new(bad.code, message)
    })
}

fn arrow_cast(values: &ArrayRef, into: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    Ok(cast_with_options(values, into, &options)?)
}

/// Text as PostgreSQL casts to it: as it prints, but for booleans.
pub(crate) fn to_text(values: &ArrayRef) -> Result<ArrayRef> {
    if matches!(values.data_type(), DataType::Boolean) {
        return arrow_cast(values, &DataType::Utf8);
    }
    let mut out = bytes::BytesMut::new();
    let mut texts = Vec::with_capacity(values.len());
    for row in 0..values.len() {
        if values.is_null(row) {
            texts.push(None);
            continue;
        }
        out.clear();
        crate::types::encode::text(values.as_ref(), row, &mut out)?;
        texts.push(Some(String::from_utf8_lossy(&out).into_owned()));
    }
    Ok(Arc::new(StringArray::from(texts)))
}

/// Between numbers: rounds to the nearest where PostgreSQL does, refuses what does not fit.
pub(crate) fn number(values: &ArrayRef, into: ColumnType) -> Result<ArrayRef> {
    let out_of_range =
        || SqlError::new(state::NUMERIC_OUT_OF_RANGE, format!("{} out of range", type_name(into)));
    match (values.data_type(), into) {
        (_, ColumnType::Int16 | ColumnType::Int32 | ColumnType::Int64)
            if !values.data_type().is_integer() =>
        {
            let whole = whole(values).map_err(|_| out_of_range())?;
            arrow_cast(&whole, &into.arrow()).map_err(|_| out_of_range())
        }
        (t, ColumnType::Decimal { precision, scale }) if t.is_floating() => {
            let floats = arrow_cast(values, &DataType::Float64)?;
            let floats = floats.as_primitive::<Float64Type>();
            // By way of the shortest digits, as PostgreSQL does: 0.1 is 0.1 and not what its bits say.
            let texts: StringArray = floats.iter().map(|v| v.map(|v| format!("{v:e}"))).collect();
            from_texts(&texts, ColumnType::Decimal { precision, scale })
        }
        (_, ColumnType::Float32) => {
            let doubles = arrow_cast(values, &DataType::Float64)?;
            let narrow = |v: f64| {
                let n = v as f32;
                if n.is_infinite() && v.is_finite() { Err(out_of_range()) } else { Ok(n) }
            };
            let narrowed: Result<PrimitiveArray<datafusion::arrow::datatypes::Float32Type>> =
                doubles.as_primitive::<Float64Type>().try_unary(narrow);
            Ok(Arc::new(narrowed?))
        }
        _ => arrow_cast(values, &into.arrow()).map_err(|_| out_of_range()),
    }
}

/// Rounded to whole numbers: floats half to even, decimals half away from zero, both as PostgreSQL does.
fn whole(values: &ArrayRef) -> Result<ArrayRef> {
    if values.data_type().is_floating() {
        let floats = arrow_cast(values, &DataType::Float64)?;
        let rounded: Result<PrimitiveArray<Int64Type>> =
            floats.as_primitive::<Float64Type>().try_unary(|v: f64| {
                let rounded = v.round_ties_even();
                // The upper bound is 2^63 exactly: the largest i64 is no f64.
                match rounded >= -(2f64.powi(63)) && rounded < 2f64.powi(63) {
                    true => Ok(rounded as <Int64Type as ArrowPrimitiveType>::Native),
                    false => Err(SqlError::new(state::NUMERIC_OUT_OF_RANGE, "bigint out of range")),
                }
            });
        return Ok(Arc::new(rounded?));
    }
    let scale = match values.data_type() {
        DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal32(_, scale) => *scale,
        _ => 0,
    };
    let decimals = arrow_cast(values, &DataType::Decimal128(38, scale))?;
    let decimals: &Decimal128Array = decimals.as_primitive();
    let unit = 10i128.pow(scale.clamp(0, 38) as u32);
    let rounded: PrimitiveArray<Decimal128Type> = decimals.unary(|v| {
        let (quotient, remainder) = (v / unit, v % unit);
        if remainder.unsigned_abs() * 2 >= unit.unsigned_abs() { quotient + v.signum() } else { quotient }
    });
    Ok(Arc::new(rounded.with_precision_and_scale(38, 0)?))
}

fn type_shown(data_type: &DataType) -> String {
    match PgType::of_arrow(data_type) {
        PgType::One(base) => base.sql_name().into(),
        PgType::Array(base) => format!("{}[]", base.sql_name()),
    }
}
