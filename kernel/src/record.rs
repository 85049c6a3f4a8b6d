//! The log record: its byte layout, its encoding and decoding. Where records lie in segments, and how a log is scanned and
//! judged after a crash, lives in `log`; what a record *does* lives in `coordinator` and `shard`.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::ids::*;
use crate::schema::CatalogChange;

/// Why a record was written. Every kind but `Open` and `Frontier` has a [`Commit`] as its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum RecordKind {
    /// First record of an incarnation.
    Open = 1,
    /// A micro-batch of one or more pipelines.
    Batch = 2,
    /// A client's transaction.
    Client = 3,
    /// Definitions.
    Catalog = 4,
    /// Cursors set by command, or first seen.
    Cursor = 5,
    /// A checkpoint. Reserved: written and read by the sealed store.
    Checkpoint = 6,
    /// Nothing but `synced_through`; written when idle.
    Frontier = 7,
}

/// Payload of an `Open` record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Open {
    /// Random identity of the database, chosen by the host at creation.
    pub database: [u8; 16],
    /// Fixed at creation.
    pub shard_count: u16,
    /// Input time.
    pub at_us: Micros,
}

/// Payload of every record that changes something: one transaction, whatever it touches.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Commit {
    /// Input time of the batch: `now()` of its expressions.
    pub at_us: Micros,
    /// Definitions, in order. Applied before rows.
    pub catalog: Vec<CatalogChange>,
    /// Cursor advances of any number of pipelines.
    pub cursors: Vec<CursorAdvance>,
    /// One a shard, in order of shard: the concatenated outcomes of its stages, in `columns` encoding; empty if nothing
    /// changed there. Or a segment that holds them.
    #[serde(skip)]
    pub pieces: Vec<Piece>,
}

/// Where a shard's outcome is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// In the record, in parts: one a `Stage` command.
    Inline(Vec<Bytes>),
    /// In a segment that was written and synced before the record. Reserved for the sealed store.
    Segment {
        /// Which segment.
        segment: u64,
        /// Where in it.
        offset: u64,
        /// How long.
        len: u64,
    },
}

/// A range of a source partition that this record consumes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CursorAdvance {
    /// Whose cursor.
    pub pipeline: PipelineId,
    /// Run and epoch it was fetched under.
    pub run: Run,
    /// See `run`.
    pub epoch: Epoch,
    /// Source partition.
    pub partition: SourcePartition,
    /// First offset of the range: must be the cursor before it.
    pub first_offset: i64,
    /// The cursor after it.
    pub next: Position,
    /// Proof that the range is of this topic: readings of the topic id before and after the fetch were both this.
    pub topic_id: TopicId,
    /// Disposition of the messages in the range.
    pub tally: Tally,
}

/// What became of a range's messages; holes have none. `applied + filtered + ignored + set_aside` is all of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Changed the table.
    pub applied: u64,
    /// Left out by WHERE.
    pub filtered: u64,
    /// Dropped by ON DUPLICATE KEY's rule.
    pub ignored: u64,
    /// Put into the errors table.
    pub set_aside: u64,
}

/// A record that is ready to be written: header and payload, as parts that the log copies into place (no concatenation in
/// between). The checksum of the previous record and `synced_through` are filled in by [`crate::log::LogWriter`], which
/// knows them.
#[derive(Clone, Debug)]
pub struct EncodedRecord {
    /// Its place in the log.
    pub sequence: Sequence,
    /// Its kind.
    pub kind: RecordKind,
    /// Payload, in order. Their sum is the payload's length.
    pub parts: Vec<Bytes>,
}

/// A record read back and verified.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Place in the log.
    pub sequence: Sequence,
    /// Life of the process that wrote it.
    pub incarnation: Incarnation,
    /// Everything up to here was durable when it was written.
    pub synced_through: Sequence,
    /// What it says.
    pub body: Body,
}

/// What a record says.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// See [`Open`].
    Open(Open),
    /// See [`Commit`]; the kind says why it was written.
    Commit(RecordKind, Commit),
    /// Nothing else.
    Frontier,
}

impl Body {
    /// Encodes the payload into parts. Pieces are passed on as they are, not copied.
    pub fn encode(&self, _sequence: Sequence) -> EncodedRecord {
        unimplemented!()
    }

    /// Decodes a payload; pieces are slices of it. Never panics, whatever the bytes.
    pub fn decode(_kind: RecordKind, _codec: u8, _payload: &Bytes) -> Result<Body> {
        unimplemented!()
    }
}
