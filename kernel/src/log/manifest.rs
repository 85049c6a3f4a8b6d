//! The manifest: the required length of the log, which the log itself cannot contain. It names the existing log files
//! and a record that was durable when the manifest was written; a log that ends before that record has lost records.
//! `writer` decides when it is written, `recovery` checks it at a start.
//!
//! # Layout
//!
//! Two slots of [`MANIFEST_SLOT_LEN`] bytes. Each manifest is written completely over the older one and synced, so that
//! a torn write leaves the previous manifest; of two intact ones the greater generation counts. Integers are
//! little-endian.
//!
//! | Offset | Bytes | Field |
//! |---:|---:|---|
//! | 0 | 8 | magic `TMMANIFE` |
//! | 8 | 2 | version |
//! | 10 | 6 | zeros |
//! | 16 | 16 | database id |
//! | 32 | 8 | generation: how many manifests there were, this one included |
//! | 40 | 8 | term that wrote it |
//! | 48 | 8 | number of the first log file |
//! | 56 | 8 | number of the last log file |
//! | 64 | 8 | length of the last log file |
//! | 72 | 8 | sequence of the last durable record, which lies in the last log file |
//! | 80 | 8 | header checksum of that record |
//! | 88 | 8 | XXH3-64 of the above |
//! | 96 | | zeros |

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result, SqlState};
use crate::ids::*;

/// Bytes of one slot: a sector, which devices write as a whole.
pub const MANIFEST_SLOT_LEN: usize = 512;

/// Version of the manifest's layout. A newer one is an error.
pub const MANIFEST_VERSION: u16 = 1;

/// The bytes of one slot.
pub type ManifestSlot = [u8; MANIFEST_SLOT_LEN];

const MAGIC: [u8; 8] = *b"TMMANIFE";
const CHECKSUM_AT: usize = 88;

/// The required length of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Id of the database.
    pub database: [u8; 16],
    /// Rises by one with each manifest.
    pub generation: u64,
    /// Term that wrote it.
    pub term: Term,
    /// Number of the first log file.
    pub first_log_file: u64,
    /// Number of the log file that holds the record `through`.
    pub last_log_file: u64,
    /// Length of that log file.
    pub last_log_file_len: u64,
    /// A durable record; all records before it are durable too.
    pub through: Sequence,
    /// Checksum of its header, which distinguishes diverged copies of a log.
    pub through_checksum: u64,
}

impl Manifest {
    /// The slot to which it is written: the one that does not hold the previous manifest.
    pub fn slot(&self) -> usize {
        (self.generation % 2) as usize
    }

    /// The bytes of its slot.
    pub fn encode(&self) -> ManifestSlot {
        let mut bytes = [0; MANIFEST_SLOT_LEN];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&MANIFEST_VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.database);
        let numbers = [
            self.generation,
            self.term.0,
            self.first_log_file,
            self.last_log_file,
            self.last_log_file_len,
            self.through.0,
            self.through_checksum,
        ];
        for (field, number) in bytes[32..CHECKSUM_AT].chunks_exact_mut(8).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        let checksum = xxh3_64(&bytes[..CHECKSUM_AT]);
        bytes[CHECKSUM_AT..CHECKSUM_AT + 8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// The current manifest. No crash leaves two damaged slots, so that is damage, and an error.
    pub fn of_slots(slots: &[ManifestSlot; 2]) -> Result<Manifest> {
        let mut newest: Option<Manifest> = None;
        for slot in slots {
            let found = Manifest::decode(slot)?;
            if found.is_some_and(|found| newest.is_none_or(|newest| newest.generation < found.generation)) {
                newest = found;
            }
        }
        newest.ok_or_else(|| {
            Error::new(
                SqlState::DATA_CORRUPTED,
                "both slots of the manifest are damaged, so that the required length of the log is unknown; \
                 restore the data directory from a backup",
            )
        })
    }

    fn decode(bytes: &ManifestSlot) -> Result<Option<Manifest>> {
        let u64_at = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        if bytes[0..8] != MAGIC || u64_at(CHECKSUM_AT) != xxh3_64(&bytes[..CHECKSUM_AT]) {
            return Ok(None);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version > MANIFEST_VERSION {
            let message = format!(
                "the manifest is of version {version}, this program reads and writes version {MANIFEST_VERSION}; start the \
                 version of tidemark that wrote this data directory"
            );
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        Ok(Some(Manifest {
            database: bytes[16..32].try_into().expect("16 bytes"),
            generation: u64_at(32),
            term: Term(u64_at(40)),
            first_log_file: u64_at(48),
            last_log_file: u64_at(56),
            last_log_file_len: u64_at(64),
            through: Sequence(u64_at(72)),
            through_checksum: u64_at(80),
        }))
    }

    /// The error for a log that ends before this record: the missing records, and the reason as far as the existing log
    /// files show it.
    pub(super) fn loss(&self, first_gone: Sequence, log_files: &[(u64, u64)]) -> Error {
        let Manifest { first_log_file, last_log_file, last_log_file_len, through, .. } = *self;
        let there = |number: u64| log_files.iter().find(|(found, _)| *found == number);
        let missing: Vec<String> = (first_log_file..=last_log_file)
            .filter(|number| there(*number).is_none())
            .map(|number| number.to_string())
            .collect();
        let why = match (missing.len(), there(last_log_file)) {
            (0, Some((_, len))) if *len != last_log_file_len => {
                format!("log file {last_log_file} has {len} bytes and was made with {last_log_file_len}")
            }
            (0, _) => "they are displaced or damaged".to_owned(),
            (n, _) if n as u64 == last_log_file - first_log_file + 1 => {
                "all log files are missing".to_owned()
            }
            (1, _) => format!("log file {} is missing", missing[0]),
            (n, _) if n > LISTED_MAX => {
                format!(
                    "log files {} and {} others are missing",
                    missing[..LISTED_MAX].join(", "),
                    n - LISTED_MAX
                )
            }
            (..) => format!("log files {} are missing", missing.join(", ")),
        };
        let message = format!(
            "the log is incomplete: records {first_gone} to {through} are missing; the manifest lists them as durable \
             in log files {first_log_file} to {last_log_file}, but {why}; nothing was changed; restore the data directory from \
             a backup"
        );
        Error::new(SqlState::DATA_CORRUPTED, message)
    }
}

/// Most missing log files that a message names.
const LISTED_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(generation: u64) -> Manifest {
        Manifest {
            database: *b"a database of 16",
            generation,
            term: Term(3),
            first_log_file: 1,
            last_log_file: 4,
            last_log_file_len: 8192,
            through: Sequence(100 + generation),
            through_checksum: 0x0123_4567_89ab_cdef,
        }
    }

    #[test]
    fn the_newest_whole_slot_counts() {
        let empty = [0; MANIFEST_SLOT_LEN];
        let (older, newer) = (manifest(6), manifest(7));
        assert_ne!(older.slot(), newer.slot());
        for slots in
            [[older.encode(), newer.encode()], [newer.encode(), older.encode()], [empty, newer.encode()]]
        {
            assert_eq!(Manifest::of_slots(&slots), Ok(newer));
        }
        for written in 0..CHECKSUM_AT + 8 {
            let mut torn = manifest(5).encode();
            torn[..written].copy_from_slice(&newer.encode()[..written]);
            let newest = if written < CHECKSUM_AT {
                older
            } else {
                Manifest::of_slots(&[torn, older.encode()]).unwrap()
            };
            assert_eq!(
                Manifest::of_slots(&[older.encode(), torn]).map(|m| m.generation >= 6),
                Ok(true),
                "{written}"
            );
            assert!(newest == older || newest == newer);
        }
        let error = Manifest::of_slots(&[empty, empty]).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED);
    }

    #[test]
    fn its_bytes_stay_what_they_are() {
        let bytes = manifest(2).encode();
        assert_eq!(bytes[..16], *b"TMMANIFE\x01\0\0\0\0\0\0\0");
        assert_eq!(bytes[16..32], *b"a database of 16");
        let numbers: Vec<u64> =
            bytes[32..96].chunks_exact(8).map(|n| u64::from_le_bytes(n.try_into().unwrap())).collect();
        assert_eq!(numbers[..7], [2, 3, 1, 4, 8192, 102, 0x0123_4567_89ab_cdef]);
        assert_eq!(numbers[7], xxh3_64(&bytes[..88]));
        assert_eq!(bytes[96..], [0; MANIFEST_SLOT_LEN - 96]);
    }

    #[test]
    fn a_newer_version_is_refused_with_both_named() {
        let mut bytes = manifest(2).encode();
        bytes[8] = 9;
        let checksum = xxh3_64(&bytes[..88]).to_le_bytes();
        bytes[88..96].copy_from_slice(&checksum);
        let error = Manifest::of_slots(&[bytes, manifest(1).encode()]).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::FEATURE_NOT_SUPPORTED);
        assert!(error.message.contains("version 9") && error.message.contains("version 1"), "{error}");
    }
}
