//! The header of a log file: its database, its format, and its place in the log.

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result, SqlState};
use crate::ids::Sequence;
use crate::record::{FORMAT_VERSION, check_version};

pub(super) const LOG_FILE_HEADER_LEN: u64 = 64;
const MAGIC: [u8; 8] = *b"TIDEMARK";

/// The first 64 bytes of a log file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct LogFileHeader {
    pub database: [u8; 16],
    pub number: u64,
    pub first_sequence: Sequence,
    pub len: u64,
}

impl LogFileHeader {
    pub fn encode(&self) -> [u8; LOG_FILE_HEADER_LEN as usize] {
        let mut bytes = [0; LOG_FILE_HEADER_LEN as usize];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.database);
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_sequence.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.len.to_le_bytes());
        let checksum = xxh3_64(&bytes[0..56]);
        bytes[56..64].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// None if the bytes are damaged or were never completely written. An error if they are intact but are not a header
    /// that this program can read.
    pub fn decode(
        bytes: &[u8; LOG_FILE_HEADER_LEN as usize],
        number: u64,
        len: u64,
    ) -> Result<Option<LogFileHeader>> {
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        if bytes[0..8] != MAGIC || u64_at(56) != xxh3_64(&bytes[0..56]) {
            return Ok(None);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        check_version(&format!("log file {number}"), version)?;
        let header = LogFileHeader {
            database: bytes[16..32].try_into().expect("16 bytes"),
            number: u64_at(32),
            first_sequence: Sequence(u64_at(40)),
            len: u64_at(48),
        };
        if header.number != number {
            let message = format!(
                "log file {number} is a copy of log file {}; restore the files under their own names",
                header.number
            );
            return Err(Error::new(SqlState::DATA_CORRUPTED, message));
        }
        if header.len != len {
            let message = format!(
                "log file {number} has {len} bytes, but was made with {}; restore it from a backup",
                header.len
            );
            return Err(Error::new(SqlState::DATA_CORRUPTED, message));
        }
        Ok(Some(header))
    }

    /// The header of the first log file, which is durable before everything else: damage is an error here, and the
    /// error describes the directory as far as possible.
    pub fn decode_first(
        bytes: &[u8; LOG_FILE_HEADER_LEN as usize],
        number: u64,
        len: u64,
    ) -> Result<LogFileHeader> {
        if bytes[0..8] != MAGIC {
            let message = format!("log file {number} is not a Tidemark log; choose another data directory");
            return Err(Error::new(SqlState::DATA_CORRUPTED, message));
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        check_version(&format!("log file {number}"), version)?;
        LogFileHeader::decode(bytes, number, len)?.ok_or_else(|| {
            let message = format!(
                "the header of log file {number} is damaged; restore the data directory from a backup"
            );
            Error::new(SqlState::DATA_CORRUPTED, message)
        })
    }

    /// Whether these bytes are zeros or the beginning of a header, as an interrupted creation leaves them.
    pub fn is_unfinished(bytes: &[u8; LOG_FILE_HEADER_LEN as usize]) -> bool {
        let ours = MAGIC.into_iter().chain(FORMAT_VERSION.to_le_bytes());
        // The write may have ended within the checksum.
        let checksum = xxh3_64(&bytes[0..56]).to_le_bytes();
        let begins_ours = bytes.iter().zip(ours).all(|(byte, ours)| *byte == ours || *byte == 0);
        begins_ours && bytes[56..64].iter().zip(checksum).all(|(byte, ours)| *byte == ours || *byte == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_was_written_in_part_is_unfinished() {
        let len = 4096;
        let header = LogFileHeader { database: [7; 16], number: 1, first_sequence: Sequence(1), len };
        let whole = header.encode();
        for written in 0..whole.len() {
            let mut bytes = whole;
            bytes[written..].fill(0);
            assert!(LogFileHeader::is_unfinished(&bytes), "{written} bytes written");
        }
        assert_eq!(LogFileHeader::decode(&whole, 1, len), Ok(Some(header)));
        let mut damaged = whole;
        damaged[60] ^= 1;
        assert!(!LogFileHeader::is_unfinished(&damaged));
    }
}
