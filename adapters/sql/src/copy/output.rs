//! `COPY … TO STDOUT`: the rows of a query, written as text, CSV or binary. Every row is a message of its own, as the
//! protocol requires.

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::{Array, RecordBatch};

use super::{Layout, Options};
use crate::error::Result;
use crate::query::Cursor;
use pg_semantics::types::encode::{self, Format};

/// Approximate bytes of rows that are written before they are sent.
const MESSAGES_BYTES: usize = 256 << 10;

/// A running COPY TO.
pub struct CopyOut {
    cursor: Cursor,
    options: Options,
    begun: bool,
    /// The header of the binary layout until it is sent: with the first row, or else with the trailer.
    binary_header: Vec<u8>,
}

/// Messages of the stream, contiguous in one buffer.
#[derive(Default)]
pub struct Messages {
    bytes: BytesMut,
    ends: Vec<usize>,
}

impl Messages {
    /// Each message.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins.zip(&self.ends).map(|(begin, end)| &self.bytes[begin..*end])
    }

    fn end_one(&mut self) {
        self.ends.push(self.bytes.len());
    }
}

impl CopyOut {
    /// The rows of a cursor in this layout.
    pub fn new(cursor: Cursor, options: Options) -> CopyOut {
        let mut binary_header = vec![];
        if options.layout == Layout::Binary {
            // The signature, no flags, no extension.
            binary_header.extend(b"PGCOPY\n\xff\r\n\0");
            binary_header.extend([0; 8]);
        }
        CopyOut { cursor, options, begun: false, binary_header }
    }

    /// 1 for binary, 0 for text: the overall format of CopyOutResponse.
    pub fn format_code(&self) -> i8 {
        i8::from(self.options.layout == Layout::Binary)
    }

    /// Number of columns.
    pub fn column_count(&self) -> usize {
        self.cursor.described().fields.len()
    }

    /// The next messages of the stream; None when it has ended.
    pub async fn next(&mut self) -> Result<Option<Messages>> {
        let mut out = Messages::default();
        if !std::mem::replace(&mut self.begun, true) && self.options.header {
            self.column_names(&mut out);
        }
        if self.cursor.advance().await? {
            if let Some(batch) = self.cursor.take_rows(MESSAGES_BYTES)?.filter(|batch| batch.num_rows() > 0) {
                out.bytes.put_slice(&std::mem::take(&mut self.binary_header));
                self.cursor.apart(|| self.rows(&batch, &mut out))?;
            }
            return Ok(Some(out));
        }
        Ok((!out.ends.is_empty()).then_some(out))
    }

    /// The message that ends the stream, which may be empty, and the command's tag.
    pub fn end(&mut self) -> (Vec<u8>, String) {
        let mut last = std::mem::take(&mut self.binary_header);
        if self.options.layout == Layout::Binary {
            last.extend([0xff, 0xff]);
        }
        (last, self.cursor.tag())
    }

    fn column_names(&self, out: &mut Messages) {
        for (i, field) in self.cursor.described().fields.iter().enumerate() {
            self.delimit(i, &mut out.bytes);
            self.value(field.name.as_bytes(), &mut out.bytes);
        }
        out.bytes.put_u8(b'\n');
        out.end_one();
    }

    fn rows(&self, batch: &RecordBatch, out: &mut Messages) -> Result<()> {
        let mut text = BytesMut::new();
        for row in 0..batch.num_rows() {
            match self.options.layout {
                Layout::Binary => self.binary_row(batch, row, &mut out.bytes)?,
                _ => self.text_row(batch, row, &mut text, &mut out.bytes)?,
            }
            out.end_one();
        }
        Ok(())
    }

    fn binary_row(&self, batch: &RecordBatch, row: usize, out: &mut BytesMut) -> Result<()> {
        let fields = &self.cursor.described().fields;
        out.put_i16(fields.len() as i16);
        for (field, column) in fields.iter().zip(batch.columns()) {
            encode::field(column.as_ref(), row, field.pg, Format::Binary, out)?;
        }
        Ok(())
    }

    /// `text` is kept for its memory.
    fn text_row(
        &self,
        batch: &RecordBatch,
        row: usize,
        text: &mut BytesMut,
        out: &mut BytesMut,
    ) -> Result<()> {
        for (i, column) in batch.columns().iter().enumerate() {
            self.delimit(i, out);
            if column.is_null(row) || column.data_type().is_null() {
                out.put_slice(self.options.null.as_bytes());
                continue;
            }
            text.clear();
            encode::text(column.as_ref(), row, text)?;
            self.value(text, out);
        }
        out.put_u8(b'\n');
        Ok(())
    }

    fn delimit(&self, i: usize, out: &mut BytesMut) {
        if i > 0 {
            out.put_u8(self.options.delimiter);
        }
    }

    fn value(&self, text: &[u8], out: &mut BytesMut) {
        match self.options.layout {
            Layout::Csv => self.csv_value(text, out),
            _ => self.text_value(text, out),
        }
    }

    fn text_value(&self, text: &[u8], out: &mut BytesMut) {
        for byte in text {
            let letter = match byte {
                8 => b'b',
                12 => b'f',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                11 => b'v',
                b'\\' => b'\\',
                b if *b == self.options.delimiter => *b,
                b => {
                    out.put_u8(*b);
                    continue;
                }
            };
            out.put_u8(b'\\');
            out.put_u8(letter);
        }
    }

    fn csv_value(&self, text: &[u8], out: &mut BytesMut) {
        let Options { quote, escape, delimiter, null, .. } = &self.options;
        let special = |b: &u8| *b == *quote || *b == *delimiter || matches!(b, b'\n' | b'\r');
        if !text.iter().any(special) && text != null.as_bytes() && text != b"\\." {
            return out.put_slice(text);
        }
        out.put_u8(*quote);
        for byte in text {
            if byte == quote || byte == escape {
                out.put_u8(*escape);
            }
            out.put_u8(*byte);
        }
        out.put_u8(*quote);
    }
}
