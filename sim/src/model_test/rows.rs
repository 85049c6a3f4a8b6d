//! Rows for model tests: columns with a distribution of their own in every batch, so that each encoding, width and kind
//! of null occurs, and the same rows in several physical forms. `super` uses them.

use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::Schema;
use arrow_select::nullif::nullif;
use kernel::schema::{ColumnType, TableDef};

use crate::columns::{self, stored_types};
use crate::decide::Decisions;
use crate::oracle::value::{Row, Value};
use crate::wide::{edges, is_text, plain};

/// The distribution of a column's values in a batch.
#[derive(Clone, Copy, Debug)]
enum Habit {
    Plain,
    Mixed,
    Edges,
    Nulls,
    /// The same for this many rows.
    Runs(u64),
    /// Neighbours differ by this much.
    Steps(u64),
    /// Unordered at first, then always the same.
    Settles,
}

/// Texts whose lengths have more than 16 bits.
const LONG_TEXT_BYTES: u64 = 66_000;

/// The parameters of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Rows.
    pub rows: u64,
    /// Values of each column of a key.
    pub key_values: u64,
    /// Rows of a pipeline, not of a client.
    pub from_messages: bool,
    /// Rows may be long.
    pub long: bool,
}

/// Rows of a table.
pub fn draw(d: &Decisions<'_>, def: &TableDef, mix: Mix) -> Vec<Row> {
    let habits: Vec<Habit> = def.columns.iter().map(|_| habit(d)).collect();
    let long = (mix.long && d.below(6) == 1).then(|| d.index(def.columns.len()));
    // Few messages lack a required value.
    let nulls_in = d.pick(&[0, 0, 40, 6]);
    let first = d.pick(&[0, 0, 500, 17]);
    let row = |number: u64| {
        let mut row: Row = Vec::with_capacity(def.columns.len() + 3);
        for (at, column) in def.columns.iter().enumerate() {
            let is_null =
                if column.nullable { d.below(9) == 1 } else { nulls_in > 0 && d.below(nulls_in) == 1 };
            let is_key = def.primary_key.contains(&def.columns[at].id);
            row.push(match () {
                () if is_null => Value::Null,
                () if is_key => key_value(d, column.column_type, mix.key_values),
                () if long == Some(at) && column.column_type == ColumnType::Text => {
                    long_text(number, mix.rows)
                }
                () => value(d, habits[at], column.column_type, column.nullable, first + number),
            });
        }
        row.extend(match mix.from_messages {
            true => [1, number as i64 % 3, (first + number) as i64].map(Value::Int),
            false => [Value::Null, Value::Null, Value::Null],
        });
        row
    };
    (0..mix.rows).map(row).collect()
}

fn habit(d: &Decisions<'_>) -> Habit {
    match d.below(11) {
        0..=2 => Habit::Mixed,
        3 | 4 => Habit::Plain,
        5 => Habit::Edges,
        6 => Habit::Nulls,
        7 | 8 => Habit::Runs(d.pick(&[3, 13, 30, 70])),
        10 => Habit::Settles,
        _ => Habit::Steps(d.pick(&[1, 1, 7, 60])),
    }
}

fn key_value(d: &Decisions<'_>, column_type: ColumnType, key_values: u64) -> Value {
    const PECULIAR: u64 = 3;
    let chosen = d.below(key_values + PECULIAR);
    match chosen.checked_sub(key_values) {
        Some(edge) => {
            let edges = edges(column_type);
            edges[edge as usize % edges.len()].clone()
        }
        None => plain(column_type, chosen),
    }
}

fn value(d: &Decisions<'_>, habit: Habit, column_type: ColumnType, nullable: bool, number: u64) -> Value {
    match habit {
        Habit::Mixed if d.below(4) == 1 => d.pick(&edges(column_type)),
        Habit::Mixed | Habit::Plain => plain(column_type, d.below(24)),
        Habit::Edges => d.pick(&edges(column_type)),
        Habit::Nulls if nullable => Value::Null,
        Habit::Nulls => plain(column_type, 5),
        Habit::Runs(rows) => plain(column_type, number / rows % 50),
        Habit::Settles if number % 500 < 70 => d.pick(&edges(column_type)),
        Habit::Settles => plain(column_type, 7),
        Habit::Steps(by) => plain(column_type, number * by),
    }
}

/// Short ones first, then each a little longer than the previous one.
fn long_text(number: u64, rows: u64) -> Value {
    let length = if number < rows / 2 { 3 } else { LONG_TEXT_BYTES + number };
    Value::Text("x".repeat(length as usize))
}

/// The rows as a batch, in any physical form: other values under nulls, a slice, or plain. All fields are nullable: the
/// shard checks incoming rows. `covers_text`: text may be under nulls, too.
pub fn batch(d: &Decisions<'_>, def: &TableDef, rows: &[Row], covers_text: bool) -> RecordBatch {
    // A slice without nulls of columns with nulls is a form of its own.
    let padding = if d.below(2) == 0 { rows[0].clone() } else { vec![Value::Null; rows[0].len()] };
    let before = d.pick(&[0, 0, 0, 0, 1, 3, 8, 600]);
    let more = |count: usize| std::iter::repeat_n(&padding, count);
    let padded: Vec<&Row> = more(before).chain(rows).chain(more(d.pick(&[0, 0, 0, 1, 5]))).collect();
    let column = |(at, column_type): (usize, ColumnType)| {
        let values: Vec<&Value> = padded.iter().map(|row| &row[at]).collect();
        let column = columns::column(column_type, values.iter().copied());
        let may_cover = covers_text || !is_text(column_type);
        if may_cover && column.null_count() > 0 && d.below(2) == 1 {
            covered(d, column_type, &values)
        } else {
            column
        }
    };
    let columns = stored_types(def).enumerate().map(column).collect();
    let fields: Vec<_> =
        def.stored_schema().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let schema = Schema::new(fields);
    let padded = RecordBatch::try_new(Arc::new(schema), columns).expect("columns of one length");
    padded.slice(before, rows.len())
}

/// A column with arbitrary values under its nulls.
fn covered(d: &Decisions<'_>, column_type: ColumnType, values: &[&Value]) -> ArrayRef {
    let anything: Vec<Value> = values
        .iter()
        .map(|value| if **value == Value::Null { plain(column_type, d.below(24)) } else { (*value).clone() })
        .collect();
    let nulls: BooleanArray = values.iter().map(|value| Some(**value == Value::Null)).collect();
    let column = columns::column(column_type, anything.iter());
    nullif(&column, &nulls).expect("one flag a row")
}
