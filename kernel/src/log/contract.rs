//! What every [`Storage`] promises, as one suite that is run against all of them, the real one and the simulated, so that the
//! simulator's world is held to the real one. What a power cut leaves can only be tried on a simulated one and is not here.

use super::Storage;

/// Runs the suite. `make` makes an empty storage each time; `reopen` gives one up as a process does that ends in order, and
/// takes up what it left.
pub fn storage_contract<S: Storage>(mut make: impl FnMut() -> S, mut reopen: impl FnMut(S) -> S) {
    begins_empty(&mut make());
    a_new_segment_is_zero(&mut make());
    reads_give_what_was_written_before_any_sync(&mut make());
    neighbours_are_left_alone(&mut make());
    segments_are_listed_in_order(&mut make());
    prepared_segments_do_not_show_before_they_are_created(&mut make());
    a_removed_segment_is_gone_and_can_be_made_again(&mut make());
    ranges_outside_are_errors(&mut make());
    what_was_synced_is_there_after_reopening(make(), &mut reopen);
}

fn read<S: Storage>(storage: &mut S, number: u64, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xEE; len];
    storage.read(number, offset, &mut bytes).expect("the range is there");
    bytes
}

fn begins_empty<S: Storage>(storage: &mut S) {
    assert_eq!(storage.segments(), Ok(vec![]));
}

fn a_new_segment_is_zero<S: Storage>(storage: &mut S) {
    storage.create(1, 12288).unwrap();
    assert_eq!(read(storage, 1, 0, 12288), vec![0; 12288]);
    assert_eq!(storage.segments(), Ok(vec![(1, 12288)]));
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
}

fn neighbours_are_left_alone<S: Storage>(storage: &mut S) {
    storage.create(1, 8192).unwrap();
    storage.create(2, 8192).unwrap();
    storage.write(1, 4095, b"ab").unwrap();
    storage.sync(1, 4095, 2).unwrap();
    assert_eq!(read(storage, 1, 4094, 4), [0, b'a', b'b', 0]);
    assert_eq!(read(storage, 2, 0, 8192), vec![0; 8192]);
}

fn segments_are_listed_in_order<S: Storage>(storage: &mut S) {
    for number in [3, 1, 12] {
        storage.create(number, 4096 * number).unwrap();
    }
    assert_eq!(storage.segments(), Ok(vec![(1, 4096), (3, 12288), (12, 49152)]));
    assert!(storage.create(3, 4096).is_err(), "a segment is made once");
    assert_eq!(storage.segments(), Ok(vec![(1, 4096), (3, 12288), (12, 49152)]));
}

fn prepared_segments_do_not_show_before_they_are_created<S: Storage>(storage: &mut S) {
    storage.prepare(1, 8192);
    assert_eq!(storage.segments(), Ok(vec![]));
    storage.create(1, 8192).unwrap();
    assert_eq!(read(storage, 1, 0, 8192), vec![0; 8192]);
    storage.prepare(2, 8192);
    storage.create(2, 16384).unwrap();
    storage.prepare(3, 4096);
    storage.create(4, 4096).unwrap();
    assert_eq!(storage.segments(), Ok(vec![(1, 8192), (2, 16384), (4, 4096)]));
    assert_eq!(read(storage, 2, 0, 16384), vec![0; 16384]);
}

fn a_removed_segment_is_gone_and_can_be_made_again<S: Storage>(storage: &mut S) {
    storage.create(1, 4096).unwrap();
    storage.write(1, 0, b"stale").unwrap();
    storage.remove(1).unwrap();
    assert_eq!(storage.segments(), Ok(vec![]));
    assert!(storage.read(1, 0, &mut [0]).is_err());
    assert!(storage.remove(1).is_err());
    storage.create(1, 8192).unwrap();
    assert_eq!(read(storage, 1, 0, 8192), vec![0; 8192], "nothing of the old one is left");
}

fn ranges_outside_are_errors<S: Storage>(storage: &mut S) {
    storage.create(1, 4096).unwrap();
    for (number, offset) in [(1, 4096), (1, u64::MAX), (2, 0)] {
        assert!(storage.read(number, offset, &mut [0]).is_err(), "read {number} {offset}");
        assert!(storage.write(number, offset, &[0]).is_err(), "write {number} {offset}");
        assert!(storage.sync(number, offset, 1).is_err(), "sync {number} {offset}");
    }
    assert!(storage.write(1, 4095, b"ab").is_err(), "half inside");
    assert_eq!(read(storage, 1, 4095, 1), [0], "a refused write leaves nothing");
}

fn what_was_synced_is_there_after_reopening<S: Storage>(mut storage: S, reopen: &mut impl FnMut(S) -> S) {
    storage.create(1, 8192).unwrap();
    storage.create(2, 4096).unwrap();
    storage.create(3, 4096).unwrap();
    storage.write(1, 5000, b"first").unwrap();
    storage.sync(1, 5000, 5).unwrap();
    storage.write(2, 0, b"second").unwrap();
    storage.sync(2, 0, 4096).unwrap();
    storage.remove(3).unwrap();
    storage.prepare(3, 4096);
    let mut storage = reopen(storage);
    assert_eq!(storage.segments(), Ok(vec![(1, 8192), (2, 4096)]));
    assert_eq!(read(&mut storage, 1, 5000, 5), b"first");
    assert_eq!(read(&mut storage, 2, 0, 6), b"second");
    storage.write(1, 5000, b"again").unwrap();
    storage.sync(1, 0, 8192).unwrap();
    storage.create(3, 4096).unwrap();
    let mut storage = reopen(storage);
    assert_eq!(read(&mut storage, 1, 5000, 5), b"again");
    assert_eq!(read(&mut storage, 3, 0, 4096), vec![0; 4096]);
}
