//! What readers see: one immutable state of all shards and the catalog, at one sequence. Acquired and released by explicit
//! inputs of the coordinator; swapping in a new one is the whole of publication.

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
    /// The state is the fold of the log up to and with this record.
    pub sequence: Sequence,
    /// Definitions and cursors at this sequence.
    pub catalog: Arc<Catalog>,
    /// One view a shard, by shard id.
    pub shards: Vec<Arc<ShardView>>,
}

/// One shard's part of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct ShardView {
    /// Tables that have ever had rows on this shard.
    pub tables: BTreeMap<TableId, Arc<TableView>>,
}

/// One table's rows on one shard.
#[derive(Clone, Debug, Default)]
pub struct TableView {
    /// In order of row id.
    pub chunks: Vec<ChunkView>,
    /// Rows that are not deleted.
    pub live_rows: u64,
    /// Bytes held: columns, row ids, deletion bitmaps and key index.
    pub bytes: u64,
}

/// An immutable run of rows and which of them still live at the snapshot's sequence.
#[derive(Clone, Debug)]
pub struct ChunkView {
    /// Rows in the table's stored schema.
    pub rows: RecordBatch,
    /// Their stable ids.
    pub ids: RowIds,
    /// True for rows that are gone; None: all live.
    pub deleted: Option<Arc<BooleanBuffer>>,
}

impl ChunkView {
    /// The filter that keeps the living rows, or None if all live.
    pub fn live_filter(&self) -> Option<BooleanArray> {
        self.deleted.as_ref().map(|d| BooleanArray::new(!d.as_ref(), None))
    }

    /// Rows that live.
    pub fn live_rows(&self) -> u64 {
        let deleted = self.deleted.as_ref().map_or(0, |d| d.count_set_bits());
        (self.rows.num_rows() - deleted) as u64
    }
}
