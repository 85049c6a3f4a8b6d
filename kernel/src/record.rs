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
//! | 7 | 1 | zero |
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
//! `Open` is its struct in [`cbor`] encoding. `SyncMarker` has no payload. All others are a [`Commit`]:
//!
//! | Offset | Bytes | Field |
//! |---:|---:|---|
//! | 0 | 4 | length of the head |
//! | 4 | 4 | number of shards |
//! | 8 | | head: `Commit` without its outcomes, in `cbor` encoding, then zeros up to a multiple of 8 |
//! | | | directory, one entry per shard: count of outcomes (8), then the length of each (8 each) |
//! | | | the outcomes in order, each at a multiple of 64, zeros between |
//!
//! A payload starts at a multiple of 64 in its file, so an outcome does too, and column buffers can
//! be used in place.

use std::ops::RangeInclusive;

use bytes::Bytes;
use minicbor::{Decode, Encode};
use xxhash_rust::xxh3::xxh3_64;

use crate::cbor;
use crate::error::{Error, Result, SqlState};
use crate::ids::*;
use crate::schema::CatalogChange;

/// Version of the layout of log files and records that this program writes. Version 1 was never released.
pub const FORMAT_VERSION: u16 = 2;

/// Versions that this program reads. All of them have golden bytes in `kernel/tests/golden`.
pub const FORMAT_VERSIONS_READ: RangeInclusive<u16> = 2..=FORMAT_VERSION;

/// Records, payloads and outcomes start at multiples of this.
pub const ALIGNMENT: u64 = 64;

/// Length of a record's header.
pub const HEADER_LEN: u64 = 64;

pub(crate) const MAGIC: [u8; 4] = *b"TMLR";

/// Rounds up to the next multiple of [`ALIGNMENT`]; None if that is beyond 64 bits.
pub(crate) fn align(len: u64) -> Option<u64> {
    len.checked_next_multiple_of(ALIGNMENT)
}

/// Why a record was written. Every kind but `Open` and `SyncMarker` has a [`Commit`] as its payload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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
    /// No payload; the header carries `synced_through`. Written when the log is idle.
    SyncMarker = 7,
}

/// Payload of an `Open` record.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct Open {
    /// Random identity of the database, chosen by the host at creation.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub database: [u8; 16],
    /// Fixed at creation.
    #[n(1)]
    pub shard_count: u16,
    /// Input time.
    #[n(2)]
    pub at_us: Micros,
}

/// Payload of every record that changes something: one transaction.
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct Commit {
    /// Input time of the batch: `now()` of its expressions.
    #[n(0)]
    pub at_us: Micros,
    /// Definitions, in order. Applied before rows.
    #[n(1)]
    pub catalog: Vec<CatalogChange>,
    /// Cursor advances of any number of pipelines.
    #[n(2)]
    pub cursors: Vec<CursorAdvance>,
    /// By shard, one list each: what its `Stage` commands returned, in order, in `columns` encoding. A list is empty if
    /// the shard did not change.
    #[cbor(skip)]
    pub outcomes: Vec<Vec<Bytes>>,
}

/// A range of a split that this record consumes.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct CursorAdvance {
    /// The pipeline.
    #[n(0)]
    pub pipeline: PipelineId,
    /// Generation and epoch of the fetch.
    #[n(1)]
    pub generation: Generation,
    /// See `generation`.
    #[n(2)]
    pub epoch: Epoch,
    /// Split.
    #[n(3)]
    pub split: SplitId,
    /// Start of the range. It must continue the cursor before it.
    #[n(4)]
    pub first: Position,
    /// The cursor after it.
    #[n(5)]
    pub next: Position,
    /// Identity of the split. The source named this identity before and after the fetch.
    #[n(6)]
    pub identity: Identity,
    /// No message will follow `next`.
    #[n(7)]
    pub finished: bool,
    /// Number of messages in the range by disposition.
    #[n(8)]
    pub tally: Tally,
}

/// Number of messages by disposition. Holes are not counted. `applied + filtered + ignored + dead_letters` is the
/// number of messages; a message of several rows (CSV) counts once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
#[cbor(map)]
pub struct Tally {
    /// All rows of the message that passed WHERE changed the table.
    #[n(0)]
    pub applied: u64,
    /// WHERE removed all rows of the message.
    #[n(1)]
    pub filtered: u64,
    /// The rule ON DUPLICATE KEY dropped a row of the message.
    #[n(2)]
    pub ignored: u64,
    /// The message, or a row of it, went to the errors table.
    #[n(3)]
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
        [Open, Batch, Client, Catalog, Cursor, SyncMarker].into_iter().find(|k| *k as u8 == byte)
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
    pub zero: u8,
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
        bytes[7] = self.zero;
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
            zero: bytes[7],
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
        check_version("log record", self.version)?;
        let kind = RecordKind::from_byte(self.kind).ok_or_else(|| {
            unsupported(format!("is of kind {}, which this program cannot read", self.kind))
        })?;
        if self.zero != 0 {
            return Err(unsupported(format!(
                "has the payload encoding {}, which this program cannot read",
                self.zero
            )));
        }
        Ok(Record {
            sequence: self.sequence,
            term: self.term,
            synced_through: self.synced_through,
            body: Body::decode(kind, payload)?,
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

    /// Encodes the payload into parts. Outcomes are passed on without a copy.
    pub fn encode(&self, sequence: Sequence) -> EncodedRecord {
        let parts = match self {
            Body::Open(open) => vec![Bytes::from(cbor::to_vec(open))],
            Body::Commit(_, commit) => encode_commit(commit),
            Body::SyncMarker => vec![],
        };
        EncodedRecord { sequence, kind: self.kind(), parts }
    }

    /// Decodes a payload; outcomes are slices of it. Never panics for any bytes, and allocates at most a small multiple
    /// of their length.
    pub fn decode(kind: RecordKind, payload: &Bytes) -> Result<Body> {
        match kind {
            RecordKind::Open => Ok(Body::Open(from_cbor(payload)?)),
            RecordKind::SyncMarker if payload.is_empty() => Ok(Body::SyncMarker),
            RecordKind::SyncMarker => Err(malformed("a sync marker has a payload")),
            _ => Ok(Body::Commit(kind, decode_commit(payload)?)),
        }
    }
}

fn encode_commit(commit: &Commit) -> Vec<Bytes> {
    let mut head = vec![0; 8];
    cbor::extend(commit, &mut head);
    let head_len = u32::try_from(head.len() - 8).expect("definitions below 4 GiB");
    head[0..4].copy_from_slice(&head_len.to_le_bytes());
    head[4..8].copy_from_slice(&u32::try_from(commit.outcomes.len()).expect("one a shard").to_le_bytes());
    head.resize(head.len().next_multiple_of(8), 0);
    for outcomes in &commit.outcomes {
        head.extend_from_slice(&(outcomes.len() as u64).to_le_bytes());
        outcomes.iter().for_each(|outcome| head.extend_from_slice(&(outcome.len() as u64).to_le_bytes()));
    }
    let mut payload_len = head.len();
    let mut parts = vec![Bytes::from(head)];
    for outcome in commit.outcomes.iter().flatten().filter(|outcome| !outcome.is_empty()) {
        let gap = payload_len.next_multiple_of(ALIGNMENT as usize) - payload_len;
        parts.extend([Bytes::from_static(&ZEROS[..gap]), outcome.clone()]);
        payload_len += gap + outcome.len();
    }
    parts
}

fn decode_commit(payload: &Bytes) -> Result<Commit> {
    let mut cursor = Cursor { payload, at: 0 };
    let head_len = cursor.u32()? as usize;
    let shard_count = cursor.u32()? as usize;
    let mut commit: Commit = from_cbor(cursor.take(head_len)?)?;
    cursor.skip_to_multiple_of(8)?;
    let mut lens_by_shard: Vec<Vec<u64>> = Vec::new();
    for _ in 0..shard_count {
        let count = usize::try_from(cursor.u64()?).ok().and_then(|count| count.checked_mul(8));
        let lens = cursor.take(count.ok_or_else(|| malformed("a count of outcomes is too large"))?)?;
        let lens = lens.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().expect("8 bytes")));
        lens_by_shard.push(lens.collect());
    }
    for lens in lens_by_shard {
        let outcomes = lens.into_iter().map(|len| cursor.outcome(len)).collect::<Result<_>>()?;
        commit.outcomes.push(outcomes);
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

    fn outcome(&mut self, len: u64) -> Result<Bytes> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        self.skip_to_multiple_of(ALIGNMENT as usize)?;
        let start = self.at;
        self.take(usize::try_from(len).map_err(|_| malformed("an outcome is longer than memory"))?)?;
        Ok(self.payload.slice(start..self.at))
    }
}

fn from_cbor<'a, T: Decode<'a, ()>>(bytes: &'a [u8]) -> Result<T> {
    cbor::from_slice(bytes).map_err(|error| malformed(&error))
}

/// Refuses a format version that this program does not read.
pub(crate) fn check_version(of: &str, found: u16) -> Result<()> {
    if FORMAT_VERSIONS_READ.contains(&found) {
        return Ok(());
    }
    let (oldest, newest) = FORMAT_VERSIONS_READ.into_inner();
    let way_on = if found > newest {
        "start the version of tidemark that wrote this data directory, or a later one"
    } else {
        "start the version of tidemark that wrote this data directory"
    };
    Err(Error::new(
        SqlState::FEATURE_NOT_SUPPORTED,
        format!(
            "{of} is of format version {found}, this program reads versions {oldest} to {newest}; nothing was changed; {way_on}"
        ),
    ))
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

    fn outcomes() -> impl Strategy<Value = Vec<Vec<Bytes>>> {
        let outcome = prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
        prop::collection::vec(prop::collection::vec(outcome, 0..4), 0..9)
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
        (any::<i64>(), prop::collection::vec(cursor, 0..5), outcomes()).prop_map(
            |(at_us, cursors, outcomes)| {
                let catalog = vec![CatalogChange::TableCreated(crate::schema::errors_table())];
                Commit { at_us, catalog, cursors, outcomes }
            },
        )
    }

    fn payload(body: &Body) -> Bytes {
        body.encode(Sequence(1)).parts.concat().into()
    }

    proptest! {
        #[test]
        fn a_commit_comes_back_and_its_outcomes_lie_at_multiples_of_64(commit in commit()) {
            let body = Body::Commit(RecordKind::Client, commit);
            let payload = payload(&body);
            let found = Body::decode(RecordKind::Client, &payload).unwrap();
            prop_assert_eq!(&found, &body);
            let Body::Commit(_, commit) = found else { panic!("a commit") };
            for outcome in commit.outcomes.iter().flatten().filter(|outcome| !outcome.is_empty()) {
                prop_assert_eq!((outcome.as_ptr().addr() - payload.as_ptr().addr()) % 64, 0);
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
            prop_assert!(Body::decode(RecordKind::Batch, &cut).is_err());
            let mut changed = payload.to_vec();
            for (at, byte) in changes {
                changed[at.index(payload.len())] = byte;
            }
            let _ = Body::decode(RecordKind::Batch, &changed.into());
        }
    }

    #[test]
    fn counts_that_the_bytes_cannot_hold_are_refused_before_anything_is_allocated() {
        let mut payload = payload(&Body::Commit(RecordKind::Batch, Commit::default())).to_vec();
        payload[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        payload.extend_from_slice(&[0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
        assert!(Body::decode(RecordKind::Batch, &payload.into()).is_err());
    }

    #[test]
    fn a_payload_of_the_wrong_kind_is_refused() {
        let refused =
            |kind, payload: &'static [u8]| Body::decode(kind, &Bytes::from_static(payload)).unwrap_err();
        assert_eq!(refused(RecordKind::SyncMarker, b"x").sqlstate, SqlState::DATA_CORRUPTED);
        assert_eq!(refused(RecordKind::Open, b"x").sqlstate, SqlState::DATA_CORRUPTED);
    }

    #[test]
    fn another_version_is_refused_and_both_are_named() {
        let header = |version, zero| Header {
            version,
            kind: RecordKind::SyncMarker as u8,
            zero,
            term: Term(1),
            sequence: Sequence(1),
            previous_checksum: 0,
            synced_through: Sequence(0),
            payload_len: 0,
            payload_checksum: 0,
            checksum: 0,
        };
        for version in FORMAT_VERSIONS_READ {
            assert!(header(version, 0).record(&Bytes::new()).is_ok());
        }
        for version in [0, 1, FORMAT_VERSION + 1, u16::MAX] {
            let error = header(version, 0).record(&Bytes::new()).unwrap_err();
            assert_eq!(error.sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
            let both = format!("format version {version}, this program reads versions 2 to {FORMAT_VERSION}");
            assert!(error.message.contains(&both), "{error}");
        }
        let error = header(FORMAT_VERSION, 1).record(&Bytes::new()).unwrap_err();
        assert!(error.message.contains("payload encoding 1"), "{error}");
    }
}
