//! Evaluation over columns: total, deterministic, with three-valued logic. A row on which an operator fails (overflow,
//! division by zero) is marked in [`RowErrors`] and continues with an arbitrary value; the other rows are not affected.
//!
//! All operands of an operator are evaluated, but errors in branches that CASE or COALESCE does not take are ignored.
//! Comparisons are PostgreSQL's: NaN equals NaN and is greater than every number, -0.0 equals 0.0, text compares by its
//! bytes.

use std::cmp::Ordering;
use std::fmt::{self, Debug, Write};
use std::str::FromStr;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, Date32Array, Decimal128Array,
    Float64Array, Int64Array, PrimitiveArray, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, i256};
use arrow_schema::DataType;
use arrow_select::zip::zip;

use super::{Arithmetic, Comparison, Expr, Literal, Quotient};
use crate::error::SqlState;
use crate::ids::ColumnId;
use crate::schema::{ColumnType, TableDef, chars_len, fitting_len};

/// Errors of rows; at most one per row, the first found.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowErrors {
    /// Empty without errors.
    states: Vec<Option<SqlState>>,
}

impl RowErrors {
    pub fn mark(&mut self, row: usize, sqlstate: SqlState) {
        if self.states.len() <= row {
            self.states.resize(row + 1, None);
        }
        self.states[row].get_or_insert(sqlstate);
    }

    /// Rows with an error, and the error.
    pub fn iter(&self) -> impl Iterator<Item = (usize, SqlState)> + '_ {
        self.states.iter().enumerate().filter_map(|(row, state)| state.map(|state| (row, state)))
    }

    /// Adds the errors of another set for the rows where `reached` is true.
    fn merge(&mut self, other: &RowErrors, reached: impl Fn(usize) -> bool) {
        other.iter().filter(|(row, _)| reached(*row)).for_each(|(row, state)| self.mark(row, state));
    }
}

/// The columns that an expression can read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope<'a> {
    /// The table, which says where its columns are.
    pub table: &'a TableDef,
    /// Columns of the stored rows. May be empty for an expression that does not use them.
    pub stored: &'a [ArrayRef],
    /// Columns of the incoming rows.
    pub incoming: &'a [ArrayRef],
    /// Rows of each.
    pub rows: usize,
}

impl Scope<'_> {
    fn column(&self, columns: &[ArrayRef], id: ColumnId) -> Option<ArrayRef> {
        columns.get(self.table.ordinal(id)?).cloned()
    }
}

/// The value of an expression for every row. A program that does not fit its table fails every row with XX000; the
/// check at its definition prevents that.
pub(crate) fn evaluate(expr: &Expr, scope: Scope<'_>, errors: &mut RowErrors) -> ArrayRef {
    let value = match expr {
        Expr::Stored(column) => scope.column(scope.stored, *column),
        Expr::Incoming(column) => scope.column(scope.incoming, *column),
        Expr::Literal(literal, column_type) => constant(literal, *column_type, scope.rows),
        Expr::Arithmetic(operator, a, b) => {
            let (a, b) = (evaluate(a, scope, errors), evaluate(b, scope, errors));
            arithmetic(*operator, &a, &b, errors)
        }
        Expr::Quotient(how, a, b) => {
            let (a, b) = (evaluate(a, scope, errors), evaluate(b, scope, errors));
            quotient(*how, &a, &b, errors)
        }
        Expr::Negate(a) => negate(&evaluate(a, scope, errors), errors),
        Expr::Compare(comparison, a, b) => {
            let (a, b) = (evaluate(a, scope, errors), evaluate(b, scope, errors));
            compare(*comparison, &a, &b)
        }
        Expr::And(a, b) => logic(a, b, scope, errors, |a, b| match (a, b) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        }),
        Expr::Or(a, b) => logic(a, b, scope, errors, |a, b| match (a, b) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), Some(false)) => Some(false),
            _ => None,
        }),
        Expr::Not(a) => booleans(&evaluate(a, scope, errors))
            .map(|a| Arc::new(BooleanArray::new(!a.values(), a.nulls().cloned())) as ArrayRef),
        Expr::IsNull(a) => {
            let a = evaluate(a, scope, errors);
            let nulls = a.logical_nulls().map_or_else(|| BooleanBuffer::new_unset(a.len()), |n| !n.inner());
            Some(Arc::new(BooleanArray::new(nulls, None)) as ArrayRef)
        }
        Expr::Coalesce(operands) => coalesce(operands, scope, errors),
        Expr::Greatest(operands) => extreme(operands, Ordering::Greater, scope, errors),
        Expr::Least(operands) => extreme(operands, Ordering::Less, scope, errors),
        Expr::Case(branches, otherwise) => case(branches, otherwise, scope, errors),
        Expr::Concat(a, b) => {
            let (a, b) = (evaluate(a, scope, errors), evaluate(b, scope, errors));
            concatenate(&a, &b, errors)
        }
        Expr::Cast(a, to) => cast(&evaluate(a, scope, errors), *to, errors),
    };
    let value = value.unwrap_or_else(|| {
        (0..scope.rows).for_each(|row| errors.mark(row, SqlState::INTERNAL_ERROR));
        new_null_array(&DataType::Null, scope.rows)
    });
    assert_eq!(value.len(), scope.rows, "one value a row");
    value
}

/// A constant for every row, or None if it is not of the type.
fn constant(literal: &Literal, column_type: ColumnType, rows: usize) -> Option<ArrayRef> {
    let data_type = column_type.arrow();
    let array: ArrayRef = match (literal, &data_type) {
        (Literal::Null, _) => new_null_array(&data_type, rows),
        (Literal::Bool(v), DataType::Boolean) => Arc::new(BooleanArray::from(vec![*v; rows])),
        (Literal::Int(v), DataType::Int16) => {
            Arc::new(PrimitiveArray::<Int16Type>::from_value(i16::try_from(*v).ok()?, rows))
        }
        (Literal::Int(v), DataType::Int32) => {
            Arc::new(PrimitiveArray::<Int32Type>::from_value(i32::try_from(*v).ok()?, rows))
        }
        (Literal::Int(v), DataType::Int64) => Arc::new(Int64Array::from_value(*v, rows)),
        (Literal::Float(v), DataType::Float32) => {
            Arc::new(PrimitiveArray::<Float32Type>::from_value(*v as f32, rows))
        }
        (Literal::Float(v), DataType::Float64) => Arc::new(Float64Array::from_value(*v, rows)),
        (Literal::Decimal(v, _), DataType::Decimal128(..)) => {
            Arc::new(Decimal128Array::from_value(*v, rows).with_data_type(data_type))
        }
        (Literal::Text(v), DataType::Utf8) => Arc::new(StringArray::from_iter_values((0..rows).map(|_| v))),
        (Literal::Bytes(v), DataType::Binary) => {
            Arc::new(BinaryArray::from_iter_values((0..rows).map(|_| v)))
        }
        (Literal::Date(v), DataType::Date32) => Arc::new(Date32Array::from_value(*v, rows)),
        (Literal::Timestamp(v), DataType::Timestamp(_, zone)) => {
            Arc::new(TimestampMicrosecondArray::from_value(*v, rows).with_timezone_opt(zone.clone()))
        }
        _ => return None,
    };
    Some(array)
}

/// Applies a fallible function to the rows where both operands are not null.
fn zip_with<A, B, O>(
    a: &dyn Array,
    b: &dyn Array,
    errors: &mut RowErrors,
    function: impl Fn(A::Native, B::Native) -> Result<O::Native, SqlState>,
) -> PrimitiveArray<O>
where
    A: ArrowPrimitiveType,
    B: ArrowPrimitiveType,
    O: ArrowPrimitiveType,
{
    let nulls = NullBuffer::union(a.nulls(), b.nulls());
    let (a, b) = (a.as_primitive::<A>().values(), b.as_primitive::<B>().values());
    let mut value = |row: usize, (a, b): (&A::Native, &B::Native)| match function(*a, *b) {
        Ok(value) => value,
        Err(sqlstate) => {
            if nulls.as_ref().is_none_or(|n| n.is_valid(row)) {
                errors.mark(row, sqlstate);
            }
            O::Native::default()
        }
    };
    let values: Vec<O::Native> =
        a.iter().zip(b.iter()).enumerate().map(|(row, pair)| value(row, pair)).collect();
    PrimitiveArray::new(values.into(), nulls)
}

fn map<A: ArrowPrimitiveType, O: ArrowPrimitiveType>(
    a: &dyn Array,
    errors: &mut RowErrors,
    function: impl Fn(A::Native) -> Result<O::Native, SqlState>,
) -> PrimitiveArray<O> {
    zip_with::<A, A, O>(a, a, errors, |a, _| function(a))
}

/// Number types of arithmetic; decimals have their own functions because of their scale.
pub(crate) trait Number: Copy {
    fn compute(operator: Arithmetic, a: Self, b: Self) -> Result<Self, SqlState>;
}

macro_rules! integer {
    ($($native:ty),*) => {$(
        impl Number for $native {
            #[inline(always)]
            fn compute(operator: Arithmetic, a: Self, b: Self) -> Result<Self, SqlState> {
                let value = match operator {
                    Arithmetic::Add => a.checked_add(b),
                    Arithmetic::Subtract => a.checked_sub(b),
                    Arithmetic::Multiply => a.checked_mul(b),
                    Arithmetic::Divide | Arithmetic::Remainder if b == 0 => {
                        return Err(SqlState::DIVISION_BY_ZERO);
                    }
                    Arithmetic::Divide => a.checked_div(b),
                    // The least integer divided by -1 leaves no remainder.
                    Arithmetic::Remainder => Some(a.wrapping_rem(b)),
                };
                value.ok_or(SqlState::NUMERIC_VALUE_OUT_OF_RANGE)
            }
        }
    )*};
}
integer!(i16, i32, i64);

macro_rules! float {
    ($($native:ty),*) => {$(
        impl Number for $native {
            #[inline(always)]
            fn compute(operator: Arithmetic, a: Self, b: Self) -> Result<Self, SqlState> {
                let value = match operator {
                    Arithmetic::Add => a + b,
                    Arithmetic::Subtract => a - b,
                    Arithmetic::Multiply => a * b,
                    Arithmetic::Divide | Arithmetic::Remainder if b == 0.0 => {
                        return Err(SqlState::DIVISION_BY_ZERO);
                    }
                    Arithmetic::Divide => a / b,
                    Arithmetic::Remainder => a % b,
                };
                if value.is_infinite() && a.is_finite() && b.is_finite() {
                    return Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE);
                }
                // The bits of a resulting NaN differ between machines.
                Ok(if value.is_nan() { <$native>::NAN } else { value })
            }
        }
    )*};
}
float!(f32, f64);

/// Arithmetic on unscaled values of one precision and scale; quotients and products are rounded half away from zero.
pub(crate) fn compute_decimal(
    operator: Arithmetic,
    a: i128,
    b: i128,
    precision: u8,
    scale: i8,
) -> Result<i128, SqlState> {
    let out_of_range = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
    let wide = |v: i128| i256::from_i128(v);
    let unit = || power_of_ten(scale.unsigned_abs()).map(wide).ok_or(out_of_range);
    let value = match operator {
        Arithmetic::Add => a.checked_add(b),
        Arithmetic::Subtract => a.checked_sub(b),
        Arithmetic::Divide | Arithmetic::Remainder if b == 0 => return Err(SqlState::DIVISION_BY_ZERO),
        Arithmetic::Remainder => Some(a.wrapping_rem(b)),
        Arithmetic::Multiply if scale >= 0 => {
            wide(a).checked_mul(wide(b)).and_then(|p| rounded(p, unit().ok()?))
        }
        Arithmetic::Multiply => {
            wide(a).checked_mul(wide(b)).and_then(|p| p.checked_mul(unit().ok()?)).and_then(i256::to_i128)
        }
        Arithmetic::Divide if scale >= 0 => wide(a).checked_mul(unit()?).and_then(|n| rounded(n, wide(b))),
        Arithmetic::Divide => wide(b).checked_mul(unit()?).and_then(|d| rounded(wide(a), d)),
    };
    in_precision(value.ok_or(out_of_range)?, precision)
}

/// Quotient, rounded half away from zero.
fn rounded(numerator: i256, divisor: i256) -> Option<i128> {
    let quotient = numerator.checked_div(divisor)?;
    let rest = numerator.checked_rem(divisor)?;
    let twice = rest.wrapping_abs().checked_mul(i256::from_i128(2))?;
    if twice < divisor.wrapping_abs() {
        return quotient.to_i128();
    }
    let away = if numerator.is_negative() == divisor.is_negative() { i256::ONE } else { i256::MINUS_ONE };
    quotient.checked_add(away)?.to_i128()
}

fn power_of_ten(exponent: u8) -> Option<i128> {
    10i128.checked_pow(exponent.into())
}

/// By multiplication, whose result is the same on every machine; `powi` does not guarantee that.
fn float_power_of_ten(exponent: i8) -> f64 {
    let power = (0..exponent.unsigned_abs()).fold(1.0, |power, _| power * 10.0);
    if exponent.is_negative() { 1.0 / power } else { power }
}

/// The decimal, if it has at most `precision` digits.
pub(crate) fn in_precision(value: i128, precision: u8) -> Result<i128, SqlState> {
    let bound = power_of_ten(precision).unwrap_or(i128::MAX);
    if value.unsigned_abs() < bound.unsigned_abs() {
        Ok(value)
    } else {
        Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE)
    }
}

fn arithmetic(operator: Arithmetic, a: &ArrayRef, b: &ArrayRef, errors: &mut RowErrors) -> Option<ArrayRef> {
    fn of<T: ArrowPrimitiveType<Native: Number>>(
        operator: Arithmetic,
        a: &ArrayRef,
        b: &ArrayRef,
        errors: &mut RowErrors,
    ) -> Option<ArrayRef> {
        Some(Arc::new(zip_with::<T, T, T>(a, b, errors, |a, b| Number::compute(operator, a, b))))
    }
    if a.data_type() != b.data_type() {
        return None;
    }
    match a.data_type() {
        DataType::Int16 => of::<Int16Type>(operator, a, b, errors),
        DataType::Int32 => of::<Int32Type>(operator, a, b, errors),
        DataType::Int64 => of::<Int64Type>(operator, a, b, errors),
        DataType::Float32 => of::<Float32Type>(operator, a, b, errors),
        DataType::Float64 => of::<Float64Type>(operator, a, b, errors),
        DataType::Decimal128(precision, scale) => {
            let values = zip_with::<Decimal128Type, Decimal128Type, Decimal128Type>(a, b, errors, |a, b| {
                compute_decimal(operator, a, b, *precision, *scale)
            });
            Some(Arc::new(values.with_data_type(a.data_type().clone())))
        }
        _ => None,
    }
}

fn quotient(how: Quotient, a: &ArrayRef, b: &ArrayRef, errors: &mut RowErrors) -> Option<ArrayRef> {
    let (DataType::Decimal128(_, a_scale), DataType::Decimal128(_, b_scale)) = (a.data_type(), b.data_type())
    else {
        return None;
    };
    let values = zip_with::<Decimal128Type, Decimal128Type, Decimal128Type>(a, b, errors, |a, b| {
        how.of((a, *a_scale), (b, *b_scale))
    });
    let to = how.to.arrow();
    matches!(to, DataType::Decimal128(..)).then(|| Arc::new(values.with_data_type(to)) as ArrayRef)
}

fn negate(a: &ArrayRef, errors: &mut RowErrors) -> Option<ArrayRef> {
    let out_of_range = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
    Some(match a.data_type() {
        DataType::Int16 => {
            Arc::new(map::<Int16Type, Int16Type>(a, errors, |v| v.checked_neg().ok_or(out_of_range)))
        }
        DataType::Int32 => {
            Arc::new(map::<Int32Type, Int32Type>(a, errors, |v| v.checked_neg().ok_or(out_of_range)))
        }
        DataType::Int64 => {
            Arc::new(map::<Int64Type, Int64Type>(a, errors, |v| v.checked_neg().ok_or(out_of_range)))
        }
        DataType::Float32 => Arc::new(map::<Float32Type, Float32Type>(a, errors, |v| Ok(-v))),
        DataType::Float64 => Arc::new(map::<Float64Type, Float64Type>(a, errors, |v| Ok(-v))),
        DataType::Decimal128(..) => {
            let negative = map::<Decimal128Type, Decimal128Type>(a, errors, |v| Ok(v.wrapping_neg()));
            Arc::new(negative.with_data_type(a.data_type().clone()))
        }
        _ => return None,
    })
}

/// PostgreSQL's order of floats.
pub(crate) fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Runs `$body` with `$order`, a function from a row to the order of two columns' values there, nulls aside. None if
/// the columns are of different types.
macro_rules! with_order {
    ($a:expr, $b:expr, $order:ident => $body:expr) => {{
        macro_rules! primitives {
            ($type:ty, $compare:expr) => {{
                let (x, y) = ($a.as_primitive::<$type>().values(), $b.as_primitive::<$type>().values());
                let $order = |row: usize| $compare(&x[row], &y[row]);
                Some($body)
            }};
        }
        if $a.data_type() != $b.data_type() {
            None
        } else {
            match $a.data_type() {
                DataType::Boolean => {
                    let (x, y) = ($a.as_boolean(), $b.as_boolean());
                    let $order = |row: usize| x.value(row).cmp(&y.value(row));
                    Some($body)
                }
                DataType::Int16 => primitives!(Int16Type, Ord::cmp),
                DataType::Int32 => primitives!(Int32Type, Ord::cmp),
                DataType::Int64 => primitives!(Int64Type, Ord::cmp),
                DataType::Date32 => primitives!(Date32Type, Ord::cmp),
                DataType::Timestamp(..) => primitives!(TimestampMicrosecondType, Ord::cmp),
                DataType::Decimal128(..) => primitives!(Decimal128Type, Ord::cmp),
                DataType::Float32 => {
                    primitives!(Float32Type, |a: &f32, b: &f32| compare_floats((*a).into(), (*b).into()))
                }
                DataType::Float64 => primitives!(Float64Type, |a: &f64, b: &f64| compare_floats(*a, *b)),
                DataType::Utf8 => {
                    let (x, y) = ($a.as_string::<i32>(), $b.as_string::<i32>());
                    let $order = |row: usize| x.value(row).as_bytes().cmp(y.value(row).as_bytes());
                    Some($body)
                }
                DataType::Binary => {
                    let (x, y) = ($a.as_binary::<i32>(), $b.as_binary::<i32>());
                    let $order = |row: usize| x.value(row).cmp(y.value(row));
                    Some($body)
                }
                _ => None,
            }
        }
    }};
}

fn compare(comparison: Comparison, a: &ArrayRef, b: &ArrayRef) -> Option<ArrayRef> {
    let holds = |order: Ordering| match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    };
    let values: BooleanBuffer =
        with_order!(a, b, order => (0..a.len()).map(|row| holds(order(row))).collect())?;
    Some(Arc::new(BooleanArray::new(values, NullBuffer::union(a.nulls(), b.nulls()))))
}

fn booleans(array: &ArrayRef) -> Option<&BooleanArray> {
    array.as_boolean_opt()
}

fn logic(
    a: &Expr,
    b: &Expr,
    scope: Scope<'_>,
    errors: &mut RowErrors,
    function: impl Fn(Option<bool>, Option<bool>) -> Option<bool>,
) -> Option<ArrayRef> {
    let (a, b) = (evaluate(a, scope, errors), evaluate(b, scope, errors));
    let (a, b) = (booleans(&a)?, booleans(&b)?);
    Some(Arc::new(a.iter().zip(b.iter()).map(|(a, b)| function(a, b)).collect::<BooleanArray>()))
}

/// Values of `a` where `mask` is set, else of `b`. None if they are of different types.
pub(crate) fn choose(mask: &BooleanBuffer, a: &ArrayRef, b: &ArrayRef) -> Option<ArrayRef> {
    if a.data_type() != b.data_type() {
        return None;
    }
    if mask.count_set_bits() == mask.len() {
        return Some(Arc::clone(a));
    }
    let mask = BooleanArray::new(mask.clone(), None);
    Some(zip(&mask, &a.as_ref(), &b.as_ref()).expect("columns of one type and length"))
}

fn valid(array: &ArrayRef) -> BooleanBuffer {
    array.nulls().map_or_else(|| BooleanBuffer::new_set(array.len()), |n| n.inner().clone())
}

fn coalesce(operands: &[Expr], scope: Scope<'_>, errors: &mut RowErrors) -> Option<ArrayRef> {
    let (first, rest) = operands.split_first()?;
    let mut value = evaluate(first, scope, errors);
    for operand in rest {
        let found = valid(&value);
        let mut own = RowErrors::default();
        let next = evaluate(operand, scope, &mut own);
        errors.merge(&own, |row| !found.value(row));
        value = choose(&found, &value, &next)?;
    }
    Some(value)
}

fn extreme(
    operands: &[Expr],
    wanted: Ordering,
    scope: Scope<'_>,
    errors: &mut RowErrors,
) -> Option<ArrayRef> {
    let (first, rest) = operands.split_first()?;
    let mut best = evaluate(first, scope, errors);
    for operand in rest {
        let next = evaluate(operand, scope, errors);
        let beats: BooleanBuffer = with_order!(next, best, order => {
            let beats = |row| next.is_valid(row) && (best.is_null(row) || order(row) == wanted);
            (0..scope.rows).map(beats).collect()
        })?;
        best = choose(&beats, &next, &best)?;
    }
    Some(best)
}

fn case(
    branches: &[(Expr, Expr)],
    otherwise: &Expr,
    scope: Scope<'_>,
    errors: &mut RowErrors,
) -> Option<ArrayRef> {
    let mut open = BooleanBuffer::new_set(scope.rows);
    let mut result: Option<ArrayRef> = None;
    for (condition, value) in branches {
        let mut own = RowErrors::default();
        let condition = evaluate(condition, scope, &mut own);
        errors.merge(&own, |row| open.value(row));
        let condition = booleans(&condition)?;
        let holds = condition.values() & &valid_of(condition);
        let taken = &open & &holds;
        let mut own = RowErrors::default();
        let value = evaluate(value, scope, &mut own);
        errors.merge(&own, |row| taken.value(row));
        result = Some(match result {
            Some(before) => choose(&taken, &value, &before)?,
            None => value,
        });
        open = &open & &!&taken;
    }
    let mut own = RowErrors::default();
    let value = evaluate(otherwise, scope, &mut own);
    errors.merge(&own, |row| open.value(row));
    match result {
        Some(before) => choose(&open, &value, &before),
        None => Some(value),
    }
}

fn valid_of(array: &BooleanArray) -> BooleanBuffer {
    array.nulls().map_or_else(|| BooleanBuffer::new_set(array.len()), |n| n.inner().clone())
}

/// Most bytes of text in the result of one evaluation; further rows fail. Arrow's offsets have 31 bits.
const TEXT_BYTES_MAX: usize = 1 << 30;

fn concatenate(a: &ArrayRef, b: &ArrayRef, errors: &mut RowErrors) -> Option<ArrayRef> {
    let (a, b) = (a.as_string_opt::<i32>()?, b.as_string_opt::<i32>()?);
    let nulls = NullBuffer::union(a.nulls(), b.nulls());
    let mut text = Vec::with_capacity(a.value_data().len());
    let mut ends = Vec::with_capacity(a.len());
    ends.push(0i32);
    for row in 0..a.len() {
        if nulls.as_ref().is_none_or(|n| n.is_valid(row)) {
            let (a, b) = (a.value(row).as_bytes(), b.value(row).as_bytes());
            if text.len() + a.len() + b.len() > TEXT_BYTES_MAX {
                errors.mark(row, SqlState::OUT_OF_MEMORY);
            } else {
                text.extend_from_slice(a);
                text.extend_from_slice(b);
            }
        }
        ends.push(text.len() as i32);
    }
    let array = StringArray::try_new(OffsetBuffer::new(ends.into()), text.into(), nulls);
    Some(Arc::new(array.expect("text that follows text is text")))
}

/// Texts of at most so many characters; rows with longer ones fail.
fn fit(a: &ArrayRef, max_chars: usize, errors: &mut RowErrors) -> Option<ArrayRef> {
    let texts = a.as_string_opt::<i32>()?;
    let fitting: StringArray = texts
        .iter()
        .enumerate()
        .map(|(row, text)| {
            let text = text?;
            if let Some(len) = fitting_len(text.as_bytes(), max_chars) {
                return Some(&text[..len]);
            }
            errors.mark(row, SqlState::STRING_DATA_RIGHT_TRUNCATION);
            Some(&text[..chars_len(text.as_bytes(), max_chars)])
        })
        .collect();
    Some(Arc::new(fitting))
}

fn cast(a: &ArrayRef, to: ColumnType, errors: &mut RowErrors) -> Option<ArrayRef> {
    if let Some(max_chars) = to.max_chars() {
        return fit(a, max_chars, errors);
    }
    let to = to.arrow();
    if *a.data_type() == to {
        return Some(Arc::clone(a));
    }
    match a.data_type() {
        DataType::Int16 => from_integer::<Int16Type>(a, &to, errors, i64::from),
        DataType::Int32 => from_integer::<Int32Type>(a, &to, errors, i64::from),
        DataType::Int64 => from_integer::<Int64Type>(a, &to, errors, |v| v),
        DataType::Float32 => from_float::<Float32Type>(a, &to, errors, REAL_DIGITS, f64::from),
        DataType::Float64 => from_float::<Float64Type>(a, &to, errors, DOUBLE_DIGITS, |v| v),
        DataType::Decimal128(_, scale) => from_decimal(a, *scale, &to, errors),
        _ => None,
    }
}

/// The common part of casts: to integers, or to numbers by `decimal`. `real` and `float` round once, from all digits.
fn cast_to<A: ArrowPrimitiveType>(
    a: &ArrayRef,
    to: &DataType,
    errors: &mut RowErrors,
    integer: impl Fn(A::Native) -> Option<i64>,
    real: impl Fn(A::Native) -> f32,
    float: impl Fn(A::Native) -> f64,
    decimal: impl Fn(A::Native, i8) -> Option<i128>,
) -> Option<ArrayRef> {
    let out_of_range = SqlState::NUMERIC_VALUE_OUT_OF_RANGE;
    Some(match to {
        DataType::Int16 => Arc::new(map::<A, Int16Type>(a, errors, |v| {
            integer(v).and_then(|v| v.try_into().ok()).ok_or(out_of_range)
        })),
        DataType::Int32 => Arc::new(map::<A, Int32Type>(a, errors, |v| {
            integer(v).and_then(|v| v.try_into().ok()).ok_or(out_of_range)
        })),
        DataType::Int64 => Arc::new(map::<A, Int64Type>(a, errors, |v| integer(v).ok_or(out_of_range))),
        DataType::Float32 => Arc::new(map::<A, Float32Type>(a, errors, |v| {
            let (wide, narrow) = (float(v), real(v));
            if narrow.is_infinite() && wide.is_finite() {
                return Err(out_of_range);
            }
            Ok(if narrow.is_nan() { f32::NAN } else { narrow })
        })),
        DataType::Float64 => Arc::new(map::<A, Float64Type>(a, errors, |v| {
            let wide = float(v);
            Ok(if wide.is_nan() { f64::NAN } else { wide })
        })),
        DataType::Decimal128(precision, scale) => {
            let values = map::<A, Decimal128Type>(a, errors, |v| {
                decimal(v, *scale).ok_or(out_of_range).and_then(|v| in_precision(v, *precision))
            });
            Arc::new(values.with_data_type(to.clone()))
        }
        _ => return None,
    })
}

fn from_integer<A: ArrowPrimitiveType>(
    a: &ArrayRef,
    to: &DataType,
    errors: &mut RowErrors,
    widen: impl Fn(A::Native) -> i64,
) -> Option<ArrayRef> {
    cast_to::<A>(
        a,
        to,
        errors,
        |v| Some(widen(v)),
        |v| widen(v) as f32,
        |v| widen(v) as f64,
        |v, scale| rescale(widen(v).into(), 0, scale),
    )
}

/// Decimal digits of a float in PostgreSQL's cast to numeric.
const REAL_DIGITS: usize = 6;
const DOUBLE_DIGITS: usize = 15;

fn from_float<A: ArrowPrimitiveType>(
    a: &ArrayRef,
    to: &DataType,
    errors: &mut RowErrors,
    digits: usize,
    widen: impl Fn(A::Native) -> f64,
) -> Option<ArrayRef> {
    let whole = |v: f64, bound: f64| (v >= -bound && v < bound).then_some(v);
    cast_to::<A>(
        a,
        to,
        errors,
        |v| whole(widen(v).round_ties_even(), 9_223_372_036_854_775_808.0).map(|v| v as i64),
        |v| widen(v) as f32,
        &widen,
        |v, scale| float_to_decimal(widen(v), digits, scale),
    )
}

/// The parts of a number in scientific notation, parsed while it is written.
#[derive(Default)]
struct Written {
    /// Its digits, without sign and point.
    magnitude: i128,
    exponent: i32,
    /// The sign of the exponent, once the exponent has started.
    exponent_sign: Option<i32>,
}

impl fmt::Write for Written {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            match (byte, self.exponent_sign) {
                (b'e', _) => self.exponent_sign = Some(1),
                (b'-', Some(_)) => self.exponent_sign = Some(-1),
                (b'0'..=b'9', None) => self.magnitude = self.magnitude * 10 + i128::from(byte - b'0'),
                (b'0'..=b'9', Some(sign)) => {
                    self.exponent = self.exponent * 10 + sign * i32::from(byte - b'0')
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The first digits of a float as a decimal of this scale, rounded half away from zero. None: too large, or not a
/// number.
fn float_to_decimal(value: f64, digits: usize, scale: i8) -> Option<i128> {
    if !value.is_finite() {
        return None;
    }
    let mut written = Written::default();
    write!(written, "{value:.*e}", digits - 1).ok()?;
    let unscaled = if value < 0.0 { -written.magnitude } else { written.magnitude };
    // Zeros to append; a negative number: digits to remove.
    match written.exponent - (digits as i32 - 1) + i32::from(scale) {
        _ if unscaled == 0 => Some(0),
        zeros @ 0.. => unscaled.checked_mul(power_of_ten(u8::try_from(zeros).ok()?)?),
        fewer => match u8::try_from(-fewer).ok().and_then(power_of_ten) {
            Some(unit) => rounded(i256::from_i128(unscaled), i256::from_i128(unit)),
            None => Some(0),
        },
    }
}

fn from_decimal(a: &ArrayRef, from: i8, to: &DataType, errors: &mut RowErrors) -> Option<ArrayRef> {
    cast_to::<Decimal128Type>(
        a,
        to,
        errors,
        |v| rescale(v, from, 0).and_then(|v| v.try_into().ok()),
        |v| decimal_to_real(v, from),
        |v| decimal_to_float(v, from),
        |v, scale| rescale(v, from, scale),
    )
}

/// If both numbers are exact doubles, their quotient is rounded once, without a text; other numbers are parsed from
/// their digits.
fn decimal_to_float(unscaled: i128, scale: i8) -> f64 {
    if unscaled.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS && (0..=22).contains(&scale) {
        return unscaled as f64 / float_power_of_ten(scale);
    }
    nearest(unscaled, scale)
}

/// As [`decimal_to_float`], in single precision.
fn decimal_to_real(unscaled: i128, scale: i8) -> f32 {
    if unscaled.unsigned_abs() <= 1 << f32::MANTISSA_DIGITS && (0..=10).contains(&scale) {
        return unscaled as f32 / float_power_of_ten(scale) as f32;
    }
    nearest(unscaled, scale)
}

/// The nearest number to all digits, rounded once.
fn nearest<F: FromStr<Err: Debug>>(unscaled: i128, scale: i8) -> F {
    format!("{unscaled}e{}", -i16::from(scale)).parse().expect("digits and an exponent are a number")
}

/// An unscaled value at another scale, rounded half away from zero.
fn rescale(value: i128, from: i8, to: i8) -> Option<i128> {
    let shift = i16::from(to) - i16::from(from);
    let factor = power_of_ten(u8::try_from(shift.unsigned_abs()).ok()?);
    if shift >= 0 {
        return if value == 0 { Some(0) } else { value.checked_mul(factor?) };
    }
    match factor {
        Some(factor) => rounded(i256::from_i128(value), i256::from_i128(factor)),
        None => Some(0),
    }
}

#[cfg(test)]
mod tests;
