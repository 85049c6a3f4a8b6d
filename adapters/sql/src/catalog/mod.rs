//! A snapshot as SQL sees it: schemas, tables, `information_schema` and as much of `pg_catalog` as clients ask for. Built
//! anew for every statement, so that all of it, the pipelines' cursors too, is of one state of the database.

pub mod functions;
pub mod information_schema;
pub mod json;
pub mod pg_catalog;
pub mod providers;
pub mod rows;
pub mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::error::Result;
use kernel::Snapshot;
use kernel::ids::{ShardId, TableId};
use kernel::message::TableWrite;
use kernel::schema::{ERRORS_TABLE, TableDef};

use crate::error::SqlError;
use crate::query::Environment;

/// Name of the one database that a server has.
pub const DATABASE: &str = "tidemark";
/// Schema of the user's tables.
pub const PUBLIC: &str = "public";
/// Schema of standard views and of the pipelines' views.
pub const INFORMATION_SCHEMA: &str = "information_schema";
/// PostgreSQL's own catalog.
pub const PG_CATALOG: &str = "pg_catalog";

/// Rows that a transaction block has buffered and that its own statements see.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    rows: BTreeMap<TableId, Vec<(ShardId, RecordBatch)>>,
    unreadable: BTreeSet<TableId>,
}

impl Overlay {
    /// Adds what a statement of the block is going to write. A table with buffered upserts cannot be read in the block:
    /// whether a row is new or an update is known only when the block commits.
    pub fn add(&mut self, write: &TableWrite) {
        if !matches!(write.on_duplicate, kernel::expr::OnDuplicate::Reject) {
            self.unreadable.insert(write.table);
        }
        let rows = self.rows.entry(write.table).or_default();
        for (shard, part) in write.shards.iter().enumerate() {
            rows.extend(part.rows.iter().map(|batch| (ShardId(shard as u16), batch.clone())));
        }
    }

    fn of(&self, table: TableId) -> &[(ShardId, RecordBatch)] {
        self.rows.get(&table).map_or(&[], Vec::as_slice)
    }
}

/// The catalog of one statement.
#[derive(Clone)]
pub struct View {
    pub(crate) environment: Environment,
    pub(crate) snapshot: Arc<Snapshot>,
    overlay: Overlay,
    hidden_columns: Arc<AtomicBool>,
}

impl View {
    /// A view of this state, with the block's own rows on top.
    pub fn new(environment: Environment, snapshot: Arc<Snapshot>, overlay: Overlay) -> View {
        View { environment, snapshot, overlay, hidden_columns: Arc::default() }
    }

    /// Lets tables planned from now on have their hidden columns: for a statement that names one.
    pub fn show_hidden_columns(&self) {
        self.hidden_columns.store(true, Ordering::Relaxed);
    }

    /// The user's tables, in order of name.
    pub fn tables(&self) -> Vec<&Arc<TableDef>> {
        let mut tables: Vec<_> =
            self.snapshot.catalog.tables.values().filter(|t| t.id != ERRORS_TABLE).collect();
        tables.sort_by(|a, b| a.name.cmp(&b.name));
        tables
    }

    fn user_table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let Some(def) = self.snapshot.catalog.table_named(name) else { return Ok(None) };
        if self.overlay.unreadable.contains(&def.id) {
            return Err(SqlError::unsupported(format!(
                "table \"{name}\" cannot be read in this transaction: the block has upserts for it that are not \
                 committed. Commit first."
            ))
            .into());
        }
        let hidden = self.hidden_columns.load(Ordering::Relaxed);
        let table = table::SnapshotTable::new(&self.snapshot, def, self.overlay.of(def.id), hidden);
        Ok(Some(Arc::new(table)))
    }

    /// A table or view by schema and name.
    pub fn table(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        match schema {
            // As if pg_catalog were at the head of the search path, as in PostgreSQL.
            PUBLIC => match self.user_table(name)? {
                Some(table) => Ok(Some(table)),
                None => pg_catalog::table(self, name),
            },
            INFORMATION_SCHEMA => information_schema::table(self, name),
            PG_CATALOG => pg_catalog::table(self, name),
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
