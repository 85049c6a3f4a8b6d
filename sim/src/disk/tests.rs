//! The simulated disk has exactly the documented faults.

use kernel::log::Storage;

use super::*;
use crate::decide::Seeded;
use crate::fault::FaultRates;

const SURE: Rate = Rate(1_000_000);

fn lossy() -> FaultRates {
    FaultRates::default().with(Fault::LostPages, Rate::per_mille(600))
}

fn disk(seed: u64, faults: FaultRates) -> Disk<'static> {
    let decisions = Decisions::new(Seeded::new(seed));
    decisions.set_faults(faults);
    let mut disk = Disk::new(decisions, DiskHabits::default());
    disk.create(1, 4 * PAGE_BYTES as u64).unwrap();
    disk
}

fn byte(disk: &mut Disk<'_>, offset: u64) -> u8 {
    let mut b = [0];
    disk.read(1, offset, &mut b).unwrap();
    b[0]
}

#[test]
fn a_power_cut_leaves_any_version_of_each_page_and_a_kill_the_last() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let mut disk = disk(seed, lossy());
        for v in 1..=2 {
            disk.write(1, 0, &[v]).unwrap();
            disk.write(1, PAGE_BYTES as u64, &[v]).unwrap();
        }
        disk.restart(Crash::Kill);
        assert_eq!((byte(&mut disk, 0), byte(&mut disk, PAGE_BYTES as u64)), (2, 2));
        disk.restart(Crash::Power);
        seen.insert((byte(&mut disk, 0), byte(&mut disk, PAGE_BYTES as u64)));
    }
    assert_eq!(seen.len(), 9, "each page independently: {seen:?}");
}

#[test]
fn a_sync_covers_its_range_and_no_more() {
    let mut lost = 0;
    for seed in 0..50 {
        let mut disk = disk(seed, lossy());
        disk.write(1, 10, &[7]).unwrap();
        disk.write(1, 2 * PAGE_BYTES as u64, &[7]).unwrap();
        disk.sync(1, 0, 100).unwrap();
        disk.restart(Crash::Power);
        assert_eq!(byte(&mut disk, 10), 7);
        lost += usize::from(byte(&mut disk, 2 * PAGE_BYTES as u64) == 0);
    }
    assert!(lost > 5);
}

#[test]
fn a_sync_covers_what_was_written_when_it_began() {
    let mut lost = 0;
    for seed in 0..50 {
        let mut disk = disk(seed, lossy());
        disk.write(1, 0, &[1]).unwrap();
        let sync = disk.begin_sync(1, 0, 8);
        disk.write(1, 1, &[2]).unwrap();
        disk.end_sync(&sync).unwrap();
        disk.restart(Crash::Power);
        assert_eq!(byte(&mut disk, 0), 1);
        lost += usize::from(byte(&mut disk, 1) == 0);
    }
    assert!(lost > 5);
}

#[test]
fn torn_pages_mix_versions() {
    let faults = lossy().with(Fault::TornSectors, SURE);
    let mixed = (0..50).filter(|seed| {
        let mut disk = disk(*seed, faults);
        disk.write(1, 0, &[1; PAGE_BYTES]).unwrap();
        disk.restart(Crash::Power);
        let mut page = [0; PAGE_BYTES];
        disk.read(1, 0, &mut page).unwrap();
        page.contains(&0) && page.contains(&1)
    });
    assert!(mixed.count() > 20);
}

#[test]
fn after_a_failed_sync_a_second_one_proves_nothing() {
    let mut lost = 0;
    for seed in 0..50 {
        let mut disk = disk(seed, lossy().with(Fault::FailedSync, SURE));
        disk.write(1, 0, &[9]).unwrap();
        disk.sync(1, 0, 1).unwrap_err();
        disk.state().decisions.set_faults(lossy());
        disk.sync(1, 0, 1).unwrap();
        assert!(disk.misuse().is_some());
        disk.restart(Crash::Power);
        lost += usize::from(byte(&mut disk, 0) == 0);
    }
    assert!(lost > 5);
}
