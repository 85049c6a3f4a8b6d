//! Tidemark's kernel: the pure logic of a sharded store that takes micro-batches from partitioned sources. Each batch
//! is one log record with the rows *and* the positions at the source. The kernel has no I/O, clock, thread, lock or
//! randomness: the same inputs give the same outputs, byte for byte. The same code runs behind the Kafka and mmap
//! adapters and inside the seeded simulator.
//!
//! Three types matter. The one [`Coordinator`] is the control plane; it handles messages per batch. The N [`Shard`]s are
//! the data plane; they handle columns. A [`Host`] is what surrounds them: it owns the log
//! ([`log::LogWriter`] on a [`log::Storage`]), the sources, the threads and the clock.
//!
//! # The run loop
//!
//! The kernel never calls and never waits. A host repeats two steps: it hands the coordinator one [`Input`], with the
//! time, and carries out all [`Effect`]s that come of it. [`drive`] does both; it calls one method of the [`Host`] for each
//! effect. Answers come back as later inputs.
//!
//! This is a complete host: two shards, a log in memory, and a topic of ten messages. It creates a table and a pipeline,
//! loads the topic, and reads the rows.
//!
//! ```
//! use std::collections::VecDeque;
//! # use std::convert::Infallible;
//! use std::sync::Arc;
//!
//! # use arrow_array::{Array, Int32Array, Int64Array, RecordBatch, cast::AsArray, types::Int64Type};
//! # use kernel::expr::OnDuplicate;
//! use kernel::log::{self, LogWriter, MemStorage};
//! # use kernel::message::{Definition, PipelineSpec, Response, ShardCommand, SourceMetadata, SplitStart, TableSpec};
//! # use kernel::record::EncodedRecord;
//! # use kernel::schema::{ColumnDef, ColumnType, PipelineDef, TableDef};
//! use kernel::*;
//!
//! /// All of the host but the coordinator. Nothing here runs in parallel: what a thread of a server would answer later is an
//! /// input that waits here.
//! struct MiniHost {
//!     shards: Vec<Shard>,
//!     log: LogWriter<MemStorage>,
//!     published: Snapshot,
//!     table: Option<Arc<TableDef>>,
//!     inputs: VecDeque<Input>,
//! }
//!
//! /// The source: partition 0 of a topic, with the numbers 1 to 10 in it.
//! const MESSAGES: i64 = 10;
//!
//! fn topic() -> SourceMetadata {
//!     SourceMetadata::kafka(&Identity::new(&[7; 16]), [(0, (0, MESSAGES))])
//! }
//!
//! impl Host for MiniHost {
//!     type End = Error;
//!
//!     fn shard(&mut self, shard: ShardId, command: ShardCommand) -> Result<()> {
//!         let reply = self.shards[shard.0 as usize].handle(command);
//!         self.inputs.push_back(Input::Shard { shard, reply });
//!         Ok(())
//!     }
//!
//!     fn append(&mut self, record: EncodedRecord) -> Result<()> {
//!         self.log.append(&record)
//!     }
//!
//!     fn sync(&mut self) -> Result<()> {
//!         let through = self.log.sync()?;
//!         self.inputs.push_back(Input::Synced { through });
//!         Ok(())
//!     }
//!
//!     fn open_source(&mut self, epoch: Epoch, pipeline: Arc<PipelineDef>, table: Arc<TableDef>) -> Result<()> {
//!         self.table = Some(table);
//!         let metadata = topic();
//!         self.inputs.push_back(Input::SourceOpened { pipeline: pipeline.id, epoch, metadata });
//!         Ok(())
//!     }
//!
//!     /// Decodes the messages from a position on, and routes the rows to shards.
//!     fn fetch(&mut self, pipeline: PipelineId, epoch: Epoch, starts: Vec<SplitStart>) -> Result<()> {
//!         let table = self.table.as_ref().expect("the source is open");
//!         for SplitStart { split, position: first, .. } in starts {
//!             let numbers = first.ordinal() + 1..=MESSAGES;
//!             let messages = numbers.clone().count();
//! #           let provenance = |value| Arc::new(Int64Array::from(vec![value; messages]));
//! #           let split_column = Arc::new(Int32Array::from(vec![Some(split.0 as i32); messages]));
//! #           let offsets = Arc::new(Int64Array::from_iter_values(first.ordinal()..MESSAGES));
//!             let values = Arc::new(Int64Array::from_iter_values(numbers));
//!             let rows = RecordBatch::try_new(
//!                 table.stored_schema(),
//!                 vec![values, provenance(Some(1)), split_column, offsets],
//!             );
//!             let rows = route::route(table, &rows.expect("rows of the table"), self.shards.len() as u16);
//!             self.inputs.push_back(Input::Extracted(Extract {
//!                 pipeline,
//!                 epoch,
//!                 split,
//!                 schema_version: table.schema_version,
//!                 first,
//!                 next: Position::kafka(MESSAGES, 0),
//!                 messages: messages as u64,
//!                 filtered: 0,
//!                 source_bytes: 8 * messages as u64,
//!                 rows,
//!                 dead_letters: vec![],
//!                 originals: None,
//!             }));
//!         }
//!         Ok(())
//!     }
//!
//!     fn verify_source(&mut self, pipeline: PipelineId, epoch: Epoch, token: u64) -> Result<()> {
//!         self.inputs.push_back(Input::SourceVerified { pipeline, epoch, token, metadata: topic() });
//!         Ok(())
//!     }
//!
//!     fn publish(&mut self, snapshot: Snapshot) -> Result<()> {
//!         // No reader is under way here: the older snapshot is released at once.
//!         let older = std::mem::replace(&mut self.published, snapshot);
//!         self.inputs.push_back(Input::SnapshotReleased { sequence: older.sequence });
//!         Ok(())
//!     }
//!
//!     fn reply(&mut self, _id: RequestId, result: Result<Response>) -> Result<()> {
//!         result.map(|_| ())
//!     }
//!
//!     fn halt(&mut self, error: Error) -> Error {
//!         error
//!     }
//!
//!     // This source never fetches ahead, and nobody waits for a timer.
//! #   /*
//!     fn credit(…) { … } // and close_source, wake_at, event
//! #   */
//! #   fn credit(&mut self, _: PipelineId, _: Epoch, _: u64) -> Result<()> { Ok(()) }
//! #   fn close_source(&mut self, _: PipelineId, _: Epoch) -> Result<()> { Ok(()) }
//! #   fn wake_at(&mut self, _: Micros) -> Result<()> { Ok(()) }
//! #   fn event(&mut self, _: Event) -> Result<()> { Ok(()) }
//! }
//!
//! # fn main() -> Result<()> {
//! // Open the log, recover what it holds (here: nothing but this term's first record), and begin.
//! let (mut recovery, mut open) = (Recovery::new(), None);
//! let created = log::create(MemStorage::new(), [1; 16], 2, 0, 1 << 20, &mut |record| {
//!     recovery.replay(&record)?;
//!     open = Some(record);
//!     Ok(())
//! })?;
//! let mut shards: Vec<Shard> = (0..2).map(|shard| Shard::new(ShardId(shard), 2)).collect();
//! let views = shards.iter_mut().map(Shard::recovered).collect();
//! let open = open.expect("a log begins with an open record");
//! let mut coordinator = recovery.finish(Config::default(), 0, &open, views)?;
//! let published = coordinator.published().clone();
//! let mut host =
//!     MiniHost { shards, log: created.writer, published, table: None, inputs: VecDeque::new() };
//! carry_out(&mut coordinator, &mut host)?;
//!
//! // The run loop: one input, then all of its effects. A server waits for inputs here; this host ends when none is left.
//! let mut now_us = 0;
//! let mut run = |host: &mut MiniHost, definition: Definition| -> Result<()> {
//!     let id = RequestId(now_us as u64);
//!     host.inputs.push_back(Input::Request { id, request: Request::Define(definition) });
//!     while let Some(input) = host.inputs.pop_front() {
//!         now_us += 1_000_000;
//!         drive(&mut coordinator, now_us, input, host)?;
//!     }
//!     Ok(())
//! };
//!
//! // Three definitions. The last one starts the pipeline, which loads its source.
//! # let column = ColumnDef { id: ColumnId(0), name: "n".into(), column_type: ColumnType::Int64, nullable: true, default_sql: None };
//! # let table = TableSpec { name: "t".into(), columns: vec![column], primary_key: vec![], shard_key: vec![0], sort_key: vec![] };
//! # let pipeline = Box::new(PipelineSpec {
//! #     name: "p".into(), table: "t".into(), source_kind: SourceKind::Kafka, definition_sql: String::new(),
//! #     on_duplicate: OnDuplicate::Reject, error_limit: None, batch_interval_us: 0, batch_bytes_max: 1 << 20,
//! # });
//! run(&mut host, Definition::CreateTable { spec: table, if_not_exists: false })?;
//! run(&mut host, Definition::CreatePipeline { spec: pipeline, if_not_exists: false })?;
//! run(&mut host, Definition::StartPipeline { name: "p".into(), if_not_running: false })?;
//!
//! // A reader takes the newest snapshot from the host, without a message to the kernel.
//! let snapshot = host.published.clone();
//! let table = snapshot.catalog.table_named("t").expect("it was created").id;
//! let views = snapshot.shards.iter().filter_map(|shard| shard.tables.get(&table));
//! let chunks = views.flat_map(|view| &view.chunks);
//! let mut numbers: Vec<i64> =
//!     chunks.flat_map(|chunk| chunk.rows.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
//! numbers.sort();
//! assert_eq!(numbers, (1..=10).collect::<Vec<_>>(), "every message once");
//! assert_eq!(snapshot.catalog.cursors[&PipelineId(1)].positions().next().unwrap().1.ordinal(), 10);
//! # Ok(())
//! # }
//! ```
//!
//! A server does the same with threads: `adapters/engine` is that host. Its `shard`, `append` and `fetch` only put the
//! effect into a channel, and the answers arrive in the coordinator's inbox.
//!
//! # Duties of a host, in order
//!
//! [`Host`] says at each method what is to be done with that effect. What no method can say:
//!
//! 1. **Open the log** with [`log::open`] or [`log::create`]. Hand every record to the coordinator's [`Recovery`] and every
//!    outcome to its shard. Nothing else may touch the log. The `open` record is durable before anything else happens.
//! 2. **Feed** the coordinator one [`Input`] at a time, with the time, and carry out all its effects before the next
//!    input.
//! 3. **Keep the order** of the effects within each addressee: each shard, the log, each pipeline's source, each client.
//!    Between addressees there is no order.
//! 4. **Shards** answer each command with exactly one reply, in order.
//! 5. **Log**: report a record as synced only after a successful sync that *began* after the append of the record
//!    returned. After a failed append or sync never touch the log again; an append that found no disk space and left the
//!    writer usable has not failed.
//! 6. **Source**: an extractor starts at the position in [`Effect::Fetch`]. Each range that it hands in starts where the
//!    range before it ended. It never delivers more bytes than its credit; one message may overdraw the credit. Metadata
//!    is requested after the effect that asks for it.
//! 7. **Publish** before the replies that follow: a client reads its own writes.
//! 8. **Release** each superseded snapshot once, after its last reader has ended.
//! 9. **Halt** on [`Effect::Halt`]: stop at once and start again from the disk.

#![forbid(unsafe_code)]
// Purity: kernel/clippy.toml names what the kernel must not use.
#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]
// The one exception: coverage marks, per thread, in test builds. tests/purity.rs allows them in their file only.
#![cfg_attr(
    feature = "coverage",
    allow(clippy::disallowed_macros, reason = "clippy checks disallowed macros at the crate's root")
)]

pub mod cbor;
pub mod columns;
pub mod continuity;
pub mod coordinator;
pub mod coverage;
pub mod cursors;
pub mod error;
pub mod event;
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
pub use event::Event;
pub use extract::{
    ColumnBatch, DeadLetter, DeadLetterKind, Delivery, Extract, OrdinalFilter, Originals, RawMessage,
};
pub use host::{Host, carry_out, drive};
pub use ids::*;
pub use message::{Effect, Input, Request, Response};
pub use shard::{Shard, ShardLimits};
pub use snapshot::Snapshot;
