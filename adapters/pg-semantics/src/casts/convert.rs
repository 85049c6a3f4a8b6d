//! PostgreSQL's conversions between numbers, and from any type to text.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type};
use datafusion::arrow::util::display::FormatOptions;

use super::text::from_texts;
use crate::error::{Result, SqlError, SqlState};
use crate::operators::Wide;
use crate::types::{Base, PgType};

/// Arrow's own cast; a value that does not convert is an error.
pub fn arrow_cast(values: &ArrayRef, into: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, format_options: FormatOptions::default() };
    Ok(cast_with_options(values, into, &options)?)
}

/// PostgreSQL's casts to text: as values are printed, except booleans.
pub fn to_text(values: &ArrayRef) -> Result<ArrayRef> {
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

/// Casts between numbers: rounds to the nearest where PostgreSQL does; a value that does not fit is an error.
pub fn number(values: &ArrayRef, into: &DataType) -> Result<ArrayRef> {
    let out_of_range = || {
        SqlError::new(
            SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
            format!("{} out of range", PgType::of_arrow(into).sql_name()),
        )
    };
    match (values.data_type(), into) {
        (_, DataType::Int16 | DataType::Int32 | DataType::Int64) if !values.data_type().is_integer() => {
            let whole = whole(values).map_err(|_| out_of_range())?;
            arrow_cast(&whole, into).map_err(|_| out_of_range())
        }
        (t, DataType::Decimal128(..)) if t.is_floating() => {
            let floats = arrow_cast(values, &DataType::Float64)?;
            let floats = floats.as_primitive::<Float64Type>();
            // From the shortest digits, as in PostgreSQL: 0.1 is 0.1 and not the exact value of its bits.
            let texts: StringArray = floats.iter().map(|v| v.map(|v| format!("{v:e}"))).collect();
            from_texts(&texts, Base::Numeric, into)
        }
        (_, DataType::Float32) => {
            let doubles = arrow_cast(values, &DataType::Float64)?;
            let narrow = |v: f64| {
                let n = v as f32;
                let is_lost = n.is_infinite() && v.is_finite() || n == 0.0 && v != 0.0;
                if is_lost { Err(out_of_range()) } else { Ok(n) }
            };
            let narrowed: Result<PrimitiveArray<Float32Type>> =
                doubles.as_primitive::<Float64Type>().try_unary(narrow);
            Ok(Arc::new(narrowed?))
        }
        _ => arrow_cast(values, into).map_err(|_| out_of_range()),
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
                    false => Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range")),
                }
            });
        return Ok(Arc::new(rounded?));
    }
    let decimals = Wide::new(values)?;
    let rounded = |row: usize| -> Result<Option<i64>> {
        let Some(value) = decimals.value(row) else { return Ok(None) };
        let whole = value.rescale(0).and_then(|whole| whole.unscaled.to_i128());
        let narrow = whole.and_then(|whole| i64::try_from(whole).ok());
        narrow
            .map(Some)
            .ok_or_else(|| SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "bigint out of range"))
    };
    let rounded = (0..values.len()).map(rounded).collect::<Result<PrimitiveArray<Int64Type>>>();
    Ok(Arc::new(rounded?))
}
