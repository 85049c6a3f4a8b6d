//! Operators of text and bytea: `||`, patterns, `^@`.

use datafusion::arrow::datatypes::DataType;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, Like};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use super::{Operand, called};
use crate::types::{Base, PgType};

/// True for texts of any kind, and literals that can be one.
fn is_text(operand: &Operand) -> bool {
    operand.open
        || matches!(operand.base(), Some(Base::Text | Base::Varchar | Base::Bpchar | Base::Name | Base::Char))
}

/// Plans an operator of texts. None: not of this family.
pub fn plan(op: &BinaryOperator, left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    if *op == BinaryOperator::StringConcat {
        return concat(left, right);
    }
    if !is_text(left) || !is_text(right) {
        return Ok(None);
    }
    let call = |name: &str| called(name, vec![left.clone(), right.clone()]);
    let like = |negated: bool, any_case: bool| {
        let side = |operand: &Operand| {
            let text = operand.as_type(&DataType::Utf8);
            if any_case { called("lower", vec![Operand { expr: text, ..operand.clone() }]) } else { Ok(text) }
        };
        Ok::<_, datafusion::error::DataFusionError>(Expr::Like(Like::new(
            negated,
            Box::new(side(left)?),
            Box::new(side(right)?),
            None,
            false,
        )))
    };
    Ok(Some(match op {
        BinaryOperator::PGRegexMatch => call("textregexeq")?,
        BinaryOperator::PGRegexIMatch => call("texticregexeq")?,
        BinaryOperator::PGRegexNotMatch => Expr::Not(Box::new(call("textregexeq")?)),
        BinaryOperator::PGRegexNotIMatch => Expr::Not(Box::new(call("texticregexeq")?)),
        BinaryOperator::PGLikeMatch => like(false, false)?,
        BinaryOperator::PGNotLikeMatch => like(true, false)?,
        BinaryOperator::PGILikeMatch => like(false, true)?,
        BinaryOperator::PGNotILikeMatch => like(true, true)?,
        BinaryOperator::PGStartsWith => call("starts_with")?,
        _ => return Ok(None),
    }))
}

/// Text beside anything but an array is text; bytea beside bytea is bytea.
fn concat(left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    let is_bytea = |o: &Operand| !o.open && o.base() == Some(Base::Bytea);
    let is_array = |o: &Operand| !o.open && matches!(o.pg(), PgType::Array(_));
    if is_array(left) || is_array(right) {
        return Ok(None);
    }
    if is_bytea(left) && (is_bytea(right) || right.open) || is_bytea(right) && left.open {
        return Ok(Some(called("byteacat", vec![left.clone(), right.clone()])?));
    }
    if !is_text(left) && !is_text(right) {
        return Ok(None);
    }
    let as_text = |operand: &Operand| -> Result<Operand> {
        if is_text(operand) {
            return Ok(operand.clone());
        }
        let expr = super::cast_to_text(operand)?;
        Ok(operand.clone().retyped(expr, DataType::Utf8))
    };
    Ok(Some(called("textcat", vec![as_text(left)?, as_text(right)?])?))
}
