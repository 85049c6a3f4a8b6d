//! CREATE, DROP and ALTER of tables and pipelines: from a parsed statement to kernel [`Definition`]s. What a pipeline's
//! definition means to its extractor lives in the parser's crate and in `transform`.

use kernel::message::Definition;
use kernel::schema::Catalog;

use crate::error::{Result, SqlError};

/// The definitions that a statement asks for, checked against the catalog as far as SQL knows better than the kernel.
pub fn plan(_catalog: &Catalog, _statement: &str) -> Result<Vec<Definition>> {
    Err(SqlError::unsupported("definitions are not there yet"))
}
