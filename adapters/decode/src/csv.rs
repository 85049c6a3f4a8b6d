//! CSV messages into columns: one or more lines a message, a row each. A message is one unit: if one of its lines is bad,
//! the whole message is refused and none of its lines leaves a row.
//!
//! Rules of reading:
//! - Lines end at `LINES TERMINATED BY`; the last one may go without. With `\n`, a `\r` before it belongs to it.
//! - `LINES STARTING BY`: reading begins after that text; a line without it is skipped.
//! - A field that begins with the enclosing character goes to the next one of it; two of them stand for one.
//! - The escaping character takes the next byte as it is, but `\0 \b \n \r \t \Z` stand for control characters.
//! - Null is the text of NULL DEFINED BY; where none is given, `\N`, or the bare word NULL if there is an enclosing
//!   character. (Bare means not enclosed.)
//! - A line has as many fields as there are mappings; fewer only if those at the end have defaults.
//! - Values are read from their text as a JSON string's content is.

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use kernel::{Error, RawMessage, Result, SqlState};

use crate::json::{check, excerpt};
use crate::plan::{CsvFormat, DecodePlan, Decoded, Decoder, Refused};
use crate::value::{Column, Fault};

/// Decodes CSV messages.
pub(crate) struct CsvDecoder {
    schema: SchemaRef,
    columns: Vec<Column>,
    lexer: Lexer,
    /// Content of a field with escapes or doubled characters.
    scratch: Vec<u8>,
    origin: Vec<u32>,
    messages: u32,
}

/// Why a message is refused.
enum Refusal {
    Empty,
    TooFew { found: usize },
    TooMany,
    NotClosed,
    AfterClosing,
    Value { column: usize, found: String, fault: Fault },
}

impl CsvDecoder {
    /// A decoder for this plan.
    pub fn new(plan: &DecodePlan, format: &CsvFormat) -> Result<CsvDecoder> {
        let refuse = |text: &str| Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, text));
        if format.fields_terminated_by.is_empty() || format.lines_terminated_by.is_empty() {
            return refuse("FIELDS TERMINATED BY and LINES TERMINATED BY must not be empty");
        }
        if format.fields_terminated_by == format.lines_terminated_by {
            return refuse("FIELDS TERMINATED BY and LINES TERMINATED BY must differ");
        }
        // The message is UTF-8; it is only cut at whole characters, so that every field is.
        let whole = |text: &[u8]| std::str::from_utf8(text).is_ok();
        let ascii = |byte: Option<u8>| byte.is_none_or(|b| b.is_ascii());
        if !whole(&format.fields_terminated_by)
            || !whole(&format.lines_terminated_by)
            || !whole(&format.lines_starting_by)
        {
            return refuse("TERMINATED BY and STARTING BY must be UTF-8");
        }
        if !ascii(format.enclosed_by) || !ascii(format.escaped_by) {
            return refuse("ENCLOSED BY and ESCAPED BY must be ASCII characters");
        }
        if plan.fields.is_empty() {
            return refuse("FORMAT CSV needs at least one column");
        }
        Ok(CsvDecoder {
            schema: plan.schema(),
            columns: plan.fields.iter().map(Column::new).collect::<Result<Vec<_>>>()?,
            lexer: Lexer::new(format.clone()),
            scratch: Vec::new(),
            origin: Vec::new(),
            messages: 0,
        })
    }

    /// Reads all lines of a message, or none; the error has the number of the bad line.
    fn message(&mut self, message: &[u8], index: u32) -> Result<(), (u32, Refusal)> {
        let rows_before = self.origin.len();
        let (mut at, mut line) = (0, 0);
        if message.is_empty() {
            return Err((1, Refusal::Empty));
        }
        while at < message.len() {
            line += 1;
            let Some(start) = self.lexer.line_start(message, at) else {
                at = self.lexer.next_line(message, at);
                continue;
            };
            if line <= self.lexer.format.ignore_lines {
                at = self.lexer.skip_line(message, start);
                continue;
            }
            match self.line(message, start) {
                Ok(next) => at = next,
                Err(refusal) => {
                    self.origin.truncate(rows_before);
                    self.columns.iter_mut().for_each(|column| column.truncate(rows_before));
                    return Err((line, refusal));
                }
            }
            self.origin.push(index);
        }
        Ok(())
    }

    /// Reads one line into one row; returns where the next line begins. May leave part of a row behind if it fails.
    fn line(&mut self, message: &[u8], start: usize) -> Result<usize, Refusal> {
        let mut at = start;
        let count = self.columns.len();
        for (index, column) in self.columns.iter_mut().enumerate() {
            let field = self.lexer.field(message, at, &mut self.scratch)?;
            let content = field.content(message, &self.scratch);
            let appended = match self.lexer.is_null(&field, message, content) {
                true => column.append_null(),
                false => column.append_text(content),
            };
            appended.map_err(|fault| Refusal::Value { column: index, found: excerpt(content), fault })?;
            at = field.next;
            if field.ends_line {
                for missing in &mut self.columns[index + 1..] {
                    if missing.mapping().default.is_none() || missing.append_missing().is_err() {
                        return Err(Refusal::TooFew { found: index + 1 });
                    }
                }
                return Ok(at);
            }
            if index + 1 == count {
                return Err(Refusal::TooMany);
            }
        }
        unreachable!("there is at least one column")
    }

    fn refused(&self, message: u32, line: u32, refusal: Refusal) -> Refused {
        let columns = self.columns.len();
        let (sqlstate, text) = match refusal {
            Refusal::Empty => (SqlState::BAD_COPY_FILE_FORMAT, "the message is empty".into()),
            Refusal::TooFew { found } => {
                (SqlState::BAD_COPY_FILE_FORMAT, format!("line {line} has {found} of {columns} fields"))
            }
            Refusal::TooMany => {
                (SqlState::BAD_COPY_FILE_FORMAT, format!("line {line} has more than {columns} fields"))
            }
            Refusal::NotClosed => {
                (SqlState::BAD_COPY_FILE_FORMAT, format!("line {line}: an enclosed field is not closed"))
            }
            Refusal::AfterClosing => (
                SqlState::BAD_COPY_FILE_FORMAT,
                format!("line {line}: an enclosed field continues after its closing character"),
            ),
            Refusal::Value { column, found, fault } => {
                let mapping = self.columns[column].mapping();
                let reason = fault.reason(mapping.column_type);
                let place = format!("line {line}, field {}, column {}", column + 1, mapping.name);
                (fault.sqlstate(), format!("{place}: \"{found}\" {reason}"))
            }
        };
        Refused { message, error: Error::new(sqlstate, text) }
    }
}

impl Decoder for CsvDecoder {
    fn push(&mut self, messages: &[RawMessage<'_>]) -> Vec<Refused> {
        let mut refused = Vec::new();
        for raw in messages {
            let index = self.messages;
            self.messages += 1;
            match check(raw.value) {
                Err(error) => refused.push(Refused { message: index, error }),
                Ok(message) => {
                    if let Err((line, refusal)) = self.message(message, index) {
                        refused.push(self.refused(index, line, refusal));
                    }
                }
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

    fn buffered_bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum::<usize>() + self.origin.len() * 4
    }
}

/// Finds lines and fields.
struct Lexer {
    format: CsvFormat,
    /// Bytes at which a bare field must be looked at more closely.
    special: [bool; 256],
    /// None where it is the enclosing character itself: doubling covers it.
    escape: Option<u8>,
    carriage_return: bool,
}

/// A field of a line.
struct Field {
    /// Content in the message, unchanged (of an enclosed one, without the enclosing characters).
    start: usize,
    end: usize,
    /// The content is in the scratch buffer instead: escapes or doubled characters were resolved.
    rewritten: bool,
    enclosed: bool,
    ends_line: bool,
    /// Where the next field or line begins.
    next: usize,
}

impl Field {
    fn content<'a>(&self, message: &'a [u8], scratch: &'a [u8]) -> &'a [u8] {
        if self.rewritten { scratch } else { &message[self.start..self.end] }
    }
}

/// The end of a bare part of a field.
enum Stop {
    Field { next: usize },
    Line { end: usize, next: usize },
    Escape,
}

impl Lexer {
    fn new(format: CsvFormat) -> Lexer {
        let escape = format.escaped_by.filter(|_| format.escaped_by != format.enclosed_by);
        let carriage_return = format.lines_terminated_by == b"\n";
        let mut special = [false; 256];
        special[format.fields_terminated_by[0] as usize] = true;
        special[format.lines_terminated_by[0] as usize] = true;
        if let Some(escape) = escape {
            special[escape as usize] = true;
        }
        Lexer { format, special, escape, carriage_return }
    }

    /// Where the fields of the line at `at` begin; None if the line lacks the text of LINES STARTING BY.
    fn line_start(&self, message: &[u8], at: usize) -> Option<usize> {
        let prefix = &self.format.lines_starting_by;
        if prefix.is_empty() {
            return Some(at);
        }
        let line = &message[at..self.next_line(message, at)];
        memchr::memmem::find(line, prefix).map(|found| at + found + prefix.len())
    }

    /// After the next line terminator, enclosed or not.
    fn next_line(&self, message: &[u8], at: usize) -> usize {
        let terminator = &self.format.lines_terminated_by;
        memchr::memmem::find(&message[at..], terminator).map_or(message.len(), |f| at + f + terminator.len())
    }

    /// Skips an ignored line, respecting enclosures as far as they are valid.
    fn skip_line(&self, message: &[u8], start: usize) -> usize {
        let mut at = start;
        let mut scratch = Vec::new();
        loop {
            match self.field(message, at, &mut scratch) {
                Ok(field) if field.ends_line => return field.next,
                Ok(field) => at = field.next,
                Err(_) => return self.next_line(message, at),
            }
        }
    }

    /// The field that begins at `at`.
    #[inline]
    fn field(&self, message: &[u8], at: usize, scratch: &mut Vec<u8>) -> Result<Field, Refusal> {
        if self.format.enclosed_by.is_some() && message.get(at).copied() == self.format.enclosed_by {
            return self.enclosed(message, at + 1, scratch);
        }
        let (end, stop) = self.stop(message, at);
        match stop {
            Stop::Field { next } => Ok(bare(at, end, false, false, next)),
            Stop::Line { end, next } => Ok(bare(at, end, false, true, next)),
            Stop::Escape => Ok(self.escaped(message, at, end, scratch)),
        }
    }

    /// The first terminator or escape from `from` on, and where it is.
    #[inline]
    fn stop(&self, message: &[u8], from: usize) -> (usize, Stop) {
        let mut at = from;
        loop {
            while at < message.len() && !self.special[message[at] as usize] {
                at += 1;
            }
            let Some(&byte) = message.get(at) else {
                return (at, Stop::Line { end: at, next: at });
            };
            if message[at..].starts_with(&self.format.lines_terminated_by) {
                let next = at + self.format.lines_terminated_by.len();
                let returns = self.carriage_return && at > from && message[at - 1] == b'\r';
                return (at, Stop::Line { end: at - returns as usize, next });
            }
            if message[at..].starts_with(&self.format.fields_terminated_by) {
                return (at, Stop::Field { next: at + self.format.fields_terminated_by.len() });
            }
            if Some(byte) == self.escape {
                return (at, Stop::Escape);
            }
            at += 1;
        }
    }

    /// A bare field with an escape at `escape`.
    #[cold]
    fn escaped(&self, message: &[u8], start: usize, mut escape: usize, scratch: &mut Vec<u8>) -> Field {
        scratch.clear();
        let mut piece = start;
        loop {
            scratch.extend_from_slice(&message[piece..escape]);
            piece = resolve(message, escape, scratch);
            let (end, stop) = self.stop(message, piece);
            match stop {
                Stop::Escape => escape = end,
                Stop::Field { next } => {
                    scratch.extend_from_slice(&message[piece..end]);
                    return bare(start, end, true, false, next);
                }
                Stop::Line { end, next } => {
                    scratch.extend_from_slice(&message[piece..end]);
                    return bare(start, end, true, true, next);
                }
            }
        }
    }

    /// An enclosed field whose content begins at `start`.
    fn enclosed(&self, message: &[u8], start: usize, scratch: &mut Vec<u8>) -> Result<Field, Refusal> {
        let enclosing = self.format.enclosed_by.expect("only called where there is one");
        scratch.clear();
        let (mut piece, mut at, mut rewritten) = (start, start, false);
        loop {
            let byte = *message.get(at).ok_or(Refusal::NotClosed)?;
            if Some(byte) == self.escape {
                scratch.extend_from_slice(&message[piece..at]);
                at = resolve(message, at, scratch);
                (piece, rewritten) = (at, true);
            } else if byte != enclosing {
                at += 1;
            } else if message.get(at + 1) == Some(&enclosing) {
                scratch.extend_from_slice(&message[piece..at + 1]);
                at += 2;
                (piece, rewritten) = (at, true);
            } else {
                break;
            }
        }
        scratch.extend_from_slice(&message[piece..at]);
        let (ends_line, next) = self.after_enclosed(message, at + 1)?;
        Ok(Field { start, end: at, rewritten, enclosed: true, ends_line, next })
    }

    /// The text after the closing character: whether it ends the line, and the position after it.
    fn after_enclosed(&self, message: &[u8], at: usize) -> Result<(bool, usize), Refusal> {
        let rest = &message[at..];
        let return_len = (self.carriage_return && rest.starts_with(b"\r")) as usize;
        if rest.is_empty() {
            Ok((true, at))
        } else if rest.starts_with(&self.format.fields_terminated_by) {
            Ok((false, at + self.format.fields_terminated_by.len()))
        } else if rest[return_len..].starts_with(&self.format.lines_terminated_by) {
            Ok((true, at + return_len + self.format.lines_terminated_by.len()))
        } else if return_len == rest.len() {
            Ok((true, message.len()))
        } else {
            Err(Refusal::AfterClosing)
        }
    }

    fn is_null(&self, field: &Field, message: &[u8], content: &[u8]) -> bool {
        let format = &self.format;
        if let Some(null) = &format.null_defined_by {
            return (!field.enclosed || format.null_optionally_enclosed)
                && (content == null || &message[field.start..field.end] == null.as_slice());
        }
        if field.enclosed {
            return false;
        }
        let raw = &message[field.start..field.end];
        self.escape.is_some_and(|escape| raw == [escape, b'N'])
            || (format.enclosed_by.is_some() && raw == b"NULL")
    }
}

fn bare(start: usize, end: usize, rewritten: bool, ends_line: bool, next: usize) -> Field {
    Field { start, end, rewritten, enclosed: false, ends_line, next }
}

/// Appends the character that the escape at `at` stands for; returns where reading continues. At the end of the message
/// it stands for itself.
fn resolve(message: &[u8], at: usize, scratch: &mut Vec<u8>) -> usize {
    let Some(&escaped) = message.get(at + 1) else {
        scratch.push(message[at]);
        return at + 1;
    };
    scratch.push(match escaped {
        b'0' => 0,
        b'b' => 0x08,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'Z' => 0x1a,
        itself => itself,
    });
    at + 2
}
