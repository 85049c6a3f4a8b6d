//! The port between SQL and a running database: what SQL asks for ([`Database`]), and what it gets: guards of snapshots
//! and table locks, and the status of pipelines. The engine has the database, `tidemark-sql` the SQL; neither depends on
//! the other.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use kernel::message::SourceMetadata;
use kernel::schema::PipelineState;
use kernel::{Error, PipelineId, Request, Response, Snapshot, SplitName, TableId, TableLockId};

/// A running database.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Hands a request to the kernel and waits for its answer. Definitions and writes are durable when it returns.
    async fn request(&self, request: Request) -> Result<Response, Error>;

    /// Number of shards, fixed when the database was created.
    fn shard_count(&self) -> u16;

    /// The newest published state, held until the guard is dropped. Does not wait.
    fn snapshot(&self) -> Result<SnapshotGuard, Error>;

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

    /// The status of all pipelines, in order of name. Volatile: not a part of any snapshot.
    fn pipeline_status(&self) -> Vec<PipelineStatus>;
}

/// A release: called once. It neither blocks nor panics.
type Release = Box<dyn FnOnce() + Send + Sync>;

/// A snapshot that is read: its data stays until the last clone is dropped.
pub type SnapshotGuard = Arc<PublishedSnapshot>;

/// A published snapshot, shared by the host, while it is the newest, and by its readers. Its release is called when the
/// last of them has dropped it.
pub struct PublishedSnapshot {
    snapshot: Snapshot,
    release: Option<Release>,
}

impl PublishedSnapshot {
    /// `release` is called once, on drop. It must neither block nor panic.
    pub fn new(snapshot: Snapshot, release: impl FnOnce() + Send + Sync + 'static) -> PublishedSnapshot {
        PublishedSnapshot { snapshot, release: Some(Box::new(release)) }
    }
}

impl Deref for PublishedSnapshot {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl Drop for PublishedSnapshot {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            release();
        }
    }
}

impl fmt::Debug for PublishedSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishedSnapshot").field("sequence", &self.snapshot.sequence).finish_non_exhaustive()
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
        f.debug_struct("TableLockGuard").field("id", &self.id).finish_non_exhaustive()
    }
}

/// One split of a pipeline, by ordinals: for Kafka, offsets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SplitStatus {
    /// Its name at the source.
    pub split: SplitName,
    /// Oldest ordinal at the source, as last heard; None if never heard.
    pub earliest: Option<i64>,
    /// Last stable offset, by the source's last answer: the first message of an open transaction, or the end.
    pub latest: Option<i64>,
    /// End at the source, by its last answer, open transactions included.
    pub high: Option<i64>,
    /// Durable cursor: the next message to be read; None before the split is first seen.
    pub next: Option<i64>,
    /// `high - next`, where both are known.
    pub lag: Option<i64>,
    /// The part of the lag that cannot be read before open transactions end.
    pub held_back: Option<i64>,
}

/// The status of a pipeline.
#[derive(Clone, PartialEq, Debug)]
pub struct PipelineStatus {
    /// Identity.
    pub pipeline: PipelineId,
    /// Its name.
    pub name: String,
    /// Logged state.
    pub state: PipelineState,
    /// Last failure since START, also one that is being retried.
    pub last_error: Option<Error>,
    /// Messages taken by batches since the process started.
    pub messages: u64,
    /// Payload bytes of those.
    pub source_bytes: u64,
    /// Messages a second over the last seconds.
    pub messages_per_second: f64,
    /// Batches committed since the process started.
    pub batches: u64,
    /// Its splits, in order.
    pub splits: Vec<SplitStatus>,
}
