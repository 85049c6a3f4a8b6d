//! PostgreSQL's types, operators, casts and functions on DataFusion. Of Tidemark it knows the kernel's [`Error`](kernel::Error) and
//! [`SqlState`](kernel::SqlState) and nothing else: no table, no session, no wire.
//!
//! A statement's expressions are processed three times: planning resolves names ([`syntax`]) and operators
//! ([`operators`]); analysis converts subqueries to joins, coerces types and replaces operators by checked functions
//! ([`analyzer_rules`]); execution calls the functions registered here ([`install`]).

#![forbid(unsafe_code)]

pub mod arithmetic;
pub mod budget;
mod by_value;
pub mod casts;
mod constants;
pub mod decimal;
pub mod error;
pub mod functions;
mod intervals;
mod lists;
mod literals;
mod logarithm;
mod logic;
mod nothing;
pub mod operators;
mod order;
mod recursion;
mod schema;
mod subqueries;
pub mod syntax;
pub mod types;
mod zeros;

use std::sync::Arc;

use datafusion::execution::FunctionRegistry;
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::ExprPlanner;
use datafusion::optimizer::{Analyzer, AnalyzerRule, OptimizerRule};

pub use error::{Result, SqlError};

/// The analyzer rules: DataFusion's coercion of types, with our rules before and after it.
pub fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    let coercion = rules.iter().position(|r| r.name() == "type_coercion").unwrap_or(rules.len());
    rules.insert(coercion, Arc::new(literals::IntegerLiterals));
    rules.insert(coercion, Arc::new(by_value::WindowsByValue));
    rules.push(Arc::new(by_value::ByValue));
    rules.push(Arc::new(arithmetic::CheckArithmetic));
    rules.push(Arc::new(order::ArraysInOrder));
    rules.push(Arc::new(logic::ThreeValued));
    rules.push(Arc::new(constants::Constants));
    rules.insert(0, Arc::new(subqueries::Unnest));
    rules.insert(0, Arc::new(recursion::Recursions));
    rules
}

/// The optimizer rules that run after DataFusion's.
pub fn optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    vec![Arc::new(lists::ListsOfCases), Arc::new(zeros::OneZero)]
}

/// The optimizer rules that run before DataFusion's.
pub fn early_optimizer_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    nothing::rules()
}

/// Registers operators and functions.
pub fn install(state: &mut SessionState) -> Result<()> {
    functions::close(state)?;
    functions::bounds::install(state)?;
    for function in functions::math::functions() {
        state.register_udf(Arc::new(function))?;
    }
    for function in functions::aggregate::functions() {
        state.register_udaf(Arc::new(function))?;
    }
    for function in functions::ordered::functions().into_iter().chain(functions::json_aggregate::functions())
    {
        state.register_udaf(Arc::new(function))?;
    }
    functions::register(state)?;
    state.register_relation_planner(Arc::new(operators::sets::SetOperations))?;
    Ok(())
}

/// The expression planners: ours, then DataFusion's.
pub fn expr_planners() -> Vec<Arc<dyn ExprPlanner>> {
    let mut planners: Vec<Arc<dyn ExprPlanner>> = vec![Arc::new(operators::Operators)];
    planners.extend(SessionStateDefaults::default_expr_planners());
    planners
}
