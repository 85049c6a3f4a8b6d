//! The simulated disk passes the same contract suite as the real one.

use kernel::log::contract::{Disks, Workload, storage_contract};
use sim::decide::{Decisions, Rate, Recorded};
use sim::disk::{Crash, Disk, DiskHabits};
use sim::fault::{Fault, FaultRates};

struct SimulatedDisks {
    decisions: Decisions<'static>,
}

impl SimulatedDisks {
    /// From now on this fault always strikes; before, none does.
    fn always(&self, fault: Fault) {
        self.decisions.set_faults(FaultRates::default().with(fault, Rate(1_000_000)));
    }
}

impl Disks for SimulatedDisks {
    type Storage = Disk<'static>;

    fn make(&mut self) -> Disk<'static> {
        self.decisions = Decisions::new(Recorded::new(vec![]));
        Disk::new(self.decisions.clone(), DiskHabits::default())
    }

    fn reopen(&mut self, disk: Disk<'static>) -> Disk<'static> {
        assert_eq!(disk.misuse(), None, "no call follows a failure of the disk");
        disk.restart(Crash::Kill);
        disk
    }

    fn killed(&mut self, workload: Workload) -> Disk<'static> {
        let disk = workload.run(self.make());
        disk.restart(Crash::Kill);
        disk
    }

    fn full(&mut self) -> Option<(Disk<'static>, u64)> {
        let disk = self.make();
        self.always(Fault::DiskFull);
        Some((disk, 4096))
    }

    fn spoil(&mut self, _disk: &mut Disk<'static>, _number: u64) -> bool {
        self.always(Fault::FailedRead);
        true
    }
}

#[test]
fn the_disk_keeps_the_contract_of_a_log_storage() {
    let decisions = Decisions::new(Recorded::new(vec![]));
    storage_contract(&mut SimulatedDisks { decisions });
}
