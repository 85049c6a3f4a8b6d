//! Limits of a shard's steps. Results do not depend on them, except for a single row that is too large; so a simulation
//! draws small limits and reaches every boundary with few rows.

use arrow_array::RecordBatch;

use crate::columns::PIECE_ROWS_MAX;
use crate::route::hash_rows;

/// Limits of a shard's steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShardLimits {
    /// Bytes of rows that are processed at once; more are processed in parts. Columns have 31-bit offsets, so a step
    /// must stay far below 2 GiB of text. It also bounds the temporary memory of a shard. A row of more than four times
    /// as many bytes is rejected.
    pub step_bytes_max: usize,
    /// Rows in one piece of a record, at most [`PIECE_ROWS_MAX`], the limit of the log format.
    pub piece_rows_max: usize,
    /// Most rows in a merged chunk; a chunk with a quarter of them is no longer merged with its neighbours.
    pub chunk_rows_max: usize,
    /// Most bytes of columns in a chunk merged from several, far below the limit of 31-bit offsets.
    pub chunk_bytes_max: usize,
    /// Bytes of the description of a rejected row; a longer one is truncated.
    pub row_text_bytes_max: usize,
    /// Keys of stored rows that are gathered and hashed at once.
    pub keys_at_once: usize,
    /// Bits of a primary key's hash that lookups use: all 64. With few bits, different keys have equal hashes.
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
    /// Whether these bytes fit one step.
    pub(super) fn fits_step(&self, bytes: usize) -> bool {
        bytes <= self.step_bytes_max
    }

    /// Whether rows are few and small enough for one merged chunk.
    pub(super) fn fits_chunk(&self, rows: usize, bytes: usize) -> bool {
        rows <= self.chunk_rows_max && bytes <= self.chunk_bytes_max
    }

    /// Hashes for lookups of keys, one per row: those of the route, limited to `key_hash_bits`.
    pub(super) fn hash_keys(&self, rows: &RecordBatch, key_columns: &[u16], hashes: &mut Vec<u64>) {
        hash_rows(rows, key_columns, hashes);
        if self.key_hash_bits < u64::BITS {
            hashes.iter_mut().for_each(|hash| *hash &= (1 << self.key_hash_bits) - 1);
            assert!(hashes.iter().all(|hash| hash >> self.key_hash_bits == 0), "so many bits are left");
        }
    }
}
