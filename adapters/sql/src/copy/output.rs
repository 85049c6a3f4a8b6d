//! `COPY … TO STDOUT`: the rows of a query, written as text, CSV or binary.

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::{Array, RecordBatch};

use super::{Layout, Options};
use crate::error::Result;
use crate::session::Cursor;
use crate::types::encode::{self, Format};

/// A running COPY TO.
pub struct CopyOut {
    cursor: Cursor,
    options: Options,
    begun: bool,
}

impl CopyOut {
    /// The rows of a cursor in this layout.
    pub fn new(cursor: Cursor, options: Options) -> CopyOut {
        CopyOut { cursor, options, begun: false }
    }

    /// 1 for binary, 0 for text: of the whole, as CopyOutResponse says it.
    pub fn format_code(&self) -> i8 {
        i8::from(self.options.layout == Layout::Binary)
    }

    /// Columns that the client gets.
    pub fn column_count(&self) -> usize {
        self.cursor.described().fields.len()
    }

    /// The next piece of the stream; None when it has ended.
    pub async fn next(&mut self) -> Result<Option<BytesMut>> {
        let mut out = BytesMut::new();
        if !std::mem::replace(&mut self.begun, true) {
            self.header(&mut out);
        }
        if self.cursor.advance().await? {
            if let Some(batch) = self.cursor.take_batch() {
                self.rows(&batch, &mut out)?;
            }
            return Ok(Some(out));
        }
        Ok((!out.is_empty()).then_some(out))
    }

    /// What ends the stream, and the command's tag.
    pub fn end(&self) -> (&'static [u8], String) {
        let trailer: &[u8] = if self.options.layout == Layout::Binary { &[0xff, 0xff] } else { &[] };
        (trailer, self.cursor.tag())
    }

    fn header(&self, out: &mut BytesMut) {
        if self.options.layout == Layout::Binary {
            out.put_slice(b"PGCOPY\n\xff\r\n\0");
            out.put_u32(0);
            out.put_u32(0);
        } else if self.options.header {
            for (i, field) in self.cursor.described().fields.iter().enumerate() {
                self.delimit(i, out);
                self.value(field.name.as_bytes(), out);
            }
            out.put_u8(b'\n');
        }
    }

    fn rows(&self, batch: &RecordBatch, out: &mut BytesMut) -> Result<()> {
        let fields = &self.cursor.described().fields;
        let mut text = BytesMut::new();
        for row in 0..batch.num_rows() {
            if self.options.layout == Layout::Binary {
                out.put_i16(fields.len() as i16);
            }
            for (i, column) in batch.columns().iter().enumerate() {
                if self.options.layout == Layout::Binary {
                    encode::field(column.as_ref(), row, fields[i].pg, Format::Binary, out)?;
                    continue;
                }
                self.delimit(i, out);
                if column.is_null(row) || column.data_type().is_null() {
                    out.put_slice(self.options.null.as_bytes());
                    continue;
                }
                text.clear();
                encode::text(column.as_ref(), row, &mut text)?;
                self.value(&text, out);
            }
            if self.options.layout != Layout::Binary {
                out.put_u8(b'\n');
            }
        }
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
