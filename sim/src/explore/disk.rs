//! A disk of pages that is cheap to copy: after a power cut each page may hold any of its versions since its last sync.
//! Sectors, bit rot and failing calls are left to the seeded simulator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use kernel::error::{Error, SqlState};
use kernel::log::{MANIFEST_SLOT_LEN, ManifestSlot, Storage, SyncRange};
use xxhash_rust::xxh3::Xxh3;

/// Contents of a page.
type Bytes = Arc<[u8]>;

/// A page that was written to.
#[derive(Clone, Debug)]
struct Page {
    /// Possible durable versions, oldest first; the last is in memory.
    versions: Vec<Bytes>,
    /// The operation that wrote the last version.
    operation: u64,
    /// The version that the running sync makes durable.
    covered: Option<usize>,
}

/// See the module.
#[derive(Clone)]
pub struct Disk {
    page_len: usize,
    zeros: Bytes,
    log_files: BTreeMap<u64, Vec<Arc<Page>>>,
    /// Written whole or not at all: torn manifests are left to the seeded simulator.
    manifest: Option<[ManifestSlot; 2]>,
    operation: u64,
    whole_appends: bool,
    /// States after each operation are kept here.
    trail: Option<Trail>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "disk {:032x}", self.exact())
    }
}

/// States that a disk went through.
pub type Trail = Arc<Mutex<Vec<Disk>>>;

impl Disk {
    /// An empty disk.
    pub fn new(page_len: u64, whole_appends: bool) -> Disk {
        let page_len = page_len as usize;
        Disk {
            page_len,
            zeros: vec![0; page_len].into(),
            log_files: BTreeMap::new(),
            manifest: None,
            operation: 0,
            whole_appends,
            trail: None,
        }
    }

    /// The modulus for the end of the log in fingerprints: a page, as long as there is one log file.
    pub fn modulus(&self) -> u64 {
        let one = self.log_files.len() == 1;
        if one { self.page_len as u64 } else { u64::MAX }
    }

    /// Remembers every state from here on, this one included.
    pub fn follow(&mut self) -> Trail {
        let trail = Trail::default();
        self.trail = Some(trail.clone());
        self.left();
        trail
    }

    /// Remembers no more.
    pub fn unfollow(&mut self) {
        self.trail = None;
    }

    fn left(&self) {
        if let Some(trail) = &self.trail {
            let state = Disk { trail: None, ..self.clone() };
            trail.lock().expect("no thread panics while holding it").push(state);
        }
    }

    /// Later writes belong to one append.
    pub fn begin_append(&mut self) {
        self.operation += 1;
    }

    /// Begins a sync that covers all writes so far.
    pub fn begin_sync(&mut self, range: SyncRange) {
        self.operation += 1;
        for page in self.pages(range) {
            page.covered = Some(page.versions.len() - 1);
        }
    }

    /// Ends it.
    pub fn end_sync(&mut self, range: SyncRange) {
        for page in self.pages(range) {
            if let Some(covered) = page.covered.take() {
                page.versions.drain(..covered);
            }
        }
    }

    fn pages(&mut self, range: SyncRange) -> impl Iterator<Item = &mut Page> {
        let first = range.offset as usize / self.page_len;
        let end = ((range.offset + range.len) as usize).div_ceil(self.page_len);
        let pages = self.log_files.get_mut(&range.log_file).expect("the synced log file exists");
        pages[first..end].iter_mut().map(Arc::make_mut)
    }

    /// Pages that are not durable, with the number of versions that each may have.
    pub fn dirty(&self) -> Vec<(u64, usize, usize)> {
        let all = self.log_files.iter().flat_map(|(log_file, pages)| {
            pages.iter().enumerate().map(move |(at, page)| (*log_file, at, page.versions.len()))
        });
        all.filter(|(_, _, versions)| *versions > 1).collect()
    }

    /// Cuts the power: each dirty page holds the version that `choose` selects from their number.
    pub fn cut(&self, mut choose: impl FnMut(u64, usize, usize) -> usize) -> Disk {
        let mut after = self.clone();
        for (log_file, at, versions) in self.dirty() {
            let kept = choose(log_file, at, versions);
            let page = &mut after.log_files.get_mut(&log_file).expect("just seen")[at];
            let bytes = page.versions[kept].clone();
            *page = Arc::new(Page { versions: vec![bytes], operation: 0, covered: None });
        }
        after.killed()
    }

    /// Kills the process: its writes stay, still volatile.
    pub fn killed(&self) -> Disk {
        let mut after = self.clone();
        for page in after.log_files.values_mut().flatten().filter(|page| page.covered.is_some()) {
            Arc::make_mut(page).covered = None;
        }
        after.operation += 1;
        after
    }

    /// Hash of all possible contents, byte for byte.
    pub fn exact(&self) -> u128 {
        let mut hash = Xxh3::new();
        self.manifest.iter().flatten().for_each(|slot| hash.update(slot));
        for (log_file, pages) in &self.log_files {
            hash.update(&log_file.to_le_bytes());
            for (at, page) in pages.iter().enumerate() {
                if page.versions.len() == 1 && Arc::ptr_eq(&page.versions[0], &self.zeros) {
                    continue;
                }
                hash.update(&[at as u8, page.versions.len() as u8, page.covered.map_or(0, |c| c as u8 + 1)]);
                page.versions.iter().for_each(|version| hash.update(version));
            }
        }
        hash.digest128()
    }

    fn page_error(&self, number: u64, offset: u64) -> Error {
        Error::new(SqlState::IO_ERROR, format!("log file {number} has no bytes at {offset}"))
    }
}

impl Storage for Disk {
    fn log_files(&mut self) -> kernel::Result<Vec<(u64, u64)>> {
        let page_len = self.page_len as u64;
        Ok(self.log_files.iter().map(|(number, pages)| (*number, pages.len() as u64 * page_len)).collect())
    }

    fn create(&mut self, number: u64, len: u64) -> kernel::Result<()> {
        let empty = Arc::new(Page { versions: vec![self.zeros.clone()], operation: 0, covered: None });
        self.log_files.insert(number, vec![empty; len as usize / self.page_len]);
        self.left();
        Ok(())
    }

    fn prepare(&mut self, _number: u64, _len: u64) {}

    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> kernel::Result<()> {
        let pages = self.log_files.get(&number).ok_or_else(|| self.page_error(number, offset))?;
        let (mut at, mut done) = (offset as usize, 0);
        while done < into.len() {
            let page = pages.get(at / self.page_len).ok_or_else(|| self.page_error(number, offset))?;
            let start = at % self.page_len;
            let len = (self.page_len - start).min(into.len() - done);
            let bytes = page.versions.last().expect("a page has contents");
            into[done..done + len].copy_from_slice(&bytes[start..start + len]);
            (at, done) = (at + len, done + len);
        }
        Ok(())
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> kernel::Result<()> {
        if !self.whole_appends || self.trail.is_some() {
            self.operation += 1;
        }
        let error = self.page_error(number, offset);
        let (page_len, operation) = (self.page_len, self.operation);
        let pages = self.log_files.get_mut(&number).ok_or_else(|| error.clone())?;
        let (mut at, mut rest) = (offset as usize, bytes);
        while !rest.is_empty() {
            let page = pages.get_mut(at / page_len).ok_or_else(|| error.clone())?;
            let start = at % page_len;
            let (here, later) = rest.split_at((page_len - start).min(rest.len()));
            let last = page.versions.last().expect("a page has contents");
            if last[start..start + here.len()] != *here {
                let mut version = last.to_vec();
                version[start..start + here.len()].copy_from_slice(here);
                let page = Arc::make_mut(page);
                if page.operation == operation && page.versions.len() > 1 {
                    page.versions.pop();
                }
                page.versions.push(version.into());
                page.operation = operation;
            }
            (at, rest) = (at + here.len(), later);
        }
        self.left();
        Ok(())
    }

    fn sync(&mut self, log_file: u64, offset: u64, len: u64) -> kernel::Result<()> {
        let range = SyncRange { log_file, offset, len };
        self.begin_sync(range);
        self.end_sync(range);
        self.left();
        Ok(())
    }

    fn remove(&mut self, number: u64) -> kernel::Result<()> {
        self.log_files.remove(&number);
        self.left();
        Ok(())
    }

    fn manifest(&mut self) -> kernel::Result<Option<[ManifestSlot; 2]>> {
        Ok(self.manifest)
    }

    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> kernel::Result<()> {
        self.manifest.get_or_insert([[0; MANIFEST_SLOT_LEN]; 2])[slot] = *bytes;
        self.left();
        Ok(())
    }
}
