//! Damage to durable data (B6): a bit flips, a write goes elsewhere, a write is lost, a read returns old content; and
//! by people and tools: a log file is missing, shortened or empty. One damage per run: a second one could hit the
//! record that is evidence for the first.

use super::{Disk, LogFile, PAGE_BYTES, SECTOR_BYTES, State};
use crate::fault::Fault;
use crate::trace::Mark;

/// Bytes that differ from what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The fault.
    pub fault: Fault,
    /// In which log file.
    pub log_file: u64,
    /// First byte.
    pub offset: usize,
    /// Number of bytes.
    pub len: usize,
}

impl Damage {
    /// Whether it touches a range.
    pub fn touches(&self, log_file: u64, offset: u64, len: usize) -> bool {
        let offset = offset as usize;
        if self.fault == Fault::EmptiedDirectory {
            return true;
        }
        log_file == self.log_file && offset < self.offset + self.len && self.offset < offset + len
    }
}

impl Disk<'_> {
    /// Damages durable data, if a fault of that kind strikes. The process must be down.
    pub fn age(&self) -> Option<Damage> {
        let mut guard = self.state_mut();
        let state = &mut *guard;
        let kinds = [
            Fault::BitRot,
            Fault::MisdirectedWrite,
            Fault::LostWrite,
            Fault::StaleRead,
            Fault::LostLogFile,
            Fault::CutLogFile,
            Fault::EmptiedDirectory,
        ];
        let kind = kinds.into_iter().find(|kind| state.decisions.fault(*kind))?;
        let (damage, what) = match kind {
            Fault::BitRot => (state.flip()?, "one bit has flipped"),
            Fault::MisdirectedWrite => (state.misdirect()?, "another sector's data was written here"),
            Fault::LostWrite => (state.lose_write()?, "the last write-back is lost"),
            Fault::LostLogFile => (state.lose_file()?, "the file is missing"),
            Fault::CutLogFile => (state.cut_file()?, "the file lost its content from there on"),
            Fault::EmptiedDirectory => (state.empty_directory()?, "and all other log files are missing"),
            _ => (state.read_stale()?, "until the start is complete, reads return the earlier content"),
        };
        state.decisions.changed(kind);
        let Damage { fault: _, log_file, offset, len } = damage;
        state.trace.note(
            crate::trace::Actor::Disk,
            Mark::Fault,
            &[log_file, offset as u64, len as u64],
            format_args!("damage in log file {log_file}, {len} bytes from {offset} on: {what}"),
        );
        Some(damage)
    }
}

impl State<'_> {
    /// A log file, and the end of its written part.
    fn pick_log_file(&mut self) -> Option<(u64, usize)> {
        let numbers: Vec<u64> = self.log_files.keys().copied().collect();
        let number = *numbers.get(self.decisions.index(numbers.len().max(1)))?;
        let written = self.log_files[&number].durable.iter().rposition(|b| *b != 0)?;
        Some((number, written + 1))
    }

    fn flip(&mut self) -> Option<Damage> {
        let (number, written) = self.pick_log_file()?;
        let at = self.decisions.index(written);
        let mask = 1 << self.decisions.below(8);
        let log_file = self.log_files.get_mut(&number)?;
        log_file.durable[at] ^= mask;
        log_file.memory[at] ^= mask;
        Some(Damage { fault: Fault::BitRot, log_file: number, offset: at, len: 1 })
    }

    /// A sector's content overwrites another sector, in the written part or just behind it.
    fn misdirect(&mut self) -> Option<Damage> {
        let (from, from_written) = self.pick_log_file()?;
        let (to, to_written) = self.pick_log_file()?;
        let sector = |state: &State<'_>, written: usize| {
            state.decisions.index(written.div_ceil(SECTOR_BYTES)) * SECTOR_BYTES
        };
        let source = sector(self, from_written);
        let target = sector(self, to_written + SECTOR_BYTES);
        let bytes = self.log_files[&from].durable.get(source..source + SECTOR_BYTES)?.to_vec();
        self.overwrite(Fault::MisdirectedWrite, to, target, &bytes)
    }

    /// A page gets its content from before its last write-back.
    fn lose_write(&mut self) -> Option<Damage> {
        let (number, page, before) = self.pick_former_page()?;
        self.overwrite(Fault::LostWrite, number, page * PAGE_BYTES, &before)
    }

    fn read_stale(&mut self) -> Option<Damage> {
        let (number, page, before) = self.pick_former_page()?;
        let offset = page * PAGE_BYTES;
        let len = before.len();
        self.stale = Some((number, offset, before));
        Some(Damage { fault: Fault::StaleRead, log_file: number, offset, len })
    }

    /// A page with its former content.
    fn pick_former_page(&mut self) -> Option<(u64, usize, Box<[u8]>)> {
        let (number, _) = self.pick_log_file()?;
        let log_file = &self.log_files[&number];
        let pages: Vec<usize> = log_file.former.keys().copied().collect();
        let page = *pages.get(self.decisions.index(pages.len().max(1)))?;
        let before = log_file.former[&page].clone();
        (before[..] != log_file.durable[log_file.page(page)]).then_some((number, page, before))
    }

    /// A file, mostly the last one, for which no later record is evidence.
    fn pick_file(&mut self) -> Option<u64> {
        let last = *self.log_files.keys().next_back()?;
        let numbers: Vec<u64> = self.log_files.keys().copied().collect();
        Some(if self.decisions.below(3) < 2 { last } else { self.decisions.pick(&numbers) })
    }

    fn lose_file(&mut self) -> Option<Damage> {
        let number = self.pick_file()?;
        let len = self.log_files.remove(&number)?.memory.len();
        Some(Damage { fault: Fault::LostLogFile, log_file: number, offset: 0, len })
    }

    /// Cut to zero length, to a part of its header or to any length; or filled with zeros.
    fn cut_file(&mut self) -> Option<Damage> {
        let number = self.pick_file()?;
        let len = self.log_files[&number].memory.len();
        let kept = match self.decisions.below(4) {
            0 => 0,
            1 => 10,
            2 => self.decisions.index(len),
            _ => len,
        };
        let mut file = LogFile::new(kept as u64);
        file.memory.copy_from_slice(&self.log_files[&number].memory[..kept]);
        if kept == len {
            file.memory.fill(0);
        }
        file.durable.clone_from(&file.memory);
        self.log_files.insert(number, file);
        let offset = if kept == len { 0 } else { kept };
        Some(Damage { fault: Fault::CutLogFile, log_file: number, offset, len: len - offset })
    }

    fn empty_directory(&mut self) -> Option<Damage> {
        let (last, file) = std::mem::take(&mut self.log_files).pop_last()?;
        self.removed.clear();
        Some(Damage { fault: Fault::EmptiedDirectory, log_file: last, offset: 0, len: file.memory.len() })
    }

    fn overwrite(&mut self, fault: Fault, number: u64, offset: usize, bytes: &[u8]) -> Option<Damage> {
        let log_file: &mut LogFile = self.log_files.get_mut(&number)?;
        let target = log_file.durable.get_mut(offset..offset + bytes.len())?;
        if *target == *bytes {
            return None;
        }
        target.copy_from_slice(bytes);
        log_file.memory[offset..offset + bytes.len()].copy_from_slice(bytes);
        Some(Damage { fault, log_file: number, offset, len: bytes.len() })
    }

    /// Applies a stale read.
    pub(super) fn make_stale(&self, number: u64, offset: usize, into: &mut [u8]) {
        let Some((log_file, at, before)) = &self.stale else { return };
        if *log_file != number {
            return;
        }
        let (from, to) = (offset.max(*at), (offset + into.len()).min(at + before.len()));
        if from < to {
            into[from - offset..to - offset].copy_from_slice(&before[from - at..to - at]);
        }
    }
}
