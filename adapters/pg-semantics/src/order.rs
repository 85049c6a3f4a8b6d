//! The order of arrays: PostgreSQL sorts a null item after all other items. Arrow sorts null items as it sorts null
//! rows, and before all items when it compares arrays, as for a LIMIT. So arrays are sorted by a key of bytes.

use std::sync::Arc;

use datafusion::arrow::array::{Array, BinaryArray};
use datafusion::arrow::compute::SortOptions;
use datafusion::arrow::datatypes::DataType;
use datafusion::arrow::row::{RowConverter, SortField};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

use crate::operators::call;

/// Replaces arrays in sort keys by their key.
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
    let key = |mut by: Sort| {
        if let DataType::List(_) = by.expr.get_type(schema)? {
            by.expr =
                call(OrderOfArray { signature: Signature::any(1, Volatility::Immutable) }, vec![by.expr]);
        }
        Ok(by)
    };
    sorted.into_iter().map(key).collect()
}

/// Bytes that sort as the arrays do.
#[derive(PartialEq, Eq, Hash, Debug)]
struct OrderOfArray {
    signature: Signature,
}

impl ScalarUDFImpl for OrderOfArray {
    fn name(&self) -> &str {
        "order_of_array"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [arrays] = args.args.as_slice() else { return plan_err!("arrays have an order one by one") };
        let arrays = arrays.to_array(args.number_rows)?;
        let options = SortOptions { descending: false, nulls_first: false };
        let converter =
            RowConverter::new(vec![SortField::new_with_options(arrays.data_type().clone(), options)])?;
        let rows = converter.convert_columns(&[Arc::clone(&arrays)])?;
        let keys = rows.iter().enumerate().map(|(at, row)| arrays.is_valid(at).then_some(row));
        Ok(ColumnarValue::Array(Arc::new(keys.collect::<BinaryArray>())))
    }
}
