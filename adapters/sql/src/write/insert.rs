//! INSERT: the source of the rows, and the column of each value.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray, new_null_array};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::sql::sqlparser::ast::{
    ConflictTarget, Expr, Insert, OnConflictAction, OnInsert, Parens, Query, SetExpr, Statement, Value,
    Values,
};
use kernel::expr::OnDuplicate;
use kernel::message::TableWrite;
use kernel::schema::{ColumnType, TableDef};
use tidemark_pipeline_sql::names::fold;

use super::{defaults, names, once, rows};
use crate::assign::convert::{from_texts, to_column};
use crate::assign::defaults::{expression, literal_text};
use crate::assign::lower::{self, Scope};
use crate::error::{Result, SqlError, SqlState};
use crate::query::StatementContext;

/// Plans an INSERT: its rows, routed.
pub async fn plan(context: &StatementContext, insert: &Insert) -> Result<Vec<TableWrite>> {
    refuse_unsupported(insert)?;
    let table = names::table(context.snapshot(), names::insert_target(insert)?)?;
    let targets = target_columns(insert, &table)?;
    let on_duplicate = on_duplicate(insert, &table, now_us(context))?;
    let batches = match &insert.source {
        None => vec![default_row(context, &table).await?],
        Some(query) => source_rows(context, query, &table, &targets, !insert.columns.is_empty()).await?,
    };
    if updates_on_conflict(insert) {
        once::check(&table, &batches)?;
    }
    let shard_count = context.environment().database.shard_count();
    let write = |columns| rows::table_write(&table, shard_count, columns, vec![], on_duplicate.clone());
    batches.into_iter().map(write).collect()
}

fn updates_on_conflict(insert: &Insert) -> bool {
    matches!(&insert.on, Some(OnInsert::OnConflict(on)) if matches!(on.action, OnConflictAction::DoUpdate(_)))
}

fn refuse_unsupported(insert: &Insert) -> Result<()> {
    if insert.returning.is_some() || insert.output.is_some() {
        return Err(SqlError::unsupported("RETURNING is not supported").with_hint("SELECT after the INSERT."));
    }
    let said = insert.or.is_some()
        || insert.ignore
        || insert.overwrite
        || insert.replace_into
        || insert.partitioned.is_some()
        || !insert.after_columns.is_empty()
        || !insert.assignments.is_empty()
        || insert.insert_alias.is_some()
        || insert.settings.is_some()
        || insert.format_clause.is_some()
        || insert.multi_table_insert_type.is_some();
    match said {
        true => Err(SqlError::unsupported(
            "this form of INSERT is not supported: INSERT INTO t (…) VALUES or SELECT is",
        )),
        false => Ok(()),
    }
}

/// Ordinals of the target columns, in order.
pub(super) fn target_columns(insert: &Insert, table: &TableDef) -> Result<Vec<usize>> {
    if insert.columns.is_empty() {
        return Ok((0..table.columns.len()).collect());
    }
    let mut targets = Vec::with_capacity(insert.columns.len());
    for name in &insert.columns {
        let [part] = name.0.as_slice() else {
            return Err(SqlError::syntax(format!("\"{name}\" is not the name of a column")));
        };
        let name = part.as_ident().map(fold).unwrap_or_default();
        let ordinal = names::column(table, &name)?;
        if targets.contains(&ordinal) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
        targets.push(ordinal);
    }
    Ok(targets)
}

fn now_us(context: &StatementContext) -> kernel::Micros {
    let start = context.state().execution_props().query_execution_start_time;
    start.map_or(0, |t| t.timestamp_micros())
}

fn on_duplicate(insert: &Insert, table: &TableDef, now_us: kernel::Micros) -> Result<OnDuplicate> {
    let alias = insert.table_alias.as_ref().map_or_else(|| table.name.clone(), |a| fold(&a.alias));
    let scope = Scope { table, alias: &alias, now_us: Some(now_us) };
    match &insert.on {
        None => Ok(OnDuplicate::Reject),
        Some(OnInsert::DuplicateKeyUpdate(assignments)) => {
            require_key(table, "ON DUPLICATE KEY UPDATE")?;
            lower::update(scope, &assignments_of(assignments, &alias)?, None)
        }
        Some(OnInsert::OnConflict(conflict)) => {
            conflict_target(conflict.conflict_target.as_ref(), table)?;
            match &conflict.action {
                // Without a key there is no conflict.
                OnConflictAction::DoNothing if table.primary_key.is_empty() => Ok(OnDuplicate::Reject),
                OnConflictAction::DoNothing => Ok(OnDuplicate::Ignore),
                OnConflictAction::DoUpdate(update) => {
                    require_key(table, "ON CONFLICT DO UPDATE")?;
                    if conflict.conflict_target.is_none() {
                        return Err(SqlError::syntax(
                            "ON CONFLICT DO UPDATE requires the conflict's columns: ON CONFLICT (key) DO UPDATE …",
                        ));
                    }
                    let assignments = assignments_of(&update.assignments, &alias)?;
                    lower::update(scope, &assignments, update.selection.as_ref())
                }
            }
        }
        Some(_) => Err(SqlError::unsupported("this clause of INSERT is not supported")),
    }
}

fn assignments_of(
    assignments: &[datafusion::sql::sqlparser::ast::Assignment],
    alias: &str,
) -> Result<Vec<(String, Expr)>> {
    assignments.iter().map(|a| Ok((names::assigned(a, alias)?, a.value.clone()))).collect()
}

pub(crate) fn require_key(table: &TableDef, clause: &str) -> Result<()> {
    if table.primary_key.is_empty() {
        return Err(SqlError::new(
            SqlState::INVALID_COLUMN_REFERENCE,
            format!("{clause} needs a primary key, and table \"{}\" has none", table.name),
        ));
    }
    Ok(())
}

fn conflict_target(target: Option<&ConflictTarget>, table: &TableDef) -> Result<()> {
    let mut said: Vec<usize> = match target {
        None => return Ok(()),
        Some(ConflictTarget::Columns(columns)) => {
            columns.iter().map(|c| names::column(table, &fold(c))).collect::<Result<_>>()?
        }
        Some(ConflictTarget::OnConstraint(name)) => {
            if name.to_string() == format!("{}_pkey", table.name) && !table.primary_key.is_empty() {
                return Ok(());
            }
            let message = format!("constraint \"{name}\" for table \"{}\" does not exist", table.name);
            return Err(SqlError::new(SqlState::UNDEFINED_OBJECT, message));
        }
    };
    said.sort_unstable();
    said.dedup();
    let mut key: Vec<usize> = table.ordinals(&table.primary_key).into_iter().map(usize::from).collect();
    key.sort_unstable();
    if said == key && !key.is_empty() {
        return Ok(());
    }
    let message = "there is no unique or exclusion constraint matching the ON CONFLICT specification";
    let hint = match key.is_empty() {
        true => format!("Table \"{}\" has no primary key.", table.name),
        false => {
            let names: Vec<&str> = key.iter().map(|c| table.columns[*c].name.as_str()).collect();
            format!("The one key of \"{}\" is its primary key: ({}).", table.name, names.join(", "))
        }
    };
    Err(SqlError::new(SqlState::INVALID_COLUMN_REFERENCE, message).with_hint(hint))
}

/// `DEFAULT VALUES`
async fn default_row(context: &StatementContext, table: &TableDef) -> Result<Vec<ArrayRef>> {
    let all: Vec<usize> = (0..table.columns.len()).collect();
    defaults::columns(context, table, &all, 1).await
}

/// The table's columns for each batch of the source, in its types.
async fn source_rows(
    context: &StatementContext,
    query: &Query,
    table: &TableDef,
    targets: &[usize],
    named: bool,
) -> Result<Vec<Vec<ArrayRef>>> {
    let mut query = query.clone();
    let mut literals = Literals::default();
    if let Some(values) = plain_values(&mut query) {
        check_width(values, targets.len(), named)?;
        let targets = &targets[..values.rows.first().map_or(0, |r| r.content.len())];
        fill_in_defaults(values, table, targets)?;
        literals = take_literals(values, table, targets);
    }
    let (batches, width) = match literals.columns(table, targets)? {
        Some(columns) => {
            let width = columns.len();
            (vec![columns], width)
        }
        None => {
            let plan = context.plan(&Statement::Query(Box::new(query))).await?;
            let width = plan.schema().fields().len();
            check_count(width, targets.len(), named)?;
            let batches = context.collect(&plan).await?;
            let converted = batches.iter().filter(|b| b.num_rows() > 0).map(|b| converted(b, table, targets));
            (literals.put_into(converted.collect::<Result<Vec<_>>>()?, table, targets)?, width)
        }
    };
    let fed = &targets[..width];
    let missing: Vec<usize> = (0..table.columns.len()).filter(|o| !fed.contains(o)).collect();
    let mut filled = Vec::with_capacity(batches.len());
    for batch in batches {
        let rows = batch.first().map_or(0, |c| c.len());
        let defaults = defaults::columns(context, table, &missing, rows).await?;
        let mut columns: Vec<Option<ArrayRef>> = vec![None; table.columns.len()];
        for (ordinal, values) in fed.iter().zip(batch).chain(missing.iter().zip(defaults)) {
            columns[*ordinal] = Some(values);
        }
        filled.push(columns.into_iter().map(|c| c.expect("fed or missing")).collect());
    }
    Ok(filled)
}

fn converted(batch: &RecordBatch, table: &TableDef, targets: &[usize]) -> Result<Vec<ArrayRef>> {
    let column = |(values, ordinal): (&ArrayRef, &usize)| to_column(values, &table.columns[*ordinal]);
    batch.columns().iter().zip(targets).map(column).collect()
}

fn check_count(found: usize, wanted: usize, named: bool) -> Result<()> {
    if found > wanted {
        return Err(SqlError::syntax("INSERT has more expressions than target columns"));
    }
    if found < wanted && named {
        return Err(SqlError::syntax("INSERT has more target columns than expressions"));
    }
    Ok(())
}

/// The rows of a plain `VALUES (…), …`.
fn plain_values(query: &mut Query) -> Option<&mut Values> {
    let plain = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    match query.body.as_mut() {
        SetExpr::Values(values) if plain => Some(values),
        _ => None,
    }
}

fn check_width(values: &Values, wanted: usize, named: bool) -> Result<()> {
    let width = values.rows.first().map_or(0, |r| r.content.len());
    if values.rows.iter().any(|r| r.content.len() != width) {
        return Err(SqlError::syntax("VALUES lists must all be the same length"));
    }
    check_count(width, wanted, named)
}

/// Replaces DEFAULT in a row by the column's default.
fn fill_in_defaults(values: &mut Values, table: &TableDef, targets: &[usize]) -> Result<()> {
    for Parens { content, .. } in &mut values.rows {
        for (cell, ordinal) in content.iter_mut().zip(targets) {
            let is_default = matches!(cell, Expr::Identifier(ident)
                if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"));
            if is_default {
                let default = expression(&table.columns[*ordinal])?;
                *cell = default.unwrap_or_else(|| Expr::Value(Value::Null.into()));
            }
        }
    }
    Ok(())
}

/// The literals of a VALUES list by column, which are read as values of their target columns, exactly and each by
/// itself, as in PostgreSQL: other expressions in the column have no influence.
#[derive(Default)]
struct Literals {
    /// The text of each cell; inner None: null; outer None: not a literal.
    cells: Vec<Vec<Option<Option<String>>>>,
}

/// Takes the literals out and leaves nulls, which fit every type.
fn take_literals(values: &mut Values, table: &TableDef, targets: &[usize]) -> Literals {
    let mut cells: Vec<Vec<_>> = vec![Vec::with_capacity(values.rows.len()); targets.len()];
    for Parens { content, .. } in &mut values.rows {
        for ((cell, ordinal), into) in content.iter_mut().zip(targets).zip(&mut cells) {
            let text = literal_text(cell, &table.columns[*ordinal]);
            if text.is_some() {
                *cell = Expr::Value(Value::Null.into());
            }
            into.push(text);
        }
    }
    Literals { cells }
}

impl Literals {
    /// All columns, if every cell is a literal: no query plan is needed.
    fn columns(&self, table: &TableDef, targets: &[usize]) -> Result<Option<Vec<ArrayRef>>> {
        if self.cells.is_empty() || self.cells.iter().flatten().any(Option::is_none) {
            return Ok(None);
        }
        let columns = self.cells.iter().zip(targets);
        columns
            .map(|(cells, ordinal)| read(cells, table.columns[*ordinal].column_type))
            .collect::<Result<_>>()
            .map(Some)
    }

    /// Puts the literals back into the evaluated columns.
    fn put_into(
        &self,
        batches: Vec<Vec<ArrayRef>>,
        table: &TableDef,
        targets: &[usize],
    ) -> Result<Vec<Vec<ArrayRef>>> {
        let mut start = 0;
        let mut filled = Vec::with_capacity(batches.len());
        for mut batch in batches {
            let rows = batch.first().map_or(0, |c| c.len());
            for ((column, cells), ordinal) in batch.iter_mut().zip(&self.cells).zip(targets) {
                let cells = &cells[start..start + rows];
                let literal: BooleanArray = cells.iter().map(|cell| Some(cell.is_some())).collect();
                *column = zip(&literal, &read(cells, table.columns[*ordinal].column_type)?, column)?;
            }
            start += rows;
            filled.push(batch);
        }
        Ok(filled)
    }
}

/// Cells as values of a column, null where there is no literal.
fn read(cells: &[Option<Option<String>>], column_type: ColumnType) -> Result<ArrayRef> {
    let texts: StringArray =
        cells.iter().map(|cell| cell.as_ref().and_then(|text| text.as_deref())).collect();
    match column_type {
        ColumnType::Text => Ok(Arc::new(texts)),
        _ if texts.null_count() == texts.len() => Ok(new_null_array(&column_type.arrow(), texts.len())),
        _ => from_texts(&texts, column_type),
    }
}
