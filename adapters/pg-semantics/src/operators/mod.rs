//! Operators as PostgreSQL resolves them. Every binary operator of a statement passes through [`Operators`] while it is planned:
//! the types of its operands decide what it means, and which of them are converted. What is planned here needs no coercion by
//! DataFusion any more. One module for each family of types; what no family knows is refused.

mod compare;
mod label;
mod numeric;
mod operand;
pub mod roots;
mod settle;
mod time;

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawBinaryExpr};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, ScalarUDF};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::error::{SqlError, state};

pub use numeric::{Decimals, Operation, Wide, from_wide};
pub use operand::Operand;
pub use settle::{SETTLE, settle};

/// Plans operators by the types of their operands.
#[derive(Debug)]
pub struct Operators;

impl ExprPlanner for Operators {
    fn plan_binary_op(&self, raw: RawBinaryExpr, schema: &DFSchema) -> Result<PlannerResult<RawBinaryExpr>> {
        let RawBinaryExpr { op, left, right } = raw;
        if matches!(&op, BinaryOperator::PGCustomBinaryOperator(name) if name.as_slice() == [SETTLE]) {
            return Ok(PlannerResult::Planned(settle(left, schema)?));
        }
        if let Some(logical) = logical(&op) {
            // Truth values need no settling: whatever they compare is settled already.
            let (left, right) = (Box::new(left), Box::new(right));
            return Ok(PlannerResult::Planned(Expr::BinaryExpr(BinaryExpr { left, op: logical, right })));
        }
        let (left, right) = (Operand::new(left, schema)?, Operand::new(right, schema)?);
        match resolve(&op, &left, &right)? {
            Some(planned) => Ok(PlannerResult::Planned(planned)),
            None => Ok(PlannerResult::Original(RawBinaryExpr { op, left: left.expr, right: right.expr })),
        }
    }
}

/// Asks the families in turn.
fn resolve(op: &BinaryOperator, left: &Operand, right: &Operand) -> Result<Option<Expr>> {
    if let Some(comparison) = comparison(op) {
        return compare::plan(comparison, left, right).map(Some);
    }
    if let Some(planned) = time::plan(op, left, right)? {
        return Ok(Some(planned));
    }
    numeric::plan(op, left, right)
}

fn logical(op: &BinaryOperator) -> Option<Operator> {
    match op {
        BinaryOperator::And => Some(Operator::And),
        BinaryOperator::Or => Some(Operator::Or),
        _ => None,
    }
}

/// The comparison that an operator of the syntax means.
pub fn comparison(op: &BinaryOperator) -> Option<Operator> {
    Some(match op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return None,
    })
}

/// 42883, in PostgreSQL's words.
pub fn no_operator(op: &str, left: &Operand, right: &Operand) -> SqlError {
    let message = format!("operator does not exist: {} {op} {}", left.type_name(), right.type_name());
    SqlError::new(state::UNDEFINED_FUNCTION, message).with_hint(
        "No operator matches the given name and argument types. You might need to add explicit type casts.",
    )
}

/// A call of a function of ours.
pub fn call(function: impl Into<ScalarUDF>, args: Vec<Expr>) -> Expr {
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function.into()), args))
}
