//! The column encoding alone: the kernel's own bytes, other valid encodings, and damaged bytes. An independent reader,
//! written from the documentation of `kernel::columns`, predicts each result. `piece` checks the sizes.

use bytes::Bytes;
use kernel::columns::{ALIGNMENT, HIDDEN_COLUMN_IDS, PIECE_ROWS_MAX, encode, pieces};
use kernel::schema::{ColumnType, TableDef};
use kernel::{RowId, Sequence, SqlState, TableId};

use super::piece::{self, CONSTANT, DELTAS, NULLS, OFFSETS, RAW, RUNS};
use super::rows::{self, Mix};
use super::table_of;
use crate::columns::stored_types;
use crate::decide::Decisions;
use crate::oracle::value::{Row, Value, of_batch};
use crate::oracle::{Check, Violation, ensure, placed};
use crate::scenario::TableShape;
use crate::wide::Layout;

const HEADER: usize = 32;
/// Most bytes of all rows' texts in the constant encoding.
const CONSTANT_TEXT_BYTES_MAX: usize = 16 << 20;

/// Deleted rows, and new rows.
type Contents = (Vec<RowId>, Vec<Row>);

/// Writes and reads pieces of one table for a while.
pub fn check(d: &Decisions<'_>) -> Check {
    let def = table(d);
    for _ in 0..d.between(2, 5) {
        let part = match d.below(3) {
            0 => log_corruption(d, &def),
            _ => written(d, &def)?,
        };
        compare(&def, &part, "as it is")?;
        for _ in 0..d.between(4, 16) {
            compare(&def, &damaged(d, &part), "with wrong bytes")?;
        }
    }
    match d.below(32) {
        0 => check_most_rows(d),
        1 => check_long_constants(d),
        _ => Ok(()),
    }
}

fn table(d: &Decisions<'_>) -> TableDef {
    let shape = match d.below(4) {
        0 => TableShape::Events,
        _ => TableShape::Wide(Layout::draw(d)),
    };
    let mut spec = shape.spec("columns", d.below(3) == 1);
    if d.below(4) == 1 {
        // Placed by any column, nullable or not; possible only without a key.
        (spec.primary_key, spec.shard_key) = (vec![], vec![d.index(spec.columns.len()) as u16]);
    }
    table_of(spec, TableId(3))
}

// ---- The encoding of the kernel ----

/// One or several pieces, each read back and compared.
fn written(d: &Decisions<'_>, def: &TableDef) -> Result<Vec<u8>, Violation> {
    let (mut part, mut all) = (Vec::new(), Vec::new());
    for _ in 0..d.pick(&[1, 1, 1, 2, 3]) {
        let mix = Mix {
            rows: d.pick(&[0, 1, 2, 5, 8, 17, 40, 70, 150, 400, 900]),
            key_values: d.between(1, 60),
            from_messages: d.below(2) == 1,
            long: false,
        };
        let mut rows = rows::draw(d, def, mix);
        let is_whole = |row: &Row| {
            row.iter().zip(&def.columns).all(|(value, column)| column.nullable || *value != Value::Null)
        };
        rows.retain(is_whole);
        roughen(d, def, &mut rows);
        let ids = draw_ids(d);
        let batch = (!rows.is_empty()).then(|| rows::batch(d, def, &rows, true));
        let start = part.len();
        encode(def, &ids, batch.as_ref(), &mut part);
        if let Some(batch) = &batch {
            // Values under nulls or outside a slice have no effect.
            let mut again = vec![];
            encode(def, &ids, Some(&rows::batch(d, def, &rows, true)), &mut again);
            ensure("recovered", part[start..] == again, || format!("{rows:?} are written in two ways"))?;
            check_route(d, def, &rows, batch)?;
        }
        all.push((ids, rows));
    }
    let part = Bytes::from(part);
    piece::check(&part)?;
    let found = read(def, &part);
    ensure("recovered", found.as_ref() == Some(&all), || {
        format!("the bytes of {all:?} decode to {found:?}")
    })?;
    Ok(part.into())
}

/// Numbers near the thresholds of the light encodings, in one or two columns.
fn roughen(d: &Decisions<'_>, def: &TableDef, rows: &mut [Row]) {
    for (at, column) in def.columns.iter().enumerate() {
        // Their differences take about half of their width.
        let bits = match column.column_type {
            ColumnType::Int16 => 8,
            ColumnType::Int32 => 18,
            ColumnType::Int64 | ColumnType::Timestamp => 48,
            _ => continue,
        };
        if def.primary_key.contains(&def.columns[at].id) || d.below(3) > 0 {
            continue;
        }
        // The first 66 values are the sample: this many jumps among them, then hardly any.
        let jumps = d.pick(&[15, 16, 31, 32, 33, 65, 65, 65]);
        let far = d.pick(&[None, None, Some(6), Some(7), Some(bits)]);
        let mut value = 0i64;
        for (number, row) in rows.iter_mut().enumerate() {
            if number > 0 && (number <= jumps || number % 97 == 0) {
                value = if value == 0 { 1 << far.unwrap_or_else(|| d.below(bits)) } else { 0 };
            }
            if row[at] != Value::Null {
                row[at] = Value::Int(value);
            }
        }
    }
}

/// Ids of deleted rows: near to one another, or far apart.
fn draw_ids(d: &Decisions<'_>) -> Vec<RowId> {
    let spread = |all: &[u64]| d.pick(all);
    let sequences = spread(&[0, 0, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, u64::MAX - 9]);
    let ordinals = spread(&[0, 255, 256, 65_535, 65_536, u64::from(u32::MAX) - 5]) as u32;
    let one = |n: u64| RowId {
        sequence: Sequence(9 + if n == 0 { sequences } else { d.below(sequences.saturating_add(1)) }),
        ordinal: 5 + if n == 0 { ordinals } else { d.below(u64::from(ordinals) + 1) as u32 },
    };
    (0..d.pick(&[0, 0, 1, 2, 5])).map(one).collect()
}

/// A column of the errors table alone.
fn narrow_table(column: usize) -> TableDef {
    let errors = kernel::schema::errors_table();
    TableDef { columns: vec![errors.columns[column].clone()], ..errors }
}

/// The most rows of a piece, and one more.
fn check_most_rows(d: &Decisions<'_>) -> Check {
    let def = narrow_table(0);
    let row: Row = stored_types(&def).map(|column_type| crate::wide::plain(column_type, 7)).collect();
    let rows = vec![row; PIECE_ROWS_MAX];
    let mut part = Vec::new();
    encode(&def, &[], Some(&rows::batch(d, &def, &rows, true)), &mut part);
    compare(&def, &part, "with as many rows as there may be")?;
    ensure("recovered", read(&def, &part).is_some(), || "the most rows of a piece are too many".into())?;
    part[12..16].copy_from_slice(&(PIECE_ROWS_MAX as u32 + 1).to_le_bytes());
    compare(&def, &part, "with a row too many")
}

/// A constant text at the limit of expanded bytes, and beyond it.
fn check_long_constants(d: &Decisions<'_>) -> Check {
    let def = narrow_table(5);
    let length = CONSTANT_TEXT_BYTES_MAX / 256;
    let mut row: Row = stored_types(&def).map(|column_type| crate::wide::plain(column_type, 7)).collect();
    row[0] = Value::Text("y".repeat(length));
    for (rows, is_constant) in [(256, true), (257, false)] {
        let mut part = Vec::new();
        encode(&def, &[], Some(&rows::batch(d, &def, &vec![row.clone(); rows], true)), &mut part);
        compare(&def, &part, "with a long text")?;
        ensure("bounded", (part.len() < 2 * length) == is_constant, || {
            format!("{rows} times a text of {length} bytes takes {} bytes", part.len())
        })?;
        // One row more in the header.
        part[12..16].copy_from_slice(&257u32.to_le_bytes());
        compare(&def, &part, "with more of a long text")?;
    }
    Ok(())
}

/// Each row goes to the shard of its values, in order; a shard without rows gets None.
fn check_route(d: &Decisions<'_>, def: &TableDef, rows: &[Row], batch: &arrow_array::RecordBatch) -> Check {
    let shards = d.between(1, 5) as usize;
    let routed = kernel::route::route(def, batch, shards as u16);
    ensure("placed", routed.len() == shards, || format!("{} pieces for {shards} shards", routed.len()))?;
    for (shard, piece) in routed.iter().enumerate() {
        let due = rows.iter().filter(|row| placed::shard_of(def, row, shards) == shard);
        let due: Vec<Row> = due.cloned().collect();
        let due = (!due.is_empty()).then_some(due);
        let found = piece.as_ref().map(of_batch);
        ensure("placed", found == due, || format!("shard {shard} of {shards} gets {found:?}, not {due:?}"))?;
    }
    Ok(())
}

// ---- Other valid encodings ----

/// A piece in any encodings, which need not be the best ones.
fn log_corruption(d: &Decisions<'_>, def: &TableDef) -> Vec<u8> {
    let (rows, types) = (d.pick(&[0usize, 1, 2, 3, 9, 20, 70]), stored_types(def).collect::<Vec<_>>());
    let ids = draw_ids(d);
    let mut part = Vec::new();
    encode(def, &ids, None, &mut part);
    if rows > 0 {
        part[12..16].copy_from_slice(&(rows as u32).to_le_bytes());
        part[20..22].copy_from_slice(&(types.len() as u16).to_le_bytes());
    }
    for (at, column_type) in types.iter().enumerate().take(if rows == 0 { 0 } else { types.len() }) {
        let nullable = def.columns.get(at).is_none_or(|column| column.nullable);
        let mut bits = vec![0u8; rows.div_ceil(8)];
        let valid = if nullable && rows > 1 && d.below(3) == 1 { 1 + d.index(rows - 1) } else { rows };
        (0..valid).for_each(|row| bits[row / 8] |= 1 << (row % 8));
        let is_null = nullable && d.below(6) == 1;
        let (form, payload) = match is_null {
            true => (Form { encoding: NULLS, width: 0, text_bytes: 0 }, vec![]),
            false => corrupt_payload(d, *column_type, rows),
        };
        let validity = u8::from(!is_null && valid < rows);
        part.extend(column_id(def, at).to_le_bytes());
        part.extend([type_tag(*column_type), form.encoding, form.width, validity]);
        part.extend((payload.len() as u32).to_le_bytes());
        part.extend((form.text_bytes as u32).to_le_bytes());
        if validity == 1 {
            part.extend(bits);
            part.resize(part.len().next_multiple_of(ALIGNMENT), 0);
        }
        part.extend(payload);
        part.resize(part.len().next_multiple_of(ALIGNMENT), 0);
    }
    let length = part.len() as u32;
    part[..4].copy_from_slice(&length.to_le_bytes());
    part
}

fn corrupt_payload(d: &Decisions<'_>, column_type: ColumnType, rows: usize) -> (Form, Vec<u8>) {
    let any = |count: usize| (0..count).map(|_| d.below(256) as u8).collect::<Vec<u8>>();
    let opaque = |native: usize| match d.below(2) {
        0 => (Form { encoding: CONSTANT, width: native as u8, text_bytes: 0 }, any(native)),
        _ => (Form { encoding: RAW, width: native as u8, text_bytes: 0 }, any(native * rows)),
    };
    match column_type {
        ColumnType::Bool => match d.below(2) {
            0 => (Form { encoding: CONSTANT, width: 0, text_bytes: 0 }, vec![d.below(2) as u8]),
            _ => (Form { encoding: RAW, width: 0, text_bytes: 0 }, any(rows.div_ceil(8))),
        },
        ColumnType::Float32 => opaque(4),
        ColumnType::Float64 => opaque(8),
        ColumnType::Decimal { .. } if d.below(2) == 1 => opaque(16),
        ColumnType::Text
        | ColumnType::Varchar { .. }
        | ColumnType::Json
        | ColumnType::Uuid
        | ColumnType::Bytea => {
            let letters = |count: usize| (0..count).map(|at| b'a' + at as u8 % 7).collect::<Vec<u8>>();
            if d.below(4) == 1 {
                let text = letters(d.index(9));
                return (Form { encoding: CONSTANT, width: 1, text_bytes: text.len() }, text);
            }
            let (form, mut payload) = corrupt_integers(d, 4, rows, true);
            let lengths = integers(form, rows, 4, &payload).unwrap_or_default();
            let text_bytes = lengths.iter().sum::<i64>().clamp(0, 100_000) as usize;
            payload.resize(payload.len().next_multiple_of(ALIGNMENT), 0);
            payload.extend(letters(text_bytes));
            (Form { width: form.width << 1, text_bytes, ..form }, payload)
        }
        other => corrupt_integers(d, native_width(other), rows, false),
    }
}

/// `small`: none is negative, and their sum is small.
fn corrupt_integers(d: &Decisions<'_>, native: usize, rows: usize, small: bool) -> (Form, Vec<u8>) {
    let bound = 1i64 << (8 * native.min(7) - 1);
    let value = || match d.below(12) {
        _ if small => d.below(9) as i64,
        0 => d.pick(&[bound - 1, -bound, bound, -bound - 1, i64::MIN, i64::MAX]),
        _ => d.below(200) as i64 - 100,
    };
    let plain = |encoding| Form { encoding, width: 0, text_bytes: 0 };
    match d.below(5) {
        0 => (plain(CONSTANT), value().to_le_bytes().into()),
        1 => {
            let width = d.pick(&[1usize, 2, 4, 8]);
            let mut payload = value().to_le_bytes().to_vec();
            for _ in 0..rows {
                let offset = d.pick(&[0u64, 1, 5, d.below(100)]);
                payload.extend(&offset.to_le_bytes()[..width]);
            }
            (Form { width: width as u8, ..plain(OFFSETS) }, payload)
        }
        2 => {
            let mut payload = value().to_le_bytes().to_vec();
            for _ in 1..rows {
                let delta: u64 = if small { 2 * d.below(3) } else { d.pick(&[0, 1, 2, 130, 16_385]) };
                put_varint(delta, &mut payload);
            }
            (plain(DELTAS), payload)
        }
        3 => {
            let (mut payload, mut end) = (Vec::new(), 0);
            while end < rows {
                end += 1 + d.index(rows - end);
                payload.extend(value().to_le_bytes());
                payload.extend((end as u32).to_le_bytes());
            }
            (plain(RUNS), payload)
        }
        _ => {
            let values = (0..rows).flat_map(|_| value().to_le_bytes().into_iter().take(native));
            (Form { width: native as u8, ..plain(RAW) }, values.collect())
        }
    }
}

/// The shortest varint, sometimes with one byte more.
fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Changes some bytes, mostly in the headers.
fn damaged(d: &Decisions<'_>, part: &[u8]) -> Vec<u8> {
    let mut part = part.to_vec();
    match d.below(12) {
        0 => {
            part.truncate(d.index(part.len() + 1));
        }
        1 => {
            part.extend(vec![0; d.pick(&[1, 16, 32])]);
        }
        2 => {
            // Extra bytes inside the piece.
            part.extend([0; 16]);
            let length = number(&part[..4]) as u32 + 16;
            part[..4].copy_from_slice(&length.to_le_bytes());
        }
        3 => {
            let length = number(&part[..4]) as u32;
            let other = d.pick(&[0, 8, 16, 31, 32, 48, length - 1, length - 8, length - 16, length + 16]);
            part[..4].copy_from_slice(&other.to_le_bytes());
        }
        choice => {
            for _ in 0..d.pick(&[1, 1, 1, 2]) {
                let within = if choice < 7 { part.len().min(HEADER + 40) } else { part.len() };
                let at = d.index(within);
                let byte = part[at];
                part[at] = d.pick(&[
                    0,
                    1,
                    2,
                    3,
                    4,
                    5,
                    16,
                    0x7f,
                    0x80,
                    0xff,
                    byte ^ 1,
                    byte.wrapping_add(1),
                    byte.wrapping_sub(1),
                    byte.wrapping_add(8),
                    byte.wrapping_sub(8),
                ]);
            }
        }
    }
    part
}

// ---- Expected results ----

/// The kernel must read valid bytes as the format defines, and refuse all others.
fn compare(def: &TableDef, part: &[u8], what: &str) -> Check {
    let due = read(def, part);
    let found = kernel_reads(def, part)?;
    ensure("recovered", found == due, || {
        let text = format!("a part {what} is read as {found:?}, must come to {due:?}");
        format!("{}; its bytes: {part:02x?}", text.chars().take(4000).collect::<String>())
    })
}

fn kernel_reads(def: &TableDef, part: &[u8]) -> Result<Option<Vec<Contents>>, Violation> {
    let schema = def.stored_schema();
    let all = pieces(&Bytes::copy_from_slice(part)).and_then(|all| {
        let own = all.iter().filter(|piece| piece.table == def.id);
        if own.clone().count() < all.len() {
            return Ok(None);
        }
        own.map(|piece| piece.read(def, &schema)).collect::<Result<Vec<_>, _>>().map(Some)
    });
    match all {
        Ok(all) => Ok(all.map(|all| {
            let contents =
                |(ids, rows): (Vec<RowId>, Option<_>)| (ids, rows.as_ref().map_or(vec![], of_batch));
            all.into_iter().map(contents).collect()
        })),
        Err(error) if error.sqlstate == SqlState::DATA_CORRUPTED => Ok(None),
        Err(error) => Err(Violation::new("honest", format!("damaged rows are called {error:?}"))),
    }
}

/// How a payload is to be read.
#[derive(Clone, Copy)]
struct Form {
    encoding: u8,
    width: u8,
    text_bytes: usize,
}

/// Little-endian, of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn take<'b>(rest: &mut &'b [u8], count: usize) -> Option<&'b [u8]> {
    let (taken, others) = rest.split_at_checked(count)?;
    *rest = others;
    Some(taken)
}

fn take_number(rest: &mut &[u8], bytes: usize) -> Option<u64> {
    take(rest, bytes).map(number)
}

/// Steps over zeros to the next section.
fn take_padding(rest: &mut &[u8], section: usize) -> Option<()> {
    let padding = take(rest, section.next_multiple_of(ALIGNMENT) - section)?;
    padding.iter().all(|byte| *byte == 0).then_some(())
}

/// The content of a part; None if it is invalid.
fn read(def: &TableDef, part: &[u8]) -> Option<Vec<Contents>> {
    let (mut rest, mut all) = (part, Vec::new());
    while !rest.is_empty() {
        let length = number(rest.get(..4)?) as usize;
        if length < HEADER || !length.is_multiple_of(ALIGNMENT) {
            return None;
        }
        all.push(read_piece(def, take(&mut rest, length)?)?);
    }
    Some(all)
}

fn read_piece(def: &TableDef, mut rest: &[u8]) -> Option<Contents> {
    take(&mut rest, 4)?;
    let [table, version, rows, deletes] = [(); 4].map(|()| take_number(&mut rest, 4));
    let (rows, deletes) = (rows? as usize, deletes?);
    let (columns, format, nothing) =
        (take_number(&mut rest, 2)? as usize, take_number(&mut rest, 2)?, take_number(&mut rest, 8)?);
    let types: Vec<ColumnType> = stored_types(def).collect();
    let is_known = (table?, version?) == (def.id.0.into(), def.schema_version.into());
    let columns_due = if rows == 0 { 0 } else { types.len() };
    if !is_known || (columns, format, nothing) != (columns_due, 1, 0) || rows > PIECE_ROWS_MAX {
        return None;
    }
    let ids = if deletes == 0 { vec![] } else { read_ids(&mut rest, deletes)? };
    let mut values = vec![];
    for (at, column_type) in types.iter().enumerate().take(columns) {
        values.push(read_column(def, at, *column_type, rows, &mut rest)?);
    }
    let row = |row: usize| values.iter().map(|column: &Vec<Value>| column[row].clone()).collect();
    rest.is_empty().then(|| (ids, (0..rows).map(row).collect()))
}

fn read_ids(rest: &mut &[u8], count: u64) -> Option<Vec<RowId>> {
    let (sequence, ordinal) = (take_number(rest, 8)?, take_number(rest, 4)?);
    let (wide, narrow) = (take_number(rest, 1)? as usize, take_number(rest, 1)? as usize);
    take(rest, 2)?;
    if ![0, 1, 2, 4, 8].contains(&wide) || ![1, 2, 4].contains(&narrow) {
        return None;
    }
    let count = usize::try_from(count).ok()?;
    let (sequences, ordinals) = (take(rest, count * wide)?, take(rest, count * narrow)?);
    take_padding(rest, sequences.len() + ordinals.len())?;
    let id = |at: usize| {
        let more = number(&sequences[at * wide..(at + 1) * wide]);
        let further = number(&ordinals[at * narrow..(at + 1) * narrow]);
        let ordinal = u32::try_from(ordinal + further).ok()?;
        Some(RowId { sequence: Sequence(sequence.checked_add(more)?), ordinal })
    };
    (0..count).map(id).collect()
}

fn column_id(def: &TableDef, at: usize) -> u32 {
    def.columns.get(at).map_or_else(|| HIDDEN_COLUMN_IDS[at - def.columns.len()].0, |column| column.id.0)
}

fn type_tag(column_type: ColumnType) -> u8 {
    match column_type {
        ColumnType::Bool => 1,
        ColumnType::Int16 => 2,
        ColumnType::Int32 => 3,
        ColumnType::Int64 => 4,
        ColumnType::Float32 => 5,
        ColumnType::Float64 => 6,
        ColumnType::Decimal { .. } => 7,
        ColumnType::Text | ColumnType::Varchar { .. } | ColumnType::Json | ColumnType::Uuid => 8,
        ColumnType::Bytea => 9,
        ColumnType::Date => 10,
        ColumnType::Timestamp => 11,
        ColumnType::TimestampTz => 12,
    }
}

/// Bytes of a value in memory, of those that integer encodings carry.
fn native_width(column_type: ColumnType) -> usize {
    match column_type {
        ColumnType::Int16 => 2,
        ColumnType::Int32 | ColumnType::Date => 4,
        _ => 8,
    }
}

fn read_column(
    def: &TableDef,
    at: usize,
    column_type: ColumnType,
    rows: usize,
    rest: &mut &[u8],
) -> Option<Vec<Value>> {
    let id = take_number(rest, 4)?;
    let [tag, encoding, width, validity] = [(); 4].map(|()| take_number(rest, 1));
    let (payload, text_bytes) = (take_number(rest, 4)? as usize, take_number(rest, 4)? as usize);
    if id != u64::from(column_id(def, at)) || tag? != u64::from(type_tag(column_type)) {
        return None;
    }
    let is_valid: Vec<bool> = match validity? {
        0 => vec![true; rows],
        1 => {
            let bits = take(rest, rows.div_ceil(8))?;
            take_padding(rest, bits.len())?;
            let is_valid: Vec<bool> = (0..rows).map(|row| bits[row / 8] >> (row % 8) & 1 == 1).collect();
            // A bitmap exists only if some rows are null and some are not.
            if is_valid.iter().all(|valid| *valid == is_valid[0]) {
                return None;
            }
            is_valid
        }
        _ => return None,
    };
    let bytes = take(rest, payload)?;
    take_padding(rest, payload)?;
    let form = Form { encoding: encoding? as u8, width: width? as u8, text_bytes };
    let values = if form.encoding == NULLS {
        (bytes.is_empty() && validity == Some(0)).then(|| vec![Value::Null; rows])?
    } else {
        let values = payload_values(column_type, form, rows, bytes)?;
        let known = |(value, valid): (Value, bool)| if valid { value } else { Value::Null };
        values.into_iter().zip(is_valid).map(known).collect()
    };
    let nullable = def.columns.get(at).is_none_or(|column| column.nullable);
    (nullable || !values.contains(&Value::Null)).then_some(values)
}

fn payload_values(column_type: ColumnType, form: Form, rows: usize, bytes: &[u8]) -> Option<Vec<Value>> {
    let opaque = |native: usize, value: &dyn Fn(&[u8]) -> Value| match form.encoding {
        CONSTANT if bytes.len() == native => Some(vec![value(bytes); rows]),
        RAW if bytes.len() == rows * native => Some(bytes.chunks(native).map(value).collect()),
        _ => None,
    };
    match column_type {
        ColumnType::Bool => match form.encoding {
            CONSTANT if bytes.len() == 1 => Some(vec![Value::Int((bytes[0] != 0).into()); rows]),
            RAW if bytes.len() == rows.div_ceil(8) => {
                Some((0..rows).map(|row| Value::Int((bytes[row / 8] >> (row % 8) & 1).into())).collect())
            }
            _ => None,
        },
        ColumnType::Float32 => opaque(4, &|bits| Value::float(f32::from_bits(number(bits) as u32).into())),
        ColumnType::Float64 => opaque(8, &|bits| Value::float(f64::from_bits(number(bits)))),
        ColumnType::Decimal { .. } if form.width == 16 => opaque(16, &|bits| {
            Value::decimal(i128::from(number(&bits[8..])) << 64 | i128::from(number(&bits[..8])))
        }),
        ColumnType::Text | ColumnType::Varchar { .. } | ColumnType::Json | ColumnType::Uuid => {
            let texts = texts(form, rows, bytes)?.into_iter();
            texts.map(|text| Some(Value::Text(std::str::from_utf8(text).ok()?.into()))).collect()
        }
        ColumnType::Bytea => Some(texts(form, rows, bytes)?.into_iter().map(Value::bytes).collect()),
        other => {
            Some(integers(form, rows, native_width(other), bytes)?.into_iter().map(Value::Int).collect())
        }
    }
}

fn texts(form: Form, rows: usize, bytes: &[u8]) -> Option<Vec<&[u8]>> {
    if (form.encoding, form.width) == (CONSTANT, 1) {
        let fits = bytes.len() == form.text_bytes && bytes.len() * rows <= CONSTANT_TEXT_BYTES_MAX;
        return fits.then(|| vec![bytes; rows]);
    }
    let (front, mut text) = bytes.split_at(bytes.len().checked_sub(form.text_bytes)?);
    let form = Form { width: form.width >> 1, ..form };
    // The lengths end where the last row's does; zeros follow up to the text.
    let used = match form.encoding {
        CONSTANT => 8,
        OFFSETS => 8 + rows * usize::from(form.width),
        RAW => 4 * rows,
        DELTAS => {
            let mut ends = front.iter().enumerate().skip(8).filter(|(_, byte)| **byte < 0x80);
            if rows == 1 { 8 } else { ends.nth(rows - 2)?.0 + 1 }
        }
        RUNS => 12 * (1 + front.chunks_exact(12).position(|run| number(&run[8..]) == rows as u64)?),
        _ => return None,
    };
    let (lengths, mut padding) = front.split_at_checked(used)?;
    take_padding(&mut padding, used)?;
    let lengths = padding.is_empty().then(|| integers(form, rows, 4, lengths))??;
    let texts: Option<Vec<&[u8]>> =
        lengths.into_iter().map(|length| take(&mut text, usize::try_from(length).ok()?)).collect();
    texts.filter(|_| text.is_empty())
}

fn integers(form: Form, rows: usize, native: usize, bytes: &[u8]) -> Option<Vec<i64>> {
    let unused = 64 - 8 * native as u32;
    let fits = |value: &i64| *value << unused >> unused == *value;
    let first = || bytes.get(..8).map(|first| number(first) as i64);
    let values: Vec<i64> = match form.encoding {
        CONSTANT if bytes.len() == 8 => vec![first()?; rows],
        OFFSETS if [1, 2, 4, 8].contains(&form.width) && bytes.len() >= 8 => {
            let offsets = bytes[8..].chunks(form.width.into());
            if bytes.len() - 8 != rows * usize::from(form.width) {
                return None;
            }
            offsets.map(|offset| Some(first()?.wrapping_add(number(offset) as i64))).collect::<Option<_>>()?
        }
        DELTAS => {
            let (mut value, mut rest) = (first()?, bytes.get(8..)?);
            let mut values = vec![value];
            for _ in 1..rows {
                let length = 1 + rest.iter().position(|byte| *byte < 0x80)?;
                let digits = take(&mut rest, length)?;
                if length > 10 {
                    return None;
                }
                // Seven bits each; of the tenth byte one is left.
                let zigzag = digits.iter().rev().fold(0u64, |n, byte| n << 7 | u64::from(byte & 0x7f));
                let magnitude = (zigzag >> 1) as i64;
                value = value.wrapping_add(if zigzag % 2 == 1 { -magnitude - 1 } else { magnitude });
                values.push(value);
            }
            rest.is_empty().then_some(values)?
        }
        RUNS if bytes.len().is_multiple_of(12) => {
            let mut values = Vec::new();
            for run in bytes.chunks(12) {
                let (value, end) = (number(&run[..8]) as i64, number(&run[8..]) as usize);
                if end <= values.len() || end > rows {
                    return None;
                }
                values.resize(end, value);
            }
            values
        }
        RAW if bytes.len() == rows * native => {
            bytes.chunks(native).map(|value| (number(value) as i64) << unused >> unused).collect()
        }
        _ => return None,
    };
    (values.len() == rows && values.iter().all(fits)).then_some(values)
}
