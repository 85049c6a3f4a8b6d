//! PostgreSQL's type names and the column types that they mean.

use kernel::schema::{ColumnType, VARCHAR_CHARS_MAX};
use kernel::{Result, SqlState};
use sqlparser::ast::{CharacterLength, DataType, ExactNumberInfo, TimezoneInfo};
use sqlparser::tokenizer::Location;

use crate::error;

/// `numeric` without precision. PostgreSQL's has no bound; ours is stored in 128 bits, and this leaves 28 digits before
/// the point and 10 after it.
pub const NUMERIC_DEFAULT: ColumnType = ColumnType::Decimal { precision: 38, scale: 10 };

/// The column type of a SQL type.
pub fn column_type(data_type: &DataType, at: Location) -> Result<ColumnType> {
    Ok(match data_type {
        DataType::Bool | DataType::Boolean => ColumnType::Bool,
        DataType::SmallInt(None) | DataType::Int2(None) => ColumnType::Int16,
        DataType::Int(None) | DataType::Integer(None) | DataType::Int4(None) => ColumnType::Int32,
        DataType::BigInt(None) | DataType::Int8(None) => ColumnType::Int64,
        DataType::Real | DataType::Float4 => ColumnType::Float32,
        DataType::DoublePrecision | DataType::Double(ExactNumberInfo::None) | DataType::Float8 => {
            ColumnType::Float64
        }
        DataType::Float(info) => float(info, at)?,
        DataType::Numeric(info) | DataType::Decimal(info) | DataType::Dec(info) => numeric(info, at)?,
        DataType::Text => ColumnType::Text,
        DataType::Varchar(length) | DataType::CharVarying(length) | DataType::CharacterVarying(length) => {
            ColumnType::Varchar { max_chars: varchar_length(length.as_ref(), at)? }
        }
        DataType::Char(_) | DataType::Character(_) => {
            let message = format!(
                "columns of type {data_type} are not supported: values are not filled up with blanks; use varchar(n) or text"
            );
            return Err(error::unsupported(message, at));
        }
        DataType::JSON | DataType::JSONB => ColumnType::Json,
        DataType::Uuid => ColumnType::Uuid,
        DataType::Bytea => ColumnType::Bytea,
        DataType::Date => ColumnType::Date,
        DataType::Timestamp(precision, zone) => timestamp(*precision, zone, at)?,
        DataType::Custom(name, _) if is_serial(&name.to_string()) => {
            let message = format!(
                "type {name} is not supported: there are no sequences; use bigint and let the producer number rows"
            );
            return Err(error::unsupported(message, at));
        }
        DataType::Array(_) => {
            let message = format!("columns of type {data_type} are not supported; use jsonb");
            return Err(error::unsupported(message, at));
        }
        DataType::Custom(name, _) => {
            return Err(error::at(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"), at));
        }
        other => {
            let message = format!("columns of type {other} are not supported");
            return Err(error::unsupported(message, at));
        }
    })
}

fn varchar_length(length: Option<&CharacterLength>, at: Location) -> Result<Option<u32>> {
    let refuse = |message: String| Err(error::at(SqlState::INVALID_PARAMETER_VALUE, message, at));
    match length {
        None => Ok(None),
        Some(CharacterLength::IntegerLength { length: 0, .. }) => {
            refuse("length for type varchar must be at least 1".into())
        }
        Some(CharacterLength::IntegerLength { length, .. }) if *length <= VARCHAR_CHARS_MAX.into() => {
            Ok(Some(*length as u32))
        }
        Some(_) => refuse(format!("length for type varchar cannot exceed {VARCHAR_CHARS_MAX}")),
    }
}

fn is_serial(name: &str) -> bool {
    ["serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"]
        .iter()
        .any(|serial| name.eq_ignore_ascii_case(serial))
}

fn float(info: &ExactNumberInfo, at: Location) -> Result<ColumnType> {
    match info {
        ExactNumberInfo::None => Ok(ColumnType::Float64),
        ExactNumberInfo::Precision(1..=24) => Ok(ColumnType::Float32),
        ExactNumberInfo::Precision(25..=53) => Ok(ColumnType::Float64),
        _ => Err(error::at(
            SqlState::INVALID_PARAMETER_VALUE,
            "precision of float must be between 1 and 53 bits",
            at,
        )),
    }
}

fn numeric(info: &ExactNumberInfo, at: Location) -> Result<ColumnType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok(NUMERIC_DEFAULT),
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    if !(1..=38).contains(&precision) {
        let message = format!("numeric precision {precision} must be between 1 and 38");
        return Err(error::at(SqlState::INVALID_PARAMETER_VALUE, message, at));
    }
    if !(0..=precision as i64).contains(&scale) {
        let message = format!("numeric scale {scale} must be between 0 and the precision {precision}");
        return Err(error::at(SqlState::INVALID_PARAMETER_VALUE, message, at));
    }
    Ok(ColumnType::Decimal { precision: precision as u8, scale: scale as i8 })
}

fn timestamp(precision: Option<u64>, zone: &TimezoneInfo, at: Location) -> Result<ColumnType> {
    if precision.is_some_and(|p| p != 6) {
        let message = "timestamps are kept in microseconds: leave the precision out, or say 6";
        return Err(error::unsupported(message, at));
    }
    Ok(match zone {
        TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => ColumnType::Timestamp,
        TimezoneInfo::WithTimeZone | TimezoneInfo::Tz => ColumnType::TimestampTz,
    })
}

/// A column type as PostgreSQL writes it.
pub fn type_name(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Bool => "boolean".into(),
        ColumnType::Int16 => "smallint".into(),
        ColumnType::Int32 => "integer".into(),
        ColumnType::Int64 => "bigint".into(),
        ColumnType::Float32 => "real".into(),
        ColumnType::Float64 => "double precision".into(),
        ColumnType::Decimal { precision, scale } => format!("numeric({precision},{scale})"),
        ColumnType::Text => "text".into(),
        ColumnType::Varchar { max_chars: None } => "character varying".into(),
        ColumnType::Varchar { max_chars: Some(max) } => format!("character varying({max})"),
        ColumnType::Json => "jsonb".into(),
        ColumnType::Uuid => "uuid".into(),
        ColumnType::Bytea => "bytea".into(),
        ColumnType::Date => "date".into(),
        ColumnType::Timestamp => "timestamp without time zone".into(),
        ColumnType::TimestampTz => "timestamp with time zone".into(),
    }
}
