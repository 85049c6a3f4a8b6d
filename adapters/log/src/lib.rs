//! The data directory on a real disk: log files as preallocated, memory-mapped files behind [`kernel::log::Storage`],
//! the lock against a second process, and the reserve of free space. The kernel defines the bytes and the recovery.
//!
//! A data directory holds
//!
//! | File | Content |
//! |---|---|
//! | `lock` | locked while a process owns the directory; names the database, once there is one, and that process |
//! | `log-<number>.tml` | a log file |
//! | `log-<number>.tmp` | an incomplete log file; removed at the next start |
//! | `manifest` | names the log files that must exist |
//! | `manifest.tmp` | an incomplete first manifest; removed at the next start |
//!
//! Only their owner may read them: files have mode 0600, the directory 0700; wider permissions are narrowed at a start.

mod lock;
mod look;
mod manifest;
mod space;
mod storage;

pub use lock::DirLock;
pub use look::LogFiles;
pub use space::{Reserve, free_bytes};
pub use storage::{MmapStorage, Syncer};

use std::io;
use std::path::Path;

/// Only the owner may read a database.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

use kernel::{Error, SqlState};

/// An error with the action, the path, the reason and the remedy.
fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let path = path.display();
    let (kind, remedy) = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (SqlState::DISK_FULL, "make room on the disk and start again")
        }
        io::ErrorKind::PermissionDenied => {
            (SqlState::IO_ERROR, "give this user the right to, or choose another directory")
        }
        io::ErrorKind::NotFound => (SqlState::IO_ERROR, "something removed it; restore it from a backup"),
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => {
            (SqlState::IO_ERROR, "there is a file where a directory has to be; choose another directory")
        }
        io::ErrorKind::FileTooLarge => (SqlState::IO_ERROR, "choose a smaller log_file_bytes"),
        _ => (SqlState::IO_ERROR, "see the kernel's log for the state of the disk"),
    };
    Error::new(kind, format!("cannot {what} {path}: {error}; {remedy}"))
}
