//! Casts to numeric from text, integers, floats and other numerics, rounded half away from zero; a value that does not
//! fit is an error.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float32Array, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type, i256};
use datafusion::common::{DFSchema, ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    Cast, ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
    Volatility,
};

use super::convert::arrow_cast;
use crate::decimal::{self, Decimal, Digits};
use crate::error::{SqlError, SqlState};
use crate::operators::{Wide, call, from_wide};
use crate::types::planner::unbounded_numeric;
use crate::types::{Base, PgType};

/// The cast with its type resolved: a numeric without precision has the digits of its source type.
pub fn settle(cast: Cast, schema: &DFSchema) -> Result<Expr> {
    let Cast { expr, field } = cast;
    let from = expr.get_type(schema)?;
    let unbounded =
        PgType::of(&field) == PgType::One(Base::Numeric) && *field.data_type() == unbounded_numeric();
    if let Expr::Literal(ScalarValue::Utf8(Some(text)), metadata) = expr.as_ref() {
        let value =
            Decimal::parse(text).map_err(|fault| SqlError::bad_text(fault.sqlstate(), "numeric", text))?;
        let into =
            if unbounded { value.digits() } else { Digits::of(field.data_type()).unwrap_or(value.digits()) };
        let array = from_wide(vec![Some(fit(value, into, !unbounded)?)], into)?;
        return Ok(Expr::Literal(ScalarValue::try_from_array(&array, 0)?, metadata.clone()));
    }
    if unbounded {
        match Digits::of(&from) {
            Some(_) if from.is_decimal() => return Ok(*expr),
            Some(digits) => return Ok(call(ToNumeric::new(digits, false), vec![*expr])),
            None => {}
        }
    }
    if !matches!(from, DataType::Utf8 | DataType::Null) && !from.is_floating() && Digits::of(&from).is_none()
    {
        return Ok(Expr::Cast(Cast { expr, field }));
    }
    match Digits::of(field.data_type()) {
        Some(into) => Ok(call(ToNumeric::new(into, !unbounded), vec![*expr])),
        None => Ok(Expr::Cast(Cast { expr, field })),
    }
}

/// A numeric as one of the widest type.
pub fn widened(value: Expr) -> Expr {
    with_digits(value, &unbounded_numeric())
}

/// A numeric with the digits of this type.
pub fn with_digits(value: Expr, into: &DataType) -> Expr {
    match Digits::of(into) {
        Some(digits) => call(ToNumeric::new(digits, false), vec![value]),
        None => value,
    }
}

/// The value with these digits. `declared`: they are those of a `numeric(p, s)`, which the error names.
fn fit(value: Decimal, into: Digits, declared: bool) -> Result<i256> {
    let fitting = value.rescale(into.scale).filter(|v| decimal::fits(v.unscaled, into.precision));
    let Some(fitting) = fitting else {
        if !declared {
            return Err(decimal::too_wide().into());
        }
        let Digits { precision, scale } = into;
        return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow")
            .with_hint(format!(
                "A field with precision {precision}, scale {scale} must round to an absolute value less than 10^{}.",
                precision - scale
            ))
            .into());
    };
    Ok(fitting.unscaled)
}

/// Converts to numeric.
#[derive(PartialEq, Eq, Hash, Debug)]
pub struct ToNumeric {
    into: Digits,
    declared: bool,
    signature: Signature,
}

impl ToNumeric {
    fn new(into: Digits, declared: bool) -> ToNumeric {
        ToNumeric { into, declared, signature: Signature::any(1, Volatility::Immutable) }
    }

    fn convert(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let rows = values.len();
        let mut out = Vec::with_capacity(rows);
        let mut push = |value: Option<Decimal>| -> Result<()> {
            out.push(value.map(|v| fit(v, self.into, self.declared)).transpose()?);
            Ok(())
        };
        match values.data_type() {
            DataType::Null => (0..rows).try_for_each(|_| push(None))?,
            t if t.is_string() => {
                let texts = arrow_cast(values, &DataType::Utf8)?;
                for text in texts.as_string::<i32>() {
                    let read = |t: &str| {
                        Decimal::parse(t).map_err(|fault| SqlError::bad_text(fault.sqlstate(), "numeric", t))
                    };
                    push(text.map(read).transpose()?)?;
                }
            }
            DataType::Float32 => {
                for value in values.as_primitive::<Float32Type>() {
                    push(value.map(|v| from_float(v.into(), 6)).transpose()?)?;
                }
            }
            DataType::Float64 => {
                for value in values.as_primitive::<Float64Type>() {
                    push(value.map(|v| from_float(v, 15)).transpose()?)?;
                }
            }
            _ => {
                let wide = Wide::new(values)?;
                (0..rows).try_for_each(|row| push(wide.value(row)))?;
            }
        }
        from_wide(out, self.into)
    }
}

/// From its first `digits` significant digits, as PostgreSQL does.
pub fn from_float(value: f64, digits: usize) -> Result<Decimal> {
    if !value.is_finite() {
        return Err(SqlError::unsupported(format!("numeric cannot hold {value}"))
            .with_hint("NaN and Infinity are values of double precision only.")
            .into());
    }
    let text = format!("{value:.*e}", digits - 1);
    let read = Decimal::parse(&text).map(Decimal::trimmed);
    Ok(read.map_err(|_| decimal::too_wide())?)
}

impl ScalarUDFImpl for ToNumeric {
    fn name(&self) -> &str {
        "numeric"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.into.arrow())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Field::new(self.name(), self.into.arrow(), nullable).into())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        convert_each(&args.args, |values| self.convert(values))
    }
}

/// A numeric as the nearest float; Arrow's cast rounds twice.
pub fn to_float(value: Expr, into: &DataType) -> Expr {
    call(ToFloat { into: into.clone(), signature: Signature::any(1, Volatility::Immutable) }, vec![value])
}

/// Converts numerics to floats.
#[derive(PartialEq, Eq, Hash, Debug)]
struct ToFloat {
    into: DataType,
    signature: Signature,
}

impl ToFloat {
    fn convert(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let wide = Wide::new(values)?;
        let doubles: Float64Array =
            (0..values.len()).map(|row| wide.value(row).map(Decimal::to_f64)).collect();
        if self.into == DataType::Float64 {
            return Ok(Arc::new(doubles));
        }
        let singles = (0..values.len()).map(|row| {
            let text = wide.value(row).map(Decimal::text)?;
            Some(text.parse::<f32>().unwrap_or(f32::INFINITY))
        });
        let singles: Float32Array = singles.collect();
        if singles.iter().flatten().any(|v| v.is_infinite()) {
            return Err(SqlError::new(
                SqlState::NUMERIC_VALUE_OUT_OF_RANGE,
                "value out of range for type real",
            )
            .into());
        }
        Ok(Arc::new(singles))
    }
}

impl ScalarUDFImpl for ToFloat {
    fn name(&self) -> &str {
        if self.into == DataType::Float64 { "float8" } else { "float4" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.into.clone())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        convert_each(&args.args, |values| self.convert(values))
    }
}

fn convert_each(
    args: &[ColumnarValue],
    convert: impl Fn(&ArrayRef) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    match args {
        [ColumnarValue::Array(values)] => Ok(ColumnarValue::Array(convert(values)?)),
        [ColumnarValue::Scalar(value)] => {
            let converted = convert(&value.to_array()?)?;
            Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&converted, 0)?))
        }
        _ => plan_err!("a cast takes one value"),
    }
}
