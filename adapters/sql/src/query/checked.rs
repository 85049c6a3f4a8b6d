//! Arithmetic that fails where a result does not fit its type, as PostgreSQL's does. DataFusion plans arithmetic that wraps
//! around, without a setting to say otherwise.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::physical_expr::projection::ProjectionExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use datafusion::physical_plan::projection::ProjectionExec;

/// The same expression, its sums, differences and products checked.
pub fn expression(expression: Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    expression.transform_up(|node| {
        let Some(binary) = node.downcast_ref::<BinaryExpr>() else { return Ok(Transformed::no(node)) };
        if !matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply) {
            return Ok(Transformed::no(node));
        }
        let checked = BinaryExpr::new(Arc::clone(binary.left()), *binary.op(), Arc::clone(binary.right()))
            .with_fail_on_overflow(true);
        Ok(Transformed::yes(Arc::new(checked) as Arc<dyn PhysicalExpr>))
    })
}

/// Checks the arithmetic of projections and filters. What is folded into a constant before, and the arguments of aggregate
/// functions that are calculated inside of an aggregation, it does not see.
#[derive(Debug)]
pub struct CheckedArithmetic;

impl PhysicalOptimizerRule for CheckedArithmetic {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(plan.transform_up(node)?.data)
    }

    fn name(&self) -> &str {
        "CheckedArithmetic"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn node(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let mut any = false;
        let mut checked = Vec::with_capacity(projection.expr().len());
        for ProjectionExpr { expr, alias } in projection.expr() {
            let rewritten = expression(Arc::clone(expr))?;
            any |= rewritten.transformed;
            checked.push(ProjectionExpr { expr: rewritten.data, alias: alias.clone() });
        }
        if any {
            let (input, schema) = (Arc::clone(projection.input()), projection.schema());
            let checked = ProjectionExec::try_new_with_schema_metadata(checked, input, &schema)?;
            return Ok(Transformed::yes(Arc::new(checked)));
        }
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let rewritten = expression(Arc::clone(filter.predicate()))?;
        if rewritten.transformed {
            let checked = FilterExecBuilder::from(filter).with_predicate(rewritten.data).build()?;
            return Ok(Transformed::yes(Arc::new(checked)));
        }
    }
    Ok(Transformed::no(plan))
}
