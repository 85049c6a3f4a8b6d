//! The encoding of a shard's outcome in a log record: a sequence of table pieces, each with the ids of deleted rows and
//! the added rows, column by column. The bytes depend on logical values only, not on values under nulls, padding or
//! bytes outside of a slice. Outcomes can be concatenated.
//!
//! All numbers are little-endian; every section is padded with zeros to [`ALIGNMENT`] bytes, so that in an aligned
//! piece all values are aligned.
//!
//! ```text
//! table piece   length u32 · table u32 · schema version u32 · rows u32 · deletes u32 · columns u16 · format u16 · 0 u64
//!               deletes section, if there are any · column × columns, if there are rows
//! deletes       base sequence u64 · base ordinal u32 · sequence width u8 · ordinal width u8 · 0 u16
//!               (sequence - base) × deletes · (ordinal - base) × deletes
//! column        column id u32 · type u8 · encoding u8 · width u8 · validity u8 · payload length u32 · text bytes u32
//!               validity bitmap, if 1 · payload (see `column`)
//! ```
//!
//! `shard` applies pieces; `record` frames records.

mod column;

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use bytes::Bytes;

use crate::error::{Error, Result, SqlState};
use crate::ids::*;
use crate::schema::{HIDDEN_COLUMNS, TableDef};

/// Most rows in one table piece; an outcome with more is written as several. It bounds what a reader allocates because
/// of a few damaged bytes.
pub const PIECE_ROWS_MAX: usize = 65_536;

/// Every section begins at a multiple of this.
pub const ALIGNMENT: usize = 16;

const FORMAT: u16 = 1;
const PIECE_HEADER: usize = 32;
const COLUMN_HEADER: usize = 16;

/// Ids of the hidden columns in pieces: the last ids, which user columns never get.
pub const HIDDEN_COLUMN_IDS: [ColumnId; 3] =
    [ColumnId(u32::MAX - 2), ColumnId(u32::MAX - 1), ColumnId(u32::MAX)];

/// Appends a table piece to `out`: the deleted row ids, then the added rows (in the table's stored schema).
pub fn encode(table: &TableDef, deletes: &[RowId], rows: Option<&RecordBatch>, out: &mut Vec<u8>) {
    let row_count = rows.map_or(0, |r| r.num_rows());
    assert!(row_count <= PIECE_ROWS_MAX, "an outcome is cut into pieces of at most {PIECE_ROWS_MAX} rows");
    let columns = if row_count == 0 { &[] } else { rows.expect("there are rows").columns() };
    let start = out.len();
    if out.is_empty() {
        // A close estimate of the size.
        out.reserve(columns.iter().map(|column| column.get_buffer_memory_size()).sum());
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&table.id.0.to_le_bytes());
    out.extend_from_slice(&table.schema_version.to_le_bytes());
    out.extend_from_slice(&(row_count as u32).to_le_bytes());
    out.extend_from_slice(&u32::try_from(deletes.len()).expect("row counts have 32 bits").to_le_bytes());
    out.extend_from_slice(&(columns.len() as u16).to_le_bytes());
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&[0; 8]);
    if !deletes.is_empty() {
        encode_deletes(deletes, out);
    }
    if row_count > 0 {
        let ids = column_ids(table);
        assert_eq!(ids.len(), columns.len(), "rows are in the stored schema");
        for (id, column) in ids.zip(columns) {
            encode_column(id, column, out, start);
        }
    }
    pad(out, start);
    let length = u32::try_from(out.len() - start).expect("a table piece is smaller than 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// One table piece with checked bounds, not yet decoded.
#[derive(Clone, Debug)]
pub struct TablePiece {
    /// Table.
    pub table: TableId,
    /// Schema version of its rows.
    pub schema_version: u32,
    /// Number of added rows.
    pub row_count: usize,
    /// Number of deleted rows.
    pub delete_count: usize,
    columns: usize,
    body: Bytes,
}

/// Splits an outcome into its table pieces. Never panics, whatever the bytes.
pub fn pieces(part: &Bytes) -> Result<Vec<TablePiece>> {
    let mut found = Vec::new();
    let mut rest = part.clone();
    while !rest.is_empty() {
        let mut header = Reader { bytes: &rest };
        let length = header.u32()? as usize;
        let piece = TablePiece {
            table: TableId(header.u32()?),
            schema_version: header.u32()?,
            row_count: header.u32()? as usize,
            delete_count: header.u32()? as usize,
            columns: header.u16()? as usize,
            body: Bytes::new(),
        };
        if header.u16()? != FORMAT || header.u64()? != 0 {
            return Err(corrupt("a table piece is of an unknown format"));
        }
        if length < PIECE_HEADER || length > rest.len() || !length.is_multiple_of(ALIGNMENT) {
            return Err(corrupt("a table piece's length is wrong"));
        }
        if piece.row_count > PIECE_ROWS_MAX || (piece.row_count == 0) != (piece.columns == 0) {
            return Err(corrupt("a table piece's row count is wrong"));
        }
        let whole = rest.split_to(length);
        found.push(TablePiece { body: whole.slice(PIECE_HEADER..), ..piece });
    }
    Ok(found)
}

impl TablePiece {
    /// Decodes the piece: the ids of deleted rows, and the added rows. `schema` is the table's stored schema. Never
    /// panics, whatever the bytes. Values are copied, so that rows do not keep the whole record in memory.
    pub fn read(&self, table: &TableDef, schema: &SchemaRef) -> Result<(Vec<RowId>, Option<RecordBatch>)> {
        assert_eq!(table.id, self.table, "the caller looks the table up by the piece's id");
        if table.schema_version != self.schema_version {
            return Err(corrupt("a table piece is of another schema version than its table"));
        }
        let mut reader = Reader { bytes: &self.body };
        let deletes =
            if self.delete_count > 0 { decode_deletes(self.delete_count, &mut reader)? } else { Vec::new() };
        if self.row_count == 0 {
            return reader.end().map(|()| (deletes, None));
        }
        if self.columns != schema.fields().len() {
            return Err(corrupt("a table piece has another number of columns than its table"));
        }
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.columns);
        for (id, field) in column_ids(table).zip(schema.fields()) {
            let column = decode_column(id, field.data_type(), self.row_count, &mut reader)?;
            columns.push(column);
        }
        reader.end()?;
        let rows = RecordBatch::try_new(Arc::clone(schema), columns)
            .map_err(|e| corrupt(&format!("a table piece does not fit its schema: {e}")))?;
        Ok((deletes, Some(rows)))
    }
}

fn column_ids(table: &TableDef) -> impl ExactSizeIterator<Item = ColumnId> + '_ {
    let own = table.columns.len();
    (0..own + HIDDEN_COLUMNS.len())
        .map(move |i| table.columns.get(i).map_or_else(|| HIDDEN_COLUMN_IDS[i - own], |c| c.id))
}

fn encode_deletes(deletes: &[RowId], out: &mut Vec<u8>) {
    let base = RowId {
        sequence: deletes.iter().map(|d| d.sequence).min().expect("there are deletes"),
        ordinal: deletes.iter().map(|d| d.ordinal).min().expect("there are deletes"),
    };
    let sequence_max = deletes.iter().map(|d| d.sequence.0 - base.sequence.0).max().expect("not empty");
    let ordinal_max = deletes.iter().map(|d| u64::from(d.ordinal - base.ordinal)).max().expect("not empty");
    let sequence_width = if sequence_max == 0 { 0 } else { width_of(sequence_max) };
    let ordinal_width = width_of(ordinal_max);
    let start = out.len();
    out.extend_from_slice(&base.sequence.0.to_le_bytes());
    out.extend_from_slice(&base.ordinal.to_le_bytes());
    out.extend_from_slice(&[sequence_width as u8, ordinal_width as u8, 0, 0]);
    column::pack(deletes.iter().map(|d| d.sequence.0 - base.sequence.0), sequence_width, out);
    column::pack(deletes.iter().map(|d| u64::from(d.ordinal - base.ordinal)), ordinal_width, out);
    pad(out, start);
}

fn decode_deletes(count: usize, reader: &mut Reader<'_>) -> Result<Vec<RowId>> {
    let sequence = reader.u64()?;
    let ordinal = reader.u32()?;
    let (sequence_width, ordinal_width) = (reader.u8()? as usize, reader.u8()? as usize);
    reader.take(2)?;
    // At least one byte per row id: a count cannot cause an allocation larger than the input.
    if !matches!(sequence_width, 0 | 1 | 2 | 4 | 8) || !matches!(ordinal_width, 1 | 2 | 4) {
        return Err(corrupt("row ids have an impossible width"));
    }
    let sequences = reader.take(count.checked_mul(sequence_width).ok_or_else(too_long)?)?;
    let ordinals = reader.take(count.checked_mul(ordinal_width).ok_or_else(too_long)?)?;
    reader.skip_padding(16 + sequences.len() + ordinals.len())?;
    let mut ids = Vec::with_capacity(count);
    for i in 0..count {
        let id = sequence
            .checked_add(column::unpack_one(sequences, sequence_width, i))
            .zip(u32::try_from(u64::from(ordinal) + column::unpack_one(ordinals, ordinal_width, i)).ok());
        let (sequence, ordinal) = id.ok_or_else(|| corrupt("a row id is out of range"))?;
        ids.push(RowId { sequence: Sequence(sequence), ordinal });
    }
    Ok(ids)
}

fn encode_column(id: ColumnId, column: &ArrayRef, out: &mut Vec<u8>, piece_start: usize) {
    let header = out.len();
    debug_assert!((header - piece_start).is_multiple_of(ALIGNMENT), "sections are aligned");
    out.extend_from_slice(&[0; COLUMN_HEADER]);
    let nulls = column.nulls().filter(|n| n.null_count() > 0);
    let all_null = column.null_count() == column.len();
    let validity = nulls.is_some() && !all_null;
    if let Some(nulls) = nulls.filter(|_| !all_null) {
        column::pack_bits(nulls.inner(), out);
        pad(out, piece_start);
    }
    let start = out.len();
    let form = if all_null { column::Form::NULLS } else { column::encode(column, out) };
    let payload = u32::try_from(out.len() - start).expect("a column of a piece is smaller than 4 GiB");
    pad(out, piece_start);
    let head = &mut out[header..header + COLUMN_HEADER];
    head[0..4].copy_from_slice(&id.0.to_le_bytes());
    head[4..8].copy_from_slice(&[
        column::type_tag(column.data_type()),
        form.encoding,
        form.width,
        u8::from(validity),
    ]);
    head[8..12].copy_from_slice(&payload.to_le_bytes());
    head[12..16].copy_from_slice(&form.text_bytes.to_le_bytes());
}

fn decode_column(
    id: ColumnId,
    data_type: &arrow_schema::DataType,
    rows: usize,
    reader: &mut Reader<'_>,
) -> Result<ArrayRef> {
    if reader.u32()? != id.0 {
        return Err(corrupt("a table piece has other columns than its table"));
    }
    if reader.u8()? != column::type_tag(data_type) {
        return Err(corrupt("a column is of another type than in its table"));
    }
    let (encoding, width, validity) = (reader.u8()?, reader.u8()?, reader.u8()?);
    let (payload, text_bytes) = (reader.u32()? as usize, reader.u32()?);
    let nulls = match validity {
        0 => None,
        1 => {
            let bits = reader.take(rows.div_ceil(8))?;
            reader.skip_padding(bits.len())?;
            Some(column::unpack_nulls(bits, rows)?)
        }
        _ => return Err(corrupt("a column's validity flag is neither 0 nor 1")),
    };
    let bytes = reader.take(payload)?;
    reader.skip_padding(payload)?;
    column::decode(data_type, column::Form { encoding, width, text_bytes }, rows, nulls, bytes)
}

/// Smallest width in bytes (1, 2, 4, 8) that holds `max`.
fn width_of(max: u64) -> usize {
    match max {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xffff_ffff => 4,
        _ => 8,
    }
}

fn pad(out: &mut Vec<u8>, start: usize) {
    let length = (out.len() - start).next_multiple_of(ALIGNMENT);
    out.resize(start + length, 0);
}

pub(crate) fn corrupt(what: &str) -> Error {
    Error::new(
        SqlState::DATA_CORRUPTED,
        format!("log record: {what}; restore the data directory from a copy"),
    )
}

fn too_long() -> Error {
    corrupt("a length goes beyond its end")
}

/// Reads fields from the front; checks every length.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or_else(too_long)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Skips the padding after a section of `length` bytes.
    fn skip_padding(&mut self, length: usize) -> Result<()> {
        let padding = length.next_multiple_of(ALIGNMENT) - length;
        if self.take(padding)?.iter().any(|b| *b != 0) {
            return Err(corrupt("padding is not zero"));
        }
        Ok(())
    }

    fn end(&self) -> Result<()> {
        if self.bytes.is_empty() { Ok(()) } else { Err(corrupt("a table piece has bytes left over")) }
    }
}

#[cfg(test)]
mod tests;
