//! The log record: its byte layout, encoding and decoding. The place of records in log files, the scan of a log and the
//! classification of its tail after a crash are in `log`. The effects of a record are in `coordinator` and `shard`.
//!
//! # Layout
//!
//! Integers are little-endian. A record starts at a multiple of 64 bytes, so that a scan can step over damage.
//!
//! | Offset | Bytes | Field |
//! |---:|---:|---|
//! | 0 | 4 | magic `TMLR` |
//! | 4 | 2 | format version |
//! | 6 | 1 | kind, [`RecordKind`] |
//! | 7 | 1 | codec of the payload: 0 none, 1 reserved for LZ4 |
//! | 8 | 8 | term |
//! | 16 | 8 | sequence |
//! | 24 | 8 | header checksum of the previous record; 0 in the first |
//! | 32 | 8 | `synced_through` |
//! | 40 | 8 | length of the stored payload |
//! | 48 | 8 | checksum of the stored payload |
//! | 56 | 8 | header checksum |
//! | 64 | | payload, then zeros up to the next multiple of 64 |
//!
//! Checksums are XXH3-64. The header checksum covers the first 56 bytes of the header *and the record location*:
//! database id, log file number and offset, which are not stored in the header. So the checksum of a misdirected write
//! does not match. Nor does that of a record image inside a payload: the author of a message cannot know the database
//! id and the final location. The header contains the payload's checksum, so its checksum covers the whole record, and
//! a chain of header checksums is a chain of records. A header lies inside one 512-byte sector: it is never half
//! written.
//!
//! # Payload
//!
//! `Open` is its struct in postcard encoding. `SyncMarker` has none. All others are a [`Commit`]:
//!
//! | Offset | Bytes | Field |
//! |---:|---:|---|
//! | 0 | 4 | length of the postcard part |
//! | 4 | 4 | number of pieces |
//! | 8 | | `Commit` without its pieces, in postcard encoding, then zeros up to a multiple of 8 |
//! | | | directory, one entry per piece: tag (4), count of parts (4); then for tag 0 (inline) the length of each part (8 each), for tag 1 (log file) log file, offset and length (8 each) |
//! | | | the parts in order, each at a multiple of 64, zeros between |
//!
//! A payload starts at a multiple of 64 in its file, so a part does too, and column buffers can be used in place.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result, SqlState};
use crate::ids::*;
use crate::schema::CatalogChange;

/// Version of the layout of log files and records. A log of another version is refused.
pub const FORMAT_VERSION: u16 = 1;

/// Records, payloads and parts start at multiples of this.
pub const ALIGNMENT: u64 = 64;

/// Length of a record's header.
pub const HEADER_LEN: u64 = 64;

/// Uncompressed payload.
pub const CODEC_NONE: u8 = 0;

/// Reserved: payload in LZ4 blocks.
pub const CODEC_LZ4: u8 = 1;

pub(crate) const MAGIC: [u8; 4] = *b"TMLR";

/// Rounds up to the next multiple of [`ALIGNMENT`]; None if that is beyond 64 bits.
pub(crate) fn align(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(ALIGNMENT)
}

/// Why a record was written. Every kind but `Open` and `SyncMarker` has a [`Commit`] as its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum RecordKind {
    /// First record of a term.
    Open = 1,
    /// A micro-batch of one or more pipelines.
    Batch = 2,
    /// A client's transaction.
    Client = 3,
    /// Definitions.
    Catalog = 4,
    /// First cursors of splits, and cursors set by command.
    Cursor = 5,
    /// A checkpoint. Reserved: written and read by the sealed store.
    Checkpoint = 6,
    /// No payload; the header carries `synced_through`. Written when the log is idle.
    SyncMarker = 7,
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

/// Payload of every record that changes something: one transaction.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Commit {
    /// Input time of the batch: `now()` of its expressions.
    pub at_us: Micros,
    /// Definitions, in order. Applied before rows.
    pub catalog: Vec<CatalogChange>,
    /// Cursor advances of any number of pipelines.
    pub cursors: Vec<CursorAdvance>,
    /// One per shard, in order of shard: the concatenated outcomes of its stages, in `columns` encoding; empty if the
    /// shard did not change. Or the segment that holds them.
    #[serde(skip)]
    pub pieces: Vec<Piece>,
}

/// Location of a shard's outcome.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// In the record, in parts: one per `Stage` command.
    Inline(Vec<Bytes>),
    /// In a segment that was written and synced before the record. Reserved for the sealed store.
    Segment {
        /// The segment.
        segment: u64,
        /// Offset in the segment.
        offset: u64,
        /// Length in bytes.
        len: u64,
    },
}

/// A range of a split that this record consumes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CursorAdvance {
    /// The pipeline.
    pub pipeline: PipelineId,
    /// Generation and epoch of the fetch.
    pub generation: Generation,
    /// See `generation`.
    pub epoch: Epoch,
    /// Split.
    pub split: SplitId,
    /// Start of the range. It must continue the cursor before it.
    pub first: Position,
    /// The cursor after it.
    pub next: Position,
    /// Identity of the split. The source named this identity before and after the fetch.
    pub identity: Identity,
    /// No message will follow `next`.
    pub finished: bool,
    /// Number of messages in the range by disposition.
    pub tally: Tally,
}

/// Number of messages by disposition. Holes are not counted. `applied + filtered + ignored + dead_letters` is the
/// number of messages; a message of several rows (CSV) counts once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// All rows of the message that passed WHERE changed the table.
    pub applied: u64,
    /// WHERE removed all rows of the message.
    pub filtered: u64,
    /// The rule ON DUPLICATE KEY dropped a row of the message.
    pub ignored: u64,
    /// The message, or a row of it, went to the errors table.
    pub dead_letters: u64,
}

/// A record that is ready to be written: header fields, and payload parts that the log copies into place without
/// concatenating them first. [`crate::log::LogWriter`] fills in the checksum of the previous record and
/// `synced_through`.
#[derive(Clone, Debug)]
pub struct EncodedRecord {
    /// Its sequence.
    pub sequence: Sequence,
    /// Its kind.
    pub kind: RecordKind,
    /// The payload's parts, in order. The sum of their lengths is the payload's length.
    pub parts: Vec<Bytes>,
}

/// A record read back and verified.
#[derive(Clone, PartialEq, Debug)]
pub struct Record {
    /// Its sequence.
    pub sequence: Sequence,
    /// Term that wrote it.
    pub term: Term,
    /// The last record that was durable when this one was written.
    pub synced_through: Sequence,
    /// Its content.
    pub body: Body,
}

/// The content of a record.
#[derive(Clone, PartialEq, Debug)]
pub enum Body {
    /// See [`Open`].
    Open(Open),
    /// See [`Commit`]; the kind says why it was written.
    Commit(RecordKind, Commit),
    /// No content.
    SyncMarker,
}

impl RecordKind {
    fn from_byte(byte: u8) -> Option<RecordKind> {
        use RecordKind::*;
        [Open, Batch, Client, Catalog, Cursor, Checkpoint, SyncMarker].into_iter().find(|k| *k as u8 == byte)
    }
}

impl EncodedRecord {
    /// Bytes of the payload.
    pub fn payload_len(&self) -> u64 {
        self.parts.iter().map(|p| p.len() as u64).sum()
    }

    /// Bytes of the record in the log.
    pub fn stored_len(&self) -> u64 {
        HEADER_LEN + align(self.payload_len()).expect("parts are in memory, so their sum is far below 2^64")
    }
}

/// Location of a record. The header checksum covers it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordLocation {
    pub database: [u8; 16],
    pub log_file: u64,
    pub offset: u64,
}

/// A record's header, without its constant fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    pub version: u16,
    pub kind: u8,
    pub codec: u8,
    pub term: Term,
    pub sequence: Sequence,
    pub previous_checksum: u64,
    pub synced_through: Sequence,
    pub payload_len: u64,
    pub payload_checksum: u64,
    /// Filled in by `encode`.
    pub checksum: u64,
}

impl Header {
    pub fn encode(&mut self, location: &RecordLocation) -> [u8; HEADER_LEN as usize] {
        let mut bytes = [0; HEADER_LEN as usize];
        bytes[0..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&self.version.to_le_bytes());
        bytes[6] = self.kind;
        bytes[7] = self.codec;
        bytes[8..16].copy_from_slice(&self.term.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous_checksum.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.synced_through.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.payload_len.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.payload_checksum.to_le_bytes());
        self.checksum = checksum_at(&bytes, location);
        bytes[56..64].copy_from_slice(&self.checksum.to_le_bytes());
        bytes
    }

    /// The header in these bytes, if it was written for this location. Any version and kind.
    pub fn decode(bytes: &[u8; HEADER_LEN as usize], location: &RecordLocation) -> Option<Header> {
        if bytes[0..4] != MAGIC {
            return None;
        }
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        let checksum = u64_at(56);
        if checksum != checksum_at(bytes, location) {
            return None;
        }
        Some(Header {
            version: u16::from_le_bytes([bytes[4], bytes[5]]),
            kind: bytes[6],
            codec: bytes[7],
            term: Term(u64_at(8)),
            sequence: Sequence(u64_at(16)),
            previous_checksum: u64_at(24),
            synced_through: Sequence(u64_at(32)),
            payload_len: u64_at(40),
            payload_checksum: u64_at(48),
            checksum,
        })
    }

    /// Bytes of the record in the log; None if the length is beyond 64 bits.
    pub fn stored_len(&self) -> Option<u64> {
        align(self.payload_len)?.checked_add(HEADER_LEN)
    }

    /// Decodes a payload whose checksum matches.
    pub fn record(&self, payload: &Bytes) -> Result<Record> {
        if self.version != FORMAT_VERSION {
            let (found, ours) = (self.version, FORMAT_VERSION);
            return Err(unsupported(format!("is of format version {found}, this program reads {ours}")));
        }
        let kind = RecordKind::from_byte(self.kind).ok_or_else(|| {
            unsupported(format!("is of kind {}, which this program cannot read", self.kind))
        })?;
        Ok(Record {
            sequence: self.sequence,
            term: self.term,
            synced_through: self.synced_through,
            body: Body::decode(kind, self.codec, payload)?,
        })
    }
}

fn checksum_at(header: &[u8; HEADER_LEN as usize], location: &RecordLocation) -> u64 {
    let mut covered = [0; 56 + 32];
    covered[0..56].copy_from_slice(&header[0..56]);
    covered[56..72].copy_from_slice(&location.database);
    covered[72..80].copy_from_slice(&location.log_file.to_le_bytes());
    covered[80..88].copy_from_slice(&location.offset.to_le_bytes());
    xxh3_64(&covered)
}

const TAG_INLINE: u32 = 0;
const TAG_SEGMENT: u32 = 1;
static ZEROS: [u8; ALIGNMENT as usize] = [0; ALIGNMENT as usize];

impl Body {
    /// The kind in the header.
    pub fn kind(&self) -> RecordKind {
        match self {
            Body::Open(_) => RecordKind::Open,
            Body::Commit(kind, _) => *kind,
            Body::SyncMarker => RecordKind::SyncMarker,
        }
    }

    /// Encodes the payload into parts. Pieces are passed on without a copy.
    pub fn encode(&self, sequence: Sequence) -> EncodedRecord {
        let parts = match self {
            Body::Open(open) => vec![Bytes::from(postcard_bytes(open))],
            Body::Commit(_, commit) => encode_commit(commit),
            Body::SyncMarker => vec![],
        };
        EncodedRecord { sequence, kind: self.kind(), parts }
    }

    /// Decodes a payload; pieces are slices of it. Never panics for any bytes, and allocates at most a small multiple
    /// of their length.
    pub fn decode(kind: RecordKind, codec: u8, payload: &Bytes) -> Result<Body> {
        match codec {
            CODEC_NONE => {}
            CODEC_LZ4 => {
                return Err(unsupported("is compressed with LZ4, which this program cannot read".into()));
            }
            other => {
                return Err(unsupported(format!(
                    "is compressed with codec {other}, which this program cannot read"
                )));
            }
        }
        match kind {
            RecordKind::Open => Ok(Body::Open(from_postcard(payload)?)),
            RecordKind::SyncMarker if payload.is_empty() => Ok(Body::SyncMarker),
            RecordKind::SyncMarker => Err(malformed("a sync marker has a payload")),
            _ => Ok(Body::Commit(kind, decode_commit(payload)?)),
        }
    }
}

fn encode_commit(commit: &Commit) -> Vec<Bytes> {
    let postcard = postcard_bytes(commit);
    let mut head = Vec::new();
    head.extend_from_slice(&u32::try_from(postcard.len()).expect("definitions below 4 GiB").to_le_bytes());
    head.extend_from_slice(&u32::try_from(commit.pieces.len()).expect("one a shard").to_le_bytes());
    head.extend_from_slice(&postcard);
    head.resize(head.len().next_multiple_of(8), 0);
    for piece in &commit.pieces {
        encode_directory_entry(piece, &mut head);
    }
    let mut payload_len = head.len();
    let mut parts = vec![Bytes::from(head)];
    for part in commit.pieces.iter().flat_map(inline_parts).filter(|p| !p.is_empty()) {
        let gap = payload_len.next_multiple_of(ALIGNMENT as usize) - payload_len;
        parts.extend([Bytes::from_static(&ZEROS[..gap]), part.clone()]);
        payload_len += gap + part.len();
    }
    parts
}

fn encode_directory_entry(piece: &Piece, head: &mut Vec<u8>) {
    let (tag, parts, numbers): (u32, usize, Cow<'_, [u64]>) = match piece {
        Piece::Inline(parts) => (TAG_INLINE, parts.len(), parts.iter().map(|p| p.len() as u64).collect()),
        Piece::Segment { segment, offset, len } => (TAG_SEGMENT, 0, vec![*segment, *offset, *len].into()),
    };
    head.extend_from_slice(&tag.to_le_bytes());
    head.extend_from_slice(&u32::try_from(parts).expect("few parts a piece").to_le_bytes());
    numbers.iter().for_each(|n| head.extend_from_slice(&n.to_le_bytes()));
}

fn inline_parts(piece: &Piece) -> &[Bytes] {
    match piece {
        Piece::Inline(parts) => parts,
        Piece::Segment { .. } => &[],
    }
}

fn decode_commit(payload: &Bytes) -> Result<Commit> {
    let mut cursor = Cursor { payload, at: 0 };
    let postcard_len = cursor.u32()? as usize;
    let piece_count = cursor.u32()? as usize;
    let mut commit: Commit = from_postcard(cursor.take(postcard_len)?)?;
    cursor.skip_to_multiple_of(8)?;
    let mut inline_lens: Vec<Option<Vec<u64>>> = Vec::new();
    for _ in 0..piece_count {
        let (tag, part_count) = (cursor.u32()?, cursor.u32()? as usize);
        match tag {
            TAG_INLINE => {
                let lens = cursor.take(part_count.checked_mul(8).ok_or_else(|| malformed("part count"))?)?;
                let lens = lens.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("8 bytes")));
                inline_lens.push(Some(lens.collect()));
                commit.pieces.push(Piece::Inline(Vec::new()));
            }
            TAG_SEGMENT if part_count == 0 => {
                let (segment, offset, len) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
                inline_lens.push(None);
                commit.pieces.push(Piece::Segment { segment, offset, len });
            }
            _ => return Err(malformed("piece of an unknown form")),
        }
    }
    for (piece, lens) in commit.pieces.iter_mut().zip(inline_lens) {
        if let Some(lens) = lens {
            let parts = lens.into_iter().map(|len| cursor.part(len)).collect::<Result<_>>()?;
            *piece = Piece::Inline(parts);
        }
    }
    if cursor.at != payload.len() {
        return Err(malformed("bytes are left over"));
    }
    Ok(commit)
}

/// Reads a payload from front to back, never beyond its end.
struct Cursor<'a> {
    payload: &'a Bytes,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.payload.len());
        let end = end.ok_or_else(|| malformed("it ends early"))?;
        let taken = &self.payload[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.take(4)?.try_into().expect("4 bytes")))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("8 bytes")))
    }

    /// Checks that padding is zero. `encode` writes no other padding.
    fn skip_to_multiple_of(&mut self, multiple: usize) -> Result<()> {
        let gap = self.at.next_multiple_of(multiple) - self.at;
        if self.take(gap)?.iter().any(|b| *b != 0) {
            return Err(malformed("its padding is not zero"));
        }
        Ok(())
    }

    fn part(&mut self, len: u64) -> Result<Bytes> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        self.skip_to_multiple_of(ALIGNMENT as usize)?;
        let start = self.at;
        self.take(usize::try_from(len).map_err(|_| malformed("a part is longer than memory"))?)?;
        Ok(self.payload.slice(start..self.at))
    }
}

fn postcard_bytes<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("our own structs serialize into memory")
}

fn from_postcard<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(malformed("bytes are left over")),
        Err(error) => Err(malformed(&error.to_string())),
    }
}

fn malformed(why: &str) -> Error {
    Error::new(SqlState::DATA_CORRUPTED, format!("payload of the log record is malformed: {why}"))
}

fn unsupported(what: String) -> Error {
    Error::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!("log record {what}; start the version of tidemark that wrote this data directory"),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces() -> impl Strategy<Value = Vec<Piece>> {
        let part = prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        let inline = prop::collection::vec(part, 0..4).prop_map(Piece::Inline);
        let segment = any::<(u64, u64, u64)>().prop_map(|(segment, offset, len)| Piece::Segment {
            segment,
            offset,
            len,
        });
        prop::collection::vec(prop_oneof![3 => inline, 1 => segment], 0..9)
    }

    fn commit() -> impl Strategy<Value = Commit> {
        let cursor = (any::<u32>(), any::<i64>(), any::<i64>(), any::<[u8; 16]>(), any::<u64>()).prop_map(
            |(split, first, next, topic_id, applied)| CursorAdvance {
                pipeline: PipelineId(1),
                generation: Generation(2),
                epoch: Epoch(3),
                split: SplitId(split),
                first: Position::kafka(first, -1),
                next: Position::kafka(next, -1),
                identity: Identity::new(&topic_id),
                finished: first % 2 == 0,
                tally: Tally { applied, ..Tally::default() },
            },
        );
        (any::<i64>(), prop::collection::vec(cursor, 0..5), pieces()).prop_map(|(at_us, cursors, pieces)| {
            let catalog = vec![CatalogChange::TableCreated(crate::schema::errors_table())];
            Commit { at_us, catalog, cursors, pieces }
        })
    }

    fn payload(body: &Body) -> Bytes {
        body.encode(Sequence(1)).parts.concat().into()
    }

    proptest! {
        #[test]
        fn a_commit_comes_back_and_its_parts_lie_at_multiples_of_64(commit in commit()) {
            let body = Body::Commit(RecordKind::Client, commit);
            let payload = payload(&body);
            let found = Body::decode(RecordKind::Client, CODEC_NONE, &payload).unwrap();
            prop_assert_eq!(&found, &body);
            let Body::Commit(_, commit) = found else { panic!("a commit") };
            for part in commit.pieces.iter().flat_map(inline_parts).filter(|part| !part.is_empty()) {
                prop_assert_eq!((part.as_ptr().addr() - payload.as_ptr().addr()) % 64, 0);
            }
        }

        #[test]
        fn a_payload_cut_off_is_refused_and_a_changed_one_does_not_panic(
            commit in commit(),
            cut in any::<prop::sample::Index>(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        ) {
            let payload = payload(&Body::Commit(RecordKind::Batch, commit));
            let cut = payload.slice(..cut.index(payload.len()));
            prop_assert!(Body::decode(RecordKind::Batch, CODEC_NONE, &cut).is_err());
            let mut changed = payload.to_vec();
            for (at, byte) in changes {
                changed[at.index(payload.len())] = byte;
            }
            let _ = Body::decode(RecordKind::Batch, CODEC_NONE, &changed.into());
        }
    }

    #[test]
    fn counts_that_the_bytes_cannot_hold_are_refused_before_anything_is_allocated() {
        let mut payload = payload(&Body::Commit(RecordKind::Batch, Commit::default())).to_vec();
        payload[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        payload.extend_from_slice(&[0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        assert!(Body::decode(RecordKind::Batch, CODEC_NONE, &payload.into()).is_err());
    }

    #[test]
    fn an_unknown_codec_and_a_payload_of_the_wrong_kind_are_refused_by_name() {
        let refused = |kind, codec, payload: &'static [u8]| {
            Body::decode(kind, codec, &Bytes::from_static(payload)).unwrap_err()
        };
        assert_eq!(refused(RecordKind::Batch, CODEC_LZ4, b"").sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
        assert!(refused(RecordKind::Batch, CODEC_LZ4, b"").message.contains("LZ4"));
        assert!(refused(RecordKind::Batch, 9, b"").message.contains("codec 9"));
        assert_eq!(refused(RecordKind::SyncMarker, CODEC_NONE, b"x").sqlstate, SqlState::DATA_CORRUPTED);
        assert_eq!(refused(RecordKind::Open, CODEC_NONE, b"x").sqlstate, SqlState::DATA_CORRUPTED);
    }
}
