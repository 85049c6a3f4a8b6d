//! Merging: many small chunks into one, and chunks of mostly deleted rows into their live rows. Only published chunks are merged,
//! and only neighbours of one schema version, so that row ids stay ascending; rows keep their ids. Readers continue to read the chunks that
//! they hold.
//!
//! A row is copied only into a chunk at least four times as large as any it was in before, up to a quarter of
//! [`ShardLimits::chunk_rows_max`], so each row is copied only a few times, and a table has a few small chunks beside
//! its full ones. A chunk more than half dead is rewritten, so a table with constant updates takes a bounded multiple
//! of its live rows. Each call has a budget of rows.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_select::concat::concat;
use arrow_select::filter::filter;

use super::chunk::Chunk;
use super::contents::Contents;
use super::index::RowLocation;
use super::{RowIds, ShardLimits};
use crate::coverage::{CoverageMark, reached};
use crate::ids::*;

/// Least ratio of the size of a merged chunk to each of its sources.
const GROWTH: usize = 4;

/// The new locations of rows.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// By old slot, the new location of each row; NONE for a row that was dropped.
    of_slot: BTreeMap<u32, Vec<RowLocation>>,
}

impl Moves {
    /// The new location of a row.
    pub fn follow(&self, location: RowLocation) -> RowLocation {
        let Some(locations) = self.of_slot.get(&location.slot()) else {
            return location;
        };
        let now = locations[location.row()];
        assert!(!now.is_none(), "only rows that are deleted for readers are dropped");
        now
    }
}

/// Merges chunks within a budget that grows with the `rows` just published; None if no merge is worthwhile.
pub(super) fn merge(contents: &mut Contents, rows: usize) -> Option<Moves> {
    let limits = contents.limits;
    let mut budget = limits.chunk_rows_max + GROWTH * rows;
    let mut moves = None;
    let chunks: Vec<Weight> = contents.order[..contents.published_chunks()]
        .iter()
        .map(|slot| Weight::of(contents.chunk(*slot)))
        .collect();
    // From the back, so that the indexes of earlier windows stay valid.
    for window in plan(&chunks, limits).into_iter().rev() {
        let live: usize = chunks[window.clone()].iter().map(|c| c.live).sum();
        if live <= budget {
            budget -= live;
            merge_window(contents, window, moves.get_or_insert_default());
        }
    }
    moves
}

/// The properties of a chunk for planning.
#[derive(Clone, Copy, Debug)]
struct Weight {
    schema_version: u32,
    rows: usize,
    live: usize,
    bytes: usize,
}

impl Weight {
    fn of(chunk: &Chunk) -> Weight {
        Weight {
            schema_version: chunk.schema_version,
            rows: chunk.len(),
            live: chunk.live_published(),
            bytes: chunk.row_bytes(),
        }
    }

    /// More than half of it is dead.
    fn is_sparse(&self) -> bool {
        2 * self.live < self.rows
    }
}

/// Windows of neighbours to merge, in order, without overlap.
fn plan(chunks: &[Weight], limits: ShardLimits) -> Vec<Range<usize>> {
    let mut windows = Vec::new();
    let mut at = 0;
    while at < chunks.len() {
        match small_window(chunks, at, limits).or_else(|| sparse_window(chunks, at, limits)) {
            Some(end) => {
                windows.push(at..end);
                at = end;
            }
            None => at += 1,
        }
    }
    windows
}

/// The longest window of small chunks from here whose merged chunk is [`GROWTH`] times larger than each.
fn small_window(chunks: &[Weight], start: usize, limits: ShardLimits) -> Option<usize> {
    let (mut sum, mut bytes, mut greatest, mut found) = (0, 0, 0, None);
    for (at, chunk) in chunks.iter().enumerate().skip(start) {
        sum += chunk.live;
        bytes += chunk.bytes;
        greatest = greatest.max(chunk.live);
        let full = chunk.live >= limits.chunk_rows_max / GROWTH;
        let same_schema = chunk.schema_version == chunks[start].schema_version;
        if full || !same_schema || !limits.fits_chunk(sum, bytes) {
            break;
        }
        if at > start && sum >= GROWTH * greatest {
            found = Some(at + 1);
        }
    }
    found
}

/// A window of mostly dead neighbours.
fn sparse_window(chunks: &[Weight], start: usize, limits: ShardLimits) -> Option<usize> {
    if !chunks[start].is_sparse() {
        return None;
    }
    let (mut sum, mut bytes) = (0, 0);
    let fits = |chunk: &&Weight| {
        sum += chunk.live;
        bytes += chunk.bytes;
        let same_schema = chunk.schema_version == chunks[start].schema_version;
        chunk.is_sparse() && same_schema && limits.fits_chunk(sum, bytes)
    };
    let count = chunks[start..].iter().take_while(fits).count();
    // A single chunk is rewritten however many bytes it has.
    Some(start + count.max(1))
}

fn merge_window(contents: &mut Contents, window: Range<usize>, moves: &mut Moves) {
    let slots: Vec<u32> = contents.order[window.clone()].to_vec();
    let all_sparse = slots.iter().all(|slot| Weight::of(contents.chunk(*slot)).is_sparse());
    reached(if all_sparse { CoverageMark::SparseChunksRewritten } else { CoverageMark::SmallChunksMerged });
    let merged = merged_chunk(contents, &slots);
    let fits = |chunk: &Chunk| contents.limits.fits_chunk(chunk.len(), chunk.row_bytes());
    assert!(
        slots.len() <= 1 || merged.as_ref().is_none_or(fits),
        "a chunk merged of several keeps to its limits"
    );
    let new_slot = merged.map(|chunk| contents.put_slot(chunk));
    let mut from = Vec::new();
    for slot in &slots {
        let old = contents.take_slot(*slot);
        assert!(old.published, "only published chunks are merged");
        let locations = (0..old.len()).map(|old_row| {
            if old.deleted_published.get(old_row) {
                return RowLocation::NONE;
            }
            from.push(RowLocation::new(*slot, old_row));
            RowLocation::new(new_slot.expect("a live row exists"), from.len() - 1)
        });
        moves.of_slot.insert(*slot, locations.collect());
    }
    assert_eq!(from.len(), new_slot.map_or(0, |slot| contents.chunk(slot).len()), "every living row moved");
    if let Some(slot) = new_slot {
        repoint(contents, slot, &from);
    }
    contents.order.splice(window, new_slot);
    if let Some(index) = &mut contents.index {
        index.shrink();
    }
}

/// The published live rows of some neighbours, or None if there are none.
fn merged_chunk(contents: &Contents, slots: &[u32]) -> Option<Chunk> {
    let chunks: Vec<&Chunk> = slots.iter().map(|slot| contents.chunk(*slot)).collect();
    let live: usize = chunks.iter().map(|c| c.live_published()).sum();
    if live == 0 {
        return None;
    }
    let filters: Vec<Option<BooleanArray>> = chunks.iter().map(|c| live_filter(c)).collect();
    let column = |at: usize| {
        let parts: Vec<ArrayRef> = chunks
            .iter()
            .zip(&filters)
            .map(|(chunk, live)| match live {
                Some(live) => filter(chunk.rows.column(at), live).expect("one flag a row"),
                None => chunk.rows.column(at).clone(),
            })
            .collect();
        let parts: Vec<&dyn Array> = parts.iter().map(|p| p.as_ref()).collect();
        concat(&parts).expect("columns of one type, bounded in bytes")
    };
    let columns = (0..contents.schema.fields().len()).map(column).collect();
    let rows = RecordBatch::try_new(contents.schema.clone(), columns).expect("rows of the table");
    let mut ids: Vec<RowId> = Vec::with_capacity(live);
    let mut deleted = Vec::new();
    let mut of_chunk: Vec<RowId> = Vec::new();
    for chunk in &chunks {
        of_chunk.clear();
        chunk.ids.append_to(&mut of_chunk);
        for (row, id) in of_chunk.iter().enumerate().filter(|(row, _)| !chunk.deleted_published.get(*row)) {
            if chunk.deleted.get(row) {
                deleted.push(ids.len());
            }
            ids.push(*id);
        }
    }
    let schema_version = chunks[0].schema_version;
    assert!(
        chunks.iter().all(|chunk| chunk.schema_version == schema_version),
        "chunks of one schema version are merged"
    );
    let mut merged = Chunk::new(schema_version, rows, RowIds::from_ascending(&ids), &contents.key);
    merged.published = true;
    for row in deleted {
        reached(CoverageMark::MergedStagedDeletion);
        merged.deleted.set(row, live);
    }
    Some(merged)
}

fn live_filter(chunk: &Chunk) -> Option<BooleanArray> {
    let deleted = chunk.deleted_published.freeze(chunk.len());
    deleted.map(|deleted| BooleanArray::new(!deleted.as_ref(), None))
}

/// Points the keys of a merged chunk's rows to it; `from` are their old locations.
fn repoint(contents: &mut Contents, slot: u32, from: &[RowLocation]) {
    let Some(index) = &mut contents.index else {
        return;
    };
    let merged = contents.slots[slot as usize].as_ref().expect("just made");
    let mut hashes = Vec::new();
    contents.limits.hash_keys(&merged.rows, &contents.key, &mut hashes);
    for (row, (hash, from)) in hashes.iter().zip(from).enumerate() {
        if !merged.deleted.get(row) {
            let found = index.repoint(*hash, *from, RowLocation::new(slot, row));
            assert!(found, "every live row at the staged tip is in the index");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: ShardLimits = ShardLimits {
        step_bytes_max: 0,
        piece_rows_max: 1,
        chunk_rows_max: 65_536,
        chunk_bytes_max: 64 << 20,
        row_text_bytes_max: 0,
        keys_at_once: 1,
        key_hash_bits: 64,
    };

    fn weight(schema_version: u32, rows: usize, live: usize) -> Weight {
        Weight { schema_version, rows, live, bytes: rows * 100 }
    }

    #[test]
    fn chunks_of_two_schema_versions_are_not_merged() {
        let chunks = |live: usize| [1, 1, 1, 1, 2, 2, 2, 2, 2].map(|version| weight(version, 100, live));
        let windows = |live| {
            let all = plan(&chunks(live), LIMITS);
            all.into_iter().map(|window| (window.start, window.end)).collect::<Vec<_>>()
        };
        assert_eq!(windows(100), [(0, 4), (4, 9)]);
        assert_eq!(windows(3), [(0, 4), (4, 9)]);
    }

    fn weights(rows: &[(usize, usize)]) -> Vec<Weight> {
        rows.iter().map(|(rows, live)| weight(1, *rows, *live)).collect()
    }

    fn planned(rows: &[(usize, usize)]) -> Vec<(usize, usize)> {
        plan(&weights(rows), LIMITS).into_iter().map(|window| (window.start, window.end)).collect()
    }

    #[test]
    fn chunks_of_like_size_are_merged_and_large_ones_left() {
        assert_eq!(planned(&[(1, 1); 3]), []);
        assert_eq!(planned(&[(1, 1); 4]), [(0, 4)]);
        assert_eq!(planned(&[(900, 900), (1, 1), (1, 1), (1, 1), (1, 1)]), [(1, 5)]);
        assert_eq!(planned(&[(20_000, 20_000); 8]), []);
        assert_eq!(planned(&[(10_000, 10_000); 8]), [(0, 6)]);
    }

    #[test]
    fn mostly_dead_chunks_are_rewritten() {
        assert_eq!(planned(&[(60_000, 30_000), (60_000, 29_999), (60_000, 10)]), [(1, 3)]);
        assert_eq!(planned(&[(60_000, 0)]), [(0, 1)]);
    }

    #[test]
    fn chunks_of_many_bytes_are_not_merged() {
        let third = Weight { schema_version: 1, rows: 100, live: 100, bytes: LIMITS.chunk_bytes_max / 3 };
        assert_eq!(plan(&[third; 3], LIMITS), []);
        assert_eq!(plan(&[third; 12], LIMITS), [], "four of them would be too much");
        let quarter = Weight { bytes: LIMITS.chunk_bytes_max / 4, ..third };
        assert_eq!(plan(&[quarter; 9], LIMITS), [0..4, 4..8]);
        let sparse = Weight { live: 10, ..third };
        assert_eq!(plan(&[sparse; 7], LIMITS), [0..3, 3..6, 6..7]);
    }

    /// For all sizes of batches, a row is copied only a few times, and small chunks stay few.
    #[test]
    fn copies_and_chunks_stay_few() {
        for batch in [1, 10, 1000, 10_000] {
            let (mut chunks, mut copied, mut staged) = (Vec::new(), 0, 0);
            for _ in 0..(200_000usize / batch).min(20_000) {
                chunks.push(batch);
                staged += batch;
                let list: Vec<(usize, usize)> = chunks.iter().map(|c| (*c, *c)).collect();
                for window in plan(&weights(&list), LIMITS).into_iter().rev() {
                    let sum = chunks[window.clone()].iter().sum();
                    copied += sum;
                    chunks.splice(window, [sum]);
                }
            }
            let small = chunks.iter().filter(|c| **c < LIMITS.chunk_rows_max / GROWTH).count();
            assert!(small <= 32, "{small} small chunks of batches of {batch}");
            assert!(copied <= 9 * staged, "{copied} rows copied of {staged}");
        }
    }
}
