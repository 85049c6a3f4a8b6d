//! The cycle of a log on top of a storage: create, append, sync, reopen; torn tails, damage, and an interrupted
//! creation.

use bytes::Bytes;

use super::{Disks, read};
use crate::error::{Result, SqlState};
use crate::log::{self, LogWriter, ManifestSlot, Opened, Storage, SyncRange};
use crate::record::{Body, Commit, RecordKind};

/// Short, so that a few records fill a log file.
pub(super) const LOG_FILE_LEN: u64 = 8192;
const DATABASE: [u8; 16] = *b"contract of logs";

pub(super) fn body(fill: u8, len: usize) -> Body {
    let outcomes = vec![vec![Bytes::from(vec![fill; len])]];
    Body::Commit(RecordKind::Batch, Commit { at_us: fill.into(), outcomes, ..Commit::default() })
}

pub(super) fn create<S: Storage>(storage: S) -> LogWriter<S> {
    log::create(storage, DATABASE, 3, 1, LOG_FILE_LEN, &mut |_| Ok(())).expect("an empty storage").writer
}

pub(super) fn append<S: Storage>(writer: &mut LogWriter<S>, body: &Body) {
    writer.append(&body.encode(writer.last().next())).expect("the disk is well");
}

/// Opens a log and returns its records without the open records.
pub(super) fn records_of<S: Storage>(storage: S) -> Result<(Opened<S>, Vec<Body>)> {
    let mut found = Vec::new();
    let mut last = 0;
    let opened = log::open(storage, 5, LOG_FILE_LEN, &mut |record| {
        assert_eq!(record.sequence.0, last + 1, "records come in order, without gaps");
        last = record.sequence.0;
        found.extend(matches!(record.body, Body::Commit(..)).then_some(record.body));
        Ok(())
    })?;
    assert_eq!((opened.database, opened.shard_count), (DATABASE, 3));
    Ok((opened, found))
}

pub(super) fn check<D: Disks>(disks: &mut D) {
    records_survive_many_terms_and_log_files(disks);
    a_record_longer_than_a_log_file_has_one_of_its_own(disks);
    a_creation_that_was_cut_off_starts_over(disks);
    a_second_creation_is_refused(disks);
    damage_to_what_was_synced_is_refused_and_changes_nothing(disks);
    a_log_file_that_is_missing_is_refused(disks);
    without_room_the_log_stops_and_keeps_what_it_had(disks);
}

fn records_survive_many_terms_and_log_files<D: Disks>(disks: &mut D) {
    let mut storage = create(disks.make()).into_storage();
    let mut expected = Vec::new();
    for workload in 2..8 {
        let (mut opened, found) = records_of(disks.reopen(storage)).expect("a log that ended in order");
        assert_eq!((opened.term.0, opened.torn_tail), (workload, None));
        assert_eq!(found, expected);
        for fill in 0..5 {
            let body = body(workload as u8 * 10 + fill, 700 * fill as usize);
            append(&mut opened.writer, &body);
            expected.push(body);
            if fill % 2 == 0 {
                let last = opened.writer.last();
                assert_eq!(opened.writer.sync(), Ok(last));
            }
        }
        storage = opened.writer.into_storage();
    }
    assert!(storage.log_files().expect("they can be listed").len() > 4, "the log grew over log files");
}

fn a_record_longer_than_a_log_file_has_one_of_its_own<D: Disks>(disks: &mut D) {
    let mut writer = create(disks.make());
    let bodies = [body(1, 100), body(2, 5 * LOG_FILE_LEN as usize), body(3, 100)];
    bodies.iter().for_each(|body| append(&mut writer, body));
    writer.sync().expect("the disk is well");
    let mut storage = disks.reopen(writer.into_storage());
    let longest = storage.log_files().expect("they can be listed").into_iter().map(|(_, len)| len).max();
    assert!(longest > Some(5 * LOG_FILE_LEN));
    assert_eq!(records_of(storage).expect("a log that ended in order").1, bodies);
}

fn a_creation_that_was_cut_off_starts_over<D: Disks>(disks: &mut D) {
    let mut storage = disks.make();
    storage.create(log::FIRST_LOG_FILE, LOG_FILE_LEN).expect("there is space");
    let mut storage = disks.reopen(storage);
    assert_eq!(log::is_created(&mut storage), Ok(false));
    let storage = disks.reopen(create(storage).into_storage());
    assert_eq!(records_of(storage).expect("a log").1, []);
}

fn a_second_creation_is_refused<D: Disks>(disks: &mut D) {
    let writer = create(disks.make());
    let storage = disks.reopen(writer.into_storage());
    let refused = log::create(storage, DATABASE, 3, 1, LOG_FILE_LEN, &mut |_| Ok(()));
    assert_eq!(refused.expect_err("there is a log").sqlstate, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
}

/// The contents of a storage.
fn contents<S: Storage>(storage: &mut S) -> Vec<(u64, Vec<u8>)> {
    let log_files = storage.log_files().expect("they can be listed");
    log_files.into_iter().map(|(number, len)| (number, read(storage, number, 0, len as usize))).collect()
}

fn damage_to_what_was_synced_is_refused_and_changes_nothing<D: Disks>(disks: &mut D) {
    let mut writer = create(disks.make());
    append(&mut writer, &body(1, 500));
    let SyncRange { log_file, offset, len } = writer.sync_plan().expect("the log is well").ranges[0];
    writer.sync().expect("the disk is well");
    append(&mut writer, &body(2, 500));
    writer.sync().expect("the disk is well");
    let mut storage = writer.into_storage();
    let at = offset + len / 2;
    let flipped = read(&mut storage, log_file, at, 1)[0] ^ 0x10;
    storage.write(log_file, at, &[flipped]).expect("the range is inside the log file");
    let mut storage = disks.reopen(storage);
    let before = contents(&mut storage);
    for _ in 0..2 {
        // The storage is lent, so that it survives the failed opening.
        let error = records_of(Lent(&mut storage)).expect_err("a later record calls it synced");
        assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED, "{error}");
        assert_eq!(contents(&mut storage), before, "a refusal changes nothing");
    }
}

fn a_log_file_that_is_missing_is_refused<D: Disks>(disks: &mut D) {
    let mut writer = create(disks.make());
    for fill in 0..9 {
        append(&mut writer, &body(fill, 3000));
        writer.sync().expect("the disk is well");
    }
    let mut storage = writer.into_storage();
    storage.remove(2).expect("the log has more than one");
    let error = records_of(disks.reopen(storage)).expect_err("records are missing in the middle");
    assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED, "{error}");
}

fn without_room_the_log_stops_and_keeps_what_it_had<D: Disks>(disks: &mut D) {
    let Some((storage, too_long)) = disks.full() else { return };
    let created = log::create(storage, DATABASE, 3, 1, too_long, &mut |_| Ok(()));
    assert_eq!(created.expect_err("there is no room").sqlstate, SqlState::DISK_FULL);
}

/// A storage that is returned to its owner.
#[derive(Debug)]
struct Lent<'s, S>(&'s mut S);

impl<S: Storage> Storage for Lent<'_, S> {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        self.0.log_files()
    }
    fn create(&mut self, number: u64, len: u64) -> Result<()> {
        self.0.create(number, len)
    }
    fn prepare(&mut self, number: u64, len: u64) {
        self.0.prepare(number, len);
    }
    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        self.0.read(number, offset, into)
    }
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.write(number, offset, bytes)
    }
    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        self.0.sync(number, offset, len)
    }
    fn remove(&mut self, number: u64) -> Result<()> {
        self.0.remove(number)
    }
    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        self.0.manifest()
    }
    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        self.0.write_manifest(slot, bytes)
    }
}
