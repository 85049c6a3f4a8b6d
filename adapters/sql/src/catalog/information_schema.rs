//! `information_schema`: the standard views that clients use, and the views of pipelines. The pipelines' cursors belong
//! to the statement's snapshot, so that rows and offsets agree; the source's offsets are from its last answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::error::Result;
use kernel::schema::{ColumnDef, ColumnType, ERRORS_TABLE, PipelineDef, PipelineState, TableDef};
use kernel::{PipelineId, Position};
use pg_semantics::types::Base::{self, *};
use tidemark_database::{PipelineStatus, SplitStatus};
use tidemark_pipeline_sql::{CreatePipeline, SourceSyntax, parse_pipeline};

use super::columns::base_of;
use super::rows::{Column, Value, batch, column, row};
use super::{DATABASE, INFORMATION_SCHEMA, PG_CATALOG, PUBLIC, Relation, View, pg_catalog};

/// Bytes that a text may have, as PostgreSQL counts them for this catalog, and those of a character.
const OCTETS_MAX: usize = 1 << 30;
const UTF8_BYTES_MAX: usize = 4;

/// Names of the views.
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

// The columns of the standard's views are PostgreSQL's, in its order. Its domains over `name` and `varchar` are sent as those.

const NULL: Value = Value::Null;

const SCHEMATA: &[Column] = &[
    column("catalog_name", Name),
    column("schema_name", Name),
    column("schema_owner", Name),
    column("default_character_set_catalog", Name),
    column("default_character_set_schema", Name),
    column("default_character_set_name", Name),
    column("sql_path", Varchar),
];

fn schemata() -> Vec<Vec<Value>> {
    let schema = |name: &str| row![DATABASE, name, "tidemark", NULL, NULL, NULL, NULL];
    [INFORMATION_SCHEMA, PG_CATALOG, PUBLIC].into_iter().map(schema).collect()
}

const TABLES: &[Column] = &[
    column("table_catalog", Name),
    column("table_schema", Name),
    column("table_name", Name),
    column("table_type", Varchar),
    column("self_referencing_column_name", Name),
    column("reference_generation", Varchar),
    column("user_defined_type_catalog", Name),
    column("user_defined_type_schema", Name),
    column("user_defined_type_name", Name),
    column("is_insertable_into", Varchar),
    column("is_typed", Varchar),
    column("commit_action", Varchar),
    // Ours.
    column("table_rows", Int8),
    column("data_bytes", Int8),
];

fn table_row(schema: &str, name: &str, kind: &str, insertable: &str, size: [Value; 2]) -> Vec<Value> {
    let mut row = row![DATABASE, schema, name, kind, NULL, NULL, NULL, NULL, NULL, insertable, "NO", NULL];
    row.extend(size);
    row
}

fn tables(view: &View) -> Vec<Vec<Value>> {
    let user = |t: &Arc<TableDef>| {
        let views = || view.snapshot.shards.iter().filter_map(|shard| shard.tables.get(&t.id));
        let live: u64 = views().map(|v| v.live_rows).sum();
        let bytes: u64 = views().map(|v| v.bytes).sum();
        table_row(PUBLIC, &t.name, "BASE TABLE", "YES", [live.into(), bytes.into()])
    };
    let ours = |schema: &'static str| move |name: &&str| table_row(schema, name, "VIEW", "NO", [NULL, NULL]);
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
    column("column_default", Varchar),
    column("is_nullable", Varchar),
    column("data_type", Varchar),
    column("character_maximum_length", Int4),
    column("character_octet_length", Int4),
    column("numeric_precision", Int4),
    column("numeric_precision_radix", Int4),
    column("numeric_scale", Int4),
    column("datetime_precision", Int4),
    column("interval_type", Varchar),
    column("interval_precision", Int4),
    column("character_set_catalog", Name),
    column("character_set_schema", Name),
    column("character_set_name", Name),
    column("collation_catalog", Name),
    column("collation_schema", Name),
    column("collation_name", Name),
    column("domain_catalog", Name),
    column("domain_schema", Name),
    column("domain_name", Name),
    column("udt_catalog", Name),
    column("udt_schema", Name),
    column("udt_name", Name),
    column("scope_catalog", Name),
    column("scope_schema", Name),
    column("scope_name", Name),
    column("maximum_cardinality", Int4),
    column("dtd_identifier", Name),
    column("is_self_referencing", Varchar),
    column("is_identity", Varchar),
    column("identity_generation", Varchar),
    column("identity_start", Varchar),
    column("identity_increment", Varchar),
    column("identity_maximum", Varchar),
    column("identity_minimum", Varchar),
    column("identity_cycle", Varchar),
    column("is_generated", Varchar),
    column("generation_expression", Varchar),
    column("is_updatable", Varchar),
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

/// Digits of a number, and the base that they are counted in; digits after the point.
fn numeric_digits(column_type: ColumnType) -> (Option<i64>, Option<i64>, Option<i64>) {
    match column_type {
        ColumnType::Int16 => (Some(16), Some(2), Some(0)),
        ColumnType::Int32 => (Some(32), Some(2), Some(0)),
        ColumnType::Int64 => (Some(64), Some(2), Some(0)),
        ColumnType::Float32 => (Some(24), Some(2), None),
        ColumnType::Float64 => (Some(53), Some(2), None),
        ColumnType::Decimal { precision, scale } => (Some(precision.into()), Some(10), Some(scale.into())),
        _ => (None, None, None),
    }
}

/// Most bytes of a text.
fn octets(base: Base, max_chars: Option<usize>) -> Option<usize> {
    let of_text = matches!(base, Base::Text | Base::Varchar);
    of_text.then(|| max_chars.map_or(OCTETS_MAX, |chars| chars * UTF8_BYTES_MAX))
}

fn column_row(table: &str, i: usize, c: &ColumnDef) -> Vec<Value> {
    let base = base_of(c.column_type);
    let (precision, radix, scale) = numeric_digits(c.column_type);
    let datetime: Option<i64> = match base {
        Base::Date => Some(0),
        Base::Time | Base::Timestamp | Base::TimestampTz | Base::Interval => Some(6),
        _ => None,
    };
    let mut row = row![DATABASE, PUBLIC, table, c.name.as_str(), i + 1];
    row.extend(row![c.default_sql.clone(), if c.nullable { "YES" } else { "NO" }, base.sql_name()]);
    row.extend(row![c.column_type.max_chars(), octets(base, c.column_type.max_chars())]);
    row.extend(row![precision, radix, scale, datetime, NULL, NULL]);
    // Character set, collation and domain.
    row.extend(std::iter::repeat_n(NULL, 9));
    row.extend(row![DATABASE, PG_CATALOG, base.name(), NULL, NULL, NULL, NULL, (i + 1).to_string()]);
    row.extend(row!["NO", "NO", NULL, NULL, NULL, NULL, NULL, "NO", "NEVER", NULL, "YES"]);
    row
}

const CONSTRAINTS: &[Column] = &[
    column("constraint_catalog", Name),
    column("constraint_schema", Name),
    column("constraint_name", Name),
    column("table_catalog", Name),
    column("table_schema", Name),
    column("table_name", Name),
    column("constraint_type", Varchar),
    column("is_deferrable", Varchar),
    column("initially_deferred", Varchar),
    column("enforced", Varchar),
    column("nulls_distinct", Varchar),
];

fn keyed(view: &View) -> impl Iterator<Item = &Arc<TableDef>> {
    view.tables().into_iter().filter(|t| !t.primary_key.is_empty())
}

fn constraints(view: &View) -> Vec<Vec<Value>> {
    let primary_key = |t: &Arc<TableDef>| {
        let mut row = row![DATABASE, PUBLIC, format!("{}_pkey", t.name), DATABASE, PUBLIC, t.name.as_str()];
        row.extend(row!["PRIMARY KEY", "NO", "NO", "YES", NULL]);
        row
    };
    keyed(view).map(primary_key).collect()
}

const KEY_COLUMNS: &[Column] = &[
    column("constraint_catalog", Name),
    column("constraint_schema", Name),
    column("constraint_name", Name),
    column("table_catalog", Name),
    column("table_schema", Name),
    column("table_name", Name),
    column("column_name", Name),
    column("ordinal_position", Int4),
    column("position_in_unique_constraint", Int4),
];

fn key_columns(view: &View) -> Vec<Vec<Value>> {
    let mut rows = vec![];
    for t in keyed(view) {
        for (i, column) in t.key_columns().enumerate() {
            let mut row = row![DATABASE, PUBLIC, format!("{}_pkey", t.name), DATABASE, PUBLIC];
            row.extend(row![t.name.as_str(), column.name.as_str(), i + 1, NULL]);
            rows.push(row);
        }
    }
    rows
}

const VIEWS: &[Column] = &[
    column("table_catalog", Name),
    column("table_schema", Name),
    column("table_name", Name),
    column("view_definition", Varchar),
    column("check_option", Varchar),
    column("is_updatable", Varchar),
    column("is_insertable_into", Varchar),
    column("is_trigger_updatable", Varchar),
    column("is_trigger_deletable", Varchar),
    column("is_trigger_insertable_into", Varchar),
];

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

fn status_by_id(view: &View) -> BTreeMap<PipelineId, PipelineStatus> {
    let statuses = view.surroundings.database.pipeline_status();
    statuses.into_iter().map(|status| (status.pipeline, status)).collect()
}

fn pipelines(view: &View) -> Vec<Vec<Value>> {
    let status = status_by_id(view);
    let pipeline = |p: &Arc<PipelineDef>| {
        let now = status.get(&p.id);
        let retried = now.and_then(|s| s.last_error.as_ref());
        let (state, code, message) = match &p.state {
            PipelineState::Stopped => ("Stopped", None, None),
            PipelineState::Running => {
                ("Running", retried.map(|e| e.sqlstate.to_string()), retried.map(ToString::to_string))
            }
            PipelineState::Failed(error) => {
                ("Error", Some(error.sqlstate.to_string()), Some(error.to_string()))
            }
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
            SourceSyntax::of(p.source_kind).keyword,
            p.generation.0,
            view.snapshot.catalog.cursors[&p.id].dead_letters,
            p.error_limit,
            Value::Float(p.batch_interval_us as f64 / 1000.0),
            now.map_or(Value::Null, |s| Value::Float(s.messages_per_second)),
            Value::Time(p.created_at_us),
            Value::Time(p.altered_at_us)
        ]
    };
    by_name(view).into_iter().map(pipeline).collect()
}

/// Parts of the address and settings of a pipeline's source, without secrets.
fn config_json(definition: &str) -> Option<String> {
    let CreatePipeline { source, .. } = parse_pipeline(definition).ok()?;
    let mut config = (source.syntax().parts)(&source.address);
    config.insert("config".into(), serde_json::json!(source.config_shown()));
    config.insert("credentials".into(), source.credentials_shown_json());
    Some(serde_json::Value::Object(config).to_string())
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
    let status = status_by_id(view);
    let mut rows = vec![];
    for p in by_name(view) {
        // If a pipeline does not run, or its source is not open, the source's offsets are unknown.
        let known = status.get(&p.id).filter(|_| p.state == PipelineState::Running);
        let heard = known.iter().flat_map(|status| &status.splits);
        let heard = heard.filter(|split| split.earliest.is_some() && split.high.is_some());
        let heard: BTreeMap<i32, &SplitStatus> =
            heard.filter_map(|split| Some((split.split.partition()?, split))).collect();
        let splits = view.snapshot.catalog.cursors[&p.id].splits();
        let positions = splits.filter_map(|(_, split)| Some((split.name.partition()?, split.position?)));
        let cursors: BTreeMap<i32, Position> = positions.collect();
        let mut partitions: Vec<i32> = cursors.keys().chain(heard.keys()).copied().collect();
        partitions.sort_unstable();
        partitions.dedup();
        for partition in partitions {
            let next = cursors.get(&partition).map(|position| position.ordinal());
            let marks = heard.get(&partition);
            // The source's answer may be older than the snapshot: committed messages exist and are not held back.
            let latest = marks.and_then(|marks| marks.high).map(|high| high.max(next.unwrap_or(0)));
            let lag = latest.zip(next).map(|(latest, next)| latest - next);
            let held_back = marks.zip(lag).map(|(marks, lag)| marks.held_back.unwrap_or(0).min(lag));
            rows.push(row![
                DATABASE,
                p.name.as_str(),
                SourceSyntax::of(p.source_kind).keyword,
                partition,
                marks.and_then(|marks| marks.earliest),
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

/// The dead letters: the kernel's errors table, at the same snapshot, and each message as text, whatever its bytes.
fn errors(view: &View) -> Option<Relation> {
    view.snapshot.catalog.tables.get(&ERRORS_TABLE).map(|def| Relation::Errors(Arc::clone(def)))
}
