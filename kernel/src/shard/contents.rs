//! The rows of one table on one shard: chunks in order of row id and, for a keyed table, the index of the staged tip.
//! [`Contents::apply`] is the only function that changes them, live and in recovery; `outcome` computes the outcome of
//! a batch, `merge` merges chunks.

use std::num::NonZeroUsize;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave;

use super::chunk::{Chunk, KeyColumn, has_text, logical_bytes, value_bytes};
use super::index::{KeyIndex, RowLocation};
use super::{RowIds, ShardLimits};
use crate::coverage::{CoverageMark, reached};
use crate::error::Result;
use crate::ids::*;
use crate::route::{hash_is_exact, hash_rows, shard_of};
use crate::schema::TableDef;
use crate::snapshot::TableView;

/// A table's rows on a shard since its creation or truncation.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    pub table: Arc<TableDef>,
    pub schema: SchemaRef,
    /// Ordinals of the primary key; empty for an append table.
    pub key: Vec<u16>,
    /// Chunks by slot; a slot is reused once its chunk is merged or abandoned.
    pub slots: Vec<Option<Chunk>>,
    pub free_slots: Vec<u32>,
    /// Slots in order of row id. Published chunks come first.
    pub order: Vec<u32>,
    pub index: Option<KeyIndex>,
    /// Equal hashes mean equal keys.
    pub hash_is_exact: bool,
    /// The view for readers; `publish_view` builds it.
    pub view: Arc<TableView>,
    /// Number of applications staged and not yet published.
    pub staged: usize,
    pub limits: ShardLimits,
}

/// Primary keys of added rows; empty for a table without one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keys<'a> {
    /// Hash of each.
    pub hashes: &'a [u64],
    /// Location of the row that each replaces, which is among the deleted ones; NONE for a new key.
    pub before: &'a [RowLocation],
}

/// Rows have more bytes than one step allows: they must be processed in several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooLarge;

/// What one call of [`Contents::apply`] did: enough to publish it or to undo it.
#[derive(Clone, Debug, Default)]
pub(super) struct Applied {
    pub chunk: Option<u32>,
    pub deletes: Vec<RowLocation>,
}

impl Contents {
    pub fn new(table: Arc<TableDef>, limits: ShardLimits) -> Contents {
        let schema = table.stored_schema();
        let key = table.ordinals(&table.primary_key);
        let hash_is_exact = match key[..] {
            [column] if limits.key_hash_bits == u64::BITS => {
                hash_is_exact(schema.field(column as usize).data_type())
            }
            _ => false,
        };
        Contents {
            index: (!key.is_empty()).then(KeyIndex::default),
            table,
            schema,
            key,
            slots: Vec::new(),
            free_slots: Vec::new(),
            order: Vec::new(),
            hash_is_exact,
            view: Arc::new(TableView::default()),
            staged: 0,
            limits,
        }
    }

    pub fn chunk(&self, slot: u32) -> &Chunk {
        self.slots[slot as usize].as_ref().expect("a slot that is referred to is in use")
    }

    pub fn chunk_mut(&mut self, slot: u32) -> &mut Chunk {
        self.slots[slot as usize].as_mut().expect("a slot that is referred to is in use")
    }

    /// Whether a row is live at the staged tip.
    pub fn is_live(&self, location: RowLocation) -> bool {
        !self.chunk(location.slot()).deleted.get(location.row())
    }

    /// Location of a row id, if such a row exists (it may be deleted).
    pub fn find(&self, id: RowId) -> Option<RowLocation> {
        let at = self.order.partition_point(|slot| self.chunk(*slot).last_id() < id);
        let slot = *self.order.get(at)?;
        self.chunk(slot).ids.find(id).map(|row| RowLocation::new(slot, row))
    }

    pub fn id(&self, location: RowLocation) -> RowId {
        self.chunk(location.slot()).ids.get(location.row())
    }

    /// Ids of the rows that are live at the staged tip and have this number in a bigint column.
    pub fn ids_where(&self, column: usize, number: i64) -> Vec<RowId> {
        let mut ids = Vec::new();
        for slot in &self.order {
            let chunk = self.chunk(*slot);
            let numbers = chunk.rows.column(column).as_primitive::<Int64Type>();
            let living = (0..chunk.len()).filter(|row| !chunk.deleted.get(*row));
            ids.extend(living.filter(|row| numbers.value(*row) == number).map(|row| chunk.ids.get(row)));
        }
        ids
    }

    /// Locations of rows to delete, by row id. Each must be live.
    pub fn locations(&self, ids: &[RowId]) -> Result<Vec<RowLocation>> {
        let location = |id: &RowId| {
            let location = self.find(*id).filter(|location| self.is_live(*location));
            location.ok_or_else(|| {
                super::corrupt(&self.table, format!("row {}.{} does not exist", id.sequence, id.ordinal))
            })
        };
        ids.iter().map(location).collect()
    }

    /// The only function that changes rows: deletes some and adds some. `keys` are those of the added rows. `sequence`
    /// and `first` (the ordinal of the first added row) determine their ids. An error means that the outcome
    /// contradicts the state: corruption in recovery, a violated invariant live.
    pub fn apply(
        &mut self,
        sequence: Sequence,
        first: u32,
        deletes: Vec<RowLocation>,
        rows: Option<RecordBatch>,
        keys: Keys<'_>,
    ) -> Result<Applied> {
        for location in &deletes {
            let chunk = self.chunk_mut(location.slot());
            let rows = chunk.len();
            if !chunk.deleted.set(location.row(), rows) {
                return Err(super::corrupt(&self.table, "a row is deleted twice".into()));
            }
        }
        let mut replaced = 0;
        let mut slot = None;
        if let Some(rows) = rows {
            let len = rows.num_rows() as u32;
            let ids = RowIds::Run { sequence, first, len };
            let chunk = Chunk::new(self.table.schema_version, rows, ids, &self.key);
            slot = Some(self.add_chunk(chunk));
            replaced = self.index_chunk(slot.expect("just added"), keys)?;
        }
        if let (Some(_), Some(forgotten)) = (&self.index, NonZeroUsize::new(deletes.len() - replaced)) {
            reached(CoverageMark::KeysForgotten);
            self.unindex(&deletes, forgotten.get());
        }
        self.staged += 1;
        Ok(Applied { chunk: slot, deletes })
    }

    /// Appends a chunk whose rows are after all others.
    fn add_chunk(&mut self, chunk: Chunk) -> u32 {
        if let Some(last) = self.order.last() {
            assert!(self.chunk(*last).last_id() < chunk.first_id(), "row ids ascend");
        }
        let slot = self.put_slot(chunk);
        self.order.push(slot);
        slot
    }

    pub fn put_slot(&mut self, chunk: Chunk) -> u32 {
        match self.free_slots.pop() {
            Some(slot) => {
                assert!(self.slots[slot as usize].is_none(), "a free slot is free");
                self.slots[slot as usize] = Some(chunk);
                slot
            }
            None => {
                self.slots.push(Some(chunk));
                u32::try_from(self.slots.len() - 1).expect("chunks are counted in 32 bits")
            }
        }
    }

    pub fn take_slot(&mut self, slot: u32) -> Chunk {
        self.free_slots.push(slot);
        self.slots[slot as usize].take().expect("a slot that is given back is in use")
    }

    /// Points the keys of a new chunk to it. Returns the number of keys that existed already, each with a row that was
    /// just deleted.
    fn index_chunk(&mut self, slot: u32, keys: Keys<'_>) -> Result<usize> {
        let Some(index) = &mut self.index else {
            return Ok(0);
        };
        let slots = &self.slots;
        let len = slots[slot as usize].as_ref().expect("in use").len();
        assert!(keys.hashes.len() == len && keys.before.len() == len, "one key a row");
        let is_gone = |location: &RowLocation| {
            slots[location.slot() as usize].as_ref().expect("in use").deleted.get(location.row())
        };
        if !keys.before.iter().all(|location| location.is_none() || is_gone(location)) {
            return Err(super::corrupt(&self.table, "a primary key is there twice".into()));
        }
        let mut replaced = 0;
        for (row, (hash, before)) in keys.hashes.iter().zip(keys.before).enumerate() {
            let location = RowLocation::new(slot, row);
            if before.is_none() {
                index.insert(*hash, location);
            } else {
                let found = index.repoint(*hash, *before, location);
                assert!(found, "the index holds the living rows");
                replaced += 1;
            }
        }
        Ok(replaced)
    }

    /// Removes the keys of deleted rows, `count` of which have no new version.
    fn unindex(&mut self, deletes: &[RowLocation], count: usize) {
        let hashes = self.key_hashes(deletes);
        let index = self.index.as_mut().expect("a keyed table");
        let removed =
            deletes.iter().zip(hashes).filter(|(location, hash)| index.remove(*hash, **location)).count();
        assert_eq!(removed, count, "the index holds the living rows and no others");
    }

    /// Hashes of the primary keys of stored rows.
    fn key_hashes(&self, locations: &[RowLocation]) -> Vec<u64> {
        let key = &self.key;
        let fields: Vec<_> = key.iter().map(|c| self.schema.field(*c as usize).clone()).collect();
        let schema = Arc::new(arrow_schema::Schema::new(fields));
        let ordinals: Vec<u16> = (0..key.len() as u16).collect();
        let (mut all, mut hashes) = (Vec::with_capacity(locations.len()), Vec::new());
        for locations in locations.chunks(self.limits.keys_at_once) {
            let columns = key.iter().map(|c| self.gather_unbounded(*c as usize, locations, None)).collect();
            let keys =
                RecordBatch::try_new(Arc::clone(&schema), columns).expect("key columns fit their fields");
            self.limits.hash_keys(&keys, &ordinals, &mut hashes);
            all.extend_from_slice(&hashes);
        }
        all
    }

    /// Values of one column at the given locations, each at most once; for NONE, the value of that position's row in
    /// `incoming`.
    pub fn gather(
        &self,
        column: usize,
        locations: &[RowLocation],
        incoming: (&ArrayRef, &[u32]),
    ) -> Result<ArrayRef, TooLarge> {
        let bytes = |location: &RowLocation| {
            value_bytes(self.chunk(location.slot()).rows.column(column), location.row())
        };
        let stored = locations.iter().filter(|location| !location.is_none());
        if has_text(incoming.0) && locations.len() > 1 && !self.limits.fits_step(stored.map(bytes).sum()) {
            return Err(TooLarge);
        }
        let gathered = self.gather_unbounded(column, locations, Some(incoming));
        // Stored and incoming values each fit one step, apart from the offsets of texts.
        assert!(
            locations.len() <= 1
                || logical_bytes(&gathered) <= 2 * self.limits.step_bytes_max + 5 * (locations.len() + 1),
            "gathered values fit a step"
        );
        Ok(gathered)
    }

    fn gather_unbounded(
        &self,
        column: usize,
        locations: &[RowLocation],
        incoming: Option<(&ArrayRef, &[u32])>,
    ) -> ArrayRef {
        let mut source_of_slot = vec![u32::MAX; self.slots.len()];
        let mut sources: Vec<&dyn arrow_array::Array> = Vec::new();
        if let Some((array, _)) = incoming {
            sources.push(array.as_ref());
        }
        let picks: Vec<(usize, usize)> = locations
            .iter()
            .enumerate()
            .map(|(at, location)| {
                if location.is_none() {
                    let (_, rows) = incoming.expect("an absent row is taken from the incoming ones");
                    return (0, rows[at] as usize);
                }
                let source = &mut source_of_slot[location.slot() as usize];
                if *source == u32::MAX {
                    *source = sources.len() as u32;
                    sources.push(self.chunk(location.slot()).rows.column(column).as_ref());
                }
                (*source as usize, location.row())
            })
            .collect();
        if sources.is_empty() {
            return arrow_array::new_empty_array(self.schema.field(column).data_type());
        }
        interleave(&sources, &picks).expect("places lie inside of their chunks")
    }

    /// Locations of the rows with these keys at the staged tip, NONE for a new key. It uses short loops, so that the
    /// processor overlaps the memory accesses of many rows.
    pub fn probe(&self, key: &[KeyColumn], rows: &[u32], hashes: &[u64]) -> Vec<RowLocation> {
        let index = self.index.as_ref().expect("a keyed table");
        if index.len() == 0 {
            return vec![RowLocation::NONE; rows.len()];
        }
        let mut locations: Vec<RowLocation> =
            rows.iter().map(|row| index.find(hashes[*row as usize], |_| true)).collect();
        if self.hash_is_exact {
            return locations;
        }
        // A found row has the key that was searched for; a key without a match is done as well.
        let is_settled: Vec<bool> = match key {
            [key @ KeyColumn::Bytes(..)] => {
                let stored = |location: &RowLocation| match location.is_none() {
                    true => None,
                    false => Some(self.chunk(location.slot()).key[0].bytes(location.row())),
                };
                let stored: Vec<Option<&[u8]>> = locations.iter().map(stored).collect();
                let is_settled = |(row, stored): (&u32, Option<&[u8]>)| {
                    stored.is_none_or(|stored| key.bytes(*row as usize) == stored)
                };
                rows.iter().zip(stored).map(is_settled).collect()
            }
            _ => {
                let is_settled = |(row, location): (&u32, &RowLocation)| match location.is_none() {
                    true => true,
                    false => keys_equal(key, *row as usize, &self.chunk(location.slot()).key, location.row()),
                };
                rows.iter().zip(&locations).map(is_settled).collect()
            }
        };
        for (at, location) in locations.iter_mut().enumerate().filter(|(at, _)| !is_settled[*at]) {
            // The first match has another key with the same hash.
            let row = rows[at] as usize;
            let same = |location: RowLocation| {
                keys_equal(key, row, &self.chunk(location.slot()).key, location.row())
            };
            *location = index.find(hashes[row], same);
        }
        locations
    }

    /// Undoes the latest [`apply`](Self::apply).
    pub fn undo(&mut self, applied: &Applied) {
        if let Some(slot) = applied.chunk {
            assert_eq!(self.order.pop(), Some(slot), "the latest application is undone first");
            let locations: Vec<RowLocation> =
                (0..self.chunk(slot).len()).map(|row| RowLocation::new(slot, row)).collect();
            if self.index.is_some() {
                self.unindex(&locations, locations.len());
            }
            let chunk = self.take_slot(slot);
            assert!(!chunk.published && chunk.deleted.count() == 0, "later applications are undone first");
        }
        for location in &applied.deletes {
            self.chunk_mut(location.slot()).deleted.clear(location.row());
        }
        self.staged -= 1;
        let Some(mut index) = self.index.take() else { return };
        for (location, hash) in applied.deletes.iter().zip(self.key_hashes(&applied.deletes)) {
            // The key is not in the index: its new version, if it had one, was removed above.
            index.insert(hash, *location);
        }
        self.index = Some(index);
    }

    /// Makes an application visible to the next view.
    pub fn publish(&mut self, applied: &Applied) {
        for location in &applied.deletes {
            self.chunk_mut(location.slot()).publish_deletion(location.row());
        }
        if let Some(slot) = applied.chunk {
            let chunk = self.chunk_mut(slot);
            assert!(!chunk.published, "a chunk is published once");
            chunk.published = true;
        }
        self.staged -= 1;
    }

    /// Number of published chunks; they are first in order.
    pub fn published_chunks(&self) -> usize {
        self.order.partition_point(|slot| self.chunk(*slot).published)
    }

    /// Rebuilds the view for readers.
    pub fn publish_view(&mut self) {
        assert_eq!(
            self.slots.len(),
            self.order.len() + self.free_slots.len(),
            "a slot that is not in use is used again"
        );
        let count = self.published_chunks();
        let mut view = TableView { chunks: Vec::with_capacity(count), live_rows: 0, bytes: 0 };
        for at in 0..count {
            let chunk = self.slots[self.order[at] as usize].as_mut().expect("in use");
            if chunk.live_published() > 0 {
                view.chunks.push(chunk.view());
            }
            view.live_rows += chunk.live_published() as u64;
            view.bytes += chunk.bytes() as u64;
        }
        view.bytes += self.index.as_ref().map_or(0, |i| i.bytes() as u64);
        self.view = Arc::new(view);
    }

    /// The view for a statement at the staged tip.
    pub fn view_tip(&self) -> Arc<TableView> {
        if self.staged == 0 {
            return Arc::clone(&self.view);
        }
        reached(CoverageMark::TipViewed);
        let mut view = TableView::default();
        for slot in &self.order {
            let chunk = self.chunk(*slot);
            let live = chunk.len() - chunk.deleted.count();
            if live > 0 {
                view.chunks.push(chunk.view_tip());
            }
            view.live_rows += live as u64;
            view.bytes += chunk.bytes() as u64;
        }
        view.bytes += self.index.as_ref().map_or(0, |i| i.bytes() as u64);
        Arc::new(view)
    }

    /// Whether the first rows (all, if `thorough`) belong to this shard by their placement columns.
    pub fn placed(&self, rows: &RecordBatch, shard: ShardId, shard_count: u16, thorough: bool) -> bool {
        const SPOT_CHECK_ROWS: usize = 16;
        let checked = if thorough { rows.num_rows() } else { rows.num_rows().min(SPOT_CHECK_ROWS) };
        let mut hashes = Vec::new();
        hash_rows(&rows.slice(0, checked), &self.table.placement_columns(), &mut hashes);
        hashes.iter().all(|hash| shard_of(*hash, shard_count) == shard.0)
    }
}

#[cfg(feature = "explore")]
impl Contents {
    /// See [`crate::fingerprint`]: the chunks in order.
    pub fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let Contents {
            table,
            schema: _,
            key: _,
            slots: _,
            free_slots: _,
            order,
            index,
            hash_is_exact: _,
            view: _,
            staged,
            limits: _,
        } = self;
        to.word(table.id.0);
        to.count(order.len());
        order.iter().for_each(|slot| self.chunk(*slot).fingerprint(table, to));
        to.count(index.as_ref().map_or(0, KeyIndex::len));
        to.count(*staged);
    }

    /// A step in the fingerprint, with locations replaced by their order.
    pub fn logical_step(&self, applied: &Applied, to: &mut crate::fingerprint::StateFingerprint) {
        let Applied { chunk, deletes } = applied;
        let place_of = |slot: u32| self.order.iter().position(|other| *other == slot).unwrap_or(usize::MAX);
        to.count(chunk.map_or(usize::MAX - 1, place_of));
        to.count(deletes.len());
        for location in deletes {
            to.count(place_of(location.slot()));
            to.count(location.row());
        }
    }
}

/// Whether two rows have the same key.
#[inline]
pub(super) fn keys_equal(a: &[KeyColumn], row: usize, b: &[KeyColumn], other_row: usize) -> bool {
    a.iter().zip(b).all(|(a, b)| a.equal(row, b, other_row))
}
