//! The outcome of a batch of rows, computed against the staged tip: the deleted, added and rejected rows. This module
//! changes nothing; the outcome is logged, and [`Contents::apply`] applies it.
//!
//! The outcome equals that of row-by-row processing. A row with a new key is inserted; ON DUPLICATE KEY applies to a
//! row with an existing key; a rejected row has no effect. Rows of different keys are independent, so rows are grouped
//! by key and whole columns of groups are processed at once.

use arrow_array::{ArrayRef, RecordBatch};
use hashbrown::HashTable;

use super::chunk::{KeyColumn, logical_bytes};
use super::contents::{Contents, TooLarge, keys_equal};
use super::incoming::{Incoming, duplicate_refused};
use super::index::RowLocation;
use crate::error::{Error, SqlState};
use crate::expr::OnDuplicate;
use crate::message::Counts;

/// The outcome of a batch of rows.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Post-images and new rows, in the stored schema.
    pub columns: Vec<ArrayRef>,
    /// Their primary keys' hashes; empty for a table without a key.
    pub hashes: Vec<u64>,
    /// Location of the old version of each, NONE for a new key; empty for a table without a key.
    pub before: Vec<RowLocation>,
    pub counts: Counts,
    /// Rows of the batch that change nothing, by the rule of ON DUPLICATE KEY.
    pub ignored: Vec<u32>,
    /// Rejected rows of the batch, and the errors.
    pub refused: Vec<(usize, Error)>,
}

impl Outcome {
    /// The added rows, if any.
    pub fn rows(&self, contents: &Contents) -> Option<RecordBatch> {
        let some = self.columns.first().is_some_and(|c| !c.is_empty());
        some.then(|| {
            RecordBatch::try_new(contents.schema.clone(), self.columns.clone())
                .expect("an outcome has the stored schema, and no nulls where there must be none")
        })
    }
}

/// Largest row, in steps; a larger one is rejected, because its encoding has 32-bit lengths and columns have 31-bit
/// offsets.
const ROW_STEPS_MAX: usize = 4;

/// Computes the outcome of `incoming`, which has no nulls in NOT NULL columns. A single row is never too large for a
/// step: it is rejected.
pub(super) fn outcome(
    contents: &Contents,
    incoming: Incoming,
    on_duplicate: &OnDuplicate,
) -> Result<Outcome, TooLarge> {
    let rows = incoming.len;
    let outcome = unbounded(contents, incoming, on_duplicate)?;
    let bytes: usize = outcome.columns.iter().map(logical_bytes).sum();
    let row_bytes_max = ROW_STEPS_MAX * contents.limits.step_bytes_max;
    let is_one_row = outcome.columns.first().is_some_and(|c| c.len() == 1);
    if contents.limits.fits_step(bytes) || (is_one_row && bytes <= row_bytes_max) {
        return Ok(outcome);
    }
    if rows > 1 {
        return Err(TooLarge);
    }
    let text = format!(
        "a row of table \"{}\" would take {bytes} bytes; the limit is {row_bytes_max}",
        contents.table.name
    );
    let error = Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, text);
    Ok(Outcome { refused: vec![(0, error)], ..Outcome::default() })
}

fn unbounded(
    contents: &Contents,
    incoming: Incoming,
    on_duplicate: &OnDuplicate,
) -> Result<Outcome, TooLarge> {
    if incoming.len == 0 {
        return Ok(Outcome::default());
    }
    if contents.index.is_none() {
        let counts = Counts { inserted: incoming.len as u64, ..Counts::default() };
        return Ok(Outcome { columns: incoming.columns, counts, ..Outcome::default() });
    }
    if let Err(error) = on_duplicate.check(&contents.table) {
        // CREATE rejects such a program; here it rejects all rows.
        let refused = (0..incoming.len).map(|row| (row, error.clone())).collect();
        return Ok(Outcome { refused, ..Outcome::default() });
    }
    let groups = Groups::new(contents, &incoming);
    Ok(match on_duplicate {
        OnDuplicate::Reject => reject(contents, &incoming, &groups),
        OnDuplicate::Ignore => ignore(&incoming, &groups),
        OnDuplicate::Replace => replace(&incoming, &groups),
        OnDuplicate::Update(update) => super::update::update(contents, &incoming, &groups, update)?,
    })
}

/// Rows of a batch by key. Groups are numbered in the order of their first rows.
#[derive(Debug)]
pub(super) struct Groups {
    pub of_row: Vec<u32>,
    pub first_row: Vec<u32>,
    pub last_row: Vec<u32>,
    /// Hash of each group's key.
    pub hashes: Vec<u64>,
    /// Location of the key's row at the staged tip, NONE for a new key.
    pub locations: Vec<RowLocation>,
}

impl Groups {
    fn new(contents: &Contents, incoming: &Incoming) -> Groups {
        let key_columns = &contents.key;
        let mut row_hashes = Vec::new();
        hash_columns(contents, incoming, &mut row_hashes);
        let key: Vec<KeyColumn> =
            key_columns.iter().map(|c| KeyColumn::new(&incoming.columns[*c as usize])).collect();
        let (of_row, first_row, last_row) = group(&row_hashes, &key, contents.hash_is_exact);
        let locations = contents.probe(&key, &first_row, &row_hashes);
        let hashes = if first_row.len() == row_hashes.len() {
            row_hashes
        } else {
            first_row.iter().map(|row| row_hashes[*row as usize]).collect()
        };
        assert_eq!(locations.len(), first_row.len(), "one place a group");
        Groups { of_row, first_row, last_row, hashes, locations }
    }

    pub fn len(&self) -> usize {
        self.first_row.len()
    }

    pub fn is_new(&self, group: usize) -> bool {
        self.locations[group].is_none()
    }

    /// Inserting rows: the first ones of new keys.
    pub fn inserted(&self) -> u64 {
        self.locations.iter().filter(|p| p.is_none()).count() as u64
    }

    /// Whether a row is an insert.
    #[inline]
    pub fn inserts(&self, row: usize) -> bool {
        let group = self.of_row[row] as usize;
        self.first_row[group] as usize == row && self.is_new(group)
    }

    /// First rows of new keys, and their hashes.
    fn new_keys(&self) -> (Vec<u32>, Vec<u64>) {
        let new = (0..self.len()).filter(|g| self.is_new(*g));
        new.map(|g| (self.first_row[g], self.hashes[g])).unzip()
    }
}

/// Location of the old version of each row of a logged outcome, NONE for a new key; None if a key occurs twice.
pub(super) fn before(contents: &Contents, rows: &RecordBatch, hashes: &[u64]) -> Option<Vec<RowLocation>> {
    let key_columns = contents.key.iter();
    let key: Vec<KeyColumn> = key_columns.map(|c| KeyColumn::new(rows.column(*c as usize))).collect();
    let (_, first_row, _) = group(hashes, &key, contents.hash_is_exact);
    (first_row.len() == hashes.len()).then(|| contents.probe(&key, &first_row, hashes))
}

fn hash_columns(contents: &Contents, incoming: &Incoming, hashes: &mut Vec<u64>) {
    let key_columns = &contents.key;
    let fields: Vec<_> = key_columns
        .iter()
        .map(|c| arrow_schema::Field::new("", incoming.columns[*c as usize].data_type().clone(), false))
        .collect();
    let columns = key_columns.iter().map(|c| incoming.columns[*c as usize].clone()).collect();
    let schema = std::sync::Arc::new(arrow_schema::Schema::new(fields));
    let keys = RecordBatch::try_new(schema, columns).expect("key columns have no nulls");
    contents.limits.hash_keys(&keys, &(0..key_columns.len() as u16).collect::<Vec<_>>(), hashes);
}

/// Group of each row, first and last row of each group.
fn group(hashes: &[u64], key: &[KeyColumn], exact: bool) -> (Vec<u32>, Vec<u32>, Vec<u32>) {
    struct Entry {
        hash: u64,
        group: u32,
    }
    let mut table: HashTable<Entry> = HashTable::with_capacity(hashes.len());
    let mut of_row = Vec::with_capacity(hashes.len());
    let mut first_row: Vec<u32> = Vec::with_capacity(hashes.len());
    let mut last_row: Vec<u32> = Vec::with_capacity(hashes.len());
    for (row, &hash) in hashes.iter().enumerate() {
        let same = |e: &Entry| {
            e.hash == hash && (exact || keys_equal(key, first_row[e.group as usize] as usize, key, row))
        };
        let found = table.entry(hash, same, |e| e.hash);
        let next = first_row.len() as u32;
        let group = found.or_insert_with(|| Entry { hash, group: next }).get().group;
        if group == next {
            first_row.push(row as u32);
            last_row.push(row as u32);
        } else {
            last_row[group as usize] = row as u32;
        }
        of_row.push(group);
    }
    (of_row, first_row, last_row)
}

fn reject(contents: &Contents, incoming: &Incoming, groups: &Groups) -> Outcome {
    let (rows, hashes) = groups.new_keys();
    let refused: Vec<(usize, Error)> = if rows.len() == incoming.len {
        Vec::new()
    } else {
        (0..incoming.len)
            .filter(|row| !groups.inserts(*row))
            .map(|row| (row, duplicate_refused(&contents.table, &incoming.columns, row)))
            .collect()
    };
    let counts = Counts { inserted: rows.len() as u64, ..Counts::default() };
    let before = vec![RowLocation::NONE; rows.len()];
    Outcome { columns: incoming.take(&rows).columns, hashes, before, counts, refused, ..Outcome::default() }
}

fn ignore(incoming: &Incoming, groups: &Groups) -> Outcome {
    let (rows, hashes) = groups.new_keys();
    let inserted = rows.len() as u64;
    let ignored: Vec<u32> = (0..incoming.len as u32).filter(|row| !groups.inserts(*row as usize)).collect();
    let counts = Counts { inserted, ignored: ignored.len() as u64, ..Counts::default() };
    let before = vec![RowLocation::NONE; rows.len()];
    Outcome { columns: incoming.take(&rows).columns, hashes, before, counts, ignored, ..Outcome::default() }
}

fn replace(incoming: &Incoming, groups: &Groups) -> Outcome {
    let inserted = groups.inserted();
    let counts = Counts { inserted, updated: incoming.len as u64 - inserted, ..Counts::default() };
    Outcome {
        columns: incoming.take(&groups.last_row).columns,
        hashes: groups.hashes.clone(),
        before: groups.locations.clone(),
        counts,
        ..Outcome::default()
    }
}
