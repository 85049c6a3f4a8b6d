//! Optimizer rules that check, before they begin and at every node, whether the plan was abandoned.

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{Optimizer, OptimizerConfig, OptimizerRule};
use pg_semantics::budget::Budget;

type Rule = Arc<dyn OptimizerRule + Send + Sync>;

/// DataFusion's rules, and ours before and after them.
pub(super) fn rules() -> Vec<Rule> {
    let early = pg_semantics::early_optimizer_rules().into_iter();
    let rules = early.chain(Optimizer::new().rules).chain(pg_semantics::optimizer_rules());
    rules.map(|rule| Arc::new(Interruptible(rule)) as Rule).collect()
}

#[derive(Debug)]
struct Interruptible(Rule);

impl OptimizerRule for Interruptible {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(&self, plan: LogicalPlan, config: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        if let Some(budget) = Budget::of(&config.options()) {
            budget.check_wanted()?;
        }
        self.0.rewrite(plan, config)
    }
}
