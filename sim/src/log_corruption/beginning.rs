//! The beginning of a log, corrupted: a valid log begins with the open record of the first term, of this database and
//! with shards.

use kernel::Sequence;
use kernel::SqlState;
use kernel::log::{self, MemStorage, Storage};
use xxhash_rust::xxh3::xxh3_64;

use super::Expected::{Ends, Refused};
use super::format::{HEADER_LEN, Header, LogFileHeader, RecordLocation, VERSION};
use super::{open_payload, read};
use crate::decide::Decisions;
use crate::oracle::{Check, Violation};

const DATABASE: [u8; 16] = [9; 16];
const LOG_FILE_LEN: u64 = 4096;

/// Reads a log with random first records.
pub fn check(d: &Decisions<'_>) -> Check {
    let open = |shards| (1, open_payload(DATABASE, shards));
    let sync_marker = (7, vec![]);
    let none = (Ends(Sequence(0)), Refused(SqlState::DATA_CORRUPTED));
    let both = |outcome| (outcome, outcome);
    let (what, records, expected) = match d.below(6) {
        0 => ("a term", vec![open(1)], both(Ends(Sequence(1)))),
        1 => ("an open record and others", vec![open(2), sync_marker], both(Ends(Sequence(2)))),
        2 => ("no term", vec![sync_marker], none),
        3 => ("a term behind a record", vec![sync_marker, open(1)], both(Refused(SqlState::DATA_CORRUPTED))),
        4 => ("a term without shards", vec![open(0)], both(Refused(SqlState::DATA_CORRUPTED))),
        _ => ("nothing", vec![], none),
    };
    let image = log_of(&records);
    let opened = log::open(image.clone(), 0, LOG_FILE_LEN, &mut |_| Ok(()));
    let opened = opened
        .map_or_else(|error| Refused(error.sqlstate), |opened| Ends(Sequence(opened.writer.last().0 - 1)));
    let found = (read(&image), opened);
    if found == expected {
        return Ok(());
    }
    let text = format!("reading and opening a log of {what} come to {found:?}, must come to {expected:?}");
    Err(Violation::new("recovered", text))
}

/// A log of these records, by kind and payload, each of which follows the one before.
fn log_of(records: &[(u8, Vec<u8>)]) -> MemStorage {
    let mut image = MemStorage::new();
    image.create(1, LOG_FILE_LEN).expect("memory");
    let header = LogFileHeader {
        version: VERSION,
        database: DATABASE,
        number: 1,
        first_sequence: 1,
        len: LOG_FILE_LEN,
    };
    image.write(1, 0, &header.bytes()).expect("memory");
    let mut location = RecordLocation { database: DATABASE, log_file: 1, offset: HEADER_LEN };
    let (mut term, mut previous_checksum) = (0, 0);
    for (sequence, (kind, payload)) in (1..).zip(records) {
        term += u64::from(*kind == 1);
        let header = Header {
            version: VERSION,
            kind: *kind,
            zero: 0,
            term,
            sequence,
            previous_checksum,
            synced_through: sequence - 1,
            payload_len: payload.len() as u64,
            payload_checksum: xxh3_64(payload),
        };
        let bytes = header.bytes(&location);
        previous_checksum = u64::from_le_bytes(bytes[56..].try_into().expect("8 bytes"));
        image.write(1, location.offset, &bytes).expect("memory");
        image.write(1, location.offset + HEADER_LEN, payload).expect("memory");
        location.offset += HEADER_LEN + (payload.len() as u64).next_multiple_of(64);
    }
    image
}
