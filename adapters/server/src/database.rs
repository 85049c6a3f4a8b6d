//! The engine behind SQL's database port.

use std::sync::Arc;

use async_trait::async_trait;
use kernel::message::SourceMetadata;
use kernel::{Error, Request, Response, SqlState, TableId};
use tidemark_database::{Database, PipelineStatus, SnapshotGuard, TableLockGuard};
use tidemark_engine::{Engine, PipelineFactory};
use tidemark_secrets::used;
use tokio::sync::oneshot;

use crate::pipelines::Pipelines;

/// A running engine with its pipeline factory.
pub(crate) struct EngineDatabase {
    engine: Engine,
    pipelines: Arc<Pipelines>,
}

impl EngineDatabase {
    pub(crate) fn new(engine: Engine, pipelines: Arc<Pipelines>) -> EngineDatabase {
        EngineDatabase { engine, pipelines }
    }

    /// Removes secrets that no pipeline uses. A snapshot proves this only for secrets that were settled before it was
    /// taken.
    pub(crate) async fn remove_unused_secrets(&self) -> Result<(), Error> {
        let mut unused = self.pipelines.secrets().settled()?;
        if unused.is_empty() {
            return Ok(());
        }
        let snapshot = self.engine.snapshot()?;
        let Some(used) = used(&snapshot.catalog) else { return Ok(()) };
        drop(snapshot);
        unused.retain(|name| !used.contains(name));
        self.with_pipelines(move |pipelines| pipelines.secrets().remove(&unused)).await
    }

    /// Names of pipelines whose definitions contain secrets, as older versions stored them.
    pub(crate) async fn pipelines_with_secrets_in_clear(&self) -> Result<Vec<String>, Error> {
        let snapshot = self.engine.snapshot()?;
        let pipelines = snapshot.catalog.pipelines.values();
        let in_clear = pipelines.filter(|p| self.pipelines.has_secret(&p.definition_sql));
        Ok(in_clear.map(|p| p.name.clone()).collect())
    }

    /// Runs work that may wait for files on a thread of its own.
    async fn with_pipelines<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Pipelines) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let pipelines = Arc::clone(&self.pipelines);
        let (answer, waiting) = oneshot::channel();
        let thread = std::thread::Builder::new().name("secrets".into());
        // The caller may have stopped waiting.
        let spawned = thread.spawn(move || drop(answer.send(work(&pipelines))));
        spawned
            .map_err(|error| Error::new(SqlState::OUT_OF_MEMORY, format!("no thread to be had: {error}")))?;
        waiting
            .await
            .unwrap_or_else(|_| Err(Error::new(SqlState::INTERNAL_ERROR, "the thread of secrets has died")))
    }
}

#[async_trait]
impl Database for EngineDatabase {
    async fn request(&self, request: Request) -> Result<Response, Error> {
        self.engine.request(request).await
    }

    fn shard_count(&self) -> u16 {
        self.engine.shard_count()
    }

    fn snapshot(&self) -> Result<SnapshotGuard, Error> {
        self.engine.snapshot()
    }

    async fn table_lock(&self, tables: Vec<TableId>) -> Result<TableLockGuard, Error> {
        self.engine.table_lock(tables).await
    }

    async fn read_source(&self, definition_sql: &str) -> Result<SourceMetadata, Error> {
        self.engine.read_source(definition_sql.into()).await
    }

    async fn check_source(&self, definition_sql: &str) -> Result<(), Error> {
        let definition_sql = definition_sql.to_owned();
        self.with_pipelines(move |pipelines| pipelines.check(&definition_sql)).await
    }

    async fn keep_secrets(&self, secrets: Vec<String>) -> Result<Vec<String>, Error> {
        self.with_pipelines(move |pipelines| pipelines.secrets().keep(&secrets)).await
    }

    async fn settle_secrets(&self, names: Vec<String>) {
        let settled = self.pipelines.secrets().settle(&names);
        let removed = match settled {
            Ok(()) => self.remove_unused_secrets().await,
            failed => failed,
        };
        if let Err(error) = removed {
            tracing::warn!(%error, "unused secrets are removed at the next start");
        }
    }

    fn pipeline_status(&self) -> Vec<PipelineStatus> {
        self.engine.pipeline_status()
    }
}
