//! What the kernel tells the operator: typed, without words and without a level, which are the host's.

use crate::error::Error;
use crate::ids::*;

/// Something that an operator may want to know. Correctness does not depend on it.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Free disk space is below the reserve: no record is started.
    ReadOnly,
    /// Free disk space is above the reserve again.
    ReadWrite,
    /// A pipeline is in state Failed, and its source is closed. START runs it again.
    PipelineFailed {
        /// Which.
        pipeline: PipelineId,
        /// Its name.
        name: String,
        /// The reason.
        error: Error,
    },
    /// A source failed, and is opened again after a pause.
    SourceRetried {
        /// Whose source.
        pipeline: PipelineId,
        /// The pause.
        pause_us: Micros,
        /// The reason.
        error: Error,
    },
    /// An extract does not continue the one before it. The source is opened again at the cursor.
    RangeMisplaced {
        /// Whose source.
        pipeline: PipelineId,
        /// Which split.
        split: SplitId,
        /// Where the range begins.
        first: Position,
        /// Where it ends.
        next: Position,
    },
    /// An extract has rows for another version of its table. The source is opened again at the cursor.
    ExtractOutdated {
        /// Whose source.
        pipeline: PipelineId,
        /// Schema version of the rows.
        schema_version: u32,
        /// Schema version of the table.
        table_version: u32,
    },
    /// A reader that was ahead of the cursor has lost its position. The source is opened again at the cursor.
    ReaderLost {
        /// Whose source.
        pipeline: PipelineId,
        /// Which split.
        split: SplitName,
        /// The message that it wanted.
        wanted: Position,
    },
}

impl Event {
    /// The pipeline, if the event concerns one.
    pub fn pipeline(&self) -> Option<PipelineId> {
        match self {
            Event::ReadOnly | Event::ReadWrite => None,
            Event::PipelineFailed { pipeline, .. }
            | Event::SourceRetried { pipeline, .. }
            | Event::RangeMisplaced { pipeline, .. }
            | Event::ExtractOutdated { pipeline, .. }
            | Event::ReaderLost { pipeline, .. } => Some(*pipeline),
        }
    }
}
