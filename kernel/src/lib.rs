//! Tidemark's kernel: the pure logic of a sharded store that takes micro-batches from partitioned sources. Each batch
//! is one log record with the rows *and* the positions at the source. The kernel has no I/O, clock, thread, lock or
//! randomness: the same inputs give the same outputs, byte for byte. The same code runs behind the Kafka and mmap
//! adapters and inside the seeded simulator.
//!
//! Two types matter. The one [`Coordinator`] is the control plane; it handles messages per batch. The N [`Shard`]s are
//! the data plane; they handle columns. [`log::LogWriter`] writes the log to a [`log::Storage`].
//!
//! # Duties of a host, in order
//!
//! 1. **Open the log** with [`log::open`]. Hand every record to the coordinator's [`Recovery`] and every piece to its
//!    shard. Nothing else may touch the log. The `open` record is durable before anything else happens.
//! 2. **Feed** the coordinator one [`Input`] at a time, with the time. **Drain** all its [`Effect`]s before the next
//!    input.
//! 3. **Carry out** effects in the order in which they come, within each addressee: each shard, the log, each
//!    pipeline's source. Between addressees there is no order.
//! 4. **Shards** answer each command with exactly one reply, in order. Each reply goes back as [`Input::Shard`].
//! 5. **Log**: append records in order. Send [`Input::Synced`] only after a successful sync that *began* after the
//!    append of the record returned. After a failed append or sync, send [`Input::LogFailed`] and never touch the log
//!    again. An append that found no disk space and left the writer usable has not failed: send [`Input::DiskSpace`],
//!    keep the record and all records after it, and try again.
//! 6. **Source**: an extractor starts at the position in [`Effect::Fetch`]. Each range that it hands in starts where
//!    the range before it ended. It never delivers more bytes than its credit; one message may overdraw the credit.
//!    Answer [`Effect::SourceVerify`] with metadata whose request began after the effect was drained.
//! 7. **Publish**: swap the new snapshot in for readers, then deliver the replies that follow the effect.
//! 8. **Halt**: on [`Effect::Halt`] stop at once and start again from the disk.

#![forbid(unsafe_code)]
// Purity: kernel/clippy.toml names what the kernel must not use.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]
// The one exception: coverage marks and seeded defects, each per thread, in test builds. tests/purity.rs allows them in
// their two files only.
#![cfg_attr(
    any(feature = "coverage", feature = "defects"),
    allow(clippy::disallowed_macros, reason = "clippy checks disallowed macros at the crate's root")
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
pub mod host;
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

/// Version of this kernel. Recordings name it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

pub use coordinator::{Config, Coordinator, Pacing, QuiescedCore, QuiescedState, Recovery};
pub use error::{Error, Result, SqlState, TextPosition};
pub use extract::{DeadLetter, DeadLetterKind, Extract, OrdinalFilter, Originals, RawMessage};
pub use host::{Host, carry_out, drive};
pub use ids::*;
pub use message::{Effect, Input, Request, Response};
pub use shard::{Shard, ShardLimits};
pub use snapshot::Snapshot;
