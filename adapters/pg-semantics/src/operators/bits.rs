//! Operators on the bits of integers: `&`, `|`, `#`, `<<` and `>>`. They are our functions, because the optimizer
//! replaces `x # x` by 0 even if x is null.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use datafusion::arrow::datatypes::{DataType, Int16Type, Int32Type, Int64Type};
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::numeric::common_number;
use super::{Operand, call, no_operator};

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Operation {
    And,
    Or,
    Xor,
    Left,
    Right,
}

/// Plans an operator on bits. None: not of this family.
pub fn plan(op: &BinaryOperator, left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    let operation = match op {
        BinaryOperator::BitwiseAnd => Operation::And,
        BinaryOperator::BitwiseOr => Operation::Or,
        BinaryOperator::PGBitwiseXor => Operation::Xor,
        BinaryOperator::PGBitwiseShiftLeft => Operation::Left,
        BinaryOperator::PGBitwiseShiftRight => Operation::Right,
        _ => return Ok(None),
    };
    let integer = |o: &Operand| !o.open && o.arrow().is_integer();
    let fits = match (integer(left), integer(right)) {
        (true, true) => true,
        (true, false) => right.open,
        (false, true) => left.open,
        _ => false,
    };
    if !fits {
        return Err(no_operator(&op.to_string(), left, right).into());
    }
    let shifts = matches!(operation, Operation::Left | Operation::Right);
    let known = |o: &Operand| if o.open { DataType::Int32 } else { o.arrow().clone() };
    let (l, r) = match shifts {
        // The number of places: an integer.
        true if known(right) == DataType::Int64 => {
            return Err(no_operator(&op.to_string(), left, right).into());
        }
        true => (known(left), DataType::Int32),
        false => {
            let l = if left.open { known(right) } else { known(left) };
            let r = if right.open { l.clone() } else { known(right) };
            let common = common_number(&l, &r).unwrap_or(DataType::Int64);
            (common.clone(), common)
        }
    };
    let function = Bits { operation, signature: Signature::any(2, Volatility::Immutable) };
    Ok(Some(call(function, vec![left.as_type(&l), right.as_type(&r)])))
}

/// An operation on two integers.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Bits {
    operation: Operation,
    signature: Signature,
}

/// Places of a shift modulo the width of the type, as processors do.
trait Word: Copy {
    fn and(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn left(self, places: i32) -> Self;
    fn right(self, places: i32) -> Self;
}

macro_rules! words {
    ($($word:ty, $wide:ty;)*) => {
        $(impl Word for $word {
            fn and(self, other: $word) -> $word {
                self & other
            }
            fn or(self, other: $word) -> $word {
                self | other
            }
            fn xor(self, other: $word) -> $word {
                self ^ other
            }
            fn left(self, places: i32) -> $word {
                <$wide>::from(self).wrapping_shl(places as u32) as $word
            }
            fn right(self, places: i32) -> $word {
                <$wide>::from(self).wrapping_shr(places as u32) as $word
            }
        })*
    };
}

// A smallint is shifted as an integer, as in C.
words! { i16, i32; i32, i32; i64, i64; }

impl Bits {
    fn compute<T>(&self, left: &ArrayRef, right: &ArrayRef) -> ArrayRef
    where
        T: ArrowPrimitiveType,
        T::Native: Word,
    {
        let values = left.as_primitive::<T>();
        let of = |row: usize| {
            if left.is_null(row) || right.is_null(row) {
                return None;
            }
            let value = values.value(row);
            let other = || right.as_primitive::<T>().value(row);
            let places = || right.as_primitive::<Int32Type>().value(row);
            Some(match self.operation {
                Operation::And => value.and(other()),
                Operation::Or => value.or(other()),
                Operation::Xor => value.xor(other()),
                Operation::Left => value.left(places()),
                Operation::Right => value.right(places()),
            })
        };
        Arc::new((0..left.len()).map(of).collect::<PrimitiveArray<T>>())
    }
}

impl ScalarUDFImpl for Bits {
    fn name(&self) -> &str {
        match self.operation {
            Operation::And => "int_and",
            Operation::Or => "int_or",
            Operation::Xor => "int_xor",
            Operation::Left => "int_shl",
            Operation::Right => "int_shr",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [value, _] => Ok(value.clone()),
            _ => plan_err!("{} takes two values", self.name()),
        }
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { args.number_rows };
        let arrays = args.args.iter().map(|a| a.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let [left, right] = arrays.as_slice() else { return plan_err!("{} takes two values", self.name()) };
        let result = match left.data_type() {
            DataType::Int16 => self.compute::<Int16Type>(left, right),
            DataType::Int32 => self.compute::<Int32Type>(left, right),
            DataType::Int64 => self.compute::<Int64Type>(left, right),
            other => return plan_err!("{} of {other}", self.name()),
        };
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?),
            false => ColumnarValue::Array(result),
        })
    }
}
