//! What the threads of a source know.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use kernel::Epoch;
use kernel::schema::{PipelineDef, TableDef};

use crate::ports::clock::Clock;
use crate::ports::inbox::Message;
use crate::ports::pipeline::PipelineFactory;

/// Context shared by all sources of an engine.
#[derive(Clone)]
pub(crate) struct SourceContext {
    pub factory: Arc<dyn PipelineFactory>,
    pub inbox: Sender<Message>,
    pub clock: Clock,
    pub shard_count: u16,
    /// Most threads that read one pipeline's splits.
    pub reader_threads_max: usize,
    /// Bytes of payload after which an extract is handed in even though more is waiting.
    pub chunk_bytes: u64,
}

/// Whose source it is.
#[derive(Clone)]
pub(crate) struct SourceSpec {
    pub pipeline: Arc<PipelineDef>,
    pub table: Arc<TableDef>,
    pub epoch: Epoch,
}
