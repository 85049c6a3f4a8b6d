//! The contract of every [`Storage`] and of the log on top of it, as one suite that runs against all of them: the real
//! one, the simulated one and the one in memory, so that the simulated disk is checked against the real one.
//! `log_files` tests the guarantees of the port one by one, `model` compares long random runs with a map, `writer`
//! tests the cycle of a log, `kills` tests processes that are killed. The states after a power cut can be tested on a
//! simulated disk only and are not part of the suite.

mod kills;
mod log_files;
mod model;
mod writer;

pub use kills::Workload;

use super::Storage;

/// Creates storages for the suite.
pub trait Disks {
    /// The implementation under test.
    type Storage: Storage + std::fmt::Debug;

    /// An empty storage.
    fn make(&mut self) -> Self::Storage;

    /// Closes a storage as at the orderly end of a process, and opens it again.
    fn reopen(&mut self, storage: Self::Storage) -> Self::Storage;

    /// Runs this workload on an empty storage in a separate process, kills the process at its end, and opens the
    /// storage. The operating system keeps running: no written byte is lost.
    fn killed(&mut self, workload: Workload) -> Self::Storage;

    /// An empty storage and the length of a log file for which it has no space. None if space is unlimited.
    fn full(&mut self) -> Option<(Self::Storage, u64)>;

    /// From now on the bytes of this log file cannot be read, although the file still exists. False if reads never
    /// fail.
    fn spoil(&mut self, storage: &mut Self::Storage, number: u64) -> bool;
}

/// Runs the suite.
pub fn storage_contract<D: Disks>(disks: &mut D) {
    log_files::check(disks);
    kills::check(disks);
    writer::check(disks);
    model::check(disks);
}

fn read<S: Storage>(storage: &mut S, number: u64, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xEE; len];
    storage.read(number, offset, &mut bytes).expect("the range exists");
    bytes
}
