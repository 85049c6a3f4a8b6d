//! Splits: the parts of a source that have positions of their own (a Kafka partition, a file, an object, a shard of a
//! stream). A split has a number in the kernel; in the catalog it also has a name, an identity and a position. Here
//! pure code for each kind of source defines what a position means, how two positions compare, and whether one range
//! continues another. The rest of the kernel treats positions as opaque values. The list of a pipeline's splits is in
//! `cursors`.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use minicbor::bytes::ByteSlice;
use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

/// Number of a split in its pipeline. Assigned when the split is first seen, and then permanent for its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
#[cbor(transparent)]
pub struct SplitId(#[n(0)] pub u32);

impl fmt::Display for SplitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name of a split at its source, unique in a pipeline. For a Kafka partition, its number in decimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SplitName(Arc<str>);

impl SplitName {
    /// A split by its name at the source.
    pub fn new(name: impl Into<Arc<str>>) -> SplitName {
        SplitName(name.into())
    }

    /// The name of a partition of a Kafka topic.
    pub fn kafka(partition: i32) -> SplitName {
        SplitName::new(partition.to_string())
    }

    /// The partition number, if this is the name of a Kafka partition.
    pub fn partition(&self) -> Option<i32> {
        self.0.parse().ok().filter(|partition| *partition >= 0)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SplitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the positions of a split refer to: a topic id, an etag, a stream id. Another identity under the same name means
/// other messages, whatever the positions are (fault A6).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Identity(Arc<[u8]>);

impl Identity {
    /// An identity of these bytes.
    pub fn new(bytes: &[u8]) -> Identity {
        Identity(bytes.into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In lower-case hexadecimal digits.
impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A kind of source. It defines the meaning of positions. The byte is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
#[cbor(map)]
#[repr(u8)]
pub enum SourceKind {
    /// Partitions of a Kafka topic: offset and leader epoch, under a topic id.
    #[n(0)]
    Kafka = 1,
}

impl SourceKind {
    /// All kinds.
    pub const ALL: [SourceKind; 1] = [SourceKind::Kafka];

    /// The kind with this stored byte.
    pub fn from_byte(byte: u8) -> Option<SourceKind> {
        SourceKind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// The users' word for a split.
    pub fn split_noun(self) -> &'static str {
        match self {
            SourceKind::Kafka => "partition",
        }
    }

    /// The users' word for the thing that the identity names.
    pub fn identity_noun(self) -> &'static str {
        match self {
            SourceKind::Kafka => "topic",
        }
    }

    /// Whether two splits are parts of one thing and so have the same identity, as partitions of a topic.
    pub fn shares_identity(self, _a: &SplitName, _b: &SplitName) -> bool {
        match self {
            SourceKind::Kafka => true,
        }
    }

    /// The fixed number of a split, if its kind defines one: a Kafka partition has the same number in the kernel and at
    /// the source.
    pub fn own_number(self, name: &SplitName) -> Option<SplitId> {
        match self {
            SourceKind::Kafka => name.partition().map(|partition| SplitId(partition as u32)),
        }
    }
}

/// Longest encoded position.
const POSITION_LEN_MAX: usize = 22;

/// Where reading a split continues: the *next* message, not the last one (fault A18). Bytes in an order-preserving
/// encoding, and the kind that defines their meaning.
///
/// Kafka: next offset (8 bytes), leader epoch of the message before it (4 bytes; -1 if unknown, fault A9), both
/// big-endian with inverted sign bit.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    kind: SourceKind,
    len: u8,
    bytes: [u8; POSITION_LEN_MAX],
}

impl Position {
    /// The next offset of a Kafka partition, and the leader epoch of the message before it.
    pub fn kafka(next_offset: i64, leader_epoch: i32) -> Position {
        let mut bytes = [0; POSITION_LEN_MAX];
        bytes[..8].copy_from_slice(&((next_offset as u64) ^ 1 << 63).to_be_bytes());
        bytes[8..12].copy_from_slice(&((leader_epoch as u32) ^ 1 << 31).to_be_bytes());
        Position { kind: SourceKind::Kafka, len: 12, bytes }
    }

    /// A stored position; None if its bytes do not belong to this kind.
    pub fn from_bytes(kind: SourceKind, bytes: &[u8]) -> Option<Position> {
        let len_of_kind = match kind {
            SourceKind::Kafka => 12,
        };
        let mut own = [0; POSITION_LEN_MAX];
        own.get_mut(..bytes.len())?.copy_from_slice(bytes);
        (bytes.len() == len_of_kind).then_some(Position { kind, len: bytes.len() as u8, bytes: own })
    }

    /// Its kind of source.
    pub fn kind(&self) -> SourceKind {
        self.kind
    }

    /// Its encoding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// Ordinal of the next message in its split, as in provenance. For Kafka it is the offset.
    pub fn ordinal(&self) -> i64 {
        let head = u64::from_be_bytes(self.bytes[..8].try_into().expect("8 bytes"));
        (head ^ 1 << 63) as i64
    }

    /// Leader epoch of the last message read; -1 if unknown (fault A9).
    pub fn leader_epoch(&self) -> i32 {
        let tail = u32::from_be_bytes(self.bytes[8..12].try_into().expect("4 bytes"));
        (tail ^ 1 << 31) as i32
    }

    /// The position after a message.
    pub fn behind(kind: SourceKind, ordinal: i64, mark: Mark) -> Position {
        match (kind, mark) {
            (SourceKind::Kafka, Mark::LeaderEpoch(leader_epoch)) => {
                Position::kafka(ordinal + 1, leader_epoch)
            }
        }
    }

    /// The same ordinal, with the leader epoch of the message before it set to unknown.
    pub fn unmarked(&self) -> Position {
        match self.kind {
            SourceKind::Kafka => Position::kafka(self.ordinal(), -1),
        }
    }

    /// This position, or the one at a later ordinal if there is no message before that ordinal (a hole).
    pub fn advanced_to(&self, ordinal: i64) -> Position {
        match self.kind {
            SourceKind::Kafka => Position::kafka(self.ordinal().max(ordinal), self.leader_epoch()),
        }
    }

    /// Order of two positions of one split: the order of their ordinals. None: the kinds differ. Leader epochs do not
    /// count.
    pub fn compare(&self, other: &Position) -> Option<Ordering> {
        (self.kind == other.kind).then(|| match self.kind {
            SourceKind::Kafka => self.bytes[..8].cmp(&other.bytes[..8]),
        })
    }

    /// Whether a range that begins at `first` continues exactly at this position.
    pub fn is_continued_by(&self, first: &Position) -> bool {
        self.compare(first) == Some(Ordering::Equal)
    }

    /// Whether this ordinal is lower than the other one.
    pub fn is_before(&self, other: &Position) -> bool {
        self.compare(other) == Some(Ordering::Less)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            SourceKind::Kafka => write!(f, "offset {}, leader epoch {}", self.ordinal(), self.leader_epoch()),
        }
    }
}

/// The position as users write and see it: for Kafka the offset.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            SourceKind::Kafka => self.ordinal().fmt(f),
        }
    }
}

/// Stored as an array of the kind and the bytes.
impl<C> Encode<C> for Position {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        encoder.array(2)?.u8(self.kind as u8)?.bytes(self.as_bytes())?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Position {
    fn decode(decoder: &mut Decoder<'b>, context: &mut C) -> Result<Position, decode::Error> {
        let (kind, bytes): (u8, &ByteSlice) = decoder.decode_with(context)?;
        let position = SourceKind::from_byte(kind).and_then(|kind| Position::from_bytes(kind, bytes));
        position.ok_or_else(|| decode::Error::message("not a position of a known kind"))
    }
}

/// Stored as its text.
impl<C> Encode<C> for SplitName {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        encoder.str(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for SplitName {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<SplitName, decode::Error> {
        decoder.str().map(SplitName::new)
    }
}

/// Stored as its bytes.
impl<C> Encode<C> for Identity {
    fn encode<W: Write>(&self, encoder: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        encoder.bytes(&self.0)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Identity {
    fn decode(decoder: &mut Decoder<'b>, _: &mut C) -> Result<Identity, decode::Error> {
        decoder.bytes().map(Identity::new)
    }
}

/// What a message carries beside its ordinal so that the position after it can be computed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mark {
    /// Kafka: the leader epoch of the message; -1 if unknown.
    LeaderEpoch(i32),
}

impl Mark {
    /// The leader epoch of a Kafka message; -1 if unknown.
    pub fn leader_epoch(self) -> i32 {
        match self {
            Mark::LeaderEpoch(leader_epoch) => leader_epoch,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_kafka_position_has_golden_bytes() {
        let position = Position::kafka(258, -1);
        assert_eq!(position.as_bytes(), [0x80, 0, 0, 0, 0, 0, 1, 2, 0x7f, 0xff, 0xff, 0xff]);
        assert_eq!(position.to_string(), "258");
    }

    #[test]
    fn bytes_of_another_length_are_no_position() {
        for len in [0, 8, 11, 13, 22, 23, 100] {
            assert_eq!(Position::from_bytes(SourceKind::Kafka, &vec![0x80; len]), None);
        }
        assert!(crate::cbor::from_slice::<Position>(&[7, 1, 0]).is_err(), "an unknown kind");
    }

    #[test]
    fn partitions_are_named_by_their_numbers() {
        assert_eq!(SplitName::kafka(17).partition(), Some(17));
        assert_eq!(SourceKind::Kafka.own_number(&SplitName::new("17")), Some(SplitId(17)));
        for name in ["", "-1", "x", "2147483648"] {
            assert_eq!(SplitName::new(name).partition(), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn positions_are_ordered_by_offset_alone(a: i64, b: i64, epoch: i32, other_epoch: i32) {
            let (first, second) = (Position::kafka(a, epoch), Position::kafka(b, other_epoch));
            prop_assert_eq!(first.compare(&second), Some(a.cmp(&b)));
            prop_assert_eq!(first.is_continued_by(&second), a == b);
            prop_assert_eq!(first.as_bytes()[..8].cmp(&second.as_bytes()[..8]), a.cmp(&b));
            prop_assert_eq!((first.ordinal(), first.leader_epoch()), (a, epoch));
            let bytes = crate::cbor::to_vec(&first);
            prop_assert_eq!(crate::cbor::from_slice::<Position>(&bytes).unwrap(), first);
        }
    }
}
