//! Rows for the kernel: NOT NULL checked, provenance empty, routed to shards.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use datafusion::arrow::compute::concat;
use kernel::expr::OnDuplicate;
use kernel::ids::RowId;
use kernel::message::{ShardWrite, TableWrite};
use kernel::route::route;
use kernel::schema::{HIDDEN_COLUMNS, TableDef};

use crate::error::{Result, SqlError, SqlState};

/// Deleted rows, by shard.
pub type Deletes = Vec<Vec<RowId>>;

/// A write of these columns (one per column of the table, in its type) and of these deletions.
pub fn table_write(
    table: &TableDef,
    shard_count: u16,
    columns: Vec<ArrayRef>,
    deletes: Deletes,
    on_duplicate: OnDuplicate,
) -> Result<TableWrite> {
    check_not_null(table, &columns)?;
    let rows = columns.first().map_or(0, |c| c.len());
    let schema = table.stored_schema();
    let hidden = schema.fields()[columns.len()..].iter().map(|f| new_null_array(f.data_type(), rows));
    let columns: Vec<ArrayRef> = columns.into_iter().chain(hidden).collect();
    assert_eq!(columns.len(), table.columns.len() + HIDDEN_COLUMNS.len(), "a column for each of the schema");
    let batch = RecordBatch::try_new(schema, columns)?;
    let pieces = match rows {
        0 => vec![None; usize::from(shard_count)],
        _ => route(table, &batch, shard_count),
    };
    let mut deletes = deletes.into_iter();
    let shard = |rows| ShardWrite { deletes: deletes.next().unwrap_or_default(), rows };
    Ok(TableWrite {
        table: table.id,
        schema_version: table.schema_version,
        on_duplicate,
        shards: pieces.into_iter().map(shard).collect(),
    })
}

fn check_not_null(table: &TableDef, columns: &[ArrayRef]) -> Result<()> {
    for (column, values) in table.columns.iter().zip(columns) {
        if !column.nullable && values.null_count() > 0 {
            return Err(SqlError::new(
                SqlState::NOT_NULL_VIOLATION,
                format!(
                    "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
                    column.name, table.name
                ),
            ));
        }
    }
    Ok(())
}

/// An empty array for each column of the table.
pub fn no_rows(table: &TableDef) -> Vec<ArrayRef> {
    table.columns.iter().map(|c| new_null_array(&c.column_type.arrow(), 0)).collect()
}

/// Column `index` of several batches as one.
pub fn joined(batches: &[RecordBatch], index: usize) -> Result<Option<ArrayRef>> {
    match batches {
        [] => Ok(None),
        [one] => Ok(Some(Arc::clone(one.column(index)))),
        several => {
            let parts: Vec<&dyn Array> = several.iter().map(|b| b.column(index).as_ref()).collect();
            Ok(Some(concat(&parts)?))
        }
    }
}
