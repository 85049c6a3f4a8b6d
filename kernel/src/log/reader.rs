//! Reads segments in large, aligned windows, so that payloads are slices of them.

use arrow_buffer::{Buffer, MutableBuffer};
use bytes::Bytes;

use super::Storage;
use crate::error::Result;

/// Bytes read at once, unless a record is longer.
const WINDOW_LEN: u64 = 4 << 20;

/// A window over one segment.
pub(super) struct Reader {
    segment: u64,
    segment_len: u64,
    window_at: u64,
    window: Bytes,
}

/// Memory that starts at a multiple of 64.
struct Aligned(Buffer);

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl Reader {
    pub fn new(segment: u64, segment_len: u64) -> Reader {
        Reader { segment, segment_len, window_at: 0, window: Bytes::new() }
    }

    /// The bytes from `offset`, or None if the segment ends before them.
    pub fn bytes<S: Storage>(&mut self, storage: &mut S, offset: u64, len: u64) -> Result<Option<Bytes>> {
        let Some(end) = offset.checked_add(len).filter(|end| *end <= self.segment_len) else {
            return Ok(None);
        };
        if offset < self.window_at || end > self.window_at + self.window.len() as u64 {
            let window_len = len.max(WINDOW_LEN).min(self.segment_len - offset);
            let mut buffer = MutableBuffer::from_len_zeroed(window_len as usize);
            storage.read(self.segment, offset, buffer.as_slice_mut())?;
            self.window = Bytes::from_owner(Aligned(buffer.into()));
            self.window_at = offset;
        }
        let start = (offset - self.window_at) as usize;
        Ok(Some(self.window.slice(start..start + len as usize)))
    }

    /// As much as can be had at once from `offset`: at most a window, empty at the end of the segment.
    pub fn window<S: Storage>(&mut self, storage: &mut S, offset: u64) -> Result<Bytes> {
        let len = WINDOW_LEN.min(self.segment_len.saturating_sub(offset));
        Ok(self.bytes(storage, offset, len)?.unwrap_or_default())
    }
}
