//! UPDATE and DELETE: a query over the table's rows with their identity, whose outcome is deletions and new rows. An
//! updated row is a new row, on the shard of its new key, and a deletion of the old one.

use std::collections::HashSet;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt16Array};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::datatypes::{UInt16Type, UInt32Type, UInt64Type};
use datafusion::sql::sqlparser::ast::{
    Delete, Expr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableWithJoins, Update,
    UpdateTableFromKind, Value,
};
use kernel::expr::OnDuplicate;
use kernel::ids::{RowId, Sequence};
use kernel::message::Counts;
use kernel::schema::TableDef;
use tidemark_pipeline_sql::{Statement as Ours, parse};

use super::rows::{self, Deletes};
use super::{Planned, names};
use crate::assign::convert::to_column;
use crate::assign::defaults::expression;
use crate::error::{Result, SqlError};
use crate::query::StatementContext;
use crate::tables::snapshot_table::ROW_ID_COLUMNS;

/// Plans an UPDATE.
pub async fn plan_update(context: &StatementContext, update: &Update) -> Result<Planned> {
    let (table, query, assigned) = update_query(context, update)?;
    let batches = run(context, query).await?;
    let mut seen = HashSet::new();
    let mut deletes = no_deletes(context);
    let mut changed = Vec::new();
    for batch in &batches {
        let batch = first_of_each(batch, &mut seen)?;
        take_ids(&batch, &mut deletes)?;
        changed.push(post_image(&batch, &table, &assigned)?);
    }
    let counts = Counts { updated: seen.len() as u64, ..Counts::default() };
    if seen.is_empty() {
        return Ok(Planned { tables: vec![], counts: Some(counts) });
    }
    // All deletions go into the first part: a later part's row may have a key that an earlier part's row still holds.
    let shard_count = context.environment().database.shard_count();
    let mut tables = Vec::with_capacity(changed.len());
    for columns in changed {
        let deletes = std::mem::take(&mut deletes);
        tables.push(rows::table_write(&table, shard_count, columns, deletes, OnDuplicate::Reject)?);
    }
    Ok(Planned { tables, counts: Some(counts) })
}

/// Plans a DELETE.
pub async fn plan_delete(context: &StatementContext, delete: &Delete) -> Result<Planned> {
    let (table, query) = delete_query(context, delete)?;
    let batches = run(context, query).await?;
    let mut seen = HashSet::new();
    let mut deletes = no_deletes(context);
    for batch in &batches {
        take_ids(&first_of_each(batch, &mut seen)?, &mut deletes)?;
    }
    let counts = Counts { deleted: seen.len() as u64, ..Counts::default() };
    if seen.is_empty() {
        return Ok(Planned { tables: vec![], counts: Some(counts) });
    }
    let shard_count = context.environment().database.shard_count();
    let write = rows::table_write(&table, shard_count, rows::no_rows(&table), deletes, OnDuplicate::Reject)?;
    Ok(Planned { tables: vec![write], counts: Some(counts) })
}

async fn run(context: &StatementContext, query: Statement) -> Result<Vec<RecordBatch>> {
    context.show_hidden_columns();
    let plan = context.plan(&query).await?;
    context.collect(&plan).await
}

fn no_deletes(context: &StatementContext) -> Deletes {
    vec![Vec::new(); usize::from(context.environment().database.shard_count())]
}

/// The query that finds the rows of an UPDATE: identity, the table's columns, then the new values; and the columns of
/// these values.
pub(super) fn update_query(
    context: &StatementContext,
    update: &Update,
) -> Result<(std::sync::Arc<TableDef>, Statement, Vec<usize>)> {
    if update.returning.is_some() || update.output.is_some() {
        return Err(SqlError::unsupported("RETURNING is not supported").with_hint("SELECT after the UPDATE."));
    }
    if update.or.is_some() || !update.order_by.is_empty() || update.limit.is_some() {
        return Err(SqlError::unsupported("UPDATE with OR, ORDER BY or LIMIT is not supported"));
    }
    let target = std::slice::from_ref(&update.table);
    let (name, alias) = names::changed(target)?;
    let table = names::table(context.snapshot(), name)?;
    let from = match &update.from {
        None => &[],
        Some(UpdateTableFromKind::BeforeSet(tables) | UpdateTableFromKind::AfterSet(tables)) => {
            tables.as_slice()
        }
    };
    let mut projection = identity(&alias);
    projection.extend(table.columns.iter().map(|c| item(qualified(&alias, &c.name))));
    let mut assigned = Vec::with_capacity(update.assignments.len());
    for assignment in &update.assignments {
        let name = names::assigned(assignment, &alias)?;
        let ordinal = names::column(&table, &name)?;
        if assigned.contains(&ordinal) {
            return Err(SqlError::syntax(format!("multiple assignments to same column \"{name}\"")));
        }
        let value = match &assignment.value {
            Expr::Identifier(i) if i.quote_style.is_none() && i.value.eq_ignore_ascii_case("default") => {
                let default = expression(&table.columns[ordinal])?;
                default.unwrap_or_else(|| Expr::Value(Value::Null.into()))
            }
            value => value.clone(),
        };
        projection.push(aliased(value, &format!("assigned{}", assigned.len())));
        assigned.push(ordinal);
    }
    let from = [target, from].concat();
    Ok((table, select(projection, from, update.selection.clone())?, assigned))
}

/// The query that finds the rows of a DELETE: their identity.
pub(super) fn delete_query(
    context: &StatementContext,
    delete: &Delete,
) -> Result<(std::sync::Arc<TableDef>, Statement)> {
    if delete.returning.is_some() || delete.output.is_some() {
        return Err(
            SqlError::unsupported("RETURNING is not supported").with_hint("SELECT before the DELETE.")
        );
    }
    if !delete.tables.is_empty() || !delete.order_by.is_empty() || delete.limit.is_some() {
        return Err(SqlError::unsupported(
            "DELETE of several tables, or with ORDER BY or LIMIT, is not supported",
        ));
    }
    let target = names::deleted_from(&delete.from);
    let (name, alias) = names::changed(target)?;
    let table = names::table(context.snapshot(), name)?;
    let from = [target, delete.using.as_deref().unwrap_or_default()].concat();
    Ok((table, select(identity(&alias), from, delete.selection.clone())?))
}

fn identity(alias: &str) -> Vec<SelectItem> {
    ROW_ID_COLUMNS.iter().map(|name| item(qualified(alias, name))).collect()
}

fn qualified(alias: &str, column: &str) -> Expr {
    Expr::CompoundIdentifier(vec![Ident::with_quote('"', alias), Ident::with_quote('"', column)])
}

fn item(expr: Expr) -> SelectItem {
    SelectItem::UnnamedExpr(expr)
}

fn aliased(expr: Expr, alias: &str) -> SelectItem {
    SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', alias) }
}

/// `SELECT projection FROM from WHERE selection`, out of parsed parts.
fn select(
    projection: Vec<SelectItem>,
    from: Vec<TableWithJoins>,
    selection: Option<Expr>,
) -> Result<Statement> {
    let mut query = blank_query();
    let SetExpr::Select(select) = query.body.as_mut() else { unreachable!("a blank query is a SELECT") };
    let blank: &mut Select = select;
    blank.projection = projection;
    blank.from = from;
    blank.selection = selection;
    Ok(Statement::Query(Box::new(query)))
}

fn blank_query() -> Query {
    let parsed = parse("SELECT 1").ok().and_then(|mut s| s.pop());
    match parsed {
        Some(Ours::Sql(statement)) => match *statement {
            Statement::Query(query) => *query,
            other => unreachable!("{other}"),
        },
        other => unreachable!("{other:?}"),
    }
}

fn ids(batch: &RecordBatch) -> (&UInt16Array, impl Fn(usize) -> RowId + '_) {
    let shards = batch.column(0).as_primitive::<UInt16Type>();
    let sequences = batch.column(1).as_primitive::<UInt64Type>();
    let ordinals = batch.column(2).as_primitive::<UInt32Type>();
    (shards, move |row| RowId { sequence: Sequence(sequences.value(row)), ordinal: ordinals.value(row) })
}

/// Rows that were not seen before: a join may find a row several times, and it changes once.
fn first_of_each(batch: &RecordBatch, seen: &mut HashSet<(u16, RowId)>) -> Result<RecordBatch> {
    let (shards, id) = ids(batch);
    let new: BooleanArray =
        (0..batch.num_rows()).map(|row| Some(seen.insert((shards.value(row), id(row))))).collect();
    match new.true_count() == batch.num_rows() {
        true => Ok(batch.clone()),
        false => Ok(filter_record_batch(batch, &new)?),
    }
}

fn take_ids(batch: &RecordBatch, deletes: &mut Deletes) -> Result<()> {
    let (shards, id) = ids(batch);
    for row in 0..batch.num_rows() {
        let shard = usize::from(shards.value(row));
        let into = deletes.get_mut(shard);
        into.ok_or_else(|| SqlError::internal(format!("row of shard {shard}, which does not exist")))?
            .push(id(row));
    }
    Ok(())
}

/// The table's columns after the update.
fn post_image(batch: &RecordBatch, table: &TableDef, assigned: &[usize]) -> Result<Vec<ArrayRef>> {
    let old = &batch.columns()[ROW_ID_COLUMNS.len()..];
    let new = &old[table.columns.len()..];
    let mut columns = Vec::with_capacity(table.columns.len());
    for (ordinal, column) in table.columns.iter().enumerate() {
        columns.push(match assigned.iter().position(|a| *a == ordinal) {
            Some(n) => to_column(&new[n], column)?,
            None => to_column(&old[ordinal], column)?,
        });
    }
    Ok(columns)
}
