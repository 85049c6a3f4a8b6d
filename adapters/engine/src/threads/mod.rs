//! The threads of a database. `coordinator` feeds the kernel, and `effects` carries out what comes of it, on the shards'
//! threads, the log's and those of sources. They answer through the inbox.

pub(crate) mod coordinator;
pub(crate) mod disk;
pub(crate) mod effects;
mod events;
pub(crate) mod log;
pub(crate) mod recording;
pub(crate) mod shards;
pub(crate) mod source;
