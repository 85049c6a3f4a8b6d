//! Sizes of the steps in which a log is written, read and repaired. They do not change the bytes of a log, except where
//! log files end. So a simulation draws small limits, and reaches every boundary with short records.

use super::recovery::CLEAR_LEN_MAX;

/// Limits of a log that is written or read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogLimits {
    /// Least length of a new log file.
    pub log_file_len: u64,
    /// Bytes of a record's part that are hashed and then copied while they are still in the processor's cache.
    pub copy_len: usize,
    /// Bytes that are cleared at once: 64 KiB at most.
    pub clear_len: usize,
    /// Into so many windows a log file is cut when it is read,
    pub windows: u64,
    /// of so many bytes each at least.
    pub window_len_min: u64,
}

impl Default for LogLimits {
    fn default() -> LogLimits {
        LogLimits {
            log_file_len: super::LOG_FILE_LEN_DEFAULT,
            copy_len: 256 << 10,
            clear_len: CLEAR_LEN_MAX,
            windows: 16,
            window_len_min: 1024,
        }
    }
}

/// Those of a server, with log files of this length.
impl From<u64> for LogLimits {
    fn from(log_file_len: u64) -> LogLimits {
        LogLimits { log_file_len, ..LogLimits::default() }
    }
}

impl LogLimits {
    /// Limits that a log can be handled within.
    pub(super) fn checked(self) -> LogLimits {
        let LogLimits { log_file_len: _, copy_len, clear_len, windows, window_len_min: _ } = self;
        assert!(copy_len > 0 && windows > 0, "something is copied and read at once");
        assert!(
            (1..=CLEAR_LEN_MAX).contains(&clear_len),
            "there are zeros for as much as is cleared at once"
        );
        self
    }
}
