//! Log files in memory, for tests, benchmarks and engines without a data directory. Every write counts as durable at
//! once.

use std::collections::BTreeMap;

use super::{MANIFEST_SLOT_LEN, ManifestSlot, Storage};
use crate::error::{Error, Result, SqlState};

/// Log files in memory.
#[derive(Clone, Debug, Default)]
pub struct MemStorage {
    log_files: BTreeMap<u64, Vec<u8>>,
    manifest: Option<[ManifestSlot; 2]>,
}

impl MemStorage {
    /// No log files.
    pub fn new() -> MemStorage {
        MemStorage::default()
    }

    /// The bytes of a log file, for tests that damage them.
    pub fn log_file_mut(&mut self, number: u64) -> Option<&mut Vec<u8>> {
        self.log_files.get_mut(&number)
    }

    /// The manifest's slots, for tests that damage or remove them.
    pub fn manifest_mut(&mut self) -> &mut Option<[ManifestSlot; 2]> {
        &mut self.manifest
    }

    fn range(&mut self, number: u64, offset: u64, len: u64) -> Result<&mut [u8]> {
        let log_file = self.log_files.get_mut(&number).ok_or_else(|| outside(number, offset, len))?;
        let end = offset.checked_add(len).filter(|end| *end <= log_file.len() as u64);
        let end = end.ok_or_else(|| outside(number, offset, len))?;
        Ok(&mut log_file[offset as usize..end as usize])
    }
}

fn outside(number: u64, offset: u64, len: u64) -> Error {
    Error::new(SqlState::IO_ERROR, format!("log file {number} has no bytes {offset}+{len}"))
}

impl Storage for MemStorage {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        Ok(self.log_files.iter().map(|(number, bytes)| (*number, bytes.len() as u64)).collect())
    }

    fn create(&mut self, number: u64, len: u64) -> Result<()> {
        if self.log_files.contains_key(&number) {
            return Err(Error::new(SqlState::IO_ERROR, format!("log file {number} exists already")));
        }
        self.log_files.insert(number, vec![0; len as usize]);
        Ok(())
    }

    fn prepare(&mut self, _number: u64, _len: u64) {}

    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        into.copy_from_slice(self.range(number, offset, into.len() as u64)?);
        Ok(())
    }

    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()> {
        self.range(number, offset, bytes.len() as u64)?.copy_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()> {
        self.range(number, offset, len).map(|_| ())
    }

    fn remove(&mut self, number: u64) -> Result<()> {
        self.log_files.remove(&number).map(|_| ()).ok_or_else(|| outside(number, 0, 0))
    }

    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        Ok(self.manifest)
    }

    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        self.manifest.get_or_insert([[0; MANIFEST_SLOT_LEN]; 2])[slot] = *bytes;
        Ok(())
    }
}
