//! `width_bucket`: the number of the bucket of a value in a range of equal buckets.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int32Array};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, i256};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::casts::convert::arrow_cast;
use crate::decimal::{self, Decimal, Digits};
use crate::error::{SqlError, SqlState};
use crate::operators::Wide;
use crate::types::PgType;

/// For the registry.
pub fn function() -> ScalarUDF {
    ScalarUDF::from(Bucket { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(PartialEq, Eq, Hash, Debug)]
struct Bucket {
    signature: Signature,
}

fn refused(message: &str) -> SqlError {
    SqlError::new(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET_FUNCTION, message)
}

/// The bucket of a double. Buckets are numbered from 1; values outside of the range are in bucket 0 or after the last.
fn of_floats(value: f64, low: f64, high: f64, parts: i64) -> crate::Result<i64> {
    if value.is_nan() || low.is_nan() || high.is_nan() {
        return Err(refused("operand, lower bound, and upper bound cannot be NaN"));
    }
    if low.is_infinite() || high.is_infinite() {
        return Err(refused("lower and upper bounds must be finite"));
    }
    if low == high {
        return Err(refused("lower bound cannot equal upper bound"));
    }
    let (before, behind) =
        if low < high { (value < low, value >= high) } else { (value > low, value <= high) };
    if before {
        return Ok(0);
    }
    if behind {
        return Ok(parts + 1);
    }
    let share = match (high - low).is_infinite() {
        false => (value - low) / (high - low),
        true => (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0),
    };
    Ok(((parts as f64 * share) as i64).min(parts - 1) + 1)
}

/// The same for numerics, exactly.
fn of_decimals(value: Decimal, low: Decimal, high: Decimal, parts: i64) -> crate::Result<i64> {
    let scale = value.scale.max(low.scale).max(high.scale);
    let same = |d: Decimal| d.rescale(scale).map(|d| d.unscaled).ok_or_else(decimal::too_wide);
    let (value, low, high) = (same(value)?, same(low)?, same(high)?);
    if low == high {
        return Err(refused("lower bound cannot equal upper bound"));
    }
    let (before, behind) =
        if low < high { (value < low, value >= high) } else { (value > low, value <= high) };
    if before {
        return Ok(0);
    }
    if behind {
        return Ok(parts + 1);
    }
    let distance = value.wrapping_sub(low).wrapping_abs().checked_mul(i256::from(parts));
    let width = high.wrapping_sub(low).wrapping_abs();
    let part = distance.ok_or_else(decimal::too_wide)?.wrapping_div(width);
    Ok(part.to_i128().and_then(|p| i64::try_from(p).ok()).unwrap_or(parts).min(parts - 1) + 1)
}

impl Bucket {
    fn evaluate(&self, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let counts = args[3].as_primitive::<Int64Type>();
        let floats = args[0].data_type().is_floating();
        let wide = match floats {
            true => vec![],
            false => args[..3].iter().map(Wide::new).collect::<Result<Vec<_>>>()?,
        };
        let mut found = Vec::with_capacity(rows);
        for row in 0..rows {
            if args.iter().any(|arg| arg.is_null(row)) {
                found.push(None);
                continue;
            }
            let parts = counts.value(row);
            if parts <= 0 {
                return Err(refused("count must be greater than zero").into());
            }
            let part = if floats {
                let at = |n: usize| args[n].as_primitive::<Float64Type>().value(row);
                of_floats(at(0), at(1), at(2), parts)?
            } else {
                let at = |n: usize| wide[n].value(row).unwrap_or(Decimal::ZERO);
                of_decimals(at(0), at(1), at(2), parts)?
            };
            let out_of_range = || SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "integer out of range");
            found.push(Some(i32::try_from(part).map_err(|_| out_of_range())?));
        }
        Ok(Arc::new(Int32Array::from(found)))
    }
}

impl ScalarUDFImpl for Bucket {
    fn name(&self) -> &str {
        "width_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let [_, DataType::List(_)] = types {
            let error = SqlError::unsupported("width_bucket over an array of bounds is not supported");
            return Err(error.into());
        }
        let number = |t: &DataType| t.is_numeric() || t.is_null() || t.is_string();
        let counts = |t: &DataType| t.is_integer() || t.is_null() || t.is_string();
        let fits = matches!(types, [a, b, c, n] if [a, b, c].into_iter().all(number) && counts(n));
        if !fits {
            let names: Vec<String> = types.iter().map(|t| PgType::of_arrow(t).sql_name()).collect();
            let message = format!("function width_bucket({}) does not exist", names.join(", "));
            return Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message).into());
        }
        let exact = types[..3].iter().any(|t| t.is_decimal()) && !types[..3].iter().any(|t| t.is_floating());
        let taken = |t: &DataType| match exact {
            true => Digits::of(t).unwrap_or(Digits { precision: 38, scale: 10 }).arrow(),
            false => DataType::Float64,
        };
        Ok(types[..3].iter().map(taken).chain([DataType::Int64]).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int32)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let mut arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        if let Some(counts) = arrays.last_mut() {
            *counts = arrow_cast(counts, &DataType::Int64)?;
        }
        let found = self.evaluate(&arrays, rows)?;
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&found, 0)?),
            false => ColumnarValue::Array(found),
        })
    }
}
