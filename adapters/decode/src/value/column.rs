//! One column that grows: Arrow's buffers, filled directly. A value is appended whole or not at all, so that a row that
//! fails is undone by truncating every column to the number of complete rows.

use std::sync::Arc;

use arrow_array::types::*;
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBufferBuilder, Buffer, NullBuffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};
use kernel::schema::{ColumnType, fitting_len};
use kernel::{Error, SqlState};
use pg_values::json::{Canonical, DEPTH_MAX};
use pg_values::{number, text, time};

use super::Fault;
use crate::json::scan::{self, Kind, Token};
use crate::plan::FieldMapping;

/// Longest text of a DEFAULT: it is repeated in every row that lacks the field.
pub(crate) const DEFAULT_BYTES_MAX: usize = 4096;

/// Values under construction, a slot for every row (nulls have a zero).
#[derive(Debug)]
enum Values {
    Bool(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal(Vec<i128>),
    Date(Vec<i32>),
    Timestamp(Vec<i64>),
    /// UTF-8 in Text, Json and Uuid; anything in Bytea.
    Text(Texts),
    Json(Texts, Canonical),
    Uuid(Texts),
    Bytea(Texts),
}

/// Byte strings end to end.
#[derive(Debug)]
struct Texts {
    bytes: Vec<u8>,
    /// End of each.
    offsets: Vec<i32>,
}

impl Texts {
    fn new() -> Texts {
        Texts { bytes: Vec::new(), offsets: vec![0] }
    }

    /// Makes a string of what was appended to `bytes`.
    #[inline]
    fn close(&mut self) -> Result<(), Fault> {
        match i32::try_from(self.bytes.len()) {
            Ok(end) => {
                self.offsets.push(end);
                Ok(())
            }
            Err(_) => {
                self.reopen();
                Err(Fault::NoRoom)
            }
        }
    }

    /// Drops what was appended to `bytes` since the last `close`.
    fn reopen(&mut self) {
        self.bytes.truncate(*self.offsets.last().expect("never empty") as usize);
    }

    #[inline]
    fn push(&mut self, text: &[u8]) -> Result<(), Fault> {
        self.bytes.extend_from_slice(text);
        self.close()
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.reopen();
    }
}

/// A column under construction.
#[derive(Debug)]
pub(crate) struct Column {
    mapping: FieldMapping,
    /// Most characters of a text.
    max_chars: Option<usize>,
    values: Values,
    nulls: NullBufferBuilder,
    /// Stands in for a missing value: a column of one row.
    default: Option<Box<Column>>,
}

impl Column {
    /// An empty column. Fails where the default does not fit the type.
    pub fn new(mapping: &FieldMapping) -> Result<Column, Error> {
        let mut column = Column::empty(mapping);
        if let Some(text) = &mapping.default {
            let refuse = |reason: String| {
                let what = format!("default \"{text}\" of column {} {reason}", mapping.name);
                Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, what))
            };
            if text.len() > DEFAULT_BYTES_MAX {
                return refuse(format!("is longer than {DEFAULT_BYTES_MAX} bytes"));
            }
            let mut default = Column::empty(mapping);
            if let Err(fault) = default.append_text(text.as_bytes()) {
                return refuse(fault.reason(mapping.column_type));
            }
            column.default = Some(Box::new(default));
        }
        Ok(column)
    }

    fn empty(mapping: &FieldMapping) -> Column {
        let values = match mapping.column_type {
            ColumnType::Bool => Values::Bool(BooleanBufferBuilder::new(0)),
            ColumnType::Int16 => Values::Int16(Vec::new()),
            ColumnType::Int32 => Values::Int32(Vec::new()),
            ColumnType::Int64 => Values::Int64(Vec::new()),
            ColumnType::Float32 => Values::Float32(Vec::new()),
            ColumnType::Float64 => Values::Float64(Vec::new()),
            ColumnType::Decimal { .. } => Values::Decimal(Vec::new()),
            ColumnType::Date => Values::Date(Vec::new()),
            ColumnType::Timestamp | ColumnType::TimestampTz => Values::Timestamp(Vec::new()),
            ColumnType::Text | ColumnType::Varchar { .. } => Values::Text(Texts::new()),
            ColumnType::Json => Values::Json(Texts::new(), Canonical::default()),
            ColumnType::Uuid => Values::Uuid(Texts::new()),
            ColumnType::Bytea => Values::Bytea(Texts::new()),
        };
        Column {
            mapping: mapping.clone(),
            max_chars: mapping.column_type.max_chars(),
            values,
            nulls: NullBufferBuilder::new(0),
            default: None,
        }
    }

    /// The mapping that it is decoded by.
    pub fn mapping(&self) -> &FieldMapping {
        &self.mapping
    }

    /// Values so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Bytes held by the values so far.
    pub fn bytes(&self) -> usize {
        let rows = self.len();
        match &self.values {
            Values::Bool(_) => rows / 8,
            Values::Int16(_) => rows * 2,
            Values::Int32(_) | Values::Float32(_) | Values::Date(_) => rows * 4,
            Values::Int64(_) | Values::Float64(_) | Values::Timestamp(_) => rows * 8,
            Values::Decimal(_) => rows * 16,
            Values::Text(t) | Values::Json(t, _) | Values::Uuid(t) | Values::Bytea(t) => {
                t.bytes.len() + rows * 4
            }
        }
    }

    /// Drops all but the first values.
    pub fn truncate(&mut self, rows: usize) {
        if self.len() <= rows {
            return;
        }
        match &mut self.values {
            Values::Bool(v) => v.truncate(rows),
            Values::Int16(v) => v.truncate(rows),
            Values::Int32(v) | Values::Date(v) => v.truncate(rows),
            Values::Int64(v) | Values::Timestamp(v) => v.truncate(rows),
            Values::Float32(v) => v.truncate(rows),
            Values::Float64(v) => v.truncate(rows),
            Values::Decimal(v) => v.truncate(rows),
            Values::Text(t) | Values::Json(t, _) | Values::Uuid(t) | Values::Bytea(t) => t.truncate(rows),
        }
        self.nulls.truncate(rows);
    }

    /// Appends an explicit null.
    pub fn append_null(&mut self) -> Result<(), Fault> {
        if !self.mapping.nullable {
            return Err(Fault::Null);
        }
        match &mut self.values {
            Values::Bool(v) => v.append(false),
            Values::Int16(v) => v.push(0),
            Values::Int32(v) | Values::Date(v) => v.push(0),
            Values::Int64(v) | Values::Timestamp(v) => v.push(0),
            Values::Float32(v) => v.push(0.0),
            Values::Float64(v) => v.push(0.0),
            Values::Decimal(v) => v.push(0),
            Values::Text(t) | Values::Json(t, _) | Values::Uuid(t) | Values::Bytea(t) => t.push(&[])?,
        }
        self.nulls.append_null();
        Ok(())
    }

    /// Appends what stands in for a missing value: the default, else null.
    pub fn append_missing(&mut self) -> Result<(), Fault> {
        let Some(default) = &self.default else { return self.append_null() };
        match (&mut self.values, &default.values) {
            (Values::Bool(v), Values::Bool(d)) => v.append(d.get_bit(0)),
            (Values::Int16(v), Values::Int16(d)) => v.push(d[0]),
            (Values::Int32(v), Values::Int32(d)) => v.push(d[0]),
            (Values::Date(v), Values::Date(d)) => v.push(d[0]),
            (Values::Int64(v), Values::Int64(d)) => v.push(d[0]),
            (Values::Timestamp(v), Values::Timestamp(d)) => v.push(d[0]),
            (Values::Float32(v), Values::Float32(d)) => v.push(d[0]),
            (Values::Float64(v), Values::Float64(d)) => v.push(d[0]),
            (Values::Decimal(v), Values::Decimal(d)) => v.push(d[0]),
            (Values::Text(v), Values::Text(d))
            | (Values::Json(v, _), Values::Json(d, _))
            | (Values::Uuid(v), Values::Uuid(d))
            | (Values::Bytea(v), Values::Bytea(d)) => v.push(&d.bytes)?,
            _ => unreachable!("a default has its column's type"),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends the value that a text stands for. The text is valid UTF-8.
    #[inline]
    pub fn append_text(&mut self, text: &[u8]) -> Result<(), Fault> {
        match &mut self.values {
            Values::Bool(v) => v.append(text::boolean(text)?),
            Values::Int16(v) => v.push(narrow(number::integer(text)?)?),
            Values::Int32(v) => v.push(narrow(number::integer(text)?)?),
            Values::Int64(v) => v.push(number::integer(text)?),
            Values::Float32(v) => v.push(number::float32(text)?),
            Values::Float64(v) => v.push(number::float64(text)?),
            Values::Decimal(v) => {
                let ColumnType::Decimal { precision, scale } = self.mapping.column_type else {
                    unreachable!("decimal values only in a decimal column")
                };
                v.push(number::decimal(text, precision, scale)?)
            }
            Values::Date(v) => v.push(match self.mapping.unit {
                Some(unit) if number::is_number(text) => time::date_from_number(text, unit)?,
                _ => time::date(text)?,
            }),
            Values::Timestamp(v) => v.push(match self.mapping.unit {
                Some(unit) if number::is_number(text) => time::timestamp_from_number(text, unit)?,
                _ => time::timestamp(text, self.mapping.column_type == ColumnType::TimestampTz)?,
            }),
            Values::Text(t) => {
                if memchr::memchr(0, text).is_some() {
                    return Err(pg_values::Fault::ZeroCharacter.into());
                }
                t.push(fitting(text, self.max_chars)?)?
            }
            Values::Json(t, canonical) => push_json(t, canonical, text)?,
            Values::Uuid(t) => t.push(&text::uuid(text)?)?,
            Values::Bytea(t) => {
                text::bytea(text, &mut t.bytes)?;
                t.close()?
            }
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// Appends a JSON value that begins at `at`, inside `depth` containers, in the simple cases; returns its end. None:
    /// the general reader has to decide, and the column may be longer than before.
    #[inline]
    pub fn read_json(
        &mut self,
        message: &[u8],
        at: usize,
        depth: u32,
        scratch: &mut Vec<u8>,
    ) -> Option<usize> {
        match &mut self.values {
            Values::Int64(v) => {
                if let Some((value, end)) = number::plain_integer(message, at) {
                    v.push(value);
                    self.nulls.append_non_null();
                    return Some(end);
                }
            }
            Values::Text(t) if message.get(at) == Some(&b'"') => {
                let (quote, escaped) = scan::string_end(message, at + 1).ok()?;
                if !escaped {
                    t.push(fitting(&message[at + 1..quote], self.max_chars).ok()?).ok()?;
                    self.nulls.append_non_null();
                    return Some(quote + 1);
                }
            }
            // JSON's null is SQL's null.
            Values::Json(t, canonical) if message.get(at) != Some(&b'n') => {
                let levels = (scan::DEPTH_MAX - 1).checked_sub(depth)?;
                let end = canonical.append_value(message, at, levels as usize, &mut t.bytes).ok()?;
                t.close().ok()?;
                self.nulls.append_non_null();
                return Some(end);
            }
            Values::Float64(v) => {
                if let Some(number) = number::plain_number(message, at)
                    && let Some(value) = number.float64()
                {
                    v.push(value);
                    self.nulls.append_non_null();
                    return Some(number.end);
                }
            }
            Values::Decimal(v) => {
                if let Some(number) = number::plain_number(message, at)
                    && let ColumnType::Decimal { precision, scale } = self.mapping.column_type
                    && let Some(value) = number.decimal(precision, scale)
                {
                    v.push(value);
                    self.nulls.append_non_null();
                    return Some(number.end);
                }
            }
            _ => {}
        }
        let token = scan::token(message, at, depth).ok()?;
        self.append_json(message, &token, scratch).ok()?;
        Some(token.end)
    }

    /// Appends a JSON value.
    pub fn append_json(&mut self, message: &[u8], token: &Token, scratch: &mut Vec<u8>) -> Result<(), Fault> {
        if token.kind == Kind::Null {
            return self.append_null();
        }
        if let Values::Json(t, canonical) = &mut self.values {
            push_json(t, canonical, token.raw(message))?;
            self.nulls.append_non_null();
            return Ok(());
        }
        match token.kind {
            Kind::Number => self.append_number(token.raw(message)),
            Kind::String if !token.escaped => self.append_text(token.inside(message)),
            Kind::String => {
                scratch.clear();
                scan::unescape(token.inside(message), scratch)?;
                self.append_text(scratch)
            }
            Kind::True | Kind::False => match &mut self.values {
                Values::Bool(v) => {
                    v.append(token.kind == Kind::True);
                    self.nulls.append_non_null();
                    Ok(())
                }
                Values::Text(_) => self.append_text(token.raw(message)),
                _ => Err(pg_values::Fault::Invalid.into()),
            },
            Kind::Array | Kind::Object => match &mut self.values {
                Values::Text(_) => self.append_text(token.raw(message)),
                _ => Err(Fault::Nested),
            },
            Kind::Null => unreachable!("handled above"),
        }
    }

    /// Appends a JSON number: for a time it counts the mapping's unit, an integer may be written with a fraction or an
    /// exponent, every other type reads it as text.
    fn append_number(&mut self, raw: &[u8]) -> Result<(), Fault> {
        match (&mut self.values, self.mapping.unit) {
            (Values::Date(_) | Values::Timestamp(_), None) => return Err(Fault::NoUnit),
            (Values::Int16(v), _) => v.push(narrow(number::whole(raw)?)?),
            (Values::Int32(v), _) => v.push(narrow(number::whole(raw)?)?),
            (Values::Int64(v), _) => v.push(number::whole(raw)?),
            _ => return self.append_text(raw),
        }
        self.nulls.append_non_null();
        Ok(())
    }

    /// The values as an array; the column is empty afterwards, with space for as many again.
    pub fn finish(&mut self) -> ArrayRef {
        let nulls = self.nulls.finish().filter(|nulls| nulls.null_count() > 0);
        match &mut self.values {
            Values::Bool(v) => Arc::new(BooleanArray::new(v.finish(), nulls)),
            Values::Int16(v) => primitive::<Int16Type>(v, nulls),
            Values::Int32(v) => primitive::<Int32Type>(v, nulls),
            Values::Int64(v) => primitive::<Int64Type>(v, nulls),
            Values::Float32(v) => primitive::<Float32Type>(v, nulls),
            Values::Float64(v) => primitive::<Float64Type>(v, nulls),
            Values::Date(v) => primitive::<Date32Type>(v, nulls),
            Values::Decimal(v) => {
                let values = take_scalars(v);
                let array = PrimitiveArray::<Decimal128Type>::new(values, nulls);
                Arc::new(array.with_data_type(self.mapping.column_type.arrow()))
            }
            Values::Timestamp(v) => {
                let values = take_scalars(v);
                let array = PrimitiveArray::<TimestampMicrosecondType>::new(values, nulls);
                Arc::new(array.with_data_type(self.mapping.column_type.arrow()))
            }
            Values::Text(t) | Values::Json(t, _) | Values::Uuid(t) => {
                let (offsets, bytes) = take_texts(t);
                Arc::new(StringArray::new(offsets, bytes, nulls))
            }
            Values::Bytea(t) => {
                let (offsets, bytes) = take_texts(t);
                Arc::new(BinaryArray::new(offsets, bytes, nulls))
            }
        }
    }
}

impl From<scan::LoneSurrogate> for Fault {
    fn from(_: scan::LoneSurrogate) -> Fault {
        Fault::LoneSurrogate
    }
}

fn narrow<T: TryFrom<i64>>(value: i64) -> Result<T, Fault> {
    T::try_from(value).map_err(|_| pg_values::Fault::OutOfRange.into())
}

/// The part of a text that a column stores.
#[inline]
fn fitting(text: &[u8], max_chars: Option<usize>) -> Result<&[u8], Fault> {
    let Some(max_chars) = max_chars else { return Ok(text) };
    fitting_len(text, max_chars).map(|len| &text[..len]).ok_or(Fault::TooLong)
}

/// Appends a JSON value in jsonb's canonical text. It is written whole or not at all. The text is valid UTF-8.
fn push_json(texts: &mut Texts, canonical: &mut Canonical, json: &[u8]) -> Result<(), Fault> {
    let end = canonical.append_value(json, 0, DEPTH_MAX, &mut texts.bytes).map_err(|fault| match fault {
        pg_values::Fault::Invalid => Fault::NotJson,
        other => other.into(),
    })?;
    if scan::skip_space(json, end) != json.len() {
        texts.reopen();
        return Err(Fault::NotJson);
    }
    texts.close()
}

/// Reserves space for as many again, so that the next batch does not grow step by step.
fn take_and_reserve<T>(values: &mut Vec<T>) -> Vec<T> {
    let room = values.len();
    std::mem::replace(values, Vec::with_capacity(room))
}

fn take_scalars<T: arrow_buffer::ArrowNativeType>(values: &mut Vec<T>) -> ScalarBuffer<T> {
    ScalarBuffer::from(take_and_reserve(values))
}

fn take_texts(texts: &mut Texts) -> (OffsetBuffer<i32>, Buffer) {
    let offsets = take_and_reserve(&mut texts.offsets);
    texts.offsets.push(0);
    (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(take_and_reserve(&mut texts.bytes)))
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(take_scalars(values), nulls))
}
