//! One column's payload. Integers (dates, timestamps, and decimals that fit 64 bits, too) take the smallest of a few
//! light encodings; the choice depends on the values alone. The value stored under a null is the last value before it
//! (at the front, the first one), which never makes an encoding larger.
//!
//! | Encoding | Payload |
//! |---|---|
//! | `NULLS` | nothing: all rows are null |
//! | `CONSTANT` | one value: 8 bytes (integers), its width (floats, wide decimals), 1 byte (boolean), its bytes (text) |
//! | `OFFSETS` | the least value, 8 bytes; the differences to it, `width` bytes each |
//! | `DELTAS` | the first value, 8 bytes; the differences between neighbours as zigzag varints |
//! | `RUNS` | pairs of value (8 bytes) and the row where its run ends (4 bytes) |
//! | `RAW` | the values, `width` bytes each; booleans as a bitmap |
//!
//! The smaller of runs and deltas (runs, if equal) is used if it takes at most half of the bytes of offsets. With more
//! than 66 values, the first 66 are a sample: runs and deltas are not tried if the sample has more than 32 runs (or
//! more than the bound for all values) and its deltas take more than half of 64 offsets.
//!
//! Text and bytea: the lengths, as integers in one of these encodings, padded; then `text bytes` bytes. A constant text
//! is only its bytes.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, BooleanArray, GenericByteArray, PrimitiveArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};

use super::{ALIGNMENT, corrupt, too_long, width_of};
use crate::error::Result;

const NULLS: u8 = 0;
const CONSTANT: u8 = 1;
const OFFSETS: u8 = 2;
const DELTAS: u8 = 3;
const RUNS: u8 = 4;
const RAW: u8 = 5;

/// Most bytes to which a constant text may expand. It bounds what a reader allocates because of a few damaged bytes.
const CONSTANT_TEXT_BYTES_MAX: usize = 16 << 20;

/// The form of a payload, from the header of its column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub encoding: u8,
    pub width: u8,
    pub text_bytes: u32,
}

impl Form {
    pub const NULLS: Form = Form::plain(NULLS, 0);

    const fn plain(encoding: u8, width: u8) -> Form {
        Form { encoding, width, text_bytes: 0 }
    }
}

/// The tag of a type in the header of a column. The table's schema version defines precision and scale.
pub(super) fn type_tag(data_type: &DataType) -> u8 {
    match data_type {
        DataType::Boolean => 1,
        DataType::Int16 => 2,
        DataType::Int32 => 3,
        DataType::Int64 => 4,
        DataType::Float32 => 5,
        DataType::Float64 => 6,
        DataType::Decimal128(..) => 7,
        DataType::Utf8 => 8,
        DataType::Binary => 9,
        DataType::Date32 => 10,
        DataType::Timestamp(TimeUnit::Microsecond, None) => 11,
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => 12,
        other => unreachable!("no column type maps to {other}"),
    }
}

/// Appends the payload of a column with at least one value that is not null.
pub(super) fn encode(column: &ArrayRef, out: &mut Vec<u8>) -> Form {
    assert!(column.null_count() < column.len(), "a column without values has no payload");
    match column.data_type() {
        DataType::Boolean => encode_bits(column.as_boolean(), out),
        DataType::Int16 => encode_integers(&filled::<Int16Type>(column), out),
        DataType::Int32 => encode_integers(&filled::<Int32Type>(column), out),
        DataType::Int64 => encode_integers(&filled::<Int64Type>(column), out),
        DataType::Date32 => encode_integers(&filled::<Date32Type>(column), out),
        DataType::Timestamp(..) => encode_integers(&filled::<TimestampMicrosecondType>(column), out),
        DataType::Float32 => {
            encode_opaque(&filled::<Float32Type>(column), |v| v.to_bits().to_le_bytes(), out)
        }
        DataType::Float64 => {
            encode_opaque(&filled::<Float64Type>(column), |v| v.to_bits().to_le_bytes(), out)
        }
        DataType::Decimal128(..) => encode_decimals(&filled::<Decimal128Type>(column), out),
        DataType::Utf8 => encode_bytes(column.as_string::<i32>(), out),
        DataType::Binary => encode_bytes(column.as_binary::<i32>(), out),
        other => unreachable!("no column type maps to {other}"),
    }
}

/// Reads a payload. Never panics, whatever the bytes; allocates no more than `rows` values and `text_bytes` of `bytes`.
pub(super) fn decode(
    data_type: &DataType,
    form: Form,
    rows: usize,
    nulls: Option<NullBuffer>,
    bytes: &[u8],
) -> Result<ArrayRef> {
    if form.encoding == NULLS {
        if !bytes.is_empty() || nulls.is_some() {
            return Err(corrupt("a column of nulls has values"));
        }
        return Ok(arrow_array::new_null_array(data_type, rows));
    }
    match data_type {
        DataType::Boolean => decode_bits(form, rows, nulls, bytes),
        DataType::Int16 => primitive::<Int16Type>(decode_integers(form, rows, bytes)?, nulls),
        DataType::Int32 => primitive::<Int32Type>(decode_integers(form, rows, bytes)?, nulls),
        DataType::Int64 => primitive::<Int64Type>(decode_integers(form, rows, bytes)?, nulls),
        DataType::Date32 => primitive::<Date32Type>(decode_integers(form, rows, bytes)?, nulls),
        DataType::Timestamp(_, zone) => {
            let values = ScalarBuffer::from(decode_integers::<i64>(form, rows, bytes)?);
            let array = PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls);
            Ok(Arc::new(array.with_timezone_opt(zone.clone())))
        }
        DataType::Float32 => {
            primitive::<Float32Type>(decode_opaque(form, rows, bytes, f32::from_le_bytes)?, nulls)
        }
        DataType::Float64 => {
            primitive::<Float64Type>(decode_opaque(form, rows, bytes, f64::from_le_bytes)?, nulls)
        }
        DataType::Decimal128(precision, scale) => {
            let values = if form.width == 16 {
                decode_opaque(form, rows, bytes, i128::from_le_bytes)?
            } else {
                decode_integers::<i64>(form, rows, bytes)?.into_iter().map(i128::from).collect()
            };
            let array = PrimitiveArray::<Decimal128Type>::new(values.into(), nulls);
            Ok(Arc::new(array.with_data_type(DataType::Decimal128(*precision, *scale))))
        }
        DataType::Utf8 => decode_bytes::<Utf8Type>(form, rows, nulls, bytes),
        DataType::Binary => decode_bytes::<BinaryType>(form, rows, nulls, bytes),
        other => unreachable!("no column type maps to {other}"),
    }
}

/// Types that the integer encodings store.
trait Integer: Copy + Ord {
    const WIDTH: usize;
    fn widen(self) -> i64;
    fn narrow(value: i64) -> Option<Self>;
    fn put(self, out: &mut [u8]);
    fn get(bytes: &[u8]) -> Self;
}

macro_rules! integer {
    ($($native:ty),*) => {$(
        impl Integer for $native {
            const WIDTH: usize = size_of::<$native>();
            #[inline(always)]
            fn widen(self) -> i64 {
                self.into()
            }
            #[inline(always)]
            fn narrow(value: i64) -> Option<Self> {
                value.try_into().ok()
            }
            #[inline(always)]
            fn put(self, out: &mut [u8]) {
                out.copy_from_slice(&self.to_le_bytes());
            }
            #[inline(always)]
            fn get(bytes: &[u8]) -> Self {
                <$native>::from_le_bytes(bytes.try_into().expect("WIDTH bytes"))
            }
        }
    )*};
}
integer!(i16, i32, i64);

/// A column's values, with nulls replaced by the value before them.
fn filled<T: ArrowPrimitiveType>(column: &ArrayRef) -> ScalarBuffer<T::Native> {
    let column: &PrimitiveArray<T> = column.as_primitive();
    let values = column.values();
    let Some(nulls) = column.nulls() else { return values.clone() };
    let first = nulls.valid_indices().next().expect("not all rows are null");
    let mut last = values[first];
    let filled: Vec<T::Native> = (0..values.len())
        .map(|row| {
            if nulls.is_valid(row) {
                last = values[row];
            }
            last
        })
        .collect();
    filled.into()
}

fn encode_integers<T: Integer>(values: &[T], out: &mut Vec<u8>) -> Form {
    let (least, greatest) = bounds(values);
    if least == greatest {
        out.extend_from_slice(&least.widen().to_le_bytes());
        return Form::plain(CONSTANT, 0);
    }
    let (least, greatest) = (least.widen(), greatest.widen());
    let width = width_of(greatest.wrapping_sub(least) as u64).min(T::WIDTH);
    if let Some(form) = encode_differences(values, width, out) {
        return form;
    }
    let start = out.len();
    if width < T::WIDTH {
        out.extend_from_slice(&least.to_le_bytes());
        pack(values.iter().map(|v| v.widen().wrapping_sub(least) as u64), width, out);
        return Form::plain(OFFSETS, width as u8);
    }
    out.resize(start + values.len() * T::WIDTH, 0);
    for (place, value) in out[start..].chunks_exact_mut(T::WIDTH).zip(values) {
        value.put(place);
    }
    Form::plain(RAW, T::WIDTH as u8)
}

fn bounds<T: Integer>(values: &[T]) -> (T, T) {
    values
        .iter()
        .fold((values[0], values[0]), |(least, greatest), value| (least.min(*value), greatest.max(*value)))
}

/// Runs or deltas, if one of them takes at most half of the bytes of offsets of `width` bytes.
fn encode_differences<T: Integer>(values: &[T], width: usize, out: &mut Vec<u8>) -> Option<Form> {
    const SAMPLE: usize = 64;
    let bound = values.len() * width / 2;
    let (mut runs, mut deltas) = (1usize, 8usize);
    for (at, pair) in values.windows(2).enumerate() {
        let delta = zigzag(pair[1].widen().wrapping_sub(pair[0].widen()));
        runs += usize::from(delta != 0);
        deltas += varint_length(delta);
        // Most columns are unordered, and a short sample shows it.
        if at == SAMPLE && runs * 12 > bound.min(SAMPLE * 12 / 2) && (deltas - 8) > SAMPLE * width / 2 {
            return None;
        }
    }
    if runs * 12 <= bound && runs * 12 <= deltas {
        for (row, value) in values.iter().enumerate() {
            if row + 1 == values.len() || *value != values[row + 1] {
                out.extend_from_slice(&value.widen().to_le_bytes());
                out.extend_from_slice(&(row as u32 + 1).to_le_bytes());
            }
        }
        return Some(Form::plain(RUNS, 0));
    }
    if deltas <= bound {
        out.extend_from_slice(&values[0].widen().to_le_bytes());
        for pair in values.windows(2) {
            put_varint(zigzag(pair[1].widen().wrapping_sub(pair[0].widen())), out);
        }
        return Some(Form::plain(DELTAS, 0));
    }
    None
}

fn decode_integers<T: Integer>(form: Form, rows: usize, bytes: &[u8]) -> Result<Vec<T>> {
    let narrow = |value: i64| T::narrow(value).ok_or_else(|| corrupt("a number does not fit its column"));
    match form.encoding {
        CONSTANT => {
            exactly(bytes, 8)?;
            Ok(vec![narrow(word(bytes))?; rows])
        }
        OFFSETS => {
            let width = form.width as usize;
            if !matches!(width, 1 | 2 | 4 | 8) {
                return Err(corrupt("numbers have an impossible width"));
            }
            exactly(bytes, 8 + rows * width)?;
            let least = word(bytes);
            unpack(&bytes[8..], width).map(|offset| narrow(least.wrapping_add(offset as i64))).collect()
        }
        DELTAS => {
            let mut rest = bytes.get(8..).ok_or_else(too_long)?;
            let mut value = word(bytes);
            let mut values = Vec::with_capacity(rows);
            values.push(narrow(value)?);
            for _ in 1..rows {
                value = value.wrapping_add(unzigzag(take_varint(&mut rest)?));
                values.push(narrow(value)?);
            }
            exactly(rest, 0)?;
            Ok(values)
        }
        RUNS => {
            let mut values = Vec::with_capacity(rows);
            for run in bytes.chunks(12) {
                exactly(run, 12)?;
                let end = u32::from_le_bytes(run[8..12].try_into().expect("four bytes")) as usize;
                if end <= values.len() || end > rows {
                    return Err(corrupt("runs of a column do not follow one another"));
                }
                values.resize(end, narrow(word(run))?);
            }
            if values.len() == rows { Ok(values) } else { Err(corrupt("runs of a column end early")) }
        }
        RAW => {
            exactly(bytes, rows * T::WIDTH)?;
            Ok(bytes.chunks_exact(T::WIDTH).map(T::get).collect())
        }
        _ => Err(corrupt("a column's encoding is unknown")),
    }
}

fn encode_decimals(values: &[i128], out: &mut Vec<u8>) -> Form {
    if values.iter().all(|v| i64::try_from(*v).is_ok()) {
        let narrow: Vec<i64> = values.iter().map(|v| *v as i64).collect();
        return encode_integers(&narrow, out);
    }
    encode_opaque(values, i128::to_le_bytes, out)
}

/// Values without a light encoding: a constant, or all values.
fn encode_opaque<T: Copy, const N: usize>(
    values: &[T],
    to_bytes: impl Fn(T) -> [u8; N],
    out: &mut Vec<u8>,
) -> Form {
    let first = to_bytes(values[0]);
    if values.iter().all(|v| to_bytes(*v) == first) {
        out.extend_from_slice(&first);
        return Form::plain(CONSTANT, N as u8);
    }
    let start = out.len();
    out.resize(start + values.len() * N, 0);
    for (place, value) in out[start..].chunks_exact_mut(N).zip(values) {
        place.copy_from_slice(&to_bytes(*value));
    }
    Form::plain(RAW, N as u8)
}

fn decode_opaque<T: Copy, const N: usize>(
    form: Form,
    rows: usize,
    bytes: &[u8],
    from_bytes: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>> {
    let value = |bytes: &[u8]| from_bytes(bytes.try_into().expect("N bytes"));
    match form.encoding {
        CONSTANT => exactly(bytes, N).map(|()| vec![value(bytes); rows]),
        RAW => exactly(bytes, rows * N).map(|()| bytes.chunks_exact(N).map(value).collect()),
        _ => Err(corrupt("a column's encoding is unknown")),
    }
}

fn encode_bits(column: &BooleanArray, out: &mut Vec<u8>) -> Form {
    let values = match column.nulls() {
        Some(nulls) => column.values() & nulls.inner(),
        None => column.values().clone(),
    };
    let set = values.count_set_bits();
    if set == 0 || set == values.len() - column.null_count() {
        out.push(u8::from(set > 0));
        return Form::plain(CONSTANT, 0);
    }
    pack_bits(&values, out);
    Form::plain(RAW, 0)
}

fn decode_bits(form: Form, rows: usize, nulls: Option<NullBuffer>, bytes: &[u8]) -> Result<ArrayRef> {
    let values = match form.encoding {
        CONSTANT => {
            exactly(bytes, 1)?;
            if bytes[0] == 0 { BooleanBuffer::new_unset(rows) } else { BooleanBuffer::new_set(rows) }
        }
        RAW => {
            exactly(bytes, rows.div_ceil(8))?;
            BooleanBuffer::new(Buffer::from(bytes), 0, rows)
        }
        _ => return Err(corrupt("a column's encoding is unknown")),
    };
    Ok(Arc::new(BooleanArray::new(values, nulls)))
}

fn encode_bytes<T: ByteArrayType<Offset = i32>>(column: &GenericByteArray<T>, out: &mut Vec<u8>) -> Form {
    let offsets = column.value_offsets();
    let data = &column.value_data()[offsets[0] as usize..offsets[column.len()] as usize];
    let nulls = column.nulls().filter(|n| n.null_count() > 0);
    let mut lengths: Vec<i32> = offsets.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut under_nulls = false;
    if let Some(nulls) = nulls {
        for (_, length) in lengths.iter_mut().enumerate().filter(|(row, _)| nulls.is_null(*row)) {
            under_nulls |= *length != 0;
            *length = 0;
        }
    } else if lengths.iter().all(|l| *l == lengths[0]) && lengths[0] > 0 {
        let (first, rest) = data.split_at(lengths[0] as usize);
        if data.len() <= CONSTANT_TEXT_BYTES_MAX && rest.chunks_exact(first.len()).all(|value| value == first)
        {
            out.extend_from_slice(first);
            return Form { encoding: CONSTANT, width: 1, text_bytes: first.len() as u32 };
        }
    }
    let start = out.len();
    let form = encode_integers(&lengths, out);
    out.resize(start + (out.len() - start).next_multiple_of(ALIGNMENT), 0);
    let text_start = out.len();
    if under_nulls {
        for (row, length) in lengths.iter().enumerate() {
            let from = (offsets[row] - offsets[0]) as usize;
            out.extend_from_slice(&data[from..from + *length as usize]);
        }
    } else {
        out.extend_from_slice(data);
    }
    // The width distinguishes lengths (0 and 2 upwards, shifted) from a constant text (1).
    Form {
        encoding: form.encoding,
        width: form.width << 1,
        text_bytes: u32::try_from(out.len() - text_start).expect("offsets have 31 bits"),
    }
}

fn decode_bytes<T: ByteArrayType<Offset = i32>>(
    form: Form,
    rows: usize,
    nulls: Option<NullBuffer>,
    bytes: &[u8],
) -> Result<ArrayRef> {
    let text_bytes = form.text_bytes as usize;
    let (lengths, text) = if form.encoding == CONSTANT && form.width == 1 {
        exactly(bytes, text_bytes)?;
        let total = text_bytes.checked_mul(rows).filter(|t| *t <= CONSTANT_TEXT_BYTES_MAX);
        let total = total.ok_or_else(too_long)?;
        let mut text = Vec::with_capacity(total);
        (0..rows).for_each(|_| text.extend_from_slice(bytes));
        (vec![text_bytes as i32; rows], text)
    } else {
        let front = bytes.len().checked_sub(text_bytes).ok_or_else(too_long)?;
        let (lengths, text) = bytes.split_at(front);
        let lengths = decode_lengths(Form::plain(form.encoding, form.width >> 1), rows, lengths)?;
        (lengths, text.to_vec())
    };
    let mut offsets = Vec::with_capacity(rows + 1);
    let mut end = 0i32;
    offsets.push(end);
    for length in lengths {
        end = end.checked_add(length).filter(|_| length >= 0).ok_or_else(too_long)?;
        offsets.push(end);
    }
    if end as usize != text.len() {
        return Err(corrupt("the lengths of texts do not add up"));
    }
    let offsets = OffsetBuffer::new(offsets.into());
    let array = GenericByteArray::<T>::try_new(offsets, text.into(), nulls)
        .map_err(|e| corrupt(&format!("a text is not valid: {e}")))?;
    Ok(Arc::new(array))
}

/// Lengths of texts, with the padding after them.
fn decode_lengths(form: Form, rows: usize, bytes: &[u8]) -> Result<Vec<i32>> {
    // The padding of deltas and runs starts after the last value, and only decoding finds that place.
    let used = match form.encoding {
        CONSTANT => 8,
        OFFSETS => 8 + rows * form.width as usize,
        RAW => rows * 4,
        DELTAS => {
            let mut rest = bytes.get(8..).ok_or_else(too_long)?;
            for _ in 1..rows {
                take_varint(&mut rest)?;
            }
            bytes.len() - rest.len()
        }
        RUNS => {
            let end_of = |run: &[u8]| u32::from_le_bytes(run[8..12].try_into().expect("four bytes")) as usize;
            let last = bytes.chunks_exact(12).position(|run| end_of(run) == rows);
            (last.ok_or_else(too_long)? + 1) * 12
        }
        _ => return Err(corrupt("a column's encoding is unknown")),
    };
    let (values, padding) = bytes.split_at_checked(used).ok_or_else(too_long)?;
    if padding.len() != used.next_multiple_of(ALIGNMENT) - used || padding.iter().any(|b| *b != 0) {
        return Err(corrupt("padding is not zero"));
    }
    decode_integers(form, rows, values)
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    Ok(Arc::new(PrimitiveArray::<T>::new(values.into(), nulls)))
}

/// Appends numbers of `width` bytes each (0, 1, 2, 4, 8).
pub(super) fn pack(values: impl ExactSizeIterator<Item = u64>, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + values.len() * width, 0);
    let places = &mut out[start..];
    match width {
        0 => {}
        1 => places.iter_mut().zip(values).for_each(|(place, v)| *place = v as u8),
        2 => places
            .chunks_exact_mut(2)
            .zip(values)
            .for_each(|(p, v)| p.copy_from_slice(&(v as u16).to_le_bytes())),
        4 => places
            .chunks_exact_mut(4)
            .zip(values)
            .for_each(|(p, v)| p.copy_from_slice(&(v as u32).to_le_bytes())),
        8 => places.chunks_exact_mut(8).zip(values).for_each(|(p, v)| p.copy_from_slice(&v.to_le_bytes())),
        _ => unreachable!("widths are 0, 1, 2, 4 or 8"),
    }
}

/// The number at index `at` of those that [`pack`] wrote.
#[inline]
pub(super) fn unpack_one(bytes: &[u8], width: usize, at: usize) -> u64 {
    let mut word = [0u8; 8];
    word[..width].copy_from_slice(&bytes[at * width..(at + 1) * width]);
    u64::from_le_bytes(word)
}

fn unpack(bytes: &[u8], width: usize) -> impl Iterator<Item = u64> + '_ {
    (0..bytes.len() / width).map(move |at| unpack_one(bytes, width, at))
}

/// Appends a bitmap whose padding bits are zero.
pub(super) fn pack_bits(bits: &BooleanBuffer, out: &mut Vec<u8>) {
    let length = bits.len().div_ceil(8);
    out.extend_from_slice(&bits.sliced().as_slice()[..length]);
    let used = bits.len() % 8;
    if used > 0 {
        *out.last_mut().expect("there is a last byte") &= (1 << used) - 1;
    }
}

pub(super) fn unpack_nulls(bytes: &[u8], rows: usize) -> Result<NullBuffer> {
    let nulls = NullBuffer::new(BooleanBuffer::new(Buffer::from(bytes), 0, rows));
    if nulls.null_count() == 0 || nulls.null_count() == rows {
        return Err(corrupt("a validity bitmap has no null"));
    }
    Ok(nulls)
}

fn exactly(bytes: &[u8], length: usize) -> Result<()> {
    if bytes.len() == length { Ok(()) } else { Err(corrupt("a column's length is wrong")) }
}

fn word(bytes: &[u8]) -> i64 {
    i64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

#[inline(always)]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline(always)]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[inline(always)]
fn varint_length(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or_else(too_long)?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(corrupt("a number has too many bytes"))
}
