//! The manifest as a file of two slots, each in a page of its own. The kernel defines its content.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kernel::log::{MANIFEST_SLOT_LEN, ManifestSlot};
use kernel::{Error, Result, SqlState};
use parking_lot::Mutex;

use crate::storage::sync_directory;
use crate::{FILE_MODE, failed};

const NAME: &str = "manifest";
/// Distance of the slots: a write-back of one page does not touch the other slot.
const SLOT_STRIDE: usize = 4096;

/// The manifest's file, shared by the log thread and the sync thread.
#[derive(Clone, Debug)]
pub(crate) struct ManifestFile {
    directory: PathBuf,
    /// None before the first manifest.
    file: Arc<Mutex<Option<File>>>,
}

impl ManifestFile {
    /// Opens the manifest of a directory, if there is one, for writing or for reading only.
    pub fn open(directory: &Path, write: bool) -> Result<ManifestFile> {
        let path = directory.join(NAME);
        let file = match OpenOptions::new().read(true).write(write).open(&path) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("open", &path, error)),
        };
        Ok(ManifestFile { directory: directory.to_owned(), file: Arc::new(Mutex::new(file)) })
    }

    /// Whether a manifest exists.
    pub fn is_there(&self) -> bool {
        self.file.lock().is_some()
    }

    /// Removes an incomplete first manifest of a process that crashed.
    pub fn remove_unfinished(directory: &Path) -> Result<()> {
        let path = temporary(directory);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed("remove", &path, error)),
            _ => Ok(()),
        }
    }

    /// Both slots. A file that is too short for them is damaged: no process leaves one.
    pub fn read(&self) -> Result<Option<[ManifestSlot; 2]>> {
        let guard = self.file.lock();
        let Some(file) = &*guard else { return Ok(None) };
        let path = self.path();
        let len = file.metadata().map_err(|e| failed("ask for the length of", &path, e))?.len();
        if len < (SLOT_STRIDE + MANIFEST_SLOT_LEN) as u64 {
            let message =
                format!("{} has only {len} bytes; restore the data directory from a backup", path.display());
            return Err(Error::new(SqlState::DATA_CORRUPTED, message));
        }
        let mut slots = [[0; MANIFEST_SLOT_LEN]; 2];
        for (number, slot) in slots.iter_mut().enumerate() {
            let offset = (number * SLOT_STRIDE) as u64;
            file.read_exact_at(slot, offset).map_err(|e| failed("read", &path, e))?;
        }
        Ok(Some(slots))
    }

    /// Writes one slot; durable when it returns.
    pub fn write(&self, slot: usize, bytes: &ManifestSlot) -> Result<()> {
        let mut guard = self.file.lock();
        match &*guard {
            Some(file) => {
                let written = file.write_all_at(bytes, (slot * SLOT_STRIDE) as u64);
                written.and_then(|()| file.sync_data()).map_err(|e| failed("write", &self.path(), e))
            }
            None => {
                *guard = Some(self.make(slot, bytes)?);
                Ok(())
            }
        }
    }

    /// Creates the file at its full length.
    fn make(&self, slot: usize, bytes: &ManifestSlot) -> Result<File> {
        let (path, temporary) = (self.path(), temporary(&self.directory));
        let mut contents = [0; 2 * SLOT_STRIDE];
        contents[slot * SLOT_STRIDE..][..MANIFEST_SLOT_LEN].copy_from_slice(bytes);
        let made = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(&temporary)
            .and_then(|mut file| {
                file.write_all(&contents)?;
                file.sync_all()?;
                Ok(file)
            });
        let file = made.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            failed("write", &temporary, error)
        })?;
        fs::rename(&temporary, &path).map_err(|e| failed("rename", &temporary, e))?;
        sync_directory(&self.directory)?;
        Ok(file)
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }
}

fn temporary(directory: &Path) -> PathBuf {
    directory.join("manifest.tmp")
}
