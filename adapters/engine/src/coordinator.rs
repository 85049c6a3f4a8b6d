//! The coordinator's thread: hands the kernel one input at a time and executes its effects on the other threads, in the
//! order that the kernel's documentation demands.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kernel::schema::Catalog;
use kernel::{
    Coordinator, Effect, Epoch, Error, Extract, Input, PipelineId, Request, RequestId, Response, Result,
    SqlState,
};
use tokio::sync::oneshot;

use crate::api::{Answer, TableLockGuard, outcome_unknown};
use crate::clock::Clock;
use crate::config::OnHalt;
use crate::disk::DiskWatch;
use crate::log::Log;
use crate::recording::Recording;
use crate::shards::Shards;
use crate::source::{SourceContext, SourceHandle, SourceSpec};
use crate::status::Status;
use crate::trace::Trace;

/// Longest time without an input: the kernel gets the time at least this often.
const TICK: Duration = Duration::from_millis(500);

/// How long a changing statement waits for disk space, once its record finds none. Then its outcome is reported as
/// unknown: the record still waits, and is written when there is space.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// How long a clean stop waits for what is staged to become durable, and for sources to disconnect.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// A message in the coordinator's inbox. The senders bound their number: shards and log answer commands, whose number
/// the kernel bounds; extracts are bounded by credit; and each client waits for its answer.
pub(crate) enum Message {
    Input(Input),
    /// An extract, and the count of its partition's extracts that wait here.
    Extracted(Box<Extract>, Arc<AtomicUsize>),
    Request {
        request: Request,
        answer: oneshot::Sender<Result<Answer>>,
    },
    /// A release. It has no answer.
    Release(Request),
    /// From the disk watch: whether the reserve is free.
    DiskSpace {
        sufficient: bool,
    },
    /// From the log: whether there was space for the record to append.
    LogSpace {
        sufficient: bool,
    },
    /// A broken invariant: the process must not continue.
    Broken(Error),
    /// A clean stop.
    Stop,
}

impl Message {
    /// Reports that a thread of the database has panicked.
    pub(crate) fn broken_invariant(inbox: &Sender<Message>, panic: String) {
        let _ = inbox.send(Message::Broken(Error::new(SqlState::INTERNAL_ERROR, panic)));
    }
}

/// All that the coordinator's thread owns.
pub(crate) struct CoordinatorThread {
    pub coordinator: Coordinator,
    pub inbox: Receiver<Message>,
    /// To the same inbox: for guards, which release table locks.
    pub sender: Sender<Message>,
    pub shards: Shards,
    pub log: Log,
    pub disk: Option<DiskWatch>,
    pub sources: SourceContext,
    pub status: Arc<Status>,
    pub trace: Arc<Trace>,
    pub recording: Recording,
    pub clock: Clock,
    pub on_halt: OnHalt,
}

/// Whether there is disk space, according to the disk watch and the log.
#[derive(Clone, Copy)]
struct Room {
    reserve: bool,
    log: bool,
}

impl Room {
    fn is_sufficient(self) -> bool {
        self.reserve && self.log
    }
}

/// A client that waits.
struct Waiting {
    answer: oneshot::Sender<Result<Answer>>,
    /// For a change, which may be in a record in flight.
    for_change: bool,
    since: Instant,
}

/// How the thread ended.
enum End {
    Stopped,
    Halted(Error),
}

/// The thread's own state.
struct EffectExecutor {
    threads: CoordinatorThread,
    open: BTreeMap<PipelineId, SourceHandle>,
    /// Sources that were closed and may not have disconnected yet.
    closing: Vec<JoinHandle<()>>,
    answers: HashMap<RequestId, Waiting>,
    last_request: u64,
    room: Room,
    /// Since when the log has a record without space.
    no_room_since: Option<Instant>,
    wake_at_us: Option<i64>,
    stop_by: Option<Instant>,
    halted: Option<Error>,
}

impl CoordinatorThread {
    /// Runs until the database is stopped or halts.
    pub(crate) fn run(self) {
        let (status, on_halt) = (self.status.clone(), self.on_halt.clone());
        let mut executor = EffectExecutor {
            threads: self,
            open: BTreeMap::new(),
            closing: vec![],
            answers: HashMap::new(),
            last_request: 0,
            room: Room { reserve: true, log: true },
            no_room_since: None,
            wake_at_us: None,
            stop_by: None,
            halted: None,
        };
        let end = executor.run();
        if let End::Halted(error) = &end {
            let _ = status.stopped.set(error.clone());
        }
        status.published.close();
        executor.end(matches!(end, End::Stopped));
        if let End::Halted(error) = end {
            on_halt(&error);
        }
    }
}

impl EffectExecutor {
    fn run(&mut self) -> End {
        self.threads.trace.published(&Catalog::default(), &self.threads.status.catalog());
        self.drain();
        loop {
            if let Some(error) = self.halted.take() {
                return End::Halted(error);
            }
            if self.is_finished() {
                return End::Stopped;
            }
            let wait = self.wake_at_us.map_or(TICK, |at_us| self.threads.clock.until(at_us).min(TICK));
            self.give_up_on_room();
            match self.threads.inbox.recv_timeout(wait) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {
                    self.wake_at_us = self.wake_at_us.filter(|at_us| *at_us > self.threads.clock.now_us());
                    self.feed(Input::Tick);
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("this thread holds a sender itself"),
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Input(input) => {
                self.note(&input);
                self.feed(input);
            }
            Message::Extracted(extract, waiting) => {
                waiting.fetch_sub(1, Ordering::AcqRel);
                self.threads.status.pipeline(extract.pipeline).extracted(&extract);
                self.feed(Input::Extracted(*extract));
            }
            Message::Request { request, answer } => self.ask(request, answer),
            Message::Release(request) => {
                let id = self.next_request();
                self.feed(Input::Request { id, request });
            }
            Message::DiskSpace { sufficient } => self.room(Room { reserve: sufficient, ..self.room }),
            Message::LogSpace { sufficient } => self.room(Room { log: sufficient, ..self.room }),
            Message::Broken(error) => self.halted = Some(error),
            Message::Stop => self.begin_stop(),
        }
    }

    /// One of them missing makes the database read-only; both are needed to write again.
    fn room(&mut self, room: Room) {
        let before = std::mem::replace(&mut self.room, room);
        self.no_room_since =
            if room.log { None } else { self.no_room_since.or_else(|| Some(Instant::now())) };
        if before.is_sufficient() != room.is_sufficient() {
            self.feed(Input::DiskSpace { sufficient: room.is_sufficient() });
        }
    }

    /// Ends the wait of statements that wait too long for disk space.
    fn give_up_on_room(&mut self) {
        if self.no_room_since.is_none_or(|since| since.elapsed() < ROOM_WAIT) {
            return;
        }
        let full = Error::new(SqlState::DISK_FULL, "the disk is full, so the database is read-only");
        let late = |_: &RequestId, waiting: &mut Waiting| waiting.since.elapsed() >= ROOM_WAIT;
        for (_, waiting) in self.answers.extract_if(late) {
            let error = if waiting.for_change { outcome_unknown(&full) } else { full.clone() };
            let _ = waiting.answer.send(Err(error));
        }
    }

    /// One input, then all of its effects (duty 2).
    fn feed(&mut self, input: Input) {
        self.handle(input);
        let CoordinatorThread { coordinator, recording, clock, .. } = &mut self.threads;
        if self.halted.is_none() && recording.quiesce_if_wanted(clock.now_us(), coordinator) {
            self.handle(Input::Tick);
        }
    }

    fn handle(&mut self, input: Input) {
        let CoordinatorThread { coordinator, recording, clock, .. } = &mut self.threads;
        let now_us = clock.now_us();
        recording.input(now_us, &input, coordinator);
        coordinator.handle(now_us, input);
        self.drain();
    }

    fn ask(&mut self, request: Request, answer: oneshot::Sender<Result<Answer>>) {
        if self.stop_by.is_some() {
            let _ = answer.send(Err(self.threads.status.why_stopped()));
            return;
        }
        let id = self.next_request();
        let for_change = matches!(request, Request::Write(_) | Request::Define(_));
        self.answers.insert(id, Waiting { answer, for_change, since: Instant::now() });
        self.feed(Input::Request { id, request });
    }

    fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    /// Stores the sources' messages for the status views.
    fn note(&self, input: &Input) {
        if let Input::SourceOpened { pipeline, epoch, metadata } = input
            && self.open.get(pipeline).is_some_and(|source| source.epoch() == *epoch)
        {
            self.threads.status.pipeline(*pipeline).source_read(metadata);
        }
    }

    fn drain(&mut self) {
        while let Some(effect) = self.threads.coordinator.poll_effect() {
            self.carry(effect);
            if self.halted.is_some() {
                return;
            }
        }
    }

    fn carry(&mut self, effect: Effect) {
        let threads = &mut self.threads;
        threads.recording.effect(&effect);
        match effect {
            Effect::Shard { shard, command } => threads.shards.command(shard, command),
            Effect::Append(record) => {
                threads.trace.staged(&record);
                threads.log.append(record);
            }
            Effect::Sync => threads.log.sync(),
            Effect::SourceOpen { pipeline: _, epoch, definition, table } => {
                self.open_source(SourceSpec { pipeline: definition, table, epoch });
            }
            Effect::Fetch { pipeline, epoch, starts } => {
                threads.trace.fetch(pipeline, epoch, &starts);
                self.with_source(pipeline, epoch, |source| source.fetch(starts));
            }
            Effect::Credit { pipeline, epoch, bytes } => {
                self.with_source(pipeline, epoch, |source| source.grant(bytes));
            }
            Effect::SourceVerify { pipeline, epoch, token } => {
                self.with_source(pipeline, epoch, |source| source.verify(token));
            }
            Effect::SourceClose { pipeline, epoch } => self.close_source(pipeline, epoch),
            Effect::Publish(snapshot) => {
                threads.trace.published(&threads.status.catalog(), &snapshot.catalog);
                threads.status.publish(snapshot);
            }
            Effect::Reply { id, result } => self.reply(id, result),
            Effect::WakeAt(at_us) => self.wake_at_us = Some(at_us),
            Effect::Event { pipeline, text, error } => {
                if let (Some(pipeline), Some(error)) = (pipeline, error) {
                    threads.status.pipeline(pipeline).source_failed(error);
                }
                // Failed sources, stopped pipelines, a full disk: an operator who logs only warnings needs these.
                tracing::warn!(pipeline = pipeline.map(|id| id.0), "{text}");
            }
            Effect::Halt(error) => self.halted = Some(error),
        }
    }

    /// Table locks are sent as guards, so that they are released even if the client no longer waits.
    fn reply(&mut self, id: RequestId, result: Result<Response>) {
        let sender = &self.threads.sender;
        let answer = result.map(|response| match response {
            Response::Done(counts) => Answer::Done(counts),
            Response::TableLock { table_lock, snapshot } => {
                Answer::TableLock(TableLockGuard::new(table_lock, snapshot, sender.clone()))
            }
        });
        if let Some(waiting) = self.answers.remove(&id) {
            let _ = waiting.answer.send(answer);
        }
    }

    fn with_source(&self, pipeline: PipelineId, epoch: Epoch, tell: impl FnOnce(&SourceHandle)) {
        let source = self.open.get(&pipeline).filter(|source| source.epoch() == epoch);
        assert!(
            source.is_some() || self.stop_by.is_some(),
            "the kernel names a source only between its SourceOpen and its SourceClose"
        );
        if let Some(source) = source {
            tell(source);
        }
    }

    fn open_source(&mut self, spec: SourceSpec) {
        if self.stop_by.is_some() {
            return;
        }
        let id = spec.pipeline.id;
        let source = SourceHandle::open(self.threads.sources.clone(), spec);
        self.threads.status.pipeline(id).source_opening(source.source());
        let before = self.open.insert(id, source);
        assert!(before.is_none(), "the kernel closes a source before it opens the next");
    }

    /// While the process stops, none is open.
    fn close_source(&mut self, pipeline: PipelineId, epoch: Epoch) {
        let source = self.open.remove(&pipeline);
        let is_open = source.as_ref().is_some_and(|source| source.epoch() == epoch);
        assert!(
            is_open || self.stop_by.is_some(),
            "the kernel closes an epoch once, and only what it opened"
        );
        if let Some(source) = source {
            self.threads.status.pipeline(pipeline).source_closed();
            self.closing.retain(|thread| !thread.is_finished());
            self.closing.push(source.close());
        }
    }

    /// From here on new requests are refused; staged records become durable.
    fn begin_stop(&mut self) {
        if self.stop_by.is_none() {
            self.stop_by = Some(Instant::now() + STOP_WAIT);
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.closing.extend(open.into_values().map(SourceHandle::close));
    }

    fn is_finished(&self) -> bool {
        let Some(stop_by) = self.stop_by else { return false };
        let (staged, _) = self.threads.coordinator.staged_and_durable();
        self.threads.coordinator.published().sequence == staged || Instant::now() >= stop_by
    }

    /// Ends all threads. After a halt the log is not touched any more, and sources are not waited for.
    fn end(mut self, clean: bool) {
        self.hang_up();
        self.answers.clear();
        let CoordinatorThread { coordinator, shards, log, disk, recording, .. } = self.threads;
        if !clean {
            return;
        }
        shards.stop();
        log.stop();
        recording.finish(coordinator.published());
        if let Some(disk) = disk {
            disk.stop();
        }
        let give_up = Instant::now() + STOP_WAIT;
        while self.closing.iter().any(|thread| !thread.is_finished()) && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
