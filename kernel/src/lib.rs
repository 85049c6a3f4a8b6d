//! Tidemark's kernel: the pure logic of a sharded store that takes micro-batches from partitioned sources, each batch one
//! log record with the rows *and* the source's offsets. It does no I/O and knows no clock, thread, lock or chance: the same
//! inputs give the same outputs, byte for byte. It runs unchanged behind real Kafka and mmap adapters and inside the seeded
//! simulator.
//!
//! Two types matter: the [`Coordinator`] (control plane: one of them, handles messages per batch) and the [`Shard`] (data
//! plane: N of them, handle columns). [`log::LogWriter`] keeps the log over a [`log::Storage`].
//!
//! # Duties of a host, in order
//!
//! 1. **Open the log** with [`log::open`], handing every record to the coordinator's [`Recovery`] and every piece to its
//!    shard. Nothing else may touch the log. The `open` record is durable before anything else happens.
//! 2. **Feed** the coordinator one [`Input`] at a time, with the time; **drain** its [`Effect`]s until there are none before
//!    the next input.
//! 3. **Carry out** effects in the order in which they come, within each addressee: each shard, the log, each pipeline's
//!    source. Between addressees there is no order.
//! 4. **Shards** answer each command with exactly one reply, in order; each reply goes back as [`Input::Shard`].
//! 5. **Log**: records are appended in order. [`Input::Synced`] is said only after a sync that *began* after the append of
//!    the record returned and that succeeded. After a failed append or sync, say [`Input::LogFailed`] and never touch the log
//!    again. An append that found no room and left the writer well has not failed: say [`Input::DiskSpace`], keep the record
//!    and all behind it, and try again.
//! 6. **Source**: an extractor goes on from the position in [`Effect::Fetch`], hands in ranges that follow one another, and
//!    never more bytes than its credit (one message may overdraw it). [`Effect::SourceVerify`] is answered by a reading that
//!    began after the effect was drained.
//! 7. **Publish**: swap the new snapshot in for readers, then deliver the replies that come after it.
//! 8. **Halt**: on [`Effect::Halt`] stop at once and start again from the disk.

#![forbid(unsafe_code)]
// Purity: kernel/clippy.toml names what is not allowed in here.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]
// The one exception, in builds for tests: coverage marks and seeded defects, each per thread. tests/purity.rs holds it to their two files.
#![cfg_attr(
    any(feature = "coverage", feature = "defects"),
    allow(clippy::disallowed_macros, reason = "clippy asks at the crate's root whether a macro is allowed")
)]

pub mod columns;
pub mod continuity;
pub mod coordinator;
pub mod coverage;
pub mod cursors;
pub mod defects;
pub mod error;
pub mod expr;
pub mod extract;
#[cfg(feature = "explore")]
pub mod fingerprint;
pub mod ids;
pub mod log;
pub mod message;
pub mod record;
pub mod route;
pub mod schema;
pub mod shard;
pub mod snapshot;
pub mod source;
pub mod split;

/// Version of this kernel: what a recording was made by.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use coordinator::{Config, Coordinator, Pacing, QuiescedCore, QuiescedState, Recovery};
pub use error::{Error, Result, SqlState, TextPosition};
pub use extract::{DeadLetter, DeadLetterKind, Extract, OrdinalFilter, Originals, RawMessage};
pub use ids::*;
pub use message::{Effect, Input, Request, Response};
pub use shard::{Shard, ShardLimits};
pub use snapshot::Snapshot;
