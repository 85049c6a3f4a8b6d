//! Read-only access to log files: with pread and without the lock. For replay and inspection of a data directory that
//! no process writes to meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use kernel::log::{ManifestSlot, Storage};
use kernel::{Error, Result, SqlState};

use crate::failed;
use crate::manifest::ManifestFile;
use crate::storage::Name;

/// The log files of a data directory. Every change is refused.
#[derive(Debug)]
pub struct LogFiles {
    log_files: BTreeMap<u64, (File, u64)>,
    manifest: ManifestFile,
}

impl LogFiles {
    /// Finds the log files of a directory.
    pub fn open(directory: &Path) -> Result<LogFiles> {
        let mut log_files = BTreeMap::new();
        for entry in fs::read_dir(directory).map_err(|e| failed("list", directory, e))? {
            let path = entry.map_err(|e| failed("list", directory, e))?.path();
            if let Some(Name::LogFile(number)) = Name::of(&path) {
                let file = File::open(&path).map_err(|e| failed("open", &path, e))?;
                let len = file.metadata().map_err(|e| failed("ask for the length of", &path, e))?.len();
                log_files.insert(number, (file, len));
            }
        }
        Ok(LogFiles { log_files, manifest: ManifestFile::open(directory, false)? })
    }
}

fn refused() -> Error {
    Error::new(SqlState::FEATURE_NOT_SUPPORTED, "the log was opened to be looked at, not to be changed")
}

impl Storage for LogFiles {
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>> {
        Ok(self.log_files.iter().map(|(number, (_, len))| (*number, *len)).collect())
    }

    fn create(&mut self, _number: u64, _len: u64) -> Result<()> {
        Err(refused())
    }

    fn prepare(&mut self, _number: u64, _len: u64) {}

    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()> {
        let (file, _) = self
            .log_files
            .get(&number)
            .ok_or_else(|| Error::new(SqlState::IO_ERROR, format!("there is no log file {number}")))?;
        file.read_exact_at(into, offset).map_err(|e| failed("read", Path::new(&Name::log_file(number)), e))
    }

    fn write(&mut self, _number: u64, _offset: u64, _bytes: &[u8]) -> Result<()> {
        Err(refused())
    }

    fn sync(&mut self, _number: u64, _offset: u64, _len: u64) -> Result<()> {
        Err(refused())
    }

    fn remove(&mut self, _number: u64) -> Result<()> {
        Err(refused())
    }

    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>> {
        self.manifest.read()
    }

    fn write_manifest(&mut self, _slot: usize, _bytes: &ManifestSlot) -> Result<()> {
        Err(refused())
    }
}
