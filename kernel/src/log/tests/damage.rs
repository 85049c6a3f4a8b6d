//! Damage: bytes of an intact log are changed. Opening returns an exact prefix, and fails exactly if an intact record
//! is evidence that the first damaged one was synced.

use proptest::prelude::*;

use super::disk::Disk;
use super::*;
use crate::record::{Header, MAGIC, RecordLocation};

const LEN: u64 = 8192;

/// A log as it was written, and the places of its records.
#[derive(Clone, Debug)]
struct Written {
    log_files: Vec<(u64, Vec<u8>)>,
    records: Vec<Lies>,
    bodies: Vec<Body>,
}

/// The place of a record, and the sequence that it reports as durable.
#[derive(Clone, Copy, Debug)]
struct Lies {
    log_file: u64,
    offset: usize,
    len: usize,
    synced_through: u64,
}

fn write(steps: &[(usize, bool, bool)]) -> Written {
    let mut writer = create(Disk::default(), DATABASE, 2, 7, LEN, &mut ignore).unwrap().writer;
    let mut bodies = Vec::new();
    for (len, sync, sync_marker) in steps {
        let body = batch(bodies.len() as u8 + 1, *len);
        writer.append(&body.encode(writer.last().next())).unwrap();
        bodies.push(body);
        if *sync {
            writer.sync().unwrap();
        }
        if *sync_marker {
            writer.append(&Body::SyncMarker.encode(writer.last().next())).unwrap();
        }
    }
    let mut disk = writer.into_storage();
    let numbers: Vec<u64> = disk.log_files().unwrap().into_iter().map(|(number, _)| number).collect();
    let log_files: Vec<_> = numbers.iter().map(|number| (*number, disk.bytes(*number))).collect();
    let records =
        disk.headers.iter().map(|(log_file, offset)| lies(&log_files, *log_file, *offset)).collect();
    Written { log_files, records, bodies }
}

fn lies(log_files: &[(u64, Vec<u8>)], log_file: u64, offset: u64) -> Lies {
    let bytes = &log_files.iter().find(|(number, _)| *number == log_file).unwrap().1[offset as usize..];
    assert!(bytes.starts_with(&MAGIC));
    let header = Header::decode(
        bytes.first_chunk().unwrap(),
        &RecordLocation { database: DATABASE, log_file, offset },
    )
    .unwrap();
    Lies {
        log_file,
        offset: offset as usize,
        len: 64 + header.payload_len as usize,
        synced_through: header.synced_through.0,
    }
}

fn storage(log_files: &[(u64, Vec<u8>)]) -> MemStorage {
    let mut storage = MemStorage::new();
    for (number, bytes) in log_files {
        storage.create(*number, bytes.len() as u64).unwrap();
        storage.log_file_mut(*number).unwrap().copy_from_slice(bytes);
    }
    storage
}

/// A change of bytes.
#[derive(Clone, Debug)]
enum Damage {
    Flip {
        at: prop::sample::Index,
        bit: u8,
    },
    ZeroPage(prop::sample::Index),
    SwapPages(prop::sample::Index, prop::sample::Index),
    /// A range of bytes is changed.
    Garbage {
        at: prop::sample::Index,
        bytes: Vec<u8>,
    },
    RemoveLogFile(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    use prop::sample::Index;
    prop_oneof![
        4 => (any::<Index>(), 0..8u8).prop_map(|(at, bit)| Damage::Flip { at, bit }),
        1 => any::<Index>().prop_map(Damage::ZeroPage),
        1 => any::<(Index, Index)>().prop_map(|(a, b)| Damage::SwapPages(a, b)),
        1 => (any::<Index>(), prop::collection::vec(any::<u8>(), 1..200))
            .prop_map(|(at, bytes)| Damage::Garbage { at, bytes }),
        1 => any::<Index>().prop_map(Damage::RemoveLogFile),
    ]
}

/// A byte of a record or a log file header; damage elsewhere is not tested.
fn occupied(written: &Written, at: &prop::sample::Index) -> (usize, usize) {
    let record = at.get(&written.records);
    let index = written.log_files.iter().position(|(number, _)| *number == record.log_file).unwrap();
    (index, record.offset + at.index(record.len))
}

fn inflict(log_files: &mut [(u64, Vec<u8>)], written: &Written, damage: &Damage) {
    const PAGE: usize = 4096;
    match damage {
        Damage::Flip { at, bit } => {
            let (log_file, offset) = occupied(written, at);
            log_files[log_file].1[offset] ^= 1 << bit;
        }
        Damage::ZeroPage(at) => {
            let (log_file, offset) = occupied(written, at);
            log_files[log_file].1[offset / PAGE * PAGE..][..PAGE].fill(0);
        }
        Damage::SwapPages(a, b) => {
            let ((a_log_file, a), (b_log_file, b)) = (occupied(written, a), occupied(written, b));
            let a_page = log_files[a_log_file].1[a / PAGE * PAGE..][..PAGE].to_vec();
            let b_page = log_files[b_log_file].1[b / PAGE * PAGE..][..PAGE].to_vec();
            log_files[a_log_file].1[a / PAGE * PAGE..][..PAGE].copy_from_slice(&b_page);
            log_files[b_log_file].1[b / PAGE * PAGE..][..PAGE].copy_from_slice(&a_page);
        }
        Damage::Garbage { at, bytes } => {
            let (log_file, offset) = occupied(written, at);
            let room = &mut log_files[log_file].1[offset..];
            let len = bytes.len().min(room.len());
            room[..len].copy_from_slice(&bytes[..len]);
        }
        Damage::RemoveLogFile(at) => log_files[at.index(written.log_files.len())].0 = u64::MAX,
    }
}

/// The expected result of opening: the number of records, or None for an error.
fn expected(written: &Written, damaged: &[(u64, Vec<u8>)]) -> Option<usize> {
    let same = |log_file: u64, offset: usize, len: usize| {
        let before = written.log_files.iter().find(|(number, _)| *number == log_file).unwrap();
        let after = damaged.iter().find(|(number, _)| *number == log_file);
        after.is_some_and(|(_, after)| after[offset..offset + len] == before.1[offset..offset + len])
    };
    if !same(FIRST_LOG_FILE, 0, 64) {
        return None;
    }
    // A log file under another one's name is an error wherever it is.
    let is_another = |(number, bytes): &(u64, Vec<u8>)| {
        written.log_files.iter().any(|(other, before)| other != number && before[..64] == bytes[..64])
    };
    if damaged.iter().any(is_another) {
        return None;
    }
    // The header of a log file counts with its first record.
    let whole = |r: &Lies| same(r.log_file, r.offset, r.len) && (r.offset > 64 || same(r.log_file, 0, 64));
    let bad = written.records.iter().position(|record| !whole(record))?;
    let vouches = |r: &Lies| same(r.log_file, r.offset, 64) && r.synced_through > bad as u64;
    let refused = bad == 0 || written.records[bad..].iter().any(vouches);
    (!refused).then_some(bad)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damage_is_refused_exactly_if_a_whole_record_calls_it_synced(
        steps in prop::collection::vec((0..3000usize, any::<bool>(), any::<bool>()), 1..12),
        damages in prop::collection::vec(damage(), 1..3),
    ) {
        let written = write(&steps);
        let mut log_files = written.log_files.clone();
        for damage in &damages {
            inflict(&mut log_files, &written, damage);
        }
        log_files.retain(|(number, _)| *number != u64::MAX);
        prop_assume!(log_files != written.log_files);
        let mut records = Vec::new();
        let opened = open(storage(&log_files), 8, LEN, &mut |record| {
            records.push(record);
            Ok(())
        });
        match (opened, expected(&written, &log_files)) {
            (Ok(_), Some(count)) => {
                prop_assert_eq!(records.len(), count + 1);
                let found = records.iter().map(|r| &r.body).filter(|body| matches!(body, Body::Commit(..)));
                prop_assert!(found.zip(&written.bodies).all(|(found, written)| found == written));
            }
            (Err(error), None) => {
                let kind = error.sqlstate;
                prop_assert!(
                    matches!(kind, SqlState::DATA_CORRUPTED | SqlState::FEATURE_NOT_SUPPORTED | SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE),
                    "{}", error
                );
            }
            (Ok(_), None) => prop_assert!(false, "damage was not refused; {} records", records.len()),
            (Err(error), Some(count)) => prop_assert!(false, "{error}, but {count} records were expected"),
        }
    }

    #[test]
    fn a_log_cut_off_anywhere_never_panics_and_never_gives_other_records(
        steps in prop::collection::vec((0..3000usize, any::<bool>(), any::<bool>()), 1..12),
        log_file in any::<prop::sample::Index>(),
        len in 0..LEN as usize,
    ) {
        let written = write(&steps);
        let mut log_files = written.log_files.clone();
        let log_file = log_file.index(log_files.len());
        log_files[log_file].1.truncate(len);
        let mut records = Vec::new();
        let opened = open(storage(&log_files), 8, LEN, &mut |record| {
            records.push(record);
            Ok(())
        });
        let found: Vec<_> = records.iter().map(|r| &r.body).filter(|body| matches!(body, Body::Commit(..))).collect();
        prop_assert!(found.iter().zip(&written.bodies).all(|(found, written)| *found == written));
        prop_assert!(opened.is_err() || len < 64, "a log file that has lost its end is refused");
    }
}
