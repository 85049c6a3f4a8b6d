//! UNION, INTERSECT and EXCEPT: planning converts the columns of both sides to the type that PostgreSQL chooses, so
//! that the query around knows the types of their columns.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Projection};
use datafusion::sql::sqlparser::ast::{SetExpr, SetOperator, SetQuantifier, TableFactor};

use super::settle::as_one;
use super::{Operand, compare, shown};
use crate::casts;
use crate::error::{SqlError, SqlState};
use crate::syntax::derived;
use crate::types::planner::unbounded_numeric;
use crate::types::{Base, NO_MODIFIER, modifier};

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
            SqlError::new(SqlState::DATATYPE_MISMATCH, format!("{op} types {l} and {r} cannot be matched"))
        })
    });
    let types = types.collect::<std::result::Result<Vec<DataType>, SqlError>>()?;
    let types: Vec<Column> =
        l.iter().zip(&r).zip(types).map(|((l, r), arrow)| Column::of(l, r, arrow)).collect();
    Ok((casted(left, l, &types)?, casted(right, r, &types)?))
}

/// The common column of both sides.
struct Column {
    arrow: DataType,
    /// The displayed type of texts, if the sides differ in it.
    shown: Option<(Base, i32)>,
}

impl Column {
    fn of(left: &Operand, right: &Operand, arrow: DataType) -> Column {
        let differ = left.base() != right.base() || modifier(&left.field) != modifier(&right.field);
        let shown = (arrow == DataType::Utf8 && differ)
            .then(|| shown::common([left, right].into_iter()).unwrap_or((Base::Text, NO_MODIFIER)));
        Column { arrow, shown }
    }

    fn is(&self, column: &Operand) -> bool {
        let as_shown = |(base, its)| column.base() == Some(base) && modifier(&column.field) == its;
        *column.arrow() == self.arrow && self.shown.is_none_or(as_shown)
    }

    fn cast(&self, expr: Expr, column: &Operand, schema: &DFSchema) -> Result<Expr> {
        let mut expr = expr;
        if *column.arrow() != self.arrow {
            expr = casts::as_result(expr, &self.arrow, schema)?;
        }
        if let Some((base, modifier)) = self.shown {
            let operand = Operand { expr, field: Arc::clone(&column.field), open: column.open };
            expr = shown::shown(as_one(operand, &self.arrow, Some(base), schema)?, schema, base, modifier)?;
        }
        Ok(expr.alias(column.field.name()))
    }
}

/// The columns of a plan: which of them are literals of unknown type.
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
fn casted(plan: LogicalPlan, columns: Vec<Operand>, types: &[Column]) -> Result<LogicalPlan> {
    if columns.iter().zip(types).all(|(column, into)| into.is(column)) {
        return Ok(plan);
    }
    // A literal is cast in place.
    let (exprs, input) = match plan {
        LogicalPlan::Projection(projection) => (projection.expr, projection.input),
        plan => (columns.iter().map(|column| column.expr.clone()).collect(), Arc::new(plan)),
    };
    let exprs = exprs.into_iter().zip(columns.iter().zip(types)).map(|(expr, (column, into))| {
        if into.is(column) { Ok(expr) } else { into.cast(expr.unalias(), column, input.schema()) }
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, input)?))
}
