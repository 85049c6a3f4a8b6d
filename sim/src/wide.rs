//! The wide table: a column of every type, keyed in one of many ways. Its definition, the values of its columns and
//! their forms in messages. `crate::program` draws updates; the oracle computes their results.

use kernel::schema::ColumnType;

use crate::decide::Decisions;
use crate::oracle::value::Value;

/// A column: name, type, nullable.
type Column = (&'static str, ColumnType, bool);

const COLUMN_COUNT: usize = 16;

/// The length of the plain texts: texts made by updates are often longer.
const NOTE: ColumnType = ColumnType::Varchar { max_chars: Some(24) };

/// The columns outside of keys.
const COLUMNS: [Column; COLUMN_COUNT] = [
    ("day", ColumnType::Date, true),
    ("code", ColumnType::Text, true),
    ("flag", ColumnType::Bool, true),
    ("small", ColumnType::Int16, true),
    ("mid", ColumnType::Int32, false),
    ("total", ColumnType::Int64, false),
    ("real", ColumnType::Float32, true),
    ("ratio", ColumnType::Float64, true),
    ("price", ColumnType::Decimal { precision: 18, scale: 4 }, true),
    ("note", NOTE, true),
    ("doc", ColumnType::Json, true),
    ("ident", ColumnType::Uuid, true),
    ("raw", ColumnType::Bytea, true),
    ("at", ColumnType::Timestamp, true),
    ("seen", ColumnType::TimestampTz, true),
    ("big", ColumnType::Decimal { precision: 38, scale: 6 }, true),
];

/// Where a message has the value of each column.
pub const FIELDS: &[&str] = &[
    "day", "name", "flag", "small", "mid", "amount", "real", "ratio", "price", "note", "doc", "ident", "raw",
    "at", "seen", "big",
];

/// Values for all columns that can be in a key, as members of a JSON object.
pub const WHATEVER_MEMBERS: &str = concat!(
    r#""day":0,"flag":true,"small":0,"mid":0,"real":0,"ratio":0,"price":0,"note":"","raw":"","at":0,"seen":0,"big":0,"#,
    r#""ident":"00000000-0000-0000-0000-000000000000""#
);

/// Columns whose values other tables share: the message's name and amount.
pub const NAME: usize = 1;
/// See [`NAME`].
pub const AMOUNT: usize = 5;

/// How the table is keyed and placed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Layout(u8);

struct Keyed {
    columns: [Column; COLUMN_COUNT],
    key: &'static [u16],
    shard_key: &'static [u16],
}

/// Every type that can be a key is in one of these.
static LAYOUTS: [Keyed; 16] = [
    keyed(&[0, 1], &[1]),
    keyed(&[6], &[6]),
    keyed(&[2, 7], &[7]),
    keyed(&[8], &[8]),
    keyed(&[15, 3], &[15]),
    keyed(&[13], &[13]),
    keyed(&[14, 12, 2], &[12]),
    keyed(&[12], &[12]),
    keyed(&[11], &[11]),
    keyed(&[3], &[3]),
    keyed(&[2, 4], &[4]),
    keyed(&[0], &[0]),
    keyed(&[1, 6, 9], &[6, 1]),
    keyed(&[9], &[9]),
    keyed(&[7], &[7]),
    keyed(&[15], &[15]),
];

const fn keyed(key: &'static [u16], shard_key: &'static [u16]) -> Keyed {
    let mut columns = COLUMNS;
    let mut at = 0;
    while at < key.len() {
        columns[key[at] as usize].2 = false;
        at += 1;
    }
    Keyed { columns, key, shard_key }
}

impl Layout {
    /// One of them.
    pub fn draw(d: &Decisions<'_>) -> Layout {
        Layout(d.below(LAYOUTS.len() as u64) as u8)
    }

    fn keyed(self) -> &'static Keyed {
        &LAYOUTS[usize::from(self.0)]
    }

    /// Columns: name, type, nullable.
    pub fn columns(self) -> &'static [Column] {
        &self.keyed().columns
    }

    /// Ordinals of the primary key.
    pub fn key(self) -> &'static [u16] {
        self.keyed().key
    }

    /// Ordinals of the shard key.
    pub fn shard_key(self) -> &'static [u16] {
        self.keyed().shard_key
    }

    /// Where it is not part of a key.
    fn assignable(self, column: usize) -> bool {
        !self.key().contains(&(column as u16))
    }

    /// Columns that an update may assign.
    pub fn assignable_columns(self) -> impl Iterator<Item = usize> {
        (0..COLUMN_COUNT).filter(move |column| self.assignable(*column))
    }
}

/// The distribution of a column's values, for the encodings in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Habit {
    /// Of any kind.
    Mixed,
    /// Small ones.
    Plain,
    /// Always the same one.
    Constant,
    /// The same one for a while.
    Runs,
    /// One after another.
    Steps,
    /// The least and the greatest values, and other special ones.
    Edges,
    /// None at all, where none is possible.
    Nulls,
}

/// The wide table's rows in a run.
#[derive(Clone, Copy, Debug)]
pub struct WideMix {
    /// How it is keyed.
    pub layout: Layout,
    habits: [Habit; COLUMN_COUNT],
    /// Of each column of the key.
    key_values: u64,
}

impl WideMix {
    /// Of a run.
    pub fn draw(d: &Decisions<'_>) -> WideMix {
        use Habit::*;
        let layout = Layout::draw(d);
        let habits = [Mixed, Mixed, Mixed, Plain, Plain, Constant, Runs, Steps, Edges, Nulls];
        WideMix {
            layout,
            habits: std::array::from_fn(|_| d.pick(&habits)),
            key_values: d.between(1, 24 / layout.key().len() as u64),
        }
    }

    /// The values of a row. `number` counts rows; `complete`: no nulls where there must be none.
    pub fn values(&self, d: &Decisions<'_>, number: u64, complete: bool) -> Vec<Value> {
        let value = |(at, (_, column_type, nullable)): (usize, &Column)| {
            let (column_type, nullable) = (*column_type, *nullable);
            let null_in = if nullable { 8 } else { 24 };
            let may_be_null = nullable || !complete;
            if at == NAME || at == AMOUNT || (may_be_null && d.below(null_in) == 1) {
                return Value::Null;
            }
            if !self.layout.assignable(at) {
                const PECULIAR: u64 = 3;
                let chosen = d.below(self.key_values + PECULIAR);
                let edges = edges(column_type);
                return match chosen.checked_sub(self.key_values) {
                    Some(edge) => edges[edge as usize % edges.len()].clone(),
                    None => plain(column_type, chosen),
                };
            }
            match self.habits[at] {
                Habit::Mixed if d.below(4) == 1 => d.pick(&edges(column_type)),
                Habit::Mixed | Habit::Plain => plain(column_type, d.below(24)),
                Habit::Constant => plain(column_type, 7),
                Habit::Runs => plain(column_type, number / 20 % 50),
                Habit::Steps => plain(column_type, number),
                Habit::Edges => d.pick(&edges(column_type)),
                Habit::Nulls if may_be_null && nullable => Value::Null,
                Habit::Nulls => plain(column_type, number % 3),
            }
        };
        self.layout.columns().iter().enumerate().map(value).collect()
    }
}

/// JSON documents in stored form, and as written in messages.
const DOCUMENTS: [(&str, &str); 6] = [
    ("{\"a\": [1, 2, {\"b\": null}]}", "{\"a\":[1,2,{\"b\":null}]}"),
    ("[]", "[ ]"),
    ("\"text\"", "\"te\\u0078t\""),
    ("12.50", "0.1250e2"),
    ("{\"ä\": \"ä\"}", "{\"ä\" : \"\\u00e4\"}"),
    ("{\"b\": 2, \"aa\": {\"c\": true}}", "{\"aa\":{\"c\":true},\"b\":1,\"b\":2}"),
];

fn spelled(document: &str) -> &str {
    DOCUMENTS.iter().find(|(kept, _)| *kept == document).map_or(document, |(_, spelled)| spelled)
}

/// Whether values are of different lengths.
pub fn is_text(column_type: ColumnType) -> bool {
    use ColumnType::{Bytea, Json, Text, Uuid, Varchar};
    matches!(column_type, Bytea | Json | Text | Uuid | Varchar { .. })
}

/// A harmless value of a type, by number: sums of some of them fit the type.
pub fn plain(column_type: ColumnType, number: u64) -> Value {
    let int = number as i64;
    match column_type {
        ColumnType::Bool => Value::Int(int % 2),
        ColumnType::Int16 => Value::Int(int % 1000 - 5),
        ColumnType::Int32 | ColumnType::Int64 => Value::Int(3 * int - 5),
        ColumnType::Float32 | ColumnType::Float64 => Value::float((int % 4000 - 5) as f64 / 8.0),
        ColumnType::Decimal { .. } => Value::Int((int % 80 - 5) * 1234),
        ColumnType::Text | ColumnType::Varchar { .. } | ColumnType::Bytea => Value::Text(text(number % 24)),
        ColumnType::Json => Value::Text(DOCUMENTS[number as usize % DOCUMENTS.len()].0.into()),
        ColumnType::Uuid => {
            Value::Text(format!("{number:08x}-00ab-4000-8000-{:012x}", number.wrapping_mul(99)))
        }
        ColumnType::Date => Value::Int(int % 1000 - 2),
        ColumnType::Timestamp | ColumnType::TimestampTz => Value::Int(int % 40 * 1_234_567),
    }
}

fn text(length: u64) -> String {
    "lorem-ä\u{1F30A}-ipsum".chars().cycle().take(length as usize).collect()
}

/// Edge values of a type.
pub fn edges(column_type: ColumnType) -> Vec<Value> {
    let ints = |all: &[i64]| all.iter().copied().map(Value::Int).collect::<Vec<_>>();
    let floats = |all: &[f64]| all.iter().copied().map(Value::float).collect::<Vec<_>>();
    let texts = |all: &[&str]| all.iter().map(|text| Value::Text((*text).into())).collect::<Vec<_>>();
    const F32_MAX: f64 = f32::MAX as f64;
    const F32_LEAST: f64 = f32::MIN_POSITIVE as f64;
    match column_type {
        ColumnType::Bool => ints(&[0, 1]),
        ColumnType::Int16 => ints(&[0, i16::MIN.into(), i16::MAX.into(), -1, 1, 255, 256]),
        ColumnType::Int32 => ints(&[0, i32::MIN.into(), i32::MAX.into(), -1, 32_768, -32_769, 1 << 24 | 1]),
        // The last but one is rounded to a double, and only once.
        ColumnType::Int64 => {
            ints(&[0, i64::MIN, i64::MAX, -1, 1 << 31, (1 << 60) + (1 << 36) + 1, (1 << 53) + 1])
        }
        ColumnType::Float32 => {
            floats(&[0.0, -0.0, f64::NAN, F32_MAX, -F32_MAX, f64::INFINITY, F32_LEAST, 0.5, -2.5, 32_767.5])
        }
        ColumnType::Float64 => floats(&[
            0.0,
            -0.0,
            f64::NAN,
            f64::MAX,
            f64::NEG_INFINITY,
            1e38,
            -1e32,
            2.5,
            -32_768.5,
            9_223_372_036_854_775_808.0,
            9_223_372_036_854_774_784.0,
            2_147_483_647.5,
            2_147_483_647.4,
            -32_768.4,
            3.402_823_567_797_336_6e38,
            -9_223_372_036_854_775_808.0,
            0.1,
        ]),
        ColumnType::Decimal { precision, scale } => {
            let (all, one) = (10i128.pow(precision.into()), 10i128.pow(scale.unsigned_abs().into()));
            let values = [0, all - 1, 1 - all, one / 2, -one / 2, 1, 3 * one, all / 10 + 1];
            values.map(Value::decimal).into()
        }
        ColumnType::Text | ColumnType::Varchar { .. } => {
            texts(&["", "\"a\\\n\u{1}\t", "z", "lorem-ä\u{1F30A}-", "ä23456789012345678901   "])
        }
        ColumnType::Bytea => texts(&["", "\u{0}", "\u{7f}~", "lorem-ä"]),
        ColumnType::Json => texts(&["true", "{}", "[]"]),
        ColumnType::Uuid => {
            texts(&["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"])
        }
        ColumnType::Date => ints(&[0, 100_000, -100_000, 11_016, 59]),
        ColumnType::Timestamp | ColumnType::TimestampTz => {
            ints(&[0, -1, 951_782_400_000_001, -1_000_000_000_000_000, 4_102_444_800_000_000])
        }
    }
}

/// A message's values for columns that other tables do not have.
#[derive(Clone, PartialEq, Debug)]
pub struct Wide {
    /// By column; nothing for those that other tables share.
    pub values: Vec<Value>,
}

impl Wide {
    /// Values for a message, and its members of the JSON object, in several JSON spellings.
    pub fn draw(d: &Decisions<'_>, mix: &WideMix, number: u64) -> (Wide, Vec<String>) {
        let mut values = mix.values(d, number, false);
        let mut members = Vec::new();
        for (at, value) in values.iter_mut().enumerate().filter(|(at, _)| ![NAME, AMOUNT].contains(at)) {
            let name = FIELDS[at];
            match value {
                Value::Null if d.below(2) == 0 => {}
                value => members.push(format!("\"{name}\":{}", json(d, COLUMNS[at].1, value))),
            }
        }
        (Wide { values }, members)
    }
}

/// A value as JSON. One that is more precise than its column is rounded here.
fn json(d: &Decisions<'_>, column_type: ColumnType, value: &mut Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Text(text) => match column_type {
            ColumnType::Json => spelled(text).into(),
            // Blanks beyond its length are cut off.
            ColumnType::Varchar { max_chars: Some(max) } if text.chars().count() == max as usize => {
                serde_json::to_string(&format!("{text}  ")).expect("a text is JSON")
            }
            ColumnType::Bytea => {
                format!("\"\\\\x{}\"", text.bytes().map(|b| format!("{b:02x}")).collect::<String>())
            }
            ColumnType::Uuid if d.below(2) == 1 => format!("\"{}\"", text.to_uppercase()),
            _ => serde_json::to_string(text).expect("a text is JSON"),
        },
        Value::Float(bits) => match f64::from_bits(*bits) {
            float if float.is_nan() => "\"NaN\"".into(),
            float if float.is_infinite() => {
                (if float > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" }).into()
            }
            float if column_type == ColumnType::Float32 => format!("{:?}", float as f32),
            float => format!("{float:?}"),
        },
        Value::Int(_) | Value::Big(_) => integer(d, column_type, value),
        Value::Bytes(_) => unreachable!("messages say only texts"),
    }
}

fn integer(d: &Decisions<'_>, column_type: ColumnType, value: &mut Value) -> String {
    let int = value.integer().expect("just looked");
    match column_type {
        ColumnType::Bool => {
            let (word, letter) = if int == 1 { ("true", "\"t\"") } else { ("false", "\"f\"") };
            d.pick(&[word, letter]).into()
        }
        ColumnType::Decimal { precision, scale } => {
            // A digit too many is rounded, half away from zero.
            let rounds =
                d.below(3) == 1 && int != 0 && int.unsigned_abs() < 10u128.pow(u32::from(precision) - 1);
            if rounds {
                *value = Value::decimal(int + int.signum());
            }
            let one = 10u128.pow(scale.unsigned_abs().into());
            let (sign, digits) = (if int < 0 { "-" } else { "" }, int.unsigned_abs());
            let width = usize::from(scale.unsigned_abs());
            let more = if rounds { "5" } else { "" };
            format!("{sign}{}.{:0width$}{more}", digits / one, digits % one)
        }
        ColumnType::Date if (0..28).contains(&int) && d.below(2) == 0 => {
            format!("\"1970-01-{:02}\"", int + 1)
        }
        ColumnType::Timestamp | ColumnType::TimestampTz => timestamp(d, column_type, int),
        ColumnType::Date => int.to_string(),
        _ => d.pick(&[int.to_string(), format!("\"{int}\"")]),
    }
}

/// In words, or as a number of milliseconds.
fn timestamp(d: &Decisions<'_>, column_type: ColumnType, us: i128) -> String {
    if !(0..60_000_000).contains(&us) {
        let (sign, us) = (if us < 0 { "-" } else { "" }, us.unsigned_abs());
        return format!("{sign}{}.{:03}", us / 1000, us % 1000);
    }
    let time = format!("1970-01-01T00:00:{:02}.{:06}", us / 1_000_000, us % 1_000_000);
    match (column_type, d.below(2)) {
        (ColumnType::Timestamp, _) => format!("\"{time}\""),
        (_, 0) => format!("\"{time}Z\""),
        _ => format!("\"{}+01:00\"", time.replace("T00", "T01")),
    }
}
