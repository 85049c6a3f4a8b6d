//! One process per data directory. The operating system holds the lock and releases it when the process ends, in
//! whatever way.
//!
//! The first line of the file names the database, once there is one. It is written once and never removed: a directory
//! that has lost all other files still shows that it held a database. The second line names the owning process, for
//! people.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kernel::{Error, Result, SqlState};

use crate::{FILE_MODE, failed};

/// Longest description of a process that is read back.
const CONTENTS_LEN_MAX: u64 = 4096;
/// What the first line begins with.
const DATABASE: &str = "database ";

/// Ownership of a data directory, until it is dropped.
#[derive(Debug)]
pub struct DirLock {
    directory: PathBuf,
    file: File,
    database: Option<[u8; 16]>,
}

impl DirLock {
    /// Locks the existing directory, or returns an error that names the owner.
    pub fn take(directory: &Path) -> Result<DirLock> {
        let path = directory.join("lock");
        let mut options = OpenOptions::new();
        let opened = options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(&path);
        let file = opened.map_err(|e| failed("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(directory, &file)),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &path, error)),
        }
        let (database, _) = contents(&file).map_err(|e| failed("read", &path, e))?;
        let lock = DirLock { directory: directory.to_owned(), file, database };
        lock.record().map_err(|e| failed("write", &path, e))?;
        Ok(lock)
    }

    /// The owned directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The database that the directory holds or held.
    pub fn database(&self) -> Option<[u8; 16]> {
        self.database
    }

    /// Records that the directory holds this database.
    pub fn remember(&mut self, database: [u8; 16]) -> Result<()> {
        if self.database.replace(database) == Some(database) {
            return Ok(());
        }
        self.record().map_err(|e| failed("write", &self.directory.join("lock"), e))
    }

    /// The line of the database stays: only the lines after it are replaced.
    fn record(&self) -> std::io::Result<()> {
        let line = self.database.map(database_line).unwrap_or_default();
        let command: Vec<_> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
        let text = format!("{line}{} ({})", std::process::id(), command.join(" "));
        self.file.write_all_at(text.as_bytes(), 0)?;
        self.file.set_len(text.len() as u64)
    }
}

fn database_line(database: [u8; 16]) -> String {
    format!("{DATABASE}{:032x}\n", u128::from_be_bytes(database))
}

/// The database and the process that the file names.
fn contents(file: &File) -> std::io::Result<(Option<[u8; 16]>, String)> {
    let mut bytes = Vec::new();
    file.take(CONTENTS_LEN_MAX).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let named = text.strip_prefix(DATABASE).and_then(|rest| rest.split_once('\n'));
    let database = named.and_then(|(id, owner)| Some((u128::from_str_radix(id, 16).ok()?, owner)));
    Ok(match database {
        Some((id, owner)) => (Some(id.to_be_bytes()), owner.to_owned()),
        None => (None, text),
    })
}

fn in_use(directory: &Path, file: &File) -> Error {
    let owner = match contents(file) {
        Ok((_, owner)) if !owner.is_empty() => format!("process {owner}"),
        _ => "another process".into(),
    };
    let directory = directory.display();
    let message = format!(
        "data directory {directory} is in use by {owner}; stop that process, or choose another directory"
    );
    Error::new(SqlState::OBJECT_IN_USE, message)
}
