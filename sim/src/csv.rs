//! Messages of several rows: CSV, a line each. The dialects of topics, the position of columns in a line, and the flaws
//! of messages. [`crate::scenario`] defines the meaning of the lines.

use std::fmt::Write;

use chrono::DateTime;
use kernel::schema::ColumnType;
use tidemark_decode::{CsvFormat, FieldMapping};

use crate::decide::Decisions;
use crate::oracle::value::Value;
use crate::scenario::{Fields, TableShape};
use crate::wide::{self, Layout};

/// The fields of every line, in this order; then those of the wide table, where there is one, and a filler.
const COMMON: [&str; 5] = ["id", "k", "name", "amount", "tag"];

/// How the lines of a topic are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dialect {
    /// Commas and quotes; or tabs.
    quotes: bool,
    /// The first line of each message is a header.
    header: bool,
    /// Lines end in `\r\n`.
    returns: bool,
    /// The lines have the wide table's fields.
    wide: Option<Layout>,
}

/// Why a message is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flaw {
    /// A line has no number where there must be one.
    NoNumber,
    /// A number that no integer can hold.
    TooGreat,
    /// A line ends too early.
    Short,
    /// The last line ends within quotes, where there are quotes; else too early.
    NotClosed,
}

impl Flaw {
    /// All of them.
    pub const ALL: [Flaw; 4] = [Flaw::NoNumber, Flaw::TooGreat, Flaw::Short, Flaw::NotClosed];

    /// The required SQLSTATE.
    pub fn code(self) -> &'static str {
        match self {
            Flaw::NoNumber => "22P02",
            Flaw::TooGreat => "22003",
            Flaw::Short | Flaw::NotClosed => "22P04",
        }
    }
}

impl Dialect {
    /// Of a topic.
    pub fn draw(d: &Decisions<'_>, wide: Option<Layout>) -> Dialect {
        Dialect { quotes: d.below(2) == 1, header: d.below(3) == 1, returns: d.below(3) == 1, wide }
    }

    /// The database's form.
    pub fn format(self) -> CsvFormat {
        let ignore_lines = u32::from(self.header);
        if self.quotes {
            let (terminator, enclosed_by) = (b",".to_vec(), Some(b'"'));
            return CsvFormat {
                fields_terminated_by: terminator,
                enclosed_by,
                ignore_lines,
                ..CsvFormat::default()
            };
        }
        CsvFormat { ignore_lines, ..CsvFormat::default() }
    }

    /// The mappings of a line for a table of a shape; other fields go into unused variables.
    pub fn mappings(self, shape: TableShape) -> Vec<FieldMapping> {
        let mapping = |field: &'static str| {
            let column = shape.fields().iter().position(|own| *own == field);
            let (name, column_type, nullable) = match column {
                Some(column) => {
                    let (name, column_type, nullable) = shape.columns()[column];
                    (name.to_string(), column_type, nullable)
                }
                None => (format!("@{field}"), ColumnType::Text, true),
            };
            FieldMapping { name, column_type, nullable, path: vec![], default: None, unit: None }
        };
        self.fields().map(mapping).collect()
    }

    /// For each column of a table of a shape, which field of a line it is.
    pub fn places(self, shape: TableShape) -> Vec<usize> {
        let place = |own: &&str| self.fields().position(|field| field == *own);
        shape.fields().iter().map(|own| place(own).expect("a line has all that tables want")).collect()
    }

    fn fields(self) -> impl Iterator<Item = &'static str> {
        let wide = self.wide.map_or(&[][..], |_| wide::FIELDS);
        let own = wide.iter().enumerate().filter(|(at, _)| ![wide::NAME, wide::AMOUNT].contains(at));
        COMMON.into_iter().chain(own.map(|(_, field)| *field)).chain(["filler"])
    }

    /// A row as a line, with a filler of this many bytes.
    pub fn line(self, d: &Decisions<'_>, f: &Fields, filler: usize) -> String {
        let text = |value: &Option<String>| match value {
            Some(text) => self.text(d, text),
            None => self.null(d),
        };
        let common = [f.id.to_string(), f.k.to_string(), text(&f.name), f.amount.to_string(), text(&f.tag)];
        let mut fields = Vec::from(common);
        if let Some((layout, wide)) = self.wide.zip(f.wide.as_deref()) {
            let values = layout.columns().iter().zip(&wide.values).enumerate();
            let values = values.filter(|(at, _)| ![wide::NAME, wide::AMOUNT].contains(at));
            fields.extend(values.map(|(_, ((_, column_type, _), value))| self.value(d, *column_type, value)));
        }
        fields.push(" ".repeat(filler));
        fields.join(self.separator())
    }

    /// A line with a flaw. The fields before the flaw are valid.
    pub fn flawed_line(self, flaw: Flaw, id: i64) -> String {
        let fields: &[&str] = match flaw {
            Flaw::NoNumber => &["1", "x", "many"],
            Flaw::TooGreat => &["1", "x", "99999999999999999999"],
            Flaw::NotClosed if self.quotes => &["1", "\"x"],
            Flaw::Short | Flaw::NotClosed => &["1", "x", "5"],
        };
        let mut line = id.to_string();
        fields.iter().for_each(|field| write!(line, "{}{field}", self.separator()).expect("a string"));
        line
    }

    /// A message of these lines; the last one may go without its end.
    pub fn message(self, d: &Decisions<'_>, lines: Vec<String>, number: i64) -> String {
        let end = if self.returns { "\r\n" } else { "\n" };
        let header = self.header.then(|| format!("message {number}"));
        let ends = d.below(2) == 0;
        let mut text: Vec<String> = header.into_iter().chain(lines).collect();
        if ends && !text.is_empty() {
            text.push(String::new());
        }
        text.join(end)
    }

    fn separator(self) -> &'static str {
        if self.quotes { "," } else { "\t" }
    }

    fn null(self, d: &Decisions<'_>) -> String {
        if self.quotes && d.below(2) == 1 { "NULL".into() } else { "\\N".into() }
    }

    fn text(self, d: &Decisions<'_>, text: &str) -> String {
        if !self.quotes {
            let escaped = text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n");
            return escaped.replace('\r', "\\r");
        }
        let plain = text != "NULL" && !text.contains(['"', '\\', ',', '\n', '\r']);
        if plain && d.below(2) == 0 {
            return text.into();
        }
        let quote = d.pick(&["\"\"", "\\\""]);
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', quote))
    }

    fn value(self, d: &Decisions<'_>, column_type: ColumnType, value: &Value) -> String {
        let text = match value {
            Value::Null => return self.null(d),
            Value::Text(text) if column_type == ColumnType::Bytea => {
                text.bytes().fold("\\x".to_string(), |hex, byte| format!("{hex}{byte:02x}"))
            }
            Value::Text(text) => text.clone(),
            Value::Float(bits) => real(f64::from_bits(*bits), column_type),
            Value::Int(_) | Value::Big(_) => whole(value.integer().expect("just looked"), column_type),
            Value::Bytes(_) => unreachable!("messages say only texts"),
        };
        self.text(d, &text)
    }
}

fn real(value: f64, column_type: ColumnType) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        (if value > 0.0 { "Infinity" } else { "-Infinity" }).into()
    } else if column_type == ColumnType::Float32 {
        format!("{:?}", value as f32)
    } else {
        format!("{value:?}")
    }
}

fn whole(int: i128, column_type: ColumnType) -> String {
    let time = |micros: i128| {
        DateTime::from_timestamp_micros(micros as i64).expect("the world's times are of this era")
    };
    match column_type {
        ColumnType::Bool => (int == 1).to_string(),
        ColumnType::Decimal { scale, .. } => {
            let one = 10u128.pow(scale.unsigned_abs().into());
            let (sign, digits) = (if int < 0 { "-" } else { "" }, int.unsigned_abs());
            format!("{sign}{}.{:02$}", digits / one, digits % one, usize::from(scale.unsigned_abs()))
        }
        ColumnType::Date => time(int * 86_400_000_000).format("%Y-%m-%d").to_string(),
        ColumnType::Timestamp => time(int).format("%Y-%m-%dT%H:%M:%S%.6f").to_string(),
        ColumnType::TimestampTz => time(int).format("%Y-%m-%d %H:%M:%S%.6fZ").to_string(),
        _ => int.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Recorded;

    #[test]
    fn texts_are_spelled_as_each_dialect_wants_them() {
        let d = Decisions::new(Recorded::new(vec![]));
        let tabs = Dialect { quotes: false, header: true, returns: true, wide: None };
        assert_eq!(tabs.text(&d, "a\tb\\\n"), "a\\tb\\\\\\n");
        assert_eq!(tabs.message(&d, vec!["x".into()], 7), "message 7\r\nx\r\n");
        let quotes = Dialect { quotes: true, header: false, returns: false, wide: None };
        assert_eq!(quotes.text(&d, "a\"b\\,"), "\"a\"\"b\\\\,\"");
        assert_eq!(quotes.text(&d, "NULL"), "\"NULL\"");
        assert_eq!(quotes.message(&d, vec![], 7), "");
    }

    #[test]
    fn a_pipeline_finds_its_columns_in_a_line() {
        let dialect = Dialect { quotes: false, header: false, returns: false, wide: None };
        assert_eq!(dialect.places(TableShape::Accounts), [2, 3]);
        let names: Vec<String> = dialect.mappings(TableShape::Accounts).into_iter().map(|m| m.name).collect();
        assert_eq!(names, ["@id", "@k", "name", "balance", "@tag", "@filler"]);
    }
}
