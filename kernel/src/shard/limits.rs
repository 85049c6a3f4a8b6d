//! How much of anything a shard takes at once. What rows come to does not depend on it, but for a row that is too large by itself;
//! so a simulation draws small limits, and comes to every seam with few rows.

use crate::columns::PIECE_ROWS_MAX;

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
}

impl Default for ShardLimits {
    fn default() -> ShardLimits {
        ShardLimits {
            step_bytes_max: 256 << 20,
            piece_rows_max: PIECE_ROWS_MAX,
            chunk_rows_max: 65_536,
            chunk_bytes_max: 64 << 20,
            row_text_bytes_max: 64 << 20,
        }
    }
}
