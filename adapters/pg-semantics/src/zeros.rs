//! A float has two zeros, which are equal. DataFusion compares them as equal, but uses their bits for sorting, in lists
//! and in join keys. (It converts `f = 0 OR f = 1 …` to a list in the optimizer.) So this rule normalises the zeros in
//! lists, in sort and join keys, and in the partitions and order of windows and aggregates.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{InList, ScalarFunction};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use crate::arithmetic;
use crate::operators::Operation;
use crate::schema;

/// The rule. It is idempotent.
#[derive(Debug)]
pub struct OneZero;

impl OptimizerRule for OneZero {
    fn name(&self) -> &str {
        "one_zero"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let schema = schema::of_expressions(&plan)?;
        // Nodes that sort or match rows by an expression itself.
        let by_itself = matches!(plan, LogicalPlan::Sort(_) | LogicalPlan::Join(_));
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| inside(expr, &schema))?;
            let changed = changed.transform_data(|expr| {
                if by_itself { key(expr, &schema) } else { Ok(Transformed::no(expr)) }
            })?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })
    }
}

fn inside(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::InList(list) => of_list(list, schema),
        Expr::WindowFunction(mut window) => {
            let sorted = window.params.order_by.iter_mut().map(|by| &mut by.expr);
            let changed = keys(window.params.partition_by.iter_mut().chain(sorted), schema)?;
            Ok(Transformed::new_transformed(Expr::WindowFunction(window), changed))
        }
        Expr::AggregateFunction(mut aggregate) => {
            let changed = keys(aggregate.params.order_by.iter_mut().map(|by| &mut by.expr), schema)?;
            Ok(Transformed::new_transformed(Expr::AggregateFunction(aggregate), changed))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// Replaces expressions by their keys; true if any changes.
fn keys<'a>(exprs: impl Iterator<Item = &'a mut Expr>, schema: &DFSchema) -> Result<bool> {
    let mut changed = false;
    for expr in exprs {
        let keyed = key(std::mem::take(expr), schema)?;
        *expr = keyed.data;
        changed |= keyed.transformed;
    }
    Ok(changed)
}

/// The key of a float; any other value unchanged.
fn key(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let data_type = expr.get_type(schema)?;
    // A constant has no order, and a window recognises its constants by their form.
    if !data_type.is_floating() || is_one_zero(&expr) || matches!(expr, Expr::Literal(..)) {
        return Ok(Transformed::no(expr));
    }
    Ok(Transformed::yes(one_zero(expr, &data_type)?))
}

fn of_list(list: InList, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let InList { expr: value, list, negated } = list;
    let data_type = value.get_type(schema)?;
    if !data_type.is_floating() || is_one_zero(&value) {
        return Ok(Transformed::no(Expr::InList(InList { expr: value, list, negated })));
    }
    let list = list.into_iter().map(|item| one_zero(item, &data_type)).collect::<Result<_>>()?;
    let value = Box::new(one_zero(*value, &data_type)?);
    Ok(Transformed::yes(Expr::InList(InList { expr: value, list, negated })))
}

/// The same value, with one zero.
pub fn one_zero(value: Expr, data_type: &DataType) -> Result<Expr> {
    let zero = Expr::Literal(ScalarValue::new_zero(data_type)?, None);
    Ok(arithmetic::call(Operation::Add, vec![value, zero]))
}

fn is_one_zero(value: &Expr) -> bool {
    let value = match value {
        Expr::Alias(alias) => &alias.expr,
        other => other,
    };
    let Expr::ScalarFunction(ScalarFunction { func, args }) = value else { return false };
    let is_zero = |arg: &Expr| {
        matches!(arg, Expr::Literal(ScalarValue::Float64(Some(0.0)) | ScalarValue::Float32(Some(0.0)), _))
    };
    func.name() == "add" && args.get(1).is_some_and(is_zero)
}
