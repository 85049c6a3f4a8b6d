//! The state that readers see: all shards and the catalog at one sequence, immutable. Publication replaces it with a
//! newer one. Readers take it from the host, without a message to the kernel.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{BooleanArray, RecordBatch};
use arrow_buffer::BooleanBuffer;

use crate::ids::*;
use crate::schema::Catalog;
use crate::shard::RowIds;

/// A consistent state of the whole database.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The state is the fold of the log up to and including this record.
    pub sequence: Sequence,
    /// Definitions and cursors at this sequence.
    pub catalog: Arc<Catalog>,
    /// One view per shard, by shard id.
    pub shards: Vec<Arc<ShardView>>,
}

/// One shard's part of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct ShardView {
    /// Tables that ever had rows on this shard.
    pub tables: BTreeMap<TableId, Arc<TableView>>,
}

/// One table's rows on one shard.
#[derive(Clone, Debug, Default)]
pub struct TableView {
    /// In order of row id.
    pub chunks: Vec<ChunkView>,
    /// Rows that are not deleted.
    pub live_rows: u64,
    /// Bytes in memory: columns, row ids, deletion bitmaps and key index.
    pub bytes: u64,
}

/// An immutable chunk of rows, and the rows that are live at the snapshot's sequence.
#[derive(Clone, Debug)]
pub struct ChunkView {
    /// Schema version of the table under which the rows were written.
    pub schema_version: u32,
    /// Rows in the stored schema of that version.
    pub rows: RecordBatch,
    /// Their stable ids.
    pub ids: RowIds,
    /// True for deleted rows; None: all rows are live.
    pub deleted: Option<Arc<BooleanBuffer>>,
}

impl ChunkView {
    /// The filter that keeps the live rows; None if all rows are live.
    pub fn live_filter(&self) -> Option<BooleanArray> {
        self.deleted.as_ref().map(|d| BooleanArray::new(!d.as_ref(), None))
    }

    /// Number of live rows.
    pub fn live_rows(&self) -> u64 {
        let deleted = self.deleted.as_ref().map_or(0, |d| d.count_set_bits());
        (self.rows.num_rows() - deleted) as u64
    }
}
