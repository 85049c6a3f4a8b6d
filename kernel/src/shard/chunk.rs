//! An immutable run of rows, with their ids and the rows deleted at the staged tip and for readers.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::DataType;

use super::RowIds;
use super::bitmap::Bitmap;
use crate::coverage::{CoverageMark, reached};
use crate::ids::*;
use crate::route::canonical_bits;
use crate::snapshot::ChunkView;

/// A chunk of a table on a shard.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    /// Schema version of the table under which the rows were written.
    pub schema_version: u32,
    pub rows: RecordBatch,
    pub ids: RowIds,
    /// Key columns of a keyed table, typed for comparison.
    pub key: Vec<KeyColumn>,
    /// Rows deleted at the staged tip.
    pub deleted: Bitmap,
    /// Rows deleted for readers; a subset of `deleted`.
    pub deleted_published: Bitmap,
    /// Copy of `deleted_published` for readers; None if it is outdated or empty.
    frozen: Option<Arc<BooleanBuffer>>,
    /// Readers see it.
    pub published: bool,
    row_bytes: usize,
    last_id: RowId,
}

impl Chunk {
    pub fn new(schema_version: u32, rows: RecordBatch, ids: RowIds, key_columns: &[u16]) -> Chunk {
        assert_eq!(rows.num_rows(), ids.len(), "one id a row");
        assert!(rows.num_rows() > 0, "a chunk has rows");
        let key = key_columns.iter().map(|c| KeyColumn::new(rows.column(*c as usize))).collect();
        let row_bytes = rows.columns().iter().map(logical_bytes).sum();
        let last_id = ids.get(ids.len() - 1);
        Chunk {
            schema_version,
            rows,
            ids,
            key,
            deleted: Bitmap::default(),
            deleted_published: Bitmap::default(),
            frozen: None,
            published: false,
            row_bytes,
            last_id,
        }
    }

    pub fn len(&self) -> usize {
        self.rows.num_rows()
    }

    pub fn first_id(&self) -> RowId {
        self.ids.get(0)
    }

    pub fn last_id(&self) -> RowId {
        self.last_id
    }

    /// Rows that readers see.
    pub fn live_published(&self) -> usize {
        self.len() - self.deleted_published.count()
    }

    /// A deletion becomes visible.
    pub fn publish_deletion(&mut self, row: usize) {
        let rows = self.len();
        assert!(self.deleted.get(row), "only staged deletions are published");
        assert!(self.deleted_published.set(row, rows), "a row is deleted once");
        self.frozen = None;
    }

    /// The view for readers.
    pub fn view(&mut self) -> ChunkView {
        if self.frozen.is_some() {
            reached(CoverageMark::DeletionsShared);
        } else {
            self.frozen = self.deleted_published.freeze(self.len());
        }
        self.view_without(self.frozen.clone())
    }

    /// The view for a statement at the staged tip.
    pub fn view_tip(&self) -> ChunkView {
        self.view_without(self.deleted.freeze(self.len()))
    }

    fn view_without(&self, deleted: Option<Arc<BooleanBuffer>>) -> ChunkView {
        let Chunk { schema_version, rows, ids, .. } = self;
        ChunkView { schema_version: *schema_version, rows: rows.clone(), ids: ids.clone(), deleted }
    }

    /// Bytes held: columns, ids, bitmaps.
    pub fn bytes(&self) -> usize {
        let frozen = if self.frozen.is_some() { self.len() / 8 } else { 0 };
        self.row_bytes + self.ids.bytes() + self.deleted.bytes() + self.deleted_published.bytes() + frozen
    }

    /// Bytes of the columns.
    pub fn row_bytes(&self) -> usize {
        self.row_bytes
    }
}

#[cfg(feature = "explore")]
impl Chunk {
    /// See [`crate::fingerprint`]. Of the ids only their order counts, which is the order of the rows.
    pub fn fingerprint(
        &self,
        table: &crate::schema::TableDef,
        to: &mut crate::fingerprint::StateFingerprint,
    ) {
        let Chunk {
            schema_version,
            rows,
            ids: _,
            key: _,
            deleted,
            deleted_published,
            frozen: _,
            published,
            row_bytes: _,
            last_id: _,
        } = self;
        to.word(*schema_version);
        to.rows(table, rows);
        for row in 0..rows.num_rows() {
            to.word(u64::from(deleted.get(row)) + 2 * u64::from(deleted_published.get(row)));
        }
        to.word(*published);
    }
}

/// A typed key column, so that keys are compared without dispatch through `dyn Array`.
#[derive(Clone, Debug)]
pub(super) enum KeyColumn {
    Bool(BooleanBuffer),
    I16(ScalarBuffer<i16>),
    I32(ScalarBuffer<i32>),
    I64(ScalarBuffer<i64>),
    F32(ScalarBuffer<f32>),
    F64(ScalarBuffer<f64>),
    I128(ScalarBuffer<i128>),
    Bytes(OffsetBuffer<i32>, Buffer),
}

impl KeyColumn {
    pub fn new(column: &ArrayRef) -> KeyColumn {
        assert_eq!(column.null_count(), 0, "key columns are NOT NULL");
        match column.data_type() {
            DataType::Boolean => KeyColumn::Bool(column.as_boolean().values().clone()),
            DataType::Int16 => KeyColumn::I16(column.as_primitive::<Int16Type>().values().clone()),
            DataType::Int32 => KeyColumn::I32(column.as_primitive::<Int32Type>().values().clone()),
            DataType::Date32 => KeyColumn::I32(column.as_primitive::<Date32Type>().values().clone()),
            DataType::Int64 => KeyColumn::I64(column.as_primitive::<Int64Type>().values().clone()),
            DataType::Timestamp(..) => {
                KeyColumn::I64(column.as_primitive::<TimestampMicrosecondType>().values().clone())
            }
            DataType::Float32 => KeyColumn::F32(column.as_primitive::<Float32Type>().values().clone()),
            DataType::Float64 => KeyColumn::F64(column.as_primitive::<Float64Type>().values().clone()),
            DataType::Decimal128(..) => {
                KeyColumn::I128(column.as_primitive::<Decimal128Type>().values().clone())
            }
            DataType::Utf8 => {
                let column = column.as_string::<i32>();
                KeyColumn::Bytes(column.offsets().clone(), column.values().clone())
            }
            DataType::Binary => {
                let column = column.as_binary::<i32>();
                KeyColumn::Bytes(column.offsets().clone(), column.values().clone())
            }
            other => unreachable!("no column type maps to {other}"),
        }
    }

    /// A value of a column of variable length.
    #[inline]
    pub fn bytes(&self, row: usize) -> &[u8] {
        let KeyColumn::Bytes(offsets, bytes) = self else { unreachable!("a column of variable length") };
        &bytes[offsets[row] as usize..offsets[row + 1] as usize]
    }

    /// Whether two rows have the same value. -0.0 equals 0.0, and all NaN are equal, as in the hash.
    #[inline]
    pub fn equal(&self, row: usize, other: &KeyColumn, other_row: usize) -> bool {
        match (self, other) {
            (KeyColumn::Bool(a), KeyColumn::Bool(b)) => a.value(row) == b.value(other_row),
            (KeyColumn::I16(a), KeyColumn::I16(b)) => a[row] == b[other_row],
            (KeyColumn::I32(a), KeyColumn::I32(b)) => a[row] == b[other_row],
            (KeyColumn::I64(a), KeyColumn::I64(b)) => a[row] == b[other_row],
            (KeyColumn::F32(a), KeyColumn::F32(b)) => {
                canonical_bits(a[row].into()) == canonical_bits(b[other_row].into())
            }
            (KeyColumn::F64(a), KeyColumn::F64(b)) => canonical_bits(a[row]) == canonical_bits(b[other_row]),
            (KeyColumn::I128(a), KeyColumn::I128(b)) => a[row] == b[other_row],
            (KeyColumn::Bytes(a, x), KeyColumn::Bytes(b, y)) => {
                x[a[row] as usize..a[row + 1] as usize] == y[b[other_row] as usize..b[other_row + 1] as usize]
            }
            _ => unreachable!("a key column has one type"),
        }
    }
}

/// Bytes of a column's values, whatever the size of their buffers.
pub(super) fn logical_bytes(column: &ArrayRef) -> usize {
    let rows = column.len();
    let validity = if column.null_count() > 0 { rows.div_ceil(8) } else { 0 };
    let values = match column.data_type() {
        DataType::Boolean => rows.div_ceil(8),
        DataType::Utf8 => text_bytes(column.as_string::<i32>().value_offsets()),
        DataType::Binary => text_bytes(column.as_binary::<i32>().value_offsets()),
        other => rows * other.primitive_width().expect("the rest are of fixed width"),
    };
    validity + values
}

/// Whether a column's values are of variable length.
pub(super) fn has_text(column: &ArrayRef) -> bool {
    matches!(column.data_type(), DataType::Utf8 | DataType::Binary)
}

/// Bytes of one value of a column of variable length.
#[inline]
pub(super) fn value_bytes(column: &ArrayRef, row: usize) -> usize {
    let length = match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value_length(row),
        _ => column.as_binary::<i32>().value_length(row),
    };
    length as usize
}

fn text_bytes(offsets: &[i32]) -> usize {
    (offsets[offsets.len() - 1] - offsets[0]) as usize + size_of_val(offsets)
}
