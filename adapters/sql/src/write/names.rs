//! Which tables and columns a write names.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Assignment, AssignmentTarget, FromTable, Insert, ObjectName, Statement, TableAlias, TableFactor,
    TableObject, TableWithJoins, Visit, visit_relations,
};
use kernel::Snapshot;
use kernel::ids::TableId;
use kernel::schema::TableDef;
use tidemark_pipeline_sql::names::{fold, relation};

use crate::error::{Result, SqlError, SqlState};

/// The table of this name in the snapshot.
pub fn table(snapshot: &Snapshot, name: &ObjectName) -> Result<Arc<TableDef>> {
    let folded = relation(name)?;
    snapshot.catalog.table_named(&folded).cloned().ok_or_else(|| {
        SqlError::new(SqlState::UNDEFINED_TABLE, format!("relation \"{folded}\" does not exist"))
    })
}

/// Ordinal of a column in its table.
pub fn column(table: &TableDef, name: &str) -> Result<usize> {
    table.columns.iter().position(|c| c.name == name).ok_or_else(|| {
        let message = format!("column \"{name}\" of relation \"{}\" does not exist", table.name);
        SqlError::new(SqlState::UNDEFINED_COLUMN, message)
    })
}

/// The column that is assigned: alone, or qualified with the table's name or alias.
pub fn assigned(assignment: &Assignment, alias: &str) -> Result<String> {
    let AssignmentTarget::ColumnName(name) = &assignment.target else {
        return Err(SqlError::unsupported("assigning several columns from one expression is not supported"));
    };
    let parts: Option<Vec<String>> = name.0.iter().map(|p| p.as_ident().map(fold)).collect();
    match parts.as_deref() {
        Some([column]) => Ok(column.clone()),
        Some([relation, column]) if relation == alias => Ok(column.clone()),
        _ => Err(SqlError::syntax(format!("\"{name}\" is not a column that can be assigned"))),
    }
}

/// Name of the table that an INSERT writes.
pub fn insert_target(insert: &Insert) -> Result<&ObjectName> {
    match &insert.table {
        TableObject::TableName(name) => Ok(name),
        _ => Err(SqlError::unsupported("INSERT writes into a table only")),
    }
}

/// The one table that an UPDATE or DELETE changes, and its alias.
pub fn changed(tables: &[TableWithJoins]) -> Result<(&ObjectName, String)> {
    let [TableWithJoins { relation: TableFactor::Table { name, alias, args: None, .. }, joins }] = tables
    else {
        return Err(SqlError::unsupported("one table can be changed at a time"));
    };
    if !joins.is_empty() {
        return Err(SqlError::unsupported("joins cannot be changed; use UPDATE … FROM or DELETE … USING"));
    }
    let name_alone = relation(name)?;
    Ok((name, alias.as_ref().map_or(name_alone, |TableAlias { name, .. }| fold(name))))
}

/// Tables after DELETE FROM.
pub fn deleted_from(from: &FromTable) -> &[TableWithJoins] {
    match from {
        FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables) => tables,
    }
}

/// Folded name of the table that a write changes; None where it has no plain name.
pub fn target_name(write: &Statement) -> Option<String> {
    let name = match write {
        Statement::Insert(insert) => insert_target(insert).ok()?,
        Statement::Update(update) => changed(std::slice::from_ref(&update.table)).ok()?.0,
        Statement::Delete(delete) => changed(deleted_from(&delete.from)).ok()?.0,
        _ => return None,
    };
    relation(name).ok()
}

/// Tables that a write reads, its target apart where it only inserts there. A common table expression that hides a
/// table of the same name makes it count as read: one table lock too many, never one too few.
pub fn tables_read(write: &Statement, snapshot: &Snapshot) -> BTreeSet<TableId> {
    match write {
        Statement::Insert(insert) => {
            let mut tables = insert.source.as_ref().map(|s| named(s.as_ref(), snapshot)).unwrap_or_default();
            if let Some(on) = &insert.on {
                tables.extend(named(on, snapshot));
            }
            tables
        }
        other => named(other, snapshot),
    }
}

fn named(part: &impl Visit, snapshot: &Snapshot) -> BTreeSet<TableId> {
    let mut tables = BTreeSet::new();
    let _ = visit_relations(part, |name| {
        if let Ok(folded) = relation(name)
            && let Some(table) = snapshot.catalog.table_named(&folded)
        {
            tables.insert(table.id);
        }
        ControlFlow::<()>::Continue(())
    });
    tables
}
