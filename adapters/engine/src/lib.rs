//! The host of the kernel: the threads that own coordinator, shards and log, that read and extract the source
//! partitions, and [`Engine`], the handle for SQL. All decisions are the kernel's; this crate executes them. SQL is in
//! `tidemark-sql`, Kafka in `tidemark-kafka`, files in `tidemark-log`.
//!
//! Imports go one way: `api`, the handle and the start, uses `threads`, and both use `ports`, where the inbox is.

mod api;
mod ports;
mod threads;

pub use api::Engine;
pub use ports::config::{EngineConfig, HALT_EXIT_CODE, LOG_FILE_BYTES_DEFAULT, OnHalt, OnRecovery};
pub use ports::pipeline::{ExtractorSpec, PipelineFactory};
pub use tidemark_database::{PipelineStatus, SnapshotGuard, SplitStatus, TableLockGuard};
pub use tidemark_record::RecorderSettings;
pub use tidemark_record::recorder::BYTES_MAX_DEFAULT as RECORD_BYTES_MAX_DEFAULT;
