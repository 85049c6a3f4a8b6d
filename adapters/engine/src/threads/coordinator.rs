//! The coordinator's thread: hands the kernel one input at a time. `effects` carries out what comes of it.

use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use kernel::schema::Catalog;
use kernel::{Coordinator, Error, Input, Request, RequestId, Result, SqlState};
use tokio::sync::oneshot;

use crate::ports::clock::Clock;
use crate::ports::config::OnHalt;
use crate::ports::inbox::{Answer, Message, outcome_unknown};
use crate::threads::effects::{EffectHost, Threads, Waiting};

/// Longest time without an input: the kernel gets the time at least this often.
const TICK: Duration = Duration::from_millis(500);

/// How long a changing statement waits for disk space, once its record finds none. Then its outcome is reported as
/// unknown: the record still waits, and is written when there is space.
const ROOM_WAIT: Duration = Duration::from_secs(5);

/// All that the coordinator's thread needs.
pub(crate) struct CoordinatorThread {
    pub coordinator: Coordinator,
    pub inbox: Receiver<Message>,
    pub threads: Threads,
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

/// The thread's own state.
struct Executor {
    coordinator: Coordinator,
    host: EffectHost,
    inbox: Receiver<Message>,
    clock: Clock,
    last_request: u64,
    room: Room,
    /// Since when the log has a record without space.
    no_room_since: Option<Instant>,
}

impl CoordinatorThread {
    /// Runs until the database is stopped or halts.
    pub(crate) fn run(self) {
        let CoordinatorThread { coordinator, inbox, threads, clock, on_halt } = self;
        let status = threads.status.clone();
        let mut executor = Executor {
            coordinator,
            host: EffectHost::new(threads),
            inbox,
            clock,
            last_request: 0,
            room: Room { reserve: true, log: true },
            no_room_since: None,
        };
        let ended = executor.run();
        if let Err(error) = &ended {
            let _ = status.stopped.set(error.clone());
        }
        status.published.close();
        let Executor { coordinator, host, .. } = executor;
        host.end(ended.is_ok(), coordinator.published());
        if let Err(error) = ended {
            on_halt(&error);
        }
    }
}

impl Executor {
    /// Runs until the database is stopped; the error is the reason of a halt.
    fn run(&mut self) -> Result<()> {
        let threads = &self.host.threads;
        threads.trace.published(&Catalog::default(), &threads.status.catalog());
        kernel::carry_out(&mut self.coordinator, &mut self.host)?;
        while !self.is_finished() {
            let (clock, wake_at_us) = (self.clock, self.host.wake_at_us);
            let wait = wake_at_us.map_or(TICK, |at_us| clock.until(at_us).min(TICK));
            self.give_up_on_room();
            match self.inbox.recv_timeout(wait) {
                Ok(message) => self.take(message)?,
                Err(RecvTimeoutError::Timeout) => {
                    self.host.wake_at_us = wake_at_us.filter(|at_us| *at_us > clock.now_us());
                    self.feed(Input::Tick)?;
                }
                Err(RecvTimeoutError::Disconnected) => unreachable!("this thread holds a sender itself"),
            }
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<()> {
        match message {
            Message::Input(input) => {
                self.host.note(&input);
                self.feed(input)
            }
            Message::Extracted(extract, waiting) => {
                waiting.fetch_sub(1, Ordering::AcqRel);
                self.host.threads.status.pipeline(extract.pipeline).extracted(&extract);
                self.feed(Input::Extracted(*extract))
            }
            Message::Request { request, answer } => self.ask(request, answer),
            Message::Release(request) => {
                let id = self.next_request();
                self.feed(Input::Request { id, request })
            }
            Message::DiskSpace { sufficient } => self.room(Room { reserve: sufficient, ..self.room }),
            Message::LogSpace { sufficient } => self.room(Room { log: sufficient, ..self.room }),
            Message::Broken(error) => Err(error),
            Message::Stop => {
                self.host.begin_stop();
                Ok(())
            }
        }
    }

    /// One of them missing makes the database read-only; both are needed to write again.
    fn room(&mut self, room: Room) -> Result<()> {
        let before = std::mem::replace(&mut self.room, room);
        self.no_room_since =
            if room.log { None } else { self.no_room_since.or_else(|| Some(Instant::now())) };
        if before.is_sufficient() != room.is_sufficient() {
            self.feed(Input::DiskSpace { sufficient: room.is_sufficient() })?;
        }
        Ok(())
    }

    /// Ends the wait of statements that wait too long for disk space.
    fn give_up_on_room(&mut self) {
        if self.no_room_since.is_none_or(|since| since.elapsed() < ROOM_WAIT) {
            return;
        }
        let full = Error::new(SqlState::DISK_FULL, "the disk is full, so the database is read-only");
        let late = |_: &RequestId, waiting: &mut Waiting| waiting.since.elapsed() >= ROOM_WAIT;
        for (_, waiting) in self.host.answers.extract_if(late) {
            let error = if waiting.for_change { outcome_unknown(&full) } else { full.clone() };
            let _ = waiting.answer.send(Err(error));
        }
    }

    /// One input, then all of its effects (duty 2).
    fn feed(&mut self, input: Input) -> Result<()> {
        self.handle(input)?;
        let recording = &mut self.host.threads.recording;
        if recording.quiesce_if_wanted(self.clock.now_us(), &mut self.coordinator) {
            self.handle(Input::Tick)?;
        }
        Ok(())
    }

    fn handle(&mut self, input: Input) -> Result<()> {
        let now_us = self.clock.now_us();
        self.host.threads.recording.input(now_us, &input, &self.coordinator);
        kernel::drive(&mut self.coordinator, now_us, input, &mut self.host)
    }

    fn ask(&mut self, request: Request, answer: oneshot::Sender<Result<Answer>>) -> Result<()> {
        if self.host.stop_by.is_some() {
            let _ = answer.send(Err(self.host.threads.status.why_stopped()));
            return Ok(());
        }
        let id = self.next_request();
        let for_change = matches!(request, Request::Write(_) | Request::Define(_));
        self.host.answers.insert(id, Waiting { answer, for_change, since: Instant::now() });
        self.feed(Input::Request { id, request })
    }

    fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    fn is_finished(&self) -> bool {
        let Some(stop_by) = self.host.stop_by else { return false };
        let (staged, _) = self.coordinator.staged_and_durable();
        self.coordinator.published().sequence == staged || Instant::now() >= stop_by
    }
}
