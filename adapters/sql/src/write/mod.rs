//! INSERT, UPDATE, DELETE, ON CONFLICT, ON DUPLICATE KEY UPDATE and TRUNCATE: from a parsed statement to one
//! [`kernel::message::Write`]. Transaction blocks, which buffer what is planned here, live in `session`.

use datafusion::arrow::datatypes::DataType;
use datafusion::sql::sqlparser::ast::Statement;
use kernel::message::{Counts, TableWrite};

use crate::error::{Result, SqlError};
use crate::query::{Environment, StatementContext};

/// Plans a write, hands it to the kernel and waits until it is durable. Takes a table barrier if the statement reads.
pub async fn execute(_env: &Environment, _write: &Statement) -> Result<Counts> {
    Err(SqlError::unsupported("writes are not there yet"))
}

/// Plans the rows of an INSERT inside a transaction block, against the block's snapshot and without a barrier; COMMIT hands
/// them in. Refuses with 0A000 what a block cannot hold (UPDATE, DELETE, TRUNCATE).
pub async fn plan_in_block(_context: &StatementContext, _write: &Statement) -> Result<Vec<TableWrite>> {
    Err(SqlError::unsupported("writes are not there yet"))
}

/// Types of `$1`, `$2`, … as the statement implies them; None where nothing does.
pub async fn parameter_types(
    _context: &StatementContext,
    _write: &Statement,
) -> Result<Vec<Option<DataType>>> {
    Err(SqlError::unsupported("writes are not there yet"))
}
