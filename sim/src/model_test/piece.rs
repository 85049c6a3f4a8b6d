//! Checks the encoding of rows: each column has the encoding that the documented format (`kernel::columns` and its
//! `column`) requires for its values, and so the documented size. Independent of the kernel's code. The values are not
//! checked here.

use bytes::Bytes;
use kernel::{RowId, Sequence, TableId};

use crate::oracle::Violation;

const PIECE_HEADER: usize = 32;
const ALIGNMENT: usize = 16;
/// Sample size that decides whether runs and differences are tried.
const SAMPLE_ROWS: usize = 66;

pub(super) const NULLS: u8 = 0;
pub(super) const CONSTANT: u8 = 1;
pub(super) const OFFSETS: u8 = 2;
pub(super) const DELTAS: u8 = 3;
pub(super) const RUNS: u8 = 4;
pub(super) const RAW: u8 = 5;

/// The layout facts of a table piece.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Table.
    pub table: TableId,
    /// Deleted rows.
    pub deletes: Vec<RowId>,
    /// New rows.
    pub rows: usize,
    /// Columns of the new rows.
    pub columns: Vec<Lengths>,
}

/// Memory of a column's values.
#[derive(Clone, Debug)]
pub struct Lengths {
    /// Their form.
    pub form: Form,
    /// By row: is it null?
    pub nulls: Vec<bool>,
    /// By row: bytes of its text; empty in other columns.
    pub texts: Vec<u32>,
}

/// The form of a column's values in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// A bit each.
    Bits,
    /// So many bytes each.
    Fixed(usize),
    /// One after another, and where each begins and ends.
    Texts,
}

/// Checks all columns of all table pieces; returns the pieces.
pub fn check(piece: &Bytes) -> Result<Vec<Written>, Violation> {
    let mut rest: &[u8] = piece;
    let mut pieces = vec![];
    while !rest.is_empty() {
        let (whole, others) = rest.split_at(number(&rest[..4]) as usize);
        rest = others;
        let table = TableId(number(&whole[4..8]) as u32);
        let (rows, deletes, columns) =
            (number(&whole[12..16]), number(&whole[16..20]), number(&whole[20..22]));
        let mut piece = Written { table, rows: rows as usize, ..Written::default() };
        let mut at = PIECE_HEADER;
        if deletes > 0 {
            let section = &whole[at..];
            (piece.deletes, at) =
                read_deletes(section, deletes as usize).map(|(ids, length)| (ids, at + length)).map_err(
                    |what| Violation::new("bounded", format!("the ids of {deletes} rows that go: {what}")),
                )?;
        }
        for column in 0..columns {
            let header = &whole[at..at + 16];
            at += 16;
            let validity = header[7] == 1;
            let bits = if validity { &whole[at..at + (rows as usize).div_ceil(8)] } else { &[] };
            at += bits.len().next_multiple_of(ALIGNMENT);
            let length = number(&header[8..12]) as usize;
            let written = Column {
                type_tag: header[4],
                encoding: header[5],
                width: header[6],
                text_bytes: number(&header[12..16]) as usize,
                rows: rows as usize,
                validity: bits,
                payload: &whole[at..at + length],
            };
            at += length.next_multiple_of(ALIGNMENT);
            written.check().map_err(|what| {
                let text = format!(
                    "column {column} of {rows} rows (type {}, encoding {}, width {}, {length} bytes): {what}",
                    written.type_tag, written.encoding, written.width
                );
                Violation::new("bounded", text)
            })?;
            piece.columns.push(written.lengths());
        }
        pieces.push(piece);
    }
    Ok(pieces)
}

/// Ids are written as differences to the least sequence and the least ordinal, of the least width. Returns them and the
/// length of the section.
fn read_deletes(section: &[u8], count: usize) -> Result<(Vec<RowId>, usize), String> {
    let least = RowId { sequence: Sequence(number(&section[..8])), ordinal: number(&section[8..12]) as u32 };
    let mut ids = vec![least; count];
    let mut at = 16;
    for (what, header, least) in [("sequences", 12, 0), ("ordinals", 13, 1)] {
        let width = usize::from(section[header]);
        let numbers = section[at..at + count * width].chunks(width.max(1)).map(number);
        for (id, more) in ids.iter_mut().zip(numbers.clone()) {
            match header {
                12 => id.sequence.0 += more,
                _ => id.ordinal += more as u32,
            }
        }
        at += count * width;
        let (smallest, greatest) = numbers.fold((u64::MAX, 0), |(a, b), n| (a.min(n), b.max(n)));
        let due = if greatest == 0 { least } else { width_of(greatest) };
        if width != due {
            return Err(format!("{what} have {width} bytes, must have {due}"));
        }
        if width > 0 && smallest != 0 {
            return Err(format!("{what} do not begin with the least"));
        }
    }
    Ok((ids, at.next_multiple_of(ALIGNMENT)))
}

/// Bytes that a number takes: 1, 2, 4 or 8.
fn width_of(number: u64) -> usize {
    [1, 2, 4].into_iter().find(|width| number >> (8 * width) == 0).unwrap_or(8)
}

/// Little-endian, of at most eight bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// An encoded column.
struct Column<'p> {
    type_tag: u8,
    encoding: u8,
    width: u8,
    text_bytes: usize,
    rows: usize,
    /// Empty where no row is null.
    validity: &'p [u8],
    payload: &'p [u8],
}

impl Column<'_> {
    fn is_valid(&self, row: usize) -> bool {
        self.validity.is_empty() || self.validity[row / 8] >> (row % 8) & 1 == 1
    }

    /// Memory of its values once decoded; checks them.
    fn lengths(&self) -> Lengths {
        let nulls = (0..self.rows).map(|row| self.encoding == NULLS || !self.is_valid(row)).collect();
        let form = match self.type_tag {
            1 => Form::Bits,
            2 => Form::Fixed(2),
            3 | 5 | 10 => Form::Fixed(4),
            4 | 6 | 11 | 12 => Form::Fixed(8),
            7 => Form::Fixed(16),
            _ => Form::Texts,
        };
        let texts = if form == Form::Texts { self.text_lengths() } else { vec![] };
        Lengths { form, nulls, texts }
    }

    fn text_lengths(&self) -> Vec<u32> {
        match self.encoding {
            NULLS => vec![0; self.rows],
            CONSTANT if self.width == 1 => vec![self.text_bytes as u32; self.rows],
            _ => {
                let (front, _) = self.payload.split_at(self.payload.len() - self.text_bytes);
                let width = usize::from(self.width >> 1);
                let lengths = integers(self.encoding, width, self.rows, 4, self.used_front(front, width));
                lengths.expect("checked before").into_iter().map(|length| length as u32).collect()
            }
        }
    }

    /// The lengths of texts without padding.
    fn used_front<'f>(&self, front: &'f [u8], width: usize) -> &'f [u8] {
        let used = used_by_lengths(self.encoding, width, self.rows, front);
        &front[..used.expect("checked before")]
    }

    fn check(&self) -> Result<(), String> {
        match (self.encoding, self.type_tag) {
            (NULLS, _) => length("no values", self.payload.len(), 0),
            (_, 1) => self.check_bits(),
            (_, 2) => self.check_integers(2),
            (_, 3 | 10) => self.check_integers(4),
            (_, 4 | 11 | 12) => self.check_integers(8),
            (_, 5) => self.check_opaque(4),
            (_, 6) => self.check_opaque(8),
            (_, 7) if self.width == 16 => self.check_opaque(16),
            (_, 7) => self.check_integers(8),
            (_, 8 | 9) => self.check_texts(),
            _ => Err("its type is unknown".into()),
        }
    }

    fn check_bits(&self) -> Result<(), String> {
        if self.encoding == CONSTANT {
            return length("a constant", self.payload.len(), 1);
        }
        let mut seen = [false; 2];
        for row in (0..self.rows).filter(|row| self.is_valid(*row)) {
            seen[usize::from(self.payload[row / 8] >> (row % 8) & 1)] = true;
        }
        if seen != [true; 2] {
            return Err("all its values are the same".into());
        }
        length("a bitmap", self.payload.len(), self.rows.div_ceil(8))
    }

    fn check_opaque(&self, native: usize) -> Result<(), String> {
        if self.encoding == CONSTANT {
            return length("a constant", self.payload.len(), native);
        }
        let values: Vec<&[u8]> = self.payload.chunks(native).collect();
        if values.iter().all(|value| *value == values[0]) {
            return Err("all its values are the same".into());
        }
        if native == 16
            && values.iter().all(|v| i64::try_from(i128::from_le_bytes((*v).try_into().expect("16"))).is_ok())
        {
            return Err("its values have no more than 64 bits".into());
        }
        self.check_filled(&values)?;
        length("its values", self.payload.len(), self.rows * native)
    }

    fn check_integers(&self, native: usize) -> Result<(), String> {
        let values = integers(self.encoding, self.width.into(), self.rows, native, self.payload)?;
        self.check_filled(&values)?;
        check_length(&values, native, self.encoding, self.payload.len())
    }

    /// Under nulls is the previous value, at the front the first one.
    fn check_filled<T: PartialEq>(&self, values: &[T]) -> Result<(), String> {
        let first = (0..self.rows).find(|row| self.is_valid(*row)).ok_or("it is null throughout")?;
        let expected = |row: usize| if row < first { first } else { row - usize::from(row > 0) };
        let wrong = (0..self.rows).find(|row| !self.is_valid(*row) && values[*row] != values[expected(*row)]);
        wrong.map_or(Ok(()), |row| {
            Err(format!("under the null of row {row} lies another value than before it"))
        })
    }

    fn check_texts(&self) -> Result<(), String> {
        if self.encoding == CONSTANT && self.width == 1 {
            return length("one text", self.payload.len(), self.text_bytes);
        }
        let (front, text) = self.payload.split_at(self.payload.len() - self.text_bytes);
        let native = 4;
        let width = usize::from(self.width >> 1);
        let used = used_by_lengths(self.encoding, width, self.rows, front)?;
        let lengths = integers(self.encoding, width, self.rows, native, &front[..used])?;
        if lengths.iter().sum::<i64>() != text.len() as i64 {
            return Err("the lengths of its texts do not add up".into());
        }
        if (0..self.rows).any(|row| !self.is_valid(row) && lengths[row] != 0) {
            return Err("there is text under a null".into());
        }
        let one = lengths[0] as usize;
        let constant =
            self.validity.is_empty() && one > 0 && lengths.iter().all(|length| *length == lengths[0]);
        if constant && text.chunks(one).all(|value| *value == text[..one]) {
            return Err("all its texts are the same".into());
        }
        length("its lengths, padded", front.len(), used.next_multiple_of(ALIGNMENT))?;
        check_length(&lengths, native, self.encoding, used)
    }
}

fn length(what: &str, found: usize, due: usize) -> Result<(), String> {
    if found == due { Ok(()) } else { Err(format!("{what} take {found} bytes, must take {due}")) }
}

/// Bytes of the lengths of texts, without padding.
fn used_by_lengths(encoding: u8, width: usize, rows: usize, bytes: &[u8]) -> Result<usize, String> {
    Ok(match encoding {
        CONSTANT => 8,
        OFFSETS => 8 + rows * width,
        RAW => 4 * rows,
        DELTAS => {
            let ends = bytes.iter().enumerate().skip(8).filter(|(_, byte)| **byte < 0x80);
            let last = ends.map(|(at, _)| at).nth(rows - 2);
            last.ok_or("its differences end early")? + 1
        }
        RUNS => {
            let last = bytes.chunks_exact(12).position(|run| number(&run[8..]) == rows as u64);
            12 * (last.ok_or("its runs end early")? + 1)
        }
        _ => return Err("its encoding is unknown".into()),
    })
}

/// The integers of a payload.
fn integers(
    encoding: u8,
    width: usize,
    rows: usize,
    native: usize,
    bytes: &[u8],
) -> Result<Vec<i64>, String> {
    let first = || number(&bytes[..8]) as i64;
    let values: Vec<i64> = match encoding {
        CONSTANT => vec![first(); rows],
        OFFSETS => {
            bytes[8..].chunks(width).map(|offset| first().wrapping_add(number(offset) as i64)).collect()
        }
        RAW => {
            let unused = 64 - 8 * native as u32;
            bytes.chunks(native).map(|value| (number(value) as i64) << unused >> unused).collect()
        }
        DELTAS => {
            let mut values = vec![first()];
            let (mut delta, mut shift) = (0u64, 0);
            for byte in &bytes[8..] {
                delta |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if *byte < 0x80 {
                    let sign = if delta & 1 == 1 { -1 } else { 0 };
                    values.push(values[values.len() - 1].wrapping_add((delta >> 1) as i64 ^ sign));
                    (delta, shift) = (0, 0);
                }
            }
            values
        }
        RUNS => {
            let mut values = Vec::new();
            for run in bytes.chunks(12) {
                values.resize(number(&run[8..]) as usize, number(&run[..8]) as i64);
            }
            values
        }
        _ => return Err("its encoding is unknown".into()),
    };
    if values.len() == rows { Ok(values) } else { Err(format!("it has {} values", values.len())) }
}

/// Checks for the smallest encoding of integers, where deltas must save half of the space.
fn check_length(values: &[i64], native: usize, encoding: u8, found: usize) -> Result<(), String> {
    let (least, greatest) = (values.iter().min().expect("a row"), values.iter().max().expect("a row"));
    if least == greatest {
        return length("a constant", found, 8);
    }
    let width =
        [1, 2, 4, 8].into_iter().find(|width| *width == 8 || greatest.abs_diff(*least) >> (8 * width) == 0);
    let width = width.expect("the last one holds all").min(native);
    let rows = values.len();
    let plain = if width < native { 8 + rows * width } else { rows * native };
    let worth = rows * width / 2;
    let (runs, deltas) = (runs_bytes(values), deltas_bytes(values));
    // The sample identifies unordered values.
    let hopeless = rows > SAMPLE_ROWS && {
        let sample = &values[..SAMPLE_ROWS];
        runs_bytes(sample) > worth.min(384) && deltas_bytes(sample) - 8 > 32 * width
    };
    let due = match () {
        () if hopeless => plain,
        () if runs <= worth && runs <= deltas => {
            if encoding != RUNS {
                return Err("it is no runs, which are as short as all else".into());
            }
            runs
        }
        () if deltas <= worth => deltas,
        () => plain,
    };
    length("its values", found, due)
}

fn differences(values: &[i64]) -> impl Iterator<Item = i64> + '_ {
    values.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]))
}

fn runs_bytes(values: &[i64]) -> usize {
    12 * (1 + differences(values).filter(|delta| *delta != 0).count())
}

fn deltas_bytes(values: &[i64]) -> usize {
    // Zigzag: twice the difference, less one where it is negative; seven bits a byte.
    let zigzag = |delta: i64| 2 * u128::from(delta.unsigned_abs()) - u128::from(delta < 0);
    let bytes = |delta: i64| (128 - zigzag(delta).leading_zeros() as usize).div_ceil(7).max(1);
    8 + differences(values).map(bytes).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_as_short_as_their_values_allow() {
        assert_eq!(check_length(&[5; 9], 8, CONSTANT, 8), Ok(()));
        assert_eq!(check_length(&[1, 200, 3], 8, OFFSETS, 8 + 3), Ok(()));
        assert_eq!(check_length(&[1, 300, 3], 2, RAW, 6), Ok(()), "no offsets where they are as wide");
        let stairs: Vec<i64> = (0..60).map(|step| step * 1_000_000).collect();
        assert!(
            check_length(&stairs, 8, OFFSETS, 8 + 60 * 4).is_ok(),
            "differences of three bytes are not worth it"
        );
        let jump: Vec<i64> = (0..60).map(|row| if row < 30 { row } else { 100_000 + row }).collect();
        assert_eq!(check_length(&jump, 8, DELTAS, 8 + 58 + 3), Ok(()));
        assert_eq!(
            check_length(&jump, 8, OFFSETS, 8 + 60 * 4),
            Err("its values take 248 bytes, must take 69".into())
        );
        let runs: Vec<i64> = (0..60).map(|row| if row < 30 { 0 } else { 1 << 33 }).collect();
        assert_eq!(check_length(&runs, 8, RUNS, 24), Ok(()));
    }
}
