//! The handle of a running database, for SQL.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use kernel::message::{Counts, Definition, SourceFailure, SourceMetadata, TableWrite, Write};
use kernel::{Error, Request, Response, Result, Snapshot, SqlState, TableId, TableLockId};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::config::EngineConfig;
use crate::coordinator::Message;
use crate::open;
use crate::pipeline::{PipelineFactory, PipelineStatus};
use crate::published::SnapshotGuard;
use crate::status::Status;

/// A running database. Clones are handles to the same one; it is stopped cleanly when the last one is dropped.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub shard_count: u16,
    pub inbox: Sender<Message>,
    pub status: Arc<Status>,
    pub thread: Mutex<Option<JoinHandle<()>>>,
    pub factory: Arc<dyn PipelineFactory>,
}

/// The answer to a request, from the coordinator's thread.
pub(crate) enum Answer {
    Done(Counts),
    TableLock(TableLockGuard),
}

impl Engine {
    /// Opens the database in `config.data_dir`: creates it, or recovers it. Blocks until it is ready.
    pub fn open(config: EngineConfig, factory: Arc<dyn PipelineFactory>) -> Result<Engine> {
        open::on_disk(config, factory).map(Engine::of)
    }

    /// A database whose log is in memory and is dropped with the handle: for tests.
    pub fn in_memory(shards: u16, factory: Arc<dyn PipelineFactory>) -> Result<Engine> {
        let mut config = EngineConfig::new("");
        config.shards = Some(shards);
        config.log_file_bytes = 1 << 20;
        open::in_memory(config, factory).map(Engine::of)
    }

    pub(crate) fn of(inner: Inner) -> Engine {
        Engine { inner: Arc::new(inner) }
    }

    /// Shards of the database.
    pub fn shard_count(&self) -> u16 {
        self.inner.shard_count
    }

    /// Hands a request to the kernel and waits for its answer. The caller must release a table lock acquired in this way;
    /// [`table_lock`](Self::table_lock) releases its own when dropped.
    pub async fn request(&self, request: Request) -> Result<Response> {
        if matches!(request, Request::ReleaseTableLock(_)) {
            self.inner.send(Message::Release(request))?;
            return Ok(Response::Done(Counts::default()));
        }
        Ok(match self.ask(request).await? {
            Answer::Done(counts) => Response::Done(counts),
            Answer::TableLock(guard) => {
                let (table_lock, snapshot) = guard.into_parts();
                Response::TableLock { table_lock, snapshot }
            }
        })
    }

    /// The newest published state: one atomic load. Held until the guard is dropped.
    pub fn snapshot(&self) -> Result<SnapshotGuard> {
        self.inner.status.published.load().ok_or_else(|| self.inner.status.why_stopped())
    }

    /// A table lock over these tables, with a view of the staged tip; held until a write uses it or the guard is
    /// dropped.
    pub async fn table_lock(&self, tables: Vec<TableId>) -> Result<TableLockGuard> {
        match self.ask(Request::AcquireTableLock { tables }).await? {
            Answer::TableLock(guard) => Ok(guard),
            _ => Err(wrong_answer()),
        }
    }

    /// Releases a table lock that was acquired with [`request`](Self::request) and not used by a write. Does not block.
    pub fn release_table_lock(&self, table_lock: TableLockId) {
        // A database that has stopped holds nothing.
        let _ = self.inner.send(Message::Release(Request::ReleaseTableLock(table_lock)));
    }

    /// Carries out a definition. Durable and published when it returns.
    pub async fn define(&self, definition: Definition) -> Result<()> {
        self.ask(Request::Define(definition)).await.map(|_| ())
    }

    /// Writes rows in one record, under a table lock if one is given. Durable and published when it returns.
    pub async fn write(&self, table_lock: Option<TableLockGuard>, tables: Vec<TableWrite>) -> Result<Counts> {
        let table_lock = table_lock.map(TableLockGuard::use_up);
        match self.ask(Request::Write(Write { table_lock, tables })).await? {
            Answer::Done(counts) => Ok(counts),
            _ => Err(wrong_answer()),
        }
    }

    /// Asks the source that a definition names for its topic and the offsets of its partitions, now. On a thread of its
    /// own: a broker may keep it waiting.
    pub async fn read_source(&self, definition_sql: String) -> Result<SourceMetadata> {
        let factory = self.inner.factory.clone();
        let (answer, waiting) = oneshot::channel();
        let read = move || {
            let metadata =
                factory.source(&definition_sql).and_then(|source| source.read()).map_err(read_failure);
            // The caller may have stopped waiting.
            let _ = answer.send(metadata);
        };
        std::thread::Builder::new()
            .name("read-source".into())
            .spawn(read)
            .map_err(|error| Error::new(SqlState::OUT_OF_MEMORY, format!("no thread to be had: {error}")))?;
        waiting
            .await
            .unwrap_or_else(|_| Err(Error::new(SqlState::INTERNAL_ERROR, "the source's reader has died")))
    }

    /// The status of all pipelines, in order of name.
    pub fn pipeline_status(&self) -> Vec<PipelineStatus> {
        self.inner.status.pipelines()
    }

    /// Why the database has halted, if it has.
    pub fn halted(&self) -> Option<Error> {
        self.inner.status.stopped.get().cloned()
    }

    /// Stops cleanly: sources closed, log synced, threads ended. Blocks. A second call does nothing.
    pub fn shutdown(&self) {
        self.inner.shutdown();
    }

    async fn ask(&self, request: Request) -> Result<Answer> {
        let changes = matches!(request, Request::Write(_) | Request::Define(_));
        let (answer, waiting) = oneshot::channel();
        self.inner.send(Message::Request { request, answer })?;
        waiting.await.unwrap_or_else(|_| {
            let why = self.inner.status.why_stopped();
            // The record may have been in flight, and may be in the log when the database is up again.
            Err(if changes { outcome_unknown(&why) } else { why })
        })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("shard_count", &self.inner.shard_count).finish_non_exhaustive()
    }
}

impl Inner {
    fn send(&self, message: Message) -> Result<()> {
        self.inbox.send(message).map_err(|_| self.status.why_stopped())
    }

    fn shutdown(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = self.inbox.send(Message::Stop);
            // Its panic was reported through `on_halt`.
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// The client must check the table before it tries again: the answer was lost, perhaps not the statement.
pub(crate) fn outcome_unknown(why: &Error) -> Error {
    Error::new(
        SqlState::TRANSACTION_RESOLUTION_UNKNOWN,
        format!(
            "whether this statement took effect is not known: {why}; look at the table once the database is up before you run \
             it again"
        ),
    )
}

/// A failure to read a source, as an error for the client.
fn read_failure(failure: SourceFailure) -> Error {
    match failure {
        SourceFailure::Transient(error) | SourceFailure::Permanent(error) => error,
        SourceFailure::Lost { split, wanted, .. } => {
            let noun = wanted.kind().split_noun();
            Error::new(SqlState::SOURCE_LOST, format!("{noun} {split} has lost its position"))
        }
    }
}

fn wrong_answer() -> Error {
    Error::new(SqlState::INTERNAL_ERROR, "the kernel answered another question")
}

/// A table lock, released when it goes out of scope unless a write has used it.
#[derive(Debug)]
pub struct TableLockGuard {
    snapshot: Snapshot,
    table_lock: TableLockId,
    release: Release,
}

impl TableLockGuard {
    pub(crate) fn new(table_lock: TableLockId, snapshot: Snapshot, inbox: Sender<Message>) -> TableLockGuard {
        TableLockGuard {
            snapshot,
            table_lock,
            release: Release::new(Request::ReleaseTableLock(table_lock), inbox),
        }
    }

    /// The staged tip: what the statement reads.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The id for a [`Write`], which ends the lock whether it succeeds or fails.
    pub fn use_up(mut self) -> TableLockId {
        self.release.disarm();
        self.table_lock
    }

    fn into_parts(mut self) -> (TableLockId, Snapshot) {
        self.release.disarm();
        (self.table_lock, self.snapshot)
    }
}

/// Sends a release when it is dropped.
struct Release(Option<(Request, Sender<Message>)>);

impl Release {
    fn new(request: Request, inbox: Sender<Message>) -> Release {
        Release(Some((request, inbox)))
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if let Some((request, inbox)) = self.0.take() {
            // A database that has stopped holds nothing.
            let _ = inbox.send(Message::Release(request));
        }
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "held" } else { "given back" })
    }
}
