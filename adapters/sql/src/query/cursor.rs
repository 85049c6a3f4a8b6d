//! The rows of a statement on their way to a client: what they look like, and where the client stands in them.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::Schema;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::guarded;
use crate::database::SnapshotGuard;
use crate::error::{Result, SqlError};
use pg_semantics::types::encode::{self, Format};
use pg_semantics::types::{Base, NO_MODIFIER, PgType, modifier};

/// A result column.
#[derive(Clone, PartialEq, Debug)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type.
    pub pg: PgType,
    /// The type's modifier.
    pub modifier: i32,
}

/// What the rows of a statement look like.
#[derive(Clone, PartialEq, Debug)]
pub struct Described {
    /// The columns.
    pub fields: Vec<Field>,
}

impl Described {
    /// Rows of this schema.
    pub fn of_schema(schema: &Schema) -> Described {
        let field = |f: &Arc<datafusion::arrow::datatypes::Field>| Field {
            name: f.name().clone(),
            pg: PgType::of(f),
            modifier: modifier(f),
        };
        Described { fields: schema.fields().iter().map(field).collect() }
    }

    /// Gives columns the names that PostgreSQL has for them.
    pub fn rename(&mut self, names: Vec<String>) {
        assert_eq!(names.len(), self.fields.len(), "a name for each column");
        for (field, name) in self.fields.iter_mut().zip(names) {
            field.name = name;
        }
    }

    /// Rows of text columns.
    pub fn texts(names: &[&str]) -> Described {
        let field = |name: &&str| Field {
            name: name.to_string(),
            pg: PgType::One(Base::Text),
            modifier: NO_MODIFIER,
        };
        Described { fields: names.iter().map(field).collect() }
    }
}

/// A running statement. Holds its snapshot until it is dropped.
pub struct Cursor {
    _guard: Arc<SnapshotGuard>,
    stream: SendableRecordBatchStream,
    described: Described,
    /// Columns whose type is another one than the client was told of.
    recast: bool,
    current: Option<(RecordBatch, usize)>,
    tag: &'static str,
    rows: u64,
}

impl Cursor {
    /// The rows of a stream. `described`: what the client has been told already.
    pub fn new(
        guard: Arc<SnapshotGuard>,
        stream: SendableRecordBatchStream,
        described: Option<&Described>,
        tag: &'static str,
    ) -> Result<Cursor> {
        let actual = Described::of_schema(&stream.schema());
        let told = described.unwrap_or(&actual).clone();
        if told.fields.len() != actual.fields.len() {
            return Err(SqlError::unsupported("cached plan must not change result type")
                .with_hint("A definition has changed: prepare the statement again."));
        }
        let recast = told.fields.iter().zip(&actual.fields).any(|(t, a)| t.pg != a.pg);
        Ok(Cursor { _guard: guard, stream, described: told, recast, current: None, tag, rows: 0 })
    }

    /// What the rows look like.
    pub fn described(&self) -> &Described {
        &self.described
    }

    /// See [`Described::rename`].
    pub fn rename(&mut self, names: Vec<String>) {
        self.described.rename(names);
    }

    /// The next rows that are not sent yet, waiting for them if need be; None when there are no more.
    pub async fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some((batch, next)) = &self.current
                && *next < batch.num_rows()
            {
                return Ok(true);
            }
            match guarded(self.stream.next()).await? {
                None => return Ok(false),
                Some(batch) => self.current = Some((self.recast(batch?)?, 0)),
            }
        }
    }

    fn recast(&self, batch: RecordBatch) -> Result<RecordBatch> {
        if !self.recast {
            return Ok(batch);
        }
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let cast =
            |(column, field): (&ArrayRef, &Field)| match PgType::of_arrow(column.data_type()) == field.pg {
                true => Ok(Arc::clone(column)),
                false => cast_with_options(column, &field.pg.arrow(), &strict),
            };
        let columns = batch
            .columns()
            .iter()
            .zip(&self.described.fields)
            .map(cast)
            .collect::<Result<Vec<ArrayRef>, _>>()?;
        let named = columns.into_iter().zip(&self.described.fields).map(|(c, f)| (f.name.clone(), c, true));
        Ok(RecordBatch::try_from_iter_with_nullable(named)?)
    }

    /// Writes DataRow messages from the current batch until `out` holds `bytes_max`, the batch ends, or `rows_max` are
    /// written. Returns how many.
    pub fn write_rows(
        &mut self,
        formats: &[Format],
        rows_max: usize,
        bytes_max: usize,
        out: &mut BytesMut,
    ) -> Result<usize> {
        let Some((batch, next)) = &mut self.current else { return Ok(0) };
        let mut written = 0;
        while written < rows_max && *next < batch.num_rows() && out.len() < bytes_max {
            let start = out.len();
            out.put_u8(b'D');
            out.put_i32(0);
            out.put_i16(batch.num_columns() as i16);
            for (i, column) in batch.columns().iter().enumerate() {
                let pg = self.described.fields[i].pg;
                if let Err(error) = encode::field(column.as_ref(), *next, pg, formats[i], out) {
                    out.truncate(start);
                    return Err(error);
                }
            }
            let len = (out.len() - start - 1) as i32;
            out[start + 1..start + 5].copy_from_slice(&len.to_be_bytes());
            *next += 1;
            written += 1;
        }
        self.rows += written as u64;
        Ok(written)
    }

    /// The rest of the current batch, for COPY.
    pub fn take_batch(&mut self) -> Option<RecordBatch> {
        let (batch, next) = self.current.take()?;
        self.rows += (batch.num_rows() - next) as u64;
        Some(batch.slice(next, batch.num_rows() - next))
    }

    /// Rows sent so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The command's tag, when all rows are sent.
    pub fn tag(&self) -> String {
        match self.tag {
            "SHOW" => "SHOW".into(),
            tag => format!("{tag} {}", self.rows),
        }
    }
}
