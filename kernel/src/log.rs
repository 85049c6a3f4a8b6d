//! The log as logic: where records lie, how they chain, what is durable, and what a torn or damaged log means. The bytes
//! themselves are behind [`Storage`], the port that mmap'd files and the simulator's disk implement.

use crate::error::Result;
use crate::ids::*;
use crate::record::{EncodedRecord, Record};

/// The port to the disk, in the manner of redb's `StorageBackend`: a numbered set of preallocated, zero-filled segments of
/// fixed length. Any call can fail; after a failed `write`, `sync` or `create` the caller stops for good (fault B3).
pub trait Storage {
    /// Numbers and lengths of the segments there are, in order of number.
    fn segments(&mut self) -> Result<Vec<(u64, u64)>>;
    /// Makes segment `number` of `len` zero bytes, durable (contents, length and directory entry) when it returns.
    fn create(&mut self, number: u64, len: u64) -> Result<()>;
    /// A hint that `create(number, len)` will follow soon; a real disk prepares it in the background.
    fn prepare(&mut self, number: u64, len: u64);
    /// Reads from a segment (with pread, not through the map).
    fn read(&mut self, number: u64, offset: u64, into: &mut [u8]) -> Result<()>;
    /// Writes into a segment. Not durable before a sync that covers it, and until then any subset of the pages may be.
    fn write(&mut self, number: u64, offset: u64, bytes: &[u8]) -> Result<()>;
    /// Makes a range durable.
    fn sync(&mut self, number: u64, offset: u64, len: u64) -> Result<()>;
    /// Removes a segment.
    fn remove(&mut self, number: u64) -> Result<()>;
}

/// What opening a log found.
#[derive(Debug)]
pub struct Opened<S: Storage> {
    /// Ready to append. Its `open` record is durable.
    pub writer: LogWriter<S>,
    /// This life.
    pub incarnation: Incarnation,
}

/// Appends records and syncs them.
#[derive(Debug)]
pub struct LogWriter<S: Storage> {
    _storage: S,
}

impl<S: Storage> LogWriter<S> {
    /// Copies a record into place: chained to the one before, stamped with what is durable. Returns when the bytes are
    /// there; they are not durable yet.
    pub fn append(&mut self, _record: &EncodedRecord) -> Result<()> {
        unimplemented!()
    }

    /// Makes all appended records durable, with one sync for each segment touched (all but the last being full). Returns the
    /// last durable sequence.
    pub fn sync(&mut self) -> Result<Sequence> {
        unimplemented!()
    }

    /// See [`Record`].
    pub fn placeholder(_r: &Record) {}
}
