//! Values for a column: PostgreSQL's conversions on assignment, with its errors. Texts are read by the decoders' rules,
//! so that a value means the same in a message, in a literal and in COPY.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray, new_null_array};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType,
};
use kernel::expr::Literal;
use kernel::schema::{ColumnDef, ColumnType, fitting_len};
use pg_semantics::casts::{convert, time};
use pg_semantics::types::PgType;
use tidemark_decode::parse_texts;
use tidemark_pipeline_sql::type_name;

use crate::error::{Result, SqlError, SqlState};

/// Converts values to the type of a column, as an assignment does.
pub fn to_column(values: &ArrayRef, column: &ColumnDef) -> Result<ArrayRef> {
    let into = column.column_type;
    let wanted = into.arrow();
    let checked = matches!(into, ColumnType::Json | ColumnType::Uuid) || into.max_chars().is_some();
    if *values.data_type() == wanted && !checked {
        return Ok(Arc::clone(values));
    }
    if matches!(values.data_type(), DataType::Null) {
        return Ok(new_null_array(&wanted, values.len()));
    }
    if let DataType::Dictionary(_, plain) = values.data_type() {
        let plain = convert::arrow_cast(values, plain)?;
        return to_column(&plain, column);
    }
    let from = Kind::of_arrow(values.data_type());
    match (from, Kind::of(into)) {
        (Some(Kind::Text), Kind::Text) => {
            let texts = convert::arrow_cast(values, &DataType::Utf8)?;
            match into {
                ColumnType::Text | ColumnType::Varchar { .. } => fitting(texts, into),
                _ => from_texts(texts.as_string(), into),
            }
        }
        (Some(Kind::Text), _) => from_texts(convert::arrow_cast(values, &DataType::Utf8)?.as_string(), into),
        (Some(_), Kind::Text) if matches!(into, ColumnType::Text | ColumnType::Varchar { .. }) => {
            fitting(convert::to_text(values)?, into)
        }
        (Some(Kind::Nested), Kind::Text) if into == ColumnType::Json => Err(SqlError::unsupported(format!(
            "column \"{}\" is of type jsonb; cast the expression to text",
            column.name
        ))),
        (Some(Kind::Number), Kind::Number) => convert::number(values, &into.arrow()),
        (Some(Kind::Bytes), Kind::Bytes) | (Some(Kind::Bool), Kind::Bool) => {
            convert::arrow_cast(values, &wanted)
        }
        (Some(Kind::Time), Kind::Time) => match time::converts(values.data_type(), &wanted) {
            true => time::convert(values, &wanted),
            false => convert::arrow_cast(values, &wanted),
        },
        _ => Err(SqlError::new(
            SqlState::DATATYPE_MISMATCH,
            format!(
                "column \"{}\" is of type {} but expression is of type {}",
                column.name,
                type_name(into),
                PgType::of_arrow(values.data_type()).sql_name(),
            ),
        )
        .with_hint("You will need to rewrite or cast the expression.")),
    }
}

/// Texts as a column stores them.
fn fitting(texts: ArrayRef, into: ColumnType) -> Result<ArrayRef> {
    let Some(max_chars) = into.max_chars() else { return Ok(texts) };
    let (mut all_fit, values) = (true, texts.as_string::<i32>());
    for text in values.iter().flatten() {
        let len = fitting_len(text.as_bytes(), max_chars).ok_or_else(|| too_long(into))?;
        all_fit &= len == text.len();
    }
    if all_fit {
        return Ok(texts);
    }
    let cut = |text: &str| text[..fitting_len(text.as_bytes(), max_chars).unwrap_or(0)].to_string();
    Ok(Arc::new(values.iter().map(|text| text.map(cut)).collect::<StringArray>()))
}

/// 22001, in PostgreSQL's words.
fn too_long(into: ColumnType) -> SqlError {
    let message = format!("value too long for type {}", type_name(into));
    SqlError::new(SqlState::STRING_DATA_RIGHT_TRUNCATION, message)
}

/// Families of types within which PostgreSQL assigns implicitly.
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
            ColumnType::Text | ColumnType::Varchar { .. } | ColumnType::Json | ColumnType::Uuid => Kind::Text,
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

/// A kernel literal from its text.
pub fn literal_from_text(text: &str, column_type: ColumnType) -> Result<Literal> {
    let array = from_texts(&StringArray::from(vec![text]), column_type)?;
    Ok(match column_type {
        ColumnType::Bool => Literal::Bool(array.as_boolean().value(0)),
        ColumnType::Int16 => Literal::Int(array.as_primitive::<Int16Type>().value(0).into()),
        ColumnType::Int32 => Literal::Int(array.as_primitive::<Int32Type>().value(0).into()),
        ColumnType::Int64 => Literal::Int(array.as_primitive::<Int64Type>().value(0)),
        ColumnType::Float32 => Literal::Float(array.as_primitive::<Float32Type>().value(0).into()),
        ColumnType::Float64 => Literal::Float(array.as_primitive::<Float64Type>().value(0)),
        ColumnType::Decimal { scale, .. } => {
            Literal::Decimal(array.as_primitive::<Decimal128Type>().value(0), scale)
        }
        ColumnType::Text | ColumnType::Varchar { .. } | ColumnType::Json | ColumnType::Uuid => {
            Literal::Text(array.as_string::<i32>().value(0).into())
        }
        ColumnType::Bytea => Literal::Bytes(array.as_binary::<i32>().value(0).into()),
        ColumnType::Date => Literal::Date(array.as_primitive::<Date32Type>().value(0)),
        ColumnType::Timestamp | ColumnType::TimestampTz => {
            Literal::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(0))
        }
    })
}

/// Values from texts.
pub fn from_texts(texts: &StringArray, column_type: ColumnType) -> Result<ArrayRef> {
    parse_texts(column_type, texts.iter()).map_err(|bad| match bad.sqlstate {
        SqlState::INVALID_TEXT_REPRESENTATION
        | SqlState::INVALID_DATETIME_FORMAT
        | SqlState::DATETIME_FIELD_OVERFLOW
        | SqlState::NUMERIC_VALUE_OUT_OF_RANGE => {
            SqlError::bad_text(bad.sqlstate, &type_name(column_type), texts.value(bad.row))
        }
        SqlState::STRING_DATA_RIGHT_TRUNCATION => too_long(column_type),
        _ => SqlError::new(bad.sqlstate, format!("\"{}\" {}", texts.value(bad.row), bad.reason)),
    })
}
