//! IN lists with a CASE among their items. The engine mistakes such an item for a constant: it evaluates each item over
//! zero rows, and a CASE with constant branches returns one of them. This rule converts the list to single comparisons.
//! It runs after the optimization that converts COALESCE to CASE.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::disjunction;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// The rule. It is idempotent.
#[derive(Debug)]
pub struct ListsOfCases;

impl OptimizerRule for ListsOfCases {
    fn name(&self) -> &str {
        "lists_of_cases"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(one_by_one)?.update_data(|expr| name.restore(expr)))
        })
    }
}

fn one_by_one(expr: Expr) -> Result<Transformed<Expr>> {
    let Expr::InList(InList { expr: value, list, negated }) = expr else { return Ok(Transformed::no(expr)) };
    let has_case = |item: &Expr| item.exists(|e| Ok(matches!(e, Expr::Case(_))));
    let mut cases = false;
    for item in &list {
        cases |= has_case(item)?;
    }
    // A volatile value must be evaluated once.
    if !cases || value.is_volatile() {
        return Ok(Transformed::no(Expr::InList(InList { expr: value, list, negated })));
    }
    let equal = list.into_iter().map(|item| value.as_ref().clone().eq(item));
    let any = disjunction(equal).expect("a list has items");
    Ok(Transformed::yes(if negated { Expr::Not(Box::new(any)) } else { any }))
}
