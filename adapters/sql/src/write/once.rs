//! ON CONFLICT DO UPDATE changes a row once: a statement that proposes two rows of one key is refused, as in PostgreSQL. (ON
//! DUPLICATE KEY UPDATE applies one after the other.)

use std::collections::HashMap;

use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::common::ScalarValue;
use kernel::route::hash_rows;
use kernel::schema::TableDef;

use crate::error::{Result, SqlError, SqlState};

/// Refuses rows with the same key, in one batch or in several; each batch has a column for each of the table.
pub fn check(table: &TableDef, batches: &[Vec<ArrayRef>]) -> Result<()> {
    let keys = batches.iter().map(|columns| key(table, columns)).collect::<Result<Vec<_>>>()?;
    let ordinals: Vec<u16> = (0..table.primary_key.len() as u16).collect();
    let mut seen: HashMap<u64, Vec<(usize, usize)>> = HashMap::new();
    let mut hashes = vec![];
    for (at, batch) in keys.iter().enumerate() {
        hash_rows(batch, &ordinals, &mut hashes);
        for (row, hash) in hashes.iter().enumerate() {
            let same = seen.entry(*hash).or_default();
            for (other, other_row) in same.iter() {
                if equal((&keys[*other], *other_row), (batch, row))? {
                    return Err(twice());
                }
            }
            same.push((at, row));
        }
    }
    Ok(())
}

fn twice() -> SqlError {
    SqlError::new(SqlState::CARDINALITY_VIOLATION, "ON CONFLICT DO UPDATE command cannot affect row a second time").with_hint(
        "Ensure that no rows proposed for insertion within the same command have duplicate constrained values.",
    )
}

fn key(table: &TableDef, columns: &[ArrayRef]) -> Result<RecordBatch> {
    let parts = table.ordinals(&table.primary_key).into_iter().map(|ordinal| {
        let ordinal = usize::from(ordinal);
        (table.columns[ordinal].name.as_str(), columns[ordinal].clone(), true)
    });
    Ok(RecordBatch::try_from_iter_with_nullable(parts)?)
}

fn equal(left: (&RecordBatch, usize), right: (&RecordBatch, usize)) -> Result<bool> {
    for (a, b) in left.0.columns().iter().zip(right.0.columns()) {
        let (a, b) = (ScalarValue::try_from_array(a, left.1)?, ScalarValue::try_from_array(b, right.1)?);
        // A null equals nothing; null keys are refused elsewhere.
        if a != b || a.is_null() {
            return Ok(false);
        }
    }
    Ok(true)
}
