//! The data directory: one owner, no partial log files, a full disk, a log across several processes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process;

use bytes::Bytes;
use kernel::log::{self, Storage};
use kernel::record::{Body, Commit, Record, RecordKind};
use kernel::{SqlState, Term};
use tidemark_log::{MmapStorage, free_bytes};

fn ignore(_: Record) -> kernel::Result<()> {
    Ok(())
}

#[test]
fn a_second_owner_is_told_who_the_first_is() {
    let directory = tempfile::tempdir().unwrap();
    let first = MmapStorage::open(directory.path()).unwrap();
    let error = MmapStorage::open(directory.path()).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::OBJECT_IN_USE);
    let path = directory.path().display();
    let start = format!("data directory {path} is in use by process {} (", process::id());
    assert!(error.message.starts_with(&start), "{error}");
    drop(first);
    MmapStorage::open(directory.path()).unwrap();
}

#[test]
fn a_half_made_log_file_is_removed_and_other_files_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["log-0000000001.tmp", "notes.txt", "log-x.tml"] {
        fs::write(directory.path().join(name), b"left over").unwrap();
    }
    let mut storage = MmapStorage::open(directory.path()).unwrap();
    assert_eq!(storage.log_files(), Ok(vec![]));
    let mut names: Vec<_> = fs::read_dir(directory.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["lock", "log-x.tml", "notes.txt"]);
}

#[test]
fn a_disk_without_room_is_an_error_and_leaves_nothing() {
    // In memory: an attempt on a disk could use all free space of this machine for a moment.
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut storage = MmapStorage::open(directory.path()).unwrap();
    let too_much = free_bytes(directory.path()).unwrap() + (64 << 30);
    let error = storage.create(1, too_much).unwrap_err();
    assert_eq!(error.sqlstate, SqlState::DISK_FULL, "{error}");
    assert_eq!(storage.log_files(), Ok(vec![]));
    storage.prepare(1, too_much);
    assert_eq!(storage.create(1, too_much).unwrap_err().sqlstate, SqlState::DISK_FULL);
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
        let outcomes = vec![vec![Bytes::from(vec![fill; 30_000])]];
        Body::Commit(RecordKind::Client, Commit { at_us: fill as i64, outcomes, ..Commit::default() })
    };
    for fill in 0..10 {
        writer.append(&body(fill).encode(writer.last().next())).unwrap();
    }
    writer.sync().unwrap();
    drop(writer);
    for workload in 2..5u64 {
        let mut storage = MmapStorage::open(&path).unwrap();
        assert!(log::is_created(&mut storage).unwrap());
        let mut found = Vec::new();
        let opened = log::open(storage, 6, 1 << 16, &mut |record| {
            found.extend(matches!(record.body, Body::Commit(..)).then_some(record.body));
            Ok(())
        });
        let opened = opened.unwrap();
        assert_eq!(opened.term, Term(workload));
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

/// A log over several files whose owner has ended.
fn written(directory: &Path) {
    let storage = MmapStorage::open(directory).unwrap();
    let mut writer = log::create(storage, [3; 16], 1, 5, 1 << 14, &mut ignore).unwrap().writer;
    for fill in 0..6 {
        let outcomes = vec![vec![Bytes::from(vec![fill; 7000])]];
        let body = Body::Commit(RecordKind::Client, Commit { outcomes, ..Commit::default() });
        writer.append(&body.encode(writer.last().next())).unwrap();
        writer.sync().unwrap();
    }
}

fn refusal(directory: &Path) -> kernel::Error {
    let mut storage = match MmapStorage::open(directory) {
        Ok(storage) => storage,
        Err(error) => return error,
    };
    assert_eq!(log::is_created(&mut storage), Ok(true));
    log::open(storage, 6, 1 << 14, &mut ignore).map(|_| ()).unwrap_err()
}

type Lose<'a> = &'a dyn Fn(&Path);

#[test]
fn files_that_are_gone_or_cut_are_refused_and_nothing_is_changed() {
    let names = |directory: &Path| -> Vec<_> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let last = "log-0000000003.tml";
    let zeros = vec![0; 1 << 14];
    let losses: [(&str, &str, Lose<'_>); 7] = [
        ("the last file is gone", "log file 3 is missing", &|dir| fs::remove_file(dir.join(last)).unwrap()),
        ("it is empty", "has 0 bytes", &|dir| fs::write(dir.join(last), b"").unwrap()),
        ("it is short", "has 10 bytes", &|dir| fs::write(dir.join(last), b"TIDEMARK..").unwrap()),
        ("it is zeros", "are missing; the manifest", &|dir| fs::write(dir.join(last), &zeros).unwrap()),
        ("all are gone", "all log files are missing", &|dir| {
            (1..=3).for_each(|n| fs::remove_file(dir.join(format!("log-{n:010}.tml"))).unwrap());
        }),
        ("the manifest alone", "the manifest of", &|dir| fs::remove_file(dir.join("manifest")).unwrap()),
        ("all but the lock", "held a database", &|dir| {
            (1..=3).for_each(|n| fs::remove_file(dir.join(format!("log-{n:010}.tml"))).unwrap());
            fs::remove_file(dir.join("manifest")).unwrap();
        }),
    ];
    for (what, told, lose) in losses {
        let directory = tempfile::tempdir().unwrap();
        written(directory.path());
        assert!(names(directory.path()).contains(&last.to_owned()));
        lose(directory.path());
        let left = names(directory.path());
        for _ in 0..2 {
            let error = refusal(directory.path());
            assert_eq!(error.sqlstate, SqlState::DATA_CORRUPTED, "{what}: {error}");
            assert!(error.message.contains(told), "{what}: {error}");
            assert_eq!(names(directory.path()), left, "{what}");
        }
    }
}

#[test]
fn a_log_from_before_there_were_manifests_is_opened_and_gets_one() {
    let directory = tempfile::tempdir().unwrap();
    written(directory.path());
    fs::remove_file(directory.path().join("manifest")).unwrap();
    fs::write(directory.path().join("lock"), b"4711 (an earlier version)").unwrap();
    let storage = MmapStorage::open(directory.path()).unwrap();
    log::open(storage, 6, 1 << 14, &mut ignore).unwrap();
    assert!(directory.path().join("manifest").exists());
    let lock = fs::read_to_string(directory.path().join("lock")).unwrap();
    assert!(lock.starts_with("database 03030303030303030303030303030303\n"), "{lock}");
}

#[test]
fn files_are_their_owners_alone() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("data");
    written(&directory);
    let check = || {
        assert_eq!(mode(&directory), 0o700);
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    };
    check();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    for entry in fs::read_dir(&directory).unwrap() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o644)).unwrap();
    }
    drop(MmapStorage::open(&directory).unwrap());
    check();
}
