//! CREATE TABLE: the checks of its columns and keys.

use kernel::Snapshot;
use kernel::ids::{ColumnId, Sequence, TableId};
use kernel::message::{Definition, TableSpec};
use kernel::schema::{ColumnDef, ColumnType, TableDef};
use tidemark_pipeline_sql::{ColumnSyntax, CreateTable, parse_expression};

use crate::error::{Result, SqlError, SqlState};
use crate::query::StatementContext;
use crate::tables::snapshot_table::is_hidden_column;
use crate::write::default_values;

/// Most columns of a table, as in PostgreSQL.
const COLUMNS_MAX: usize = 1600;

/// Checks a CREATE TABLE.
pub async fn create(context: &StatementContext, create: CreateTable) -> Result<Definition> {
    let columns = columns(&create)?;
    let primary_key = key(&create, &create.primary_key, "PRIMARY KEY")?;
    let shard_key = key(&create, create.shard_key.as_deref().unwrap_or_default(), "SHARD KEY")?;
    let sort_key = key(&create, &create.sort_key, "SORT KEY")?;
    if !primary_key.is_empty()
        && let Some(outside) = shard_key.iter().find(|c| !primary_key.contains(c))
    {
        let message = format!(
            "shard key column \"{}\" of table \"{}\" is not part of the primary key: rows of one key must lie on one shard",
            create.columns[usize::from(*outside)].name,
            create.name
        );
        return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message)
            .with_hint("Add the column to the PRIMARY KEY, or leave it out of the SHARD KEY."));
    }
    let mut spec = TableSpec { name: create.name.clone(), columns, primary_key, shard_key, sort_key };
    for ordinal in &spec.primary_key {
        spec.columns[usize::from(*ordinal)].nullable = false;
    }
    check_defaults(context, &spec).await?;
    Ok(Definition::CreateTable { spec, if_not_exists: create.if_not_exists })
}

fn columns(create: &CreateTable) -> Result<Vec<ColumnDef>> {
    if create.columns.is_empty() {
        return Err(SqlError::new(
            SqlState::INVALID_TABLE_DEFINITION,
            format!("table \"{}\" has no column", create.name),
        ));
    }
    if create.columns.len() > COLUMNS_MAX {
        return Err(SqlError::new(
            SqlState::TOO_MANY_COLUMNS,
            format!("tables can have at most {COLUMNS_MAX} columns"),
        ));
    }
    let mut columns: Vec<ColumnDef> = Vec::with_capacity(create.columns.len());
    for ColumnSyntax { name, column_type, not_null, default } in &create.columns {
        if columns.iter().any(|c| c.name == *name) {
            let message = format!("column \"{name}\" specified more than once");
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
        if is_hidden_column(name) || name.starts_with('@') {
            let message = format!("column name \"{name}\" is reserved; choose another");
            return Err(SqlError::new(SqlState::RESERVED_NAME, message));
        }
        let default_sql = default.as_ref().map(|d| d.to_string());
        if let (Some(text), Some(default)) = (&default_sql, default)
            && parse_expression(text).as_ref() != Ok(default)
        {
            return Err(SqlError::unsupported(format!(
                "the DEFAULT of column \"{name}\" cannot be kept as text without changing it: write it differently"
            )));
        }
        columns.push(ColumnDef {
            id: ColumnId(columns.len() as u32),
            name: name.clone(),
            column_type: *column_type,
            nullable: !not_null,
            default_sql,
        });
    }
    Ok(columns)
}

fn key(create: &CreateTable, names: &[String], kind: &str) -> Result<Vec<u16>> {
    let mut ordinals = Vec::with_capacity(names.len());
    for name in names {
        let found = create.columns.iter().position(|c| c.name == *name).ok_or_else(|| {
            let message = format!("column \"{name}\" named in {kind} of \"{}\" does not exist", create.name);
            SqlError::new(SqlState::UNDEFINED_COLUMN, message)
        })?;
        if ordinals.contains(&(found as u16)) {
            let message = format!("column \"{name}\" appears twice in {kind} of \"{}\"", create.name);
            return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
        }
        if create.columns[found].column_type == ColumnType::Json {
            let message = format!(
                "column \"{name}\" of type jsonb cannot be part of a {kind}: equal values can be written differently"
            );
            return Err(SqlError::new(SqlState::INVALID_TABLE_DEFINITION, message));
        }
        ordinals.push(found as u16);
    }
    Ok(ordinals)
}

/// Refuses a TRUNCATE of several tables before the first is emptied.
pub fn check_all_exist(snapshot: &Snapshot, names: &[String]) -> Result<()> {
    match names.iter().find(|name| snapshot.catalog.table_named(name).is_none()) {
        Some(name) => {
            Err(SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist")))
        }
        None => Ok(()),
    }
}

/// Refuses a DROP of several tables before the first is dropped.
pub fn check_droppable(snapshot: &Snapshot, names: &[String], if_exists: bool) -> Result<()> {
    for name in names {
        match snapshot.catalog.table_named(name) {
            None if if_exists => {}
            None => {
                let message = format!("table \"{name}\" does not exist");
                return Err(SqlError::new(SqlState::UNDEFINED_TABLE, message));
            }
            Some(table) => {
                if let Some(pipeline) = snapshot.catalog.pipelines.values().find(|p| p.table == table.id) {
                    let message = format!(
                        "cannot drop table \"{name}\" because pipeline \"{}\" loads it",
                        pipeline.name
                    );
                    let quoted = tidemark_pipeline_sql::names::quote(&pipeline.name);
                    return Err(SqlError::new(SqlState::OBJECT_IN_USE, message)
                        .with_hint(format!("DROP PIPELINE {quoted} first.")));
                }
            }
        }
    }
    Ok(())
}

/// Evaluates every default once, so that errors are reported now and not at the first INSERT.
async fn check_defaults(context: &StatementContext, spec: &TableSpec) -> Result<()> {
    let table = TableDef {
        id: TableId(u32::MAX),
        name: spec.name.clone(),
        schema_version: 1,
        columns: spec.columns.clone(),
        // A default reads no column, so the keys do not matter.
        primary_key: vec![],
        shard_key: vec![],
        sort_key: vec![],
        created_at: Sequence(0),
    };
    for ordinal in 0..table.columns.len() {
        default_values(context, &table, &[ordinal], 1).await?;
    }
    Ok(())
}
