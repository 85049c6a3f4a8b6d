//! The plan of decoding, and the trait of every decoder. `json` and `csv` contain the decoders.

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema, SchemaRef};
use kernel::schema::ColumnType;
use kernel::{Error, RawMessage, Result};
use pg_values::time::TimeUnit;

use crate::csv::CsvDecoder;
use crate::json::{JsonDecoder, ShapeLimits};

/// Where one decoded column comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldMapping {
    /// A column of the table, or a variable (`@name`, with the sign) that only SET and WHERE read.
    pub name: String,
    /// Type to decode into: the table column's; for a variable `Text`, unless a type is known.
    pub column_type: ColumnType,
    /// False: a message without a value here becomes a dead letter with 23502. Variables are nullable.
    pub nullable: bool,
    /// JSON: keys from the top of the message down; empty for `%`, the whole value. CSV: not used, the n-th mapping is the
    /// n-th field of the line.
    pub path: Vec<String>,
    /// Text of the constant that is used where the field is *missing* (an explicit null stays null), in the same form
    /// in which a JSON string would carry it: `42`, `true`, `2026-01-31`. None: null.
    pub default: Option<String>,
    /// For a date or timestamp: the unit of a number. None: a number makes the message a dead letter.
    pub unit: Option<TimeUnit>,
}

/// Format of the messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Format {
    /// One JSON object a message: one row.
    Json,
    /// One or more lines a message: a row each.
    Csv(CsvFormat),
}

/// `FIELDS … LINES … IGNORE … NULL DEFINED BY …`, with MySQL's and SingleStore's defaults.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CsvFormat {
    /// `FIELDS TERMINATED BY`, one byte or more.
    pub fields_terminated_by: Vec<u8>,
    /// `[OPTIONALLY] ENCLOSED BY`. Reading does not distinguish OPTIONALLY.
    pub enclosed_by: Option<u8>,
    /// `ESCAPED BY`
    pub escaped_by: Option<u8>,
    /// `LINES STARTING BY`: what comes before it in a line is skipped, a line without it as well. Usually empty.
    pub lines_starting_by: Vec<u8>,
    /// `LINES TERMINATED BY`. With `\n`, a `\r` before it belongs to it.
    pub lines_terminated_by: Vec<u8>,
    /// `IGNORE n LINES`, of every message.
    pub ignore_lines: u32,
    /// `NULL DEFINED BY`: a field with exactly this text, not enclosed, is null.
    pub null_defined_by: Option<Vec<u8>>,
    /// `NULL DEFINED BY … OPTIONALLY ENCLOSED`: also where it is enclosed.
    pub null_optionally_enclosed: bool,
}

impl Default for CsvFormat {
    fn default() -> CsvFormat {
        CsvFormat {
            fields_terminated_by: b"\t".to_vec(),
            enclosed_by: None,
            escaped_by: Some(b'\\'),
            lines_starting_by: Vec::new(),
            lines_terminated_by: b"\n".to_vec(),
            ignore_lines: 0,
            null_defined_by: None,
            null_optionally_enclosed: false,
        }
    }
}

/// What to decode messages into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DecodePlan {
    /// Format of the messages.
    pub format: Format,
    /// Columns to come out, in this order.
    pub fields: Vec<FieldMapping>,
}

impl DecodePlan {
    /// Schema of what comes out: a nullable column for each mapping (NOT NULL is checked, not declared).
    pub fn schema(&self) -> SchemaRef {
        let field = |f: &FieldMapping| Field::new(&f.name, f.column_type.arrow(), true);
        Arc::new(Schema::new(self.fields.iter().map(field).collect::<Vec<_>>()))
    }

    /// The decoder. Fails where a default does not fit its type or the format contradicts itself.
    pub fn decoder(&self) -> Result<Box<dyn Decoder>> {
        match &self.format {
            Format::Json => Ok(Box::new(JsonDecoder::new(self)?)),
            Format::Csv(format) => Ok(Box::new(CsvDecoder::new(self, format)?)),
        }
    }
}

/// Turns messages into columns. One dynamic call per batch, none per row.
pub trait Decoder: Send {
    /// Decodes messages and keeps their rows. Returns those that could not be decoded; they leave no row. Message indexes
    /// count from the last [`Decoder::finish`].
    fn push(&mut self, messages: &[RawMessage<'_>]) -> Vec<Refused>;

    /// The rows of all messages pushed since the last call.
    fn finish(&mut self) -> Decoded;

    /// How many shapes of messages it remembers, where it does.
    fn limit_shapes(&mut self, _limits: ShapeLimits) {}

    /// Bytes that the rows kept so far hold.
    fn buffered_bytes(&self) -> usize;

    /// Both at once.
    fn decode(&mut self, messages: &[RawMessage<'_>]) -> (Decoded, Vec<Refused>) {
        let refused = self.push(messages);
        (self.finish(), refused)
    }
}

/// Rows that came out of messages.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// In order of the mappings, with [`DecodePlan::schema`].
    pub columns: RecordBatch,
    /// Index of the message that each row comes from; does not fall.
    pub origin: Vec<u32>,
    /// Messages pushed, refused ones included.
    pub messages: u32,
}

/// A message that could not be decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refused {
    /// Its index.
    pub message: u32,
    /// Field, path, the found value, and the reason.
    pub error: Error,
}
