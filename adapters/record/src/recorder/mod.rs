//! The flight recorder. The coordinator's thread puts events into a queue, and a thread of the recorder writes them to
//! files. The coordinator's thread touches only the queue: it waits neither for the disk nor for the recorder. If the
//! recorder falls behind or the disk refuses a write, the recording ends with the reason, and a new one begins once the
//! coordinator is quiesced.

mod disk;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;

use kernel::message::ShardReply;
use kernel::record::EncodedRecord;
use kernel::schema::Catalog;
use kernel::{
    Config, Effect, Epoch, Error, Extract, Input, Micros, PipelineId, QuiescedState, Request, Result,
    Sequence, Snapshot, SqlState, TableId, Term,
};
use parking_lot::{Condvar, Mutex};

use crate::item::End;
use crate::mark::{EffectMark, effect_mark};
use worker::Worker;

/// Bytes of all files together unless the settings say otherwise.
pub const BYTES_MAX_DEFAULT: u64 = 1 << 30;

/// Bytes of one file, about; a shorter recording has shorter ones.
pub const FILE_BYTES_DEFAULT: u64 = 64 << 20;

/// Bytes that may wait for the recorder's thread. Columns that wait are shared with the kernel, not copied.
const QUEUE_BYTES_DEFAULT: u64 = 64 << 20;

/// How long the end of a term waits until its recording is written.
const FINISH_WAIT: Duration = Duration::from_secs(5);

/// Directory and limits of a recording.
#[derive(Clone, Debug)]
pub struct RecorderSettings {
    /// Directory of the files. Created if it does not exist.
    pub directory: PathBuf,
    /// Bytes of all files together; the oldest are removed first.
    pub bytes_max: u64,
    /// Bytes of one file, about.
    pub file_bytes: u64,
    /// Bytes that may wait for the recorder's thread.
    pub queue_bytes_max: u64,
}

impl RecorderSettings {
    /// A recording in this directory, of so many bytes at most.
    pub fn new(directory: impl Into<PathBuf>, bytes_max: u64) -> RecorderSettings {
        RecorderSettings {
            directory: directory.into(),
            bytes_max,
            // A few files at least, so that removing the oldest keeps most of the recording.
            file_bytes: (bytes_max / 8).clamp(1, FILE_BYTES_DEFAULT),
            queue_bytes_max: QUEUE_BYTES_DEFAULT,
        }
    }
}

/// The recorded term.
#[derive(Clone, Debug)]
pub struct TermStart {
    /// Identity of the database.
    pub database: [u8; 16],
    /// Number of the term.
    pub term: Term,
    /// Shards of the database.
    pub shard_count: u16,
    /// Sequence of its `open` record.
    pub open: Sequence,
    /// Time at which the coordinator was made.
    pub now_us: Micros,
    /// Limits of the coordinator.
    pub config: Config,
}

/// A handle to the recorder. Clones are handles to the same one.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    queue_bytes_max: u64,
    /// The recorder wants the coordinator quiesced, to begin another file.
    wants_quiesce: AtomicBool,
    /// Nothing is recorded until the coordinator has quiesced.
    off: AtomicBool,
    finished: Mutex<bool>,
    has_finished: Condvar,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Queue {
    events: Vec<Event>,
    bytes: u64,
    /// The thread sleeps until it is woken.
    parked: Option<Thread>,
    closed: bool,
}

/// An event of the coordinator's thread, unencoded: the recorder's thread encodes and hashes.
enum Event {
    /// With the table that an extract is for, if the log will have its rows as they are.
    Input(Micros, Box<Input>, Option<TableId>),
    Effect(EffectMark),
    Append(EncodedRecord),
    Publish(Snapshot),
    SourceClose(PipelineId, Epoch, EffectMark),
    Held(bool),
    Rest(Box<QuiescedState>, Arc<Catalog>),
    /// The recorder has fallen behind.
    Lost,
    Finish(End, Option<Snapshot>),
}

impl Recorder {
    /// Begins the recording of a term. It fails if the directory cannot be written to, or has another database's
    /// recording.
    pub fn start(settings: RecorderSettings, term: TermStart) -> Result<Recorder> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::default()),
            queue_bytes_max: settings.queue_bytes_max,
            wants_quiesce: AtomicBool::new(false),
            off: AtomicBool::new(false),
            finished: Mutex::new(false),
            has_finished: Condvar::new(),
            thread: Mutex::new(None),
        });
        let recorder = Recorder { shared };
        let worker = Worker::start(settings, term, recorder.clone())?;
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || worker.run());
        let thread = thread.map_err(|error| Error::new(SqlState::IO_ERROR, format!("recorder: {error}")))?;
        *recorder.shared.thread.lock() = Some(thread);
        Ok(recorder)
    }

    /// To be called before the coordinator is fed. `tip` is its catalog.
    pub fn input(&self, at_us: Micros, input: &Input, tip: &Catalog) {
        if !self.is_on() {
            return;
        }
        let in_log = match input {
            Input::Extracted(extract) => rows_in_log(tip, extract),
            _ => None,
        };
        let bytes = bytes_of(input);
        if bytes > self.shared.queue_bytes_max {
            self.lose();
        } else {
            self.push(Event::Input(at_us, Box::new(input.clone()), in_log), bytes);
        }
    }

    /// To be called with every effect, in order, before it is carried out.
    pub fn effect(&self, effect: &Effect) {
        if !self.is_on() {
            return;
        }
        match effect {
            Effect::Append(record) => self.push(Event::Append(record.clone()), record.payload_len()),
            Effect::Publish(snapshot) => self.push(Event::Publish(snapshot.clone()), 0),
            Effect::SourceClose { pipeline, epoch } => {
                self.push(Event::SourceClose(*pipeline, *epoch, effect_mark(effect)), 0);
            }
            _ => self.push(Event::Effect(effect_mark(effect)), 0),
        }
    }

    /// Whether the coordinator is to be quiesced, so that another file can begin.
    pub fn wants_quiesce(&self) -> bool {
        self.shared.wants_quiesce.load(Ordering::Relaxed)
    }

    /// The coordinator is held, or released.
    pub fn held(&self, held: bool) {
        if self.is_on() {
            self.push(Event::Held(held), 0);
        }
    }

    /// Coordinator and shards are quiesced: another file begins here.
    pub fn rest(&self, quiesced_state: QuiescedState, tip: &Arc<Catalog>) {
        self.shared.wants_quiesce.store(false, Ordering::Relaxed);
        self.shared.off.store(false, Ordering::Relaxed);
        let bytes = quiesced_state.extracts.iter().map(extract_bytes).sum();
        self.push(Event::Rest(Box::new(quiesced_state), tip.clone()), bytes);
    }

    /// The term is over. Returns when the recording is written, or after a few seconds. Only the first call counts.
    pub fn finish(&self, end: End, published: Option<Snapshot>) {
        self.wake_with(|queue| {
            if !queue.closed {
                queue.closed = true;
                queue.events.push(Event::Finish(end, published));
            }
        });
        let mut finished = self.shared.finished.lock();
        while !*finished {
            if self.shared.has_finished.wait_for(&mut finished, FINISH_WAIT).timed_out() {
                return;
            }
        }
        drop(finished);
        if let Some(thread) = self.shared.thread.lock().take() {
            let _ = thread.join();
        }
    }

    fn is_on(&self) -> bool {
        !self.shared.off.load(Ordering::Relaxed)
    }

    fn push(&self, event: Event, bytes: u64) {
        // What an event takes beside its columns.
        const EVENT_BYTES: u64 = 256;
        let mut too_much = false;
        self.wake_with(|queue| {
            queue.bytes += bytes + EVENT_BYTES;
            too_much = queue.bytes > self.shared.queue_bytes_max;
            if !queue.closed && !too_much {
                queue.events.push(event);
            }
        });
        if too_much {
            self.lose();
        }
    }

    /// From here on no event is noted.
    fn lose(&self) {
        self.shared.off.store(true, Ordering::Relaxed);
        self.wake_with(|queue| {
            if !queue.closed {
                queue.events.push(Event::Lost);
            }
        });
    }

    fn wake_with(&self, change: impl FnOnce(&mut Queue)) {
        let mut queue = self.shared.queue.lock();
        change(&mut queue);
        let parked = queue.parked.take();
        drop(queue);
        if let Some(thread) = parked {
            thread.unpark();
        }
    }

    /// The events since the last call. If there are none, the thread is woken by the next one.
    fn take_events(&self) -> Vec<Event> {
        let mut queue = self.shared.queue.lock();
        queue.bytes = 0;
        let events = std::mem::take(&mut queue.events);
        if events.is_empty() {
            queue.parked = Some(std::thread::current());
        }
        events
    }

    fn set_finished(&self) {
        *self.shared.finished.lock() = true;
        self.shared.has_finished.notify_all();
    }

    /// Stops recording until the coordinator has quiesced, and requests that.
    fn turn_off(&self) {
        self.shared.off.store(true, Ordering::Relaxed);
    }

    fn ask_to_quiesce(&self) {
        self.shared.wants_quiesce.store(true, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("on", &self.is_on()).finish_non_exhaustive()
    }
}

/// The table of an extract whose rows the log will have as they are: one without a primary key, whose rows are logged
/// unchanged.
pub fn rows_in_log(tip: &Catalog, extract: &Extract) -> Option<TableId> {
    let table = tip.pipelines.get(&extract.pipeline)?.table;
    tip.tables.get(&table)?.primary_key.is_empty().then_some(table)
}

/// Approximate bytes that an input keeps in memory while it waits.
fn bytes_of(input: &Input) -> u64 {
    match input {
        Input::Extracted(extract) => extract_bytes(extract),
        Input::Shard { reply: ShardReply::Staged { outcome, ignored, .. }, .. } => {
            outcome.len() as u64 + ignored.values().map(|offsets| 8 * offsets.len() as u64).sum::<u64>()
        }
        Input::Request { request: Request::Write(write), .. } => {
            let shards = write.tables.iter().flat_map(|table| &table.shards);
            let bytes = shards.map(|shard| {
                let rows = shard.rows.as_ref().map_or(0, |rows| rows.get_array_memory_size());
                16 * shard.deletes.len() + rows
            });
            bytes.sum::<usize>() as u64
        }
        _ => 0,
    }
}

/// Rows take about as many bytes as their messages.
fn extract_bytes(extract: &Extract) -> u64 {
    extract.source_bytes
}
