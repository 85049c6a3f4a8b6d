//! Placement: the canonical encoding of a key, its fixed hash (XXH3-64, seed 0), and the split of a batch of rows by shard.
//! Neither may ever change for a given database: the rows on disk lie where it says (invariant 5).

use arrow_array::RecordBatch;

use crate::schema::TableDef;

/// Hash of the given columns for every row of `rows`, written over `hashes`. Logical values only: a null hashes as null
/// whatever lies under it; -0.0 as 0.0; every NaN as one.
pub fn hash_rows(_rows: &RecordBatch, _columns: &[u16], _hashes: &mut Vec<u64>) {
    unimplemented!()
}

/// Splits rows (in a table's stored or user schema) by the shard that the hash of its placement columns names, keeping their order. `shard_count`
/// entries; None where a shard gets no row.
pub fn route(_table: &TableDef, _rows: &RecordBatch, _shard_count: u16) -> Vec<Option<RecordBatch>> {
    unimplemented!()
}
