//! A model of a shard's chunks and their memory, computed from the pieces that it writes: one chunk per piece,
//! neighbours merged as `kernel::shard` documents, ids in the smallest form, exact bytes. `super` models the rows.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use kernel::schema::{CatalogChange, ERRORS_TABLE};
use kernel::shard::{IdRun, RowIds};
use kernel::snapshot::{ChunkView, ShardView, TableView};
use kernel::{RowId, Sequence, ShardLimits, TableId};

use super::piece::{Form, Lengths, Written};
use crate::oracle::{Check, Violation, value};

/// A merged chunk has at least this many times the rows of each of its parts; a chunk with more than this part of the
/// limit is not merged.
const GROWTH: usize = 4;
/// Allowed excess of a column's buffers.
const SLACK_BYTES: u64 = 2500;
/// Least buckets of an index.
const BUCKETS_MIN: usize = 64;
/// Most buckets per key beyond that.
const KEY_BUCKETS_MAX: usize = 8;
/// Ids are stored as runs if these have this many ids on average.
const IDS_IN_A_RUN_MIN: usize = 8;

/// The chunks of one shard.
#[derive(Clone, Debug)]
pub struct Chunks {
    limits: ShardLimits,
    tells_bytes: bool,
    tables: BTreeMap<TableId, Table>,
    staged: VecDeque<(Sequence, Step)>,
}

/// The effect of a record.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Step {
    /// A table is created, with a primary key or without one.
    Created(TableId, bool),
    Truncated(TableId),
    Dropped(TableId),
    /// Rows of a table are deleted and added.
    Rows(Written),
}

impl Step {
    /// The effect of a definition.
    pub fn of(change: &CatalogChange) -> Step {
        match change {
            CatalogChange::TableCreated(def) => Step::Created(def.id, !def.primary_key.is_empty()),
            CatalogChange::TableTruncated(id) => Step::Truncated(*id),
            CatalogChange::TableDropped(id) => Step::Dropped(*id),
            other => unreachable!("{other:?} is not tested against a model"),
        }
    }
}

#[derive(Clone, Debug)]
struct Table {
    chunks: Vec<Chunk>,
    is_keyed: bool,
    /// The last publication merged chunks, and then shrinks the index.
    was_merged: bool,
}

#[derive(Clone, Debug)]
struct Chunk {
    ids: Vec<RowId>,
    is_gone: Vec<bool>,
    /// Live rows.
    living: usize,
    columns: Vec<Lengths>,
    /// Bytes of the columns.
    bytes: usize,
}

impl Chunks {
    /// An empty shard. `tells_bytes`: no column has values under its nulls, so that bytes are predictable.
    pub fn new(limits: ShardLimits, tells_bytes: bool) -> Chunks {
        Chunks { limits, tells_bytes, tables: BTreeMap::new(), staged: VecDeque::new() }
    }

    /// A record is staged, or goes on.
    pub fn stage(&mut self, sequence: Sequence, steps: impl IntoIterator<Item = Step>) {
        self.staged.extend(steps.into_iter().map(|step| (sequence, step)));
    }

    /// Drops records staged from there on.
    pub fn abandon(&mut self, from: Sequence) {
        self.staged.retain(|(sequence, _)| *sequence < from);
    }

    /// Publishes staged records, and merges.
    pub fn publish(&mut self, through: Sequence) {
        self.tables.values_mut().for_each(|table| table.was_merged = false);
        let mut rows_of: BTreeMap<TableId, usize> = BTreeMap::new();
        let mut ordinals: BTreeMap<(Sequence, TableId), u32> = BTreeMap::new();
        while let Some((sequence, step)) = self.staged.pop_front_if(|(sequence, _)| *sequence <= through) {
            match step {
                Step::Created(table, is_keyed) => {
                    self.tables.insert(table, Table { chunks: vec![], is_keyed, was_merged: false });
                }
                Step::Truncated(table) => {
                    self.tables.get_mut(&table).expect("a table that is there").chunks.clear();
                    rows_of.remove(&table);
                }
                Step::Dropped(table) => {
                    self.tables.remove(&table);
                    rows_of.remove(&table);
                }
                Step::Rows(piece) => {
                    *rows_of.entry(piece.table).or_default() += piece.rows + piece.deletes.len();
                    let ordinal = ordinals.entry((sequence, piece.table)).or_default();
                    let first = RowId { sequence, ordinal: *ordinal };
                    *ordinal += piece.rows as u32;
                    let table = self.tables.get_mut(&piece.table).expect("rows of a table that is there");
                    take(&mut table.chunks, piece, first);
                }
            }
        }
        for (table, rows) in rows_of {
            let budget = self.limits.chunk_rows_max + GROWTH * rows;
            let table = self.tables.get_mut(&table).expect("just seen");
            table.was_merged = merge(&mut table.chunks, budget, &self.limits);
        }
    }

    /// Compares a view with the model.
    pub fn check(&self, shard: usize, view: &ShardView) -> Check {
        self.tables.iter().try_for_each(|(id, table)| {
            let rows = |step: &Step| match step {
                Step::Rows(piece) if piece.table == *id => piece.rows,
                _ => 0,
            };
            let rows_staged = self.staged.iter().map(|(_, step)| rows(step)).sum();
            match wrong(table, &view.tables[id], rows_staged, self.tells_bytes) {
                Some(wrong) => Err(Violation::new("bounded", format!("shard {shard}, table {id}: {wrong}"))),
                None => Ok(()),
            }
        })
    }
}

/// Applies a piece's deletions and rows.
fn take(chunks: &mut Vec<Chunk>, piece: Written, first: RowId) {
    for id in piece.deletes {
        let at = chunks.partition_point(|chunk| chunk.ids[chunk.ids.len() - 1] < id);
        let row = chunks[at].ids.binary_search(&id).expect("a row goes that was there");
        chunks[at].is_gone[row] = true;
        chunks[at].living -= 1;
    }
    if piece.rows > 0 {
        let id = |row: usize| RowId { ordinal: first.ordinal + row as u32, ..first };
        chunks.push(Chunk::new((0..piece.rows).map(id).collect(), piece.columns));
    }
}

// ---- Merging ----

/// Merges as many eligible windows as the budget allows, the latest first. Returns whether there were any.
fn merge(chunks: &mut Vec<Chunk>, mut budget: usize, limits: &ShardLimits) -> bool {
    let mut was_merged = false;
    let mut windows: Vec<Range<usize>> = vec![];
    let mut at = 0;
    while at < chunks.len() {
        let length = small(&chunks[at..], limits).or_else(|| sparse(&chunks[at..], limits)).unwrap_or(0);
        if length > 0 {
            windows.push(at..at + length);
        }
        at += length.max(1);
    }
    for window in windows.into_iter().rev() {
        let living: usize = chunks[window.clone()].iter().map(|chunk| chunk.living).sum();
        if living <= budget {
            (budget, was_merged) = (budget - living, true);
            let merged = Chunk::merged(&chunks[window.clone()]);
            chunks.splice(window, (living > 0).then_some(merged));
        }
    }
    was_merged
}

/// Number of chunks from the first one that fit into one.
fn fitting(chunks: &[Chunk], limits: &ShardLimits) -> usize {
    let (mut rows, mut bytes) = (0, 0);
    let fits = |chunk: &&Chunk| {
        rows += chunk.living;
        bytes += chunk.bytes;
        rows <= limits.chunk_rows_max && bytes <= limits.chunk_bytes_max
    };
    chunks.iter().take_while(fits).count()
}

/// The most small chunks from the first one whose merge is much larger than each.
fn small(chunks: &[Chunk], limits: &ShardLimits) -> Option<usize> {
    let is_small = |chunk: &&Chunk| chunk.living < limits.chunk_rows_max / GROWTH;
    let most = fitting(chunks, limits).min(chunks.iter().take_while(is_small).count());
    (2..=most).rev().find(|length| {
        let living = || chunks[..*length].iter().map(|chunk| chunk.living);
        living().sum::<usize>() >= GROWTH * living().max().expect("two at least")
    })
}

/// The most chunks from the first one with more than half of their rows deleted; a too large one alone.
fn sparse(chunks: &[Chunk], limits: &ShardLimits) -> Option<usize> {
    let is_sparse = |chunk: &&Chunk| 2 * chunk.living < chunk.ids.len();
    let sparse = chunks.iter().take_while(is_sparse).count();
    (sparse > 0).then(|| fitting(chunks, limits).clamp(1, sparse))
}

impl Chunk {
    fn new(ids: Vec<RowId>, columns: Vec<Lengths>) -> Chunk {
        let (rows, bytes) = (ids.len(), columns.iter().map(column_bytes).sum());
        Chunk { is_gone: vec![false; rows], living: rows, ids, columns, bytes }
    }

    /// A chunk of their live rows.
    fn merged(chunks: &[Chunk]) -> Chunk {
        let kept = |chunk: &Chunk| {
            let living: Vec<usize> = (0..chunk.ids.len()).filter(|row| !chunk.is_gone[*row]).collect();
            living
        };
        let ids: Vec<RowId> =
            chunks.iter().flat_map(|chunk| kept(chunk).into_iter().map(|row| chunk.ids[row])).collect();
        let column = |at: usize| {
            let mut all = Lengths { form: chunks[0].columns[at].form, nulls: vec![], texts: vec![] };
            for chunk in chunks {
                let column = &chunk.columns[at];
                for row in kept(chunk) {
                    all.nulls.push(column.nulls[row]);
                    all.texts.extend(column.texts.get(row));
                }
            }
            all
        };
        let columns = (0..chunks[0].columns.len()).map(column).collect();
        Chunk::new(ids, columns)
    }

    /// Its ids in the expected form.
    fn ids(&self) -> RowIds {
        let len = self.ids.len() as u32;
        let begins = |row: &usize| {
            let id = self.ids[*row];
            *row == 0 || self.ids[row - 1] != RowId { ordinal: id.ordinal.wrapping_sub(1), ..id }
        };
        let starts: Vec<usize> = (0..self.ids.len()).filter(begins).collect();
        match starts[..] {
            [_] => RowIds::Run { sequence: self.ids[0].sequence, first: self.ids[0].ordinal, len },
            _ if IDS_IN_A_RUN_MIN * starts.len() <= self.ids.len() => {
                let run = |start: &usize| IdRun { start: *start as u32, first: self.ids[*start] };
                RowIds::Runs { runs: starts.iter().map(run).collect(), len }
            }
            _ => RowIds::Explicit(self.ids.clone().into()),
        }
    }
}

/// Bytes of a column's values in memory.
pub fn column_bytes(column: &Lengths) -> usize {
    let rows = column.nulls.len();
    let validity = if column.nulls.contains(&true) { rows.div_ceil(8) } else { 0 };
    let values = match column.form {
        Form::Bits => rows.div_ceil(8),
        Form::Fixed(width) => rows * width,
        Form::Texts => 4 * (rows + 1) + column.texts.iter().map(|text| *text as usize).sum::<usize>(),
    };
    validity + values
}

// ---- Views ----

fn wrong(table: &Table, view: &TableView, rows_staged: usize, tells_bytes: bool) -> Option<String> {
    let due: Vec<&Chunk> = table.chunks.iter().filter(|chunk| chunk.living > 0).collect();
    if due.len() != view.chunks.len() {
        let lengths: Vec<usize> = view.chunks.iter().map(|chunk| chunk.ids.len()).collect();
        let due: Vec<usize> = due.iter().map(|chunk| chunk.ids.len()).collect();
        return Some(format!("there are chunks of {lengths:?} rows, must be such of {due:?}"));
    }
    let wrong = due.iter().zip(&view.chunks).find_map(|(due, found)| wrong_chunk(due, found));
    wrong.or_else(|| wrong_bytes(table, view.bytes as usize, rows_staged).filter(|_| tells_bytes))
}

/// Whether the buffers of a view's columns are not much larger than their content.
pub fn holds_little(view: &ShardView) -> bool {
    let of_drill = view.tables.iter().filter(|(id, _)| **id != ERRORS_TABLE);
    let mut chunks = of_drill.flat_map(|(_, table)| &table.chunks);
    chunks.all(|chunk| {
        let columns = chunk.rows.columns().iter();
        let rows = chunk.rows.num_rows() as u64;
        let held: usize = columns.clone().map(|column| column.get_buffer_memory_size()).sum();
        let validity_and_offsets = columns.len() as u64 * (rows / 8 + 4 * rows + SLACK_BYTES);
        held as u64 <= 2 * (value::chunk_bytes(chunk) + validity_and_offsets)
    })
}

fn wrong_chunk(due: &Chunk, found: &ChunkView) -> Option<String> {
    if found.ids != due.ids() {
        return Some(format!("a chunk has the ids {:?}, must have {:?}", found.ids, due.ids()));
    }
    if found.deleted.is_some() != due.is_gone.contains(&true) {
        return Some("a chunk of which all rows live has deleted rows, or the reverse".into());
    }
    let is_gone = |row: usize| found.deleted.as_ref().is_some_and(|gone| gone.value(row));
    let misled = (0..due.ids.len()).find(|row| is_gone(*row) != due.is_gone[*row]);
    misled.map(|row| format!("the liveness of row {:?} is wrong", due.ids[row]))
}

/// Exact bytes, except unknown parts: a bitmap for staged deletions, and the buckets of the index. `rows_staged`:
/// further keys that the index may contain.
fn wrong_bytes(table: &Table, found: usize, rows_staged: usize) -> Option<String> {
    let (mut least, mut unknown) = (0, 0);
    for chunk in &table.chunks {
        let ids = match chunk.ids() {
            RowIds::Run { .. } => 0,
            RowIds::Runs { runs, .. } => size_of_val(&runs[..]),
            RowIds::Explicit(ids) => size_of_val(&ids[..]),
        };
        let rows = chunk.ids.len();
        let bitmap = 8 * rows.div_ceil(64);
        least += chunk.bytes + ids;
        match chunk.living {
            living if living == rows => unknown += bitmap,
            0 => (least, unknown) = (least + 2 * bitmap, unknown + rows / 8),
            // One of the staged tip, one published, and those that readers hold.
            _ => least += 2 * bitmap + rows / 8,
        }
    }
    // A power of two of buckets, a byte for each and one for each of a group.
    let keys = table.chunks.iter().map(|chunk| chunk.living).sum::<usize>() + rows_staged;
    let most = if table.was_merged { BUCKETS_MIN + KEY_BUCKETS_MAX * keys } else { usize::MAX };
    let buckets = (2..30).map(|power| 1 << power).take_while(|buckets| *buckets <= most);
    let sizes = buckets.map(|buckets: usize| buckets * (size_of::<(u64, u64)>() + 1) + 16);
    let mut sizes = std::iter::once(0).chain(sizes.filter(|_| table.is_keyed));
    let is_right = sizes.any(|index| (least + index..=least + index + unknown).contains(&found));
    (!is_right).then(|| {
        format!(
            "{found} bytes are said to be held, {least} must be, {unknown} may be, and those of the index of {keys} keys at \
             most"
        )
    })
}
