//! Limits of a parsed statement, checked before it is planned. `tidemark_pipeline_sql` limits the cost of parsing.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, Ident, LockType, Query, Select, Statement, TableFactor, UnaryOperator, Visit, Visitor,
};
use tidemark_pipeline_sql::names::fold;

use crate::error::{Result, SqlError, SqlState};

/// Most columns of a select list, as in PostgreSQL.
pub const SELECT_COLUMNS_MAX: usize = 1664;

/// Deepest nesting of queries.
const QUERIES_DEPTH_MAX: usize = 300;

/// Deepest nesting of functions and signs. The planner names and types each of them together with all of its children,
/// several times: the time grows with the cube of the depth. Sequences of operators are planned flat and do not count.
const CALLS_DEPTH_MAX: usize = 200;

/// Deepest nesting of queries that are operands (scalar ones, those of IN, EXISTS, ANY and ALL). DataFusion checks each
/// plan after each of its passes, and an inner query as a part of every outer one: each level doubles the time.
const OPERAND_QUERIES_DEPTH_MAX: usize = 10;

/// Most tables and queries that a statement reads, each common table counted at each mention, because the plan contains
/// it that often.
const RELATIONS_MAX: u64 = 1_000;

/// Most of them in all definitions of common tables together, unused ones included.
const DEFINED_RELATIONS_MAX: u64 = 20 * RELATIONS_MAX;

/// Refuses a statement that exceeds a limit, and row locks, which do not exist.
pub fn check(statement: &Statement) -> Result<()> {
    let mut check = Check::default();
    match statement.visit(&mut check) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

fn too_complex(what: String) -> SqlError {
    SqlError::new(SqlState::STATEMENT_TOO_COMPLEX, format!("statement too complex: {what}"))
        .with_hint("Ask in several statements.")
}

fn too_many_relations(bound: u64) -> SqlError {
    too_complex(format!("it reads more than {bound} tables and queries"))
}

/// Refuses a list of too many columns.
pub fn check_width(columns: usize) -> Result<()> {
    match columns {
        0..=SELECT_COLUMNS_MAX => Ok(()),
        _ => {
            let message = format!("target lists can have at most {SELECT_COLUMNS_MAX} entries");
            Err(SqlError::new(SqlState::TOO_MANY_COLUMNS, message))
        }
    }
}

#[derive(Default)]
struct Check {
    depth: usize,
    /// Functions and signs around the current node.
    calls: usize,
    /// Operand queries around the current node.
    operand_queries: usize,
    /// Relations of all common tables.
    defined: u64,
    /// Relations that the open queries have mentioned so far, innermost last.
    open: Vec<u64>,
    /// Relations of each common table. A name that is defined again keeps the larger number.
    common: HashMap<String, u64>,
    /// Common tables that are being defined, in order, by query.
    defining: Vec<Vec<Ident>>,
}

impl Check {
    fn mention(&mut self, relations: u64) -> ControlFlow<SqlError> {
        let Some(open) = self.open.last_mut() else { return ControlFlow::Continue(()) };
        *open = open.saturating_add(relations);
        match *open > RELATIONS_MAX {
            true => ControlFlow::Break(too_many_relations(RELATIONS_MAX)),
            false => ControlFlow::Continue(()),
        }
    }
}

impl Visitor for Check {
    type Break = SqlError;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<SqlError> {
        if let Some(lock) = query.locks.first() {
            let kind = if lock.lock_type == LockType::Update { "UPDATE" } else { "SHARE" };
            let error = SqlError::unsupported(format!(
                "SELECT … FOR {kind} is not supported: rows are not locked, a statement reads one snapshot and a block commits as one"
            ));
            return ControlFlow::Break(error.with_hint(
                "Read and write in one statement: UPDATE … SET x = x + 1, or INSERT … ON CONFLICT DO UPDATE.",
            ));
        }
        self.depth += 1;
        if self.depth > QUERIES_DEPTH_MAX {
            return ControlFlow::Break(too_complex(format!(
                "queries are nested deeper than {QUERIES_DEPTH_MAX}"
            )));
        }
        self.open.push(0);
        let names = query.with.iter().flat_map(|with| &with.cte_tables).rev();
        self.defining.push(names.map(|common| common.alias.name.clone()).collect());
        self.mention(1)
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<SqlError> {
        self.depth -= 1;
        self.defining.pop();
        let relations = self.open.pop().unwrap_or_default();
        // The common tables of the enclosing query come first, in order, each one query.
        if let Some(name) = self.defining.last_mut().and_then(Vec::pop) {
            let common = self.common.entry(fold(&name)).or_default();
            *common = relations.max(*common);
            // Its definition is in the plan where it is mentioned, and only there.
            self.defined = self.defined.saturating_add(relations);
            return match self.defined > DEFINED_RELATIONS_MAX {
                true => ControlFlow::Break(too_many_relations(DEFINED_RELATIONS_MAX)),
                false => ControlFlow::Continue(()),
            };
        }
        self.mention(relations)
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        self.calls += usize::from(is_call(expr));
        self.operand_queries += usize::from(is_query(expr));
        let what = if self.calls > CALLS_DEPTH_MAX {
            format!("functions are nested deeper than {CALLS_DEPTH_MAX}")
        } else if self.operand_queries > OPERAND_QUERIES_DEPTH_MAX {
            format!("queries that are operands are nested deeper than {OPERAND_QUERIES_DEPTH_MAX}")
        } else {
            return ControlFlow::Continue(());
        };
        ControlFlow::Break(too_complex(what))
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<SqlError> {
        self.calls -= usize::from(is_call(expr));
        self.operand_queries -= usize::from(is_query(expr));
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<SqlError> {
        match check_width(select.projection.len()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(error),
        }
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<SqlError> {
        let TableFactor::Table { name, .. } = factor else { return ControlFlow::Continue(()) };
        let common = match name.0.as_slice() {
            [part] => part.as_ident().and_then(|ident| self.common.get(&fold(ident)).copied()),
            _ => None,
        };
        self.mention(1 + common.unwrap_or_default())
    }
}

/// Whether the planner makes a call of it: functions, and signs. Special forms of functions count as functions.
fn is_call(expr: &Expr) -> bool {
    match expr {
        Expr::UnaryOp { op, .. } => !matches!(op, UnaryOperator::Not),
        Expr::Function(_)
        | Expr::Extract { .. }
        | Expr::Ceil { .. }
        | Expr::Floor { .. }
        | Expr::Position { .. }
        | Expr::Substring { .. }
        | Expr::Trim { .. }
        | Expr::Overlay { .. } => true,
        _ => false,
    }
}

/// An operand that is a query. That of ANY or ALL is an expression of its own.
fn is_query(expr: &Expr) -> bool {
    matches!(expr, Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. })
}
