//! Marks the expressions of a statement that are not operands. They are resolved in place, so that the query around
//! knows the types of a query's columns.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, FunctionArg, FunctionArgExpr, GroupByExpr, OrderByKind, Query, Select, SelectItem,
    SetExpr, Statement, TableFactor, Value, VisitMut, VisitorMut,
};

use super::SETTLE;

/// Marks the roots of a statement's expressions for resolution.
pub fn mark(statement: &mut Statement) {
    let _ = VisitMut::visit(statement, &mut Marker);
}

/// Marks an expression that stands alone.
pub fn mark_expression(expr: &mut Expr) {
    wrap(expr);
}

struct Marker;

impl VisitorMut for Marker {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        if let Some(order_by) = &mut query.order_by
            && let OrderByKind::Expressions(expressions) = &mut order_by.kind
        {
            expressions.iter_mut().for_each(|e| wrap(&mut e.expr));
        }
        if let SetExpr::Values(values) = query.body.as_mut() {
            values.rows.iter_mut().flat_map(|row| row.content.iter_mut()).for_each(wrap_always);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table { args: Some(args), .. } = factor {
            for arg in &mut args.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(value)) = arg {
                    wrap_always(value);
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        for item in &mut select.projection {
            match item {
                SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => wrap_always(expr),
                _ => {}
            }
        }
        if let GroupByExpr::Expressions(expressions, _) = &mut select.group_by {
            expressions.iter_mut().for_each(wrap);
        }
        select.selection.iter_mut().for_each(wrap);
        select.having.iter_mut().for_each(wrap);
        ControlFlow::Continue(())
    }
}

/// Excludes expressions that may be the name or number of an output column, and those that need no resolution.
fn wrap(expr: &mut Expr) {
    let plain = matches!(expr, Expr::Value(v) if matches!(v.value, Value::Number(..)));
    if !plain {
        wrap_always(expr);
    }
}

fn wrap_always(expr: &mut Expr) {
    let skip = matches!(
        expr,
        Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::BinaryOp { .. }
            | Expr::Rollup(_)
            | Expr::Cube(_)
            | Expr::GroupingSets(_)
            | Expr::Tuple(_)
            | Expr::Subquery(_)
    );
    if skip {
        return;
    }
    let inner = std::mem::replace(expr, Expr::value(Value::Null));
    *expr = Expr::BinaryOp {
        left: Box::new(inner),
        op: BinaryOperator::PGCustomBinaryOperator(vec![SETTLE.to_string()]),
        right: Box::new(Expr::value(Value::Null)),
    };
}
