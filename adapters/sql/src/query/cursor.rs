//! The rows of a statement for a client: their description, and the position in them.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::{ArrayRef, RecordBatch};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::Schema;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::{bytes, guarded};
use crate::error::{Result, SqlError, SqlState};
use pg_semantics::types::encode::{self, Format};
use pg_semantics::types::{Base, NO_MODIFIER, PgType, modifier};
use tidemark_database::SnapshotGuard;

/// A larger batch counts as memory of its statement while its rows are sent, and its rows are encoded where this delays
/// no other client.
const LARGE_BATCH_BYTES: usize = 1 << 20;

/// Factor by which the values of a row may grow from batch to message.
const MESSAGE_FACTOR: usize = 4;

/// Most bytes of a row in a message, as of a value.
const ROW_BYTES_MAX: usize = pg_semantics::budget::VALUE_BYTES_MAX;

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

/// Description of the rows of a statement.
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

    /// Gives columns PostgreSQL's names.
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
    _guard: SnapshotGuard,
    stream: SendableRecordBatchStream,
    described: Described,
    /// Whether columns must be cast to the types that the client was told.
    recast: bool,
    current: Option<(RecordBatch, usize)>,
    /// Memory of a large batch, and of the row being sent.
    memory: Option<MemoryReservation>,
    tag: &'static str,
    rows: u64,
}

impl Cursor {
    /// The rows of a stream. `described`: the description that the client already has. `memory`: of the statement,
    /// nothing taken yet; None where the rows are few.
    pub fn new(
        guard: SnapshotGuard,
        stream: SendableRecordBatchStream,
        memory: Option<MemoryReservation>,
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
        Ok(Cursor { _guard: guard, stream, described: told, recast, current: None, memory, tag, rows: 0 })
    }

    /// Description of the rows.
    pub fn described(&self) -> &Described {
        &self.described
    }

    /// See [`Described::rename`].
    pub fn rename(&mut self, names: Vec<String>) {
        self.described.rename(names);
    }

    /// Moves to the next unsent rows, waiting if necessary; false when there are no more.
    pub async fn advance(&mut self) -> Result<bool> {
        loop {
            if let Some((batch, next)) = &self.current
                && *next < batch.num_rows()
            {
                return Ok(true);
            }
            match guarded(self.stream.next()).await? {
                None => return Ok(false),
                Some(batch) => {
                    self.current = None;
                    let batch = self.recast(batch?)?;
                    self.count(&batch)?;
                    self.current = Some((batch, 0));
                }
            }
        }
    }

    /// A row may be nearly all of its batch.
    fn count(&self, batch: &RecordBatch) -> Result<()> {
        let Some(memory) = &self.memory else { return Ok(()) };
        let bytes = bytes(batch)?;
        let counted = if bytes > LARGE_BATCH_BYTES { bytes.saturating_mul(1 + MESSAGE_FACTOR) } else { 0 };
        Ok(memory.try_resize(counted)?)
    }

    /// Runs work that takes long for a large batch: another thread serves this thread's other clients meanwhile.
    pub fn apart<T>(&self, work: impl FnOnce() -> T) -> T {
        let is_large = self.memory.as_ref().is_some_and(|memory| memory.size() > 0);
        // A runtime with one thread has no other.
        if is_large && Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            tokio::task::block_in_place(work)
        } else {
            work()
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
        let Some((batch, mut next)) = self.current.take() else { return Ok(0) };
        let mut written = 0;
        let outcome = self.apart(|| {
            while written < rows_max && next < batch.num_rows() && out.len() < bytes_max {
                write_row(&batch, next, &self.described.fields, formats, out)?;
                next += 1;
                written += 1;
            }
            Ok(written)
        });
        self.current = Some((batch, next));
        self.rows += written as u64;
        outcome
    }

    /// The next rows of the current batch, about so many bytes of them, for COPY.
    pub fn take_rows(&mut self, bytes_max: usize) -> Result<Option<RecordBatch>> {
        let Some((batch, next)) = &mut self.current else { return Ok(None) };
        let left = batch.num_rows() - *next;
        let row_bytes = bytes(batch)? / batch.num_rows().max(1);
        let rows = left.min((bytes_max / row_bytes.max(1)).max(1));
        let taken = batch.slice(*next, rows);
        *next += rows;
        self.rows += rows as u64;
        Ok(Some(taken))
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

/// Writes a DataRow message. After an error nothing of it remains.
fn write_row(
    batch: &RecordBatch,
    row: usize,
    fields: &[Field],
    formats: &[Format],
    out: &mut BytesMut,
) -> Result<()> {
    let start = out.len();
    out.put_u8(b'D');
    out.put_i32(0);
    out.put_i16(batch.num_columns() as i16);
    let mut columns = batch.columns().iter().zip(fields).zip(formats);
    let encoded = columns.try_for_each(|((column, field), format)| {
        encode::field(column.as_ref(), row, field.pg, *format, out)
    });
    let len = out.len() - start - 1;
    let checked = encoded.and_then(|()| match len {
        0..=ROW_BYTES_MAX => Ok(()),
        _ => Err(SqlError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("a row of {len} bytes is too long for a message, which has at most {ROW_BYTES_MAX}"),
        )),
    });
    if checked.is_err() {
        out.truncate(start);
        return checked;
    }
    out[start + 1..start + 5].copy_from_slice(&(len as i32).to_be_bytes());
    Ok(())
}
