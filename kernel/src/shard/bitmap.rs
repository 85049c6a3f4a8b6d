//! The deleted rows of a chunk.

use std::sync::Arc;

use arrow_buffer::{BooleanBuffer, Buffer};

/// A bitmap that uses no memory before the first bit is set.
#[derive(Clone, Debug, Default)]
pub(super) struct Bitmap {
    words: Vec<u64>,
    set: usize,
}

impl Bitmap {
    /// Bits that are set.
    pub fn count(&self) -> usize {
        self.set
    }

    pub fn get(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Sets a bit of a chunk of `rows`; false if it was set already.
    pub fn set(&mut self, row: usize, rows: usize) -> bool {
        assert!(row < rows, "row {row} of a chunk of {rows}");
        if self.words.is_empty() {
            self.words = vec![0; rows.div_ceil(64)];
        }
        let (word, bit) = (&mut self.words[row / 64], 1 << (row % 64));
        let new = *word & bit == 0;
        *word |= bit;
        self.set += usize::from(new);
        new
    }

    /// Clears a bit that is set.
    pub fn clear(&mut self, row: usize) {
        assert!(self.get(row), "row {row} is not deleted");
        self.words[row / 64] &= !(1 << (row % 64));
        self.set -= 1;
    }

    /// An immutable copy for readers.
    pub fn freeze(&self, rows: usize) -> Option<Arc<BooleanBuffer>> {
        (self.set > 0).then(|| {
            let words: Vec<u64> = self.words.iter().map(|word| word.to_le()).collect();
            Arc::new(BooleanBuffer::new(Buffer::from_vec(words), 0, rows))
        })
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.words.len() * 8
    }
}
