//! The host of the kernel: the threads that own coordinator, shards and log, that read and extract the source
//! partitions, and [`Engine`], the handle for SQL. All decisions are the kernel's; this crate executes them. SQL is in
//! `tidemark-sql`, Kafka in `tidemark-kafka`, files in `tidemark-log`.

mod api;
mod clock;
mod config;
mod coordinator;
mod disk;
mod effects;
mod events;
mod log;
mod open;
mod pipeline;
mod published;
mod recording;
mod shards;
mod source;
mod status;
#[cfg(test)]
mod tests;
mod threads;
mod trace;

pub use api::{Engine, TableLockGuard};
pub use config::{EngineConfig, LOG_FILE_BYTES_DEFAULT, OnHalt, OnRecovery};
pub use pipeline::{ExtractorSpec, PipelineFactory, PipelineStatus, SplitStatus};
pub use published::SnapshotGuard;
pub use tidemark_record::RecorderSettings;
pub use tidemark_record::recorder::BYTES_MAX_DEFAULT as RECORD_BYTES_MAX_DEFAULT;

/// Exit code of a process whose kernel has halted: the disk failed, or an invariant of the log is broken. Starting again
/// recovers from the disk.
pub const HALT_EXIT_CODE: i32 = 70;

fn halt_process(reason: &kernel::Error) {
    eprintln!("tidemark: halted: {reason}");
    std::process::exit(HALT_EXIT_CODE);
}
