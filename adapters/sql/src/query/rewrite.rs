//! What clients write and DataFusion does not understand, rewritten on the syntax tree to what it does.

use datafusion::sql::sqlparser::ast;

use crate::error::Result;

/// A statement, ready for the planner.
pub fn for_planner(statement: ast::Statement) -> Result<ast::Statement> {
    Ok(statement)
}

/// An expression, ready for the planner.
pub fn expression_for_planner(expression: ast::Expr) -> Result<ast::Expr> {
    Ok(expression)
}
