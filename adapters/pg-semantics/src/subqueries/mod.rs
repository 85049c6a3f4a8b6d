//! Subqueries in expressions, as PostgreSQL evaluates them: three-valued IN, ANY and ALL, EXISTS and scalar subqueries
//! in any expression, with any correlation. They become joins before types are coerced, so that their comparisons are
//! processed like all others.
//!
//! A correlated subquery is evaluated once for each distinct combination of the outer columns that it reads (its
//! *domain*): `push` moves the domain down through the subquery's plan until it no longer refers to the outer query.
//! Subqueries that the planner turns into an equivalent semi-join (a plain EXISTS or IN among the conditions of WHERE)
//! are left to it.

mod domain;
mod functions;
mod push;
mod replace;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, config::ConfigOptions};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Exists, InSubquery};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, JoinType, LogicalPlan, Projection, Subquery};
use datafusion::optimizer::AnalyzerRule;

use domain::{Namer, refers_outside};
use replace::Replace;

/// Replaces subqueries by joins.
#[derive(Debug)]
pub struct Unnest;

impl AnalyzerRule for Unnest {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &Namer::default())
    }

    fn name(&self) -> &str {
        "unnest_subqueries"
    }
}

/// Rewrites node by node from the top, so that the outer references of an inner subquery are columns when it is
/// rewritten.
fn rewrite(plan: LogicalPlan, names: &Namer) -> Result<LogicalPlan> {
    let plan = node(plan, names)?;
    let plan = plan
        .map_subqueries(|subquery| match subquery {
            LogicalPlan::Subquery(Subquery { subquery, spans, .. }) => {
                let plan = rewrite(Arc::unwrap_or_clone(subquery), names)?;
                let outer_ref_columns = plan.all_out_ref_exprs();
                let subquery = Subquery { subquery: Arc::new(plan), outer_ref_columns, spans };
                Ok(Transformed::yes(LogicalPlan::Subquery(subquery)))
            }
            other => Ok(Transformed::no(other)),
        })?
        .data;
    Ok(plan.map_children(|child| Ok(Transformed::yes(rewrite(child, names)?)))?.data)
}

/// One node with the subqueries in its expressions replaced, apart from those left to the planner.
fn node(plan: LogicalPlan, names: &Namer) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::Filter(filter) => filtered(filter, names),
        LogicalPlan::Join(join) => push::joined(join, names),
        plan if !has_subquery(&plan)? => Ok(plan),
        plan @ (LogicalPlan::Projection(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Sort(_)) => over_input(plan, names),
        other => Ok(other),
    }
}

fn has_subquery(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_expressions(|expr| {
        found |= contains_subquery(expr)?;
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

/// True for an expression with a subquery in it.
pub(crate) fn contains_subquery(expr: &Expr) -> Result<bool> {
    expr.exists(|e| {
        Ok(matches!(
            e,
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_) | Expr::ScalarSubquery(_)
        ))
    })
}

fn filtered(filter: Filter, names: &Namer) -> Result<LogicalPlan> {
    let Filter { predicate, input, .. } = filter;
    if !contains_subquery(&predicate)? {
        return Ok(LogicalPlan::Filter(Filter::try_new(predicate, input)?));
    }
    let columns = input.schema().columns();
    let mut replace = Replace::new(Arc::unwrap_or_clone(input), names);
    let mut conditions = Vec::new();
    for condition in split_conjunction_owned(predicate) {
        conditions.push(match is_semi_join(&condition)? {
            true => condition,
            false => replace.expression(condition)?,
        });
    }
    let input = Arc::new(replace.input);
    let widened = input.schema().fields().len() > columns.len();
    let predicate = conjunction(conditions).expect("a filter has a condition");
    let plan = LogicalPlan::Filter(Filter::try_new(predicate, input)?);
    if widened { only(plan, columns) } else { Ok(plan) }
}

/// These columns of a plan.
fn only(plan: LogicalPlan, columns: Vec<Column>) -> Result<LogicalPlan> {
    let columns = columns.into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?))
}

fn over_input(plan: LogicalPlan, names: &Namer) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let inputs = plan.inputs();
    let [input] = inputs.as_slice() else { return Ok(plan) };
    let mut replace = Replace::new((*input).clone(), names);
    let mut exprs = Vec::new();
    for expr in plan.expressions() {
        exprs.push(named_as(replace.expression(expr.clone())?, &expr));
    }
    let rebuilt = match &plan {
        // Its expressions are sort keys, which stay in place.
        LogicalPlan::Sort(sort) => {
            let mut sort = sort.clone();
            sort.expr = sort.expr.iter().zip(exprs).map(|(by, expr)| by.with_expr(expr)).collect();
            sort.input = Arc::new(replace.input);
            LogicalPlan::Sort(sort)
        }
        other => other.with_new_exprs(exprs, vec![replace.input])?,
    };
    match rebuilt.schema().fields().len() == schema.fields().len() {
        true => Ok(rebuilt),
        false => only(rebuilt, schema.columns()),
    }
}

/// The expression under the name of another one.
pub(crate) fn named_as(expr: Expr, before: &Expr) -> Expr {
    if matches!(before, Expr::GroupingSet(_)) || expr == *before {
        return expr;
    }
    let (relation, name) = before.qualified_name();
    match expr.qualified_name() == (relation.clone(), name.clone()) {
        true => expr,
        false => expr.alias_qualified(relation, name),
    }
}

/// Conditions that the planner converts to semi- and anti-joins, with nulls treated as in WHERE: an EXISTS or IN over a
/// plain SELECT that is correlated in its WHERE alone, a NOT IN of more than constants that is not correlated.
fn is_semi_join(condition: &Expr) -> Result<bool> {
    let (condition, negated) = match condition {
        Expr::Not(inner) => (inner.as_ref(), true),
        other => (other, false),
    };
    match condition {
        Expr::Exists(Exists { subquery, .. }) => is_plain(&subquery.subquery),
        Expr::InSubquery(InSubquery { expr, subquery, negated: also }) => {
            let anti = negated != *also;
            let plan = &subquery.subquery;
            // A constant is not a key of a join, and an anti-join checks only its keys for nulls.
            let anti_is_ours = refers_outside(plan)? || expr.column_refs().is_empty();
            Ok(!contains_subquery(expr)? && is_plain(plan)? && !(anti && anti_is_ours))
        }
        _ => Ok(false),
    }
}

fn is_plain(plan: &LogicalPlan) -> Result<bool> {
    let mut plain = true;
    plan.apply(|node| {
        let is_filter = matches!(node, LogicalPlan::Filter(_));
        plain &= match node {
            LogicalPlan::Projection(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::Filter(_) => true,
            LogicalPlan::Join(join) => join.join_type == JoinType::Inner,
            _ => false,
        };
        node.apply_expressions(|expr| {
            plain &= !contains_subquery(expr)? && (is_filter || !expr.contains_outer());
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if plain { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(plain)
}
