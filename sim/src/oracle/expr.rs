//! An independent evaluator of ON DUPLICATE KEY UPDATE, one expression and one row at a time, on plain values. Written
//! from the documented semantics of `kernel::expr` (PostgreSQL's, with its exceptions); it shares only the shape of
//! expressions with the kernel.
//!
//! Integers and unscaled decimals are 128 bits wide here and converted to their type after each step. The first error,
//! from left to right and operands before operators, is the reason for the rejection.

use kernel::ColumnId;
use std::cmp::Ordering;

use kernel::expr::{Arithmetic, Comparison, Expr, Literal};
use kernel::schema::ColumnType;

use super::quotient;
use super::value::{Row, Value};
use crate::program::Program;

const OUT_OF_RANGE: &str = "22003";
const DIVISION_BY_ZERO: &str = "22012";
const TOO_LONG: &str = "22001";
const NULL_REFUSED: &str = "23502";

/// A value and its type.
type Typed = (Value, ColumnType);
/// A value, or the SQLSTATE of the rejection.
type Evaluated<T> = Result<T, &'static str>;

/// The stored row's own columns after an incoming row. Ok(None): the row is unchanged.
pub fn updated(program: &Program, stored: &[Value], incoming: &[Value]) -> Evaluated<Option<Row>> {
    let columns = program.layout.columns();
    let rows = Rows { stored, incoming, column_type: |column| columns[column].1 };
    if let Some(condition) = &program.update.condition
        && rows.truth(condition)? != Some(true)
    {
        return Ok(None);
    }
    let mut row = stored.to_vec();
    for (column, expr) in &program.update.assignments {
        row[column.0 as usize] = rows.value(expr)?.0;
    }
    let assigned = program.update.assignments.iter().map(|(column, _)| column.0 as usize);
    for column in assigned {
        if !columns[column].2 && row[column] == Value::Null {
            return Err(NULL_REFUSED);
        }
    }
    Ok(Some(row))
}

/// The rows that an expression reads.
struct Rows<'r, T: Fn(usize) -> ColumnType> {
    stored: &'r [Value],
    incoming: &'r [Value],
    column_type: T,
}

impl<T: Fn(usize) -> ColumnType> Rows<'_, T> {
    fn value(&self, expr: &Expr) -> Evaluated<Typed> {
        Ok(match expr {
            Expr::Stored(column) => self.column(self.stored, *column),
            Expr::Incoming(column) => self.column(self.incoming, *column),
            Expr::Literal(literal, column_type) => (constant(literal, *column_type), *column_type),
            Expr::Arithmetic(operator, a, b) => {
                let ((a, column_type), (b, _)) = (self.value(a)?, self.value(b)?);
                (arithmetic(*operator, &a, &b, column_type)?, column_type)
            }
            Expr::Quotient(how, a, b) => {
                let (a, b) = (self.value(a)?, self.value(b)?);
                let value = match (decimal(&a), decimal(&b)) {
                    (Some(a), Some(b)) => quotient::quotient(how, a, b)?,
                    _ => Value::Null,
                };
                (value, how.to)
            }
            Expr::Negate(a) => {
                let (a, column_type) = self.value(a)?;
                (negated(&a, column_type)?, column_type)
            }
            Expr::Compare(comparison, a, b) => {
                let ((a, _), (b, _)) = (self.value(a)?, self.value(b)?);
                let known = a != Value::Null && b != Value::Null;
                boolean(known.then(|| holds(*comparison, order(&a, &b))))
            }
            Expr::And(a, b) => {
                let sides = [self.truth(a)?, self.truth(b)?];
                let known = !sides.contains(&None);
                boolean(if sides.contains(&Some(false)) { Some(false) } else { known.then_some(true) })
            }
            Expr::Or(a, b) => {
                let sides = [self.truth(a)?, self.truth(b)?];
                let known = !sides.contains(&None);
                boolean(if sides.contains(&Some(true)) { Some(true) } else { known.then_some(false) })
            }
            Expr::Not(a) => boolean(self.truth(a)?.map(|truth| !truth)),
            Expr::IsNull(a) => boolean(Some(self.value(a)?.0 == Value::Null)),
            Expr::Coalesce(operands) => {
                let mut value = self.value(&operands[0])?;
                for operand in &operands[1..] {
                    // Operands after a value are not evaluated, and so cannot fail.
                    if value.0 == Value::Null {
                        value = self.value(operand)?;
                    }
                }
                value
            }
            Expr::Greatest(operands) => self.extreme(operands, Ordering::Greater)?,
            Expr::Least(operands) => self.extreme(operands, Ordering::Less)?,
            Expr::Case(branches, otherwise) => {
                for (condition, value) in branches {
                    if self.truth(condition)? == Some(true) {
                        return self.value(value);
                    }
                }
                self.value(otherwise)?
            }
            Expr::Concat(a, b) => match (self.value(a)?.0, self.value(b)?.0) {
                (Value::Text(a), Value::Text(b)) => (Value::Text(a + &b), ColumnType::Text),
                _ => (Value::Null, ColumnType::Text),
            },
            Expr::Cast(a, to) => {
                let (value, from) = self.value(a)?;
                (cast(value, from, *to)?, *to)
            }
        })
    }

    fn column(&self, row: &[Value], column: ColumnId) -> Typed {
        let column = column.0 as usize;
        (row[column].clone(), (self.column_type)(column))
    }

    fn truth(&self, expr: &Expr) -> Evaluated<Option<bool>> {
        Ok(self.value(expr)?.0.integer().map(|truth| truth == 1))
    }

    /// Nulls are ignored, and of equal values the first one is kept. All operands are evaluated.
    fn extreme(&self, operands: &[Expr], wanted: Ordering) -> Evaluated<Typed> {
        let mut best = self.value(&operands[0])?;
        for operand in &operands[1..] {
            let next = self.value(operand)?;
            let beats = best.0 == Value::Null || order(&next.0, &best.0) == wanted;
            if next.0 != Value::Null && beats {
                best = next;
            }
        }
        Ok(best)
    }
}

/// A decimal's unscaled value and scale; None: it is null.
fn decimal((value, column_type): &Typed) -> Option<(i128, i8)> {
    let ColumnType::Decimal { scale, .. } = column_type else {
        unreachable!("{column_type:?} is no decimal")
    };
    Some((value.integer()?, *scale))
}

fn boolean(truth: Option<bool>) -> Typed {
    (truth.map_or(Value::Null, |truth| Value::Int(truth.into())), ColumnType::Bool)
}

fn constant(literal: &Literal, column_type: ColumnType) -> Value {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(truth) => Value::Int((*truth).into()),
        Literal::Int(int) | Literal::Timestamp(int) => Value::Int(*int),
        Literal::Float(float) if column_type == ColumnType::Float32 => Value::float((*float as f32).into()),
        Literal::Float(float) => Value::float(*float),
        Literal::Decimal(unscaled, _) => Value::decimal(*unscaled),
        Literal::Text(text) => Value::Text(text.clone()),
        Literal::Bytes(bytes) => Value::Text(String::from_utf8(bytes.clone()).expect("bytes are text here")),
        Literal::Date(day) => Value::Int((*day).into()),
    }
}

/// Numbers by value, NaN being greater than all others and equal to itself; texts and bytes by their bytes.
fn order(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Float(a), Value::Float(b)) => {
            let (a, b) = (f64::from_bits(*a), f64::from_bits(*b));
            if a < b || (b.is_nan() && !a.is_nan()) {
                Ordering::Less
            } else if a > b || (a.is_nan() && !b.is_nan()) {
                Ordering::Greater
            } else {
                Ordering::Equal
            }
        }
        _ => a.integer().cmp(&b.integer()),
    }
}

fn holds(comparison: Comparison, order: Ordering) -> bool {
    let fitting: &[Ordering] = match comparison {
        Comparison::Equal => &[Ordering::Equal],
        Comparison::NotEqual => &[Ordering::Less, Ordering::Greater],
        Comparison::Less => &[Ordering::Less],
        Comparison::LessOrEqual => &[Ordering::Less, Ordering::Equal],
        Comparison::Greater => &[Ordering::Greater],
        Comparison::GreaterOrEqual => &[Ordering::Greater, Ordering::Equal],
    };
    fitting.contains(&order)
}

/// An integer as a value of its type, if it fits.
fn fitting(int: i128, column_type: ColumnType) -> Evaluated<Value> {
    let (least, greatest) = match column_type {
        ColumnType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        ColumnType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        ColumnType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        ColumnType::Decimal { precision, .. } => {
            let first_too_large = 10i128.pow(precision.into());
            (1 - first_too_large, first_too_large - 1)
        }
        other => unreachable!("{other:?} is no number of digits"),
    };
    if (least..=greatest).contains(&int) { Ok(Value::decimal(int)) } else { Err(OUT_OF_RANGE) }
}

fn negated(value: &Value, column_type: ColumnType) -> Evaluated<Value> {
    match value {
        Value::Float(bits) => Ok(Value::float(-f64::from_bits(*bits))),
        other => other.integer().map_or(Ok(Value::Null), |int| fitting(-int, column_type)),
    }
}

fn arithmetic(operator: Arithmetic, a: &Value, b: &Value, column_type: ColumnType) -> Evaluated<Value> {
    if let (Value::Float(a), Value::Float(b)) = (a, b) {
        let (a, b) = (f64::from_bits(*a), f64::from_bits(*b));
        let sum = match column_type {
            ColumnType::Float32 => real(operator, a as f32, b as f32, |a, b| a % b)?.into(),
            _ => real(operator, a, b, |a, b| a % b)?,
        };
        let overflows = f64::is_infinite(sum) && a.is_finite() && b.is_finite();
        return if overflows { Err(OUT_OF_RANGE) } else { Ok(Value::float(sum)) };
    }
    let (Some(a), Some(b)) = (a.integer(), b.integer()) else { return Ok(Value::Null) };
    if b == 0 && matches!(operator, Arithmetic::Divide | Arithmetic::Remainder) {
        return Err(DIVISION_BY_ZERO);
    }
    let scale = if let ColumnType::Decimal { scale, .. } = column_type { Some(scale) } else { None };
    let result = match (operator, scale) {
        (Arithmetic::Add, _) => a.checked_add(b),
        (Arithmetic::Subtract, _) => a.checked_sub(b),
        (Arithmetic::Remainder, _) => Some(a % b),
        (Arithmetic::Multiply, None) => a.checked_mul(b),
        (Arithmetic::Divide, None) => Some(a / b),
        // The digits after the point count twice in a product, and not at all in a quotient.
        (Arithmetic::Multiply, Some(scale)) => quotient([a, b, ten_to(-scale)], ten_to(scale)),
        (Arithmetic::Divide, Some(scale)) => {
            b.checked_mul(ten_to(-scale)).map_or(Some(0), |divisor| quotient([a, ten_to(scale), 1], divisor))
        }
    };
    fitting(result.ok_or(OUT_OF_RANGE)?, column_type)
}

fn real<F>(operator: Arithmetic, a: F, b: F, remainder: impl Fn(F, F) -> F) -> Evaluated<F>
where
    F: std::ops::Add<Output = F>
        + std::ops::Sub<Output = F>
        + std::ops::Mul<Output = F>
        + std::ops::Div<Output = F>
        + Default
        + PartialEq
        + Copy,
{
    match operator {
        Arithmetic::Add => Ok(a + b),
        Arithmetic::Subtract => Ok(a - b),
        Arithmetic::Multiply => Ok(a * b),
        Arithmetic::Divide | Arithmetic::Remainder if b == F::default() => Err(DIVISION_BY_ZERO),
        Arithmetic::Divide => Ok(a / b),
        Arithmetic::Remainder => Ok(remainder(a, b)),
    }
}

/// A power of ten; 1 for those below.
fn ten_to(exponent: i8) -> i128 {
    10i128.pow(exponent.max(0) as u32)
}

/// The product of some numbers divided by another one, rounded half away from zero; None if it has more than 127 bits.
/// Computed in decimal digits, so that no intermediate result overflows.
fn quotient(factors: [i128; 3], divisor: i128) -> Option<i128> {
    let product = factors.into_iter().try_fold(1i128, i128::checked_mul);
    let negative = factors.into_iter().chain([divisor]).fold(1, |sign, n| sign * n.signum()) < 0;
    let divisor = divisor.unsigned_abs();
    let (quotient, rest) = match product {
        Some(product) => (product.unsigned_abs() / divisor, product.unsigned_abs() % divisor),
        None => long_division(&long_product(factors.map(i128::unsigned_abs)), divisor)?,
    };
    let up = rest >= divisor - rest;
    let rounded = i128::try_from(quotient).ok()?.checked_add(up.into())?;
    Some(if negative { -rounded } else { rounded })
}

/// A product as its decimal digits, the least one first.
fn long_product(factors: [u128; 3]) -> Vec<u8> {
    let mut product = vec![1u8];
    for factor in factors {
        let digits: Vec<u8> = factor.to_string().bytes().rev().map(|digit| digit - b'0').collect();
        let mut next = vec![0u32; product.len() + digits.len() + 1];
        for (i, a) in product.iter().enumerate() {
            for (j, b) in digits.iter().enumerate() {
                next[i + j] += u32::from(*a) * u32::from(*b);
            }
        }
        for i in 1..next.len() {
            next[i] += next[i - 1] / 10;
            next[i - 1] %= 10;
        }
        product = next.into_iter().map(|digit| digit as u8).collect();
    }
    product
}

/// Quotient and rest, digit by digit.
fn long_division(digits: &[u8], divisor: u128) -> Option<(u128, u128)> {
    let (mut quotient, mut rest) = (0u128, 0u128);
    for digit in digits.iter().rev() {
        // Ten times the rest, step by step: it does not fit.
        let mut next = 0;
        quotient = quotient.checked_mul(10)?;
        for _ in 0..10 {
            let room = divisor - rest;
            let over = next >= room;
            next = if over { next - room } else { next + rest };
            quotient = quotient.checked_add(over.into())?;
        }
        next += u128::from(*digit);
        while next >= divisor {
            next -= divisor;
            quotient = quotient.checked_add(1)?;
        }
        rest = next;
    }
    Some((quotient, rest))
}

fn cast(value: Value, from: ColumnType, to: ColumnType) -> Evaluated<Value> {
    use ColumnType::{Decimal, Float32, Float64};
    let from_scale = if let Decimal { scale, .. } = from { scale } else { 0 };
    match (value, to) {
        (Value::Null, _) => Ok(Value::Null),
        (Value::Text(text), ColumnType::Varchar { max_chars: Some(max) }) => {
            let beyond: String = text.chars().skip(max as usize).collect();
            let kept = text.strip_suffix(&beyond).expect("it ends so").to_string();
            if beyond.trim_matches(' ').is_empty() { Ok(Value::Text(kept)) } else { Err(TOO_LONG) }
        }
        (value, to) if from.arrow() == to.arrow() => Ok(value),
        (Value::Float(bits), Float64) => Ok(Value::Float(bits)),
        (Value::Float(bits), Float32) => narrowed(f64::from_bits(bits)),
        (Value::Float(bits), to @ Decimal { scale, .. }) => {
            let digits = if from == Float32 { 6 } else { 15 };
            fitting(shortened(f64::from_bits(bits), digits, scale).ok_or(OUT_OF_RANGE)?, to)
        }
        (Value::Float(bits), to) => {
            let rounded = f64::from_bits(bits).round_ties_even();
            if rounded.is_finite() && rounded.abs() < 1e39 {
                fitting(rounded as i128, to)
            } else {
                Err(OUT_OF_RANGE)
            }
        }
        (value, Float32 | Float64) => {
            // Rounded once, from all digits.
            let digits = format!("{}e{}", value.integer().expect("a number"), -i16::from(from_scale));
            match to {
                Float32 => Ok(Value::float(digits.parse::<f32>().expect("a number").into())),
                _ => Ok(Value::float(digits.parse().expect("a number"))),
            }
        }
        (value, to) => {
            let to_scale = if let Decimal { scale, .. } = to { scale } else { 0 };
            let int = value.integer().expect("a number");
            let shifted = quotient([int, ten_to(to_scale - from_scale), 1], ten_to(from_scale - to_scale));
            fitting(shifted.ok_or(OUT_OF_RANGE)?, to)
        }
    }
}

/// The first digits of a float, as many as PostgreSQL uses for a numeric, at a scale. None: not a number, or too large
/// for any type.
fn shortened(float: f64, digits: usize, scale: i8) -> Option<i128> {
    let written = format!("{float:.*e}", digits - 1);
    let (mantissa, exponent) = written.split_once('e')?;
    let int: i128 = mantissa.replace('.', "").parse().ok()?;
    let zeros = exponent.parse::<i32>().ok()? + 1 - digits as i32 + i32::from(scale);
    match zeros {
        _ if int == 0 => Some(0),
        0..=38 => int.checked_mul(10i128.pow(zeros as u32)),
        39.. => None,
        -38..0 => quotient([int, 1, 1], 10i128.pow(zeros.unsigned_abs())),
        _ => Some(0),
    }
}

fn narrowed(float: f64) -> Evaluated<Value> {
    let narrow = float as f32;
    let overflows = narrow.is_infinite() && float.is_finite();
    if overflows { Err(OUT_OF_RANGE) } else { Ok(Value::float(narrow.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_rounded_half_away_from_zero() {
        let exact = |a, b, divisor| quotient([a, b, 1], divisor);
        assert_eq!(exact(5, 1, 10), Some(1));
        assert_eq!(exact(-5, 1, 10), Some(-1));
        assert_eq!(exact(-4, 1, 10), Some(0));
        assert_eq!(exact(7, 3, -2), Some(-11));
        let large = 10i128.pow(38) - 1;
        assert_eq!(exact(large, large, 10i128.pow(6)), None);
        assert_eq!(exact(large, large, large), Some(large));
        assert_eq!(exact(large, -10i128.pow(6), large - 1), Some(-1_000_000));
        assert_eq!(exact(10i128.pow(37), 10i128.pow(6), 10i128.pow(7)), Some(10i128.pow(36)));
        let half = 5 * 10i128.pow(37);
        assert_eq!(exact(half, 3, 10i128.pow(38)), Some(2));
        assert_eq!(exact(half, 10i128.pow(6) + 1, 10i128.pow(38)), Some(500_001));
    }

    #[test]
    fn a_cast_rounds_once() {
        let above_the_middle = Value::Int((1 << 60) + (1 << 36) + 1);
        let next = ((1u64 << 60) + (1 << 37)) as f64;
        assert_eq!(cast(above_the_middle, ColumnType::Int64, ColumnType::Float32), Ok(Value::float(next)));
        let price = ColumnType::Decimal { precision: 18, scale: 4 };
        assert_eq!(cast(Value::Int(-12_345), price, ColumnType::Int16), Ok(Value::Int(-1)));
        assert_eq!(cast(Value::Int(-15_000), price, ColumnType::Int16), Ok(Value::Int(-2)));
        assert_eq!(cast(Value::float(2.5), ColumnType::Float64, ColumnType::Int16), Ok(Value::Int(2)));
    }
}
