//! What every [`Storage`] promises, and the log on top of it, as one suite that is run against all of them: the real one, the
//! simulated and the one in memory, so that the simulator's world is held to the real one. `log_files` holds the port's
//! promises one by one, `model` compares long random lives with a map, `writer` is the log's own cycle, `lives` is what a
//! process does that is then killed. What a power cut leaves can only be tried on a simulated disk and is not here.

mod kills;
mod log_files;
mod model;
mod writer;

pub use kills::Workload;

use super::Storage;

/// Where storages come from, for the suite.
pub trait Disks {
    /// The implementation under test.
    type Storage: Storage + std::fmt::Debug;

    /// An empty storage.
    fn make(&mut self) -> Self::Storage;

    /// Gives a storage up as a process does that ends in order, and takes up what it left.
    fn reopen(&mut self, storage: Self::Storage) -> Self::Storage;

    /// Has a process of its own live this life on an empty storage, kills it at the end of it, and takes up what it left. The
    /// system goes on: nothing that was written is lost.
    fn killed(&mut self, workload: Workload) -> Self::Storage;

    /// An empty storage and the length of a log file for which it has no room. None where room never ends.
    fn full(&mut self) -> Option<(Self::Storage, u64)>;

    /// From now on the bytes of this log file cannot be read, though the log file still is there. False where reads never fail.
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
    storage.read(number, offset, &mut bytes).expect("the range is there");
    bytes
}
