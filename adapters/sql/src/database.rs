//! The port from SQL to the database. The engine implements it in production, a single-threaded host in tests.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;

use async_trait::async_trait;
use kernel::ids::TableId;
use kernel::message::SourceMetadata;
use kernel::{Error, PipelineId, Request, Response, Snapshot, TableLockId};

/// A running database.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Hands a request to the kernel and waits for its answer. Definitions and writes are durable when it returns.
    async fn request(&self, request: Request) -> Result<Response, Error>;

    /// Number of shards, fixed when the database was created.
    fn shard_count(&self) -> u16;

    /// The newest published state, held until the guard is dropped.
    async fn snapshot(&self) -> Result<SnapshotGuard, Error>;

    /// A table lock with the staged tip, held until a write uses it or the guard is dropped.
    async fn table_lock(&self, tables: Vec<TableId>) -> Result<TableLockGuard, Error>;

    /// Asks the source that a pipeline's definition names for its topic and the offsets of its partitions, now.
    async fn read_source(&self, definition_sql: &str) -> Result<SourceMetadata, Error>;

    /// Whether a definition's source can be opened: its brokers are allowed, its settings are known, and the places of
    /// its secrets exist. Does not connect.
    async fn check_source(&self, definition_sql: &str) -> Result<(), Error>;

    /// Stores secrets outside of the log; they are durable when it returns. Returns the names that replace them in a
    /// definition.
    async fn keep_secrets(&self, secrets: Vec<String>) -> Result<Vec<String>, Error>;

    /// Called when the outcome of a statement is known that stored these secrets, or that may leave stored secrets
    /// unused. Secrets that the published catalog does not use are removed.
    async fn settle_secrets(&self, names: Vec<String>);

    /// The last answers of the sources, by pipeline. Volatile: not a part of any snapshot.
    fn pipeline_status(&self) -> BTreeMap<PipelineId, PipelineStatus>;
}

/// The volatile status of a running pipeline.
#[derive(Clone, Debug, Default)]
pub struct PipelineStatus {
    /// The bounds of each source partition.
    pub watermarks: BTreeMap<i32, Watermarks>,
    /// The newest failure that is being retried, if any.
    pub last_error: Option<Error>,
    /// Rows committed a second, over the last seconds.
    pub rows_per_second: f64,
}

/// Bounds of a source partition, by the source's last answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    /// Offset of the oldest message.
    pub earliest: i64,
    /// End (exclusive), messages held back by open transactions included.
    pub end: i64,
    /// Number of offsets before the end that open transactions hold back.
    pub held_back: i64,
}

type Release = Box<dyn FnOnce() + Send + Sync>;

/// A snapshot that is released when this is dropped.
pub struct SnapshotGuard {
    snapshot: Snapshot,
    release: Option<Release>,
}

impl SnapshotGuard {
    /// `release` is called once, on drop. It must not block.
    pub fn new(snapshot: Snapshot, release: impl FnOnce() + Send + Sync + 'static) -> SnapshotGuard {
        SnapshotGuard { snapshot, release: Some(Box::new(release)) }
    }
}

impl Deref for SnapshotGuard {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Drop for SnapshotGuard {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

impl fmt::Debug for SnapshotGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotGuard").field("sequence", &self.snapshot.sequence).finish_non_exhaustive()
    }
}

/// A table lock that is released when this is dropped unused.
pub struct TableLockGuard {
    snapshot: Snapshot,
    id: TableLockId,
    release: Option<Release>,
}

impl TableLockGuard {
    /// `release` is called once, on drop, unless the table lock was used. It must not block.
    pub fn new(
        id: TableLockId,
        snapshot: Snapshot,
        release: impl FnOnce() + Send + Sync + 'static,
    ) -> TableLockGuard {
        TableLockGuard { snapshot, id, release: Some(Box::new(release)) }
    }

    /// The staged tip that the statement reads.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The id for a [`kernel::message::Write`], which ends the lock, whether it succeeds or fails.
    pub fn use_up(mut self) -> TableLockId {
        self.release = None;
        self.id
    }
}

impl Drop for TableLockGuard {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

impl fmt::Debug for TableLockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BarrierGuard").field("id", &self.id).finish_non_exhaustive()
    }
}
