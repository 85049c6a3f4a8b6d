//! The simulated disk keeps the promises that the real one keeps: the same suite runs against both.

use sim::decide::{Decisions, Recorded};
use sim::disk::{Crash, Disk, DiskHabits};

#[test]
fn the_disk_keeps_the_contract_of_a_log_storage() {
    let disk = || Disk::new(Decisions::new(Recorded::new(vec![])), DiskHabits::default());
    kernel::log::contract::storage_contract(disk, |disk| {
        disk.restart(Crash::Kill);
        disk
    });
}
