//! The flight recorder of a running database: every input of the coordinator in order and with its time, a mark of
//! every effect, and a hash of the state at intervals. With the log this is enough to run the same term again, on the
//! shipped kernel, and to compare every step. The engine writes recordings, the simulator replays them.
//!
//! | Module | Content |
//! |---|---|
//! | [`item`] | the items of a recording, and their conversion from and to the kernel's messages |
//! | [`rows`] | columns, and placeholders for rows that the log has |
//! | [`mark`] | hashes of effects, of shards' replies and of states |
//! | [`mod@file`] | frames, files, and the meaning of a torn or damaged one |
//! | [`recorder`] | the queue and the thread that write while a database runs |
//!
//! # Rows that the log has
//!
//! Rows of a table without a primary key are logged unchanged. The recording of such an extract contains only the
//! number of rows for each shard, and a replay takes the rows from the record that committed the extract. If the
//! database halts before there is such a record, the rows are written before the process exits; after a `kill -9` this
//! is impossible, and the replay ends where they would be needed. The log of a keyed table has outcomes, not the
//! incoming rows: its extracts are written whole, and so are clients' writes and dead letters. Of shards' replies only
//! the order and a hash are written: the shipped shards compute them again.

#![forbid(unsafe_code)]

pub mod file;
pub mod item;
pub mod mark;
pub mod recorder;
pub mod rows;
#[cfg(test)]
mod tests;

pub use file::{Begin, FileHeader, Recording, RecordingError};
pub use item::{End, Item, RecordedInput};
pub use recorder::{Recorder, RecorderSettings, TermStart};
