//! The manifest: when it is written, and the errors that it causes.

use super::*;
use crate::Error;

/// A log over several log files whose last sync covered the first record of its last log file.
fn written() -> LogWriter<MemStorage> {
    let mut writer = new_log();
    for fill in 1..=6 {
        append(&mut writer, &batch(fill, 3000));
        writer.sync().unwrap();
    }
    writer
}

fn manifest_of(storage: &mut MemStorage) -> Manifest {
    Manifest::of_slots(&storage.manifest().unwrap().unwrap()).unwrap()
}

type Lose = fn(&mut MemStorage, u64);

/// The error of opening, which is also the error of reading; and the log files are unchanged.
fn refusal(mut storage: MemStorage) -> Error {
    assert_eq!(is_created(&mut storage), Ok(true), "there was a log");
    let looked = look(storage.clone()).unwrap_err();
    let (opened, before) = (reopen(storage.clone()).unwrap_err(), storage.log_files());
    assert_eq!(opened, looked);
    assert_eq!(storage.log_files(), before);
    opened
}

#[test]
fn a_log_file_that_is_gone_cut_or_empty_is_refused_with_what_is_gone() {
    let mut whole = written().into_storage();
    let (last, len) = whole.log_files().unwrap().pop().unwrap();
    let Manifest { through, .. } = manifest_of(&mut whole);
    assert!(last > 2 && through > Sequence(5));
    let losses: [(&str, Lose); 6] = [
        ("is missing", |storage, number| storage.remove(number).unwrap()),
        ("has 0 bytes", |storage, number| storage.log_file_mut(number).unwrap().clear()),
        ("has 10 bytes", |storage, number| storage.log_file_mut(number).unwrap().truncate(10)),
        ("has 64 bytes", |storage, number| storage.log_file_mut(number).unwrap().truncate(64)),
        ("has 4096 bytes", |storage, number| storage.log_file_mut(number).unwrap().truncate(4096)),
        ("are missing; the manifest", |storage, number| storage.log_file_mut(number).unwrap().fill(0)),
    ];
    for (what, lose) in losses {
        let mut storage = whole.clone();
        lose(&mut storage, last);
        let error = refusal(storage);
        assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED, "{what}");
        assert!(error.message.contains(what), "{what}: {error}");
        // An intact header already shows that the file is too short.
        let by_header = what.contains("64 bytes") || what.contains("4096 bytes");
        let gone = format!("records {through} to {through} are missing");
        assert!(by_header || error.message.contains(&gone), "{what}: {error}");
    }
    assert_eq!(len, LOG_FILE_LEN);
}

#[test]
fn a_log_without_any_or_its_first_log_file_is_refused() {
    let whole = written().into_storage();
    let through = manifest_of(&mut whole.clone()).through;
    let gone = format!("records 1 to {through} are missing");
    let mut emptied = whole.clone();
    for (number, _) in emptied.log_files().unwrap() {
        emptied.remove(number).unwrap();
    }
    let error = refusal(emptied.clone());
    assert!(error.message.contains(&gone) && error.message.contains("all log files are missing"), "{error}");
    let created = create(emptied, DATABASE, 2, 7, LOG_FILE_LEN, &mut ignore).map(|_| ()).unwrap_err();
    assert_eq!(created.sqlstate, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE);
    let mut headless = whole.clone();
    headless.remove(FIRST_LOG_FILE).unwrap();
    let error = refusal(headless);
    assert!(error.message.contains(&gone) && error.message.contains("log file 1 is missing"), "{error}");
    let mut zeroed = whole;
    zeroed.log_file_mut(FIRST_LOG_FILE).unwrap().fill(0);
    let error = refusal(zeroed);
    assert!(error.message.contains(&gone), "{error}");
}

#[test]
fn the_last_synced_record_before_a_pause_cannot_be_torn() {
    let mut writer = new_log();
    append(&mut writer, &batch(1, 100));
    writer.sync().unwrap();
    append(&mut writer, &Body::SyncMarker);
    writer.sync().unwrap();
    let mut storage = writer.into_storage();
    let bytes = storage.log_file_mut(FIRST_LOG_FILE).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    // Neither the batch nor the sync marker, which was the last evidence for it.
    let second = bytes.windows(8).position(|w| w == [1; 8]).unwrap();
    bytes[second / 64 * 64 - 64..=end].fill(0);
    let error = refusal(storage);
    assert!(error.message.contains("are missing; the manifest"), "{error}");
}

#[test]
fn only_what_begins_a_log_file_or_ends_in_quiet_pays_for_a_manifest() {
    let mut writer = new_log();
    let mut named = Vec::new();
    let mut commit = |writer: &mut LogWriter<MemStorage>, body: &Body| {
        append(writer, body);
        let plan = writer.sync_plan().unwrap();
        named.push(plan.manifest.is_some());
        assert!(plan.manifest.is_none_or(|manifest| manifest.through == plan.through));
        writer.sync().unwrap();
    };
    for _ in 0..3 {
        commit(&mut writer, &batch(1, 2000));
    }
    commit(&mut writer, &batch(2, 5000));
    commit(&mut writer, &batch(3, 10));
    commit(&mut writer, &Body::SyncMarker);
    commit(&mut writer, &batch(4, 10));
    assert_eq!(named, [false, false, false, true, false, true, false]);
    assert!(!writer.is_sync_due());
    writer.renew_manifest();
    assert!(writer.is_sync_due());
    assert_eq!(writer.sync_plan().unwrap().ranges, []);
    writer.sync().unwrap();
    assert!(!writer.is_sync_due());
    let last = writer.last();
    assert_eq!(manifest_of(&mut writer.into_storage()).through, last);
}

#[test]
fn an_older_manifest_is_legal_and_so_is_none() {
    let mut writer = written();
    let older = *writer.storage_mut().manifest_mut();
    append(&mut writer, &batch(9, 10));
    append(&mut writer, &Body::SyncMarker);
    writer.sync().unwrap();
    let last = writer.last();
    let mut storage = writer.into_storage();
    for slots in [older, None] {
        *storage.manifest_mut() = slots;
        let (opened, records) = reopen(storage.clone()).unwrap();
        assert_eq!(records.len() as u64, last.0 + 1);
        assert_eq!(manifest_of(&mut opened.writer.into_storage()).through, last.next(), "it is written anew");
    }
    // One torn slot leaves the other.
    let newest = manifest_of(&mut written().into_storage());
    let mut storage = written().into_storage();
    storage.manifest_mut().as_mut().unwrap()[newest.slot()].fill(0);
    reopen(storage).unwrap();
}

#[test]
fn files_of_two_copies_that_went_apart_are_refused() {
    let whole = written().into_storage();
    let (mine, _) = reopen(whole.clone()).unwrap();
    let mut theirs = open(whole, 9, LOG_FILE_LEN, &mut ignore).unwrap().writer.into_storage();
    *theirs.manifest_mut() = mine.writer.into_storage().manifest().unwrap();
    let error = reopen(theirs).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED);
    assert!(error.message.contains("two diverged copies"), "{error}");
    let mut foreign = written().into_storage();
    let manifest = Manifest { database: [0; 16], ..manifest_of(&mut foreign) };
    *foreign.manifest_mut() = Some([manifest.encode(); 2]);
    let error = reopen(foreign).unwrap_err();
    assert!(error.message.contains("another database"), "{error}");
}
