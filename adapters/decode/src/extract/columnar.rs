//! Columnar deliveries: rows that the source has decoded itself, brought into the form in which a decoder hands out its
//! rows.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use kernel::{Error, Result, SqlState};

/// The columns that the pipeline maps, in the order of its mappings.
pub(super) fn mapped(schema: &SchemaRef, columns: &RecordBatch) -> Result<RecordBatch> {
    let column = |field: &arrow_schema::FieldRef| {
        let Some(column) = columns.column_by_name(field.name()) else {
            return Err(unfit(format!("the source has no column \"{}\"", field.name())));
        };
        if column.data_type() != field.data_type() {
            return Err(unfit(format!(
                "column \"{}\" of the source is {}, the pipeline needs {}",
                field.name(),
                column.data_type(),
                field.data_type()
            )));
        }
        Ok(column.clone())
    };
    let mapped = schema.fields().iter().map(column).collect::<Result<Vec<_>>>()?;
    let options = arrow_array::RecordBatchOptions::new().with_row_count(Some(columns.num_rows()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), mapped, &options)
        .expect("every column has its field's type, and every field may be null"))
}

fn unfit(message: String) -> Error {
    Error::new(SqlState::DATATYPE_MISMATCH, message)
}

/// The bytes of some rows of a batch, so that all parts together have those of the batch.
pub(super) fn share(bytes: u64, start: usize, count: usize, rows: usize) -> u64 {
    let before = |row: usize| (u128::from(bytes) * row as u128 / rows as u128) as u64;
    before(start + count) - before(start)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_parts_of_a_batch_have_all_of_its_bytes() {
        for bytes in [0, 1, 99, u64::MAX] {
            let parts = [(0, 3), (3, 3), (6, 1)].map(|(start, count)| share(bytes, start, count, 7));
            assert_eq!(parts.iter().sum::<u64>(), bytes);
        }
    }
}
