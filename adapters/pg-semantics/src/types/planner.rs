//! The types in a statement, as fields: the Arrow type, and PostgreSQL's if the Arrow type does not determine it.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use datafusion::sql::sqlparser::ast::{self, ExactNumberInfo};

use super::{Base, PgType, typed};
use crate::decimal::{DIGITS_MAX, DIGITS_NARROW_MAX, QUOTIENT_SCALE_MAX};
use crate::error::{SqlError, SqlState};

/// Most bits of a `float(bits)` that is a real.
pub const REAL_BITS_MAX: u64 = 24;

/// Most bits of a `float(bits)`.
const DOUBLE_BITS_MAX: u64 = 53;

/// Plans PostgreSQL's types that DataFusion does not have or handles differently.
#[derive(Debug)]
pub struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &ast::DataType) -> Result<Option<FieldRef>> {
        use ast::DataType as T;
        let field = match sql_type {
            T::Numeric(info) | T::Decimal(info) | T::Dec(info) => match info {
                ExactNumberInfo::None => typed(Field::new("", unbounded_numeric(), true), Base::Numeric),
                ExactNumberInfo::Precision(precision) => numeric(*precision, 0)?,
                ExactNumberInfo::PrecisionAndScale(precision, scale) => numeric(*precision, *scale)?,
            },
            T::Float(ExactNumberInfo::Precision(bits)) if !(1..=DOUBLE_BITS_MAX).contains(bits) => {
                let bound = if *bits == 0 {
                    "at least 1 bit".to_owned()
                } else {
                    format!("less than {} bits", DOUBLE_BITS_MAX + 1)
                };
                let message = format!("precision for type float must be {bound}");
                return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).into());
            }
            T::Time(_, ast::TimezoneInfo::Tz | ast::TimezoneInfo::WithTimeZone) => {
                return Err(SqlError::unsupported("type time with time zone is not supported")
                    .with_hint("Use time, or timestamp with time zone.")
                    .into());
            }
            other => match PgType::of_sql(other) {
                Some(PgType::One(base)) => {
                    let field = Field::new("", PgType::One(base).arrow(), true);
                    match base {
                        Base::Varchar | Base::Bpchar | Base::Uuid | Base::Json | Base::Jsonb => {
                            typed(field, base)
                        }
                        _ => field,
                    }
                }
                Some(PgType::Array(base)) => Field::new("", PgType::Array(base).arrow(), true),
                None => return Ok(None),
            },
        };
        Ok(Some(Arc::new(field)))
    }
}

/// The type of a numeric without precision from values with an unknown number of digits.
pub fn unbounded_numeric() -> DataType {
    DataType::Decimal256(DIGITS_MAX, QUOTIENT_SCALE_MAX as i8)
}

fn numeric(precision: u64, scale: i64) -> Result<Field> {
    if !(1..=1000).contains(&precision) {
        let message = format!("NUMERIC precision {precision} must be between 1 and 1000");
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).into());
    }
    if !(-1000..=1000).contains(&scale) {
        let message = format!("NUMERIC scale {scale} must be between -1000 and 1000");
        return Err(SqlError::new(SqlState::INVALID_PARAMETER_VALUE, message).into());
    }
    if precision > u64::from(DIGITS_MAX) || scale < 0 || scale > precision as i64 {
        let message = format!("numeric({precision},{scale}) is not supported");
        return Err(SqlError::unsupported(message)
            .with_hint(format!("At most {DIGITS_MAX} digits, and a scale between 0 and the precision."))
            .into());
    }
    let (digits, scale) = (precision as u8, scale as i8);
    Ok(Field::new(
        "",
        match digits {
            0..=DIGITS_NARROW_MAX => DataType::Decimal128(digits, scale),
            _ => DataType::Decimal256(digits, scale),
        },
        true,
    ))
}
