//! One process per data directory. The lock is the operating system's: it goes with the process, however that ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use kernel::{Error, ErrorKind, Result};

use crate::failed;

/// Longest description of a process that is read back.
const OWNER_LEN_MAX: u64 = 4096;

/// Ownership of a data directory, until it is dropped.
#[derive(Debug)]
pub struct DirLock {
    directory: PathBuf,
    _file: File,
}

impl DirLock {
    /// Takes the directory, which exists, or says who has it.
    pub fn take(directory: &Path) -> Result<DirLock> {
        let path = directory.join("lock");
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(|e| failed("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(directory, &mut file)),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path, error)),
        }
        record_owner(&mut file).map_err(|e| failed("write", &path, e))?;
        Ok(DirLock { directory: directory.to_owned(), _file: file })
    }

    /// What is owned.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// For the message of whoever comes second; nothing depends on it.
fn record_owner(file: &mut File) -> std::io::Result<()> {
    let command: Vec<_> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(format!("{} ({})", std::process::id(), command.join(" ")).as_bytes())
}

fn in_use(directory: &Path, file: &mut File) -> Error {
    let mut owner = Vec::new();
    let read = file.take(OWNER_LEN_MAX).read_to_end(&mut owner);
    let owner = match read {
        Ok(len) if len > 0 => format!("process {}", String::from_utf8_lossy(&owner)),
        _ => "another process".into(),
    };
    let directory = directory.display();
    let message = format!(
        "data directory {directory} is in use by {owner}; stop that process, or choose another directory"
    );
    Error::new(ErrorKind::ObjectInUse, message)
}
