//! Long random runs, compared call by call with a map that gives the expected result. The runs are the same for every
//! implementation, so that two implementations that pass agree on each of these calls.

use std::collections::BTreeMap;

use super::Disks;
use crate::error::{Result, SqlState};
use crate::log::Storage;

const LIVES: u64 = 4;
const CALLS: u64 = 120;
/// Log files have numbers up to this.
const NUMBER_MAX: u64 = 5;

/// Pseudo-random numbers that are the same everywhere (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

type Model = BTreeMap<u64, Vec<u8>>;

pub(super) fn check<D: Disks>(disks: &mut D) {
    for seed in 0..LIVES {
        let mut draw = Draw(seed);
        let (mut storage, mut model) = (disks.make(), Model::new());
        for call in 0..CALLS {
            let context = format!("run {seed}, call {call}");
            if draw.below(15) == 0 {
                storage = disks.reopen(storage);
            } else {
                step(&mut storage, &mut model, &mut draw, &context);
            }
            let listed = model.iter().map(|(number, bytes)| (*number, bytes.len() as u64)).collect();
            assert_eq!(storage.log_files(), Ok(listed), "{context}");
        }
        for (number, bytes) in &model {
            assert_eq!(
                super::read(&mut storage, *number, 0, bytes.len()),
                *bytes,
                "run {seed} left {number}"
            );
        }
    }
}

fn step<S: Storage>(storage: &mut S, model: &mut Model, draw: &mut Draw, context: &str) {
    let number = 1 + draw.below(NUMBER_MAX);
    // Mostly near the boundary of a page, sometimes beyond the end.
    let offset = draw.below(5) * 4096 + draw.below(40).saturating_sub(20);
    let len = [0, 1, 30, 512, 5000][draw.below(5) as usize];
    let location = |model: &Model| {
        let end = offset as usize + len;
        model.get(&number).is_some_and(|bytes| end <= bytes.len()).then_some(offset as usize..end)
    };
    let same = |result: Result<()>, fits: bool, call: &str| {
        let kind = result.map_err(|error| error.sqlstate);
        let expected = if fits { Ok(()) } else { Err(SqlState::IO_ERROR) };
        assert_eq!(kind, expected, "{context}: {call} {number} {offset}+{len}");
    };
    match draw.below(12) {
        0 | 1 => {
            let len = [4096, 4608, 16384][draw.below(3) as usize];
            let is_new = !model.contains_key(&number);
            same(storage.create(number, len), is_new, "create");
            model.entry(number).or_insert_with(|| vec![0; len as usize]);
        }
        2 => storage.prepare(number, [4096, 4608, 16384][draw.below(3) as usize]),
        3 => same(storage.remove(number), model.remove(&number).is_some(), "remove"),
        4 | 5 => same(storage.sync(number, offset, len as u64), location(model).is_some(), "sync"),
        6 | 7 => {
            let mut into = vec![0; len];
            let range = location(model);
            same(storage.read(number, offset, &mut into), range.is_some(), "read");
            if let Some(range) = range {
                assert_eq!(into, model[&number][range], "{context}: read {number} {offset}+{len}");
            }
        }
        _ => {
            let bytes: Vec<u8> = (0..len).map(|_| draw.below(256) as u8).collect();
            let range = location(model);
            same(storage.write(number, offset, &bytes), range.is_some(), "write");
            if let (Some(range), Some(log_file)) = (range, model.get_mut(&number)) {
                log_file[range].copy_from_slice(&bytes);
            }
        }
    }
}
