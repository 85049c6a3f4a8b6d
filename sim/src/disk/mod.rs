//! A disk as it really is under an mmap'd log: pages that the operating system may write back at any time and in any order, syncs
//! that cover only their range, power cuts that leave any version of each page, and calls that fail. When the process dies, and
//! what is checked afterwards, lives in `world`.
//!
//! | Room | What lives there |
//! |---|---|
//! | here | the handle, a sync in its two halves, and which calls fail or are the last |
//! | [`log_file`] | a file: page cache, platter and the versions between them |
//! | [`storage`] | the kernel's [`kernel::log::Storage`] port |
//! | [`power`] | what a power cut leaves |
//! | [`damage`] | what age does to what is durable |
//! | [`picture`] | how it all looks, for pages that show a run |

mod damage;
mod log_file;
mod picture;
mod power;
mod storage;

use std::cell::{Ref, RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use kernel::log::{MANIFEST_SLOT_LEN, ManifestSlot};
use kernel::{Error, Result, SqlState};

use crate::counts::counts;
use crate::decide::{Decisions, Rate};
use crate::fault::Fault;
use crate::trace::{Actor, Mark, Trace};

pub use damage::Damage;
use log_file::LogFile;
pub use picture::{Moment, Picture};

/// Unit of write-back.
pub const PAGE_BYTES: usize = 4096;
/// Unit that a device writes as a whole.
pub const SECTOR_BYTES: usize = 512;

/// How often it is asked in each call whether the process dies in it, before the first sync.
const CREATION_CHANCES: usize = 5;

/// How the process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// The process is killed: the page cache stays.
    Kill,
    /// Power is cut: of what was not synced, any version of each page stays.
    Power,
}

/// What is peculiar to a disk, beside the faults of the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskHabits {
    /// Of the deaths in the middle of a call, those that are power cuts.
    pub power: Rate,
    /// A sync says that it succeeded and has done nothing. Only a seeded defect turns this on: no log survives it.
    pub lie: Rate,
}

counts! {
    /// What happened on a disk so far.
    DiskCounts {
        writes,
        syncs,
        kills,
        power_cuts,
        crashes_in_a_call,
        pages_lost,
        pages_torn,
        sync_failures,
        write_failures,
        no_space,
        read_failures,
        removed_log_files,
        resurrected_log_files,
        manifests,
        manifests_torn,
    }
}

struct State<'a> {
    decisions: Decisions<'a>,
    habits: DiskHabits,
    log_files: BTreeMap<u64, LogFile>,
    /// Its slots, on the platter: each is synced before its writing returns.
    manifest: Option<[ManifestSlot; 2]>,
    /// Removed, but the directory may not know it yet.
    removed: BTreeMap<u64, LogFile>,
    /// The process died inside a call and does not know it.
    dead: Option<Crash>,
    /// The process is recovering: what dies in a call dies of another fault.
    recovering: bool,
    /// A write, sync or create failed: the log must not be touched again in this life.
    failed: bool,
    /// Reads bring what was there before: log file, offset, bytes.
    stale: Option<(u64, usize, Box<[u8]>)>,
    /// Log file, offset and length of the last write.
    last_write: (u64, u64, usize),
    /// Nothing fails in a call for now.
    spared: bool,
    /// A sync has succeeded once: there is something that must not be lost.
    synced_once: bool,
    misuse: Option<String>,
    /// What the log's writer should not have done; the port allows it.
    misannounced: Option<String>,
    /// Log files that were announced in this life.
    announced: BTreeSet<u64>,
    /// The log file that was last written to since the log is open, and the end of what was written.
    filled: Option<(u64, u64)>,
    counts: DiskCounts,
    trace: Trace,
}

/// A sync that has begun.
#[derive(Clone, Copy, Debug)]
pub struct PendingSync {
    number: u64,
    offset: u64,
    len: u64,
    through_write: u64,
}

impl PendingSync {
    /// Log file, first byte and length.
    pub fn range(&self) -> (u64, u64, u64) {
        (self.number, self.offset, self.len)
    }
}

/// A handle to the disk: one for the log, one for the world that cuts its power.
#[derive(Clone)]
pub struct Disk<'a> {
    state: Rc<RefCell<State<'a>>>,
}

impl std::fmt::Debug for Disk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Disk").field("log files", &state.log_files.len()).field("dead", &state.dead).finish()
    }
}

impl<'a> Disk<'a> {
    /// An empty disk.
    pub fn new(decisions: Decisions<'a>, habits: DiskHabits) -> Disk<'a> {
        let state = State {
            decisions,
            habits,
            recovering: false,
            log_files: BTreeMap::new(),
            manifest: None,
            removed: BTreeMap::new(),
            dead: None,
            failed: false,
            stale: None,
            last_write: (0, 0, 0),
            spared: false,
            synced_once: false,
            misuse: None,
            misannounced: None,
            announced: BTreeSet::new(),
            filled: None,
            counts: DiskCounts::default(),
            trace: Trace::default(),
        };
        Disk { state: Rc::new(RefCell::new(state)) }
    }

    /// Tells what happens to it.
    pub fn traced(self, trace: Trace) -> Disk<'a> {
        self.state_mut().trace = trace;
        self
    }

    fn state(&self) -> Ref<'_, State<'a>> {
        self.state.borrow()
    }

    fn state_mut(&self) -> RefMut<'_, State<'a>> {
        self.state.borrow_mut()
    }

    /// How the process died inside a call, if it did. The call came back with an error that nobody was there to read.
    pub fn died(&self) -> Option<Crash> {
        self.state().dead
    }

    /// What the log did that it must never do.
    pub fn misuse(&self) -> Option<String> {
        self.state().misuse.clone()
    }

    /// How the log's writer announced a log file otherwise than it says that it does.
    pub fn misannounced(&self) -> Option<String> {
        self.state().misannounced.clone()
    }

    /// What happened so far.
    pub fn counts(&self) -> DiskCounts {
        self.state().counts
    }

    /// From now on the process recovers, or it does not: what dies in a call dies of another fault.
    pub fn set_recovering(&self, recovering: bool) {
        let mut state = self.state_mut();
        state.recovering = recovering;
        if !recovering {
            state.stale = None;
        }
    }

    /// From now on nothing fails in a call, or it may again.
    pub fn spare(&self, spared: bool) {
        self.state_mut().spared = spared;
    }

    /// Pages that a power cut may take back.
    pub fn dirty_pages(&self) -> usize {
        self.state().log_files.values().map(|log_file| log_file.dirty.len()).sum()
    }

    /// Log file, offset and length of the last write.
    pub fn last_write(&self) -> (u64, u64, usize) {
        self.state().last_write
    }

    /// The process is gone and another one is about to start: what it will find is decided here.
    pub fn restart(&self, crash: Crash) {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        state.dead = None;
        state.failed = false;
        state.stale = None;
        state.announced.clear();
        state.filled = None;
        match crash {
            Crash::Kill => state.counts.kills += 1,
            Crash::Power => {
                state.counts.power_cuts += 1;
                state.cut_power();
            }
        }
    }

    /// Writes a slot of the manifest and makes it durable. Nothing else than its own fault is asked for: what was recorded before
    /// there were manifests is still the same run.
    pub fn put_manifest(&self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        if state.dead.is_some() {
            return Err(gone());
        }
        if state.failed {
            state.misuse.get_or_insert("a manifest after a failed write, sync or create".to_owned());
        }
        state.counts.manifests += 1;
        if !state.fails(Fault::TornManifest) {
            state.manifest.get_or_insert([[0; MANIFEST_SLOT_LEN]; 2])[slot] = *bytes;
            return Ok(());
        }
        state.counts.manifests_torn += 1;
        let written = state.bytes_written_of(bytes.len());
        // The first comes to be whole or not at all.
        if let Some(slots) = &mut state.manifest {
            slots[slot][..written].copy_from_slice(&bytes[..written]);
        }
        if state.decisions.below(2) == 0 {
            state.failed = true;
            state.note(&[written as u64], format_args!("a manifest cannot be written after {written} bytes"));
            return Err(io("the manifest cannot be written"));
        }
        let power = state.decisions.chance(state.habits.power);
        state.dead = Some(if power { Crash::Power } else { Crash::Kill });
        state.counts.crashes_in_a_call += 1;
        state.note(&[written as u64], format_args!("the process ends after {written} bytes of a manifest"));
        Err(gone())
    }

    /// Begins to make a range durable. What is written from now on is not covered.
    pub fn begin_sync(&self, number: u64, offset: u64, len: u64) -> PendingSync {
        PendingSync { number, offset, len, through_write: self.state().counts.writes }
    }

    /// Ends it.
    pub fn end_sync(&self, sync: &PendingSync) -> Result<()> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        let &PendingSync { number, offset, len, through_write } = sync;
        let dies = state.begin("sync")?;
        let fails = !dies && state.fails(Fault::FailedSync);
        let lies = !dies && !fails && state.decisions.activity(state.habits.lie);
        state.counts.syncs += 1;
        let decisions = state.decisions.clone();
        let log_file = state.log_file(number, offset, len as usize)?;
        if lies {
            state.note(
                &[number, offset],
                format_args!("a sync of log file {number} does nothing and says that it succeeded"),
            );
            return Ok(());
        }
        for page in log_file.dirty_in(offset as usize, len as usize) {
            if !(dies || fails) || decisions.below(2) == 1 {
                log_file.settle(page, through_write);
            } else if fails {
                // The page counts as clean although it was not written ("fsyncgate"): it is never written back unless somebody
                // writes into it again. The page cache still shows what the platter does not have.
                log_file.dirty.remove(&page);
            }
            // A page that the death of the process found unwritten stays dirty: a power cut decides about it.
        }
        if fails {
            state.counts.sync_failures += 1;
            state.failed = true;
            state.note(
                &[number, offset],
                format_args!("a sync of log file {number} fails: some pages are written, all count as clean"),
            );
            return Err(io(format!("log file {number} cannot be synced")));
        }
        if dies {
            return Err(gone());
        }
        state.synced_once = true;
        Ok(())
    }
}

impl State<'_> {
    /// How much of a write is done when it ends in the midst: as often at its beginning or its end, where most fields are, as
    /// anywhere.
    fn bytes_written_of(&self, len: usize) -> usize {
        let few = || self.decisions.index(len.min(16) + 1);
        match self.decisions.below(3) {
            0 => self.decisions.index(len + 1),
            1 => few(),
            _ => len - few(),
        }
    }

    /// Whether a call fails.
    fn fails(&self, kind: Fault) -> bool {
        !self.spared && self.decisions.strikes(kind)
    }

    fn note(&self, facts: &[u64], text: std::fmt::Arguments<'_>) {
        self.trace.note(Actor::Disk, Mark::Fault, facts, text);
    }

    /// Begins a call: it may be the last thing that this process does. Returns true if the process dies in it.
    fn begin(&mut self, call: &str) -> Result<bool> {
        if self.dead.is_some() {
            return Err(gone());
        }
        if self.failed && !matches!(call, "log files" | "read" | "prepare") {
            self.misuse.get_or_insert_with(|| format!("{call} after a failed write, sync or create"));
        }
        let death = match (self.recovering, call) {
            (true, _) => Fault::CrashInRecovery,
            (false, "sync") => Fault::CrashInSync,
            (false, _) => Fault::CrashInCall,
        };
        // A log is created once in a run: much can go wrong meanwhile.
        let chances = if self.synced_once { 1 } else { CREATION_CHANCES };
        if !self.spared && (0..chances).any(|_| self.decisions.strikes(death)) {
            let power = self.decisions.chance(self.habits.power);
            self.dead = Some(if power { Crash::Power } else { Crash::Kill });
            self.counts.crashes_in_a_call += 1;
            self.note(
                &[u64::from(power)],
                format_args!("the process ends in the middle of a call to {call}"),
            );
            return Ok(true);
        }
        Ok(false)
    }

    fn log_file(&mut self, number: u64, offset: u64, len: usize) -> Result<&mut LogFile> {
        let found = self.log_files.get_mut(&number);
        let log_file = found.ok_or_else(|| io(format!("log file {number} is not there")))?;
        if offset.checked_add(len as u64).is_none_or(|end| end > log_file.memory.len() as u64) {
            return Err(io(format!("log file {number} ends before {offset} + {len}")));
        }
        Ok(log_file)
    }
}

fn io(text: impl Into<String>) -> Error {
    Error::new(SqlState::IO_ERROR, text)
}

fn gone() -> Error {
    io("the process is dead")
}

#[cfg(test)]
mod tests;
