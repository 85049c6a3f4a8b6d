//! The model of a disk under an mmap'd log: the operating system may write pages back at any time and in any order,
//! syncs cover only their range, power cuts leave any version of each page, and calls fail. `world` decides when the
//! process dies and checks the result.
//!
//! | Module | Content |
//! |---|---|
//! | here | the handle, a sync in its two halves, and which calls fail or are the last |
//! | `log_file` | a file: page cache, durable content and the versions between them |
//! | `storage` | the kernel's [`kernel::log::Storage`] port |
//! | `power` | what a power cut leaves |
//! | `damage` | damage to durable data |
//! | `picture` | the state of the disk for the explain page |

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

/// How often the process may die in each call before the first sync.
const CREATION_CHANCES: usize = 5;

/// How the process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// The process is killed: the page cache stays.
    Kill,
    /// Power is cut: of what was not synced, any version of each page stays.
    Power,
}

/// Parameters of a disk, besides the faults of the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskHabits {
    /// Share of power cuts among the deaths during a call.
    pub power: Rate,
    /// A sync reports success and does nothing. Only a seeded defect enables this: no log survives it.
    pub lie: Rate,
}

counts! {
    /// Counts of a disk.
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
    /// Its slots, durable: each write returns after its sync.
    manifest: Option<[ManifestSlot; 2]>,
    /// Removed, with a removal that may not be durable.
    removed: BTreeMap<u64, LogFile>,
    /// The process died inside a call.
    dead: Option<Crash>,
    /// The process is recovering: a death in a call is another fault kind.
    recovering: bool,
    /// A write, sync or create failed: the log must not be touched again in this term.
    failed: bool,
    /// Stale content for reads: log file, offset, bytes.
    stale: Option<(u64, usize, Box<[u8]>)>,
    /// Log file, offset and length of the last write.
    last_write: (u64, u64, usize),
    /// Nothing fails in a call for now.
    spared: bool,
    /// A sync has succeeded once: there is durable data.
    synced_once: bool,
    misuse: Option<String>,
    /// A wrong announcement by the log's writer; the port allows it.
    misannounced: Option<String>,
    /// Log files that were announced in this term.
    announced: BTreeSet<u64>,
    /// The last written log file since the log is open, and the end of the written part.
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

    /// With a trace of its events.
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

    /// How the process died inside a call, if it did. The call's error has no reader.
    pub fn died(&self) -> Option<Crash> {
        self.state().dead
    }

    /// A forbidden action of the log.
    pub fn misuse(&self) -> Option<String> {
        self.state().misuse.clone()
    }

    /// A wrong announcement of a log file by the log's writer.
    pub fn misannounced(&self) -> Option<String> {
        self.state().misannounced.clone()
    }

    /// What happened so far.
    pub fn counts(&self) -> DiskCounts {
        self.state().counts
    }

    /// Sets whether the process is recovering: a death in a call is then another fault kind.
    pub fn set_recovering(&self, recovering: bool) {
        let mut state = self.state_mut();
        state.recovering = recovering;
        if !recovering {
            state.stale = None;
        }
    }

    /// Sets whether calls may fail.
    pub fn spare(&self, spared: bool) {
        self.state_mut().spared = spared;
    }

    /// Number of pages that a power cut may revert.
    pub fn dirty_pages(&self) -> usize {
        self.state().log_files.values().map(|log_file| log_file.dirty.len()).sum()
    }

    /// Log file, offset and length of the last write.
    pub fn last_write(&self) -> (u64, u64, usize) {
        self.state().last_write
    }

    /// The process has ended and another one will start: decides the state that it finds.
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

    /// Writes a slot of the manifest and makes it durable. Only its own fault is asked for, so that recordings from
    /// before manifests stay the same runs.
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
        // The first manifest is created whole or not at all.
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

    /// Begins to make a range durable. Later writes are not covered.
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
                format_args!("a sync of log file {number} does nothing and reports success"),
            );
            return Ok(());
        }
        for page in log_file.dirty_in(offset as usize, len as usize) {
            if !(dies || fails) || decisions.below(2) == 1 {
                log_file.settle(page, through_write);
            } else if fails {
                // The page counts as clean although it was not written ("fsyncgate"): it is never written back unless
                // it is written again. The page cache still shows content that is not durable.
                log_file.dirty.remove(&page);
            }
            // A page not yet written at the death of the process stays dirty: a power cut decides about it.
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
    /// How much of an interrupted write is done: as often near its beginning or end, where most fields are, as
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

    /// Begins a call: it may be the last one of this process. Returns true if the process dies in it.
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
        // A log is created once in a run, so failures are more likely then.
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
        let log_file = found.ok_or_else(|| io(format!("log file {number} does not exist")))?;
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
