//! The data directory on a real disk: the log's log files as preallocated, memory-mapped files behind
//! [`kernel::log::Storage`], the lock that keeps a second process out, and the reserve of free space. What the bytes mean,
//! and what is made of them after a crash, lives in the kernel.
//!
//! A data directory holds
//!
//! | File | What |
//! |---|---|
//! | `lock` | locked while a process owns the directory; names that process, and the database once there is one |
//! | `log-<number>.tml` | a log file |
//! | `log-<number>.tmp` | a log file in the making; removed at the next start |
//! | `manifest` | names the log files that there have to be |
//! | `manifest.tmp` | the first manifest in the making; removed at the next start |
//!
//! All of them belong to their owner alone: files are made with mode 0600, the directory with 0700, and one that is found wider
//! is narrowed.

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

/// Nobody but the owner reads what a database holds.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

use kernel::{Error, SqlState};

/// What was attempted, on which path, why it failed, and what helps.
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
