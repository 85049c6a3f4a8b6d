//! The storage in memory and the disk of these tests fulfil the contract of a storage.

use super::disk::Disk;
use super::*;
use crate::log::contract::{Disks, Workload, storage_contract};

struct Memory;

impl Disks for Memory {
    type Storage = MemStorage;

    fn make(&mut self) -> MemStorage {
        MemStorage::new()
    }

    fn reopen(&mut self, storage: MemStorage) -> MemStorage {
        storage
    }

    fn killed(&mut self, workload: Workload) -> MemStorage {
        workload.run(MemStorage::new())
    }

    fn full(&mut self) -> Option<(MemStorage, u64)> {
        None
    }

    fn spoil(&mut self, _storage: &mut MemStorage, _number: u64) -> bool {
        false
    }
}

struct Forgetful;

impl Disks for Forgetful {
    type Storage = Disk;

    fn make(&mut self) -> Disk {
        Disk::default()
    }

    fn reopen(&mut self, disk: Disk) -> Disk {
        disk.killed()
    }

    fn killed(&mut self, workload: Workload) -> Disk {
        workload.run(Disk::default()).killed()
    }

    fn full(&mut self) -> Option<(Disk, u64)> {
        None
    }

    fn spoil(&mut self, _disk: &mut Disk, _number: u64) -> bool {
        false
    }
}

#[test]
fn memory_keeps_the_storage_contract() {
    storage_contract(&mut Memory);
}

#[test]
fn a_disk_that_forgets_keeps_the_storage_contract() {
    storage_contract(&mut Forgetful);
}
