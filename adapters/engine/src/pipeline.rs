//! What a pipeline needs from outside: a source and, for each split, an extractor; and what is said about it.

use std::sync::Arc;

use kernel::schema::{PipelineDef, PipelineState, TableDef};
use kernel::source::Sources;
use kernel::{Epoch, Error, PipelineId, Position, SplitId, SplitName};
use tidemark_decode::Extractor;

/// The arguments of a new extractor.
#[derive(Clone, Debug)]
pub struct ExtractorSpec {
    /// Pipeline as in the catalog: definition and generation.
    pub pipeline: Arc<PipelineDef>,
    /// Table that it loads.
    pub table: Arc<TableDef>,
    /// Shards of the database.
    pub shard_count: u16,
    /// To be echoed in every extract.
    pub epoch: Epoch,
    /// Split.
    pub split: SplitId,
    /// Where it begins.
    pub start: Position,
}

/// Makes sources and extractors out of pipelines' definitions.
pub trait PipelineFactory: Sources {
    /// An extractor for one split. Errors are permanent: the definition cannot be understood.
    fn extractor(&self, spec: ExtractorSpec) -> Result<Extractor, Error>;

    /// Whether a definition contains a secret, as older versions stored them: such a definition must not be recorded.
    fn has_secret(&self, _definition_sql: &str) -> bool {
        false
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
