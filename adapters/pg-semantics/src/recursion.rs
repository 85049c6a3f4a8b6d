//! The recursive term must have the types of the non-recursive one: PostgreSQL rejects what the planner would cast.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, Projection, RecursiveQuery};
use datafusion::optimizer::AnalyzerRule;

use crate::error::{SqlError, SqlState};
use crate::operators::is_recurred;
use crate::types::PgType;

/// Rejects recursions that change a type. Runs before types are coerced.
#[derive(Debug)]
pub struct Recursions;

impl AnalyzerRule for Recursions {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::RecursiveQuery(query) = node {
                check(query)?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        "recursions"
    }
}

fn check(query: &RecursiveQuery) -> Result<()> {
    let Some(Projection { expr, input, .. }) = projection(&query.recursive_term) else { return Ok(()) };
    for (n, expr) in expr.iter().enumerate() {
        let Some(found) = changed(expr, input.schema())? else { continue };
        let wanted = query.static_term.schema().field(n).data_type();
        let (wanted, found) = (PgType::of_arrow(wanted), PgType::of_arrow(&found));
        if wanted != found {
            let message = format!(
                "recursive query \"{}\" column {} has type {} in non-recursive term but type {} overall",
                query.name,
                n + 1,
                wanted.sql_name(),
                found.sql_name()
            );
            return Err(SqlError::new(SqlState::DATATYPE_MISMATCH, message)
                .with_hint("Cast the output of the non-recursive term to the correct type.")
                .into());
        }
    }
    Ok(())
}

fn projection(plan: &LogicalPlan) -> Option<&Projection> {
    match plan {
        LogicalPlan::Projection(projection) => Some(projection),
        LogicalPlan::SubqueryAlias(alias) => projection(&alias.input),
        _ => None,
    }
}

/// The type of an expression that the planner cast, unless it was unknown.
fn changed(expr: &Expr, schema: &DFSchema) -> Result<Option<datafusion::arrow::datatypes::DataType>> {
    match expr {
        Expr::Alias(alias) => changed(&alias.expr, schema),
        Expr::Cast(Cast { expr, .. }) => match expr.as_ref() {
            Expr::Alias(alias) => recurred(&alias.expr, schema),
            other => recurred(other, schema),
        },
        _ => Ok(None),
    }
}

fn recurred(expr: &Expr, schema: &DFSchema) -> Result<Option<datafusion::arrow::datatypes::DataType>> {
    let Expr::ScalarFunction(function) = expr else { return Ok(None) };
    let [value] = function.args.as_slice() else { return Ok(None) };
    let open = matches!(value, Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, _));
    match is_recurred(&function.func) && !open {
        true => Ok(Some(value.get_type(schema)?)),
        false => Ok(None),
    }
}
