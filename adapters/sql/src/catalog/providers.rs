//! The statement's catalog behind DataFusion's catalog traits. What is in it is decided in the module above.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::error::Result;

use super::{DATABASE, INFORMATION_SCHEMA, PG_CATALOG, PUBLIC, View};

const SCHEMAS: [&str; 3] = [PUBLIC, INFORMATION_SCHEMA, PG_CATALOG];

/// All databases: one.
#[derive(Debug)]
pub struct CatalogList(Arc<Database>);

impl CatalogList {
    /// The databases of this view.
    pub fn new(view: Arc<View>) -> CatalogList {
        CatalogList(Arc::new(Database(view)))
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

struct Database(Arc<View>);

impl CatalogProvider for Database {
    fn schema_names(&self) -> Vec<String> {
        SCHEMAS.iter().map(|s| s.to_string()).collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        let name = SCHEMAS.into_iter().find(|s| *s == name)?;
        Some(Arc::new(Schema { view: Arc::clone(&self.0), name }))
    }
}

struct Schema {
    view: Arc<View>,
    name: &'static str,
}

#[async_trait]
impl SchemaProvider for Schema {
    fn table_names(&self) -> Vec<String> {
        self.view.table_names(self.name)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        self.view.table(self.name, name)
    }

    fn table_exist(&self, name: &str) -> bool {
        matches!(self.view.table(self.name, name), Ok(Some(_)))
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
