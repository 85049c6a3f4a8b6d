//! Arithmetic in ON CONFLICT and ON DUPLICATE KEY, with PostgreSQL's types: products with all of their digits,
//! quotients, rounding. The kernel calculates decimals in a fixed scale; a row whose value does not fit is rejected.

use datafusion::sql::sqlparser::ast::Expr as Sql;
use kernel::expr::{Arithmetic, Comparison, Expr, Literal, Quotient};
use kernel::schema::ColumnType;

use super::lower::Lowered::{self, Null, Number, Text, Typed};
use super::lower::{bring, disagree, is_integer, is_numeric, refused, unify};
use crate::error::{Result, SqlError, SqlState};

/// Most digits of a numeric of the kernel's.
const DIGITS_MAX: u8 = 38;

/// Least and most digits after the point of an intermediate quotient: with more, no digits would remain before the
/// point for a factor of the quotient.
const QUOTIENT_PLACES: (u8, u8) = (20, 24);

/// Most places that a number is rounded to.
const ROUND_PLACES_MAX: i8 = 20;

/// Most nodes of an expression that is copied: copies of copies would become too large.
const COPIED_NODES_MAX: usize = 1_000;

fn decimal(scale: i8) -> ColumnType {
    ColumnType::Decimal { precision: DIGITS_MAX, scale }
}

/// `left op right`
pub(super) fn calculate(op: Arithmetic, left: Lowered, right: Lowered, sql: &Sql) -> Result<Lowered> {
    let (left, right) = as_operands(left, right);
    let (left, right) = match (is_decimal(&left), is_decimal(&right)) {
        (true, false) => (left, as_number(right)),
        (false, true) => (as_number(left), right),
        _ => (left, right),
    };
    match (op, scale_of(&left), scale_of(&right)) {
        (Arithmetic::Multiply, Some(a), Some(b)) if a + b > 0 => return product(left, right, a + b, sql),
        (Arithmetic::Divide, Some(_), Some(_)) if is_decimal(&left) || is_decimal(&right) => {
            return quotient(left, right, sql);
        }
        _ => {}
    }
    let (values, column_type) = unify(vec![left, right], sql)?;
    if !is_numeric(column_type) {
        return Err(refused(sql));
    }
    let [left, right] = <[Expr; 2]>::try_from(values).expect("two went in");
    Ok(Typed(Expr::Arithmetic(op, Box::new(left), Box::new(right)), column_type))
}

/// Two sides of an operator: a real beside any other number is calculated and compared as double precision.
pub(super) fn as_operands(left: Lowered, right: Lowered) -> (Lowered, Lowered) {
    let is_real = |value: &Lowered| matches!(value, Typed(_, ColumnType::Float32));
    let widened = |value: Lowered, beside: bool| match value {
        Typed(expr, ColumnType::Float32) if beside => {
            Typed(Expr::Cast(Box::new(expr), ColumnType::Float64), ColumnType::Float64)
        }
        other => other,
    };
    let is_other = |value: &Lowered| matches!(value, Number(_) | Typed(..)) && !is_real(value);
    let (beside_right, beside_left) = (is_other(&right), is_other(&left));
    (widened(left, beside_right), widened(right, beside_left))
}

/// A string literal beside a numeric is a number with its own digits behind the point.
pub(super) fn as_number(value: Lowered) -> Lowered {
    match value {
        Text(text) => Number(text.trim().to_string()),
        other => other,
    }
}

/// Digits behind the point of an exact number; None for others.
fn scale_of(value: &Lowered) -> Option<u8> {
    let column_type = match value {
        Number(digits) => natural_type(digits),
        Typed(_, column_type) => *column_type,
        Null | Text(_) => return None,
    };
    match column_type {
        ColumnType::Decimal { scale, .. } => u8::try_from(scale).ok(),
        other => is_integer(other).then_some(0),
    }
}

fn is_decimal(value: &Lowered) -> bool {
    match value {
        Number(digits) => matches!(natural_type(digits), ColumnType::Decimal { .. }),
        Typed(_, column_type) => matches!(column_type, ColumnType::Decimal { .. }),
        Null | Text(_) => false,
    }
}

/// The type of a number literal by itself: integer, bigint, or numeric with its own digits.
pub(super) fn natural_type(digits: &str) -> ColumnType {
    if digits.parse::<i32>().is_ok() {
        return ColumnType::Int32;
    }
    if digits.parse::<i64>().is_ok() {
        return ColumnType::Int64;
    }
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let places = mantissa.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    let scale = exponent.parse::<i64>().ok().map(|exponent| (places as i64).saturating_sub(exponent));
    match scale {
        Some(scale) if scale <= i64::from(DIGITS_MAX) => decimal(scale.max(0) as i8),
        _ => ColumnType::Float64,
    }
}

/// A product with all of its digits, as in PostgreSQL: the kernel rounds products to the scale of their type, so both
/// factors are converted to the product's scale.
fn product(left: Lowered, right: Lowered, scale: u8, sql: &Sql) -> Result<Lowered> {
    if scale > DIGITS_MAX {
        let message = format!("the product \"{sql}\" has more than {DIGITS_MAX} digits behind the point");
        return Err(SqlError::unsupported(message));
    }
    let column_type = decimal(scale as i8);
    let factor = |value| bring(value, column_type).map_err(|_| disagree(sql))?;
    let (left, right) = (Box::new(factor(left)?), Box::new(factor(right)?));
    Ok(Typed(Expr::Arithmetic(Arithmetic::Multiply, left, right), column_type))
}

/// A quotient of exact numbers, one of them a numeric. Assignment or rounding may shorten it ([`shortened`]).
fn quotient(left: Lowered, right: Lowered, sql: &Sql) -> Result<Lowered> {
    if is_open(&left) || is_open(&right) {
        return Err(SqlError::unsupported(format!(
            "the quotient of a quotient in \"{sql}\" is not supported here"
        ))
        .with_hint("How many digits it has depends on those of the inner one. Round that: round(x, 10)."));
    }
    let places_known = has_own_places(&left) && has_own_places(&right);
    let (left, left_whole, _) = exact(left, sql)?;
    let (right, _, right_scale) = exact(right, sql)?;
    let room = DIGITS_MAX.saturating_sub(left_whole.saturating_add(right_scale));
    let to = decimal(room.clamp(QUOTIENT_PLACES.0, QUOTIENT_PLACES.1) as i8);
    let how = Quotient { to, rounded: false, places_known };
    Ok(Typed(Expr::Quotient(how, Box::new(left), Box::new(right)), to))
}

/// An exact number as a decimal of its own scale, with its digits before the point and behind it.
fn exact(value: Lowered, sql: &Sql) -> Result<(Expr, u8, u8)> {
    let integer_digits = |column_type| match column_type {
        ColumnType::Int16 => 5,
        ColumnType::Int32 => 10,
        _ => 19,
    };
    let scale = scale_of(&value).ok_or_else(|| refused(sql))?;
    let whole = match &value {
        Number(digits) if !digits.contains(['e', 'E']) => {
            digits.trim_start_matches(['-', '+']).split('.').next().map_or(1, str::len).min(38) as u8
        }
        Typed(_, ColumnType::Decimal { precision, .. }) => precision.saturating_sub(scale),
        Typed(_, other) => integer_digits(*other),
        _ => DIGITS_MAX - scale.min(DIGITS_MAX),
    };
    let expr = match value {
        Typed(expr, ColumnType::Decimal { .. }) => expr,
        other => bring(other, decimal(scale as i8)).map_err(|_| disagree(sql))??,
    };
    Ok((expr, whole, scale))
}

/// It contains a quotient whose digits its type does not determine.
fn is_open(value: &Lowered) -> bool {
    matches!(value, Typed(expr, _) if expr.has_open_quotient())
}

/// PostgreSQL's value has as many digits after the point as the type: no CASE or similar chose among values of
/// different scales.
fn has_own_places(value: &Lowered) -> bool {
    fn known(expr: &Expr) -> bool {
        match expr {
            Expr::Stored(_) | Expr::Incoming(_) | Expr::Literal(..) => true,
            Expr::Quotient(how, ..) => how.rounded,
            Expr::Negate(a) | Expr::Cast(a, _) => known(a),
            Expr::Arithmetic(_, a, b) => known(a) && known(b),
            _ => false,
        }
    }
    match value {
        Number(_) => true,
        // A cast that was written.
        Typed(Expr::Cast(..), _) => true,
        Typed(expr, _) => known(expr),
        Text(_) | Null => false,
    }
}

/// Converts a value to this type: a quotient is rounded from all of its digits.
pub(super) fn shortened(value: Lowered, column_type: ColumnType) -> Lowered {
    let to = match column_type {
        ColumnType::Decimal { .. } => column_type,
        integer if is_integer(integer) => decimal(0),
        _ => return value,
    };
    match value {
        Typed(Expr::Quotient(how, a, b), _) if !how.rounded => {
            Typed(Expr::Quotient(Quotient { to, rounded: true, ..how }, a, b), to)
        }
        other => other,
    }
}

/// Functions of numbers; None: another function.
pub(super) fn function(name: &str, args: Vec<Lowered>, sql: &Sql) -> Option<Result<Lowered>> {
    let [first, second] = match args.len() {
        1 | 2 => {
            let mut args = args.into_iter();
            [args.next(), args.next()]
        }
        _ => return None,
    };
    let first = first?;
    Some(match (name, second) {
        ("round", None) => one(first, sql, |value| round(value, 0, sql)),
        ("round", Some(places)) => round_to(first, places, sql, round),
        ("trunc", None) => one(first, sql, |value| trunc(value, 0, sql)),
        ("trunc", Some(places)) => round_to(first, places, sql, trunc),
        ("floor", None) => {
            one(first, sql, |value| beyond(value, Arithmetic::Subtract, Comparison::Less, sql))
        }
        ("ceil" | "ceiling", None) => {
            one(first, sql, |value| beyond(value, Arithmetic::Add, Comparison::Greater, sql))
        }
        ("mod", Some(by)) => remainder(first, by, sql),
        _ => return None,
    })
}

/// `floor` and `ceil`, which have syntax of their own in the parser.
pub(super) fn whole(name: &str, value: Lowered, sql: &Sql) -> Result<Lowered> {
    function(name, vec![value], sql).unwrap_or_else(|| Err(refused(sql)))
}

/// A function of one number: exact for a numeric; an integer becomes double precision, and is whole already.
fn one(value: Lowered, sql: &Sql, of_numeric: impl FnOnce(Lowered) -> Result<Lowered>) -> Result<Lowered> {
    if matches!(value, Null) {
        return Ok(Null);
    }
    if is_decimal(&value) {
        return of_numeric(value);
    }
    match scale_of(&value) {
        Some(_) => {
            let float = bring(value, ColumnType::Float64).map_err(|_| refused(sql))??;
            Ok(Typed(float, ColumnType::Float64))
        }
        None => Err(refused(sql)),
    }
}

fn round_to(
    value: Lowered,
    places: Lowered,
    sql: &Sql,
    function: impl FnOnce(Lowered, i8, &Sql) -> Result<Lowered>,
) -> Result<Lowered> {
    if matches!(value, Null) || matches!(places, Null) {
        return Ok(Null);
    }
    let places = match places {
        Number(digits) => digits.parse::<i8>().ok(),
        _ => None,
    };
    let places = places.filter(|places| (-ROUND_PLACES_MAX..=ROUND_PLACES_MAX).contains(places));
    let Some(places) = places else { return Err(refused(sql)) };
    let value = as_number(value);
    if scale_of(&value).is_none() {
        let message = format!("{sql}: only numerics are rounded to places");
        return Err(SqlError::new(SqlState::UNDEFINED_FUNCTION, message).with_hint("Cast to numeric."));
    }
    function(value, places, sql)
}

fn round(value: Lowered, places: i8, sql: &Sql) -> Result<Lowered> {
    let rounded = bring(shortened(value, decimal(places)), decimal(places)).map_err(|_| refused(sql))??;
    Ok(whole_places(rounded, places))
}

/// Rounding to places before the point, as a numeric without a fraction.
fn whole_places(value: Expr, places: i8) -> Lowered {
    match places < 0 {
        true => Typed(Expr::Cast(Box::new(value), decimal(0)), decimal(0)),
        false => Typed(value, decimal(places)),
    }
}

fn trunc(value: Lowered, places: i8, sql: &Sql) -> Result<Lowered> {
    let (cut, _, _) = cut_off(value, places, sql)?;
    Ok(Typed(Expr::Cast(Box::new(cut), decimal(places.max(0))), decimal(places.max(0))))
}

/// A number without the digits after these places, the number itself, and the type of both.
fn cut_off(value: Lowered, places: i8, sql: &Sql) -> Result<(Expr, Expr, ColumnType)> {
    let scale = scale_of(&value).ok_or_else(|| refused(sql))? as i8;
    let own = decimal(scale);
    let value = bring(value, own).map_err(|_| refused(sql))??;
    let unit = u32::try_from(scale.saturating_sub(places)).ok().and_then(|zeros| 10i128.checked_pow(zeros));
    let Some(unit) = unit.filter(|unit| *unit > 1) else { return Ok((value.clone(), value, own)) };
    let unit = Expr::Literal(Literal::Decimal(unit, scale), own);
    let rest = Expr::Arithmetic(Arithmetic::Remainder, Box::new(copy(&value, sql)?), Box::new(unit));
    let cut = Expr::Arithmetic(Arithmetic::Subtract, Box::new(value.clone()), Box::new(rest));
    Ok((cut, value, own))
}

/// `floor` and `ceil`: truncated, and corrected by one where truncation went the wrong way.
fn beyond(value: Lowered, step: Arithmetic, wrong: Comparison, sql: &Sql) -> Result<Lowered> {
    let (cut, value, own) = cut_off(value, 0, sql)?;
    let one = bring(Number("1".into()), own).map_err(|_| refused(sql))??;
    let test = Expr::Compare(wrong, Box::new(value), Box::new(copy(&cut, sql)?));
    let further = Expr::Arithmetic(step, Box::new(cut.clone()), Box::new(one));
    let chosen = Expr::Case(vec![(test, further)], Box::new(cut));
    Ok(Typed(Expr::Cast(Box::new(chosen), decimal(0)), decimal(0)))
}

fn remainder(value: Lowered, by: Lowered, sql: &Sql) -> Result<Lowered> {
    match (scale_of(&value), scale_of(&by)) {
        (Some(_), Some(_)) => calculate(Arithmetic::Remainder, value, by, sql),
        _ => Err(refused(sql)),
    }
}

/// A copy of an expression, unless it is so large that copies of copies would become too large.
pub(super) fn copy(expr: &Expr, sql: &Sql) -> Result<Expr> {
    match expr.nodes() <= COPIED_NODES_MAX {
        true => Ok(expr.clone()),
        false => Err(SqlError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("{sql} is too large here"))),
    }
}
