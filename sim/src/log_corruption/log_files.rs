//! Log files, corrupted: files that are missing, shortened, foreign or unfinished.

use kernel::Sequence;
use kernel::log::{self, MemStorage, Storage};
use xxhash_rust::xxh3::xxh3_64;

use super::Expected::{Ends, Refused};
use super::format::{End, HEADER_LEN, LogFileHeader, RecordLocation, VERSION};
use super::{Corruption, following};
use crate::decide::Decisions;
use kernel::SqlState;

/// Changes or removes one of the log files.
pub fn log_corruption(d: &Decisions<'_>, image: &mut MemStorage, end: &End) -> Corruption {
    let first = log::FIRST_LOG_FILE;
    let last = end.location.log_file;
    let refused = |what: &str, kind| Some((what.to_string(), Refused(kind)));
    match d.below(9) {
        0 => {
            for (number, _) in image.log_files().expect("memory") {
                image.remove(number).expect("it is there");
            }
            is_created(image, false)?;
            refused("no log file", SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE)
        }
        1 if last > first => {
            image.remove(first).expect("it is there");
            refused("no first log file", SqlState::DATA_CORRUPTED)
        }
        2 => {
            image.log_file_mut(first)?.truncate(d.below(HEADER_LEN) as usize);
            refused("a first log file that is shorter than its header", SqlState::DATA_CORRUPTED)
        }
        3 => {
            image.log_file_mut(first)?[..8].copy_from_slice(b"PNG\r\n\x1a\n\0");
            refused("another program's file", SqlState::DATA_CORRUPTED)
        }
        4 => {
            let number = d.between(first, last);
            let change = |header: &mut LogFileHeader| header.version += 1;
            rewrite_log_file_header(image, number, change);
            refused("a log file of another format", SqlState::FEATURE_NOT_SUPPORTED)
        }
        5 => {
            let number = d.between(first, last);
            let change: fn(&mut LogFileHeader) = match d.below(2) {
                0 => |header| header.number += 7,
                _ => |header| header.len += 4096,
            };
            rewrite_log_file_header(image, number, change);
            refused("a log file that is another than its name says", SqlState::DATA_CORRUPTED)
        }
        6 if last > first => {
            let number = d.between(first + 1, last);
            rewrite_log_file_header(image, number, |header| header.database[d.index(16)] ^= 1);
            refused("a log file of another database", SqlState::DATA_CORRUPTED)
        }
        7 if last > first => {
            let number = d.between(first + 1, last);
            let mut first = 0;
            rewrite_log_file_header(image, number, |header| {
                first = header.first_sequence;
                header.first_sequence += 1;
            });
            // Its first record is missing now. Either a later record is evidence that it was durable, or it is removed
            // with all later ones.
            let is_known = end.last.synced_through >= first;
            let outcome =
                if is_known { Refused(SqlState::DATA_CORRUPTED) } else { Ends(Sequence(first - 1)) };
            Some(("a log file that begins elsewhere".into(), outcome))
        }
        _ => {
            // Possible and impossible remains of an interrupted creation.
            let len = image.log_file_mut(first)?.len();
            for (number, _) in image.log_files().expect("memory").into_iter().skip(1) {
                image.remove(number).expect("it is there");
            }
            let log_file = image.log_file_mut(first)?;
            let kept = d.pick(&[0, 8, 40, 60]);
            log_file[kept..].fill(0);
            is_created(image, false)?;
            let stray = d.between(512, len as u64 - 1) as usize;
            image.log_file_mut(first)?[stray] = 1;
            is_created(image, true)?;
            // The magic is complete, and the version after it is 0.
            let kind = if kept == 8 { SqlState::FEATURE_NOT_SUPPORTED } else { SqlState::DATA_CORRUPTED };
            if d.below(3) == 0 {
                return refused("a byte behind an unfinished header", kind);
            }
            image.log_file_mut(first)?[stray] = 0;
            let (name, checksum) = (d.below(8) as usize, d.between(56, 63) as usize);
            let log_file = image.log_file_mut(first)?;
            let at = if kept == 0 || d.below(2) == 1 { name } else { checksum };
            let begun = match at == name {
                true => b"TIDEMARK"[at],
                false => xxh3_64(&log_file[..56]).to_le_bytes()[at - 56],
            };
            log_file[at] = if begun == 0xff { 1 } else { !begun };
            is_created(image, true)?;
            let kind = if at == checksum { kind } else { SqlState::DATA_CORRUPTED };
            refused("a header that was never begun", kind)
        }
    }
}

/// Checks `is_created`.
fn is_created(image: &MemStorage, expected: bool) -> Option<()> {
    let found = log::is_created(&mut image.clone());
    assert_eq!(found, Ok(expected), "whether there is a log");
    Some(())
}

/// A log file after the last one, without a record that leads to it.
pub fn corrupt_later(d: &Decisions<'_>, image: &mut MemStorage, end: &End) -> Corruption {
    let last = Sequence(end.last.sequence);
    // Sometimes a number is skipped.
    let number = end.location.log_file + d.between(1, 2);
    let len = 4096;
    let mut header = LogFileHeader {
        version: VERSION,
        database: end.location.database,
        number,
        first_sequence: last.0 + 1,
        len,
    };
    let mut record = following(end);
    let (what, expected) = match d.below(6) {
        0 if number > end.location.log_file + 1 => ("that would continue, but one is missing", Ends(last)),
        0 => ("that continues", Ends(last.next())),
        1 => {
            header.database[d.index(16)] ^= 1;
            ("of another database", Refused(SqlState::DATA_CORRUPTED))
        }
        2 => {
            header.first_sequence += 7;
            ("that begins elsewhere", Ends(last))
        }
        3 => {
            record.previous_checksum ^= 1;
            ("whose first record follows another one", Ends(last))
        }
        4 => {
            (record.sequence, record.synced_through) = (last.0 + 2, last.0 + 1);
            ("that calls a record synced that is not there", Refused(SqlState::DATA_CORRUPTED))
        }
        _ => {
            let torn = d.below(2) == 1;
            image.create(number, len).expect("memory");
            if !torn {
                image.write(number, 0, &header.bytes()).expect("memory");
            }
            return Some(("a log file behind the last one without a record".into(), Ends(last)));
        }
    };
    image.create(number, len).expect("memory");
    image.write(number, 0, &header.bytes()).expect("memory");
    let location = RecordLocation { database: end.location.database, log_file: number, offset: HEADER_LEN };
    image.write(number, HEADER_LEN, &record.bytes(&location)).expect("memory");
    Some((format!("a log file behind the last one {what}"), expected))
}

fn rewrite_log_file_header(image: &mut MemStorage, number: u64, change: impl FnOnce(&mut LogFileHeader)) {
    let log_file = image.log_file_mut(number).expect("it is there");
    let mut header = LogFileHeader::read(log_file);
    change(&mut header);
    log_file[..HEADER_LEN as usize].copy_from_slice(&header.bytes());
}
