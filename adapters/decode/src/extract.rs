//! The extractor: from the messages of one source partition to what the kernel takes.

use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use kernel::schema::TableDef;
use kernel::{
    Epoch, Extract, Micros, OffsetFilter, PipelineId, Position, RawMessage, Result, Run, SourcePartition,
};

use crate::plan::{DecodePlan, Decoder};

/// SET and WHERE of a pipeline. Implemented where SQL expressions can be evaluated. One instance a source partition.
pub trait Transform: Send {
    /// From decoded columns ([`DecodePlan::schema`]) to the table's. `now_us` is the batch's input time: `now()`.
    ///
    /// An error of SQLSTATE class 22 or 23 blames the data: the extractor then halves the batch and asks again, until the
    /// rows to blame are found and set aside. Any other error stops the pipeline.
    fn transform(&mut self, columns: &RecordBatch, now_us: Micros) -> Result<Transformed>;
}

/// Outcome of [`Transform::transform`].
#[derive(Clone, Debug)]
pub struct Transformed {
    /// The table's user columns (all of them, defaults filled in), as many rows as went in. Types as
    /// [`TableDef::user_schema`] has them; NOT NULL is checked afterwards.
    pub columns: RecordBatch,
    /// WHERE: rows for which it is not true are filtered. None: all stay.
    pub keep: Option<BooleanArray>,
    /// Rows to be set aside, with SQLSTATE and text, where the transform knows them itself.
    pub errors: Vec<(u32, String, String)>,
}

/// Everything that extractors of one pipeline share.
#[derive(Clone, Debug)]
pub struct ExtractPlan {
    /// Table that the rows go to.
    pub table: Arc<TableDef>,
    /// How messages are decoded. Mappings named like columns of the table feed these.
    pub decode: DecodePlan,
    /// For every column of the table, the text of the constant that stands in where no mapping feeds it; None: null. Not
    /// used where there is a [`Transform`].
    pub defaults: Vec<Option<String>>,
    /// Shards to route to.
    pub shard_count: u16,
}

/// Follows one source partition in one epoch.
pub struct Extractor {
    plan: ExtractPlan,
    decoder: Box<dyn Decoder>,
    transform: Option<Box<dyn Transform>>,
    pipeline: PipelineId,
    epoch: Epoch,
    run: Run,
    partition: SourcePartition,
    filter: OffsetFilter,
}

impl Extractor {
    /// Begins at a position. Fails where the plan does not fit the table.
    pub fn new(
        plan: ExtractPlan,
        transform: Option<Box<dyn Transform>>,
        pipeline: PipelineId,
        epoch: Epoch,
        run: Run,
        partition: SourcePartition,
        start: Position,
    ) -> Result<Extractor> {
        let decoder = plan.decode.decoder()?;
        let filter = OffsetFilter::new(start);
        Ok(Extractor { plan, decoder, transform, pipeline, epoch, run, partition, filter })
    }

    /// Decodes messages, in the order in which the source delivers them. Offsets that have passed already are skipped.
    /// Never refuses; the caller bounds memory by looking at [`Extractor::is_full`] before it pushes more.
    pub fn push(&mut self, _messages: &[RawMessage<'_>]) {
        unimplemented!()
    }

    /// The source has nothing more below this offset (control records, aborted transactions, compaction).
    pub fn advance_to(&mut self, next_offset: i64) {
        self.filter.advance_to(next_offset);
    }

    /// Where the partition stands: the offset expected next.
    pub fn position(&self) -> Position {
        self.filter.position()
    }

    /// Bytes held by rows that were not taken yet.
    pub fn buffered_bytes(&self) -> usize {
        self.decoder.buffered_bytes()
    }

    /// Bytes of payload of messages that were not taken yet: what credits count.
    pub fn buffered_source_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Messages that were not taken yet.
    pub fn buffered_messages(&self) -> usize {
        unimplemented!()
    }

    /// True when a chunk is full (64 Ki messages, or 16 MiB of rows): take before pushing more.
    pub fn is_full(&self) -> bool {
        unimplemented!()
    }

    /// Closes the range gathered so far: None if the position has not moved. After a very large push there may be several
    /// ranges: ask until None to have them all. An error (of the transform, other than the data's) stops the pipeline.
    pub fn take(&mut self, _now_us: Micros) -> Result<Option<Extract>> {
        unimplemented!(
            "{:?}",
            (&self.plan, &self.transform.is_some(), self.pipeline, self.epoch, self.run, self.partition)
        )
    }
}
