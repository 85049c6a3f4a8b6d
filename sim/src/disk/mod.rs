//! A disk as it really is under an mmap'd log: pages that the operating system may write back at any time and in any order, syncs
//! that cover only their range, power cuts that leave any version of each page, and calls that fail. Implements the kernel's
//! [`Storage`] port. When the process dies, and what is checked afterwards, lives in `world`.

mod damage;

use std::cell::{Ref, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;

use kernel::log::Storage;
use kernel::{Error, ErrorKind, Result};

use crate::counts::counts;
use crate::decide::{Decisions, Rate};
use crate::fault::Fault;
use crate::trace::{Actor, Mark, Trace};

pub use damage::Damage;

/// Unit of write-back.
pub const PAGE_BYTES: usize = 4096;
/// Unit that a device writes as a whole.
pub const SECTOR_BYTES: usize = 512;

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
    /// A sync says that it succeeded and has done nothing. Only a planted bug turns this on: no log survives it.
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
        removed_segments,
        resurrected_segments,
    }
}

/// What a page held after a write, and the number of that write.
type Version = (u64, Box<[u8]>);

#[derive(Debug)]
struct Segment {
    /// What the process sees: the page cache.
    memory: Vec<u8>,
    /// What is on the platter.
    durable: Vec<u8>,
    /// Every version of a page since its last successful sync, oldest first, the platter's not included, each with the number
    /// of the write that made it.
    dirty: BTreeMap<usize, Vec<Version>>,
    /// What a page on the platter was before it was last written back.
    former: BTreeMap<usize, Box<[u8]>>,
    /// The directory knows it for good.
    entry_durable: bool,
    /// What the last power cut did to pages that nobody has written to since, for pictures.
    scars: BTreeMap<usize, char>,
}

impl Segment {
    fn new(len: u64) -> Segment {
        Segment {
            memory: vec![0; len as usize],
            durable: vec![0; len as usize],
            dirty: BTreeMap::new(),
            former: BTreeMap::new(),
            entry_durable: true,
            scars: BTreeMap::new(),
        }
    }

    fn page(&self, page: usize) -> std::ops::Range<usize> {
        page * PAGE_BYTES..((page + 1) * PAGE_BYTES).min(self.memory.len())
    }

    fn write(&mut self, offset: usize, bytes: &[u8], number: u64) {
        if bytes.is_empty() {
            return;
        }
        self.memory[offset..offset + bytes.len()].copy_from_slice(bytes);
        for page in offset / PAGE_BYTES..=(offset + bytes.len() - 1) / PAGE_BYTES {
            let version = self.memory[self.page(page)].into();
            self.dirty.entry(page).or_default().push((number, version));
            self.scars.remove(&page);
        }
    }

    /// See [`Picture::pages`].
    fn page_letter(&self, page: usize, is_syncing: bool) -> char {
        if self.dirty.contains_key(&page) {
            return if is_syncing { 's' } else { 'd' };
        }
        let (memory, durable) = (&self.memory[self.page(page)], &self.durable[self.page(page)]);
        match self.scars.get(&page) {
            Some(scar) => *scar,
            None if memory != durable => '?',
            None if durable.iter().all(|byte| *byte == 0) => '.',
            None => 'D',
        }
    }

    /// Where the records begin that the process sees: from header to header, as long as there is one.
    fn records(&self) -> Vec<(u64, u64)> {
        let number =
            |at: usize| self.memory.get(at..at + 8).map(|b| u64::from_le_bytes(b.try_into().expect("eight")));
        let mut records = Vec::new();
        // The header of a segment is as long as the alignment of records.
        let mut at = kernel::record::ALIGNMENT as usize;
        while self.memory.get(at..at + 4) == Some(b"TMLR") {
            let (Some(sequence), Some(len)) = (number(at + 16), number(at + 40)) else { break };
            records.push((at as u64, sequence));
            let Some(next) = (at as u64 + kernel::record::HEADER_LEN).checked_add(len) else { break };
            at = next.next_multiple_of(kernel::record::ALIGNMENT) as usize;
        }
        records
    }

    /// The dirty pages that a range touches.
    fn dirty_in(&self, offset: usize, len: usize) -> Vec<usize> {
        if len == 0 {
            return Vec::new();
        }
        self.dirty
            .range(offset / PAGE_BYTES..=(offset + len - 1) / PAGE_BYTES)
            .map(|(page, _)| *page)
            .collect()
    }
}

struct State<'a> {
    decisions: Decisions<'a>,
    habits: DiskHabits,
    segments: BTreeMap<u64, Segment>,
    /// Removed, but the directory may not know it yet.
    removed: BTreeMap<u64, Segment>,
    /// The process died inside a call and does not know it.
    dead: Option<Crash>,
    /// The process is recovering: what dies in a call dies of another fault.
    recovering: bool,
    /// A write, sync or create failed: the log must not be touched again in this life.
    failed: bool,
    /// Reads bring what was there before: segment, offset, bytes.
    stale: Option<(u64, usize, Box<[u8]>)>,
    /// Segment, offset and length of the last write.
    last_write: (u64, u64, usize),
    /// Nothing fails in a call for now.
    spared: bool,
    misuse: Option<String>,
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
    /// Segment, first byte and length.
    pub fn range(&self) -> (u64, u64, u64) {
        (self.number, self.offset, self.len)
    }
}

/// When the disk looked how: equal moments, equal looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moment {
    changes: u64,
    syncing: Option<(u64, u64, u64)>,
}

/// How a segment looks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Its number.
    pub number: u64,
    /// A letter a page: `.` nothing but zeros, `d` dirty, `s` being synced, `D` durable, `x` lost and `t` torn at the last power cut,
    /// `?` clean, although memory and disk differ.
    pub pages: String,
    /// Where the records in it begin, and their sequence.
    pub records: Vec<(u64, u64)>,
}

/// A handle to the disk: one for the log, one for the world that cuts its power.
#[derive(Clone)]
pub struct Disk<'a> {
    state: Rc<RefCell<State<'a>>>,
}

impl std::fmt::Debug for Disk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Disk").field("segments", &state.segments.len()).field("dead", &state.dead).finish()
    }
}

impl<'a> Disk<'a> {
    /// An empty disk.
    pub fn new(decisions: Decisions<'a>, habits: DiskHabits) -> Disk<'a> {
        let state = State {
            decisions,
            habits,
            recovering: false,
            segments: BTreeMap::new(),
            removed: BTreeMap::new(),
            dead: None,
            failed: false,
            stale: None,
            last_write: (0, 0, 0),
            spared: false,
            misuse: None,
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

    /// Segment, offset and length of the last write.
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
        match crash {
            Crash::Kill => state.counts.kills += 1,
            Crash::Power => {
                state.counts.power_cuts += 1;
                state.cut_power();
            }
        }
    }

    /// How it looks now, in short.
    pub fn moment(&self, syncing: Option<(u64, u64, u64)>) -> Moment {
        let DiskCounts { writes, syncs, kills, power_cuts, .. } = self.counts();
        let changes = writes + syncs + kills + power_cuts + ((self.state().segments.len() as u64) << 48);
        Moment { changes, syncing }
    }

    /// How it looks now.
    pub fn picture(&self, syncing: Option<(u64, u64, u64)>) -> Vec<Picture> {
        let state = self.state();
        let picture = |(&number, segment): (&u64, &Segment)| {
            let is_syncing = |page: usize| {
                syncing.is_some_and(|(synced, offset, len)| {
                    let pages =
                        offset as usize / PAGE_BYTES..(offset + len).div_ceil(PAGE_BYTES as u64) as usize;
                    synced == number && pages.contains(&page)
                })
            };
            let pages = 0..segment.memory.len().div_ceil(PAGE_BYTES);
            Picture {
                number,
                pages: pages.map(|page| segment.page_letter(page, is_syncing(page))).collect(),
                records: segment.records(),
            }
        };
        state.segments.iter().map(picture).collect()
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
        let segment = state.segment(number, offset, len as usize)?;
        if lies {
            state.note(
                &[number, offset],
                format_args!("a sync of segment {number} does nothing and says that it succeeded"),
            );
            return Ok(());
        }
        for page in segment.dirty_in(offset as usize, len as usize) {
            if !(dies || fails) || decisions.below(2) == 1 {
                settle(segment, page, through_write);
            } else if fails {
                // The page counts as clean although it was not written ("fsyncgate"): it is never written back unless somebody
                // writes into it again. The page cache still shows what the platter does not have.
                segment.dirty.remove(&page);
            }
            // A page that the death of the process found unwritten stays dirty: a power cut decides about it.
        }
        if fails {
            state.counts.sync_failures += 1;
            state.failed = true;
            state.note(
                &[number, offset],
                format_args!("a sync of segment {number} fails: some pages are written, all count as clean"),
            );
            return Err(io(format!("segment {number} cannot be synced")));
        }
        if dies { Err(gone()) } else { Ok(()) }
    }
}

impl State<'_> {
    fn cut_power(&mut self) {
        for (number, segment) in std::mem::take(&mut self.removed) {
            // The directory entry's removal was not synced: the file may be there again.
            if !self.segments.contains_key(&number) && self.decisions.strikes(Fault::ReturnedFile) {
                self.segments.insert(number, segment);
                self.counts.resurrected_segments += 1;
                self.note(&[number], format_args!("segment {number}, which was removed, is there again"));
            }
        }
        self.lose_entries();
        let trace = self.trace.clone();
        for (&number, segment) in &mut self.segments {
            for (page, versions) in std::mem::take(&mut segment.dirty) {
                let range = segment.page(page);
                let torn = self.decisions.fault(Fault::TornSectors);
                let newest = versions.len();
                let platter = segment.durable[range.clone()].to_vec();
                segment.former.insert(page, platter[..].into());
                let version = |n: usize| if n == 0 { &platter[..] } else { &versions[n - 1].1[..] };
                let lost = self.decisions.strikes(Fault::LostPages);
                let chosen = if lost { newest - 1 - self.decisions.index(newest) } else { newest };
                self.counts.pages_lost += u64::from(chosen < newest);
                let target = &mut segment.durable[range];
                target.copy_from_slice(version(chosen));
                trace.note(
                    Actor::Disk,
                    if chosen < newest || torn { Mark::Fault } else { Mark::Detail },
                    &[number, page as u64, chosen as u64, newest as u64, u64::from(torn)],
                    format_args!(
                        "page {page} of segment {number} {}{}",
                        PageFate { chosen, newest },
                        if torn { " and is torn inside" } else { "" }
                    ),
                );
                if chosen < newest || torn {
                    segment.scars.insert(page, if torn { 't' } else { 'x' });
                }
                if !torn {
                    continue;
                }
                self.counts.pages_torn += 1;
                if self.decisions.below(2) == 0 {
                    for at in (0..target.len()).step_by(SECTOR_BYTES) {
                        let sector = at..(at + SECTOR_BYTES).min(target.len());
                        let from = newest - self.decisions.index(newest + 1);
                        target[sector.clone()].copy_from_slice(&version(from)[sector]);
                    }
                } else if chosen < newest {
                    // Written back while the process was copying the next version in.
                    let copied = self.decisions.index(target.len() / 8 + 1) * 8;
                    target[..copied].copy_from_slice(&version(chosen + 1)[..copied]);
                }
                if *target != *version(chosen) {
                    self.decisions.changed(Fault::TornSectors);
                }
            }
            segment.memory.copy_from_slice(&segment.durable);
        }
    }

    /// Files whose names the directory was not yet told for good.
    fn lose_entries(&mut self) {
        let unsure: Vec<u64> =
            self.segments.iter().filter(|(_, s)| !s.entry_durable).map(|(number, _)| *number).collect();
        for number in unsure {
            if self.decisions.strikes(Fault::LostEntry) {
                self.segments.remove(&number);
                self.note(&[number], format_args!("segment {number}, which was just made, is gone"));
            } else if let Some(segment) = self.segments.get_mut(&number) {
                segment.entry_durable = true;
            }
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
        if self.failed && !matches!(call, "segments" | "read" | "prepare") {
            self.misuse.get_or_insert_with(|| format!("{call} after a failed write, sync or create"));
        }
        let death = match (self.recovering, call) {
            (true, _) => Fault::CrashInRecovery,
            (false, "sync") => Fault::CrashInSync,
            (false, _) => Fault::CrashInCall,
        };
        if !self.spared && self.decisions.strikes(death) {
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

    fn segment(&mut self, number: u64, offset: u64, len: usize) -> Result<&mut Segment> {
        let found = self.segments.get_mut(&number);
        let segment = found.ok_or_else(|| io(format!("segment {number} is not there")))?;
        if offset.checked_add(len as u64).is_none_or(|end| end > segment.memory.len() as u64) {
            return Err(io(format!("segment {number} ends before {offset} + {len}")));
        }
        Ok(segment)
    }
}

/// What becomes of a page at a power cut.
struct PageFate {
    /// Version that stays; 0 is what was there before all that was not synced.
    chosen: usize,
    newest: usize,
}

impl std::fmt::Display for PageFate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PageFate { chosen, newest } if chosen == newest => {
                write!(f, "survives although it was not synced")
            }
            PageFate { chosen: 0, .. } => write!(f, "is lost: it keeps what was synced last"),
            PageFate { chosen, newest } => write!(f, "keeps version {chosen} of {newest}"),
        }
    }
}

fn io(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::IoError, text)
}

fn gone() -> Error {
    io("the process is dead")
}

impl Storage for Disk<'_> {
    fn segments(&mut self) -> Result<Vec<(u64, u64)>> {
        let mut state = self.state_mut();
        if state.begin("segments")? {
            return Err(gone());
        }
        if state.fails(Fault::FailedCall) {
            state.note(&[], format_args!("the segments cannot be listed"));
            return Err(io("the segments cannot be listed"));
        }
        Ok(state.segments.iter().map(|(n, s)| (*n, s.memory.len() as u64)).collect())
    }

    fn create(&mut self, number: u64, len: u64) -> Result<()> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        // Segments are made rarely, and much can go wrong meanwhile.
        let mut dies = state.begin("create")?;
        for _ in 0..9 {
            dies = dies || state.begin("create")?;
        }
        if state.segments.contains_key(&number) {
            return Err(io(format!("segment {number} is there already")));
        }
        if !dies && state.fails(Fault::DiskFull) {
            state.counts.no_space += 1;
            state.failed = true;
            state.note(&[number], format_args!("no room for segment {number}"));
            return Err(Error::new(ErrorKind::DiskFull, format!("no room for segment {number}")));
        }
        if dies && state.decisions.below(2) == 0 {
            return Err(gone());
        }
        // Its own name, its length and its zeros are durable together: a file is prepared under another name first.
        state.removed.remove(&number);
        state.segments.insert(number, Segment { entry_durable: !dies, ..Segment::new(len) });
        if dies { Err(gone()) } else { Ok(()) }
    }

    fn prepare(&mut self, _number: u64, _len: u64) {}

    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        if state.begin("read")? {
            return Err(gone());
        }
        if state.fails(Fault::FailedRead) {
            state.counts.read_failures += 1;
            state.note(&[number, offset], format_args!("segment {number} cannot be read at {offset}"));
            return Err(io(format!("segment {number} cannot be read at {offset}")));
        }
        let short = state.fails(Fault::ShortRead);
        let read = if short { state.decisions.index(into.len().max(1)) } else { into.len() };
        let segment = state.segment(number, offset, into.len())?;
        into[..read].copy_from_slice(&segment.memory[offset as usize..offset as usize + read]);
        if short {
            state.note(
                &[number, offset],
                format_args!("a read of segment {number} at {offset} ends after {read} bytes"),
            );
            return Err(io(format!("segment {number} cannot be read to the end at {offset}")));
        }
        state.make_stale(number, offset as usize, into);
        Ok(())
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        let dies = state.begin("write")?;
        let fails = !dies && state.fails(Fault::FailedWrite);
        state.segment(number, offset, bytes.len())?;
        let written = if dies || fails { state.decisions.index(bytes.len() + 1) } else { bytes.len() };
        state.counts.writes += 1;
        state.last_write = (number, offset, bytes.len());
        let version = state.counts.writes;
        state.segment(number, offset, bytes.len())?.write(offset as usize, &bytes[..written], version);
        if fails {
            state.counts.write_failures += 1;
            state.failed = true;
            state.note(&[number, offset], format_args!("a write to segment {number} fails half-way"));
            return Err(io(format!("segment {number} cannot be written at {offset}")));
        }
        if dies { Err(gone()) } else { Ok(()) }
    }

    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        let sync = self.begin_sync(number, offset, len);
        self.end_sync(&sync)
    }

    fn remove(&mut self, number: u64) -> Result<()> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        let dies = state.begin("remove")?;
        if !dies && state.fails(Fault::FailedCall) {
            state.note(&[number], format_args!("segment {number} cannot be removed"));
            return Err(io(format!("segment {number} cannot be removed")));
        }
        if dies && state.decisions.below(2) == 0 {
            return Err(gone());
        }
        let segment =
            state.segments.remove(&number).ok_or_else(|| io(format!("segment {number} is not there")))?;
        state.counts.removed_segments += 1;
        state.removed.insert(number, segment);
        if dies { Err(gone()) } else { Ok(()) }
    }
}

/// What a page held when a sync began, or something newer, reaches the platter.
fn settle(segment: &mut Segment, page: usize, through_write: u64) {
    let range = segment.page(page);
    let Some(versions) = segment.dirty.get_mut(&page) else { return };
    let covered = versions.partition_point(|(write, _)| *write <= through_write);
    if let Some((_, newest)) = versions.drain(..covered).next_back() {
        segment.former.insert(page, segment.durable[range.clone()].into());
        segment.durable[range].copy_from_slice(&newest);
    }
    if versions.is_empty() {
        segment.dirty.remove(&page);
    }
}

#[cfg(test)]
mod tests {
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
}
