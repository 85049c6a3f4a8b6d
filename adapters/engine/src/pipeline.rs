//! What a pipeline needs from outside: a source and, for each split, an extractor; and what is said about it.

use std::sync::Arc;

use kernel::schema::{PipelineDef, PipelineState, TableDef};
use kernel::source::Sources;
use kernel::{Epoch, Error, PipelineId, Position, SplitId, SplitName};
use tidemark_decode::Extractor;

/// Where an extractor begins, and for whom.
#[derive(Clone, Debug)]
pub struct ExtractorSpec {
    /// Pipeline as the catalog has it: definition, run.
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

    /// Whether a definition has a secret in it, as older versions kept them: such a one must not go into a recording.
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
    /// End of what may be read, as last heard: before the first message of a transaction that is still open.
    pub latest: Option<i64>,
    /// End at the source, as last heard, open transactions included.
    pub high: Option<i64>,
    /// Durable cursor: the next message to be read; None before the split is first seen.
    pub next: Option<i64>,
    /// `high - next`, where both are known.
    pub lag: Option<i64>,
    /// How much of the lag cannot be read before transactions end that are still open.
    pub held_back: Option<i64>,
}

/// How a pipeline does.
#[derive(Clone, PartialEq, Debug)]
pub struct PipelineStatus {
    /// Identity.
    pub pipeline: PipelineId,
    /// Its name.
    pub name: String,
    /// Logged state.
    pub state: PipelineState,
    /// Last failure since START, also one that is being tried again.
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
