//! Integer literals that fit are of type integer, as in PostgreSQL: `SELECT 1`, `sum(CASE … THEN 1 …)`, `2147483647 +
//! 1`. DataFusion types each as bigint. Runs before types are coerced.

use datafusion::common::ScalarValue;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

/// Functions whose result has the type of their arguments. All others declare their integer types.
const OF_THEIR_ARGUMENTS: [&str; 10] =
    ["coalesce", "nullif", "greatest", "least", "make_array", "abs", "sum", "min", "max", "avg"];

/// Types literals as integer.
#[derive(Debug)]
pub struct IntegerLiterals;

impl AnalyzerRule for IntegerLiterals {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        // The non-recursive term has determined the types of the rest.
        if plan.exists(|node| Ok(matches!(node, LogicalPlan::RecursiveQuery(_))))? {
            return Ok(plan);
        }
        Ok(plan.transform_up_with_subqueries(node)?.data)
    }

    fn name(&self) -> &str {
        "integer_literals"
    }
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    // A LIMIT is a bigint, and rows of VALUES already have their types.
    if matches!(plan, LogicalPlan::Limit(_) | LogicalPlan::Values(_) | LogicalPlan::TableScan(_)) {
        return Ok(Transformed::no(plan));
    }
    let names = NamePreserver::new(&plan);
    let changed = plan.map_expressions(|expr| {
        if matches!(expr, Expr::GroupingSet(_)) {
            return Ok(Transformed::no(expr));
        }
        let name = names.save(&expr);
        Ok(expr.transform_down(integer)?.update_data(|e| name.restore(e)))
    })?;
    // Also if this node did not change: the types of its inputs may have.
    changed.map_data(LogicalPlan::recompute_schema)
}

fn integer(expr: Expr) -> Result<Transformed<Expr>> {
    let skip = |expr| Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump));
    match &expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => match i32::try_from(*value) {
            // It is written as the negative of a bigint.
            Ok(i32::MIN) => Ok(Transformed::no(expr)),
            Ok(value) => {
                Ok(Transformed::yes(Expr::Literal(ScalarValue::Int32(Some(value)), metadata.clone())))
            }
            Err(_) => Ok(Transformed::no(expr)),
        },
        // These declare their type.
        Expr::Cast(_) | Expr::TryCast(_) | Expr::WindowFunction(_) => skip(expr),
        Expr::ScalarFunction(function) if !OF_THEIR_ARGUMENTS.contains(&function.name()) => skip(expr),
        Expr::AggregateFunction(function) if !OF_THEIR_ARGUMENTS.contains(&function.func.name()) => {
            skip(expr)
        }
        _ => Ok(Transformed::no(expr)),
    }
}
