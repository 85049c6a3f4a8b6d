//! `information_schema`: the standard views that clients use, and the views of pipelines.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::Result;

use super::View;

/// Views that there are.
pub const NAMES: &[&str] = &[];

/// A view by name.
pub fn table(_view: &View, _name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
    Ok(None)
}
