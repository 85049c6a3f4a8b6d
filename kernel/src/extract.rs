//! The output of an extractor: one contiguous range of one split, decoded, transformed and routed. Extractors run in
//! parallel, one per split. This module is the pure part that they share: dropping redelivered messages, and the
//! message to the coordinator. Decoding is in the decode crate of the adapters.

use arrow_array::RecordBatch;
use bytes::Bytes;
use minicbor::{Decode, Encode};

use crate::error::Error;
use crate::ids::*;

/// A message that a pipeline could not apply. The record whose cursor passes the message also adds it to the errors
/// table. No message is lost, and later messages are applied (fault A16).
#[derive(Clone, PartialEq, Debug)]
pub struct DeadLetter {
    /// Split of the message.
    pub split: SplitId,
    /// Its ordinal in the split.
    pub ordinal: i64,
    /// Stage that refused it: `decode`, `expression`, `constraint`.
    pub kind: DeadLetterKind,
    /// The reason, and the place in the message.
    pub error: Error,
    /// The message as read. If the table refuses several rows of one message, each such row as text.
    pub payload: Option<Bytes>,
}

/// The stage that refused a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub enum DeadLetterKind {
    /// The decoder.
    #[n(0)]
    Decode,
    /// SET or WHERE.
    #[n(1)]
    Expression,
    /// NOT NULL, a primary key, or an overflow in ON DUPLICATE KEY UPDATE.
    #[n(2)]
    Constraint,
}

/// One extracted range. Each message from `first` to before `next` has exactly one disposition: rows,
/// filtered, or dead letter. An ordinal without a message is a hole at the source (control record, aborted transaction,
/// compaction).
#[derive(Clone, Debug)]
pub struct Extract {
    /// Pipeline that asked.
    pub pipeline: PipelineId,
    /// Epoch of the `Fetch` that caused the extract. The coordinator drops extracts of older epochs.
    pub epoch: Epoch,
    /// Split.
    pub split: SplitId,
    /// Schema version of the table for which the rows were made. An extract of another version is dropped and fetched
    /// again.
    pub schema_version: u32,
    /// Start of the range. The coordinator accepts the range only if it continues the one before.
    pub first: Position,
    /// Start of the next extract of this split.
    pub next: Position,
    /// Number of messages read: with rows, filtered and dead letters.
    pub messages: u64,
    /// Messages that WHERE filtered out.
    pub filtered: u64,
    /// Bytes of payload read. Credits and batch limits count these bytes.
    pub source_bytes: u64,
    /// Rows by shard, in order of ordinal, in the table's stored schema with provenance. `shard_count` entries.
    pub rows: Vec<Option<RecordBatch>>,
    /// Messages that could not be decoded or transformed.
    pub dead_letters: Vec<DeadLetter>,
    /// The raw messages, if the table may refuse one of their rows.
    pub originals: Option<Originals>,
}

/// Messages of a range as read. A dead letter takes its payload from here if its row was refused after decoding.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Originals {
    /// Ordinal of each, in order.
    pub ordinals: Vec<i64>,
    /// End of each message in `bytes`.
    pub ends: Vec<usize>,
    /// The messages, concatenated.
    pub bytes: Bytes,
}

impl Originals {
    /// The message with this ordinal.
    pub fn at(&self, ordinal: i64) -> Option<Bytes> {
        let at = self.ordinals.binary_search(&ordinal).ok()?;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        Some(self.bytes.slice(start..self.ends[at]))
    }
}

#[cfg(feature = "explore")]
impl Extract {
    /// See [`crate::fingerprint`]. The rows of a range follow from source and generation, and the generation from the
    /// epoch.
    pub fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let Extract {
            pipeline,
            epoch,
            split,
            schema_version,
            first,
            next,
            messages,
            filtered,
            source_bytes,
            rows,
            dead_letters,
            // Follows from the range.
            originals: _,
        } = self;
        to.epoch(*pipeline, *epoch);
        to.word(split.0);
        to.word(*schema_version);
        to.position(*first);
        to.position(*next);
        [messages, filtered, source_bytes].iter().for_each(|count| to.word(**count));
        to.count(dead_letters.len());
        rows.iter().for_each(|rows| to.count(rows.as_ref().map_or(0, RecordBatch::num_rows)));
    }
}

/// One fetched message, borrowed from the source's buffer.
#[derive(Clone, Copy, Debug)]
pub struct RawMessage<'a> {
    /// Its ordinal in the split; for Kafka its offset.
    pub ordinal: i64,
    /// The rest of the position after the message.
    pub mark: Mark,
    /// The source's timestamp in milliseconds; -1 if there is none. It neither orders nor expires messages (fault A15).
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; None is a tombstone.
    pub value: Option<&'a [u8]>,
}

impl RawMessage<'_> {
    /// The bytes that credits and batch limits count.
    pub fn source_bytes(&self) -> u64 {
        (self.value.map_or(0, <[u8]>::len) + self.key.map_or(0, <[u8]>::len)) as u64
    }
}

/// What a source hands over at once.
#[derive(Clone, Copy, Debug)]
pub enum Delivery<'a> {
    /// Messages as they are, in order of ordinal.
    Messages(&'a [RawMessage<'a>]),
    /// Rows that the source has decoded itself.
    Columns(&'a ColumnBatch),
}

/// Rows of a columnar source, with consecutive ordinals.
#[derive(Clone, Debug)]
pub struct ColumnBatch {
    /// Ordinal of the first row.
    pub first_ordinal: i64,
    /// The rest of the position after each row.
    pub mark: Mark,
    /// A column for each field that the pipeline maps, by the name of the field; others are ignored.
    pub columns: RecordBatch,
    /// The bytes that credits and batch limits count.
    pub source_bytes: u64,
}

impl<'a> Delivery<'a> {
    /// The raw messages; None for columns.
    pub fn messages(self) -> Option<&'a [RawMessage<'a>]> {
        match self {
            Delivery::Messages(messages) => Some(messages),
            Delivery::Columns(_) => None,
        }
    }

    /// Number of messages or rows.
    pub fn len(&self) -> usize {
        match self {
            Delivery::Messages(messages) => messages.len(),
            Delivery::Columns(batch) => batch.columns.num_rows(),
        }
    }

    /// True if it contains nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Follows one split and admits each ordinal once, in order (faults A2, A4).
#[derive(Clone, Debug)]
pub struct OrdinalFilter {
    kind: SourceKind,
    /// The next expected ordinal.
    next: i64,
    /// Mark of the last admitted message, or of the start.
    position: Position,
    /// The last admitted message; None if there is none since the start.
    last: Option<(i64, Mark)>,
}

impl OrdinalFilter {
    /// Begins at the position of a `Fetch`.
    pub fn new(start: Position) -> OrdinalFilter {
        OrdinalFilter { kind: start.kind(), next: start.ordinal(), position: start, last: None }
    }

    /// The next expected ordinal.
    pub fn next_ordinal(&self) -> i64 {
        self.next
    }

    /// Position of the next expected message.
    pub fn position(&self) -> Position {
        let behind = |(ordinal, mark)| Position::behind(self.kind, ordinal, mark);
        self.last.map_or(self.position, behind).advanced_to(self.next)
    }

    /// True if the message must be processed; false if its ordinal was admitted before. The filter compares ordinals,
    /// never content (fault A14). A forward jump is a hole at the source (faults A7, A8) and is accepted.
    pub fn admit(&mut self, ordinal: i64, mark: Mark) -> bool {
        if ordinal < self.next {
            return false;
        }
        self.next = ordinal + 1;
        self.last = Some((ordinal, mark));
        true
    }

    /// Moves over a hole at the end of a fetch (an empty fetch up to here: control records). Never moves back (fault
    /// A19).
    pub fn advance_to(&mut self, next_ordinal: i64) {
        self.next = self.next.max(next_ordinal);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// For any deliveries, in any number: each offset is admitted at most once and in order, and none below the
        /// start or a passed hole. A message that comes in order is not dropped.
        #[test]
        fn each_offset_passes_once_and_in_order(
            start in 0..50i64,
            steps in prop::collection::vec((0..100i64, 0..5i32, prop::bool::weighted(0.1)), 0..80),
        ) {
            let mut filter = OrdinalFilter::new(Position::kafka(start, 7));
            let mut expected = Position::kafka(start, 7);
            let mut passed = BTreeSet::new();
            for (offset, leader_epoch, is_hole) in steps {
                if is_hole {
                    filter.advance_to(offset);
                    expected = expected.advanced_to(offset);
                } else {
                    let in_time = offset >= expected.ordinal();
                    prop_assert_eq!(filter.admit(offset, Mark::LeaderEpoch(leader_epoch)), in_time);
                    if in_time {
                        prop_assert!(passed.insert(offset), "offset {} passed twice", offset);
                        expected = Position::kafka(offset + 1, leader_epoch);
                    }
                }
                prop_assert_eq!(filter.position(), expected);
            }
        }
    }
}
