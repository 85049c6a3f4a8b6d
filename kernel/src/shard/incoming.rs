//! Incoming rows before they are part of an outcome: conversion to the stored schema, checks, and descriptions of
//! rejected rows.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use arrow_select::concat::concat;
use arrow_select::take::take;

use super::ShardLimits;
use super::chunk::logical_bytes;
use super::contents::Contents;
use crate::coverage::{CoverageMark, reached};
use crate::error::{Error, SqlState};
use crate::ids::SplitId;
use crate::message::Rejected;
use crate::schema::{ColumnDef, HIDDEN_COLUMNS, TableDef};

/// The rows in order, in parts of one row or of at most the bytes of a step.
pub(super) fn parts(batches: &[RecordBatch], limits: &ShardLimits) -> Vec<Vec<RecordBatch>> {
    let mut parts: Vec<Vec<RecordBatch>> = vec![];
    let mut part_bytes = 0;
    let mut rest: Vec<RecordBatch> = batches.iter().rev().cloned().collect();
    while let Some(batch) = rest.pop() {
        let (rows, bytes) = (batch.num_rows(), batch.columns().iter().map(logical_bytes).sum::<usize>());
        if rows > 1 && !limits.fits_step(bytes) {
            rest.push(batch.slice(rows / 2, rows - rows / 2));
            rest.push(batch.slice(0, rows / 2));
            continue;
        }
        match parts.last_mut().filter(|_| limits.fits_step(part_bytes + bytes)) {
            Some(part) => part.push(batch),
            None => {
                parts.push(vec![batch]);
                part_bytes = 0;
            }
        }
        part_bytes += bytes;
        assert!(rows <= 1 || part_bytes <= limits.step_bytes_max, "only a single row is longer than a step");
    }
    parts
}

/// Incoming rows, column by column, in the order of the stored schema. They may still have nulls in NOT NULL columns.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub columns: Vec<ArrayRef>,
    pub len: usize,
}

impl Incoming {
    /// The batches, concatenated. Their columns must have the types of the table's stored schema.
    pub fn new(contents: &Contents, batches: &[RecordBatch]) -> Incoming {
        let fields = contents.schema.fields();
        for batch in batches {
            let fits = batch.num_columns() == fields.len()
                && batch.columns().iter().zip(fields).all(|(c, f)| c.data_type() == f.data_type());
            assert!(fits, "rows for table {} are in its stored schema", contents.table.name);
        }
        let column = |at: usize| match batches {
            [batch] => compact(batch.column(at)),
            _ => {
                let parts: Vec<&dyn Array> = batches.iter().map(|b| b.column(at).as_ref()).collect();
                concat(&parts).expect("columns of one type, in a part of bounded bytes")
            }
        };
        Incoming {
            columns: (0..fields.len()).map(column).collect(),
            len: batches.iter().map(RecordBatch::num_rows).sum(),
        }
    }

    /// Splits off the rows that have a null in a NOT NULL column: the rows kept, and their numbers if these are not
    /// all.
    pub fn not_null(
        self,
        table: &TableDef,
        refused: &mut Vec<(usize, Error)>,
    ) -> (Incoming, Option<Vec<u32>>) {
        let nulls_of = |(at, column): (usize, &ColumnDef)| {
            let nulls = self.columns[at].nulls().filter(|_| !column.nullable);
            nulls.map(|nulls| (at, nulls))
        };
        let checked: Vec<(usize, &NullBuffer)> =
            table.columns.iter().enumerate().filter_map(nulls_of).collect();
        if checked.is_empty() {
            return (self, None);
        }
        let mut kept = Vec::with_capacity(self.len);
        for row in 0..self.len {
            match checked.iter().find(|(_, nulls)| nulls.is_null(row)) {
                Some((column, _)) => refused.push((row, null_refused(table, *column))),
                None => kept.push(row as u32),
            }
        }
        (self.take(&kept), Some(kept))
    }

    /// The first half of the rows, and the second.
    pub fn halves(&self) -> [Incoming; 2] {
        assert!(self.len > 1, "one row is never too much");
        let half = self.len / 2;
        [(0, half), (half, self.len - half)].map(|(start, len)| Incoming {
            columns: self.columns.iter().map(|column| column.slice(start, len)).collect(),
            len,
        })
    }

    /// Some of the rows, in the given order; all rows only in their own order.
    pub fn take(&self, rows: &[u32]) -> Incoming {
        if rows.len() == self.len {
            assert!(rows.is_sorted_by(|a, b| a < b), "all rows are taken in their order");
            return self.clone();
        }
        let rows = UInt32Array::from(rows.to_vec());
        let take = |column: &ArrayRef| take(column, &rows, None).expect("rows of the batch");
        Incoming { columns: self.columns.iter().map(take).collect(), len: rows.len() }
    }

    /// Split and ordinal of a row that came from a pipeline.
    pub fn origin(&self, row: usize) -> Option<(SplitId, i64)> {
        let hidden = &self.columns[self.columns.len() - HIDDEN_COLUMNS.len()..];
        let split = hidden[1].as_primitive::<Int32Type>();
        let ordinal = hidden[2].as_primitive::<Int64Type>();
        split.is_valid(row).then(|| {
            assert!(ordinal.is_valid(row), "a row has all of its origin, or none");
            (SplitId(split.value(row) as u32), ordinal.value(row))
        })
    }

    /// A rejected row, as reported to the coordinator.
    pub fn rejected(&self, contents: &Contents, row: usize, error: Error) -> Rejected {
        let table = &contents.table;
        Rejected {
            table: table.id,
            error,
            origin: self.origin(row),
            row_text: row_text(table, &self.columns, row, contents.limits.row_text_bytes_max),
        }
    }
}

/// The values copied to their own buffers, if their buffers are much larger.
fn compact(column: &ArrayRef) -> ArrayRef {
    const SLACK_BYTES: usize = 4096;
    let bytes = logical_bytes(column);
    if column.get_buffer_memory_size().saturating_sub(bytes) <= bytes + SLACK_BYTES {
        return column.clone();
    }
    let all = UInt32Array::from_iter_values(0..column.len() as u32);
    take(column, &all, None).expect("rows of the column")
}

pub(super) fn null_refused(table: &TableDef, column: usize) -> Error {
    Error::new(
        SqlState::NOT_NULL_VIOLATION,
        format!(
            "null in column \"{}\" of table \"{}\", which is NOT NULL",
            table.columns[column].name, table.name
        ),
    )
}

pub(super) fn duplicate_refused(table: &TableDef, columns: &[ArrayRef], row: usize) -> Error {
    reached(CoverageMark::DuplicateRefused);
    let mut names = String::new();
    let mut values = String::new();
    for (at, column) in table.ordinals(&table.primary_key).into_iter().map(usize::from).enumerate() {
        let separator = if at == 0 { "" } else { ", " };
        write!(names, "{separator}{}", table.columns[column].name).expect("writes to memory");
        values.push_str(separator);
        value_text(&columns[column], row, &mut values);
    }
    Error::new(
        SqlState::UNIQUE_VIOLATION,
        format!(
            "duplicate key in table \"{}\": ({names}) = ({values}) exists already; use ON DUPLICATE KEY UPDATE to \
             change the row that is there",
            table.name
        ),
    )
}

/// A row of the user's columns as JSON-like text, truncated after `bytes_max`.
fn row_text(table: &TableDef, columns: &[ArrayRef], row: usize, bytes_max: usize) -> String {
    let mut text = String::from("{");
    for (at, column) in table.columns.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        quote(&column.name, &mut text);
        text.push(':');
        value_text(&columns[at], row, &mut text);
        if text.len() > bytes_max {
            text.truncate(text.floor_char_boundary(bytes_max));
            text.push('…');
            return text;
        }
    }
    text.push('}');
    text
}

fn value_text(column: &ArrayRef, row: usize, text: &mut String) {
    if column.is_null(row) {
        text.push_str("null");
        return;
    }
    let written = match column.data_type() {
        DataType::Boolean => write!(text, "{}", column.as_boolean().value(row)),
        DataType::Int16 => write!(text, "{}", column.as_primitive::<Int16Type>().value(row)),
        DataType::Int32 => write!(text, "{}", column.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => write!(text, "{}", column.as_primitive::<Int64Type>().value(row)),
        DataType::Float32 => write!(text, "{}", column.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => write!(text, "{}", column.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => {
            write!(text, "{}", column.as_primitive::<Decimal128Type>().value_as_string(row))
        }
        DataType::Utf8 => {
            quote(column.as_string::<i32>().value(row), text);
            Ok(())
        }
        DataType::Binary => {
            text.push_str("\"\\\\x");
            for byte in column.as_binary::<i32>().value(row) {
                write!(text, "{byte:02x}").expect("writes to memory");
            }
            text.push('"');
            Ok(())
        }
        DataType::Date32 => {
            let (year, month, day) = civil(i64::from(column.as_primitive::<Date32Type>().value(row)));
            write!(text, "\"{year:04}-{month:02}-{day:02}\"")
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
            let (year, month, day) = civil(micros.div_euclid(86_400_000_000));
            let time = micros.rem_euclid(86_400_000_000);
            let (hour, minute, second) =
                (time / 3_600_000_000, time / 60_000_000 % 60, time / 1_000_000 % 60);
            let zone = if zone.is_some() { "+00" } else { "" };
            write!(
                text,
                "\"{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:06}{zone}\"",
                time % 1_000_000
            )
        }
        other => unreachable!("no column type maps to {other}"),
    };
    written.expect("writes to memory");
}

fn quote(value: &str, text: &mut String) {
    text.push('"');
    for character in value.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if (c as u32) < 0x20 => write!(text, "\\u{:04x}", c as u32).expect("writes to memory"),
            c => text.push(c),
        }
    }
    text.push('"');
}

/// Year, month and day of a day counted from 1970-01-01, in the proleptic Gregorian calendar.
fn civil(days: i64) -> (i64, i64, i64) {
    // Years that begin in March put the leap day at the end.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(-1), (1969, 12, 31));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(20_779), (2026, 11, 22));
        assert_eq!(civil(-719_528), (0, 1, 1));
    }
}
