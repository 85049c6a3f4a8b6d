//! Arithmetic of numbers: the types of results, and the functions that calculate them. Integers and floats fail where
//! they overflow; numerics are exact, and a quotient is rounded where PostgreSQL rounds it.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use datafusion::arrow::compute::kernels::numeric as kernels;
use datafusion::arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, Field, FieldRef, i256};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{Operand, call, no_operator};
use crate::arithmetic;
use crate::casts::convert::arrow_cast;
use crate::decimal::{self, DIGITS_MAX, Decimal, Digits};
use crate::error::{SqlError, SqlState};

/// Operations on numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)]
pub enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operation {
    fn of(op: &BinaryOperator) -> Option<Operation> {
        Some(match op {
            BinaryOperator::Plus => Operation::Add,
            BinaryOperator::Minus => Operation::Subtract,
            BinaryOperator::Multiply => Operation::Multiply,
            BinaryOperator::Divide => Operation::Divide,
            BinaryOperator::Modulo => Operation::Remainder,
            _ => return None,
        })
    }
}

/// Plans an operator if its operands are numbers, or one is and the type of the other is unknown. None: not of this
/// family.
pub fn plan(op: &BinaryOperator, left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    let Some(operation) = Operation::of(op) else { return Ok(None) };
    let (l, r) = (is_number(left.arrow()), is_number(right.arrow()));
    if !(l && (r || right.open) || r && left.open) {
        return Ok(None);
    }
    let (left_type, right_type) = match (l && !left.open, r && !right.open) {
        (true, true) => (left.arrow(), right.arrow()),
        (true, false) => (left.arrow(), left.arrow()),
        _ => (right.arrow(), right.arrow()),
    };
    let Some(common) = common_number(left_type, right_type) else { return Ok(None) };
    if common.is_floating() && operation == Operation::Remainder {
        return Err(no_operator("%", left, right).into());
    }
    if Digits::of(&common).is_some() && common.is_decimal() {
        let exact = |operand: &Operand, data_type: &DataType| {
            let into = Digits::of(data_type).map_or_else(|| data_type.clone(), Digits::arrow);
            operand.as_type(&into)
        };
        let args = vec![exact(left, left_type), exact(right, right_type)];
        return Ok(Some(call(Decimals::new(operation), args)));
    }
    let args = vec![left.as_type(&common), right.as_type(&common)];
    Ok(Some(arithmetic::call(operation, args)))
}

/// True for functions of operators on numbers: their arguments are resolved.
pub fn is_operation(function: &ScalarUDF) -> bool {
    let inner = function.inner().as_ref() as &dyn std::any::Any;
    inner.is::<Decimals>() || inner.is::<arithmetic::Checked>()
}

/// True for the types of numbers.
pub fn is_number(data_type: &DataType) -> bool {
    Digits::of(data_type).is_some() || data_type.is_floating()
}

/// The type in which two numbers are calculated: smallint, integer, bigint, numeric, real, double precision, whichever
/// comes last; with numeric, enough digits for the values of both.
pub fn common_number(left: &DataType, right: &DataType) -> Option<DataType> {
    if !is_number(left) || !is_number(right) {
        return None;
    }
    // real and anything else but real is double precision.
    if left.is_floating() || right.is_floating() {
        let both_real = matches!((left, right), (DataType::Float32, DataType::Float32));
        return Some(if both_real { DataType::Float32 } else { DataType::Float64 });
    }
    let (l, r) = (Digits::of(left)?, Digits::of(right)?);
    if left.is_integer() && right.is_integer() {
        return Some(if l.precision >= r.precision { left.clone() } else { right.clone() });
    }
    Some(l.union(r).arrow())
}

/// An operation on two numerics.
#[derive(PartialEq, Eq, Hash, Debug)]
pub struct Decimals {
    operation: Operation,
    signature: Signature,
}

impl Decimals {
    /// The function that carries out `operation`.
    pub fn new(operation: Operation) -> Decimals {
        Decimals { operation, signature: Signature::any(2, Volatility::Immutable) }
    }

    fn digits(&self, left: &DataType, right: &DataType) -> Result<Digits> {
        let (Some(left), Some(right)) = (Digits::of(left), Digits::of(right)) else {
            return plan_err!("{} of {left} and {right}", self.name());
        };
        Ok(match self.operation {
            Operation::Add | Operation::Subtract => left.sum(right),
            Operation::Multiply => left.product(right),
            Operation::Divide => left.quotient(right),
            Operation::Remainder => left.remainder(right),
        })
    }

    fn compute(&self, left: &ArrayRef, right: &ArrayRef) -> Result<ArrayRef> {
        let into = self.digits(left.data_type(), right.data_type())?;
        if let (DataType::Decimal128(..), Operation::Add | Operation::Subtract | Operation::Multiply) =
            (into.arrow(), self.operation)
        {
            // No overflow is possible: the type has enough digits for any result.
            let result = match self.operation {
                Operation::Add => kernels::add(left, right)?,
                Operation::Subtract => kernels::sub(left, right)?,
                _ => kernels::mul(left, right)?,
            };
            let result = result.as_primitive::<Decimal128Type>().clone();
            return Ok(Arc::new(result.with_precision_and_scale(into.precision as u8, into.scale as i8)?));
        }
        let (l, r) = (Wide::new(left)?, Wide::new(right)?);
        let rows = left.len();
        let mut values = Vec::with_capacity(rows);
        for row in 0..rows {
            let value = match (l.value(row), r.value(row)) {
                (Some(a), Some(b)) => Some(self.one(a, b, (l.shown_scale(a), r.shown_scale(b)), into)?),
                _ => None,
            };
            values.push(value);
        }
        from_wide(values, into)
    }

    fn one(&self, a: Decimal, b: Decimal, scales: (i32, i32), into: Digits) -> Result<i256> {
        let scaled = |d: Decimal| d.rescale(into.scale).map(|d| d.unscaled).ok_or_else(decimal::too_wide);
        let by_zero =
            matches!(self.operation, Operation::Divide | Operation::Remainder) && b.unscaled == i256::ZERO;
        if by_zero {
            return Err(SqlError::new(SqlState::DIVISION_BY_ZERO, "division by zero").into());
        }
        let value = match self.operation {
            Operation::Add => scaled(a)?.checked_add(scaled(b)?),
            Operation::Subtract => scaled(a)?.checked_sub(scaled(b)?),
            Operation::Multiply => Some(a.multiply(b, into.scale)?.unscaled),
            Operation::Divide => Some(a.divide(b, scales, into.scale)?.unscaled),
            Operation::Remainder => Some(scaled(a)?.wrapping_rem(scaled(b)?)),
        };
        let value = value.filter(|v| decimal::fits(*v, into.precision));
        Ok(value.ok_or_else(decimal::too_wide)?)
    }
}

/// The values of a column of decimals of either width.
pub struct Wide {
    values: Decimal256Array,
    scale: i32,
    /// The scale is that of a quotient: a value has as many digits as it shows.
    open: bool,
}

impl Wide {
    /// Of decimals or integers.
    pub fn new(values: &ArrayRef) -> Result<Wide> {
        let Some(digits) = Digits::of(values.data_type()) else {
            return plan_err!("{} is no exact number", values.data_type());
        };
        let wide = DataType::Decimal256(DIGITS_MAX, digits.scale as i8);
        let values = arrow_cast(values, &wide)?.as_primitive::<Decimal256Type>().clone();
        Ok(Wide { values, scale: digits.scale, open: digits.precision == i32::from(DIGITS_MAX) })
    }

    /// The value of a row; None for NULL.
    pub fn value(&self, row: usize) -> Option<Decimal> {
        let valid = self.values.is_valid(row);
        valid.then(|| Decimal { unscaled: self.values.value(row), scale: self.scale })
    }

    /// Digits after the point that PostgreSQL's value has.
    pub fn shown_scale(&self, value: Decimal) -> i32 {
        if self.open { value.digits_behind_point() } else { self.scale }
    }
}

/// Values as a column of so many digits, which they fit into.
pub fn from_wide(values: Vec<Option<i256>>, into: Digits) -> Result<ArrayRef> {
    let (precision, scale) = (into.precision as u8, into.scale as i8);
    Ok(match into.arrow() {
        DataType::Decimal128(..) => {
            let narrow = |v: i256| v.to_i128().ok_or_else(decimal::too_wide);
            let values = values.into_iter().map(|v| v.map(narrow).transpose());
            let values = values.collect::<crate::error::Result<Decimal128Array>>()?;
            Arc::new(values.with_precision_and_scale(precision, scale)?)
        }
        _ => {
            let values = values.into_iter().collect::<Decimal256Array>();
            Arc::new(values.with_precision_and_scale(precision, scale)?)
        }
    })
}

impl ScalarUDFImpl for Decimals {
    fn name(&self) -> &str {
        match self.operation {
            Operation::Add => "numeric_add",
            Operation::Subtract => "numeric_sub",
            Operation::Multiply => "numeric_mul",
            Operation::Divide => "numeric_div",
            Operation::Remainder => "numeric_mod",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [left, right] => Ok(self.digits(left, right)?.arrow()),
            _ => plan_err!("{} takes two values", self.name()),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        let nullable = args.arg_fields.iter().any(|f| f.is_nullable());
        Ok(Field::new(self.name(), self.return_type(&types)?, nullable).into())
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let [left, right] = arrays.as_slice() else {
            return plan_err!("{} takes two values", self.name());
        };
        let result = self.compute(left, right)?;
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}
