//! The budget of a statement: memory for the values of its functions, and the time until its client stops waiting.
//!
//! A [`Budget`] is part of the configuration of a session, so that every function can reach it, also while constants
//! are folded. A function whose result can be larger than its arguments reserves the memory *before* it allocates. A
//! value beyond PostgreSQL's limit of 1 GB fails with 54000, and an allocation beyond the available memory with 53200.
//! The memory counts for as long as the values live, not only for as long as the function runs.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use datafusion::arrow::array::builder::NullBufferBuilder;
use datafusion::arrow::array::{ArrayRef, StringArray};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use crate::error::{SqlError, SqlState};

/// Longest value, as in PostgreSQL: a longer one fails with 54000.
pub const VALUE_BYTES_MAX: usize = (1 << 30) - 1;

/// Texts reserve memory in steps of at least this many bytes.
const STEP_BYTES: usize = 64 << 10;

/// Bytes of all values of one array, whose offsets are 32 bits wide.
const ARRAY_BYTES_MAX: usize = i32::MAX as usize;

/// The budget of one statement.
#[derive(Clone, Debug)]
pub struct Budget {
    pool: Arc<dyn MemoryPool>,
    stopped: Arc<AtomicBool>,
}

impl Budget {
    /// Memory is reserved in this pool; the statement ends at its next check once `stopped` is set.
    pub fn new(pool: Arc<dyn MemoryPool>, stopped: Arc<AtomicBool>) -> Budget {
        Budget { pool, stopped }
    }

    /// The budget in a function's configuration, if it has one.
    pub fn of(options: &ConfigOptions) -> Option<&Budget> {
        options.extensions.get::<Budget>()
    }

    /// Fails if the statement was cancelled or its client has disconnected.
    pub fn check_wanted(&self) -> Result<(), SqlError> {
        match self.stopped.load(Ordering::Relaxed) {
            true => Err(SqlError::new(SqlState::QUERY_CANCELED, "canceling statement due to user request")),
            false => Ok(()),
        }
    }
}

impl ConfigExtension for Budget {
    const PREFIX: &'static str = "budget";
}

impl ExtensionOptions for Budget {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _: &str) -> Result<()> {
        Err(DataFusionError::Configuration(format!("the budget has no setting \"{key}\"")))
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        vec![]
    }
}

/// Memory for the result of one call of a function.
#[derive(Debug)]
pub struct Room {
    /// None without a budget.
    reservation: Option<MemoryReservation>,
    function: &'static str,
}

impl Room {
    /// For a call of `function` with these options.
    pub fn of(options: &ConfigOptions, function: &'static str) -> Room {
        let reserve = |budget: &Budget| MemoryConsumer::new(function).register(&budget.pool);
        Room { reservation: Budget::of(options).map(reserve), function }
    }

    /// Reserves `bytes` more; 53200 if they are not available.
    pub fn grow(&self, bytes: usize) -> Result<(), SqlError> {
        let Some(reservation) = &self.reservation else { return Ok(()) };
        reservation.try_grow(bytes).map_err(|_| {
            let message =
                format!("out of memory: {}() needs {bytes} bytes more than are available", self.function);
            SqlError::new(SqlState::OUT_OF_MEMORY, message)
                .with_hint("Make shorter values or fewer rows at a time, or raise the server's query memory.")
        })
    }

    /// These bytes as a buffer of an array, which holds the reservation until it is dropped.
    pub fn keep(self, bytes: Vec<u8>) -> Buffer {
        struct Kept {
            bytes: Vec<u8>,
            _room: Room,
        }
        impl AsRef<[u8]> for Kept {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        match self.reservation {
            None => Buffer::from_vec(bytes),
            Some(_) => Buffer::from(Bytes::from_owner(Kept { bytes, _room: self })),
        }
    }
}

/// Fails for a value longer than PostgreSQL's limit.
pub fn check_value(bytes: usize) -> Result<(), SqlError> {
    match bytes {
        0..=VALUE_BYTES_MAX => Ok(()),
        _ => Err(SqlError::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("requested length too large: a value of {bytes} bytes; the limit is {VALUE_BYTES_MAX}"),
        )),
    }
}

/// An array of texts that a function builds value by value. The length of each value is reserved before it is written.
#[derive(Debug)]
pub struct Texts {
    room: Room,
    /// Bytes reserved.
    reserved: usize,
    bytes: Vec<u8>,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Texts {
    /// For `rows` values of a call of `function`.
    pub fn new(options: &ConfigOptions, function: &'static str, rows: usize) -> Texts {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        let room = Room::of(options, function);
        Texts { room, reserved: 0, bytes: Vec::new(), offsets, nulls: NullBufferBuilder::new(rows) }
    }

    /// A null.
    pub fn push_null(&mut self) {
        self.nulls.append_null();
        self.offsets.push(self.bytes.len() as i32);
    }

    /// A text.
    pub fn push(&mut self, text: &str) -> Result<(), SqlError> {
        self.push_with(text.len(), |out| out.push(text))
    }

    /// A text of at most `bytes_max` bytes, which `write` writes.
    pub fn push_with(&mut self, bytes_max: usize, write: impl FnOnce(&mut Piece)) -> Result<(), SqlError> {
        self.reserve(bytes_max)?;
        let end = self.bytes.len() + bytes_max;
        write(&mut Piece(&mut self.bytes));
        assert!(self.bytes.len() <= end, "a text is no longer than was reserved for it");
        self.nulls.append_non_null();
        self.offsets.push(self.bytes.len() as i32);
        Ok(())
    }

    fn reserve(&mut self, more: usize) -> Result<(), SqlError> {
        check_value(more)?;
        let len = self.bytes.len() + more;
        if len > ARRAY_BYTES_MAX {
            let message =
                format!("out of memory: the values of {}() in one batch are too long", self.room.function);
            return Err(SqlError::new(SqlState::OUT_OF_MEMORY, message).with_hint("Make shorter values."));
        }
        if len > self.reserved {
            // More than requested, so that many short values need few reservations; exactly as much for a long one.
            let wanted = len.max(self.reserved.saturating_mul(2).min(self.reserved + (64 << 20)));
            let wanted = wanted.next_multiple_of(STEP_BYTES);
            self.room.grow(wanted - self.reserved)?;
            self.bytes.reserve_exact(wanted - self.bytes.len());
            self.reserved = wanted;
        }
        Ok(())
    }

    /// The array.
    pub fn finish(mut self) -> StringArray {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        let nulls = self.nulls.finish();
        StringArray::new(offsets, self.room.keep(self.bytes), nulls)
    }

    /// The array, as functions return it.
    pub fn finish_value(self) -> ColumnarValue {
        ColumnarValue::Array(Arc::new(self.finish()) as ArrayRef)
    }
}

/// The destination of one text.
#[derive(Debug)]
pub struct Piece<'a>(&'a mut Vec<u8>);

impl Piece<'_> {
    /// Appends a text.
    pub fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Appends a character.
    pub fn push_char(&mut self, c: char) {
        self.push(c.encode_utf8(&mut [0; 4]));
    }
}

/// Bytes that a call would allocate.
pub type Estimate = fn(&ScalarFunctionArgs) -> Result<usize>;

/// A function of DataFusion's that is called only after the memory for its result is reserved.
pub fn bounded(function: &Arc<ScalarUDF>, estimate: Estimate) -> ScalarUDF {
    ScalarUDF::from(Bounded { inner: Arc::clone(function), estimate })
}

#[derive(Debug)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    estimate: Estimate,
}

impl PartialEq for Bounded {
    fn eq(&self, other: &Bounded) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Bounded {}

impl std::hash::Hash for Bounded {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let room = Room::of(&args.config_options, "a function");
        room.grow((self.estimate)(&args)?)?;
        self.inner.invoke_with_args(args)
    }
}
