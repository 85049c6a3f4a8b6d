//! From a data directory to a running database: recovery, and the start of the threads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kernel::log::{self, LogWriter, MemStorage, Opened, Storage, SyncPlan};
use kernel::record::{Body, Record};
use kernel::{Coordinator, Error, Recovery, Result, SqlState};
use parking_lot::Mutex;
use tidemark_log::MmapStorage;
use tidemark_record::TermStart;

use crate::ports::clock::Clock;
use crate::ports::config::{EngineConfig, OnRecovery};
use crate::ports::inbox::Message;
use crate::ports::pipeline::PipelineFactory;
use crate::ports::published::PublishedCell;
use crate::ports::spawn;
use crate::ports::status::Status;
use crate::ports::trace::Trace;
use crate::threads::coordinator::CoordinatorThread;
use crate::threads::disk::DiskWatch;
use crate::threads::effects::Threads;
use crate::threads::log::{Log, Syncer};
use crate::threads::recording::Recording;
use crate::threads::shards::Shards;
use crate::threads::source::SourceContext;

/// Shards of a new database where no number is asked for.
const SHARDS_DEFAULT: u16 = 8;

/// Bytes of payload in one extract while more is waiting: large enough that the cost per extract is small, small enough
/// to stay in the cache.
const CHUNK_BYTES_MAX: u64 = 1 << 20;

/// How often a recovery reports its progress.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(1);

/// The parts of a running database that its handles use.
pub(crate) struct Running {
    pub shard_count: u16,
    pub inbox: Sender<Message>,
    pub status: Arc<Status>,
    pub thread: Mutex<Option<JoinHandle<()>>>,
    pub factory: Arc<dyn PipelineFactory>,
}

impl Running {
    pub(crate) fn send(&self, message: Message) -> Result<()> {
        self.inbox.send(message).map_err(|_| self.status.why_stopped())
    }

    pub(crate) fn shutdown(&self) {
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let _ = self.inbox.send(Message::Stop);
            // Its panic was reported through `on_halt`.
            let _ = thread.join();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// A database in a directory.
pub(crate) fn on_disk(config: EngineConfig, factory: Arc<dyn PipelineFactory>) -> Result<Running> {
    refuse_foreign(&config.data_dir)?;
    let storage = MmapStorage::open(&config.data_dir)?;
    let watched = (config.data_dir.clone(), config.disk_reserve_bytes);
    let syncer = storage.syncer();
    let sync = Box::new(move |plan: &SyncPlan| syncer.sync(plan));
    on_storage(storage, sync, config, factory, Some(watched))
}

/// Refuses a directory with files of another program: not even a lock file is created there.
fn refuse_foreign(directory: &Path) -> Result<()> {
    /// Every data directory of ours contains this file.
    const LOCK_FILE: &str = "lock";
    // A missing directory is created later; one that cannot be listed is reported then.
    let Ok(entries) = std::fs::read_dir(directory) else { return Ok(()) };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    if names.is_empty() || names.iter().any(|name| name == LOCK_FILE) {
        return Ok(());
    }
    Err(Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "{} is no data directory of tidemark, and it is not empty ({} is there); nothing was changed; choose another one",
            directory.display(),
            names[0].display()
        ),
    ))
}

/// A database whose log is in memory.
pub(crate) fn in_memory(config: EngineConfig, factory: Arc<dyn PipelineFactory>) -> Result<Running> {
    on_storage(MemStorage::new(), Box::new(|_| Ok(())), config, factory, None)
}

/// A database whose log is in this storage.
pub(crate) fn on_storage<S: Storage + Send + 'static>(
    storage: S,
    syncer: Syncer,
    config: EngineConfig,
    factory: Arc<dyn PipelineFactory>,
    watched_disk: Option<(PathBuf, u64)>,
) -> Result<Running> {
    let clock = Clock::start();
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let (sender, inbox) = channel();
    let trace = Arc::new(Trace::open(config.trace_file.as_deref())?);
    let Recovered { writer, coordinator, shards, term } =
        recover(storage, &config, clock, cores, sender.clone())?;
    let shard_count = term.shard_count;
    if config.record.is_some() {
        refuse_secrets(&coordinator, &*factory)?;
    }
    let recording = Recording::start(config.record.clone(), term)?;
    let on_halt = recording.before(config.on_halt);
    let published = PublishedCell::new(coordinator.published().clone(), sender.clone());
    let status = Arc::new(Status::new(published));
    let threads = Threads {
        shards,
        log: Log::start(writer, syncer, sender.clone(), trace.clone()),
        disk: watched_disk.map(|(dir, reserve)| DiskWatch::start(dir, reserve, sender.clone())),
        sources: SourceContext {
            factory: factory.clone(),
            inbox: sender.clone(),
            clock,
            shard_count,
            reader_threads_max: cores,
            chunk_bytes: CHUNK_BYTES_MAX.min((config.kernel.pipeline_credit_bytes / 8).max(1)),
        },
        sender: sender.clone(),
        status: status.clone(),
        trace,
        recording,
    };
    let thread = CoordinatorThread { coordinator, inbox, threads, clock, on_halt: on_halt.clone() };
    let handle = spawn::spawn_guarded(
        "coordinator",
        move || thread.run(),
        move |panic| on_halt(&Error::new(SqlState::INTERNAL_ERROR, panic)),
    );
    Ok(Running { shard_count, inbox: sender, status, thread: Mutex::new(Some(handle)), factory })
}

/// A recording contains definitions as they were before an ALTER, so secrets in clear would be recorded.
fn refuse_secrets(coordinator: &Coordinator, factory: &dyn PipelineFactory) -> Result<()> {
    let pipelines = coordinator.published().catalog.pipelines.values();
    let named: Vec<&str> =
        pipelines.filter(|p| factory.has_secret(&p.definition_sql)).map(|p| p.name.as_str()).collect();
    if named.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "nothing can be recorded while an older version's definitions have their credentials in clear ({}); start without \
             a recording, ALTER PIPELINE … SET CREDENTIALS of each, and start again",
            named.join(", ")
        ),
    ))
}

struct Recovered<S: Storage> {
    writer: LogWriter<S>,
    coordinator: Coordinator,
    shards: Shards,
    term: TermStart,
}

/// Reads the log back, or creates a new one.
fn recover<S: Storage>(
    mut storage: S,
    config: &EngineConfig,
    clock: Clock,
    cores: usize,
    inbox: Sender<Message>,
) -> Result<Recovered<S>> {
    let begun = Instant::now();
    let log_bytes = storage.log_files()?.iter().map(|(_, len)| len).sum();
    let mut replay = Replay {
        recovery: Recovery::new(),
        shards: None,
        last: None,
        shards_wanted: config.shards,
        cores,
        inbox,
        progress: Progress::new(config.on_recovery.clone(), log_bytes),
    };
    let mut visit = |record: Record| replay.visit(record);
    let now_us = clock.now_us();
    let Opened { writer, shard_count, torn_tail, .. } = if log::is_created(&mut storage)? {
        log::open(storage, now_us, config.log_file_bytes, &mut visit)?
    } else {
        let shard_count = config.shards.unwrap_or(SHARDS_DEFAULT);
        log::create(storage, new_identity()?, shard_count, now_us, config.log_file_bytes, &mut visit)?
    };
    if let Some(torn) = torn_tail {
        tracing::warn!(
            ?torn,
            "the log ends in an incomplete record, as after a crash during a write; the torn tail was removed"
        );
    }
    let (shards, open) = replay.shards.zip(replay.last).expect("the open record was visited");
    let views = shards.recovered()?;
    let now_us = clock.now_us();
    let coordinator = replay.recovery.finish(config.kernel.clone(), now_us, &open, views)?;
    tracing::info!(sequence = open.sequence.0, shard_count, elapsed = ?begun.elapsed(), "database open");
    let term = TermStart {
        database: writer.database(),
        term: writer.term(),
        shard_count,
        open: open.sequence,
        now_us,
        config: config.kernel.clone(),
    };
    Ok(Recovered { writer, coordinator, shards, term })
}

/// Takes the records as they are read: catalog and cursors here, in order, the rows on the shards' threads.
struct Replay {
    recovery: Recovery,
    /// Started by the first `open` record, which contains the shard count.
    shards: Option<Shards>,
    /// The last record, without its rows.
    last: Option<Record>,
    shards_wanted: Option<u16>,
    cores: usize,
    inbox: Sender<Message>,
    progress: Progress,
}

impl Replay {
    fn visit(&mut self, mut record: Record) -> Result<()> {
        if self.shards.is_none() {
            self.start_shards(&record)?;
        }
        self.recovery.replay(&record)?;
        if let Body::Commit(_, commit) = &mut record.body {
            let outcomes = std::mem::take(&mut commit.outcomes);
            self.progress.advance(&outcomes);
            let shards = self.shards.as_ref().expect("started by the first record");
            shards.replay(record.sequence, commit.catalog.clone(), outcomes)?;
        }
        self.last = Some(record);
        Ok(())
    }

    fn start_shards(&mut self, record: &Record) -> Result<()> {
        let Body::Open(open) = &record.body else {
            return Err(Error::new(SqlState::DATA_CORRUPTED, "the log does not begin with an open record"));
        };
        let count = open.shard_count;
        if let Some(wanted) = self.shards_wanted.filter(|wanted| *wanted != count) {
            return Err(Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!(
                    "the database was created with {count} shards, which is fixed, and cannot be opened with {wanted}; \
                     leave the number of shards out, or choose another data directory"
                ),
            ));
        }
        self.shards = Some(Shards::start(count, self.cores, self.inbox.clone()));
        Ok(())
    }
}

/// Reports the progress of a recovery once per interval.
struct Progress {
    on_recovery: OnRecovery,
    read_bytes: u64,
    log_bytes: u64,
    told: Instant,
}

impl Progress {
    fn new(on_recovery: OnRecovery, log_bytes: u64) -> Progress {
        Progress { on_recovery, read_bytes: 0, log_bytes, told: Instant::now() }
    }

    fn advance(&mut self, outcomes: &[Vec<Bytes>]) {
        self.read_bytes += outcomes.iter().flatten().map(|outcome| outcome.len() as u64).sum::<u64>();
        if self.told.elapsed() >= PROGRESS_INTERVAL {
            self.told = Instant::now();
            tracing::info!(read_bytes = self.read_bytes, log_bytes = self.log_bytes, "recovering");
            (self.on_recovery)(self.read_bytes, self.log_bytes);
        }
    }
}

/// A random identity for a new database.
fn new_identity() -> Result<[u8; 16]> {
    let mut identity = [0; 16];
    let filled = rustix::rand::getrandom(&mut identity, rustix::rand::GetRandomFlags::empty());
    match filled {
        Ok(16) => Ok(identity),
        other => Err(Error::new(SqlState::IO_ERROR, format!("no random bytes to be had: {other:?}"))),
    }
}
