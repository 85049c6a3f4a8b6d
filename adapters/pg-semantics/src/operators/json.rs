//! Operators of jsonb, as calls of PostgreSQL's functions behind them.

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Operator, cast};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{Operand, called, no_operator};
use crate::types::{Base, PgType};

fn is_json(operand: &Operand) -> bool {
    !operand.open && operand.base() == Some(Base::Jsonb)
}

/// Plans an operator with jsonb on either side. None: not of this family.
pub fn plan(op: &BinaryOperator, left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    if !is_json(left) && !is_json(right) {
        return Ok(None);
    }
    let by_index = !right.open && matches!(right.base(), Some(Base::Int2 | Base::Int4));
    let name = match op {
        BinaryOperator::Arrow if by_index => "jsonb_array_element",
        BinaryOperator::Arrow => "jsonb_object_field",
        BinaryOperator::LongArrow if by_index => "jsonb_array_element_text",
        BinaryOperator::LongArrow => "jsonb_object_field_text",
        BinaryOperator::HashArrow => "jsonb_get_path",
        BinaryOperator::HashLongArrow => "jsonb_get_path_text",
        BinaryOperator::AtArrow => "jsonb_contains",
        BinaryOperator::ArrowAt => "jsonb_contained",
        BinaryOperator::Question => "jsonb_exists",
        BinaryOperator::QuestionPipe => "jsonb_exists_any",
        BinaryOperator::QuestionAnd => "jsonb_exists_all",
        BinaryOperator::HashMinus => "jsonb_delete_path",
        BinaryOperator::Minus if is_json(left) => "jsonb_delete",
        // Text and jsonb are concatenated as texts; `||` of jsonb and a literal parses the literal.
        BinaryOperator::StringConcat if is_json(left) && is_json(right) || left.open || right.open => {
            "jsonb_concat"
        }
        BinaryOperator::StringConcat => return Ok(None),
        _ => return Err(no_operator(&op.to_string(), left, right).into()),
    };
    // A literal of unknown type is a text, a path or a document, depending on the function.
    match called(name, vec![left.clone(), right.clone()]) {
        Ok(call) => Ok(Some(call)),
        Err(_) => Err(no_operator(&op.to_string(), left, right).into()),
    }
}

/// A comparison with jsonb on either side.
pub fn compare(op: Operator, left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    if !is_json(left) && !is_json(right) {
        return Ok(None);
    }
    let name = match op {
        Operator::Eq => "jsonb_eq",
        Operator::NotEq => "jsonb_ne",
        Operator::Lt => "jsonb_lt",
        Operator::LtEq => "jsonb_le",
        Operator::Gt => "jsonb_gt",
        Operator::GtEq => "jsonb_ge",
        _ => return Ok(None),
    };
    match called(name, vec![left.clone(), right.clone()]) {
        Ok(call) => Ok(Some(call)),
        Err(_) => Err(no_operator(&op.to_string(), left, right).into()),
    }
}

/// The plan of a cast of a jsonb value.
pub enum Casted {
    /// This expression.
    As(Expr),
    /// The cast of this text.
    Text(Expr),
    /// There is none.
    Never,
}

/// A cast of a jsonb value to `into`.
pub fn cast_from(value: &Operand, into: &Field) -> Result<Casted> {
    let number = || {
        let name = Expr::Literal(ScalarValue::Utf8(Some(PgType::of(into).sql_name())), None);
        called("jsonb_number", vec![value.clone(), Operand::literal(name)])
    };
    Ok(match into.data_type() {
        DataType::Utf8 => Casted::As(called("jsonb_out", vec![value.clone()])?),
        DataType::Boolean => Casted::As(called("jsonb_bool", vec![value.clone()])?),
        // Through numeric, which rounds.
        DataType::Int16 | DataType::Int32 | DataType::Int64 => {
            let numeric = cast(number()?, DataType::Decimal128(38, 10));
            Casted::As(cast(numeric, into.data_type().clone()))
        }
        DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) | DataType::Decimal256(..) => {
            Casted::Text(number()?)
        }
        _ => Casted::Never,
    })
}
