//! The engine as SQL sees it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use kernel::message::SourceReading;
use kernel::{Error, ErrorKind, PipelineId, Request, Response, TableId};
use tidemark_engine::Engine;
use tidemark_sql::{BarrierGuard, Database, PipelineStatus, SnapshotGuard};

/// A running engine.
pub(crate) struct EngineDatabase(pub Engine);

#[async_trait]
impl Database for EngineDatabase {
    async fn request(&self, request: Request) -> Result<Response, Error> {
        self.0.request(request).await
    }

    fn shard_count(&self) -> u16 {
        self.0.shard_count()
    }

    async fn snapshot(&self) -> Result<SnapshotGuard, Error> {
        let held = self.0.snapshot().await?;
        Ok(SnapshotGuard::new(held.clone(), move || drop(held)))
    }

    async fn barrier(&self, tables: Vec<TableId>) -> Result<BarrierGuard, Error> {
        // By hand, and not as the engine's guard: a barrier that a write uses up must not be released before.
        match self.0.request(Request::AcquireBarrier { tables }).await? {
            Response::Barrier { barrier, snapshot } => {
                let engine = self.0.clone();
                Ok(BarrierGuard::new(barrier, snapshot, move || engine.release_barrier(barrier)))
            }
            other => Err(Error::new(ErrorKind::Internal, format!("no barrier but {other:?}"))),
        }
    }

    async fn read_source(&self, definition_sql: &str) -> Result<SourceReading, Error> {
        self.0.read_source(definition_sql.into()).await
    }

    fn pipeline_status(&self) -> BTreeMap<PipelineId, PipelineStatus> {
        let statuses = self.0.pipeline_status().into_iter();
        let known = statuses.map(|status| {
            let read = status.partitions.iter();
            let watermarks = read.filter_map(|p| Some((p.partition, (p.earliest?, p.latest?))));
            let status_for_sql = PipelineStatus {
                watermarks: watermarks.collect(),
                last_error: status.last_error,
                rows_per_second: status.messages_per_second,
            };
            (status.pipeline, status_for_sql)
        });
        known.collect()
    }
}
