//! From decoded rows to stored rows: SET and WHERE, mapping onto the table's columns, NOT NULL, provenance, placement.

use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, Int32Array, Int64Array, PrimitiveArray, RecordBatch,
};
use arrow_buffer::BooleanBufferBuilder;
use arrow_schema::{DataType, SchemaRef};
use arrow_select::concat::concat;
use arrow_select::filter::FilterBuilder;
use kernel::schema::TableDef;
use kernel::{DeadLetterKind, Error, Generation, Micros, Result, SplitId, SqlState};
use pg_values::time;

use super::{ExtractPlan, Failures, Transform, Transformed};
use crate::plan::{Decoded, FieldMapping};
use crate::value::Column;

/// The plan by which stored rows are assembled.
pub(super) struct Assembly {
    table: Arc<TableDef>,
    stored_schema: SchemaRef,
    /// For every column of the table; empty where a transform makes the columns.
    feeds: Vec<Feed>,
    generation: Generation,
    split: SplitId,
    shard_count: u16,
    years: RangeInclusive<i32>,
}

/// Where a column of the table comes from.
enum Feed {
    /// This decoded column.
    Decoded(usize),
    /// The default, in every row.
    Constant(Box<Column>),
}

/// Rows of the table under construction.
pub(super) struct Rows {
    /// The table's user columns.
    columns: Vec<ArrayRef>,
    /// Message of each row; does not fall.
    origin: Vec<u32>,
    /// Rows that stay; None: all.
    keep: Option<BooleanArray>,
}

impl Rows {
    fn stays(&self, row: usize) -> bool {
        self.keep.as_ref().is_none_or(|keep| keep.is_valid(row) && keep.value(row))
    }

    /// All rows of these messages go.
    pub fn drop_messages(&mut self, failures: &Failures) {
        if failures.is_empty() {
            return;
        }
        let mut keep = BooleanBufferBuilder::new(self.origin.len());
        for (row, message) in self.origin.iter().enumerate() {
            keep.append(self.stays(row) && failures.get(message).is_none());
        }
        self.keep = Some(BooleanArray::new(keep.finish(), None));
    }

    /// Messages that leave at least one row.
    pub fn messages_kept(&self) -> u64 {
        let (mut count, mut last) = (0, None);
        for (row, message) in self.origin.iter().enumerate() {
            if last != Some(message) && self.stays(row) {
                count += 1;
                last = Some(message);
            }
        }
        count
    }
}

impl Assembly {
    /// Fails where the plan does not fit the table.
    pub fn new(
        plan: &ExtractPlan,
        transformed: bool,
        generation: Generation,
        split: SplitId,
    ) -> Result<Assembly> {
        let table = &plan.table;
        check_mappings(&plan.decode.fields, table)?;
        let feeds = if transformed { Vec::new() } else { feeds(plan)? };
        Ok(Assembly {
            table: table.clone(),
            stored_schema: table.stored_schema(),
            feeds,
            generation,
            split,
            shard_count: plan.shard_count,
            years: plan.years.clone(),
        })
    }

    /// Decoded columns and constants, in the order of the table's columns.
    pub fn map(&mut self, decoded: &Decoded) -> Rows {
        let count = decoded.columns.num_rows();
        let column = |feed: &mut Feed| match feed {
            Feed::Decoded(index) => decoded.columns.column(*index).clone(),
            Feed::Constant(constant) => {
                for _ in 0..count {
                    constant.append_missing().expect("a short constant or a null, in a nullable column");
                }
                constant.finish()
            }
        };
        Rows {
            columns: self.feeds.iter_mut().map(column).collect(),
            origin: decoded.origin.clone(),
            keep: None,
        }
    }

    /// SET and WHERE. Rows that fail are noted and dropped.
    pub fn transform(
        &self,
        transform: &mut dyn Transform,
        decoded: &Decoded,
        now_us: Micros,
        failures: &mut Failures,
    ) -> Result<Rows> {
        let mut parts = Vec::new();
        let count = decoded.columns.num_rows();
        let mut failed = Vec::new();
        self.transform_range(transform, &decoded.columns, 0, count, now_us, &mut parts, &mut failed)?;
        for (row, error) in failed {
            let message = decoded.origin[row as usize];
            failures.entry(message).or_insert((DeadLetterKind::Expression, error));
        }
        if let [(0, whole)] = parts.as_slice()
            && whole.columns.num_rows() == count
        {
            return Ok(Rows {
                columns: whole.columns.columns().to_vec(),
                origin: decoded.origin.clone(),
                keep: whole.keep.clone(),
            });
        }
        self.join(parts, decoded)
    }

    /// Transforms a range of rows; on failure each half by itself, down to the failing row.
    #[allow(clippy::too_many_arguments)]
    fn transform_range(
        &self,
        transform: &mut dyn Transform,
        columns: &RecordBatch,
        start: usize,
        count: usize,
        now_us: Micros,
        parts: &mut Vec<(usize, Transformed)>,
        failed: &mut Vec<(u32, Error)>,
    ) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        match transform.transform(&columns.slice(start, count), now_us) {
            Ok(transformed) => {
                self.check_transformed(&transformed, count)?;
                let rows = transformed.errors.iter().cloned();
                failed.extend(rows.map(|(row, error)| (row + start as u32, error)));
                parts.push((start, transformed));
                Ok(())
            }
            Err(error) if count == 1 => {
                failed.push((start as u32, error));
                Ok(())
            }
            Err(_) => {
                let half = count / 2;
                self.transform_range(transform, columns, start, half, now_us, parts, failed)?;
                let (start, count) = (start + half, count - half);
                self.transform_range(transform, columns, start, count, now_us, parts, failed)
            }
        }
    }

    fn check_transformed(&self, transformed: &Transformed, count: usize) -> Result<()> {
        let wanted = self.table.columns.iter().map(|c| c.column_type.arrow());
        let got = transformed.columns.columns().iter().map(|c| c.data_type().clone());
        let sound = wanted.eq(got)
            && transformed.columns.num_rows() == count
            && transformed.keep.as_ref().is_none_or(|keep| keep.len() == count)
            && transformed.errors.iter().all(|(row, ..)| (*row as usize) < count);
        if sound {
            return Ok(());
        }
        let text = format!("SET does not give the columns of table {}; this is a bug", self.table.name);
        Err(Error::new(SqlState::INTERNAL_ERROR, text))
    }

    /// Parts with gaps between them, where rows failed.
    fn join(&self, parts: Vec<(usize, Transformed)>, decoded: &Decoded) -> Result<Rows> {
        let mut origin = Vec::new();
        let mut keep = BooleanBufferBuilder::new(decoded.origin.len());
        for (start, part) in &parts {
            for row in 0..part.columns.num_rows() {
                origin.push(decoded.origin[start + row]);
                keep.append(part.keep.as_ref().is_none_or(|k| k.is_valid(row) && k.value(row)));
            }
        }
        let column = |index: usize| {
            let arrays: Vec<&dyn Array> =
                parts.iter().map(|(_, p)| p.columns.column(index).as_ref()).collect();
            match arrays.is_empty() {
                true => Ok(arrow_array::new_empty_array(&self.table.columns[index].column_type.arrow())),
                false => concat(&arrays).map_err(|e| Error::new(SqlState::OUT_OF_MEMORY, e.to_string())),
            }
        };
        Ok(Rows {
            columns: (0..self.table.columns.len()).map(column).collect::<Result<_>>()?,
            origin,
            keep: Some(BooleanArray::new(keep.finish(), None)),
        })
    }

    /// Notes rows that stay and have a null where the table has NOT NULL.
    pub fn check_not_null(&self, rows: &mut Rows, failures: &mut Failures) {
        for (definition, column) in self.table.columns.iter().zip(&rows.columns) {
            if definition.nullable || column.null_count() == 0 {
                continue;
            }
            for row in (0..column.len()).filter(|&row| column.is_null(row) && rows.stays(row)) {
                failures.entry(rows.origin[row]).or_insert_with(|| {
                    let text = format!("null in column {}, which is NOT NULL", definition.name);
                    (DeadLetterKind::Constraint, Error::new(SqlState::NOT_NULL_VIOLATION, text))
                });
            }
        }
    }

    /// Notes rows that stay and have a date or time in a year that the pipeline does not accept.
    pub fn check_years(&self, rows: &Rows, failures: &mut Failures) {
        let (first, last) = (i64::from(*self.years.start()), i64::from(*self.years.end()));
        let days = time::bounds(first, last);
        for (definition, column) in self.table.columns.iter().zip(&rows.columns) {
            let per_day = if column.data_type() == &DataType::Date32 { 1 } else { time::MICROS_PER_DAY };
            let taken = days.start * per_day..days.end * per_day;
            let outside: Vec<usize> = match column.data_type() {
                DataType::Date32 => {
                    let (first, last) = (taken.start as i32, taken.end as i32);
                    outside(column.as_primitive::<Date32Type>(), first..last)
                }
                DataType::Timestamp(..) => outside(column.as_primitive::<TimestampMicrosecondType>(), taken),
                _ => continue,
            };
            for row in outside.into_iter().filter(|row| rows.stays(*row)) {
                failures.entry(rows.origin[row]).or_insert_with(|| {
                    let value = match column.data_type() {
                        DataType::Date32 => column.as_primitive::<Date32Type>().value(row).into(),
                        _ => column.as_primitive::<TimestampMicrosecondType>().value(row),
                    };
                    let text = format!(
                        "column {}: the year {} is outside of {first} to {last}, the years that the pipeline takes: a number may \
                         have another UNIT, and YEARS n TO m takes others",
                        definition.name,
                        time::year_of(value.div_euclid(per_day))
                    );
                    (DeadLetterKind::Constraint, Error::new(SqlState::DATETIME_FIELD_OVERFLOW, text))
                });
            }
        }
    }

    /// Stored rows by shard: the rows that stay, with provenance.
    pub fn route(&self, rows: Rows, offsets: &[i64]) -> Result<Vec<Option<RecordBatch>>> {
        let mut columns = rows.columns;
        let row_offsets = rows.origin.iter().map(|&message| offsets[message as usize]);
        columns.push(Arc::new(Int64Array::from_value(self.generation.0 as i64, rows.origin.len())));
        columns.push(Arc::new(Int32Array::from_value(self.split.0 as i32, rows.origin.len())));
        columns.push(Arc::new(Int64Array::from_iter_values(row_offsets)));
        if let Some(keep) = rows.keep.filter(|keep| keep.true_count() < keep.len()) {
            let filter = FilterBuilder::new(&keep).optimize().build();
            for column in &mut columns {
                *column = filter.filter(column).expect("the filter has a bit for every row");
            }
        }
        let stored = RecordBatch::try_new(self.stored_schema.clone(), columns);
        let stored = stored.expect("types, lengths and nulls were checked");
        Ok(kernel::route::route(&self.table, &stored, self.shard_count))
    }
}

/// Rows with a value outside of a range.
fn outside<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, taken: Range<T::Native>) -> Vec<usize>
where
    T::Native: PartialOrd,
{
    let is_outside = |value: &T::Native| !taken.contains(value);
    // Mostly there is none, and this check runs at the speed of memory. Values under nulls are arbitrary.
    if !values.values().iter().fold(false, |any, value| any | is_outside(value)) {
        return Vec::new();
    }
    (0..values.len()).filter(|row| values.is_valid(*row) && is_outside(&values.value(*row))).collect()
}

/// A mapping is a variable or names a column of the table, once.
fn check_mappings(fields: &[FieldMapping], table: &TableDef) -> Result<()> {
    for (index, field) in fields.iter().enumerate() {
        let refuse = |kind, text: String| Err(Error::new(kind, text));
        if fields[..index].iter().any(|other| other.name == field.name) {
            return refuse(SqlState::INVALID_PARAMETER_VALUE, format!("{} is mapped twice", field.name));
        }
        if !field.name.starts_with('@') && !table.columns.iter().any(|c| c.name == field.name) {
            let text = format!("column {} of table {} does not exist", field.name, table.name);
            return refuse(SqlState::UNDEFINED_COLUMN, text);
        }
    }
    Ok(())
}

fn feeds(plan: &ExtractPlan) -> Result<Vec<Feed>> {
    let feed = |(ordinal, definition): (usize, &kernel::schema::ColumnDef)| {
        let fields = &plan.decode.fields;
        if let Some(index) = fields.iter().position(|f| f.name == definition.name) {
            if fields[index].column_type != definition.column_type {
                let text = format!("column {} is decoded as another type than it has", definition.name);
                return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, text));
            }
            return Ok(Feed::Decoded(index));
        }
        let constant = FieldMapping {
            name: definition.name.clone(),
            column_type: definition.column_type,
            nullable: true,
            path: Vec::new(),
            unit: None,
            default: plan.defaults.get(ordinal).cloned().flatten(),
        };
        Ok(Feed::Constant(Box::new(Column::new(&constant)?)))
    };
    plan.table.columns.iter().enumerate().map(feed).collect()
}
