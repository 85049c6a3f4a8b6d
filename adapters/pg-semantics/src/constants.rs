//! Errors in constant expressions, as PostgreSQL raises them: it folds constants during planning, so a statement with
//! `1/0` fails whatever the number of rows. Exceptions are expressions that are never evaluated: a branch of CASE after
//! a constant condition, the operands after a decided AND, OR or COALESCE, and unused columns of subqueries.
//!
//! This rule replaces nothing: the optimizer folds constants, and leaves failing ones to be evaluated with the rows.

use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::Schema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::metadata::FieldMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    BinaryExpr, Case, Cast, Expr, ExprSchemable, LogicalPlan, Operator, Volatility,
};
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::{AnalyzerRule, Optimizer, OptimizerContext};
use datafusion::physical_expr::create_physical_expr;

use crate::error::SqlError;

/// Deeper parts of an expression are left to execution.
const DEPTH_MAX: usize = 128;

/// Classes of errors that fail the statement: data, resources, cancellation.
const FATAL_CLASSES: [&str; 4] = ["22", "53", "54", "57"];

/// Evaluates constants for their errors. Runs after all other rules.
#[derive(Debug)]
pub struct Constants;

impl AnalyzerRule for Constants {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        if !has_constants(&plan)? {
            return Ok(plan);
        }
        // Without unused columns.
        let rules = Optimizer::with_rules(vec![Arc::new(OptimizeProjections::new())]);
        let context = OptimizerContext::new().with_max_passes(1);
        let pruned = rules.optimize(plan.clone(), &context, |_, _| {})?;
        let mut props = ExecutionProps::new();
        props.config_options = Some(Arc::new(config.clone()));
        let fold = Fold { props, schema: DFSchema::empty() };
        pruned.apply_with_subqueries(|node| {
            if is_looked_at(node) {
                node.apply_expressions(|expr| {
                    fold.expression(expr.clone(), 0)?;
                    Ok(TreeNodeRecursion::Continue)
                })?;
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        "constants"
    }
}

/// Rows of constants are evaluated one by one anyway, and the filters of a scan are also above it.
fn is_looked_at(node: &LogicalPlan) -> bool {
    !matches!(node, LogicalPlan::Values(_) | LogicalPlan::TableScan(_))
}

/// True for a plan with a call whose arguments are all constant.
fn has_constants(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    let constant = |arg: &Expr| match arg {
        Expr::Literal(..) => true,
        Expr::Cast(Cast { expr, .. }) => matches!(expr.as_ref(), Expr::Literal(..)),
        _ => false,
    };
    plan.apply_with_subqueries(|node| {
        if !is_looked_at(node) {
            return Ok(TreeNodeRecursion::Continue);
        }
        node.apply_expressions(|expr| {
            expr.apply(|e| {
                if let Expr::ScalarFunction(function) = e {
                    found |= !function.args.is_empty() && function.args.iter().all(constant);
                }
                Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            })
        })
    })?;
    Ok(found)
}

struct Fold {
    props: ExecutionProps,
    schema: DFSchema,
}

fn null() -> Expr {
    Expr::Literal(ScalarValue::Null, None)
}

fn is_literal(expr: &Expr) -> bool {
    matches!(expr, Expr::Literal(..))
}

fn truth(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Literal(ScalarValue::Boolean(value), _) => *value,
        _ => None,
    }
}

impl Fold {
    /// The value of a constant expression as a literal; another expression with its constant parts evaluated.
    fn expression(&self, expr: Expr, depth: usize) -> Result<Expr> {
        if depth > DEPTH_MAX {
            return Ok(expr);
        }
        let below = depth + 1;
        match expr {
            Expr::Alias(alias) => self.expression(*alias.expr, below),
            Expr::Case(case) if case.expr.is_none() => self.case(case, below),
            Expr::BinaryExpr(BinaryExpr { left, op: op @ (Operator::And | Operator::Or), right }) => {
                self.logical(*left, op, *right, below)
            }
            Expr::ScalarFunction(function) if function.name() == "coalesce" => self.coalesce(function, below),
            other => {
                let known = other.map_children(|child| {
                    let child = self.expression(child, below)?;
                    Ok(Transformed::yes(child))
                })?;
                self.calculated(known.data)
            }
        }
    }

    /// A constant condition decides; the branches that it excludes are not evaluated.
    fn case(&self, case: Case, depth: usize) -> Result<Expr> {
        let mut constant = true;
        for (when, then) in case.when_then_expr {
            let when = self.expression(*when, depth)?;
            match (truth(&when), is_literal(&when)) {
                (Some(true), _) => {
                    let value = self.expression(*then, depth)?;
                    return Ok(if constant { value } else { unknown() });
                }
                (_, true) => {}
                (_, false) => {
                    constant = false;
                    self.expression(*then, depth)?;
                }
            }
        }
        let value = match case.else_expr {
            Some(otherwise) => self.expression(*otherwise, depth)?,
            None => null(),
        };
        Ok(if constant { value } else { unknown() })
    }

    fn logical(&self, left: Expr, op: Operator, right: Expr, depth: usize) -> Result<Expr> {
        let decisive = op == Operator::Or;
        let left = self.expression(left, depth)?;
        if truth(&left) == Some(decisive) {
            return Ok(left);
        }
        let right = self.expression(right, depth)?;
        if truth(&right) == Some(decisive) || is_literal(&left) && truth(&left) == Some(!decisive) {
            return Ok(right);
        }
        match is_literal(&left) && is_literal(&right) {
            true if truth(&left).is_none() => Ok(left),
            true => Ok(right),
            false => Ok(Expr::BinaryExpr(BinaryExpr::new(Box::new(left), op, Box::new(right)))),
        }
    }

    /// Up to the first that is not null.
    fn coalesce(&self, function: ScalarFunction, depth: usize) -> Result<Expr> {
        let mut constant = true;
        for arg in function.args {
            match self.expression(arg, depth)? {
                Expr::Literal(value, _) if value.is_null() => {}
                literal @ Expr::Literal(..) => return Ok(if constant { literal } else { unknown() }),
                _ => constant = false,
            }
        }
        Ok(if constant { null() } else { unknown() })
    }

    /// The value of an expression over literals.
    fn calculated(&self, expr: Expr) -> Result<Expr> {
        let calculates = match &expr {
            Expr::ScalarFunction(function) => {
                !function.args.is_empty() && function.func.signature().volatility == Volatility::Immutable
            }
            Expr::BinaryExpr(_)
            | Expr::Cast(_)
            | Expr::Not(_)
            | Expr::Negative(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsUnknown(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::IsNotUnknown(_)
            | Expr::Like(_)
            | Expr::Between(_)
            | Expr::InList(_) => true,
            _ => false,
        };
        let mut constant = calculates;
        expr.apply_children(|child| {
            constant &= is_literal(child);
            Ok(TreeNodeRecursion::Continue)
        })?;
        if !constant {
            return Ok(expr);
        }
        // An expression that cannot be evaluated alone is left to execution.
        let context = PhysicalPlanningContext::default();
        let Ok(physical) = create_physical_expr(&expr, &self.schema, &self.props, &context) else {
            return Ok(expr);
        };
        let one_row = RecordBatchOptions::new().with_row_count(Some(1));
        let batch = RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &one_row)?;
        let value = physical.evaluate(&batch).and_then(|value| value.to_array(1));
        let value = match value.map_err(SqlError::from) {
            Ok(value) => value,
            // Invalid data, or too much of it; other errors do not concern constants.
            Err(error) if FATAL_CLASSES.contains(&error.sqlstate.class()) => return Err(error.into()),
            Err(_) => return Ok(expr),
        };
        let metadata = expr.to_field(&self.schema).ok().map(|(_, field)| FieldMetadata::from(field.as_ref()));
        let metadata = metadata.filter(|metadata| !metadata.is_empty());
        Ok(Expr::Literal(ScalarValue::try_from_array(&value, 0)?, metadata))
    }
}

/// A value unknown during planning, in the place of an expression that was checked.
fn unknown() -> Expr {
    Expr::Column(Column::new_unqualified("unknown"))
}
