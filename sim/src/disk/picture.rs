//! The state of the disk for the explain page. Read-only.

use super::log_file::LogFile;
use super::{Disk, DiskCounts, PAGE_BYTES};

/// Identifies a state of the disk: equal moments have equal pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Moment {
    changes: u64,
    syncing: Option<(u64, u64, u64)>,
}

/// The picture of a log file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Its number.
    pub number: u64,
    /// One letter per page: `.` nothing but zeros, `d` dirty, `s` being synced, `D` durable, `x` lost and `t` torn at
    /// the last power cut, `?` clean, although memory and disk differ.
    pub pages: String,
    /// Offsets of its records, and their sequences.
    pub records: Vec<(u64, u64)>,
}

impl Disk<'_> {
    /// The current moment.
    pub fn moment(&self, syncing: Option<(u64, u64, u64)>) -> Moment {
        let DiskCounts { writes, syncs, kills, power_cuts, .. } = self.counts();
        let changes = writes + syncs + kills + power_cuts + ((self.state().log_files.len() as u64) << 48);
        Moment { changes, syncing }
    }

    /// The current pictures.
    pub fn picture(&self, syncing: Option<(u64, u64, u64)>) -> Vec<Picture> {
        let state = self.state();
        let picture = |(&number, log_file): (&u64, &LogFile)| {
            let is_syncing = |page: usize| {
                syncing.is_some_and(|(synced, offset, len)| {
                    let pages =
                        offset as usize / PAGE_BYTES..(offset + len).div_ceil(PAGE_BYTES as u64) as usize;
                    synced == number && pages.contains(&page)
                })
            };
            let pages = 0..log_file.memory.len().div_ceil(PAGE_BYTES);
            Picture {
                number,
                pages: pages.map(|page| log_file.page_letter(page, is_syncing(page))).collect(),
                records: log_file.records(),
            }
        };
        state.log_files.iter().map(picture).collect()
    }
}

impl LogFile {
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

    /// Offsets of the records in the page cache, from header to header.
    fn records(&self) -> Vec<(u64, u64)> {
        let number =
            |at: usize| self.memory.get(at..at + 8).map(|b| u64::from_le_bytes(b.try_into().expect("eight")));
        let mut records = Vec::new();
        // The header of a log file is as long as the alignment of records.
        let mut at = kernel::record::ALIGNMENT as usize;
        while self.memory.get(at..at + 4) == Some(b"TMLR") {
            let (Some(sequence), Some(len)) = (number(at + 16), number(at + 40)) else { break };
            records.push((at as u64, sequence));
            let Some(next) = (at as u64 + kernel::record::HEADER_LEN).checked_add(len) else { break };
            at = next.next_multiple_of(kernel::record::ALIGNMENT) as usize;
        }
        records
    }
}
