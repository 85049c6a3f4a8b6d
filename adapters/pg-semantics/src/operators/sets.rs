//! UNION, INTERSECT and EXCEPT: the columns of both sides become values of one type, as PostgreSQL chooses it, while they are planned. So the
//! query around them knows the types of their columns.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::sql::sqlparser::ast::{SetExpr, SetOperator, SetQuantifier, TableFactor};

use super::{Operand, compare};
use crate::casts;
use crate::error::{SqlError, state};
use crate::syntax::derived;
use crate::types::planner::unbounded_numeric;

/// Plans subqueries that are set operations.
#[derive(Debug)]
pub struct SetOperations;

impl RelationPlanner for SetOperations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        match relation {
            TableFactor::Derived { lateral, subquery, alias, sample } => {
                let plain = subquery.with.is_none()
                    && subquery.order_by.is_none()
                    && subquery.limit_clause.is_none()
                    && subquery.fetch.is_none();
                if !plain || !matches!(*subquery.body, SetExpr::SetOperation { .. }) {
                    let same = TableFactor::Derived { lateral, subquery, alias, sample };
                    return Ok(RelationPlanning::Original(Box::new(same)));
                }
                let plan = set(*subquery.body, context)?;
                Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
            }
            other => Ok(RelationPlanning::Original(Box::new(other))),
        }
    }
}

fn set(body: SetExpr, context: &mut dyn RelationPlannerContext) -> Result<LogicalPlan> {
    let SetExpr::SetOperation { op, set_quantifier, left, right } = body else {
        return context.plan(derived(body));
    };
    let (left, right) = (set(*left, context)?, set(*right, context)?);
    let (left, right) = of_one_type(left, right, op)?;
    let all = set_quantifier == SetQuantifier::All;
    match op {
        SetOperator::Union if all => LogicalPlanBuilder::from(left).union(right)?.build(),
        SetOperator::Union => LogicalPlanBuilder::from(left).union_distinct(right)?.build(),
        SetOperator::Intersect => LogicalPlanBuilder::intersect(left, right, all),
        _ => LogicalPlanBuilder::except(left, right, all),
    }
}

fn of_one_type(left: LogicalPlan, right: LogicalPlan, op: SetOperator) -> Result<(LogicalPlan, LogicalPlan)> {
    let (l, r) = (columns(&left), columns(&right));
    let types = l.iter().zip(&r).map(|(l, r)| {
        let common = compare::common_result(l, r);
        // The digits of a text are not known here.
        let open = l.open != r.open && [l, r].iter().any(|o| o.open && *o.arrow() == DataType::Utf8);
        let common = common.map(|t| if open && t.is_decimal() { unbounded_numeric() } else { t });
        common.ok_or_else(|| {
            let (l, r) = (l.pg().sql_name(), r.pg().sql_name());
            SqlError::new(state::DATATYPE_MISMATCH, format!("{op} types {l} and {r} cannot be matched"))
        })
    });
    let types = types.collect::<std::result::Result<Vec<DataType>, SqlError>>()?;
    Ok((casted(left, l, &types)?, casted(right, r, &types)?))
}

/// The columns of a plan: which of them are literals whose type is open.
fn columns(plan: &LogicalPlan) -> Vec<Operand> {
    let literals: Vec<bool> = match plan {
        LogicalPlan::Projection(projection) => projection.expr.iter().map(is_open).collect(),
        _ => vec![],
    };
    let schema = plan.schema();
    let columns = schema.columns().into_iter().zip(schema.fields()).enumerate();
    let operand = |(n, (column, field)): (usize, (datafusion::common::Column, &Arc<Field>))| Operand {
        expr: Expr::Column(column),
        field: Arc::clone(field),
        open: literals.get(n).copied().unwrap_or(false),
    };
    columns.map(operand).collect()
}

fn is_open(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_open(&alias.expr),
        Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, _) => true,
        _ => false,
    }
}

/// The plan with its columns as values of these types.
fn casted(plan: LogicalPlan, columns: Vec<Operand>, types: &[DataType]) -> Result<LogicalPlan> {
    if columns.iter().zip(types).all(|(column, into)| column.arrow() == into) {
        return Ok(plan);
    }
    let schema = Arc::clone(plan.schema());
    let of = |expr: Expr, column: &Operand, into: &DataType, plan: &LogicalPlan| -> Result<Expr> {
        if column.arrow() == into {
            return Ok(expr);
        }
        let name = column.field.name().clone();
        let input = plan.inputs();
        let over = input.first().map_or(&schema, |input| input.schema());
        Ok(casts::as_result(expr.unalias(), into, over)?.alias(name))
    };
    match plan {
        // A literal is cast where it stands.
        LogicalPlan::Projection(projection) => {
            let plan = LogicalPlan::Projection(projection.clone());
            let exprs = projection.expr.iter().zip(columns.iter().zip(types));
            let exprs = exprs.map(|(expr, (column, into))| of(expr.clone(), column, into, &plan));
            let exprs = exprs.collect::<Result<Vec<_>>>()?;
            Ok(LogicalPlan::Projection(Projection::try_new(exprs, projection.input)?))
        }
        plan => {
            let exprs = columns.iter().zip(types).map(|(column, into)| {
                if column.arrow() == into {
                    return Ok(column.expr.clone());
                }
                Ok(casts::as_result(column.expr.clone(), into, &schema)?.alias(column.field.name()))
            });
            let exprs = exprs.collect::<Result<Vec<_>>>()?;
            Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
        }
    }
}
