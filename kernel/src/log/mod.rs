//! The log as logic: where records lie, how they chain, what is durable, and what a torn or damaged log means. The bytes
//! themselves are behind [`Storage`], the port that mmap'd files and the simulator's disk implement. What a record says lives
//! in `record`.
//!
//! # Layout
//!
//! A log is a row of log files, numbered from 1, each made full of zeros before it is used. A record never spans log files; one
//! that is longer than the usual log file gets a log file of its own length. A log file begins with 64 bytes:
//!
//! | Offset | Bytes | Field |
//! |---:|---:|---|
//! | 0 | 8 | magic `TIDEMARK` |
//! | 8 | 2 | format version |
//! | 10 | 6 | zeros |
//! | 16 | 16 | database id |
//! | 32 | 8 | number of the log file |
//! | 40 | 8 | sequence of its first record |
//! | 48 | 8 | length of the log file |
//! | 56 | 8 | XXH3-64 of the above |
//!
//! Records follow one another from offset 64, each at a multiple of 64, until there is no room for the next: it begins another
//! log file, which is as long as usual, or as it takes, rounded up to a multiple of 4096. A record follows another one if it has
//! the next sequence, the other's checksum, and the same term, or, as an `open` record, the next one.
//!
//! # Where a log ends
//!
//! Reading stops where no record follows, neither at once nor at the beginning of the next log file. If that is before the record
//! that the manifest names, the log is refused. Call the missing record
//! *s*. If any header after that place, in this log file or a later one, vouches for *s* (`synced_through >= s`), then *s* was
//! durable and is damaged: the log is refused. Otherwise nothing says that *s* was ever durable: it is a torn tail,
//! and it ends the log even if whole records follow, for of what was never synced any part may survive. Headers are looked for at
//! every multiple of 64, so that damage cannot hide a witness; each vouches for itself (its checksum covers its place
//! and the database id), whatever became of its payload. A log file under another log file's name, of another length than
//! it was made with, or of another database is no crash's doing and is refused wherever it is found.
//!
//! # The manifest
//!
//! What bears no witness any more because it is gone, the [`Manifest`] speaks for: it names the log files that there are and the
//! last record that was durable when it was written. A log that ends before that record, or has another one in its place, is
//! refused, whatever is missing: the last log file or all, a part of one, bytes that became zeros. It is written, whole, over the
//! older of two slots, and synced,
//!
//! - with the first sync that covers a record of a new log file, before that sync is believed: so a log file of which anything
//!   was ever acknowledged has a name;
//! - with the sync of a sync marker, which the coordinator writes when nothing happens;
//! - at the start of a life, with its `open` record, and at its end in order ([`LogWriter::renew_manifest`]).
//!
//! No other commit pays for it. It never says more than what a sync covered that succeeded before it was written, and nothing
//! durable is ever cleared: so no crash makes a log shorter than its manifest. A manifest that is older than the log is
//! legal, and so is none: a log that was made before there were manifests, or whose creation ended before its first one.
//!
//! The window that remains: records synced after the last record's header was made and after the manifest was written are
//! vouched for by nobody. Damage to one of them, and only to one of them, looks like a torn tail. They are those of the last sync
//! before a crash under load, unless it began a log file. When nothing happens, the sync marker and the manifest that goes
//! with it close the window.
//!
//! # How a life begins
//!
//! [`open`] reads, judges, and then, before it returns:
//!
//! 1. removes later log files, the last first, each removal durable;
//! 2. writes the accepted records that the last of them does not call synced once more, at their places, and zeros over
//!    everything after them in the log file;
//! 3. syncs what it wrote in 2;
//! 4. writes the `open` record of the next term after the last accepted one, and syncs it;
//! 5. writes a manifest that names it.
//!
//! Step 2 writes what seems to be there already because reading goes through the system's memory: after a process kill the records
//! may not be on the disk yet, and after a failed sync the system may take pages for clean that never got there. Records become
//! visible only after step 4, when they are durable.
//!
//! # Why a crash at each point is safe
//!
//! Let *k* be the last accepted record when a life begins, and *d* the last that was ever said to be durable. A successful
//! sync covered *d* and all before it, so they are whole: *k >= d*.
//!
//! - **While appending.** Any subset of what is not synced survives. The chain accepts an exact prefix of it; the rest is not
//!   vouched for, because what a header says is durable was synced before the header was made.
//! - **In step 1.** What is removed lies after *s*, and neither is nor holds a witness. Removing the last first leaves no gap
//!   that was not there.
//! - **In steps 2 and 3.** Rewriting puts equal bytes over equal bytes, or durable ones where memory and disk differed.
//!   Clearing turns bytes after *k* into zeros, any subset of them: no witness appears, and no record before the end
//!   changes. The next recovery accepts a prefix that is at least *d*: as nothing was visible yet, it need not be *k*.
//! - **In step 4.** Everything up to *k* is durable and everything after it is zeros, so what survives is *k* alone or *k* and the
//!   `open` record. Both are a log that ends in order.
//! - **After step 4.** The `open` record stands at *k + 1* for good. Bytes of an earlier life could only chain on to a record
//!   with the checksum of their own predecessor; every record from *k + 1* on has a checksum that covers the new term,
//!   and the bytes are zeros on the disk besides.
//! - **In step 5.** A manifest that tears leaves the one before it, which names a record that is there.
//! - **While a log is created.** There is one log file, with at most its header and the `open` record, and nothing was said to be
//!   durable. [`is_created`] recognises this, and creating starts over.
//!
//! Two lives can carry the same term only if the first ended in step 4 without its `open` record becoming durable; it
//! wrote nothing else.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod limits;
mod log_file;
mod look;
mod manifest;
mod memory;
mod reader;
mod recovery;
mod writer;

#[cfg(test)]
mod tests;

pub use limits::LogLimits;
pub use look::LogReader;
pub use manifest::{MANIFEST_SLOT_LEN, MANIFEST_VERSION, Manifest, ManifestSlot};
pub use memory::MemStorage;
pub use recovery::{create, is_created, open};
pub use writer::{LogWriter, SyncPlan, SyncRange};

use crate::error::Result;
use crate::ids::*;

/// Number of the first log file of a log.
pub const FIRST_LOG_FILE: u64 = 1;

/// Length of a log file where nothing else is asked for.
pub const LOG_FILE_LEN_DEFAULT: u64 = 64 << 20;

/// The port to the disk, in the manner of redb's `StorageBackend`: a numbered set of preallocated, zero-filled log files of
/// fixed length, and a manifest of two slots. Any call can fail; after a failed `write`, `sync` or `create` the caller stops for
/// good (fault B3), unless it was a `create` that found no room.
pub trait Storage {
    /// Numbers and lengths of the log files there are, in order of number.
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>>;
    /// Makes log file `number` of `len` zero bytes, durable (contents, length and directory entry) when it returns. Without room
    /// it is [`DiskFull`](crate::SqlState::DISK_FULL), and nothing has changed.
    fn create(&mut self, number: u64, len: u64) -> Result<()>;
    /// A hint that `create(number, len)` will follow soon; a real disk prepares it in the background.
    fn prepare(&mut self, number: u64, len: u64);
    /// Reads from a log file (with pread, not through the map).
    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()>;
    /// Writes into a log file. Not durable before a sync that covers it, and until then any subset of the pages may be.
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Makes a range durable.
    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()>;
    /// Removes a log file.
    fn remove(&mut self, number: u64) -> Result<()>;
    /// What the two slots of the manifest hold; None where none was ever written.
    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>>;
    /// Writes one slot of the manifest and leaves the other alone; durable when it returns. If it does not return, any part of the
    /// slot may be written. The first one comes to be whole or not at all.
    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()>;
}

/// What opening a log found.
#[derive(Debug)]
pub struct Opened<S: Storage> {
    /// Ready to append. Its `open` record is durable.
    pub writer: LogWriter<S>,
    /// This life.
    pub term: Term,
    /// Identity of the database.
    pub database: [u8; 16],
    /// Fixed when the database was created.
    pub shard_count: u16,
    /// What the last life left unfinished, for the operator's log.
    pub torn_tail: Option<TornTail>,
}

/// Records that were written, never synced, and not whole: gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// Where it began.
    pub log_file: u64,
    /// See `log_file`.
    pub offset: u64,
    /// First sequence that is not in the log; the new `open` record has it now.
    pub first: Sequence,
}
