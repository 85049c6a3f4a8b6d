//! Arrays in their order: a null among their items comes after every item. Arrow has nulls among items where it has nulls among rows. Where
//! a statement asks for null rows at the other end, there are two keys: whether the array is null, and the array.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

/// Splits keys that are arrays.
#[derive(Debug)]
pub struct ArraysInOrder;

impl AnalyzerRule for ArraysInOrder {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(node)?.data)
    }

    fn name(&self) -> &str {
        "arrays_in_order"
    }
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    match plan {
        LogicalPlan::Sort(mut sort) => {
            let keys = keys(std::mem::take(&mut sort.expr), sort.input.schema())?;
            sort.expr = keys;
            Ok(Transformed::yes(LogicalPlan::Sort(sort)))
        }
        plan @ (LogicalPlan::Window(_) | LogicalPlan::Aggregate(_)) => {
            let schema = merge_schema(&plan.inputs());
            let names = NamePreserver::new(&plan);
            plan.map_expressions(|expr| {
                let name = names.save(&expr);
                let ordered = expr.transform_up(|e| match e {
                    Expr::WindowFunction(mut window) => {
                        let by = std::mem::take(&mut window.params.order_by);
                        window.params.order_by = keys(by, &schema)?;
                        Ok(Transformed::yes(Expr::WindowFunction(window)))
                    }
                    Expr::AggregateFunction(mut aggregate) => {
                        let by = std::mem::take(&mut aggregate.params.order_by);
                        aggregate.params.order_by = keys(by, &schema)?;
                        Ok(Transformed::yes(Expr::AggregateFunction(aggregate)))
                    }
                    other => Ok(Transformed::no(other)),
                })?;
                Ok(ordered.update_data(|e| name.restore(e)))
            })
        }
        other => Ok(Transformed::no(other)),
    }
}

fn keys(sorted: Vec<Sort>, schema: &DFSchema) -> Result<Vec<Sort>> {
    let mut keys = Vec::with_capacity(sorted.len());
    for by in sorted {
        let is_array = matches!(by.expr.get_type(schema)?, DataType::List(_));
        if is_array && by.nulls_first == by.asc {
            keys.push(by.expr.clone().is_null().sort(!by.nulls_first, false));
            keys.push(by.expr.sort(by.asc, !by.asc));
        } else {
            keys.push(by);
        }
    }
    Ok(keys)
}
