//! The log as logic: where records lie, how they chain, what is durable, and what a torn or damaged log means. The bytes
//! themselves are behind [`Storage`], the port that mmap'd files and the simulator's disk implement. What a record says lives
//! in `record`.

#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod memory;
mod reader;
mod recovery;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

pub use memory::MemStorage;
pub use recovery::{create, is_created, open};
pub use writer::{LogWriter, SyncPlan, SyncRange};

use crate::error::Result;
use crate::ids::*;

/// Number of the first segment of a log.
pub const FIRST_SEGMENT: u64 = 1;

/// Length of a segment where nothing else is asked for.
pub const SEGMENT_LEN_DEFAULT: u64 = 64 << 20;

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
    pub segment: u64,
    /// See `segment`.
    pub offset: u64,
    /// First sequence that is not in the log; the new `open` record has it now.
    pub first: Sequence,
}
