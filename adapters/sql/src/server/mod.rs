//! The server: accepts connections, and speaks the PostgreSQL wire protocol on each.

use std::sync::Arc;

use crate::database::Database;

/// Limits of the server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes that all queries together may hold beyond the tables themselves.
    pub query_memory_bytes: usize,
}

/// Serves connections until `shutdown` is done.
pub async fn serve(
    _listener: tokio::net::TcpListener,
    _database: Arc<dyn Database>,
    _config: Config,
    _shutdown: impl Future<Output = ()>,
) -> std::io::Result<()> {
    Ok(())
}
