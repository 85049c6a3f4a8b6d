//! Functions that PostgreSQL has and DataFusion has not.

use std::sync::Arc;

use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::ScalarUDF;
use kernel::Snapshot;

use crate::error::Result;
use crate::query::Environment;

/// Registers the functions that depend on nothing.
pub fn register(_state: &mut SessionState) -> Result<()> {
    Ok(())
}

/// The functions that depend on who asks and on what state of the database.
pub fn of_session(_environment: &Environment, _snapshot: &Arc<Snapshot>) -> Vec<Arc<ScalarUDF>> {
    vec![]
}
