//! For tests: an interpreter of expressions for one row at a time, as simple as possible and independent of `eval`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::*;
use arrow_schema::DataType;

use super::{Arithmetic, Comparison, Expr, Literal, Quotient};
use crate::error::SqlState;
use crate::schema::ColumnType;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    I16(i16),
    I32(i32),
    I64(i64),
    F32(f32),
    F64(f64),
    Decimal(i128, u8, i8),
    Text(String),
    Date(i32),
}

use Value::*;

/// Equality in which NaN equals NaN and 0.0 differs from -0.0.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (F32(a), F32(b)) => a.to_bits() == b.to_bits(),
        (F64(a), F64(b)) => a.to_bits() == b.to_bits(),
        _ => a == b,
    }
}

pub(crate) fn array(column_type: ColumnType, values: &[Value]) -> ArrayRef {
    macro_rules! collect {
        ($array:ty, $variant:ident) => {
            Arc::new(<$array>::from_iter(values.iter().map(|v| match v {
                $variant(v) => Some(v.clone()),
                Null => None,
                other => panic!("{other:?} in a column of {column_type:?}"),
            })))
        };
    }
    match column_type {
        ColumnType::Bool => collect!(BooleanArray, Bool),
        ColumnType::Int16 => collect!(Int16Array, I16),
        ColumnType::Int32 => collect!(Int32Array, I32),
        ColumnType::Int64 => collect!(Int64Array, I64),
        ColumnType::Float32 => collect!(Float32Array, F32),
        ColumnType::Float64 => collect!(Float64Array, F64),
        ColumnType::Text | ColumnType::Varchar { .. } => collect!(StringArray, Text),
        ColumnType::Date => collect!(Date32Array, Date),
        ColumnType::Decimal { precision, scale } => {
            let unscaled = values.iter().map(|v| match v {
                Decimal(v, ..) => Some(*v),
                _ => None,
            });
            Arc::new(Decimal128Array::from_iter(unscaled).with_precision_and_scale(precision, scale).unwrap())
        }
        other => unreachable!("{other:?}"),
    }
}

pub(crate) fn value_at(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Null;
    }
    match array.data_type() {
        DataType::Boolean => Bool(array.as_boolean().value(row)),
        DataType::Int16 => I16(array.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => I32(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => I64(array.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => F32(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => F64(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(p, s) => Decimal(array.as_primitive::<Decimal128Type>().value(row), *p, *s),
        DataType::Utf8 => Text(array.as_string::<i32>().value(row).to_string()),
        DataType::Date32 => Date(array.as_primitive::<Date32Type>().value(row)),
        other => unreachable!("{other}"),
    }
}

pub(crate) fn interpret(expr: &Expr, stored: &[Value], incoming: &[Value]) -> Result<Value, SqlState> {
    let value = |expr: &Expr| interpret(expr, stored, incoming);
    Ok(match expr {
        Expr::Stored(column) => stored[column.0 as usize].clone(),
        Expr::Incoming(column) => incoming[column.0 as usize].clone(),
        Expr::Literal(literal, column_type) => constant(literal, *column_type),
        Expr::Arithmetic(operator, a, b) => {
            let (a, b) = (value(a)?, value(b)?);
            if a == Null || b == Null { Null } else { arithmetic(*operator, a, b)? }
        }
        Expr::Quotient(how, a, b) => match (value(a)?, value(b)?) {
            (Decimal(a, _, a_scale), Decimal(b, _, b_scale)) => quotient(how, (a, a_scale), (b, b_scale))?,
            _ => Null,
        },
        Expr::Negate(a) => match value(a)? {
            I16(v) => I16(v.checked_neg().ok_or(SqlState::NUMERIC_VALUE_OUT_OF_RANGE)?),
            I32(v) => I32(v.checked_neg().ok_or(SqlState::NUMERIC_VALUE_OUT_OF_RANGE)?),
            I64(v) => I64(v.checked_neg().ok_or(SqlState::NUMERIC_VALUE_OUT_OF_RANGE)?),
            F32(v) => F32(-v),
            F64(v) => F64(-v),
            Decimal(v, p, s) => Decimal(-v, p, s),
            other => other,
        },
        Expr::Compare(comparison, a, b) => {
            let (a, b) = (value(a)?, value(b)?);
            if a == Null || b == Null {
                return Ok(Null);
            }
            let order = order(&a, &b);
            Bool(match comparison {
                Comparison::Equal => order == Ordering::Equal,
                Comparison::NotEqual => order != Ordering::Equal,
                Comparison::Less => order == Ordering::Less,
                Comparison::LessOrEqual => order != Ordering::Greater,
                Comparison::Greater => order == Ordering::Greater,
                Comparison::GreaterOrEqual => order != Ordering::Less,
            })
        }
        Expr::And(a, b) => match (value(a)?, value(b)?) {
            (Bool(false), _) | (_, Bool(false)) => Bool(false),
            (Null, _) | (_, Null) => Null,
            _ => Bool(true),
        },
        Expr::Or(a, b) => match (value(a)?, value(b)?) {
            (Bool(true), _) | (_, Bool(true)) => Bool(true),
            (Null, _) | (_, Null) => Null,
            _ => Bool(false),
        },
        Expr::Not(a) => match value(a)? {
            Bool(v) => Bool(!v),
            other => other,
        },
        Expr::IsNull(a) => Bool(value(a)? == Null),
        Expr::Coalesce(operands) => {
            for operand in operands {
                let found = value(operand)?;
                if found != Null {
                    return Ok(found);
                }
            }
            Null
        }
        Expr::Greatest(operands) => best(operands, Ordering::Greater, value)?,
        Expr::Least(operands) => best(operands, Ordering::Less, value)?,
        Expr::Case(branches, otherwise) => {
            for (condition, branch) in branches {
                if value(condition)? == Bool(true) {
                    return value(branch);
                }
            }
            value(otherwise)?
        }
        Expr::Concat(a, b) => match (value(a)?, value(b)?) {
            (Text(a), Text(b)) => Text(a + &b),
            _ => Null,
        },
        Expr::Cast(a, to) => cast(value(a)?, *to)?,
    })
}

fn best(
    operands: &[Expr],
    wanted: Ordering,
    value: impl Fn(&Expr) -> Result<Value, SqlState>,
) -> Result<Value, SqlState> {
    let mut best = Null;
    for operand in operands {
        let next = value(operand)?;
        if next != Null && (best == Null || order(&next, &best) == wanted) {
            best = next;
        }
    }
    Ok(best)
}

fn constant(literal: &Literal, column_type: ColumnType) -> Value {
    match (literal, column_type) {
        (Literal::Null, _) => Null,
        (Literal::Bool(v), _) => Bool(*v),
        (Literal::Int(v), ColumnType::Int16) => I16(*v as i16),
        (Literal::Int(v), ColumnType::Int32) => I32(*v as i32),
        (Literal::Int(v), _) => I64(*v),
        (Literal::Float(v), ColumnType::Float32) => F32(*v as f32),
        (Literal::Float(v), _) => F64(*v),
        (Literal::Decimal(v, _), ColumnType::Decimal { precision, scale }) => Decimal(*v, precision, scale),
        (Literal::Text(v), _) => Text(v.clone()),
        (Literal::Date(v), _) => Date(*v),
        other => unreachable!("{other:?}"),
    }
}

fn order(a: &Value, b: &Value) -> Ordering {
    let floats = |a: f64, b: f64| match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Greater,
        (false, true) => Ordering::Less,
        _ => a.partial_cmp(&b).unwrap(),
    };
    match (a, b) {
        (Bool(a), Bool(b)) => a.cmp(b),
        (I16(a), I16(b)) => a.cmp(b),
        (I32(a), I32(b)) | (Date(a), Date(b)) => a.cmp(b),
        (I64(a), I64(b)) => a.cmp(b),
        (F32(a), F32(b)) => floats((*a).into(), (*b).into()),
        (F64(a), F64(b)) => floats(*a, *b),
        (Decimal(a, ..), Decimal(b, ..)) => a.cmp(b),
        (Text(a), Text(b)) => a.cmp(b),
        other => unreachable!("{other:?}"),
    }
}

/// Integers in 128 bits, checked against their own range.
fn arithmetic(operator: Arithmetic, a: Value, b: Value) -> Result<Value, SqlState> {
    let out_of_range = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
    let whole = |a: i128, b: i128| match operator {
        Arithmetic::Add => Ok(a + b),
        Arithmetic::Subtract => Ok(a - b),
        Arithmetic::Multiply => Ok(a * b),
        _ if b == 0 => Err(SqlState::DIVISION_BY_ZERO),
        Arithmetic::Divide => Ok(a / b),
        Arithmetic::Remainder => Ok(a % b),
    };
    let real = |a: f64, b: f64| match operator {
        Arithmetic::Add => Ok(a + b),
        Arithmetic::Subtract => Ok(a - b),
        Arithmetic::Multiply => Ok(a * b),
        _ if b == 0.0 => Err(SqlState::DIVISION_BY_ZERO),
        Arithmetic::Divide => Ok(a / b),
        Arithmetic::Remainder => Ok(a % b),
    };
    match (a, b) {
        (I16(a), I16(b)) => i16::try_from(whole(a.into(), b.into())?).map(I16).map_err(|_| out_of_range),
        (I32(a), I32(b)) => i32::try_from(whole(a.into(), b.into())?).map(I32).map_err(|_| out_of_range),
        (I64(a), I64(b)) => i64::try_from(whole(a.into(), b.into())?).map(I64).map_err(|_| out_of_range),
        (F64(a), F64(b)) => {
            let v = real(a, b)?;
            let overflow = v.is_infinite() && a.is_finite() && b.is_finite();
            if overflow { Err(out_of_range) } else { Ok(F64(if v.is_nan() { f64::NAN } else { v })) }
        }
        // Results of single operations on 32-bit floats are those of 64-bit ones, rounded once more.
        (F32(a), F32(b)) => {
            let v = real(a.into(), b.into())? as f32;
            let overflow = v.is_infinite() && a.is_finite() && b.is_finite();
            if overflow { Err(out_of_range) } else { Ok(F32(if v.is_nan() { f32::NAN } else { v })) }
        }
        (Decimal(a, p, s), Decimal(b, ..)) => {
            let unit = 10i128.pow(s as u32);
            let v = match operator {
                Arithmetic::Multiply => half_away(a * b, unit),
                Arithmetic::Divide if b != 0 => half_away(a * unit, b),
                _ => whole(a, b)?,
            };
            if v.abs() < 10i128.pow(p.into()) { Ok(Decimal(v, p, s)) } else { Err(out_of_range) }
        }
        other => unreachable!("{other:?}"),
    }
}

/// Digit by digit. The operands have nine digits at most.
fn quotient(how: &Quotient, (a, a_scale): (i128, i8), (b, b_scale): (i128, i8)) -> Result<Value, SqlState> {
    let ColumnType::Decimal { precision, scale } = how.to else { unreachable!("{:?}", how.to) };
    if b == 0 {
        return Err(SqlState::DIVISION_BY_ZERO);
    }
    // The first group of four digits before or after the point that is not zero, and its place.
    let first = |value: i128, scale: i8| {
        let (whole, part) = (value.abs() / 10i128.pow(scale as u32), value.abs() % 10i128.pow(scale as u32));
        let text = format!("{whole:0>12}{:0<12}", format!("{part:0>width$}", width = scale as usize));
        let groups = (0..6).map(|at| (2 - at, text[at as usize * 4..][..4].parse::<i32>().unwrap()));
        groups.into_iter().find(|(_, group)| *group > 0).unwrap_or((0, 0))
    };
    let ((a_place, a_group), (b_place, b_group)) = (first(a, a_scale), first(b, b_scale));
    let place = a_place - b_place - i32::from(a_group <= b_group);
    let (of_values, of_types) = (16 - 4 * place, i32::from(a_scale.max(b_scale)));
    let places = of_values.max(of_types).max(0) as usize;
    let dividend = a.abs() * 10i128.pow(b_scale as u32);
    let divisor = b.abs() * 10i128.pow(a_scale as u32);
    let mut digits = dividend / divisor;
    let mut rest = dividend % divisor;
    for _ in 0..places {
        digits = digits * 10 + rest * 10 / divisor;
        rest = rest * 10 % divisor;
    }
    let exact = rest == 0;
    digits += i128::from(rest * 2 >= divisor);
    let depends = of_types > of_values && !(exact && digits % 10i128.pow((of_types - of_values) as u32) == 0);
    let kept = match places.checked_sub(scale as usize) {
        None => digits * 10i128.pow(scale as u32 - places as u32),
        Some(fewer) => half_away(digits, 10i128.pow(fewer as u32)),
    };
    let lossless = places <= scale as usize || digits % 10i128.pow((places - scale as usize) as u32) == 0;
    if depends && !how.places_known || !lossless && !how.rounded || kept >= 10i128.pow(precision.into()) {
        return Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
    }
    Ok(Decimal(kept * a.signum() * b.signum(), precision, scale))
}

fn half_away(numerator: i128, divisor: i128) -> i128 {
    let sign = numerator.signum() * divisor.signum();
    let (n, d) = (numerator.abs(), divisor.abs());
    sign * ((2 * n + d) / (2 * d))
}

fn cast(value: Value, to: ColumnType) -> Result<Value, SqlState> {
    let out_of_range = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
    let whole = |v: i128| match to {
        ColumnType::Int16 => i16::try_from(v).map(I16).map_err(|_| out_of_range),
        ColumnType::Int32 => i32::try_from(v).map(I32).map_err(|_| out_of_range),
        _ => i64::try_from(v).map(I64).map_err(|_| out_of_range),
    };
    let integer = match value {
        Null => return Ok(Null),
        Text(v) => {
            let chars: Vec<char> = v.chars().collect();
            let most = to.max_chars().unwrap_or(chars.len()).min(chars.len());
            return match chars[most..].iter().all(|c| *c == ' ') {
                true => Ok(Text(chars[..most].iter().collect())),
                false => Err(SqlState::STRING_DATA_RIGHT_TRUNCATION),
            };
        }
        I16(v) => i128::from(v),
        I32(v) => i128::from(v),
        I64(v) => i128::from(v),
        F32(v) if to == ColumnType::Float32 => return Ok(F32(v)),
        F32(v) => return cast_float(v.into(), 6, to, whole),
        F64(v) if to == ColumnType::Float64 => return Ok(F64(v)),
        F64(v) => return cast_float(v, 15, to, whole),
        Decimal(v, _, s) => {
            let unit = 10i128.pow(s as u32);
            return match to {
                ColumnType::Float32 => Ok(F32(format!("{v}e-{s}").parse().expect("a number"))),
                ColumnType::Float64 => Ok(F64(format!("{v}e-{s}").parse().expect("a number"))),
                ColumnType::Decimal { .. } => Ok(value),
                _ => whole(half_away(v, unit)),
            };
        }
        other => unreachable!("{other:?}"),
    };
    match to {
        ColumnType::Float32 => Ok(F32(integer as f32)),
        ColumnType::Float64 => Ok(F64(integer as f64)),
        ColumnType::Decimal { precision, scale } => {
            let v = integer * 10i128.pow(scale as u32);
            if v.abs() < 10i128.pow(precision.into()) {
                Ok(Decimal(v, precision, scale))
            } else {
                Err(out_of_range)
            }
        }
        _ => whole(integer),
    }
}

fn cast_float(
    v: f64,
    digits: usize,
    to: ColumnType,
    whole: impl Fn(i128) -> Result<Value, SqlState>,
) -> Result<Value, SqlState> {
    let out_of_range = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
    match to {
        ColumnType::Float64 => Ok(F64(if v.is_nan() { f64::NAN } else { v })),
        ColumnType::Float32 if v.is_nan() => Ok(F32(f32::NAN)),
        ColumnType::Float32 if v.is_finite() && (v as f32).is_infinite() => Err(out_of_range),
        ColumnType::Float32 => Ok(F32(v as f32)),
        ColumnType::Decimal { precision, scale } => {
            if v.is_nan() || v.abs() > 1e20 {
                return Err(out_of_range);
            }
            // Its first digits, written without an exponent.
            let text = format!("{v:.*e}", digits - 1);
            let (mantissa, exponent) = text.trim_start_matches('-').split_once('e').unwrap();
            let all: String = mantissa.chars().filter(char::is_ascii_digit).collect();
            let before = exponent.parse::<i32>().unwrap() + 1;
            let wanted = before + i32::from(scale);
            let padded = format!("{}{all}{}", "0".repeat((-before).max(0) as usize), "0".repeat(40));
            let wanted = (wanted + (-before).max(0)).max(0) as usize;
            let mut kept: i128 = padded[..wanted].parse().unwrap_or(0);
            kept += i128::from(padded.as_bytes()[wanted] >= b'5');
            let fits = kept < 10i128.pow(precision.into());
            let signed = if v < 0.0 { -kept } else { kept };
            if fits { Ok(Decimal(signed, precision, scale)) } else { Err(out_of_range) }
        }
        _ if v.is_finite() && v.abs() < 1e30 => whole(v.round_ties_even() as i128),
        _ => Err(out_of_range),
    }
}
