//! The logic of the log: the places of records, their chain, durability, and the treatment of torn and damaged logs.
//! The bytes are behind [`Storage`], the port that mmap'd files and the simulated disk implement. `record` defines the
//! contents of a record.
//!
//! # Layout
//!
//! A log is a sequence of log files, numbered from 1, each filled with zeros before it is used. A record never spans
//! log files; one that is longer than the usual log file gets a log file of its own length. The header of a log file
//! has 64 bytes:
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
//! Records are written from offset 64 on, each at a multiple of 64, until there is no space for the next: it starts
//! another log file of the usual length, or of the length that it needs, rounded up to a multiple of 4096. A record
//! continues the chain if it has the next sequence, the checksum of its predecessor, and the same term or, as an `open`
//! record, the next one.
//!
//! # Where a log ends
//!
//! Reading stops if no record continues the chain, neither at the next place nor at the beginning of the next log file.
//! If that is before the record that the manifest names, opening fails. Call the missing record *s*. If any header
//! after that place, in this log file or a later one, is durability evidence for *s* (`synced_through >= s`), then *s*
//! was durable and is damaged: opening fails. Without evidence, *s* was never durable: it is a torn tail, and the log
//! ends there even if intact records follow, because any part of unsynced writes may survive. Headers are searched for
//! at every multiple of 64, so that damage cannot hide evidence; each header is valid by itself (its checksum covers
//! its place and the database id), whatever the state of its payload. No crash leaves a log file under the name of
//! another, of another length than it was created with, or of another database; each of these is an error wherever it
//! is found.
//!
//! # The manifest
//!
//! Missing bytes contain no evidence; the [`Manifest`] covers that case. It names the existing log files and the last
//! record that was durable when it was written. Opening fails if the log ends before that record or has another one in
//! its place, whatever is missing: the last log file or all, a part of one, bytes that became zeros. The manifest is
//! written completely over the older of two slots, and synced,
//!
//! - with the first sync that covers a record of a new log file, before that sync is acknowledged: so every log file
//!   with an acknowledged record is named;
//! - with the sync of a sync marker, which the coordinator writes when the database is idle;
//! - at the start of a term, with its `open` record, and at an orderly shutdown ([`LogWriter::renew_manifest`]).
//!
//! No other commit writes it. It names only records that were covered by a successful sync before it was written, and
//! durable records are never cleared, so no crash makes a log shorter than its manifest. A manifest that is older than
//! the end of the log is valid, and so is a missing one: its log was created before manifests existed, or its creation
//! ended before the first one.
//!
//! A window remains: there is no evidence for records that were synced after the last record's header was encoded and
//! after the manifest was written. Damage to one of them, and only to one of them, looks like a torn tail. They are the
//! records of the last sync before a crash under load, unless that sync started a log file. In an idle database the
//! sync marker and its manifest close the window.
//!
//! # The start of a term
//!
//! [`open`] reads the log, checks its end, and then, before it returns:
//!
//! 1. removes later log files, the last first, each removal durable;
//! 2. writes the accepted records that the last of them does not report as synced once more, at their places, and zeros
//!    over everything after them in the log file;
//! 3. syncs what it wrote in 2;
//! 4. writes the `open` record of the next term after the last accepted one, and syncs it;
//! 5. writes a manifest that names it.
//!
//! Step 2 writes bytes that a read already returned because reads use the page cache: after a process kill the records
//! may not be on the disk yet, and after a failed sync the operating system may mark pages as clean that were never
//! written. Records become visible only after step 4, when they are durable.
//!
//! # Why a crash at each point is safe
//!
//! Let *k* be the last accepted record at the start of a term, and *d* the last record that was ever acknowledged as
//! durable. A successful sync covered *d* and all before it, so they are intact: *k >= d*.
//!
//! - **While appending.** Any subset of what is not synced survives. The chain accepts an exact prefix of it; there is
//!   no evidence for the rest, because records that a header reports as durable were synced before the header was
//!   encoded.
//! - **In step 1.** The removed log files are after *s* and contain no evidence. Removing the last first leaves no new
//!   gap.
//! - **In steps 2 and 3.** Rewriting writes equal bytes over equal bytes, or makes bytes durable where memory and disk
//!   differed. Clearing sets bytes after *k* to zero, any subset of them: no evidence appears, and no record before the
//!   end changes. The next recovery accepts a prefix that is at least *d*: because nothing was visible yet, it need not
//!   be *k*.
//! - **In step 4.** Everything up to *k* is durable and everything after it is zeros, so either *k* alone survives or
//!   *k* and the `open` record. Both are logs with an intact end.
//! - **After step 4.** The `open` record is at *k + 1* permanently. Bytes of an earlier term could only continue a
//!   record with the checksum of their own predecessor; every record from *k + 1* on has a checksum that covers the new
//!   term, and the bytes are zeros on the disk anyway.
//! - **In step 5.** A torn manifest leaves the previous one, which names an existing record.
//! - **While a log is created.** There is one log file, with at most its header and the `open` record, and nothing was
//!   acknowledged as durable. [`is_created`] recognises this, and the creation starts over.
//!
//! Two processes can have the same term only if the first ended in step 4 before its `open` record was durable; it
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

/// Default length of a log file.
pub const LOG_FILE_LEN_DEFAULT: u64 = 64 << 20;

/// The port to the disk, in the manner of redb's `StorageBackend`: a numbered set of preallocated, zero-filled log
/// files of fixed length, and a manifest of two slots. Any call can fail; after a failed `write`, `sync` or `create`
/// the caller stops permanently (fault B3), unless a `create` failed for lack of space.
pub trait Storage {
    /// Numbers and lengths of the existing log files, in order of number.
    fn log_files(&mut self) -> Result<Vec<(u64, u64)>>;
    /// Creates log file `number` of `len` zero bytes, durable (contents, length and directory entry) when it returns.
    /// it is [`DiskFull`](crate::SqlState::DISK_FULL), and nothing has changed.
    fn create(&mut self, number: u64, len: u64) -> Result<()>;
    /// A hint that `create(number, len)` will follow soon; a real disk prepares it in the background.
    fn prepare(&mut self, number: u64, len: u64);
    /// Reads from a log file (with pread, not through the map).
    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()>;
    /// Writes into a log file. Not durable before a sync that covers it; until then any subset of the pages may become
    /// durable.
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Makes a range durable.
    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()>;
    /// Removes a log file.
    fn remove(&mut self, number: u64) -> Result<()>;
    /// The two slots of the manifest; None if none was ever written.
    fn manifest(&mut self) -> Result<Option<[ManifestSlot; 2]>>;
    /// Writes one slot of the manifest and leaves the other alone; durable when it returns. If it does not return, any
    /// part of the slot may be written. The first manifest is written completely or not at all.
    fn write_manifest(&mut self, slot: usize, bytes: &ManifestSlot) -> Result<()>;
}

/// The result of opening a log.
#[derive(Debug)]
pub struct Opened<S: Storage> {
    /// Ready to append. Its `open` record is durable.
    pub writer: LogWriter<S>,
    /// Term of this process.
    pub term: Term,
    /// Identity of the database.
    pub database: [u8; 16],
    /// Fixed when the database was created.
    pub shard_count: u16,
    /// The unfinished end of the previous term, for the server's log.
    pub torn_tail: Option<TornTail>,
}

/// Records that were written but never synced and are incomplete; they were dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TornTail {
    /// Log file of its start.
    pub log_file: u64,
    /// See `log_file`.
    pub offset: u64,
    /// First sequence that was dropped; the new `open` record reuses it.
    pub first: Sequence,
}
