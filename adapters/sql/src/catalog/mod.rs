//! A snapshot's catalog as data: schemas, tables, views, `information_schema`, and the part of `pg_catalog` that
//! clients query. Built for every statement, so that all of it, the pipelines' cursors too, belongs to one state of the
//! database. `tables` scans the tables.

pub mod columns;
pub mod functions;
pub mod information_schema;
pub mod pg_catalog;
pub mod rows;

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::error::Result;
use kernel::Snapshot;
use kernel::schema::{ERRORS_TABLE, TableDef};

use crate::client::{Registry, SessionInfo};
use tidemark_database::Database;

/// Name of the one database that a server has.
pub const DATABASE: &str = "tidemark";
/// Schema of the user's tables.
pub const PUBLIC: &str = "public";
/// Schema of standard views and of the pipelines' views.
pub const INFORMATION_SCHEMA: &str = "information_schema";
/// PostgreSQL's own catalog.
pub const PG_CATALOG: &str = "pg_catalog";

/// The catalog's sources beyond the snapshot: the running database, the session, all sessions.
#[derive(Clone)]
pub struct Surroundings {
    /// The database.
    pub database: Arc<dyn Database>,
    /// The session.
    pub session: Arc<SessionInfo>,
    /// All sessions.
    pub registry: Arc<Registry>,
}

/// The relation of a name.
pub enum Relation {
    /// A stored table.
    Stored(Arc<TableDef>),
    /// The dead letters: a stored table, and each message as text.
    Errors(Arc<TableDef>),
    /// Rows of the catalog.
    Rows(RecordBatch),
}

/// The catalog of one statement.
#[derive(Clone)]
pub struct View {
    pub(crate) surroundings: Surroundings,
    pub(crate) snapshot: Arc<Snapshot>,
}

impl View {
    /// A view of this state.
    pub fn new(surroundings: Surroundings, snapshot: Arc<Snapshot>) -> View {
        View { surroundings, snapshot }
    }

    /// The user's tables, in order of name.
    pub fn tables(&self) -> Vec<&Arc<TableDef>> {
        let mut tables: Vec<_> =
            self.snapshot.catalog.tables.values().filter(|t| t.id != ERRORS_TABLE).collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    /// A table or view by schema and name.
    pub fn relation(&self, schema: &str, name: &str) -> Result<Option<Relation>> {
        match schema {
            // As if pg_catalog were at the head of the search path, as in PostgreSQL.
            PUBLIC => match self.snapshot.catalog.table_named(name) {
                Some(def) => Ok(Some(Relation::Stored(Arc::clone(def)))),
                None => pg_catalog::relation(self, name),
            },
            INFORMATION_SCHEMA => information_schema::relation(self, name),
            PG_CATALOG => pg_catalog::relation(self, name),
            _ => Ok(None),
        }
    }

    /// Names in a schema.
    pub fn table_names(&self, schema: &str) -> Vec<String> {
        match schema {
            PUBLIC => self.tables().iter().map(|t| t.name.clone()).collect(),
            INFORMATION_SCHEMA => information_schema::NAMES.iter().map(|n| n.to_string()).collect(),
            PG_CATALOG => pg_catalog::NAMES.iter().map(|n| n.to_string()).collect(),
            _ => vec![],
        }
    }
}
