//! The extractor: from the messages of one split to what the kernel takes.
//!
//! Each message has exactly one disposition. It is a *dead letter* if it cannot be decoded, or if any of its rows fails
//! in SET, WHERE, NOT NULL or the check of years; else *applied* if it leaves a row; else *filtered*. A CSV message of
//! several lines is one message with one disposition, and all its rows carry its offset. `Extract` therefore counts
//! messages, not rows.

mod assemble;
mod columnar;

use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use kernel::schema::{ColumnType, TableDef};
use kernel::{
    ColumnBatch, DeadLetter, DeadLetterKind, Epoch, Error, Extract, Generation, Micros, OrdinalFilter,
    Originals, PipelineId, Position, RawMessage, Result, SplitId, SqlState,
};
use pg_values::time;

use crate::ShapeLimits;
use crate::plan::{DecodePlan, Decoded, Decoder, Refused};
use assemble::Assembly;

/// Sizes at which an extractor begins anew. Its default is what a server uses; the simulator draws smaller ones, which a few
/// messages reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExtractLimits {
    /// A chunk is closed at this many messages,
    pub chunk_messages_max: usize,
    /// or at this many bytes of payload, or of rows.
    pub chunk_bytes_max: usize,
    /// Messages handed to the decoder between two looks at the bounds.
    pub stride: usize,
    /// Shapes of messages that the decoder remembers.
    pub shapes: ShapeLimits,
}

impl Default for ExtractLimits {
    fn default() -> ExtractLimits {
        ExtractLimits {
            chunk_messages_max: 64 << 10,
            chunk_bytes_max: 16 << 20,
            stride: 1024,
            shapes: ShapeLimits::default(),
        }
    }
}

/// SET and WHERE of a pipeline. Implemented where SQL expressions can be evaluated. One instance a split.
pub trait Transform: Send {
    /// From decoded columns ([`DecodePlan::schema`]) to the table's. `now_us` is the batch's input time: `now()`.
    ///
    /// Every error counts as an error of the data (a value that does not fit, a value that would take too much memory,
    /// a function that fails). The extractor halves the batch and calls again until the failing rows are found; their
    /// messages become dead letters. So no message blocks those behind it; the pipeline's error limit bounds the number
    /// of dead letters.
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
    /// Rows that become dead letters, with the reason, if the transform can tell the failing rows.
    pub errors: Vec<(u32, Error)>,
}

/// Years of dates and times that a pipeline accepts by default: a value outside is mostly a number of another unit.
pub const YEARS_DEFAULT: RangeInclusive<i32> = 1900..=2200;

/// Years that can be stored.
pub const YEARS_ALL: RangeInclusive<i32> = *time::YEARS.start() as i32..=*time::YEARS.end() as i32;

/// Everything that extractors of one pipeline share.
#[derive(Clone, Debug)]
pub struct ExtractPlan {
    /// Table that the rows go to.
    pub table: Arc<TableDef>,
    /// How messages are decoded. Mappings named like columns of the table feed these.
    pub decode: DecodePlan,
    /// For every column of the table, the text of the constant that is used where no mapping feeds it; None: null. Not
    /// used where there is a [`Transform`].
    pub defaults: Vec<Option<String>>,
    /// Shards to route to.
    pub shard_count: u16,
    /// A date or time of another year makes the message a dead letter, whether it comes from the decoder, SET or
    /// DEFAULT.
    pub years: RangeInclusive<i32>,
    /// Messages without a value are filtered instead of being dead letters.
    pub ignores_tombstones: bool,
}

/// Follows one split in one epoch.
pub struct Extractor {
    decoder: Box<dyn Decoder>,
    transform: Option<Box<dyn Transform>>,
    assembly: Assembly,
    ignores_tombstones: bool,
    /// Whether a message may be refused after it was decoded, so that it must be kept until then.
    keeps: Keeps,
    pipeline: PipelineId,
    epoch: Epoch,
    split: SplitId,
    schema_version: u32,
    /// Schema of decoded columns.
    decoded_schema: SchemaRef,
    filter: OrdinalFilter,
    /// Where the open chunk began.
    first: Position,
    open: Chunk,
    /// Chunks that are full and were not taken yet.
    closed: VecDeque<ClosedChunk>,
    limits: ExtractLimits,
}

/// How long messages are kept as they were read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Keeps {
    /// Not at all: every message that can be decoded is applied.
    Nothing,
    /// Until SET, WHERE and the checks of columns are done.
    ToChecks,
    /// Until the table has taken their rows.
    ToTable,
}

impl Keeps {
    fn of(plan: &ExtractPlan, transformed: bool) -> Keeps {
        use ColumnType::{Date, Timestamp, TimestampTz};
        let has_times =
            || plan.table.columns.iter().any(|c| matches!(c.column_type, Date | Timestamp | TimestampTz));
        let may_lack = || {
            let columns = plan.table.columns.iter().filter(|c| !c.nullable);
            let fed = |name: &String| plan.decode.fields.iter().find(|field| field.name == *name);
            columns.filter_map(|c| fed(&c.name)).any(|field| field.nullable)
        };
        match () {
            () if !plan.table.primary_key.is_empty() => Keeps::ToTable,
            () if transformed || has_times() || may_lack() => Keeps::ToChecks,
            () => Keeps::Nothing,
        }
    }
}

/// Facts about the messages of a chunk besides their rows.
#[derive(Debug, Default)]
struct Chunk {
    /// Offset of each message.
    offsets: Vec<i64>,
    source_bytes: u64,
    dead_letters: Vec<DeadLetter>,
    /// The rows came as columns: there is no message to keep.
    columnar: bool,
    /// The messages, concatenated, and the end of each, if they are kept.
    kept: Vec<u8>,
    kept_ends: Vec<usize>,
}

/// A chunk that gets no more messages.
#[derive(Debug)]
struct ClosedChunk {
    chunk: Chunk,
    decoded: Decoded,
    first: Position,
    next: Position,
}

/// Messages refused after decoding: the stage and the error of the first of their rows that failed.
type Failures = BTreeMap<u32, (DeadLetterKind, Error)>;

impl Extractor {
    /// Begins at a position. Fails where the plan does not fit the table.
    pub fn new(
        plan: ExtractPlan,
        transform: Option<Box<dyn Transform>>,
        pipeline: PipelineId,
        epoch: Epoch,
        generation: Generation,
        split: SplitId,
        start: Position,
    ) -> Result<Extractor> {
        Ok(Extractor {
            decoder: plan.decode.decoder()?,
            assembly: Assembly::new(&plan, transform.is_some(), generation, split)?,
            keeps: Keeps::of(&plan, transform.is_some()),
            schema_version: plan.table.schema_version,
            decoded_schema: plan.decode.schema(),
            transform,
            ignores_tombstones: plan.ignores_tombstones,
            pipeline,
            epoch,
            split,
            filter: OrdinalFilter::new(start),
            first: start,
            open: Chunk::default(),
            closed: VecDeque::new(),
            limits: ExtractLimits::default(),
        })
    }

    /// The same extractor under other limits.
    pub fn with_limits(mut self, limits: ExtractLimits) -> Extractor {
        self.decoder.limit_shapes(limits.shapes);
        Extractor { limits, ..self }
    }

    /// Decodes messages, in the order in which the source delivers them. Offsets that have passed already are skipped.
    /// Never refuses; the caller bounds memory by looking at [`Extractor::is_full`] before it pushes more.
    pub fn push(&mut self, messages: &[RawMessage<'_>]) {
        for stride in messages.chunks(self.limits.stride) {
            if self.open_is_full() {
                self.close();
            }
            self.push_stride(stride);
        }
    }

    fn push_stride(&mut self, messages: &[RawMessage<'_>]) {
        let first_index = self.open.offsets.len();
        let mut skipped = false;
        for message in messages {
            if self.filter.admit(message.ordinal, message.mark) {
                self.open.offsets.push(message.ordinal);
                self.open.source_bytes += message.source_bytes();
            } else {
                skipped = true;
            }
        }
        let some;
        let admitted = if skipped {
            some = admitted(messages, &self.open.offsets[first_index..]);
            &some
        } else {
            messages
        };
        let refused = self.decode(admitted);
        let dead_letters = self.dead_letters(refused, admitted, first_index);
        self.open.dead_letters.extend(dead_letters);
    }

    fn decode(&mut self, messages: &[RawMessage<'_>]) -> Vec<Refused> {
        if self.keeps != Keeps::Nothing {
            for raw in messages {
                self.open.kept.extend_from_slice(raw.value.unwrap_or_default());
                self.open.kept_ends.push(self.open.kept.len());
            }
        }
        self.decoder.push(messages)
    }

    /// Takes rows that the source has decoded. Rows that have passed already are skipped. An error says which field the
    /// source does not have in the mapped type; it stops the pipeline.
    pub fn push_columns(&mut self, batch: &ColumnBatch) -> Result<()> {
        let rows = batch.columns.num_rows();
        let passed = (self.filter.next_ordinal().saturating_sub(batch.first_ordinal)).clamp(0, rows as i64);
        let columns = columnar::mapped(&self.decoded_schema, &batch.columns)?;
        if !self.open.offsets.is_empty() {
            self.close();
        }
        let mut start = passed as usize;
        while start < rows {
            let count = (rows - start).min(self.limits.chunk_messages_max);
            let first = batch.first_ordinal + start as i64;
            let offsets: Vec<i64> = (first..first + count as i64).collect();
            offsets.iter().for_each(|ordinal| assert!(self.filter.admit(*ordinal, batch.mark), "a new row"));
            let source_bytes = columnar::share(batch.source_bytes, start, count, rows);
            let decoded = Decoded {
                columns: columns.slice(start, count),
                origin: (0..count as u32).collect(),
                messages: count as u32,
            };
            let next = self.filter.position();
            let chunk = Chunk { offsets, source_bytes, columnar: true, ..Chunk::default() };
            self.closed.push_back(ClosedChunk { chunk, decoded, first: self.first, next });
            self.first = next;
            start += count;
        }
        Ok(())
    }

    /// The payload of a refused message is copied while the source's buffer is still valid.
    fn dead_letters(
        &self,
        refused: Vec<Refused>,
        messages: &[RawMessage<'_>],
        first_index: usize,
    ) -> Vec<DeadLetter> {
        let dead_letter = |Refused { message, error }: Refused| {
            let raw = &messages[message as usize - first_index];
            let kind = match error.sqlstate {
                SqlState::NOT_NULL_VIOLATION => DeadLetterKind::Constraint,
                _ => DeadLetterKind::Decode,
            };
            DeadLetter {
                split: self.split,
                ordinal: raw.ordinal,
                kind,
                error,
                payload: raw.value.map(Bytes::copy_from_slice),
            }
        };
        let is_ignored = |refused: &Refused| {
            self.ignores_tombstones && messages[refused.message as usize - first_index].value.is_none()
        };
        refused.into_iter().filter(|refused| !is_ignored(refused)).map(dead_letter).collect()
    }

    /// The source has nothing more below this offset (control records, aborted transactions, compaction).
    pub fn advance_to(&mut self, next_offset: i64) {
        self.filter.advance_to(next_offset);
    }

    /// Position of the next expected message.
    pub fn position(&self) -> Position {
        self.filter.position()
    }

    /// Bytes held by rows that were not taken yet.
    pub fn buffered_bytes(&self) -> usize {
        let closed = |c: &ClosedChunk| c.decoded.columns.get_array_memory_size();
        self.decoder.buffered_bytes() + self.closed.iter().map(closed).sum::<usize>()
    }

    /// Bytes of payload of messages that were not taken yet. Credit counts these.
    pub fn buffered_source_bytes(&self) -> u64 {
        self.open.source_bytes + self.closed.iter().map(|c| c.chunk.source_bytes).sum::<u64>()
    }

    /// Messages that were not taken yet.
    pub fn buffered_messages(&self) -> usize {
        self.open.offsets.len() + self.closed.iter().map(|c| c.chunk.offsets.len()).sum::<usize>()
    }

    /// True when a chunk is full (see [`ExtractLimits`]): take before pushing more.
    pub fn is_full(&self) -> bool {
        !self.closed.is_empty() || self.open_is_full()
    }

    fn open_is_full(&self) -> bool {
        self.open.offsets.len() >= self.limits.chunk_messages_max
            || self.open.source_bytes >= self.limits.chunk_bytes_max as u64
            || self.decoder.buffered_bytes() >= self.limits.chunk_bytes_max
    }

    fn close(&mut self) {
        let next = self.filter.position();
        let decoded = self.decoder.finish();
        let chunk = std::mem::take(&mut self.open);
        // Room for as many again, so that the next one does not grow step by step.
        self.open.kept.reserve(chunk.kept.len());
        assert_eq!(decoded.messages as usize, chunk.offsets.len(), "the decoder saw every message");
        self.closed.push_back(ClosedChunk { chunk, decoded, first: self.first, next });
        self.first = next;
    }

    /// Closes the range gathered so far: None if the position has not moved. After a very large push there may be several
    /// ranges: ask until None to have them all. An error stops the pipeline.
    pub fn take(&mut self, now_us: Micros) -> Result<Option<Extract>> {
        if self.closed.is_empty() && self.first.ordinal() < self.filter.next_ordinal() {
            self.close();
        }
        match self.closed.pop_front() {
            Some(closed) => self.extract(closed, now_us).map(Some),
            None => Ok(None),
        }
    }

    fn extract(&mut self, closed: ClosedChunk, now_us: Micros) -> Result<Extract> {
        let ClosedChunk { chunk, decoded, first, next } = closed;
        let Chunk { offsets, source_bytes, mut dead_letters, columnar, kept, kept_ends } = chunk;
        let mut failures = Failures::new();
        let mut rows = match &mut self.transform {
            Some(transform) => {
                self.assembly.transform(transform.as_mut(), &decoded, now_us, &mut failures)?
            }
            None => self.assembly.map(&decoded),
        };
        self.assembly.check_not_null(&mut rows, &mut failures);
        self.assembly.check_years(&rows, &mut failures);
        rows.drop_messages(&failures);
        let applied = rows.messages_kept();
        let original = |message: usize| {
            let start = if message == 0 { 0 } else { kept_ends[message - 1] };
            Bytes::copy_from_slice(&kept[start..kept_ends[message]])
        };
        dead_letters.extend(failures.into_iter().map(|(message, (kind, error))| DeadLetter {
            split: self.split,
            ordinal: offsets[message as usize],
            kind,
            error,
            payload: (!columnar).then(|| original(message as usize)),
        }));
        dead_letters.sort_by_key(|letter| letter.ordinal);

        let messages = offsets.len() as u64;
        let filtered = messages.checked_sub(applied + dead_letters.len() as u64);
        Ok(Extract {
            pipeline: self.pipeline,
            epoch: self.epoch,
            split: self.split,
            schema_version: self.schema_version,
            first,
            next,
            messages,
            filtered: filtered.expect("every message has one disposition"),
            source_bytes,
            rows: self.assembly.route(rows, &offsets)?,
            dead_letters,
            originals: (self.keeps == Keeps::ToTable && !columnar).then(|| Originals {
                ordinals: offsets,
                ends: kept_ends,
                bytes: Bytes::from(kept),
            }),
        })
    }
}

/// The messages whose offsets were admitted: these are in order, and each is a first delivery.
fn admitted<'a>(messages: &[RawMessage<'a>], offsets: &[i64]) -> Vec<RawMessage<'a>> {
    let mut offsets = offsets.iter().peekable();
    messages.iter().filter(|m| offsets.next_if(|&&ordinal| ordinal == m.ordinal).is_some()).copied().collect()
}
