//! `COPY … FROM STDIN`: splits incoming bytes into rows, converts rows to columns, and routes them. Nothing is written
//! before the end, because COPY is one transaction.

use std::sync::Arc;

use bytes::{Buf, BytesMut};
use datafusion::arrow::array::{ArrayRef, StringArray, StringBuilder};
use datafusion::sql::sqlparser::ast::{Ident, ObjectName};
use kernel::expr::OnDuplicate;
use kernel::message::TableWrite;
use kernel::schema::TableDef;

use super::{Layout, Options};
use crate::assign::convert;
use crate::catalog::columns::base_of;
use crate::error::{Result, SqlError, SqlState};
use crate::query::StatementContext;
use crate::write::{default_values, names, rows};
use pg_semantics::types::{PgType, decode};

/// Rows that are converted at once.
const BATCH_ROWS: usize = 8192;
/// Longest row, in bytes.
const ROW_BYTES_MAX: usize = 256 << 20;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// A running COPY FROM.
pub struct CopyIn {
    context: StatementContext,
    table: Arc<TableDef>,
    /// Ordinals of the target columns, in order.
    targets: Vec<usize>,
    options: Options,
    bytes_max: usize,
    buffer: BytesMut,
    /// Bytes of the buffer already searched for the end of a row, and whether they end inside quotes.
    scanned: usize,
    quoted: bool,
    header_due: bool,
    ended: bool,
    line: u64,
    columns: Vec<StringBuilder>,
    pending: usize,
    bytes: usize,
    writes: Vec<TableWrite>,
}

impl CopyIn {
    /// A COPY into these columns of a table; all of them if none are named.
    pub fn new(
        context: StatementContext,
        table: &ObjectName,
        columns: &[Ident],
        options: Options,
        bytes_max: usize,
    ) -> Result<CopyIn> {
        let table = names::table(context.snapshot(), table)?;
        let mut targets = vec![];
        for ident in columns {
            let ordinal = names::column(&table, &tidemark_pipeline_sql::names::fold(ident))?;
            if targets.contains(&ordinal) {
                let message = format!("column \"{}\" specified more than once", ident.value);
                return Err(SqlError::new(SqlState::DUPLICATE_COLUMN, message));
            }
            targets.push(ordinal);
        }
        if columns.is_empty() {
            targets = (0..table.columns.len()).collect();
        }
        Ok(CopyIn {
            columns: targets.iter().map(|_| StringBuilder::new()).collect(),
            header_due: options.header || options.layout == Layout::Binary,
            context,
            table,
            targets,
            options,
            bytes_max,
            buffer: BytesMut::new(),
            scanned: 0,
            quoted: false,
            ended: false,
            line: 0,
            pending: 0,
            bytes: 0,
            writes: vec![],
        })
    }

    /// 1 for binary, 0 for text: the overall format of CopyInResponse.
    pub fn format_code(&self) -> i8 {
        i8::from(self.options.layout == Layout::Binary)
    }

    /// Columns that the client is to send.
    pub fn column_count(&self) -> usize {
        self.targets.len()
    }

    /// Takes a part of the stream; parts may end anywhere.
    pub async fn push(&mut self, data: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(data);
        match self.options.layout {
            Layout::Binary => self.take_tuples().await,
            _ => self.take_lines().await,
        }
    }

    /// The end of the stream: all rows, ready to be committed.
    pub async fn finish(mut self) -> Result<Vec<TableWrite>> {
        if self.options.layout == Layout::Binary {
            if !(self.ended || self.buffer.is_empty() && self.line > 0) {
                return Err(self.bad("unexpected end of the binary stream"));
            }
        } else if !self.buffer.is_empty() && !self.ended {
            if self.quoted {
                return Err(self.bad("unterminated CSV quoted field"));
            }
            let line = self.buffer.split();
            self.take_line(&line).await?;
        }
        self.flush().await?;
        Ok(self.writes)
    }

    fn bad(&self, message: &str) -> SqlError {
        let message = format!("{message} (COPY {}, line {})", self.table.name, self.line);
        SqlError::new(SqlState::BAD_COPY_FILE_FORMAT, message)
    }

    async fn take_lines(&mut self) -> Result<()> {
        while let Some(end) = self.find_line_end() {
            let line = self.buffer.split_to(end);
            self.buffer.advance(1);
            (self.scanned, self.quoted) = (0, false);
            self.take_line(&line).await?;
        }
        match self.buffer.len() > ROW_BYTES_MAX {
            true => Err(self.bad("a row is too long")),
            false => Ok(()),
        }
    }

    /// The end of the next complete row.
    fn find_line_end(&mut self) -> Option<usize> {
        let csv = self.options.layout == Layout::Csv;
        let mut escaped = false;
        for (i, byte) in self.buffer.iter().enumerate().skip(self.scanned) {
            if escaped {
                escaped = false;
            } else if csv
                && self.quoted
                && *byte == self.options.escape
                && self.options.escape != self.options.quote
            {
                escaped = true;
            } else if csv && *byte == self.options.quote {
                // A doubled quote leaves and enters the quotes, which has no effect.
                self.quoted = !self.quoted;
            } else if *byte == b'\n' && !self.quoted {
                self.scanned = i;
                return Some(i);
            }
        }
        // An escape at the end of the buffer is scanned again with the next byte.
        self.scanned = self.buffer.len() - usize::from(escaped);
        None
    }

    async fn take_line(&mut self, line: &[u8]) -> Result<()> {
        self.line += 1;
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.ended {
            return Ok(());
        }
        if std::mem::take(&mut self.header_due) {
            return Ok(());
        }
        if line == b"\\." {
            self.ended = true;
            return Ok(());
        }
        let values = match self.options.layout {
            Layout::Csv => csv_values(line, &self.options).ok_or_else(|| self.bad("malformed CSV row"))?,
            _ => text_values(line, &self.options).ok_or_else(|| self.bad("malformed escape"))?,
        };
        self.take_row(values).await
    }

    async fn take_row(&mut self, values: Vec<Option<Vec<u8>>>) -> Result<()> {
        if values.len() < self.targets.len() {
            let missing = &self.table.columns[self.targets[values.len()]].name;
            return Err(self.bad(&format!("missing data for column \"{missing}\"")));
        }
        if values.len() > self.targets.len() {
            return Err(self.bad("extra data after last expected column"));
        }
        let texts: Vec<Option<String>> = values
            .into_iter()
            .map(|value| value.map(|bytes| decode::utf8(&bytes)).transpose())
            .collect::<Result<_>>()?;
        self.add_texts(texts).await
    }

    async fn add_texts(&mut self, texts: Vec<Option<String>>) -> Result<()> {
        for (column, text) in self.columns.iter_mut().zip(&texts) {
            self.bytes += text.as_ref().map_or(1, String::len);
            column.append_option(text.as_ref());
        }
        if self.bytes > self.bytes_max {
            return Err(SqlError::new(
                SqlState::OUT_OF_MEMORY,
                format!("one COPY may load {} bytes, as it is one transaction", self.bytes_max),
            )
            .with_hint("Load in several COPYs, or through a pipeline."));
        }
        self.pending += 1;
        if self.pending == BATCH_ROWS { self.flush().await } else { Ok(()) }
    }

    /// Converts what is pending to columns of the table, and routes them.
    async fn flush(&mut self) -> Result<()> {
        if self.pending == 0 {
            return Ok(());
        }
        let missing: Vec<usize> =
            (0..self.table.columns.len()).filter(|ordinal| !self.targets.contains(ordinal)).collect();
        let filled = default_values(&self.context, &self.table, &missing, self.pending).await?;
        let mut columns: Vec<Option<ArrayRef>> = vec![None; self.table.columns.len()];
        for (ordinal, column) in missing.into_iter().zip(filled) {
            columns[ordinal] = Some(column);
        }
        let first_line = self.line + 1 - self.pending as u64;
        for (ordinal, builder) in self.targets.iter().zip(&mut self.columns) {
            let texts: StringArray = builder.finish();
            let column = &self.table.columns[*ordinal];
            let values = convert::from_texts(&texts, column.column_type).map_err(|mut error| {
                let (table, column, last) = (&self.table.name, &column.name, self.line);
                error.message = format!(
                    "{} (COPY {table}, lines {first_line} to {last}, column {column})",
                    error.message
                );
                error
            })?;
            columns[*ordinal] = Some(values);
        }
        let columns = columns.into_iter().map(|c| c.expect("each column is a target or missing")).collect();
        let shard_count = self.context.environment().database.shard_count();
        self.writes.push(rows::table_write(&self.table, shard_count, columns, vec![], OnDuplicate::Reject)?);
        self.pending = 0;
        Ok(())
    }

    async fn take_tuples(&mut self) -> Result<()> {
        if self.header_due {
            // Signature, flags, length of the extension, extension.
            if self.buffer.len() < SIGNATURE.len() + 8 {
                return Ok(());
            }
            if !self.buffer.starts_with(SIGNATURE) {
                return Err(self.bad("COPY file signature not recognized"));
            }
            let mut lengths = &self.buffer[SIGNATURE.len()..];
            let (flags, extension) = (lengths.get_u32(), lengths.get_u32() as usize);
            if flags & 0xffff_0000 != 0 {
                return Err(self.bad("unrecognized critical flags in COPY file header"));
            }
            if extension > ROW_BYTES_MAX {
                return Err(self.bad("invalid COPY file header"));
            }
            if self.buffer.len() < SIGNATURE.len() + 8 + extension {
                return Ok(());
            }
            self.buffer.advance(SIGNATURE.len() + 8 + extension);
            self.header_due = false;
        }
        while !self.ended {
            let Some(tuple) = self.whole_tuple()? else { break };
            self.line += 1;
            self.add_texts(tuple).await?;
        }
        Ok(())
    }

    /// The next tuple, if it is complete.
    fn whole_tuple(&mut self) -> Result<Option<Vec<Option<String>>>> {
        let mut rest = &self.buffer[..];
        if rest.len() < 2 {
            return Ok(None);
        }
        let count = rest.get_i16();
        if count == -1 {
            self.ended = true;
            return Ok(None);
        }
        if usize::try_from(count) != Ok(self.targets.len()) {
            let message = format!("row field count is {count}, expected {}", self.targets.len());
            return Err(self.bad(&message));
        }
        let mut texts = Vec::with_capacity(self.targets.len());
        for ordinal in &self.targets {
            if rest.len() < 4 {
                return Ok(None);
            }
            let len = rest.get_i32();
            if len < 0 {
                texts.push(None);
                continue;
            }
            if len as usize > ROW_BYTES_MAX {
                return Err(self.bad("a value is too long"));
            }
            let Some((value, after)) = rest.split_at_checked(len as usize) else { return Ok(None) };
            let base = base_of(self.table.columns[*ordinal].column_type);
            texts.push(Some(decode::binary_text(PgType::One(base), value)?));
            rest = after;
        }
        let used = self.buffer.len() - rest.len();
        self.buffer.advance(used);
        Ok(Some(texts))
    }
}

/// Values of a row in text layout; None for a malformed escape.
fn text_values(line: &[u8], options: &Options) -> Option<Vec<Option<Vec<u8>>>> {
    let mut values = vec![];
    let mut start = 0;
    let mut i = 0;
    while i <= line.len() {
        if i == line.len() || line[i] == options.delimiter {
            let raw = &line[start..i];
            values.push(if raw == options.null.as_bytes() { None } else { Some(unescaped(raw)?) });
            start = i + 1;
        } else if line[i] == b'\\' {
            i += 1;
        }
        i += 1;
    }
    // A backslash as the last byte escapes the end of the line.
    if start <= line.len() && i > line.len() + 1 {
        return None;
    }
    Some(values)
}

fn unescaped(raw: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (escape, after) = rest.split_first()?;
        rest = after;
        match escape {
            b'b' => bytes.push(8),
            b'f' => bytes.push(12),
            b'n' => bytes.push(b'\n'),
            b'r' => bytes.push(b'\r'),
            b't' => bytes.push(b'\t'),
            b'v' => bytes.push(11),
            b'0'..=b'7' => {
                let mut value = u32::from(escape - b'0');
                for _ in 0..2 {
                    match rest.split_first() {
                        Some((digit @ b'0'..=b'7', after)) => {
                            value = value * 8 + u32::from(digit - b'0');
                            rest = after;
                        }
                        _ => break,
                    }
                }
                bytes.push(value as u8);
            }
            b'x' => {
                let digits = rest.iter().take(2).take_while(|b| b.is_ascii_hexdigit()).count();
                let text = std::str::from_utf8(&rest[..digits]).ok()?;
                bytes.push(if digits == 0 { b'x' } else { u8::from_str_radix(text, 16).ok()? });
                rest = &rest[digits..];
            }
            other => bytes.push(*other),
        }
    }
    Some(bytes)
}

/// Values of a row in CSV layout; None if quotes do not close.
fn csv_values(line: &[u8], options: &Options) -> Option<Vec<Option<Vec<u8>>>> {
    let mut values = vec![];
    let (mut value, mut in_quotes, mut was_quoted) = (vec![], false, false);
    let mut i = 0;
    while i < line.len() {
        let byte = line[i];
        if in_quotes {
            let next = line.get(i + 1).copied();
            if byte == options.escape && matches!(next, Some(n) if n == options.quote || n == options.escape)
            {
                value.push(line[i + 1]);
                i += 1;
            } else if byte == options.quote {
                in_quotes = false;
            } else {
                value.push(byte);
            }
        } else if byte == options.quote {
            in_quotes = true;
            was_quoted = true;
        } else if byte == options.delimiter {
            let null = !was_quoted && value == options.null.as_bytes();
            values.push((!null).then(|| std::mem::take(&mut value)));
            value.clear();
            was_quoted = false;
        } else {
            value.push(byte);
        }
        i += 1;
    }
    if in_quotes {
        return None;
    }
    let null = !was_quoted && value == options.null.as_bytes();
    values.push((!null).then_some(value));
    Some(values)
}
