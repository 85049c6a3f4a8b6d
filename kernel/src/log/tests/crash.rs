//! Crashes: small logs, stopped at every call, with every state that a power cut can leave, and again at every call of
//! the recovery. Recovery always returns an exact prefix that contains all records acknowledged as durable.

use std::collections::BTreeSet;

use super::disk::Disk;
use super::*;

const LEN: u64 = 4096;
/// Most outcomes tested of one crash; of more, evenly spaced ones are.
const OUTCOMES_MAX: usize = 64;
/// The same if each of them is crashed again.
const OUTCOMES_MAX_NESTED: usize = 6;

/// A step of a workload.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Append a batch with a piece of this length.
    Append(usize),
    Sync,
    SyncMarker,
}

/// The acknowledgements of a process.
#[derive(Clone, Debug, Default)]
struct Told {
    appended: Vec<Body>,
    /// Number of durable ones.
    durable: usize,
}

/// A process that ends at its `calls_left`th call after the creation.
fn workload(calls_left: Option<usize>, steps: &[Step]) -> (Disk, Told) {
    let mut told = Told::default();
    let mut writer = create(Disk::default(), DATABASE, 2, 7, LEN, &mut ignore).unwrap().writer;
    *writer.storage_mut() = writer.storage().killed();
    writer.storage_mut().calls_left = calls_left;
    for step in steps {
        if !step_done(&mut writer, *step, &mut told) {
            break;
        }
    }
    (writer.into_storage(), told)
}

fn step_done(writer: &mut LogWriter<Disk>, step: Step, told: &mut Told) -> bool {
    match step {
        Step::Append(len) => {
            let body = batch(told.appended.len() as u8 + 1, len);
            // It may be written even if the call fails.
            told.appended.push(body.clone());
            writer.append(&body.encode(writer.last().next())).is_ok()
        }
        Step::Sync => {
            let appended = told.appended.len();
            let done = writer.sync().is_ok();
            if done {
                told.durable = appended;
            }
            done
        }
        Step::SyncMarker => writer.append(&Body::SyncMarker.encode(writer.last().next())).is_ok(),
    }
}

fn bodies(records: &[Record]) -> Vec<&Body> {
    records.iter().map(|r| &r.body).filter(|body| matches!(body, Body::Commit(..))).collect()
}

fn recover(disk: Disk) -> Result<(Disk, Vec<Record>)> {
    let mut records = Vec::new();
    let opened = open(disk, 9, LEN, &mut |record| {
        records.push(record);
        Ok(())
    })?;
    Ok((opened.writer.into_storage(), records))
}

fn check(told: &Told, records: &[Record]) {
    let found = bodies(records);
    assert!(found.len() >= told.durable, "{} of {} durable records", found.len(), told.durable);
    assert!(found.len() <= told.appended.len());
    assert!(found.iter().zip(&told.appended).all(|(found, told)| *found == told), "an exact prefix");
    assert!(records.iter().zip(1..).all(|(record, sequence)| record.sequence.0 == sequence));
}

fn outcomes(disk: &Disk, max: usize) -> impl Iterator<Item = Disk> {
    let count = disk.outcomes();
    let stride = count.div_ceil(max);
    // The last is the state after the end of the process only.
    let choices: BTreeSet<usize> = (0..count).step_by(stride).chain([count - 1]).collect();
    choices.into_iter().map(|choice| disk.power_cut(choice)).chain([disk.killed()])
}

/// Ends the process at every call; returns the number of recovered states.
fn crash_everywhere(steps: &[Step], outcomes_max: usize, recovery_crashes: bool) -> usize {
    let (whole, _) = workload(None, steps);
    let mut states = 0;
    for calls in 0..=whole.calls {
        let (disk, told) = workload(Some(calls), steps);
        for left in outcomes(&disk, outcomes_max) {
            states += 1;
            let (recovered, records) = recover(left.clone()).expect("nothing is damaged");
            check(&told, &records);
            assert_eq!(recovered.outcomes(), 1, "a recovered log is durable");
            if recovery_crashes {
                states += crash_recovery(&left, recovered.calls, &told);
            }
        }
    }
    states
}

fn crash_recovery(left: &Disk, calls: usize, told: &Told) -> usize {
    let mut states = 0;
    for calls in 0..calls {
        let mut ended = left.clone();
        ended.calls_left = Some(calls);
        // `open` drops the disk when it fails, so the storage itself keeps a copy.
        let kept = Kept::new(ended);
        assert!(open(kept.clone(), 9, LEN, &mut ignore).is_err(), "ended before its last call");
        for left in outcomes(&kept.disk(), OUTCOMES_MAX_NESTED) {
            states += 1;
            let (again, records) = recover(left).expect("nothing is damaged");
            check(told, &records);
            let (_, once_more) = recover(again).expect("nothing is damaged");
            assert_eq!(bodies(&once_more), bodies(&records), "returned records stay");
        }
    }
    states
}

/// A disk that outlives the writer that fails on it.
#[derive(Clone, Debug)]
pub struct Kept(std::rc::Rc<std::cell::RefCell<Disk>>);

impl Kept {
    pub fn new(disk: Disk) -> Kept {
        Kept(std::rc::Rc::new(std::cell::RefCell::new(disk)))
    }

    pub fn disk(&self) -> Disk {
        self.0.borrow().clone()
    }
}

impl Storage for Kept {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        self.0.borrow_mut().log_files()
    }
    fn create(&mut self, number: u64, len: u64) -> Result<()> {
        self.0.borrow_mut().create(number, len)
    }
    fn prepare(&mut self, number: u64, len: u64) {
        self.0.borrow_mut().prepare(number, len);
    }
    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        self.0.borrow_mut().read(number, offset, into)
    }
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        self.0.borrow_mut().write(number, offset, bytes)
    }
    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        self.0.borrow_mut().sync(number, offset, len)
    }
    fn remove(&mut self, number: u64) -> Result<()> {
        self.0.borrow_mut().remove(number)
    }
    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        self.0.borrow_mut().manifest()
    }
    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        self.0.borrow_mut().write_manifest(slot, bytes)
    }
}

use Step::*;

#[test]
fn a_crash_at_any_call_leaves_an_exact_prefix() {
    let logs: [&[Step]; 5] = [
        &[Append(10), Append(500), Append(10)],
        &[Append(700), Sync, Append(10), Append(900), Sync, Append(300), Append(20)],
        &[Append(10), Sync, SyncMarker, Append(400), Sync, SyncMarker],
        // Across the ends of log files, and records longer than one.
        &[Append(1800), Append(1500), Append(1400), Sync, Append(1800), Append(100)],
        &[Append(100), Append(5000), Sync, Append(5000), Append(30)],
    ];
    let states: usize = logs.iter().map(|steps| crash_everywhere(steps, OUTCOMES_MAX, false)).sum();
    assert!(states > 1500, "only {states} states were seen");
}

#[test]
fn a_crash_at_any_call_of_the_recovery_changes_nothing() {
    let logs: [&[Step]; 3] = [
        &[Append(10), Sync, Append(300), Append(100)],
        &[Append(1500), Sync, Append(1900), Append(600)],
        &[Append(3000), Append(900), Sync, Append(200)],
    ];
    let states: usize = logs.iter().map(|steps| crash_everywhere(steps, OUTCOMES_MAX_NESTED, true)).sum();
    assert!(states > 1500, "only {states} states were seen");
}

#[test]
fn a_crash_at_any_call_of_the_creation_leaves_no_log_or_a_whole_one() {
    let whole = create(Disk::default(), DATABASE, 2, 7, LEN, &mut ignore).unwrap().writer.into_storage();
    for calls in 0..whole.calls {
        let kept = Kept::new(Disk::ending_after(calls));
        assert!(create(kept.clone(), DATABASE, 2, 7, LEN, &mut ignore).is_err());
        for mut left in outcomes(&kept.disk(), OUTCOMES_MAX_NESTED) {
            if is_created(&mut left).unwrap() {
                recover(left).unwrap();
            } else {
                create(left, DATABASE, 2, 7, LEN, &mut ignore).unwrap();
            }
        }
    }
}

#[test]
fn the_bytes_of_an_earlier_life_never_chain_on() {
    // Processes of different lengths over the same place: each crash leaves different remains.
    let mut seen = 0;
    for first in [10, 300, 700] {
        for second in [10, 300, 700] {
            let (disk, _) = workload(None, &[Append(first), Append(first), Append(first)]);
            for left in outcomes(&disk, OUTCOMES_MAX_NESTED) {
                let opened = open(left, 9, LEN, &mut ignore).unwrap();
                let mut writer = opened.writer;
                let mut told = Told::default();
                let (_, before) = recover(writer.storage().killed()).unwrap();
                let kept_bodies = bodies(&before).len();
                for step in [Append(second), Sync, Append(second)] {
                    assert!(step_done(&mut writer, step, &mut told));
                }
                for left in outcomes(writer.storage(), OUTCOMES_MAX_NESTED) {
                    let (_, records) = recover(left).unwrap();
                    let later: Vec<_> = bodies(&records)[kept_bodies..].to_vec();
                    assert!(!later.is_empty() && later.len() <= 2);
                    assert!(later.iter().zip(&told.appended).all(|(found, told)| *found == told));
                    seen += 1;
                }
            }
        }
    }
    assert!(seen > 100, "only {seen} states were seen");
}

#[test]
fn records_that_only_memory_holds_after_a_failed_sync_are_written_once_more() {
    let (disk, _) = workload(None, &[Append(900), Sync]);
    let mut writer = open(disk, 9, LEN, &mut ignore).unwrap().writer;
    let mut told = Told::default();
    step_done(&mut writer, Append(700), &mut told);
    writer.storage_mut().next_sync_fails = true;
    assert!(!step_done(&mut writer, Sync, &mut told));
    assert!(writer.append(&batch(1, 1).encode(writer.last().next())).is_err(), "poisoned");
    assert!(writer.sync().is_err(), "poisoned");
    // The process restarts and finds its records in memory. Then the power is cut.
    let (recovered, records) = recover(writer.storage().killed()).unwrap();
    assert_eq!(bodies(&records).len(), 2);
    for left in outcomes(&recovered, OUTCOMES_MAX_NESTED) {
        let (_, after) = recover(left).unwrap();
        assert_eq!(bodies(&after), bodies(&records));
    }
}
