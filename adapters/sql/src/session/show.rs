//! SHOW: of settings, and of the catalog's views.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::sql::sqlparser::ast::{Ident, Statement as Sql};

use super::StatementOutcome;
use crate::error::Result;
use crate::query::Cursor;
use tidemark_database::SnapshotGuard;

fn select(sql: &str) -> Sql {
    match tidemark_pipeline_sql::parse(sql).map(|mut statements| statements.pop()) {
        Ok(Some(tidemark_pipeline_sql::Statement::Sql(sql))) => *sql,
        other => panic!("our own query {sql:?} is a query: {other:?}"),
    }
}

/// `SHOW PIPELINES`
pub fn pipelines() -> Sql {
    select(
        "SELECT pipeline_name AS \"Pipelines_in_tidemark\", state AS \"State\" FROM information_schema.pipelines \
         ORDER BY pipeline_name",
    )
}

/// `SHOW TABLES`
pub fn tables() -> Sql {
    select(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name",
    )
}

/// `SHOW DATABASES`
pub fn databases() -> Sql {
    select("SELECT datname AS database_name FROM pg_catalog.pg_database ORDER BY datname")
}

/// `SHOW SCHEMAS`
pub fn schemas() -> Sql {
    select("SELECT schema_name FROM information_schema.schemata ORDER BY schema_name")
}

/// Name of a setting in `SHOW`: `SHOW transaction isolation level` and `SHOW time zone` are several words.
pub fn setting_name(variable: &[Ident]) -> String {
    let words: Vec<&str> = variable.iter().map(|i| i.value.as_str()).collect();
    match words.join(" ").to_ascii_lowercase().as_str() {
        "transaction isolation level" => "transaction_isolation".into(),
        "time zone" => "TimeZone".into(),
        "session authorization" => "session_authorization".into(),
        _ => words.join("."),
    }
}

/// Ready rows of text.
pub fn rows(
    guard: SnapshotGuard,
    names: &[&str],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> Result<StatementOutcome> {
    let fields: Vec<Field> = names.iter().map(|name| Field::new(*name, DataType::Utf8, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let mut columns: Vec<Vec<String>> = names.iter().map(|_| vec![]).collect();
    for row in rows {
        columns.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }
    let arrays = columns.into_iter().map(|values| Arc::new(StringArray::from(values)) as ArrayRef).collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    let stream = RecordBatchStreamAdapter::new(schema, futures::stream::iter([Ok(batch)]));
    Ok(StatementOutcome::Rows(Cursor::new(guard, Box::pin(stream), None, None, "SHOW")?))
}

/// One row of text.
pub fn one_row(guard: SnapshotGuard, names: &[&str], row: Vec<String>) -> Result<StatementOutcome> {
    rows(guard, names, [row])
}
