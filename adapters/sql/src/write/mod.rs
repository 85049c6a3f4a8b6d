//! INSERT, UPDATE, DELETE, ON CONFLICT and ON DUPLICATE KEY UPDATE: from a parsed statement to one
//! [`kernel::message::Write`]. `session` implements transaction blocks, which buffer the planned rows; TRUNCATE is a
//! definition.
//!
//! A statement that reads before it writes takes a table lock over all tables that it reads or writes, plans on the
//! staged tip, and submits the outcome under the lock. An INSERT of values takes no lock.

mod change;
mod defaults;
mod insert;
pub(crate) mod names;
mod once;
pub mod parameters;
pub(crate) mod rows;

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::sql::sqlparser::ast::Statement;
use kernel::ids::TableId;
use kernel::message::{Counts, TableWrite, Write};
use kernel::{Request, Response};

pub(crate) use defaults::columns as default_values;
pub(crate) use insert::require_key;

use crate::error::{Result, SqlError, SqlState};
use crate::query::{Environment, StatementContext};

/// How often a statement is planned again because a definition changed under it.
const ATTEMPTS_MAX: usize = 3;

/// True for the statements of this module.
pub fn is_write(statement: &Statement) -> bool {
    matches!(statement, Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_))
}

/// Plans a write, hands it to the kernel and waits until it is durable. Takes a table lock if the statement reads. The
/// counts are of rows as the client sees them: an UPDATE counts `updated`, not deletions and insertions.
pub async fn execute(env: &Environment, write: &Statement) -> Result<Counts> {
    execute_with(env, write, &[]).await
}

/// The same, with values for `$1`, `$2`, ….
pub async fn execute_with(
    env: &Environment,
    write: &Statement,
    parameters: &[ScalarValue],
) -> Result<Counts> {
    let write = parameters::substitute(write, parameters)?;
    let mut attempt = 1;
    loop {
        match execute_once(env, &write).await {
            Err(error) if error.sqlstate == SqlState::SERIALIZATION_FAILURE && attempt < ATTEMPTS_MAX => {
                attempt += 1;
            }
            outcome => return outcome,
        }
    }
}

async fn execute_once(env: &Environment, write: &Statement) -> Result<Counts> {
    let snapshot = env.database.snapshot()?;
    let reads_and_writes = tables_named(write, &snapshot);
    let only_writes =
        matches!(write, Statement::Insert(_)) && names::tables_read(write, &snapshot).is_empty();
    if only_writes {
        let context = env.context(&snapshot);
        let planned = plan(&context, write).await?;
        drop(context);
        drop(snapshot);
        return hand_in(env, None, planned).await;
    }
    drop(snapshot);
    let table_lock = env.database.table_lock(reads_and_writes.iter().copied().collect()).await?;
    if !tables_named(write, table_lock.snapshot()).is_subset(&reads_and_writes) {
        return Err(SqlError::new(
            SqlState::SERIALIZATION_FAILURE,
            "a table that the statement names was created or dropped meanwhile; try again",
        ));
    }
    let planned = plan(&env.context(table_lock.snapshot()), write).await?;
    if planned.tables.is_empty() {
        return Ok(planned.counts.unwrap_or_default());
    }
    hand_in(env, Some(table_lock), planned).await
}

async fn hand_in(
    env: &Environment,
    table_lock: Option<tidemark_database::TableLockGuard>,
    planned: Planned,
) -> Result<Counts> {
    if planned.tables.is_empty() {
        return Ok(planned.counts.unwrap_or_default());
    }
    let write = Write { table_lock: table_lock.map(|b| b.use_up()), tables: planned.tables };
    match env.database.request(Request::Write(write)).await? {
        Response::Done(counts) => Ok(planned.counts.unwrap_or(counts)),
        other => Err(SqlError::internal(format!("a write was answered with {other:?}"))),
    }
}

/// The outcome of planning.
struct Planned {
    tables: Vec<TableWrite>,
    /// The counts for the client, where planning determines them: UPDATE and DELETE.
    counts: Option<Counts>,
}

async fn plan(context: &StatementContext, write: &Statement) -> Result<Planned> {
    match write {
        Statement::Insert(insert) => {
            Ok(Planned { tables: insert::plan(context, insert).await?, counts: None })
        }
        Statement::Update(update) => change::plan_update(context, update).await,
        Statement::Delete(delete) => change::plan_delete(context, delete).await,
        _ => Err(SqlError::internal("this statement is no write")),
    }
}

/// Plans the rows of an INSERT inside a transaction block, on the block's snapshot and without a table lock; COMMIT
/// submits them. Refuses other writes with 0A000.
pub async fn plan_in_block(context: &StatementContext, write: &Statement) -> Result<Vec<TableWrite>> {
    plan_in_block_with(context, write, &[]).await
}

/// The same, with values for `$1`, `$2`, ….
pub async fn plan_in_block_with(
    context: &StatementContext,
    write: &Statement,
    parameters: &[ScalarValue],
) -> Result<Vec<TableWrite>> {
    let name = match write {
        Statement::Insert(_) => {
            let write = parameters::substitute(write, parameters)?;
            return Ok(plan(context, &write).await?.tables);
        }
        Statement::Update(_) => "UPDATE",
        Statement::Delete(_) => "DELETE",
        _ => return Err(SqlError::internal("this statement is no write")),
    };
    Err(SqlError::unsupported(format!("{name} is not supported inside a transaction block"))
        .with_hint("Run it by itself, outside of BEGIN … COMMIT: it is a transaction of its own."))
}

/// Types of `$1`, `$2`, … as far as the statement implies them.
pub async fn parameter_types(context: &StatementContext, write: &Statement) -> Result<Vec<Option<DataType>>> {
    parameters::types(context, write).await
}

/// The existing tables that a statement writes and reads.
fn tables_named(write: &Statement, snapshot: &kernel::Snapshot) -> BTreeSet<TableId> {
    let mut tables = names::tables_read(write, snapshot);
    tables.extend(names::target_name(write).and_then(|n| Some(snapshot.catalog.table_named(&n)?.id)));
    tables
}
