//! Reads log files in large, aligned windows, so that payloads are slices of them.

use arrow_buffer::{Buffer, MutableBuffer};
use bytes::Bytes;

use super::{LogLimits, Storage};
use crate::error::Result;
use crate::record::ALIGNMENT;

/// A window over one log file.
pub(super) struct Reader {
    log_file: u64,
    log_file_len: u64,
    /// Bytes read at once, unless a record is longer; a multiple of [`ALIGNMENT`], so that no header spans two windows.
    window_len: u64,
    window_at: u64,
    window: Bytes,
}

/// Memory aligned to 64 bytes.
struct Aligned(Buffer);

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Reader {
    pub fn new(log_file: u64, log_file_len: u64, limits: &LogLimits) -> Reader {
        let window_len = log_file_len.div_ceil(limits.windows).max(limits.window_len_min);
        let window_len = window_len.next_multiple_of(ALIGNMENT);
        Reader { log_file, log_file_len, window_len, window_at: 0, window: Bytes::new() }
    }

    /// The bytes from `offset`, or None if the log file ends before them.
    pub fn bytes<S: Storage>(&mut self, storage: &mut S, offset: u64, len: u64) -> Result<Option<Bytes>> {
        let Some(left) = self.log_file_len.checked_sub(offset).filter(|left| *left >= len) else {
            return Ok(None);
        };
        if self.held(offset, len).is_none() {
            let window_len = len.max(self.window_len).min(left);
            let mut buffer = MutableBuffer::from_len_zeroed(window_len as usize);
            storage.read(self.log_file, offset, buffer.as_slice_mut())?;
            self.window = Bytes::from_owner(Aligned(buffer.into()));
            self.window_at = offset;
        }
        Ok(self.held(offset, len))
    }

    /// The bytes if they are in the window.
    fn held(&self, offset: u64, len: u64) -> Option<Bytes> {
        let start = offset.checked_sub(self.window_at)? as usize;
        let bytes = self.window.get(start..)?.get(..len as usize)?;
        Some(self.window.slice_ref(bytes))
    }

    /// The bytes from `offset` on, at most a window; None at the end of the log file.
    pub fn window<S: Storage>(&mut self, storage: &mut S, offset: u64) -> Result<Option<Bytes>> {
        let len = self.window_len.min(self.log_file_len.saturating_sub(offset));
        Ok(self.bytes(storage, offset, len)?.filter(|window| !window.is_empty()))
    }
}
