//! JSON messages into columns, one object a message.
//!
//! There are two readers with the same result. The **general** reader ([`general`]) walks a message key by key and
//! takes whatever is valid JSON. The **predicted** reader ([`shape`]) relies on producers writing the same keys in the
//! same order again and again: it stores, for each message shape that the general reader has seen, the exact bytes
//! between one value and the next (`,"amount":`), compares these, and passes each value directly to its column. A
//! message of an unknown shape, or with a value that needs more work, goes to the general reader, which starts the
//! message again. The predicted reader may therefore fail, but it never rejects a message; all errors come from the
//! general reader.
//!
//! Rules of reading:
//! - Null in the message is null, a missing field is its default, else null; either in a NOT NULL column is 23502.
//! - Of duplicate keys the last one counts. A path through a value that is not an object is missing.
//! - Integers: numbers or strings with a whole value (`1e3` and `1.0` are). Numeric: exact, rounded to the scale half away
//!   from zero. Floats: rounded to nearest; NaN and infinities as strings, in PostgreSQL's spelling.
//! - Text: strings, unescaped; for other values their JSON text. JSON columns: the value in `jsonb`'s canonical text.
//! - Bytea: `\x` and hexadecimal digits, else the text's bytes.
//! - Date and timestamps: ISO 8601; a number, also in a string, only where the mapping names its unit. Boolean: true
//!   and false, or PostgreSQL's spellings in a string, or 0 and 1.

mod general;
mod path;
pub(crate) mod scan;
mod shape;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use kernel::{Error, RawMessage, Result, SqlState};

use crate::plan::{DecodePlan, Decoded, Decoder, Refused};
use crate::value::{Column, Fault};
use general::Walk;
use path::PathTree;
use scan::Flaw;
pub use shape::ShapeLimits;
use shape::Shapes;

/// A larger message becomes a dead letter; Kafka's own limit is lower.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 30;

const NO_VALUE: &str = "the message has no value (a tombstone); ON TOMBSTONE IGNORE leaves such messages out";

/// Decodes JSON messages.
pub(crate) struct JsonDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    paths: PathTree,
    shapes: Shapes,
    walk: Walk,
    scratch: Vec<u8>,
    origin: Vec<u32>,
    messages: u32,
}

/// Why a message is refused.
enum Refusal {
    Malformed(Flaw),
    NotAnObject(&'static str),
    Value { column: usize, found: Option<scan::Token>, fault: Fault },
}

impl JsonDecoder {
    /// A decoder for this plan.
    pub fn new(plan: &DecodePlan) -> Result<JsonDecoder> {
        let columns = plan.fields.iter().map(Column::new).collect::<Result<Vec<_>>>()?;
        let paths = PathTree::new(&plan.fields)?;
        Ok(JsonDecoder {
            schema: plan.schema(),
            walk: Walk::new(&paths, columns.len()),
            columns,
            paths,
            shapes: Shapes::new(ShapeLimits::default()),
            scratch: Vec::new(),
            origin: Vec::new(),
            messages: 0,
        })
    }

    /// One message: a row in every column, or none.
    fn message(&mut self, message: &[u8]) -> Result<(), Refusal> {
        let row = self.origin.len();
        if self.shapes.read(message, &self.paths, &mut self.columns, &mut self.scratch) {
            debug_assert!(self.columns.iter().all(|c| c.len() == row + 1));
            return Ok(());
        }
        self.truncate(row);
        let result = self.general(message);
        if result.is_err() {
            self.truncate(row);
        }
        result
    }

    fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    fn general(&mut self, message: &[u8]) -> Result<(), Refusal> {
        self.walk.message(message, &self.paths)?;
        for (index, column) in self.columns.iter_mut().enumerate() {
            let found = self.walk.found(index);
            let appended = match &found {
                Some(token) => column.append_json(message, token, &mut self.scratch),
                None => column.append_missing(),
            };
            appended.map_err(|fault| Refusal::Value { column: index, found, fault })?;
        }
        self.shapes.learn(message, &self.walk, &self.paths);
        Ok(())
    }

    fn refused(&self, index: u32, message: &[u8], refusal: Refusal) -> Refused {
        let (sqlstate, text) = match refusal {
            Refusal::Malformed(Flaw { at, what }) => {
                let found = match message.get(at) {
                    Some(_) => format!("{} was found", excerpt(&message[at..])),
                    None => "the message ends".to_string(),
                };
                (
                    SqlState::INVALID_TEXT_REPRESENTATION,
                    format!("malformed JSON at byte {at}: {what} is wanted, {found}"),
                )
            }
            Refusal::NotAnObject(found) => {
                let wanted = "an object with the mapped fields is wanted (or map the whole value with %)";
                (SqlState::INVALID_TEXT_REPRESENTATION, format!("the message is {found}, {wanted}"))
            }
            Refusal::Value { column, found, fault } => {
                let mapping = self.columns[column].mapping();
                let path = if mapping.path.is_empty() { "%".to_string() } else { mapping.path.join("::") };
                let found = found.map_or("a missing field".into(), |token| excerpt(token.raw(message)));
                let reason = fault.reason(mapping.column_type);
                (fault.sqlstate(), format!("column {} (path {path}): {found} {reason}", mapping.name))
            }
        };
        Refused { message: index, error: Error::new(sqlstate, text) }
    }
}

/// The beginning of what was found, for an error; control characters as escapes.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    const LONGEST: usize = 60;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(LONGEST)]);
    let mut excerpt = String::with_capacity(text.len());
    for character in text.trim_end_matches(char::REPLACEMENT_CHARACTER).chars() {
        match character.is_control() {
            true => excerpt.extend(character.escape_default()),
            false => excerpt.push(character),
        }
    }
    if bytes.len() > LONGEST {
        excerpt.push('…');
    }
    excerpt
}

impl Decoder for JsonDecoder {
    fn push(&mut self, messages: &[RawMessage<'_>]) -> Vec<Refused> {
        let mut refused = Vec::new();
        for raw in messages {
            let index = self.messages;
            self.messages += 1;
            match check(raw.value) {
                Err(error) => refused.push(Refused { message: index, error }),
                Ok(message) => match self.message(message) {
                    Ok(()) => self.origin.push(index),
                    Err(refusal) => refused.push(self.refused(index, message, refusal)),
                },
            }
        }
        refused
    }

    fn finish(&mut self) -> Decoded {
        let arrays: Vec<ArrayRef> = self.columns.iter_mut().map(Column::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.origin.len()));
        let columns = RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .expect("every column has its type and a value for every row");
        let origin = std::mem::take(&mut self.origin);
        Decoded { columns, origin, messages: std::mem::take(&mut self.messages) }
    }

    fn limit_shapes(&mut self, limits: ShapeLimits) {
        self.shapes = Shapes::new(limits);
        self.walk.steps_max = limits.steps_max;
    }

    fn buffered_bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum::<usize>() + self.origin.len() * 4
    }
}

/// A value that exists, is not too large, and is valid UTF-8.
pub(crate) fn check(value: Option<&[u8]>) -> Result<&[u8]> {
    let refused = |text: String| Error::new(SqlState::INVALID_TEXT_REPRESENTATION, text);
    let value = value.ok_or_else(|| refused(NO_VALUE.into()))?;
    if value.len() > MESSAGE_BYTES_MAX {
        return Err(refused(format!("the message is larger than {MESSAGE_BYTES_MAX} bytes")));
    }
    if value.is_ascii() {
        return Ok(value);
    }
    match std::str::from_utf8(value) {
        Ok(_) => Ok(value),
        Err(error) => Err(refused(format!("invalid UTF-8 at byte {}", error.valid_up_to()))),
    }
}
