//! The handle of a running database, for SQL.

mod open;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use kernel::message::{Counts, Definition, SourceFailure, SourceMetadata, TableWrite, Write};
use kernel::{Error, Request, Response, Result, SqlState, TableId};
use tidemark_database::{PipelineStatus, SnapshotGuard, TableLockGuard};
use tokio::sync::oneshot;

use self::open::Running;
use crate::ports::config::EngineConfig;
use crate::ports::inbox::{Answer, Message, outcome_unknown};
use crate::ports::pipeline::PipelineFactory;

/// A running database. Clones are handles to the same one; it is stopped cleanly when the last one is dropped.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Running>,
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

    pub(crate) fn of(inner: Running) -> Engine {
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
                let snapshot = guard.snapshot().clone();
                Response::TableLock { table_lock: guard.use_up(), snapshot }
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
