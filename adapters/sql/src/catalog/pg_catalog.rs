//! `pg_catalog`: those of PostgreSQL's tables that clients query to show tables, types and sessions. Tables for missing
//! features (policies, publications, triggers) exist and are empty.

use std::sync::Arc;

use datafusion::error::Result;
use kernel::Snapshot;
use kernel::ids::TableId;
use kernel::schema::TableDef;
use pg_semantics::types::Base::{self, *};
use tidemark_pipeline_sql::names::quote;

use super::columns::{base_of, modifier_of};
use super::rows::{Column, Value, array, batch, column, row};
use super::{DATABASE, INFORMATION_SCHEMA, PG_CATALOG, PUBLIC, Relation, View};

/// Names of the tables.
pub const NAMES: &[&str] = &[
    "pg_am",
    "pg_attrdef",
    "pg_attribute",
    "pg_authid",
    "pg_class",
    "pg_collation",
    "pg_constraint",
    "pg_database",
    "pg_description",
    "pg_enum",
    "pg_extension",
    "pg_index",
    "pg_indexes",
    "pg_namespace",
    "pg_proc",
    "pg_range",
    "pg_roles",
    "pg_settings",
    "pg_stat_activity",
    "pg_tables",
    "pg_type",
    "pg_user",
    "pg_views",
];

/// Tables that are always empty, so that a query over them needs no plan (see `query::rewrite`).
pub const ALWAYS_EMPTY: &[&str] = &[
    "pg_auth_members",
    "pg_event_trigger",
    "pg_foreign_data_wrapper",
    "pg_foreign_server",
    "pg_foreign_table",
    "pg_inherits",
    "pg_language",
    "pg_matviews",
    "pg_partitioned_table",
    "pg_policy",
    "pg_publication",
    "pg_publication_namespace",
    "pg_publication_rel",
    "pg_publication_tables",
    "pg_rewrite",
    "pg_seclabel",
    "pg_sequence",
    "pg_statistic_ext",
    "pg_subscription",
    "pg_trigger",
];

const PG_CATALOG_OID: i64 = 11;
const PUBLIC_OID: i64 = 2200;
const INFORMATION_SCHEMA_OID: i64 = 13000;
const OWNER: i64 = 10;
const DATABASE_OID: i64 = 5;
const HEAP: i64 = 2;
const BTREE: i64 = 403;
const FIRST_OID: i64 = 16384;

/// A table has two numbers: its own, and that of its primary key.
fn oid(table: TableId) -> i64 {
    FIRST_OID + 2 * i64::from(table.0)
}

fn key_oid(table: TableId) -> i64 {
    oid(table) + 1
}

/// The table with this number.
pub fn table_of_oid(snapshot: &Snapshot, wanted: i64) -> Option<TableId> {
    snapshot.catalog.tables.keys().copied().find(|id| oid(*id) == wanted)
}

/// The number of a relation by name, qualified or not.
pub fn oid_of_name(snapshot: &Snapshot, name: &str) -> Option<i64> {
    let name = name.rsplit('.').next().unwrap_or(name).trim_matches('"');
    let table = snapshot.catalog.table_named(name).map(|t| oid(t.id));
    table.or_else(|| catalog_oid(name))
}

fn catalog_oid(name: &str) -> Option<i64> {
    NAMES.iter().position(|n| *n == name).map(|i| 12_000 + i as i64)
}

/// The name of a relation by number; the number itself if there is none.
pub fn name_of_oid(snapshot: &Snapshot, wanted: i64) -> String {
    for def in snapshot.catalog.tables.values() {
        if oid(def.id) == wanted {
            return quote(&def.name);
        }
        if key_oid(def.id) == wanted {
            return quote(&key_name(def));
        }
    }
    let catalog = NAMES.iter().find(|n| catalog_oid(n) == Some(wanted));
    catalog.map_or_else(|| wanted.to_string(), |n| n.to_string())
}

fn key_name(def: &TableDef) -> String {
    format!("{}_pkey", def.name)
}

fn key_columns(def: &TableDef) -> String {
    let names = def.key_columns().map(|column| quote(&column.name));
    names.collect::<Vec<_>>().join(", ")
}

fn keyed(snapshot: &Snapshot, key: i64) -> Option<&TableDef> {
    let tables = snapshot.catalog.tables.values();
    tables.map(Arc::as_ref).find(|t| key_oid(t.id) == key && !t.primary_key.is_empty())
}

/// The result of `pg_get_indexdef`.
pub fn index_definition(snapshot: &Snapshot, key: i64) -> Option<String> {
    let def = keyed(snapshot, key)?;
    let (name, table) = (quote(&key_name(def)), quote(&def.name));
    Some(format!("CREATE UNIQUE INDEX {name} ON public.{table} USING hash ({})", key_columns(def)))
}

/// The result of `pg_get_constraintdef`.
pub fn constraint_definition(snapshot: &Snapshot, key: i64) -> Option<String> {
    keyed(snapshot, key).map(|def| format!("PRIMARY KEY ({})", key_columns(def)))
}

/// A table by name.
pub fn relation(view: &View, name: &str) -> Result<Option<Relation>> {
    let (columns, rows): (&[Column], Vec<Vec<Value>>) = match name {
        "pg_namespace" => (NAMESPACE, namespaces()),
        "pg_class" => (CLASS, classes(view)),
        "pg_attribute" => (ATTRIBUTE, attributes(view)),
        "pg_attrdef" => (ATTRDEF, defaults(view)),
        "pg_type" => (TYPE, types()),
        "pg_index" => (INDEX, indexes(view)),
        "pg_constraint" => (CONSTRAINT, constraints(view)),
        "pg_database" => (DATABASES, databases()),
        "pg_am" => (AM, vec![row![HEAP, "heap", 3, "t"], row![BTREE, "btree", 330, "i"]]),
        "pg_roles" | "pg_authid" => (ROLES, roles(view)),
        "pg_user" => (USER, vec![row![view.surroundings.session.user.as_str(), OWNER, true, true]]),
        "pg_settings" => (SETTINGS, settings(view)),
        "pg_stat_activity" => (ACTIVITY, activity(view)),
        "pg_tables" => (TABLES, tables(view)),
        "pg_indexes" => (INDEXES, index_list(view)),
        "pg_views" => (VIEWS, vec![]),
        "pg_collation" => (COLLATION, vec![row![100, "default", PG_CATALOG_OID]]),
        "pg_description" => (DESCRIPTION, vec![]),
        "pg_enum" => (ENUM, vec![]),
        "pg_range" => (RANGE, vec![]),
        "pg_proc" => (PROC, vec![]),
        "pg_extension" => (EXTENSION, vec![]),
        _ => return Ok(None),
    };
    Ok(Some(Relation::Rows(batch(columns, rows)?)))
}

const NAMESPACE: &[Column] =
    &[column("oid", Oid), column("nspname", Name), column("nspowner", Oid), array("nspacl", Text)];

fn namespaces() -> Vec<Vec<Value>> {
    [(PG_CATALOG_OID, PG_CATALOG), (PUBLIC_OID, PUBLIC), (INFORMATION_SCHEMA_OID, INFORMATION_SCHEMA)]
        .into_iter()
        .map(|(oid, name)| row![oid, name, OWNER, Value::Null])
        .collect()
}

const CLASS: &[Column] = &[
    column("oid", Oid),
    column("relname", Name),
    column("relnamespace", Oid),
    column("reltype", Oid),
    column("reloftype", Oid),
    column("relowner", Oid),
    column("relam", Oid),
    column("relfilenode", Oid),
    column("reltablespace", Oid),
    column("relpages", Int4),
    column("reltuples", Float4),
    column("reltoastrelid", Oid),
    column("relhasindex", Bool),
    column("relisshared", Bool),
    column("relpersistence", Char),
    column("relkind", Char),
    column("relnatts", Int2),
    column("relchecks", Int2),
    column("relhasrules", Bool),
    column("relhastriggers", Bool),
    column("relhassubclass", Bool),
    column("relrowsecurity", Bool),
    column("relforcerowsecurity", Bool),
    column("relreplident", Char),
    column("relispartition", Bool),
    array("relacl", Text),
    array("reloptions", Text),
];

fn class(
    oid: i64,
    name: &str,
    schema: i64,
    kind: &str,
    columns: usize,
    keyed: bool,
    rows: f64,
) -> Vec<Value> {
    let am = match kind {
        "r" => HEAP,
        "i" => BTREE,
        _ => 0,
    };
    row![
        oid,
        name,
        schema,
        0,
        0,
        OWNER,
        am,
        oid,
        0,
        0,
        Value::Float(rows),
        0,
        keyed,
        false,
        "p",
        kind,
        columns,
        0,
        false,
        false,
        false,
        false,
        false,
        "d",
        false,
        Value::Null,
        Value::Null
    ]
}

fn classes(view: &View) -> Vec<Vec<Value>> {
    let mut rows = vec![];
    for def in view.tables() {
        let views = view.snapshot.shards.iter().filter_map(|shard| shard.tables.get(&def.id));
        let live: u64 = views.map(|v| v.live_rows).sum();
        let keyed = !def.primary_key.is_empty();
        rows.push(class(oid(def.id), &def.name, PUBLIC_OID, "r", def.columns.len(), keyed, live as f64));
        if keyed {
            let columns = def.primary_key.len();
            rows.push(class(key_oid(def.id), &key_name(def), PUBLIC_OID, "i", columns, false, 0.0));
        }
    }
    for name in NAMES {
        rows.push(class(catalog_oid(name).unwrap_or(0), name, PG_CATALOG_OID, "r", 0, false, 0.0));
    }
    rows
}

const ATTRIBUTE: &[Column] = &[
    column("attrelid", Oid),
    column("attname", Name),
    column("atttypid", Oid),
    column("attlen", Int2),
    column("attnum", Int2),
    column("attndims", Int4),
    column("atttypmod", Int4),
    column("attnotnull", Bool),
    column("atthasdef", Bool),
    column("attidentity", Char),
    column("attgenerated", Char),
    column("attisdropped", Bool),
    column("attislocal", Bool),
    column("attinhcount", Int4),
    column("attcollation", Oid),
    column("attstorage", Char),
    column("attcompression", Char),
    column("attstattarget", Int4),
    array("attacl", Text),
    array("attoptions", Text),
    // Not in PostgreSQL: the default, which clients query by a correlated subquery (see `query::rewrite`).
    column("attdefault", Text),
];

fn attributes(view: &View) -> Vec<Vec<Value>> {
    let mut rows = vec![];
    for def in view.tables() {
        for (i, c) in def.columns.iter().enumerate() {
            let base = base_of(c.column_type);
            let has_default = c.default_sql.is_some();
            rows.push(row![
                oid(def.id),
                c.name.as_str(),
                base.oid(),
                base.size(),
                i + 1,
                0,
                modifier_of(c.column_type),
                !c.nullable,
                has_default,
                "",
                "",
                false,
                true,
                0,
                0,
                "p",
                "",
                -1,
                Value::Null,
                Value::Null,
                c.default_sql.clone()
            ]);
        }
        for (i, c) in def.key_columns().enumerate() {
            let base = base_of(c.column_type);
            rows.push(row![
                key_oid(def.id),
                c.name.as_str(),
                base.oid(),
                base.size(),
                i + 1,
                0,
                modifier_of(c.column_type),
                false,
                false,
                "",
                "",
                false,
                true,
                0,
                0,
                "p",
                "",
                -1,
                Value::Null,
                Value::Null,
                Value::Null
            ]);
        }
    }
    rows
}

const ATTRDEF: &[Column] =
    &[column("oid", Oid), column("adrelid", Oid), column("adnum", Int2), column("adbin", Text)];

fn defaults(view: &View) -> Vec<Vec<Value>> {
    let mut rows = vec![];
    for def in view.tables() {
        for (i, c) in def.columns.iter().enumerate() {
            if let Some(default) = &c.default_sql {
                rows.push(row![oid(def.id) * 1000 + i as i64, oid(def.id), i + 1, default.as_str()]);
            }
        }
    }
    rows
}

const TYPE: &[Column] = &[
    column("oid", Oid),
    column("typname", Name),
    column("typnamespace", Oid),
    column("typowner", Oid),
    column("typlen", Int2),
    column("typbyval", Bool),
    column("typtype", Char),
    column("typcategory", Char),
    column("typispreferred", Bool),
    column("typisdefined", Bool),
    column("typdelim", Char),
    column("typrelid", Oid),
    column("typelem", Oid),
    column("typarray", Oid),
    column("typnotnull", Bool),
    column("typbasetype", Oid),
    column("typtypmod", Int4),
    column("typcollation", Oid),
    column("typdefault", Text),
];

fn category(base: Base) -> &'static str {
    match base {
        Bool => "B",
        Int2 | Int4 | Int8 | Float4 | Float8 | Numeric | Oid => "N",
        Date | Time | Timestamp | TimestampTz => "D",
        Interval => "T",
        Text | Varchar | Bpchar | Name | Char => "S",
        _ => "U",
    }
}

fn types() -> Vec<Vec<Value>> {
    let mut rows = vec![];
    for base in Base::ALL {
        rows.push(row![
            base.oid(),
            base.name(),
            PG_CATALOG_OID,
            OWNER,
            base.size(),
            base.size() > 0 && base.size() <= 8,
            "b",
            category(*base),
            false,
            true,
            ",",
            0,
            0,
            base.array_oid(),
            false,
            0,
            -1,
            0,
            Value::Null
        ]);
        rows.push(row![
            base.array_oid(),
            format!("_{}", base.name()),
            PG_CATALOG_OID,
            OWNER,
            -1,
            false,
            "b",
            "A",
            false,
            true,
            ",",
            0,
            base.oid(),
            0,
            false,
            0,
            -1,
            0,
            Value::Null
        ]);
    }
    rows
}

const INDEX: &[Column] = &[
    column("indexrelid", Oid),
    column("indrelid", Oid),
    column("indnatts", Int2),
    column("indnkeyatts", Int2),
    column("indisunique", Bool),
    column("indisprimary", Bool),
    column("indisexclusion", Bool),
    column("indimmediate", Bool),
    column("indisclustered", Bool),
    column("indisvalid", Bool),
    column("indisready", Bool),
    column("indislive", Bool),
    column("indisreplident", Bool),
    array("indkey", Int8),
    array("indoption", Int8),
    column("indexprs", Text),
    column("indpred", Text),
];

fn numbers(def: &TableDef) -> Value {
    Value::Ints(def.ordinals(&def.primary_key).into_iter().map(|at| i64::from(at) + 1).collect())
}

fn keyed_tables(view: &View) -> impl Iterator<Item = &Arc<TableDef>> {
    view.tables().into_iter().filter(|t| !t.primary_key.is_empty())
}

fn indexes(view: &View) -> Vec<Vec<Value>> {
    keyed_tables(view)
        .map(|def| {
            let n = def.primary_key.len();
            row![
                key_oid(def.id),
                oid(def.id),
                n,
                n,
                true,
                true,
                false,
                true,
                false,
                true,
                true,
                true,
                false,
                numbers(def),
                Value::Ints(vec![0; n]),
                Value::Null,
                Value::Null
            ]
        })
        .collect()
}

const CONSTRAINT: &[Column] = &[
    column("oid", Oid),
    column("conname", Name),
    column("connamespace", Oid),
    column("contype", Char),
    column("condeferrable", Bool),
    column("condeferred", Bool),
    column("convalidated", Bool),
    column("conrelid", Oid),
    column("contypid", Oid),
    column("conindid", Oid),
    column("conparentid", Oid),
    column("confrelid", Oid),
    array("conkey", Int8),
    array("confkey", Int8),
];

fn constraints(view: &View) -> Vec<Vec<Value>> {
    keyed_tables(view)
        .map(|def| {
            let key = key_oid(def.id);
            row![
                key,
                key_name(def),
                PUBLIC_OID,
                "p",
                false,
                false,
                true,
                oid(def.id),
                0,
                key,
                0,
                0,
                numbers(def),
                Value::Null
            ]
        })
        .collect()
}

const DATABASES: &[Column] = &[
    column("oid", Oid),
    column("datname", Name),
    column("datdba", Oid),
    column("encoding", Int4),
    column("datlocprovider", Char),
    column("datistemplate", Bool),
    column("datallowconn", Bool),
    column("datconnlimit", Int4),
    column("dattablespace", Oid),
    column("datcollate", Text),
    column("datctype", Text),
    column("daticulocale", Text),
    column("datcollversion", Text),
    array("datacl", Text),
];

fn databases() -> Vec<Vec<Value>> {
    vec![row![
        DATABASE_OID,
        DATABASE,
        OWNER,
        6,
        "c",
        false,
        true,
        -1,
        0,
        "C",
        "C",
        Value::Null,
        Value::Null,
        Value::Null
    ]]
}

const AM: &[Column] =
    &[column("oid", Oid), column("amname", Name), column("amhandler", Oid), column("amtype", Char)];

const ROLES: &[Column] = &[
    column("oid", Oid),
    column("rolname", Name),
    column("rolsuper", Bool),
    column("rolinherit", Bool),
    column("rolcreaterole", Bool),
    column("rolcreatedb", Bool),
    column("rolcanlogin", Bool),
    column("rolreplication", Bool),
    column("rolconnlimit", Int4),
    column("rolbypassrls", Bool),
    column("rolvaliduntil", TimestampTz),
];

fn roles(view: &View) -> Vec<Vec<Value>> {
    let user = view.surroundings.session.user.as_str();
    vec![row![OWNER, user, true, true, true, true, true, false, -1, true, Value::Null]]
}

const USER: &[Column] = &[
    column("usename", Name),
    column("usesysid", Oid),
    column("usecreatedb", Bool),
    column("usesuper", Bool),
];

const SETTINGS: &[Column] = &[column("name", Text), column("setting", Text)];

fn settings(view: &View) -> Vec<Vec<Value>> {
    let settings = view.surroundings.session.settings.lock();
    settings.all().into_iter().map(|(name, value)| row![name, value]).collect()
}

const ACTIVITY: &[Column] = &[
    column("datid", Oid),
    column("datname", Name),
    column("pid", Int4),
    column("usename", Name),
    column("application_name", Text),
    column("client_addr", Text),
    column("client_port", Int4),
    column("backend_start", TimestampTz),
    column("xact_start", TimestampTz),
    column("query_start", TimestampTz),
    column("state_change", TimestampTz),
    column("state", Text),
    column("query", Text),
    column("backend_type", Text),
];

fn activity(view: &View) -> Vec<Vec<Value>> {
    let at = |micros: Option<i64>| micros.map_or(Value::Null, Value::Time);
    let sessions = view.surroundings.registry.all();
    let session = |s: &Arc<crate::client::SessionInfo>| {
        let activity = s.activity.lock().clone();
        let (address, port) = s.client.rsplit_once(':').unwrap_or((&s.client, ""));
        row![
            DATABASE_OID,
            DATABASE,
            s.pid,
            s.user.as_str(),
            s.settings.lock().get("application_name"),
            address,
            port.parse::<i64>().ok(),
            Value::Time(s.started_us),
            at(activity.transaction_start_us),
            at(activity.query_start_us),
            at(activity.state_change_us),
            activity.state,
            activity.query,
            "client backend"
        ]
    };
    sessions.iter().map(session).collect()
}

const TABLES: &[Column] = &[
    column("schemaname", Name),
    column("tablename", Name),
    column("tableowner", Name),
    column("tablespace", Name),
    column("hasindexes", Bool),
];

fn tables(view: &View) -> Vec<Vec<Value>> {
    let user =
        |t: &Arc<TableDef>| row![PUBLIC, t.name.as_str(), "tidemark", Value::Null, !t.primary_key.is_empty()];
    let mut rows: Vec<Vec<Value>> = view.tables().into_iter().map(user).collect();
    rows.extend(NAMES.iter().map(|name| row![PG_CATALOG, *name, "tidemark", Value::Null, false]));
    rows
}

const INDEXES: &[Column] = &[
    column("schemaname", Name),
    column("tablename", Name),
    column("indexname", Name),
    column("indexdef", Text),
];

fn index_list(view: &View) -> Vec<Vec<Value>> {
    let index = |t: &Arc<TableDef>| {
        row![PUBLIC, t.name.as_str(), key_name(t), index_definition(&view.snapshot, key_oid(t.id))]
    };
    keyed_tables(view).map(index).collect()
}

const VIEWS: &[Column] = &[
    column("schemaname", Name),
    column("viewname", Name),
    column("viewowner", Name),
    column("definition", Text),
];
const COLLATION: &[Column] = &[column("oid", Oid), column("collname", Name), column("collnamespace", Oid)];
const DESCRIPTION: &[Column] =
    &[column("objoid", Oid), column("classoid", Oid), column("objsubid", Int4), column("description", Text)];
const ENUM: &[Column] = &[
    column("oid", Oid),
    column("enumtypid", Oid),
    column("enumsortorder", Float4),
    column("enumlabel", Name),
];
const RANGE: &[Column] = &[column("rngtypid", Oid), column("rngsubtype", Oid)];
const PROC: &[Column] =
    &[column("oid", Oid), column("proname", Name), column("pronamespace", Oid), column("prokind", Char)];
const EXTENSION: &[Column] =
    &[column("oid", Oid), column("extname", Name), column("extversion", Text), column("extnamespace", Oid)];
