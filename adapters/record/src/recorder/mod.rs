//! The recorder: what the coordinator's thread notes goes into a queue, and a thread of its own turns it into files. The queue is
//! all that the coordinator's thread ever touches: it never waits, neither for the disk nor for the thread. Where the thread
//! falls behind or the disk refuses, the recording ends, says so, and begins anew once the coordinator stands still.

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

/// How long the end of a life waits until its recording is on the way to the disk.
const FINISH_WAIT: Duration = Duration::from_secs(5);

/// Where and how much is recorded.
#[derive(Clone, Debug)]
pub struct RecorderSettings {
    /// Where the files go. Made if it is not there.
    pub directory: PathBuf,
    /// Bytes of all files together; the oldest go first.
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
            // A few files at least, so that dropping the oldest leaves most of the recording.
            file_bytes: (bytes_max / 8).clamp(1, FILE_BYTES_DEFAULT),
            queue_bytes_max: QUEUE_BYTES_DEFAULT,
        }
    }
}

/// The life that is recorded.
#[derive(Clone, Debug)]
pub struct TermStart {
    /// Identity of the database.
    pub database: [u8; 16],
    /// As the log counts it.
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
    /// The recorder wants the coordinator at rest: to begin another file.
    wants_quiesce: AtomicBool,
    /// Nothing is recorded until the coordinator stood still.
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

/// What the coordinator's thread notes, as it is: encoding and hashing is the recorder's work.
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
    /// Begins the recording of a life. An error is the directory's: it cannot be written to, or has another database's recording.
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

    /// Whether the coordinator is to be held, so that another file can begin with it at rest.
    pub fn wants_quiesce(&self) -> bool {
        self.shared.wants_quiesce.load(Ordering::Relaxed)
    }

    /// The coordinator is held, or let go.
    pub fn held(&self, held: bool) {
        if self.is_on() {
            self.push(Event::Held(held), 0);
        }
    }

    /// The coordinator is at rest, and so are the shards: another file begins here.
    pub fn rest(&self, quiesced_state: QuiescedState, tip: &Arc<Catalog>) {
        self.shared.wants_quiesce.store(false, Ordering::Relaxed);
        self.shared.off.store(false, Ordering::Relaxed);
        let bytes = quiesced_state.extracts.iter().map(extract_bytes).sum();
        self.push(Event::Rest(Box::new(quiesced_state), tip.clone()), bytes);
    }

    /// The life is over. Returns when the recording is written, or after a few seconds. Only the first call counts.
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

    /// From here on nothing is noted.
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

    /// What was noted since the last call; nothing: the thread is woken when there is something.
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

    /// Nothing is recorded until the coordinator stood still; asks for that.
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

/// The table of an extract whose rows the log will have as they are: one without a primary key, out of which rows come as they
/// went in.
pub fn rows_in_log(tip: &Catalog, extract: &Extract) -> Option<TableId> {
    let table = tip.pipelines.get(&extract.pipeline)?.table;
    tip.tables.get(&table)?.primary_key.is_empty().then_some(table)
}

/// About what an input keeps in memory while it waits.
fn bytes_of(input: &Input) -> u64 {
    match input {
        Input::Extracted(extract) => extract_bytes(extract),
        Input::Shard { reply: ShardReply::Staged { piece, ignored, .. }, .. } => {
            piece.len() as u64 + ignored.values().map(|offsets| 8 * offsets.len() as u64).sum::<u64>()
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

/// Rows take about what the messages took that they were made of.
fn extract_bytes(extract: &Extract) -> u64 {
    extract.source_bytes
}
