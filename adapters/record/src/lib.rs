//! A recording of a running database: every input of the coordinator in order and with its time, a mark of every effect, and a
//! hash of the state now and then. With the log it is enough to run the same life again, on the shipped kernel, and to see it do
//! the same at every step. The engine writes recordings, the simulator replays them; what a life *is* lives in `kernel`.
//!
//! | Room | What lives there |
//! |---|---|
//! | [`item`] | what a recording is made of, and how the kernel's messages turn into it and back |
//! | [`rows`] | columns, and the places held for those that the log has |
//! | [`mark`] | hashes of effects, of shards' replies and of states |
//! | [`file`] | frames, files, and what a torn or damaged one means |
//! | [`recorder`] | the queue and the thread that write while a database runs |
//!
//! # What is not written twice
//!
//! Rows on their way into a table without a primary key come out of a shard as they went in, so that the log has them: of such
//! an extract only the number of rows for each shard is written, and a replay takes the rows from the record that the extract
//! became part of. If the database dies before there is such a record, the rows are written on the way out; after a `kill -9`
//! nobody can, and the replay ends where they would be needed. A keyed table's log has outcomes, which do not tell what came:
//! its extracts are written whole, and so are clients' writes and what pipelines set aside. Shards' replies are never written,
//! only their order and a hash: the shipped shards make them again.

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
