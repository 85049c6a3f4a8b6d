//! The tables of one statement behind DataFusion's catalog traits: the catalog's relations as scannable tables, with
//! the rows that a transaction block has buffered on top.

pub mod scan;
pub mod snapshot_table;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::common::Column;
use datafusion::datasource::{MemTable, ViewTable, provider_as_source};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};
use kernel::ids::{ShardId, TableId};
use kernel::message::TableWrite;
use kernel::schema::TableDef;

use crate::catalog::functions::bytes_as_text;
use crate::catalog::{DATABASE, INFORMATION_SCHEMA, PG_CATALOG, PUBLIC, Relation, View};
use crate::error::SqlError;
use pg_semantics::syntax::{self, RelationColumn};
use snapshot_table::{SnapshotTable, hidden_names};

/// Rows that a transaction block has buffered and that its own statements see.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    rows: BTreeMap<TableId, Vec<(ShardId, RecordBatch)>>,
    unreadable: BTreeSet<TableId>,
}

impl Overlay {
    /// Adds the rows of a statement of the block. A table with buffered upserts cannot be read in the block, because
    /// only the commit decides whether a row is new or an update.
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

/// The tables of one statement.
pub struct Tables {
    view: View,
    overlay: Overlay,
    hidden_columns: AtomicBool,
}

impl Tables {
    /// The relations of `view`, with a block's own rows on top.
    pub fn new(view: View, overlay: Overlay) -> Tables {
        Tables { view, overlay, hidden_columns: AtomicBool::new(false) }
    }

    /// Lets tables planned from now on have their hidden columns: for a statement that names one.
    pub fn show_hidden_columns(&self) {
        self.hidden_columns.store(true, Ordering::Relaxed);
    }

    /// The columns of a relation for name resolution: all that can be named, in order.
    pub fn described(&self, schema: &str, name: &str) -> crate::error::Result<Option<syntax::Relation>> {
        let column = |name: &str, is_hidden| RelationColumn { name: name.to_string(), is_hidden };
        Ok(match self.view.relation(schema, name)? {
            None => None,
            Some(Relation::Stored(def)) => {
                let columns = def.columns.iter().map(|c| column(&c.name, false));
                let hidden = hidden_names().map(|name| column(name, true));
                let key = def.key_columns().map(|column| column.name.clone());
                Some(syntax::Relation {
                    columns: columns.chain(hidden).collect(),
                    primary_key: key.collect(),
                })
            }
            Some(Relation::Errors(def)) => {
                let named = def.columns.iter().map(|c| c.name.as_str()).chain([MESSAGE_TEXT]);
                let columns = named.map(|name| column(name, false)).collect();
                Some(syntax::Relation { columns, primary_key: vec![] })
            }
            Some(Relation::Rows(rows)) => {
                let columns = rows.schema().fields().iter().map(|f| column(f.name(), false)).collect();
                Some(syntax::Relation { columns, primary_key: vec![] })
            }
        })
    }

    fn provider(&self, schema: &str, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(match self.view.relation(schema, name)? {
            None => None,
            Some(Relation::Stored(def)) => Some(Arc::new(self.stored(&def)?)),
            Some(Relation::Errors(def)) => Some(Arc::new(with_message_text(self.stored(&def)?, &def)?)),
            Some(Relation::Rows(rows)) => Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)),
        })
    }

    fn stored(&self, def: &Arc<TableDef>) -> Result<SnapshotTable> {
        if self.overlay.unreadable.contains(&def.id) {
            return Err(SqlError::unsupported(format!(
                "table \"{}\" cannot be read in this transaction: the block has upserts for it that are not \
                 committed. Commit first.",
                def.name
            ))
            .into());
        }
        let hidden = self.hidden_columns.load(Ordering::Relaxed);
        Ok(SnapshotTable::new(&self.view.snapshot, def, self.overlay.of(def.id), hidden))
    }
}

/// Name of the column that shows a message as text.
const MESSAGE_TEXT: &str = "message_text";

/// The errors table with one more column, which shows each message as text, whatever its bytes.
fn with_message_text(errors: SnapshotTable, def: &TableDef) -> Result<ViewTable> {
    let column = |name: &str| Expr::Column(Column::new(Some(def.name.as_str()), name));
    let scan = LogicalPlanBuilder::scan(def.name.as_str(), provider_as_source(Arc::new(errors)), None)?;
    let text = bytes_as_text().call(vec![column("message")]).alias(MESSAGE_TEXT);
    let columns = def.columns.iter().map(|c| column(&c.name)).chain([text]);
    Ok(ViewTable::new(scan.project(columns)?.build()?, None))
}

const SCHEMAS: [&str; 3] = [PUBLIC, INFORMATION_SCHEMA, PG_CATALOG];

/// The list of databases, of which there is one.
#[derive(Debug)]
pub struct CatalogList(Arc<Database>);

impl CatalogList {
    /// The database of these tables.
    pub fn new(tables: Arc<Tables>) -> CatalogList {
        CatalogList(Arc::new(Database(tables)))
    }
}

impl CatalogProviderList for CatalogList {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![DATABASE.into()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == DATABASE).then(|| Arc::clone(&self.0) as _)
    }
}

struct Database(Arc<Tables>);

impl CatalogProvider for Database {
    fn schema_names(&self) -> Vec<String> {
        SCHEMAS.iter().map(|s| s.to_string()).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let name = SCHEMAS.into_iter().find(|s| *s == name)?;
        Some(Arc::new(Schema { tables: Arc::clone(&self.0), name }))
    }
}

struct Schema {
    tables: Arc<Tables>,
    name: &'static str,
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        self.tables.view.table_names(self.name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.tables.provider(self.name, name)
    }

    fn table_exist(&self, name: &str) -> bool {
        matches!(self.tables.view.relation(self.name, name), Ok(Some(_)))
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(DATABASE)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
