//! The data directory: one owner, no half-made segments, a full disk, a log that lives through processes.

use std::fs;
use std::process;

use bytes::Bytes;
use kernel::log::{self, Storage};
use kernel::record::{Body, Commit, Piece, Record, RecordKind};
use kernel::{ErrorKind, Incarnation};
use tidemark_log::{MmapStorage, free_bytes};

fn ignore(_: Record) -> kernel::Result<()> {
    Ok(())
}

#[test]
fn a_second_owner_is_told_who_the_first_is() {
    let directory = tempfile::tempdir().unwrap();
    let first = MmapStorage::open(directory.path()).unwrap();
    let error = MmapStorage::open(directory.path()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ObjectInUse);
    let path = directory.path().display();
    let start = format!("data directory {path} is in use by process {} (", process::id());
    assert!(error.message.starts_with(&start), "{error}");
    drop(first);
    MmapStorage::open(directory.path()).unwrap();
}

#[test]
fn a_half_made_segment_is_removed_and_other_files_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["log-0000000001.tmp", "notes.txt", "log-x.tml"] {
        fs::write(directory.path().join(name), b"left over").unwrap();
    }
    let mut storage = MmapStorage::open(directory.path()).unwrap();
    assert_eq!(storage.segments(), Ok(vec![]));
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["lock", "log-x.tml", "notes.txt"]);
}

#[test]
fn a_disk_without_room_is_an_error_and_leaves_nothing() {
    // In memory: an attempt on a disk could take all the room there is for a moment, from everyone on this machine.
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut storage = MmapStorage::open(directory.path()).unwrap();
    let too_much = free_bytes(directory.path()).unwrap() + (64 << 30);
    let error = storage.create(1, too_much).unwrap_err();
    assert_eq!(error.kind, ErrorKind::DiskFull, "{error}");
    assert_eq!(storage.segments(), Ok(vec![]));
    storage.prepare(1, too_much);
    assert_eq!(storage.create(1, too_much).unwrap_err().kind, ErrorKind::DiskFull);
    let files = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(files, 1, "only the lock");
    storage.create(1, 4096).unwrap();
}

#[test]
fn a_path_that_cannot_be_a_directory_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [file.clone(), file.join("data")] {
        let error = MmapStorage::open(&path).unwrap_err();
        assert!(error.message.contains(&file.display().to_string()), "{error}");
        assert!(error.message.ends_with("choose another directory"), "{error}");
    }
}

#[test]
fn a_log_lives_through_its_owners() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/when/missing");
    let storage = MmapStorage::open(&path).unwrap();
    let mut writer = log::create(storage, [3; 16], 1, 5, 1 << 16, &mut ignore).unwrap().writer;
    let body = |fill: u8| {
        let pieces = vec![Piece::Inline(vec![Bytes::from(vec![fill; 30_000])])];
        Body::Commit(RecordKind::Client, Commit { at_us: fill as i64, pieces, ..Commit::default() })
    };
    for fill in 0..10 {
        writer.append(&body(fill).encode(writer.last().next())).unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    for life in 2..5u64 {
        let mut storage = MmapStorage::open(&path).unwrap();
        assert!(log::is_created(&mut storage).unwrap());
        let mut found = Vec::new();
        let opened = log::open(storage, 6, 1 << 16, &mut |record| {
            found.extend(matches!(record.body, Body::Commit(..)).then_some(record.body));
            Ok(())
        });
        let opened = opened.unwrap();
        assert_eq!(opened.incarnation, Incarnation(life));
        assert_eq!((opened.torn_tail, opened.database, opened.shard_count), (None, [3; 16], 1));
        assert_eq!(found, (0..10).map(body).collect::<Vec<_>>());
    }
}

#[test]
fn a_directory_that_is_not_ours_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("log-0000000001.tml"), vec![b'?'; 8192]).unwrap();
    let mut storage = MmapStorage::open(directory.path()).unwrap();
    assert_eq!(log::is_created(&mut storage), Ok(true));
    let error = log::open(storage, 6, 1 << 16, &mut ignore).unwrap_err();
    assert!(error.message.contains("is not a Tidemark log"), "{error}");
}
