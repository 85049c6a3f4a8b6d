//! What a pipeline needs from outside: a source and, for each split, an extractor.

use std::sync::{Arc, OnceLock};

use kernel::schema::{PipelineDef, TableDef};
use kernel::source::{Source, Sources};
use kernel::{Epoch, Error, Position, SplitId};
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

/// A source that may not be open yet.
pub(crate) type OpenSource = Arc<OnceLock<Arc<dyn Source>>>;
