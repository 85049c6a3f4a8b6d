//! The log over memory: written records are read back, a torn tail is cleared, damage is an error.

mod contract;
mod crash;
mod damage;
mod disk;
mod manifest;

use bytes::Bytes;

use super::*;
use crate::SqlState;
use crate::record::{Body, Commit, Record, RecordKind};

const LOG_FILE_LEN: u64 = 8192;
const DATABASE: [u8; 16] = *b"test database id";

fn ignore(_: Record) -> Result<()> {
    Ok(())
}

fn new_log() -> LogWriter<MemStorage> {
    create(MemStorage::new(), DATABASE, 2, 7, LOG_FILE_LEN, &mut ignore).unwrap().writer
}

fn batch(fill: u8, len: usize) -> Body {
    let part = |n: usize| Bytes::from(vec![fill; n]);
    let outcomes = vec![vec![part(len), part(3)], vec![]];
    Body::Commit(RecordKind::Batch, Commit { at_us: fill as i64, outcomes, ..Commit::default() })
}

fn append(writer: &mut LogWriter<MemStorage>, body: &Body) -> Sequence {
    let sequence = writer.last().next();
    writer.append(&body.encode(sequence)).unwrap();
    sequence
}

fn reopen(storage: MemStorage) -> Result<(Opened<MemStorage>, Vec<Record>)> {
    let mut records = Vec::new();
    let opened = open(storage, 8, LOG_FILE_LEN, &mut |record| {
        records.push(record);
        Ok(())
    })?;
    Ok((opened, records))
}

#[test]
fn what_is_written_comes_back() {
    let mut writer = new_log();
    let bodies: Vec<Body> = (1..20).map(|i| batch(i, i as usize * 700)).collect();
    for body in &bodies {
        append(&mut writer, body);
        writer.sync().unwrap();
    }
    let (opened, records) = reopen(writer.into_storage()).unwrap();
    assert_eq!(opened.torn_tail, None);
    assert_eq!(opened.term, Term(2));
    assert_eq!((opened.database, opened.shard_count), (DATABASE, 2));
    let found: Vec<&Body> = records[1..records.len() - 1].iter().map(|r| &r.body).collect();
    assert_eq!(found, bodies.iter().collect::<Vec<_>>());
    for (record, sequence) in records.iter().zip(1..) {
        assert_eq!(record.sequence, Sequence(sequence));
    }
    assert!(matches!(records.last().unwrap().body, Body::Open(_)));
}

fn look(storage: MemStorage) -> Result<Vec<Record>> {
    let mut reader = LogReader::begin(storage)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next_record()? {
        records.push(record);
    }
    assert!(reader.next_record()?.is_none(), "the end stays the end");
    Ok(records)
}

#[test]
fn looking_sees_what_opening_sees() {
    let mut writer = new_log();
    for i in 1..20 {
        append(&mut writer, &batch(i, i as usize * 700));
        writer.sync().unwrap();
    }
    let mut storage = writer.into_storage();
    let seen = look(storage.clone()).unwrap();
    let (_, opened) = reopen(storage.clone()).unwrap();
    assert_eq!(seen, opened[..opened.len() - 1], "all but the open record of the new term");
    let bytes = storage.log_file_mut(FIRST_LOG_FILE).unwrap();
    let first = bytes.windows(8).position(|w| w == [1; 8]).unwrap();
    bytes[first] ^= 1;
    assert_eq!(look(storage).unwrap_err().sqlstate, SqlState::DATA_CORRUPTED);
}

#[test]
fn outcomes_come_back_at_multiples_of_64_in_memory() {
    let mut writer = new_log();
    append(&mut writer, &batch(1, 100));
    let (_, records) = reopen(writer.into_storage()).unwrap();
    let Body::Commit(_, commit) = &records[1].body else { panic!("a batch") };
    let outcomes = &commit.outcomes[0];
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.iter().all(|p| p.as_ptr().addr() % 64 == 0));
}

#[test]
fn a_bad_record_that_nothing_calls_synced_is_a_torn_tail() {
    let mut writer = new_log();
    append(&mut writer, &batch(1, 100));
    writer.sync().unwrap();
    append(&mut writer, &batch(2, 100));
    append(&mut writer, &batch(3, 100));
    let mut storage = writer.into_storage();
    let bytes = storage.log_file_mut(FIRST_LOG_FILE).unwrap();
    let at = bytes.iter().position(|b| *b == 2 && bytes[0] != 2).unwrap();
    let second = bytes.windows(8).position(|w| w == [2; 8]).unwrap();
    assert!(at <= second);
    bytes[second] ^= 1;
    let (opened, records) = reopen(storage).unwrap();
    assert_eq!(records.iter().map(|r| r.sequence.0).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(matches!(records[2].body, Body::Open(_)));
    assert_eq!(opened.torn_tail.unwrap().first, Sequence(3));
    let (opened, records) = reopen(opened.writer.into_storage()).unwrap();
    assert_eq!(records.len(), 4);
    assert_eq!(opened.torn_tail, None);
}

#[test]
fn a_bad_record_that_a_later_one_calls_synced_is_refused() {
    let mut writer = new_log();
    append(&mut writer, &batch(1, 100));
    writer.sync().unwrap();
    append(&mut writer, &batch(2, 100));
    let mut storage = writer.into_storage();
    let bytes = storage.log_file_mut(FIRST_LOG_FILE).unwrap();
    let first = bytes.windows(8).position(|w| w == [1; 8]).unwrap();
    bytes[first] ^= 1;
    let error = reopen(storage).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED);
    assert!(error.message.contains("record 2, expected in log file 1 at offset"), "{error}");
}

#[test]
fn a_sync_marker_record_tells_damage_from_tearing() {
    let mut writer = new_log();
    append(&mut writer, &batch(1, 100));
    writer.sync().unwrap();
    append(&mut writer, &Body::SyncMarker);
    let mut storage = writer.into_storage();
    let bytes = storage.log_file_mut(FIRST_LOG_FILE).unwrap();
    let first = bytes.windows(8).position(|w| w == [1; 8]).unwrap();
    bytes[first] ^= 1;
    assert_eq!(reopen(storage).unwrap_err().sqlstate, SqlState::DATA_CORRUPTED);
}

#[test]
fn other_directories_are_refused() {
    let damaged = |damage: fn(&mut Vec<u8>)| {
        let mut storage = new_log().into_storage();
        damage(storage.log_file_mut(FIRST_LOG_FILE).unwrap());
        assert_ne!(is_created(&mut storage), Ok(false));
        reopen(storage).unwrap_err().message
    };
    assert!(damaged(|bytes| bytes[0] = b'X').contains("is not a Tidemark log"));
    assert!(damaged(|bytes| bytes[8] = 9).contains("is of format version 9"));
    assert!(damaged(|bytes| bytes[20] ^= 1).contains("header of log file 1 is damaged"));
    assert!(damaged(|bytes| bytes.truncate(4096)).contains("has 4096 bytes, but was made with 8192"));
}

#[test]
fn the_image_of_a_record_inside_a_payload_cannot_vouch_for_anything() {
    // A record that reports the next hundred as durable, encoded for another place of the same log.
    let mut writer = new_log();
    append(&mut writer, &batch(1, 100));
    writer.sync().unwrap();
    append(&mut writer, &batch(2, 100));
    let mut storage = writer.into_storage();
    let bytes = storage.log_file_mut(FIRST_LOG_FILE).unwrap();
    let images: Vec<u8> =
        bytes.chunks_exact(64).filter(|chunk| chunk.starts_with(b"TMLR")).flatten().copied().collect();
    assert_eq!(images.len(), 3 * 64);
    let mut writer = new_log();
    append(&mut writer, &batch(1, 100));
    let outcomes = vec![vec![Bytes::from(images)], vec![]];
    append(&mut writer, &Body::Commit(RecordKind::Batch, Commit { outcomes, ..Commit::default() }));
    let mut storage = writer.into_storage();
    let bytes = storage.log_file_mut(FIRST_LOG_FILE).unwrap();
    let first = bytes.windows(8).position(|w| w == [1; 8]).unwrap();
    bytes[first] ^= 1;
    let (opened, _) = reopen(storage).unwrap();
    assert_eq!(opened.torn_tail.unwrap().first, Sequence(2));
}

#[test]
fn a_plan_confirms_what_it_covers_and_nothing_more() {
    let mut writer = new_log();
    append(&mut writer, &batch(1, 100));
    let plan = writer.sync_plan().unwrap();
    append(&mut writer, &batch(2, 7800));
    append(&mut writer, &batch(3, 100));
    writer.synced(&plan).unwrap();
    assert_eq!((writer.durable(), writer.last()), (Sequence(2), Sequence(4)));
    let rest = writer.sync_plan().unwrap();
    let starts: Vec<_> = rest.ranges.iter().map(|range| (range.log_file, range.offset)).collect();
    assert_eq!(starts, [(2, 0), (3, 0)], "neither record fitted into the rest of a log file");
    assert_eq!(writer.sync().unwrap(), Sequence(4));
    assert!(writer.sync_plan().unwrap().ranges.is_empty());
    writer.synced(&plan).unwrap();
    assert_eq!(writer.durable(), Sequence(4), "a late confirmation takes nothing back");
}

/// Memory with space for this number of log files.
#[derive(Debug)]
struct Small {
    inner: MemStorage,
    log_files_max: usize,
}

impl Storage for Small {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        self.inner.log_files()
    }
    fn create(&mut self, number: u64, len: u64) -> Result<()> {
        if self.inner.log_files()?.len() >= self.log_files_max {
            return Err(crate::Error::new(SqlState::DISK_FULL, "no room"));
        }
        self.inner.create(number, len)
    }
    fn prepare(&mut self, number: u64, len: u64) {
        self.inner.prepare(number, len);
    }
    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        self.inner.read(number, offset, into)
    }
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        self.inner.write(number, offset, bytes)
    }
    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        self.inner.sync(number, offset, len)
    }
    fn remove(&mut self, number: u64) -> Result<()> {
        self.inner.remove(number)
    }
    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        self.inner.manifest()
    }
    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        self.inner.write_manifest(slot, bytes)
    }
}

#[test]
fn without_room_for_a_log_file_nothing_happens_and_with_room_it_goes_on() {
    let small = Small { inner: MemStorage::new(), log_files_max: 1 };
    let mut writer = create(small, DATABASE, 2, 7, LOG_FILE_LEN, &mut ignore).unwrap().writer;
    let bodies = [batch(1, 5000), batch(2, 5000), batch(3, 100)];
    writer.append(&bodies[0].encode(writer.last().next())).unwrap();
    let next = bodies[1].encode(writer.last().next());
    for _ in 0..3 {
        assert_eq!(writer.append(&next).unwrap_err().sqlstate, SqlState::DISK_FULL);
        assert!(writer.is_well());
        assert_eq!(writer.sync(), Ok(Sequence(2)), "earlier records are made durable");
    }
    writer.storage_mut().log_files_max = 2;
    writer.append(&next).unwrap();
    writer.append(&bodies[2].encode(writer.last().next())).unwrap();
    writer.sync().unwrap();
    let (_, records) = reopen(writer.into_storage().inner).unwrap();
    let found: Vec<&Body> = records[1..records.len() - 1].iter().map(|r| &r.body).collect();
    assert_eq!(found, bodies.iter().collect::<Vec<_>>());
}
