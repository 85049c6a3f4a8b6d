//! Conditions on constants above a group that is there even without rows. The optimizer moves a condition that reads no column below the
//! grouping, where it takes away the rows and not the group: so such conditions are decided before.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{EmptyRelation, Expr, Filter, GroupingSet, LogicalPlan};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::push_down_filter::replace_cols_by_name;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

/// Decides conditions on constants. Runs before any other rule.
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
        if !is_always_there(&filter.input) {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let mut kept = vec![];
        let mut changed = false;
        for condition in split_conjunction_owned(filter.predicate.clone()) {
            match decided(&condition, &filter.input)? {
                Some(true) => changed = true,
                Some(false) => {
                    let schema = Arc::clone(filter.input.schema());
                    let nothing = EmptyRelation { produce_one_row: false, schema };
                    return Ok(Transformed::yes(LogicalPlan::EmptyRelation(nothing)));
                }
                None => kept.push(condition),
            }
        }
        if !changed {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        Ok(Transformed::yes(match conjunction(kept) {
            Some(condition) => LogicalPlan::Filter(Filter::try_new(condition, filter.input)?),
            None => Arc::unwrap_or_clone(filter.input),
        }))
    }
}

/// True for a plan over a grouping that has a group of all rows.
fn is_always_there(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => is_always_there(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_always_there(&alias.input),
        LogicalPlan::Filter(filter) => is_always_there(&filter.input),
        LogicalPlan::Aggregate(aggregate) => match aggregate.group_expr.as_slice() {
            [] => true,
            [Expr::GroupingSet(GroupingSet::GroupingSets(sets))] => sets.iter().any(Vec::is_empty),
            [Expr::GroupingSet(_)] => true,
            _ => false,
        },
        _ => false,
    }
}

/// What a condition is if it reads nothing but constants of the plan; None: it reads more.
fn decided(condition: &Expr, plan: &LogicalPlan) -> Result<Option<bool>> {
    if condition.is_volatile() {
        return Ok(None);
    }
    let (mut condition, mut plan) = (condition.clone(), plan);
    loop {
        if condition.column_refs().is_empty() {
            break;
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
