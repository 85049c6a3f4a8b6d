//! The guarantees of the port, one by one.

use super::{Disks, read};
use crate::error::SqlState;
use crate::log::{MANIFEST_SLOT_LEN, Storage};

pub(super) fn check<D: Disks>(disks: &mut D) {
    begins_empty(&mut disks.make());
    a_new_log_file_is_zero(&mut disks.make());
    reads_give_what_was_written_before_any_sync(&mut disks.make());
    neighbours_are_left_alone(&mut disks.make());
    log_files_are_listed_in_order(&mut disks.make());
    there_may_be_many_log_files(disks);
    prepared_log_files_do_not_show_before_they_are_created(&mut disks.make());
    what_is_only_prepared_is_gone_after_reopening(disks);
    a_removed_log_file_is_gone_and_can_be_made_again(&mut disks.make());
    ranges_outside_are_errors(&mut disks.make());
    syncs_take_any_range_inside(&mut disks.make());
    what_was_synced_is_there_after_reopening(disks);
    what_was_only_written_is_there_after_reopening(disks);
    without_room_there_is_an_error_and_no_log_file(disks);
    what_cannot_be_read_is_an_error(disks);
    the_manifest_is_kept_slot_by_slot(disks);
}

/// Errors name the operation and the kind.
fn is_input_output_error(result: crate::Result<()>, what: &str) {
    let error = result.expect_err(what);
    assert_eq!(error.sqlstate, SqlState::IO_ERROR, "{what}: {error}");
    assert!(!error.message.is_empty(), "{what}");
}

fn begins_empty<S: Storage>(storage: &mut S) {
    assert_eq!(storage.log_files(), Ok(vec![]));
}

fn a_new_log_file_is_zero<S: Storage>(storage: &mut S) {
    storage.create(1, 12288).unwrap();
    assert_eq!(read(storage, 1, 0, 12288), vec![0; 12288]);
    assert_eq!(storage.log_files(), Ok(vec![(1, 12288)]));
}

fn reads_give_what_was_written_before_any_sync<S: Storage>(storage: &mut S) {
    storage.create(1, 16384).unwrap();
    let bytes: Vec<u8> = (0..9000).map(|i| (i % 251) as u8).collect();
    storage.write(1, 100, &bytes).unwrap();
    assert_eq!(read(storage, 1, 100, 9000), bytes);
    storage.write(1, 4000, b"over").unwrap();
    assert_eq!(read(storage, 1, 4000, 4), b"over");
    assert_eq!(read(storage, 1, 4004, 8), bytes[3904..3912]);
    storage.write(1, 0, b"").unwrap();
    storage.write(1, 16384, b"").unwrap();
    storage.read(1, 16384, &mut []).unwrap();
}

fn neighbours_are_left_alone<S: Storage>(storage: &mut S) {
    storage.create(1, 8192).unwrap();
    storage.create(2, 8192).unwrap();
    storage.write(1, 4095, b"ab").unwrap();
    storage.sync(1, 4095, 2).unwrap();
    assert_eq!(read(storage, 1, 4094, 4), [0, b'a', b'b', 0]);
    assert_eq!(read(storage, 2, 0, 8192), vec![0; 8192]);
}

fn log_files_are_listed_in_order<S: Storage>(storage: &mut S) {
    for number in [3, 1, 12] {
        storage.create(number, 4096 * number).unwrap();
    }
    assert_eq!(storage.log_files(), Ok(vec![(1, 4096), (3, 12288), (12, 49152)]));
    is_input_output_error(storage.create(3, 4096), "a log file is created once");
    assert_eq!(storage.log_files(), Ok(vec![(1, 4096), (3, 12288), (12, 49152)]));
}

fn prepared_log_files_do_not_show_before_they_are_created<S: Storage>(storage: &mut S) {
    storage.prepare(1, 8192);
    assert_eq!(storage.log_files(), Ok(vec![]));
    storage.create(1, 8192).unwrap();
    assert_eq!(read(storage, 1, 0, 8192), vec![0; 8192]);
    storage.prepare(2, 8192);
    storage.create(2, 16384).unwrap();
    storage.prepare(3, 4096);
    storage.create(4, 4096).unwrap();
    assert_eq!(storage.log_files(), Ok(vec![(1, 8192), (2, 16384), (4, 4096)]));
    assert_eq!(read(storage, 2, 0, 16384), vec![0; 16384]);
}

fn a_removed_log_file_is_gone_and_can_be_made_again<S: Storage>(storage: &mut S) {
    storage.create(1, 4096).unwrap();
    storage.write(1, 0, b"stale").unwrap();
    storage.remove(1).unwrap();
    assert_eq!(storage.log_files(), Ok(vec![]));
    is_input_output_error(storage.read(1, 0, &mut [0]), "read a removed log file");
    is_input_output_error(storage.remove(1), "remove it twice");
    storage.create(1, 8192).unwrap();
    assert_eq!(read(storage, 1, 0, 8192), vec![0; 8192], "no byte of the old one is left");
}

fn ranges_outside_are_errors<S: Storage>(storage: &mut S) {
    storage.create(1, 4096).unwrap();
    for (number, offset) in [(1, 4096), (1, u64::MAX), (2, 0)] {
        let location = format!("{number} {offset}");
        is_input_output_error(storage.read(number, offset, &mut [0]), &format!("read {location}"));
        is_input_output_error(storage.write(number, offset, &[0]), &format!("write {location}"));
        is_input_output_error(storage.sync(number, offset, 1), &format!("sync {location}"));
    }
    is_input_output_error(storage.read(1, 4095, &mut [0; 2]), "read half inside");
    is_input_output_error(storage.write(1, 4095, b"ab"), "write half inside");
    is_input_output_error(storage.sync(1, 4095, 2), "sync half inside");
    assert_eq!(read(storage, 1, 4095, 1), [0], "a refused write leaves nothing");
}

fn what_was_synced_is_there_after_reopening<D: Disks>(disks: &mut D) {
    let mut storage = disks.make();
    storage.create(1, 8192).unwrap();
    storage.create(2, 4096).unwrap();
    storage.create(3, 4096).unwrap();
    storage.write(1, 5000, b"first").unwrap();
    storage.sync(1, 5000, 5).unwrap();
    storage.write(2, 0, b"second").unwrap();
    storage.sync(2, 0, 4096).unwrap();
    storage.remove(3).unwrap();
    storage.prepare(3, 4096);
    let mut storage = disks.reopen(storage);
    assert_eq!(storage.log_files(), Ok(vec![(1, 8192), (2, 4096)]));
    assert_eq!(read(&mut storage, 1, 5000, 5), b"first");
    assert_eq!(read(&mut storage, 2, 0, 6), b"second");
    storage.write(1, 5000, b"again").unwrap();
    storage.sync(1, 0, 8192).unwrap();
    storage.create(3, 4096).unwrap();
    let mut storage = disks.reopen(storage);
    assert_eq!(read(&mut storage, 1, 5000, 5), b"again");
    assert_eq!(read(&mut storage, 3, 0, 4096), vec![0; 4096]);
}

fn there_may_be_many_log_files<D: Disks>(disks: &mut D) {
    const MANY: u64 = 40;
    let mut storage = disks.make();
    for number in 1..=MANY {
        storage.create(number, 4096).unwrap();
        storage.write(number, number, &number.to_le_bytes()).unwrap();
        storage.prepare(number + 1, 4096);
    }
    let mut storage = disks.reopen(storage);
    assert_eq!(storage.log_files(), Ok((1..=MANY).map(|number| (number, 4096)).collect()));
    for number in 1..=MANY {
        assert_eq!(read(&mut storage, number, number, 8), number.to_le_bytes());
    }
    for number in (1..=MANY).rev() {
        storage.remove(number).unwrap();
    }
    assert_eq!(disks.reopen(storage).log_files(), Ok(vec![]));
}

fn what_is_only_prepared_is_gone_after_reopening<D: Disks>(disks: &mut D) {
    let mut storage = disks.make();
    storage.create(1, 4096).unwrap();
    storage.prepare(2, 65536);
    let mut storage = disks.reopen(storage);
    assert_eq!(storage.log_files(), Ok(vec![(1, 4096)]));
    storage.prepare(2, 65536);
    storage.create(2, 65536).unwrap();
    assert_eq!(read(&mut storage, 2, 0, 65536), vec![0; 65536]);
    assert_eq!(disks.reopen(storage).log_files(), Ok(vec![(1, 4096), (2, 65536)]));
}

/// Empty ranges, ranges across pages, unwritten ranges and the whole file.
fn syncs_take_any_range_inside<S: Storage>(storage: &mut S) {
    storage.create(1, 12288).unwrap();
    storage.sync(1, 0, 12288).unwrap();
    storage.write(1, 4090, &[7; 20]).unwrap();
    for (offset, len) in [(0, 0), (12288, 0), (4091, 1), (4095, 2), (1, 12286), (8192, 4096), (0, 12288)] {
        storage.sync(1, offset, len).unwrap();
        assert_eq!(read(storage, 1, 4089, 22), [&[0][..], &[7; 20], &[0]].concat());
    }
}

/// A process ends without a sync: the operating system keeps written bytes.
fn what_was_only_written_is_there_after_reopening<D: Disks>(disks: &mut D) {
    let mut storage = disks.make();
    storage.create(1, 8192).unwrap();
    storage.write(1, 8180, b"never synced").unwrap();
    let mut storage = disks.reopen(storage);
    assert_eq!(read(&mut storage, 1, 8180, 12), b"never synced");
}

fn without_room_there_is_an_error_and_no_log_file<D: Disks>(disks: &mut D) {
    for prepares in [false, true] {
        let Some((mut storage, too_long)) = disks.full() else { return };
        if prepares {
            storage.prepare(1, too_long);
        }
        let error = storage.create(1, too_long).unwrap_err();
        assert_eq!(error.sqlstate, SqlState::DISK_FULL, "{error}");
        assert_eq!(storage.log_files(), Ok(vec![]), "nothing half-made");
        assert_eq!(disks.reopen(storage).log_files(), Ok(vec![]), "nor later");
    }
}

fn what_cannot_be_read_is_an_error<D: Disks>(disks: &mut D) {
    let mut storage = disks.make();
    storage.create(1, 8192).unwrap();
    storage.create(2, 8192).unwrap();
    storage.sync(1, 0, 8192).unwrap();
    if disks.spoil(&mut storage, 1) {
        assert_eq!(storage.log_files(), Ok(vec![(1, 8192), (2, 8192)]));
        is_input_output_error(storage.read(1, 4096, &mut [0; 16]), "a read that the disk refuses");
    }
}

fn the_manifest_is_kept_slot_by_slot<D: Disks>(disks: &mut D) {
    let slot = |fill: u8| [fill; MANIFEST_SLOT_LEN];
    let mut storage = disks.make();
    assert_eq!(storage.manifest(), Ok(None));
    storage.write_manifest(1, &slot(1)).unwrap();
    assert_eq!(storage.manifest(), Ok(Some([slot(0), slot(1)])));
    storage.write_manifest(0, &slot(2)).unwrap();
    let mut storage = disks.reopen(storage);
    assert_eq!(storage.manifest(), Ok(Some([slot(2), slot(1)])));
    storage.write_manifest(0, &slot(3)).unwrap();
    storage.create(1, 4096).unwrap();
    storage.remove(1).unwrap();
    let mut storage = disks.reopen(storage);
    assert_eq!(storage.manifest(), Ok(Some([slot(3), slot(1)])));
    assert_eq!(storage.log_files(), Ok(vec![]), "it is no log file");
}
