//! The log's format in bytes, written from its documentation and not from the kernel's code. `super` corrupts logs with
//! it.

use kernel::log::MemStorage;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes of a log file's header, and of a record's.
pub const HEADER_LEN: u64 = 64;
/// The format version that the documentation describes.
pub const VERSION: u16 = 2;
const LOG_FILE_MAGIC: &[u8; 8] = b"TIDEMARK";
const RECORD_MAGIC: &[u8; 4] = b"TMLR";

/// A log file's header.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct LogFileHeader {
    pub version: u16,
    pub database: [u8; 16],
    pub number: u64,
    pub first_sequence: u64,
    pub len: u64,
}

impl LogFileHeader {
    /// Reads a complete header.
    pub fn read(bytes: &[u8]) -> LogFileHeader {
        LogFileHeader {
            version: u16::from_le_bytes([bytes[8], bytes[9]]),
            database: bytes[16..32].try_into().expect("16 bytes"),
            number: word(bytes, 32),
            first_sequence: word(bytes, 40),
            len: word(bytes, 48),
        }
    }

    /// Its bytes, with the checksum.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = LOG_FILE_MAGIC.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend([0; 6]);
        bytes.extend(self.database);
        for word in [self.number, self.first_sequence, self.len] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Header {
    pub version: u16,
    pub kind: u8,
    pub zero: u8,
    pub term: u64,
    pub sequence: u64,
    pub previous_checksum: u64,
    pub synced_through: u64,
    pub payload_len: u64,
    pub payload_checksum: u64,
}

/// The location of a record.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct RecordLocation {
    pub database: [u8; 16],
    pub log_file: u64,
    pub offset: u64,
}

impl Header {
    /// The header at a location, and its checksum, if it is valid.
    fn read(bytes: &[u8], location: &RecordLocation) -> Option<(Header, u64)> {
        let header = Header {
            version: u16::from_le_bytes([bytes[4], bytes[5]]),
            kind: bytes[6],
            zero: bytes[7],
            term: word(bytes, 8),
            sequence: word(bytes, 16),
            previous_checksum: word(bytes, 24),
            synced_through: word(bytes, 32),
            payload_len: word(bytes, 40),
            payload_checksum: word(bytes, 48),
        };
        (header.bytes(location) == bytes).then(|| (header, word(bytes, 56)))
    }

    /// Its bytes, with the checksum, which covers the location.
    pub fn bytes(&self, location: &RecordLocation) -> Vec<u8> {
        let mut bytes = RECORD_MAGIC.to_vec();
        bytes.extend(self.version.to_le_bytes());
        bytes.extend([self.kind, self.zero]);
        let words = [self.term, self.sequence, self.previous_checksum, self.synced_through, self.payload_len];
        for word in words.into_iter().chain([self.payload_checksum]) {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(header_checksum(&bytes, location).to_le_bytes());
        bytes
    }
}

/// The checksum of a record's header.
pub fn header_checksum(bytes: &[u8], location: &RecordLocation) -> u64 {
    let mut covered = bytes.to_vec();
    covered.extend(location.database);
    covered.extend(location.log_file.to_le_bytes());
    covered.extend(location.offset.to_le_bytes());
    xxh3_64(&covered)
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// A record of a log, and the location of the next one.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Header of the record.
    pub last: Header,
    /// Its checksum.
    pub checksum: u64,
    /// Its location.
    pub at: RecordLocation,
    /// The location after it.
    pub location: RecordLocation,
    /// Bytes left in its log file.
    pub room: u64,
}

impl End {
    /// Bytes that the record takes.
    pub fn stored_len(&self) -> u64 {
        self.location.offset - self.at.offset
    }
}

/// All records, in order.
pub fn records(image: &mut MemStorage) -> Vec<End> {
    let mut records: Vec<End> = vec![];
    for number in 1.. {
        let Some(log_file) = image.log_file_mut(number) else { break };
        let len = log_file.len() as u64;
        let database = LogFileHeader::read(log_file).database;
        let mut location = RecordLocation { database, log_file: number, offset: HEADER_LEN };
        while location.offset + HEADER_LEN <= len {
            let start = location.offset as usize;
            let Some((header, checksum)) =
                Header::read(&log_file[start..start + HEADER_LEN as usize], &location)
            else {
                break;
            };
            if records.last().is_some_and(|end| header.sequence != end.last.sequence + 1) {
                break;
            }
            let at = location;
            location.offset += HEADER_LEN + header.payload_len.next_multiple_of(64);
            let room = len.saturating_sub(location.offset);
            records.push(End { last: header, checksum, at, location, room });
        }
    }
    records
}

/// The payload of a transaction whose head has one field more, with a number and a value below 24.
pub fn with_unknown_field(payload: &[u8], number: u8, value: u8) -> Vec<u8> {
    let head_len = u32::from_le_bytes(payload[0..4].try_into().expect("4 bytes")) as usize;
    let (head, rest) = payload[8..].split_at(head_len);
    let rest = &rest[(8 + head_len).next_multiple_of(8) - (8 + head_len)..];
    // The head is a map of fewer than 23 fields: its first byte counts them. A number from 24 on takes two bytes.
    let mut longer = vec![head[0] + 1];
    longer.extend(&head[1..]);
    longer.extend([0x18, number, value]);
    let mut with = (longer.len() as u32).to_le_bytes().to_vec();
    with.extend(&payload[4..8]);
    with.extend(longer);
    with.resize(with.len().next_multiple_of(8), 0);
    with.extend(rest);
    with
}

/// The last record.
pub fn end(image: &mut MemStorage) -> Option<End> {
    records(image).pop()
}
