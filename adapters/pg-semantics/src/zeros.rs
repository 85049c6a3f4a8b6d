//! A float has two zeros, which are equal. DataFusion makes a list out of `f = 0 OR f = 1 …` while it optimizes, and looks for a
//! value in a list by its bits. So the zeros become one, in the value and in the list, wherever a list of floats comes up.

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

/// The rule. Doing it twice changes nothing.
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
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let changed = expr.transform_up(|expr| of_list(expr, &schema))?;
            Ok(changed.update_data(|expr| name.restore(expr)))
        })
    }
}

fn of_list(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let Expr::InList(InList { expr: value, list, negated }) = expr else { return Ok(Transformed::no(expr)) };
    let data_type = value.get_type(schema)?;
    if !data_type.is_floating() || is_one_zero(&value) {
        return Ok(Transformed::no(Expr::InList(InList { expr: value, list, negated })));
    }
    let list = list.into_iter().map(|item| one_zero(item, &data_type)).collect::<Result<_>>()?;
    let value = Box::new(one_zero(*value, &data_type)?);
    Ok(Transformed::yes(Expr::InList(InList { expr: value, list, negated })))
}

/// The same value, and zero for both zeros.
pub fn one_zero(value: Expr, data_type: &DataType) -> Result<Expr> {
    let zero = Expr::Literal(ScalarValue::new_zero(data_type)?, None);
    Ok(arithmetic::call(Operation::Add, vec![value, zero]))
}

fn is_one_zero(value: &Expr) -> bool {
    let Expr::ScalarFunction(ScalarFunction { func, args }) = value else { return false };
    let is_zero = |arg: &Expr| {
        matches!(arg, Expr::Literal(ScalarValue::Float64(Some(0.0)) | ScalarValue::Float32(Some(0.0)), _))
    };
    func.name() == "add" && args.get(1).is_some_and(is_zero)
}
