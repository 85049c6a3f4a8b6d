//! What comes out of an extractor: one contiguous range of one source partition, decoded, transformed, routed. Extractors
//! run in parallel, one a source partition; this module is the pure part that they share: trimming what is already
//! consumed, routing rows to shards, and the message that they hand to the coordinator. Decoding lives in the adapters'
//! decode crate.

use arrow_array::RecordBatch;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::defects::{self, Defect};
use crate::error::Error;
use crate::ids::*;

/// A message that a pipeline could not apply. It is committed to the errors table with the offsets that pass it, so that
/// nothing is lost and the rest goes on (fault A16).
#[derive(Clone, PartialEq, Debug)]
pub struct DeadLetter {
    /// Split it came from.
    pub split: SplitId,
    /// Its ordinal in the split.
    pub ordinal: i64,
    /// Stage that refused it: `decode`, `expression`, `constraint`.
    pub kind: DeadLetterKind,
    /// What, where in the message, and why.
    pub error: Error,
    /// The message as it was read; of a message of several rows of which the table refuses several, each of these as text.
    pub payload: Option<Bytes>,
}

/// Which stage refused a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DeadLetterKind {
    /// The decoder.
    Decode,
    /// SET or WHERE.
    Expression,
    /// NOT NULL, a primary key, or an overflow in ON DUPLICATE KEY UPDATE.
    Constraint,
}

/// One extracted range. Every message from `first` to before `next` has exactly one disposition: rows in the pieces,
/// filtered, or set aside; or it is a hole in the log of the source (control records, aborted transactions, compaction).
#[derive(Clone, Debug)]
pub struct Extract {
    /// Pipeline that asked.
    pub pipeline: PipelineId,
    /// Epoch of the `Fetch` that it answers. An older one than the pipeline's changes nothing.
    pub epoch: Epoch,
    /// Split.
    pub split: SplitId,
    /// Position that the extractor went on from; the coordinator takes the range only if it continues what it has.
    pub first: Position,
    /// Where the next extract of this split goes on.
    pub next: Position,
    /// Messages read: those that left rows, filtered and set aside.
    pub messages: u64,
    /// Messages that WHERE left out.
    pub filtered: u64,
    /// Bytes of payload read: what credits and batch bounds count.
    pub source_bytes: u64,
    /// Rows by shard, in order of offset, in the table's stored schema with provenance filled in. `shard_count` entries.
    pub pieces: Vec<Option<RecordBatch>>,
    /// Messages that could not be decoded or transformed.
    pub dead_letters: Vec<DeadLetter>,
    /// The messages themselves, if the table may refuse one of their rows.
    pub originals: Option<Originals>,
}

/// Messages of a range as they were read, for whoever refuses one of them after it was decoded.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Originals {
    /// Ordinal of each, in order.
    pub ordinals: Vec<i64>,
    /// Where each ends in `bytes`.
    pub ends: Vec<usize>,
    /// One behind the other.
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
    /// See [`crate::fingerprint`]. Which rows a range has follows from its source and its run, and the run from the epoch.
    pub fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let Extract {
            pipeline,
            epoch,
            split,
            first,
            next,
            messages,
            filtered,
            source_bytes,
            pieces,
            dead_letters,
            // Says no more than the range.
            originals: _,
        } = self;
        to.epoch(*pipeline, *epoch);
        to.word(split.0);
        to.position(*first);
        to.position(*next);
        [messages, filtered, source_bytes].iter().for_each(|count| to.word(**count));
        to.count(dead_letters.len());
        pieces.iter().for_each(|piece| to.count(piece.as_ref().map_or(0, RecordBatch::num_rows)));
    }
}

/// One fetched message, borrowed from the source's buffer.
#[derive(Clone, Copy, Debug)]
pub struct RawMessage<'a> {
    /// Its ordinal in the split; for Kafka its offset.
    pub ordinal: i64,
    /// What the position behind it needs besides.
    pub mark: Mark,
    /// The source's timestamp in milliseconds, -1 if none. Never used to order or expire (fault A15).
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; None is a tombstone.
    pub value: Option<&'a [u8]>,
}

impl RawMessage<'_> {
    /// What credits and batch bounds count.
    pub fn source_bytes(&self) -> u64 {
        (self.value.map_or(0, <[u8]>::len) + self.key.map_or(0, <[u8]>::len)) as u64
    }
}

/// Follows one split: takes what a source delivers and lets each ordinal pass once, in order (faults A2, A4).
#[derive(Clone, Debug)]
pub struct OrdinalFilter {
    kind: SourceKind,
    /// The ordinal that is expected next.
    next: i64,
    /// Of the last message that passed, or of the start.
    position: Position,
    /// The last message that passed, if any has since the start.
    last: Option<(i64, Mark)>,
}

impl OrdinalFilter {
    /// Begins at the position of a `Fetch`.
    pub fn new(start: Position) -> OrdinalFilter {
        OrdinalFilter { kind: start.kind(), next: start.ordinal(), position: start, last: None }
    }

    /// The ordinal that is expected next.
    pub fn next_ordinal(&self) -> i64 {
        self.next
    }

    /// Where the split stands: the position of the message that is expected next.
    pub fn position(&self) -> Position {
        let behind = |(ordinal, mark)| Position::behind(self.kind, ordinal, mark);
        self.last.map_or(self.position, behind).advanced_to(self.next)
    }

    /// True if the message is to be processed; false if its ordinal has passed already. Skips by ordinal, never by content
    /// (fault A14). A forward jump is a hole of the source's log (faults A7, A8) and is passed over.
    pub fn admit(&mut self, ordinal: i64, mark: Mark) -> bool {
        let passed = ordinal < self.next;
        if passed && !(defects::is(Defect::WatermarkLowered) && ordinal + 1 < self.next) {
            return false;
        }
        self.next = ordinal + 1;
        self.last = Some((ordinal, mark));
        true
    }

    /// Moves over a hole at the end of what was fetched (a fetch that came back empty up to here: control records). Never
    /// moves back (fault A19).
    pub fn advance_to(&mut self, next_ordinal: i64) {
        if defects::is(Defect::NoProgressOverHoles) {
            return;
        }
        self.next = self.next.max(next_ordinal);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever a source delivers, and however often: offsets pass in order, each once, none below the start or below a hole that
        /// was passed over; and none that comes in order and in time is held back.
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
