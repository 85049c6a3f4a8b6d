//! How much of anything a shard takes at once. What rows come to does not depend on it, but for a row that is too large by itself;
//! so a simulation draws small limits, and comes to every seam with few rows.

use arrow_array::RecordBatch;

use crate::columns::PIECE_ROWS_MAX;
use crate::route::hash_rows;

/// Limits of a shard's steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardLimits {
    /// Bytes of rows that are worked on at once; more are taken one part after another. Columns have 31-bit offsets, so no step
    /// may come near 2 GiB of text; and what a shard needs in passing is bounded by this. A row of more than four times as many
    /// bytes is refused.
    pub step_bytes_max: usize,
    /// Rows in one piece of a record: [`PIECE_ROWS_MAX`] at most, as the log's format has it.
    pub piece_rows_max: usize,
    /// Most rows in a merged chunk; a chunk with a quarter of them is not merged with its neighbours any more.
    pub chunk_rows_max: usize,
    /// Most bytes of columns in a chunk merged of several, far below what 31-bit offsets reach.
    pub chunk_bytes_max: usize,
    /// Bytes of a refused row that are described; what is beyond is cut off.
    pub row_text_bytes_max: usize,
    /// Keys of stored rows that are gathered and hashed at once.
    pub keys_at_once: usize,
    /// Bits of a primary key's hash by which it is looked for: all 64. With a few, different keys have equal hashes.
    pub key_hash_bits: u32,
}

impl Default for ShardLimits {
    fn default() -> ShardLimits {
        ShardLimits {
            step_bytes_max: 256 << 20,
            piece_rows_max: PIECE_ROWS_MAX,
            chunk_rows_max: 65_536,
            chunk_bytes_max: 64 << 20,
            row_text_bytes_max: 64 << 20,
            keys_at_once: 4096,
            key_hash_bits: u64::BITS,
        }
    }
}

impl ShardLimits {
    /// Whether so many bytes are worked on at once.
    pub(super) fn fits_step(&self, bytes: usize) -> bool {
        bytes <= self.step_bytes_max
    }

    /// Whether rows are few enough, and small enough, for one chunk that several are merged into.
    pub(super) fn fits_chunk(&self, rows: usize, bytes: usize) -> bool {
        rows <= self.chunk_rows_max && bytes <= self.chunk_bytes_max
    }

    /// Hashes by which keys are looked for, one a row: those of the route, as far as they count here.
    pub(super) fn hash_keys(&self, rows: &RecordBatch, key_columns: &[u16], hashes: &mut Vec<u64>) {
        hash_rows(rows, key_columns, hashes);
        if self.key_hash_bits < u64::BITS {
            hashes.iter_mut().for_each(|hash| *hash &= (1 << self.key_hash_bits) - 1);
            assert!(hashes.iter().all(|hash| hash >> self.key_hash_bits == 0), "so many bits are left");
        }
    }
}
