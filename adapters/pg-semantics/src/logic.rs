//! Protects three-valued logic where the optimizer would treat NULL as false. It merges IN lists over one value as if
//! neither the items nor the results could be null: `a NOT IN (1) OR a NOT IN (2)` becomes true, also for a null. Where
//! the difference is visible, this rule wraps the lists in a function, which the optimizer does not merge.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::plan_err;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility,
};
use datafusion::optimizer::AnalyzerRule;

/// Keeps lists separate. Runs after all other rules.
#[derive(Debug)]
pub struct ThreeValued;

impl AnalyzerRule for ThreeValued {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        Ok(plan.transform_up_with_subqueries(node)?.data)
    }

    fn name(&self) -> &str {
        "three_valued_logic"
    }
}

fn node(plan: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let context = match &plan {
        LogicalPlan::Filter(_) => Context::Condition { under_or: false },
        _ => Context::Value,
    };
    let names = NamePreserver::new(&plan);
    plan.map_expressions(|expr| {
        let name = names.save(&expr);
        Ok(Transformed::yes(name.restore(keep_apart(expr, context)?)))
    })
}

/// The use of an expression's value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    /// A filter: rows for which it is not true are dropped, so NULL counts as false.
    Condition {
        /// Among the alternatives of an OR.
        under_or: bool,
    },
    /// One of the alternatives of an OR whose NULL is not false.
    Alternative,
    /// Anything else.
    Value,
}

fn keep_apart(expr: Expr, context: Context) -> Result<Expr> {
    use datafusion::common::tree_node::TreeNode;
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
            let below = match (context, op) {
                (Context::Condition { .. }, Operator::Or) => Context::Condition { under_or: true },
                (Context::Condition { under_or }, _) => Context::Condition { under_or },
                (_, Operator::Or) => Context::Alternative,
                _ => Context::Value,
            };
            let left = Box::new(keep_apart(*left, below)?);
            let right = Box::new(keep_apart(*right, below)?);
            Ok(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        expr => {
            let is_apart = match (&expr, context) {
                (Expr::InList(list), Context::Condition { under_or }) => {
                    (under_or && list.negated) || !is_plain(list)
                }
                (Expr::InList(_), _) => true,
                // The optimizer converts such alternatives to lists.
                (Expr::BinaryExpr(BinaryExpr { op: Operator::Eq, .. }), Context::Alternative) => true,
                _ => false,
            };
            let expr =
                expr.map_children(|child| Ok(Transformed::yes(keep_apart(child, Context::Value)?)))?.data;
            Ok(if is_apart { apart(expr) } else { expr })
        }
    }
}

/// The condition in a form that the optimizer does not change.
pub fn apart(condition: Expr) -> Expr {
    ScalarUDF::from(Apart::default()).call(vec![condition])
}

/// Constants without a null.
fn is_plain(list: &InList) -> bool {
    list.list.iter().all(|item| matches!(item, Expr::Literal(value, _) if !value.is_null()))
}

/// Its argument.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Apart {
    signature: Signature,
}

impl Default for Apart {
    fn default() -> Apart {
        Apart { signature: Signature::exact(vec![DataType::Boolean], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for Apart {
    fn name(&self) -> &str {
        "apart"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.into_iter().next() {
            Some(value) => Ok(value),
            None => plan_err!("a condition is missing"),
        }
    }
}
