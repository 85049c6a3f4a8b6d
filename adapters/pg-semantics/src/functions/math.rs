//! Functions of numbers with PostgreSQL's types: of numerics exact, of integers and floats in double precision.

use std::cmp::Ordering;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type, i256};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::casts::convert::arrow_cast;
use crate::decimal::{self, Decimal, Digits, QUOTIENT_SCALE_MAX};
use crate::error::{SqlError, SqlState};
use crate::logarithm::{self, Shown};
use crate::operators::{Wide, from_wide};
use crate::types::PgType;
use crate::types::planner::unbounded_numeric;

/// Functions that are exact over numerics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Exact {
    Round,
    Trunc,
    Ceil,
    Floor,
    Sign,
    Abs,
    Sqrt,
    Power,
    Div,
    Mod,
    Gcd,
    Lcm,
    /// `~` of an integer.
    Not,
    Exp,
    Ln,
    Log,
    /// Of floats, whatever the argument is.
    Float,
}

/// A function, and its implementation for floats.
struct Entry {
    name: &'static str,
    aliases: &'static [&'static str],
    exact: Exact,
    float: fn(f64, f64) -> Result<f64, SqlError>,
    /// Fewest and most arguments.
    arguments: (usize, usize),
}

const fn entry(
    name: &'static str,
    aliases: &'static [&'static str],
    exact: Exact,
    float: fn(f64, f64) -> Result<f64, SqlError>,
    arguments: (usize, usize),
) -> Entry {
    Entry { name, aliases, exact, float, arguments }
}

/// Arguments in the error for functions without a version for floats.
const TWO_DOUBLES: &str = "double precision, double precision";

/// One degree. PostgreSQL divides by it, where Rust multiplies by its reciprocal, which may change the last digit.
const RADIANS_OF_DEGREE: f64 = std::f64::consts::PI / 180.0;

const ENTRIES: &[Entry] = &[
    entry("round", &[], Exact::Round, |x, _| Ok(x.round_ties_even()), (1, 2)),
    entry("trunc", &[], Exact::Trunc, |x, _| Ok(x.trunc()), (1, 2)),
    entry("ceil", &["ceiling"], Exact::Ceil, |x, _| Ok(x.ceil()), (1, 1)),
    entry("floor", &[], Exact::Floor, |x, _| Ok(x.floor()), (1, 1)),
    entry("sign", &[], Exact::Sign, |x, _| Ok(f64::from(i8::from(x > 0.0) - i8::from(x < 0.0))), (1, 1)),
    entry("abs", &[], Exact::Abs, |x, _| Ok(x.abs()), (1, 1)),
    entry("sqrt", &[], Exact::Sqrt, |x, _| square_root(x), (1, 1)),
    entry("power", &["pow"], Exact::Power, power, (2, 2)),
    entry("div", &[], Exact::Div, |_, _| Err(no_function("div", TWO_DOUBLES)), (2, 2)),
    entry("mod", &[], Exact::Mod, |_, _| Err(no_function("mod", TWO_DOUBLES)), (2, 2)),
    entry("gcd", &[], Exact::Gcd, |_, _| Err(no_function("gcd", TWO_DOUBLES)), (2, 2)),
    entry("lcm", &[], Exact::Lcm, |_, _| Err(no_function("lcm", TWO_DOUBLES)), (2, 2)),
    entry("int4not", &[], Exact::Not, |_, _| Err(no_function("int4not", "double precision")), (1, 1)),
    entry("cbrt", &[], Exact::Float, |x, _| Ok(x.cbrt()), (1, 1)),
    entry("degrees", &[], Exact::Float, |x, _| finite(x, x / RADIANS_OF_DEGREE), (1, 1)),
    entry("exp", &[], Exact::Exp, |x, _| finite(x, x.exp()), (1, 1)),
    entry("ln", &[], Exact::Ln, |x, _| float_logarithm(x, f64::ln), (1, 1)),
    entry("log", &["log10"], Exact::Log, |x, _| float_logarithm(x, f64::log10), (1, 2)),
];

/// All of them.
pub fn functions() -> Vec<ScalarUDF> {
    ENTRIES
        .iter()
        .enumerate()
        .map(|(at, entry)| {
            let aliases = entry.aliases.iter().map(|a| a.to_string()).collect();
            ScalarUDF::from(Number { at, aliases, signature: Signature::user_defined(Volatility::Immutable) })
        })
        .collect()
}

/// True for a function of this list, which accepts integers of any width.
pub fn is_number_function(function: &ScalarUDF) -> bool {
    let inner = function.inner().as_ref() as &dyn std::any::Any;
    inner.is::<Number>()
}

fn square_root(x: f64) -> Result<f64, SqlError> {
    match x < 0.0 {
        true => Err(SqlError::new(
            SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
            "cannot take square root of a negative number",
        )),
        false => Ok(x.sqrt()),
    }
}

fn float_logarithm(x: f64, f: fn(f64) -> f64) -> Result<f64, SqlError> {
    match x {
        0.0 => Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, "cannot take logarithm of zero")),
        _ if x < 0.0 => Err(SqlError::new(
            SqlState::INVALID_ARGUMENT_FOR_LOGARITHM,
            "cannot take logarithm of a negative number",
        )),
        _ => Ok(f(x)),
    }
}

fn power(x: f64, y: f64) -> Result<f64, SqlError> {
    if x == 0.0 && y < 0.0 {
        return Err(SqlError::new(
            SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
            "zero raised to a negative power is undefined",
        ));
    }
    if x < 0.0 && y.is_finite() && y.fract() != 0.0 {
        let message = "a negative number raised to a non-integer power yields a complex result";
        return Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message));
    }
    let value = x.powf(y);
    if value == 0.0 && x != 0.0 && x.is_finite() && y.is_finite() {
        return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow"));
    }
    if y.is_infinite() { Ok(value) } else { finite(x, value) }
}

fn finite(x: f64, value: f64) -> Result<f64, SqlError> {
    if value.is_infinite() && x.is_finite() {
        return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
    }
    if value == 0.0 && x.is_finite() && x != 0.0 {
        return Err(SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow"));
    }
    Ok(value)
}

fn no_function(name: &str, types: &str) -> SqlError {
    SqlError::new(SqlState::UNDEFINED_FUNCTION, format!("function {name}({types}) does not exist")).with_hint(
        "No function matches the given name and argument types. You might need to add explicit type casts.",
    )
}

/// A function of one or two numbers.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Number {
    /// Which of [`ENTRIES`].
    at: usize,
    aliases: Vec<String>,
    signature: Signature,
}

impl Number {
    fn entry(&self) -> &'static Entry {
        &ENTRIES[self.at]
    }

    /// The places of a constant second argument.
    fn places(args: &[Option<&ScalarValue>]) -> Option<i32> {
        match args.get(1).copied().flatten() {
            Some(ScalarValue::Int32(Some(n))) => Some(*n),
            Some(ScalarValue::Int64(Some(n))) => Some((*n).clamp(-1000, 1000) as i32),
            _ => None,
        }
    }

    fn returns(&self, types: &[DataType], scalars: &[Option<&ScalarValue>]) -> Result<DataType> {
        let first = &types[0];
        if first.is_floating() {
            return Ok(match (self.entry().exact, first) {
                (Exact::Abs, DataType::Float32) => DataType::Float32,
                _ => DataType::Float64,
            });
        }
        let Some(digits) = Digits::of(first) else { return plan_err!("{} of {first}", self.name()) };
        Ok(match self.entry().exact {
            Exact::Abs => first.clone(),
            Exact::Mod | Exact::Gcd | Exact::Lcm if first.is_integer() => first.clone(),
            Exact::Not => first.clone(),
            Exact::Ceil | Exact::Floor => Digits::new(digits.whole() + 1, 0).arrow(),
            Exact::Sign => DataType::Decimal128(1, 0),
            Exact::Round | Exact::Trunc => {
                let scale = match types.len() {
                    1 => 0,
                    _ => Number::places(scalars).map_or(digits.scale, |n| n.clamp(0, digits.scale.max(0))),
                };
                Digits::new(digits.whole() + 1, scale).arrow()
            }
            Exact::Mod | Exact::Gcd => digits.remainder(Digits::of(&types[1]).unwrap_or(digits)).arrow(),
            Exact::Lcm => digits.product(Digits::of(&types[1]).unwrap_or(digits)).arrow(),
            Exact::Div => {
                let by = Digits::of(&types[1]).unwrap_or(digits);
                Digits::new(digits.whole() + by.scale, 0).arrow()
            }
            Exact::Sqrt | Exact::Power | Exact::Exp | Exact::Ln | Exact::Log => unbounded_numeric(),
            Exact::Float => return plan_err!("{} of {first}", self.name()),
        })
    }

    fn exact(&self, shown: Shown, other: Option<Shown>, into: Digits) -> Result<Decimal> {
        let (x, y) = (shown.value, other.map(|other| other.value));
        let whole = |value: Option<Decimal>| value.ok_or_else(decimal::too_wide);
        let second = || y.unwrap_or(Decimal::ZERO);
        let places = || second().unscaled.to_i128().unwrap_or(0).clamp(-1000, 1000) as i32;
        let one = |value: i64| Decimal { unscaled: i256::from(value), scale: 0 };
        Ok(match self.entry().exact {
            Exact::Abs => Decimal { unscaled: x.unscaled.wrapping_abs(), ..x },
            Exact::Sign => one(x.unscaled.signum().to_i128().unwrap_or(0) as i64),
            Exact::Round => whole(x.rescale(places().min(x.scale)))?,
            Exact::Trunc => whole(x.truncate(places().min(x.scale)))?,
            Exact::Ceil | Exact::Floor => {
                let cut = whole(x.truncate(0))?;
                let rest = cut.rescale(x.scale).is_some_and(|c| c.unscaled != x.unscaled);
                let up = matches!(self.entry().exact, Exact::Ceil);
                let step = match (rest, up, x.unscaled > i256::ZERO) {
                    (true, true, true) => 1,
                    (true, false, false) => -1,
                    _ => 0,
                };
                Decimal { unscaled: cut.unscaled.wrapping_add(i256::from(step)), scale: 0 }
            }
            Exact::Sqrt => x.square_root(into.scale)?,
            Exact::Power => {
                let zero = Shown { value: Decimal::ZERO, scale: 0 };
                self.power(shown, other.unwrap_or(zero), into)?
            }
            Exact::Exp => logarithm::exp(shown, into.scale)?,
            Exact::Ln => logarithm::ln(shown, into.scale)?,
            Exact::Log => match other {
                Some(other) => logarithm::log(shown, other, into.scale)?,
                None => logarithm::log(Shown { value: one(10), scale: 0 }, shown, into.scale)?,
            },
            Exact::Not => Decimal { unscaled: x.unscaled.wrapping_neg().wrapping_sub(i256::ONE), ..x },
            Exact::Gcd | Exact::Lcm => {
                let scale = x.scale.max(second().scale);
                let (x, y) = (whole(x.rescale(scale))?.unscaled, whole(second().rescale(scale))?.unscaled);
                let (mut divisor, mut rest) = (x.wrapping_abs(), y.wrapping_abs());
                while rest != i256::ZERO {
                    (divisor, rest) = (rest, divisor.wrapping_rem(rest));
                }
                let unscaled = match self.entry().exact {
                    Exact::Gcd => Some(divisor),
                    _ if divisor == i256::ZERO => Some(i256::ZERO),
                    _ => x.wrapping_div(divisor).checked_mul(y).map(i256::wrapping_abs),
                };
                Decimal { unscaled: unscaled.ok_or_else(decimal::too_wide)?, scale }
            }
            Exact::Div | Exact::Mod => {
                let y = second();
                if y.unscaled == i256::ZERO {
                    return Err(SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero").into());
                }
                let scale = x.scale.max(y.scale);
                let (x, y) = (whole(x.rescale(scale))?.unscaled, whole(y.rescale(scale))?.unscaled);
                match self.entry().exact {
                    Exact::Div => Decimal { unscaled: x.wrapping_div(y), scale: 0 },
                    _ => Decimal { unscaled: x.wrapping_rem(y), scale },
                }
            }
            Exact::Float => return plan_err!("{} of a numeric", self.name()),
        })
    }

    fn power(&self, base: Shown, exponent: Shown, into: Digits) -> Result<Decimal> {
        let x = base.value;
        let whole = exponent.value.trimmed();
        if x.unscaled == i256::ZERO {
            return match whole.unscaled.cmp(&i256::ZERO) {
                Ordering::Equal => Ok(Decimal { unscaled: i256::ONE, scale: 0 }),
                Ordering::Greater => Ok(Decimal::ZERO),
                Ordering::Less => Err(SqlError::new(
                    SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION,
                    "zero raised to a negative power is undefined",
                )
                .into()),
            };
        }
        if whole.scale != 0 {
            if x.unscaled < i256::ZERO {
                let message = "a negative number raised to a non-integer power yields a complex result";
                return Err(SqlError::new(SqlState::INVALID_ARGUMENT_FOR_POWER_FUNCTION, message).into());
            }
            return Ok(logarithm::power(base, exponent, into.scale)?);
        }
        let whole = whole.unscaled.to_i128().and_then(|n| i64::try_from(n).ok());
        let whole = whole.ok_or_else(decimal::too_wide)?;
        Ok(x.power(whole, into.scale.min(QUOTIENT_SCALE_MAX)).ok_or_else(decimal::too_wide)?)
    }

    fn floats(&self, args: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let args = args.iter().map(|a| arrow_cast(a, &DataType::Float64)).collect::<Result<Vec<_>, _>>()?;
        let xs = args[0].as_primitive::<Float64Type>();
        let ys = args.get(1).map(|a| a.as_primitive::<Float64Type>());
        let value = |row: usize| -> Result<Option<f64>, SqlError> {
            if xs.is_null(row) || ys.is_some_and(|ys| ys.is_null(row)) {
                return Ok(None);
            }
            (self.entry().float)(xs.value(row), ys.map_or(0.0, |ys| ys.value(row))).map(Some)
        };
        Ok(Arc::new((0..rows).map(value).collect::<Result<Float64Array, SqlError>>()?))
    }

    fn exacts(&self, args: &[ArrayRef], rows: usize, returns: &DataType) -> Result<ArrayRef> {
        let into = Digits::of(returns).unwrap_or(Digits { precision: 38, scale: 0 });
        let xs = Wide::new(&args[0])?;
        let ys = args.get(1).map(Wide::new).transpose()?;
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let shown = |of: &Wide| of.value(row).map(|value| Shown { value, scale: of.shown_scale(value) });
            let value = match (shown(&xs), ys.as_ref().map(shown)) {
                (None, _) | (_, Some(None)) => None,
                (Some(x), y) => {
                    let value = self.exact(x, y.flatten(), into)?;
                    let value =
                        value.rescale(into.scale).filter(|v| decimal::fits(v.unscaled, into.precision));
                    Some(value.ok_or_else(decimal::too_wide)?.unscaled)
                }
            };
            values.push(value);
        }
        let wide = from_wide(values, into)?;
        if !returns.is_integer() {
            return Ok(wide);
        }
        let name = PgType::of_arrow(returns).sql_name();
        let out_of_range =
            || SqlError::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{name} out of range"));
        Ok(arrow_cast(&wide, returns).map_err(|_| out_of_range())?)
    }
}

impl ScalarUDFImpl for Number {
    fn name(&self) -> &str {
        self.entry().name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let names: Vec<String> = types.iter().map(|t| PgType::of_arrow(t).sql_name()).collect();
        let refused = || no_function(self.name(), &names.join(", "));
        let (fewest, most) = self.entry().arguments;
        let known =
            |t: &DataType| Digits::of(t).is_some() || t.is_floating() || t.is_null() || *t == DataType::Utf8;
        if !(fewest..=most).contains(&types.len()) || !types.iter().all(known) {
            return Err(refused().into());
        }
        let places = matches!(self.entry().exact, Exact::Round | Exact::Trunc) && types.len() == 2;
        if places {
            // Only numerics are rounded to places.
            let first = match &types[0] {
                t if t.is_floating() => return Err(refused().into()),
                t => Digits::of(t).map_or_else(unbounded_numeric, Digits::arrow),
            };
            // Unchanged: within a cast a literal would no longer be a constant, and the scale depends on it.
            let second = if types[1].is_integer() { types[1].clone() } else { DataType::Int32 };
            return Ok(vec![first, second]);
        }
        let small = types.iter().all(|t| *t == DataType::Int16);
        if small && matches!(self.entry().exact, Exact::Gcd | Exact::Lcm) {
            let message = format!("function {}({}) is not unique", self.name(), names.join(", "));
            return Err(SqlError::new(SqlState::AMBIGUOUS_FUNCTION, message)
                .with_hint(
                    "Could not choose a best candidate function. You might need to add explicit type casts.",
                )
                .into());
        }
        let float = types.iter().any(|t| t.is_floating());
        let decimal = types.iter().any(|t| t.is_decimal());
        let integers = types.iter().all(|t| t.is_integer());
        let each = |t: &DataType| match self.entry().exact {
            Exact::Abs => {
                if Digits::of(t).is_some() || t.is_floating() {
                    t.clone()
                } else {
                    DataType::Float64
                }
            }
            Exact::Not if types[0].is_integer() => t.clone(),
            Exact::Mod | Exact::Gcd | Exact::Lcm if integers => {
                types.iter().fold(DataType::Int16, |widest, t| match (widest, t) {
                    (DataType::Int64, _) | (_, DataType::Int64) => DataType::Int64,
                    (DataType::Int32, _) | (_, DataType::Int32) => DataType::Int32,
                    _ => DataType::Int16,
                })
            }
            // Those of numerics alone.
            Exact::Div | Exact::Mod | Exact::Gcd | Exact::Lcm if !float => {
                Digits::of(t).map_or_else(unbounded_numeric, Digits::arrow)
            }
            Exact::Log if types.len() == 2 && !float => {
                Digits::of(t).map_or_else(unbounded_numeric, Digits::arrow)
            }
            Exact::Float => DataType::Float64,
            _ if decimal && !float => Digits::of(t).map_or_else(unbounded_numeric, Digits::arrow),
            _ => DataType::Float64,
        };
        let coerced: Vec<DataType> = types.iter().map(each).collect();
        let only_exact = matches!(self.entry().exact, Exact::Not | Exact::Gcd | Exact::Lcm)
            || matches!(self.entry().exact, Exact::Log) && types.len() == 2;
        if only_exact && coerced.iter().any(|t| t.is_floating()) {
            return Err(refused().into());
        }
        Ok(coerced)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.returns(types, &vec![None; types.len()])
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Field::new(self.name(), self.returns(&types, args.scalar_arguments)?, nullable).into())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let returns = args.return_field.data_type();
        let result = match returns.is_floating() {
            true => {
                let doubles = self.floats(&arrays, rows)?;
                if returns == doubles.data_type() { doubles } else { arrow_cast(&doubles, returns)? }
            }
            false => self.exacts(&arrays, rows, returns)?,
        };
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}
