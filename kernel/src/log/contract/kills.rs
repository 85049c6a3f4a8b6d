//! The workload of a process before it is killed, and the state that it must leave: everything that was written,
//! because the operating system keeps running.

use super::writer::{LOG_FILE_LEN, append, body, create, records_of};
use super::{Disks, read};
use crate::log::{self, FIRST_LOG_FILE, Storage};

/// The workload of a process until it is killed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Workload {
    /// Creates log files, writes to them, syncs little of it, removes one.
    Writes,
    /// Is killed while a log file is prepared in the background.
    Prepares,
    /// Writes a log over several log files, with records that were never synced.
    Appends,
    /// Like [`Workload::Appends`], killed while the last record is being copied.
    Tears,
}

impl Workload {
    /// All of them.
    pub const ALL: [Workload; 4] = [Workload::Writes, Workload::Prepares, Workload::Appends, Workload::Tears];

    /// Its name, for the command line of another process.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Writes => "writes",
            Workload::Prepares => "prepares",
            Workload::Appends => "appends",
            Workload::Tears => "tears",
        }
    }

    /// The workload of this name.
    pub fn named(name: &str) -> Option<Workload> {
        Workload::ALL.into_iter().find(|workload| workload.name() == name)
    }

    /// Runs it. The caller holds the returned storage until the process is killed.
    pub fn run<S: Storage>(self, mut storage: S) -> S {
        match self {
            Workload::Writes => {
                for number in 1..=3 {
                    storage.create(number, 16384).expect("there is space");
                    storage
                        .write(number, 4000, &[number as u8; 9000])
                        .expect("the range is inside the log file");
                }
                storage.sync(1, 4096, 4096).expect("the range is inside the log file");
                storage.write(1, 0, b"later").expect("the range is inside the log file");
                storage.remove(2).expect("the log file was created");
                storage
            }
            Workload::Prepares => {
                storage.create(1, 4096).expect("there is space");
                storage.prepare(2, 32 << 20);
                storage
            }
            Workload::Appends => append_some(storage),
            Workload::Tears => {
                let mut writer = create(storage);
                append(&mut writer, &body(1, 3000));
                writer.sync().expect("the disk is well");
                append(&mut writer, &body(2, 3000));
                let record = *writer.sync_plan().expect("the log is well").ranges.last().expect("one record");
                let mut storage = writer.into_storage();
                let half = record.len / 2;
                let zeros = vec![0; (record.len - half) as usize];
                storage
                    .write(record.log_file, record.offset + half, &zeros)
                    .expect("the range is inside the log file");
                storage
            }
        }
    }
}

const RECORDS: u8 = 12;

fn append_some<S: Storage>(storage: S) -> S {
    let mut writer = create(storage);
    for fill in 1..=RECORDS {
        append(&mut writer, &body(fill, 2500));
        if fill == RECORDS / 2 {
            writer.sync().expect("the disk is well");
        }
    }
    writer.into_storage()
}

pub(super) fn check<D: Disks>(disks: &mut D) {
    for workload in Workload::ALL {
        let storage = disks.killed(workload);
        match workload {
            Workload::Writes => all_writes_are_there(storage),
            Workload::Prepares => what_was_prepared_is_gone(storage),
            Workload::Appends => all_records_are_there(disks, storage),
            Workload::Tears => the_torn_record_is_cut_off(disks, storage),
        }
    }
}

fn all_writes_are_there<S: Storage>(mut storage: S) {
    assert_eq!(storage.log_files(), Ok(vec![(1, 16384), (3, 16384)]));
    assert_eq!(read(&mut storage, 1, 0, 6), b"later\0");
    for number in [1, 3] {
        let bytes = read(&mut storage, number, 3999, 9002);
        assert_eq!(bytes, [&[0][..], &[number as u8; 9000], &[0]].concat(), "log file {number}");
    }
}

fn what_was_prepared_is_gone<S: Storage>(mut storage: S) {
    assert_eq!(storage.log_files(), Ok(vec![(1, 4096)]));
    storage.create(2, 8192).expect("nothing is in the way");
    assert_eq!(read(&mut storage, 2, 0, 8192), vec![0; 8192]);
}

fn all_records_are_there<D: Disks>(disks: &mut D, storage: D::Storage) {
    let (opened, found) = records_of(storage).expect("a log that a kill left");
    assert_eq!(found, (1..=RECORDS).map(|fill| body(fill, 2500)).collect::<Vec<_>>());
    assert_eq!(opened.torn_tail, None);
    let (again, found) =
        records_of(disks.reopen(opened.writer.into_storage())).expect("a log that ended in order");
    assert_eq!((found.len(), again.term.0), (RECORDS as usize, 3));
}

fn the_torn_record_is_cut_off<D: Disks>(disks: &mut D, storage: D::Storage) {
    let (mut opened, found) = records_of(storage).expect("a torn tail is legal");
    assert_eq!(found, [body(1, 3000)]);
    assert_eq!(opened.torn_tail.expect("the torn tail is reported").log_file, FIRST_LOG_FILE);
    append(&mut opened.writer, &body(3, 3000));
    let storage = disks.reopen(opened.writer.into_storage());
    let opened = log::open(storage, 9, LOG_FILE_LEN, &mut |_| Ok(())).expect("the tail is clear");
    assert_eq!(opened.torn_tail, None, "the torn tail is reported once");
    let (_, found) =
        records_of(disks.reopen(opened.writer.into_storage())).expect("a log that ended in order");
    assert_eq!(found, [body(1, 3000), body(3, 3000)]);
}
