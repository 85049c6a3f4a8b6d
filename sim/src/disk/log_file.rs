//! One log file: the process's view, the durable content, and every version of a page in between. `power` decides which
//! version survives.

use std::collections::BTreeMap;

use super::PAGE_BYTES;

/// A page's content after a write, and the number of that write.
pub(super) type Version = (u64, Box<[u8]>);

#[derive(Debug)]
pub(super) struct LogFile {
    /// The page cache: the process's view.
    pub memory: Vec<u8>,
    /// The durable content.
    pub durable: Vec<u8>,
    /// Every version of a page since its last successful sync, oldest first, without the durable one, each with the
    /// number of its write.
    pub dirty: BTreeMap<usize, Vec<Version>>,
    /// A durable page's content before its last write-back.
    pub former: BTreeMap<usize, Box<[u8]>>,
    /// Its directory entry is durable.
    pub entry_durable: bool,
    /// Effects of the last power cut on pages not written since, for pictures.
    pub scars: BTreeMap<usize, char>,
}

impl LogFile {
    pub fn new(len: u64) -> LogFile {
        LogFile {
            memory: vec![0; len as usize],
            durable: vec![0; len as usize],
            dirty: BTreeMap::new(),
            former: BTreeMap::new(),
            entry_durable: true,
            scars: BTreeMap::new(),
        }
    }

    pub fn page(&self, page: usize) -> std::ops::Range<usize> {
        page * PAGE_BYTES..((page + 1) * PAGE_BYTES).min(self.memory.len())
    }

    pub fn write(&mut self, offset: usize, bytes: &[u8], number: u64) {
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

    /// The dirty pages that a range touches.
    pub fn dirty_in(&self, offset: usize, len: usize) -> Vec<usize> {
        if len == 0 {
            return Vec::new();
        }
        self.dirty
            .range(offset / PAGE_BYTES..=(offset + len - 1) / PAGE_BYTES)
            .map(|(page, _)| *page)
            .collect()
    }

    /// Makes durable a page's content at the start of a sync, or a newer version.
    pub fn settle(&mut self, page: usize, through_write: u64) {
        let range = self.page(page);
        let Some(versions) = self.dirty.get_mut(&page) else { return };
        let covered = versions.partition_point(|(write, _)| *write <= through_write);
        if let Some((_, newest)) = versions.drain(..covered).next_back() {
            self.former.insert(page, self.durable[range.clone()].into());
            self.durable[range].copy_from_slice(&newest);
        }
        if versions.is_empty() {
            self.dirty.remove(&page);
        }
    }
}
