//! Conditions without columns above a grouping that has a group even without rows. The optimizer moves such a condition
//! below the grouping, where it removes the rows but not the group. So conditions on constants are decided here, and
//! the others (on a subquery, on a random number) are kept above a limit, through which no condition is moved.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{EmptyRelation, Expr, Filter, GroupingSet, Limit, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::push_down_filter::replace_cols_by_name;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// A limit that passes all rows.
const ALL_ROWS: i64 = i64::MAX;

/// Decides conditions on constants, and keeps the others without columns in place. Runs before all other rules.
#[derive(Debug)]
pub struct ConstantConditions;

impl OptimizerRule for ConstantConditions {
    fn name(&self) -> &str {
        "constant_conditions"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = plan else { return Ok(Transformed::no(plan)) };
        if is_held(&filter.input) || !filter.input.exists(|node| Ok(has_group_of_all(node)))? {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let (mut kept, mut held) = (vec![], vec![]);
        let mut changed = false;
        for condition in split_conjunction_owned(filter.predicate.clone()) {
            let Some(constant) = without_columns(&condition, &filter.input)? else {
                kept.push(condition);
                continue;
            };
            match decided(constant)? {
                Some(true) => changed = true,
                Some(false) => {
                    let schema = Arc::clone(filter.input.schema());
                    let nothing = EmptyRelation { produce_one_row: false, schema };
                    return Ok(Transformed::yes(LogicalPlan::EmptyRelation(nothing)));
                }
                None => held.push(condition),
            }
        }
        if !changed && held.is_empty() {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let mut plan = filter.input;
        if let Some(condition) = conjunction(kept) {
            plan = Arc::new(LogicalPlan::Filter(Filter::try_new(condition, plan)?));
        }
        Ok(Transformed::yes(match conjunction(held) {
            Some(condition) => LogicalPlan::Filter(Filter::try_new(condition, hold(plan))?),
            None => Arc::unwrap_or_clone(plan),
        }))
    }
}

/// The plan under a limit of all rows.
fn hold(input: Arc<LogicalPlan>) -> Arc<LogicalPlan> {
    let all = Box::new(Expr::Literal(ScalarValue::Int64(Some(ALL_ROWS)), None));
    Arc::new(LogicalPlan::Limit(Limit { skip: None, fetch: Some(all), input }))
}

fn is_held(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Limit(limit) = plan else { return false };
    matches!(limit.fetch.as_deref(), Some(Expr::Literal(ScalarValue::Int64(Some(ALL_ROWS)), _)))
}

/// True for a grouping with a group of all rows.
fn has_group_of_all(plan: &LogicalPlan) -> bool {
    let LogicalPlan::Aggregate(aggregate) = plan else { return false };
    match aggregate.group_expr.as_slice() {
        [] => true,
        [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => sets.iter().any(Vec::is_empty),
        [Expr::GroupingSet(_)] => true,
        _ => false,
    }
}

/// A condition without its columns, if all of them are constants of the plan.
fn without_columns(condition: &Expr, plan: &LogicalPlan) -> Result<Option<Expr>> {
    let (mut condition, mut plan) = (condition.clone(), plan);
    loop {
        if condition.column_refs().is_empty() {
            return Ok(Some(condition));
        }
        let (columns, input): (Vec<Expr>, &LogicalPlan) = match plan {
            LogicalPlan::Projection(p) => {
                (p.expr.iter().map(|e| e.clone().unalias()).collect(), p.input.as_ref())
            }
            LogicalPlan::SubqueryAlias(a) => {
                (a.input.schema().columns().into_iter().map(Expr::Column).collect(), a.input.as_ref())
            }
            LogicalPlan::Filter(f) => {
                (f.input.schema().columns().into_iter().map(Expr::Column).collect(), f.input.as_ref())
            }
            _ => return Ok(None),
        };
        let names = plan.schema().columns().into_iter().map(|c| c.flat_name());
        condition = replace_cols_by_name(condition, &names.zip(columns).collect())?;
        plan = input;
    }
}

/// The value of a condition without columns, if it is known before execution.
fn decided(condition: Expr) -> Result<Option<bool>> {
    if condition.is_volatile() {
        return Ok(None);
    }
    let context = SimplifyContext::default();
    let simplified = ExprSimplifier::new(context).simplify(condition)?;
    Ok(match simplified {
        Expr::Literal(ScalarValue::Boolean(value), _) => Some(value == Some(true)),
        Expr::Literal(ScalarValue::Null, _) => Some(false),
        _ => None,
    })
}

/// The rules that run before DataFusion's.
pub fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![Arc::new(ConstantConditions)]
}
