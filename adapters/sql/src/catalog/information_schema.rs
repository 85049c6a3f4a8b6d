//! `information_schema`: the standard views that clients use, and the views of pipelines. The pipelines' cursors are those
//! of the statement's snapshot, so that rows and offsets agree; what the source has beyond them is the newest that is known.

use std::sync::Arc;

use datafusion::error::Result;
use kernel::schema::{ColumnDef, ColumnType, ERRORS_TABLE, PipelineDef, PipelineState, TableDef};
use pg_semantics::types::Base::*;
use tidemark_pipeline_sql::{CreatePipeline, parse_pipeline};

use super::columns::base_of;
use super::rows::{Column, Value, batch, column, row};
use super::{DATABASE, INFORMATION_SCHEMA, PG_CATALOG, PUBLIC, Relation, View, pg_catalog};

/// Views that there are.
pub const NAMES: &[&str] = &[
    "columns",
    "key_column_usage",
    "pipelines",
    "pipelines_cursors",
    "pipelines_errors",
    "schemata",
    "table_constraints",
    "tables",
    "views",
];

/// A view by name.
pub fn relation(view: &View, name: &str) -> Result<Option<Relation>> {
    let (columns, rows): (&[Column], Vec<Vec<Value>>) = match name {
        "schemata" => (SCHEMATA, schemata()),
        "tables" => (TABLES, tables(view)),
        "columns" => (COLUMNS, columns(view)),
        "table_constraints" => (CONSTRAINTS, constraints(view)),
        "key_column_usage" => (KEY_COLUMNS, key_columns(view)),
        "views" => (VIEWS, vec![]),
        "pipelines" => (PIPELINES, pipelines(view)),
        "pipelines_cursors" => (CURSORS, cursors(view)),
        "pipelines_errors" => return Ok(errors(view)),
        _ => return Ok(None),
    };
    Ok(Some(Relation::Rows(batch(columns, rows)?)))
}

const SCHEMATA: &[Column] =
    &[column("catalog_name", Name), column("schema_name", Name), column("schema_owner", Name)];

fn schemata() -> Vec<Vec<Value>> {
    [INFORMATION_SCHEMA, PG_CATALOG, PUBLIC].into_iter().map(|s| row![DATABASE, s, "tidemark"]).collect()
}

const TABLES: &[Column] = &[
    column("table_catalog", Name),
    column("table_schema", Name),
    column("table_name", Name),
    column("table_type", Text),
    column("is_insertable_into", Text),
    column("table_rows", Int8),
    column("data_bytes", Int8),
];

fn tables(view: &View) -> Vec<Vec<Value>> {
    let user = |t: &Arc<TableDef>| {
        let views = || view.snapshot.shards.iter().filter_map(|shard| shard.tables.get(&t.id));
        let live: u64 = views().map(|v| v.live_rows).sum();
        let bytes: u64 = views().map(|v| v.bytes).sum();
        row![DATABASE, PUBLIC, t.name.as_str(), "BASE TABLE", "YES", live, bytes]
    };
    let ours = |schema: &'static str| {
        move |name: &&str| row![DATABASE, schema, *name, "VIEW", "NO", Value::Null, Value::Null]
    };
    let mut rows: Vec<Vec<Value>> = view.tables().into_iter().map(user).collect();
    rows.extend(NAMES.iter().map(ours(INFORMATION_SCHEMA)));
    rows.extend(pg_catalog::NAMES.iter().map(ours(PG_CATALOG)));
    rows
}

const COLUMNS: &[Column] = &[
    column("table_catalog", Name),
    column("table_schema", Name),
    column("table_name", Name),
    column("column_name", Name),
    column("ordinal_position", Int4),
    column("column_default", Text),
    column("is_nullable", Text),
    column("data_type", Text),
    column("character_maximum_length", Int4),
    column("numeric_precision", Int4),
    column("numeric_scale", Int4),
    column("datetime_precision", Int4),
    column("udt_schema", Name),
    column("udt_name", Name),
];

fn columns(view: &View) -> Vec<Vec<Value>> {
    let mut rows = vec![];
    for table in view.tables() {
        for (i, c) in table.columns.iter().enumerate() {
            rows.push(column_row(&table.name, i, c));
        }
    }
    rows
}

fn column_row(table: &str, i: usize, c: &ColumnDef) -> Vec<Value> {
    let base = base_of(c.column_type);
    let (precision, scale): (Option<i64>, Option<i64>) = match c.column_type {
        ColumnType::Int16 => (Some(16), Some(0)),
        ColumnType::Int32 => (Some(32), Some(0)),
        ColumnType::Int64 => (Some(64), Some(0)),
        ColumnType::Float32 => (Some(24), None),
        ColumnType::Float64 => (Some(53), None),
        ColumnType::Decimal { precision, scale } => (Some(precision.into()), Some(scale.into())),
        _ => (None, None),
    };
    let datetime = matches!(c.column_type, ColumnType::Timestamp | ColumnType::TimestampTz).then_some(6i64);
    row![
        DATABASE,
        PUBLIC,
        table,
        c.name.as_str(),
        i + 1,
        c.default_sql.clone(),
        if c.nullable { "YES" } else { "NO" },
        base.sql_name(),
        c.column_type.max_chars(),
        precision,
        scale,
        datetime,
        PG_CATALOG,
        base.name()
    ]
}

const CONSTRAINTS: &[Column] = &[
    column("constraint_catalog", Name),
    column("constraint_schema", Name),
    column("constraint_name", Name),
    column("table_schema", Name),
    column("table_name", Name),
    column("constraint_type", Text),
];

fn keyed(view: &View) -> impl Iterator<Item = &Arc<TableDef>> {
    view.tables().into_iter().filter(|t| !t.primary_key.is_empty())
}

fn constraints(view: &View) -> Vec<Vec<Value>> {
    keyed(view)
        .map(|t| row![DATABASE, PUBLIC, format!("{}_pkey", t.name), PUBLIC, t.name.as_str(), "PRIMARY KEY"])
        .collect()
}

const KEY_COLUMNS: &[Column] = &[
    column("constraint_schema", Name),
    column("constraint_name", Name),
    column("table_schema", Name),
    column("table_name", Name),
    column("column_name", Name),
    column("ordinal_position", Int4),
];

fn key_columns(view: &View) -> Vec<Vec<Value>> {
    let mut rows = vec![];
    for t in keyed(view) {
        for (i, ordinal) in t.primary_key.iter().enumerate() {
            let column = t.columns[usize::from(*ordinal)].name.as_str();
            rows.push(row![PUBLIC, format!("{}_pkey", t.name), PUBLIC, t.name.as_str(), column, i + 1]);
        }
    }
    rows
}

const VIEWS: &[Column] =
    &[column("table_schema", Name), column("table_name", Name), column("view_definition", Text)];

const PIPELINES: &[Column] = &[
    column("database_name", Text),
    column("pipeline_name", Text),
    column("pipeline_id", Int8),
    column("table_name", Text),
    column("config_json", Text),
    column("state", Text),
    column("error_code", Text),
    column("error_message", Text),
    column("source_type", Text),
    column("run", Int8),
    column("errors_in_run", Int8),
    column("error_limit", Int8),
    column("batch_interval_ms", Float8),
    column("rows_per_second", Float8),
    column("create_time", TimestampTz),
    column("alter_time", TimestampTz),
];

fn by_name(view: &View) -> Vec<&Arc<PipelineDef>> {
    let mut pipelines: Vec<_> = view.snapshot.catalog.pipelines.values().collect();
    pipelines.sort_by(|a, b| a.name.cmp(&b.name));
    pipelines
}

fn pipelines(view: &View) -> Vec<Vec<Value>> {
    let status = view.surroundings.database.pipeline_status();
    let pipeline = |p: &Arc<PipelineDef>| {
        let now = status.get(&p.id);
        let retried = now.and_then(|s| s.last_error.as_ref());
        let (state, code, message) = match &p.state {
            PipelineState::Stopped => ("Stopped", None, None),
            PipelineState::Running => (
                "Running",
                retried.map(|e| e.kind.sqlstate().to_string()),
                retried.map(|e| e.message.clone()),
            ),
            PipelineState::Failed { code, message } => ("Error", Some(code.clone()), Some(message.clone())),
        };
        let table = view.snapshot.catalog.tables.get(&p.table).map(|t| t.name.clone());
        row![
            DATABASE,
            p.name.as_str(),
            p.id.0,
            table,
            config_json(&p.definition_sql),
            state,
            code,
            message,
            "KAFKA",
            p.run.0,
            p.set_aside,
            p.error_limit,
            Value::Float(p.batch_interval_us as f64 / 1000.0),
            now.map_or(Value::Null, |s| Value::Float(s.rows_per_second)),
            Value::Time(p.created_at_us),
            Value::Time(p.altered_at_us)
        ]
    };
    by_name(view).into_iter().map(pipeline).collect()
}

/// Where a pipeline reads and with which settings; what is secret is not shown.
fn config_json(definition: &str) -> Option<String> {
    let CreatePipeline { source, .. } = parse_pipeline(definition).ok()?;
    let config = serde_json::json!({
        "brokers": source.brokers,
        "topic": source.topic,
        "config": source.config_shown(),
        "credentials": source.credentials_shown_json(),
    });
    Some(config.to_string())
}

const CURSORS: &[Column] = &[
    column("database_name", Text),
    column("pipeline_name", Text),
    column("source_type", Text),
    column("source_partition_id", Int4),
    column("earliest_offset", Int8),
    column("latest_offset", Int8),
    column("cursor_offset", Int8),
    column("successful_cursor_offset", Int8),
    column("lag", Int8),
    column("held_back", Int8),
];

fn cursors(view: &View) -> Vec<Vec<Value>> {
    let status = view.surroundings.database.pipeline_status();
    let mut rows = vec![];
    for p in by_name(view) {
        // Of a pipeline that does not run, or whose source is not open, nobody knows what there is by now.
        let known = status.get(&p.id).filter(|_| p.state == PipelineState::Running);
        let watermarks = known.map(|s| s.watermarks.clone()).unwrap_or_default();
        let mut partitions: Vec<i32> = p.cursors.keys().chain(watermarks.keys()).copied().collect();
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            let next = p.cursors.get(&partition).map(|c| c.next_offset);
            let marks = watermarks.get(&partition).copied();
            // The reading may be older than the snapshot: what is committed is there, and was not held back any more.
            let latest = marks.map(|marks| marks.end.max(next.unwrap_or(0)));
            let lag = latest.zip(next).map(|(latest, next)| latest - next);
            let held_back = marks.zip(lag).map(|(marks, lag)| marks.held_back.min(lag));
            rows.push(row![
                DATABASE,
                p.name.as_str(),
                "KAFKA",
                partition,
                marks.map(|marks| marks.earliest),
                latest,
                next,
                next,
                lag,
                held_back
            ]);
        }
    }
    rows
}

/// What pipelines set aside: the kernel's own table, at the same snapshot, and each message as text, whatever its bytes.
fn errors(view: &View) -> Option<Relation> {
    view.snapshot.catalog.tables.get(&ERRORS_TABLE).map(|def| Relation::Errors(Arc::clone(def)))
}
