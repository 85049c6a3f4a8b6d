//! One file of the log: what the process sees of it, what is on the platter, and every version of a page in between. When which version
//! is left lives in `power`.

use std::collections::BTreeMap;

use super::PAGE_BYTES;

/// What a page held after a write, and the number of that write.
pub(super) type Version = (u64, Box<[u8]>);

#[derive(Debug)]
pub(super) struct LogFile {
    /// What the process sees: the page cache.
    pub memory: Vec<u8>,
    /// What is on the platter.
    pub durable: Vec<u8>,
    /// Every version of a page since its last successful sync, oldest first, the platter's not included, each with the number
    /// of the write that made it.
    pub dirty: BTreeMap<usize, Vec<Version>>,
    /// What a page on the platter was before it was last written back.
    pub former: BTreeMap<usize, Box<[u8]>>,
    /// The directory knows it for good.
    pub entry_durable: bool,
    /// What the last power cut did to pages that nobody has written to since, for pictures.
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

    /// What a page held when a sync began, or something newer, reaches the platter.
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
