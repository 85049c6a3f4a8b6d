//! The handle: what SQL asks of a running database.

use std::ops::Deref;
use std::sync::Arc;

use kernel::message::{Counts, Definition, TableWrite};
use kernel::{BarrierId, Error, ErrorKind, ReaderId, Request, Response, Result, Snapshot, TableId};

use crate::config::EngineConfig;
use crate::pipeline::{PipelineFactory, PipelineStatus};

/// A running database. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Engine {
    shard_count: u16,
}

fn unfinished<T>() -> Result<T> {
    Err(Error::new(ErrorKind::FeatureNotSupported, "the engine is not built yet"))
}

impl Engine {
    /// Opens the database in `config.data_dir`: creates it, or recovers it. Blocks until it is ready.
    pub fn open(_config: EngineConfig, _factory: Arc<dyn PipelineFactory>) -> Result<Engine> {
        unfinished()
    }

    /// A database whose log is in memory and goes with the handle: for tests.
    pub fn in_memory(_shards: u16, _factory: Arc<dyn PipelineFactory>) -> Result<Engine> {
        unfinished()
    }

    /// Shards of the database.
    pub fn shard_count(&self) -> u16 {
        self.shard_count
    }

    /// Hands a request to the kernel and waits for its answer. Whoever acquires a snapshot or a barrier this way has to
    /// release it; [`snapshot`](Self::snapshot) and [`barrier`](Self::barrier) do it by themselves.
    pub async fn request(&self, _request: Request) -> Result<Response> {
        unfinished()
    }

    /// The newest published state; held until the guard goes.
    pub async fn snapshot(&self) -> Result<SnapshotGuard> {
        unfinished()
    }

    /// A barrier over these tables, with a view of the staged tip; held until it is used up by [`BarrierGuard::write`] or
    /// the guard goes.
    pub async fn barrier(&self, _tables: Vec<TableId>) -> Result<BarrierGuard> {
        unfinished()
    }

    /// Carries out a definition. Durable and published when it returns.
    pub async fn define(&self, _definition: Definition) -> Result<()> {
        unfinished()
    }

    /// Writes rows in one record. Durable and published when it returns.
    pub async fn write(&self, _tables: Vec<TableWrite>) -> Result<Counts> {
        unfinished()
    }

    /// How the pipelines do, in order of name.
    pub fn pipeline_status(&self) -> Vec<PipelineStatus> {
        vec![]
    }

    /// Stops cleanly: sources closed, log synced, threads ended. Blocks. A second call does nothing.
    pub fn shutdown(&self) -> Result<()> {
        Ok(())
    }
}

/// A snapshot, released when it goes out of scope.
#[derive(Debug)]
pub struct SnapshotGuard {
    _reader: ReaderId,
    snapshot: Snapshot,
}

impl Deref for SnapshotGuard {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// A table barrier, released when it goes out of scope unless a write has used it up.
#[derive(Debug)]
pub struct BarrierGuard {
    _barrier: BarrierId,
    snapshot: Snapshot,
}

impl BarrierGuard {
    /// The staged tip: what the statement reads.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Writes what was computed from the tip and gives the barrier back.
    pub async fn write(self, _tables: Vec<TableWrite>) -> Result<Counts> {
        unfinished()
    }
}
