//! Settings of an engine.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use kernel::Error;
use tidemark_record::RecorderSettings;

/// Called once when the kernel halts, with the reason, after the last access to the log. The process must not continue
/// with this data directory: start again from the disk.
pub type OnHalt = Arc<dyn Fn(&Error) + Send + Sync>;

/// Called once a second during a long recovery: bytes of the log read so far, and in total.
pub type OnRecovery = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// Length of a log file unless the settings say otherwise: every log file is written full of zeros before it is used,
/// so a start writes this many bytes twice, and an empty database takes them on the disk.
pub const LOG_FILE_BYTES_DEFAULT: u64 = 64 << 20;

/// Longest pause between two attempts to open a source: with librdkafka's own pause between two attempts to connect, a
/// returning broker is noticed within two seconds.
const RETRY_US_MAX: i64 = 1_000_000;

/// Settings of an [`Engine`](crate::Engine).
#[derive(Clone)]
pub struct EngineConfig {
    /// Directory of the log. Created if it does not exist.
    pub data_dir: PathBuf,
    /// Shards of a new database; None means 8 for a new database and the existing number otherwise. A number that
    /// differs from an existing database's is an error.
    pub shards: Option<u16>,
    /// Length of a log file.
    pub log_file_bytes: u64,
    /// With less free disk space the database is read-only.
    pub disk_reserve_bytes: u64,
    /// Limits of the coordinator.
    pub kernel: kernel::Config,
    /// Where to write a line for each record staged, appended and synced and each position fetched from: for the tests
    /// that kill the process and check what was in flight.
    pub trace_file: Option<PathBuf>,
    /// Flight recorder; None: off.
    pub record: Option<RecorderSettings>,
    /// What to do on a halt. The default logs the reason and ends the process with [`crate::HALT_EXIT_CODE`].
    pub on_halt: OnHalt,
    /// Progress of a recovery; the default logs it.
    pub on_recovery: OnRecovery,
}

impl EngineConfig {
    /// Settings for this directory, all others at their defaults.
    pub fn new(data_dir: impl Into<PathBuf>) -> EngineConfig {
        EngineConfig {
            data_dir: data_dir.into(),
            shards: None,
            log_file_bytes: LOG_FILE_BYTES_DEFAULT,
            disk_reserve_bytes: 3 * LOG_FILE_BYTES_DEFAULT,
            kernel: kernel::Config {
                pacing: kernel::Pacing { retry_us_max: RETRY_US_MAX, ..kernel::Pacing::default() },
                ..kernel::Config::default()
            },
            trace_file: None,
            record: None,
            on_halt: Arc::new(halt_process),
            on_recovery: Arc::new(|_, _| ()),
        }
    }
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("data_dir", &self.data_dir)
            .field("shards", &self.shards)
            .field("log_file_bytes", &self.log_file_bytes)
            .field("disk_reserve_bytes", &self.disk_reserve_bytes)
            .field("kernel", &self.kernel)
            .field("trace_file", &self.trace_file)
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

/// Exit code of a process whose kernel has halted: the disk failed, or an invariant of the log is broken. Starting again
/// recovers from the disk.
pub const HALT_EXIT_CODE: i32 = 70;

fn halt_process(reason: &kernel::Error) {
    eprintln!("tidemark: halted: {reason}");
    std::process::exit(HALT_EXIT_CODE);
}
