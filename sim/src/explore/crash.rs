//! Crashes, during recovery too: from the possible contents of the disk to the recovered processes. Recovery depends on
//! the bytes alone, so each content is recovered once.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use kernel::log::{self, LogWriter};
use kernel::{Coordinator, Recovery, Sequence, Shard};

use super::disk::Disk;
use super::scope::Scope;
use super::world::config;
use crate::decide::{Decisions, Odometer};
use crate::oracle::Violation;

/// The result of a recovery.
#[derive(Debug)]
pub struct Recovered {
    /// Its first effects not drained yet.
    pub coordinator: Coordinator,
    /// One each.
    pub shards: Vec<Shard>,
    /// Open.
    pub writer: LogWriter<Disk>,
    /// States of the disk after each step.
    trail: Vec<Disk>,
}

/// A possible end of a crash.
#[derive(Clone, Debug)]
pub struct Ending {
    /// The next process.
    pub recovered: Rc<Recovered>,
    /// Number of crashes.
    pub crashes: u8,
    /// One way to reach it.
    pub story: String,
}

/// By the state of a disk and the remaining crashes.
type Known = HashMap<(u128, u8), Rc<Vec<Ending>>>;

/// Most remembered outcomes. Cleared when there are more.
const REMEMBERED_MAX: usize = 20_000;

/// See the module.
#[derive(Debug)]
pub struct Crashes {
    scope: Scope,
    recovered: RefCell<HashMap<u128, Rc<Recovered>>>,
    outcomes: RefCell<Known>,
    /// Number of recoveries.
    pub recoveries: std::cell::Cell<u64>,
}

impl Crashes {
    /// Without remembered outcomes.
    pub fn new(scope: Scope) -> Crashes {
        Crashes {
            scope,
            recovered: RefCell::default(),
            outcomes: RefCell::default(),
            recoveries: std::cell::Cell::new(0),
        }
    }

    /// All processes that can follow a crash now, with at most this many crashes.
    pub fn outcomes(&self, disk: &Disk, crashes_max: u8) -> Result<Rc<Vec<Ending>>, Violation> {
        let key = (disk.exact(), crashes_max);
        if let Some(known) = self.outcomes.borrow().get(&key) {
            return Ok(known.clone());
        }
        let mut outcomes: Vec<Ending> = vec![];
        let mut ends = BTreeSet::new();
        let mut add = |outcome: Ending| {
            let writer = &outcome.recovered.writer;
            if ends.insert((outcome.crashes, writer.term(), writer.last(), writer.storage().exact())) {
                outcomes.push(outcome);
            }
        };
        for (image, story) in images(disk) {
            let recovered = self.recover(&image)?;
            for (step, state) in recovered.trail.iter().enumerate().filter(|_| crashes_max > 1) {
                for outcome in self.outcomes(state, crashes_max - 1)?.iter() {
                    let story = format!("{story}; {step} steps into recovery, again: {}", outcome.story);
                    add(Ending { crashes: outcome.crashes + 1, story, ..outcome.clone() });
                }
            }
            add(Ending { recovered, crashes: 1, story });
        }
        // In an order that does not depend on hashes.
        outcomes.sort_by_key(|o| (o.crashes, o.recovered.writer.last(), o.recovered.writer.term()));
        let mut remembered = self.outcomes.borrow_mut();
        if remembered.len() > REMEMBERED_MAX {
            remembered.clear();
        }
        let outcomes = Rc::new(outcomes);
        remembered.insert(key, outcomes.clone());
        Ok(outcomes)
    }

    fn recover(&self, image: &Disk) -> Result<Rc<Recovered>, Violation> {
        let key = image.exact();
        if let Some(known) = self.recovered.borrow().get(&key) {
            return Ok(known.clone());
        }
        self.recoveries.set(self.recoveries.get() + 1);
        let recovered = Rc::new(recover(&self.scope, image.clone())?);
        let mut remembered = self.recovered.borrow_mut();
        if remembered.len() > REMEMBERED_MAX {
            remembered.clear();
        }
        remembered.insert(key, recovered.clone());
        Ok(recovered)
    }
}

/// All possible contents of the disk after a crash, each once.
fn images(disk: &Disk) -> Vec<(Disk, String)> {
    let killed = disk.killed();
    let mut seen = BTreeSet::from([killed.exact()]);
    let mut images = vec![(killed, "the process is killed".to_owned())];
    let odometer = Rc::new(RefCell::new(Odometer::new(usize::MAX)));
    loop {
        let decisions = Decisions::new(odometer.clone());
        let mut story = "power cut".to_owned();
        let image = disk.cut(|log_file, page, versions| {
            let kept = decisions.index(versions);
            let what = match kept {
                0 => "keeps the last synced version".to_owned(),
                kept if kept + 1 == versions => "survives".to_owned(),
                kept => format!("keeps version {kept} of {}", versions - 1),
            };
            story += &format!(", page {page} of log file {log_file} {what}");
            kept
        });
        if seen.insert(image.exact()) {
            images.push((image, story));
        }
        if !odometer.borrow_mut().advance() {
            return images;
        }
    }
}

/// The shipped recovery, as a host does it.
fn recover(scope: &Scope, mut disk: Disk) -> Result<Recovered, Violation> {
    let refused =
        |error: kernel::Error| Violation::new("honest", format!("recovery refused the log: {error}"));
    let trail = disk.follow();
    let mut recovery = Recovery::new();
    let mut shards: Vec<Shard> =
        (0..scope.shards).map(|id| Shard::new(kernel::ShardId(id), scope.shards)).collect();
    let mut last = None;
    let mut visitor = |record: kernel::record::Record| {
        recovery.replay(&record)?;
        if let kernel::record::Body::Commit(_, commit) = &record.body {
            for (shard, outcomes) in shards.iter_mut().zip(&commit.outcomes) {
                shard.replay(record.sequence, &commit.catalog, outcomes)?;
            }
        }
        last = Some(record);
        Ok(())
    };
    let opened = log::open(disk, 0, scope.log_file_len, &mut visitor).map_err(refused)?;
    let mut writer = opened.writer;
    writer.storage_mut().unfollow();
    let open = last.expect("the open record at least");
    let views = shards.iter_mut().map(Shard::recovered).collect();
    let coordinator = recovery.finish(config(scope), 0, &open, views).map_err(refused)?;
    let trail = std::mem::take(&mut *trail.lock().expect("no thread panics while holding it"));
    Ok(Recovered { coordinator, shards, writer, trail })
}

impl Recovered {
    /// Last record of the log: this term's `open` record.
    pub fn last(&self) -> Sequence {
        self.writer.last()
    }
}
