//! The log thread appends records as they arrive, and the sync thread makes them durable: records are appended while
//! the previous sync runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use kernel::log::{LogWriter, Storage, SyncPlan};
use kernel::record::EncodedRecord;
use kernel::{Input, Result};

use crate::ports::inbox::Message;
use crate::ports::spawn;
use crate::ports::trace::Trace;

/// How often an append without disk space is retried.
const ROOM_RETRY: Duration = Duration::from_millis(250);

/// Carries out a plan: all of its ranges are durable when it returns.
pub(crate) type Syncer = Box<dyn FnMut(&SyncPlan) -> Result<()> + Send>;

enum Command {
    Append(EncodedRecord),
    Sync,
    /// From the sync thread.
    Done(SyncPlan, Result<()>),
    /// Append and sync what is waiting, then end.
    Stop,
}

/// The coordinator thread's end of the log. `Config::unsynced_records_max` bounds the commands that wait here.
pub(crate) struct Log {
    commands: Sender<Command>,
    thread: JoinHandle<()>,
}

impl Log {
    pub(crate) fn start<S: Storage + Send + 'static>(
        writer: LogWriter<S>,
        syncer: Syncer,
        inbox: Sender<Message>,
        trace: Arc<Trace>,
    ) -> Log {
        let (commands, waiting) = channel();
        let panic_inbox = inbox.clone();
        let done = commands.clone();
        let run = move || {
            let (plans, planned) = channel();
            let sync_thread = start_sync_thread(syncer, planned, done, inbox.clone());
            let log = LogThread {
                writer,
                plans,
                inbox,
                trace,
                waiting_for_room: VecDeque::new(),
                under_way: false,
                wanted: false,
                stopping: false,
            };
            log.run(&waiting);
            let _ = sync_thread.join();
        };
        let thread = spawn::spawn_guarded("log", run, move |panic| {
            Message::broken_invariant(&panic_inbox, panic);
        });
        Log { commands, thread }
    }

    pub(crate) fn append(&self, record: EncodedRecord) {
        let _ = self.commands.send(Command::Append(record));
    }

    pub(crate) fn sync(&self) {
        let _ = self.commands.send(Command::Sync);
    }

    /// Appends and syncs what is waiting, then ends.
    pub(crate) fn stop(self) {
        let _ = self.commands.send(Command::Stop);
        let _ = self.thread.join();
    }
}

fn start_sync_thread(
    mut syncer: Syncer,
    planned: Receiver<SyncPlan>,
    done: Sender<Command>,
    inbox: Sender<Message>,
) -> JoinHandle<()> {
    let run = move || {
        for plan in planned {
            let outcome = syncer(&plan);
            let _ = done.send(Command::Done(plan, outcome));
        }
    };
    spawn::spawn_guarded("log-sync", run, move |panic| Message::broken_invariant(&inbox, panic))
}

struct LogThread<S: Storage> {
    writer: LogWriter<S>,
    plans: Sender<SyncPlan>,
    inbox: Sender<Message>,
    trace: Arc<Trace>,
    /// The record without disk space, and the records behind it. None of them was reported as appended.
    waiting_for_room: VecDeque<EncodedRecord>,
    /// A sync is under way; there is never more than one.
    under_way: bool,
    /// Another one is wanted after it.
    wanted: bool,
    stopping: bool,
}

impl<S: Storage> LogThread<S> {
    /// Runs until it is stopped or the log fails. After a failure the log is never touched again: waiting records are
    /// dropped.
    fn run(mut self, commands: &Receiver<Command>) {
        while let Some(command) = self.next_command(commands) {
            if let Err(error) = self.carry_out(command, commands) {
                let _ = self.inbox.send(Message::Input(Input::LogFailed { error }));
                return;
            }
            if self.stopping && !self.under_way {
                return;
            }
        }
    }

    /// Waits for a command. Inner None: time to retry the append. Outer None: there are no more senders.
    fn next_command(&self, commands: &Receiver<Command>) -> Option<Option<Command>> {
        if self.waiting_for_room.is_empty() {
            return commands.recv().ok().map(Some);
        }
        match commands.recv_timeout(ROOM_RETRY) {
            Ok(command) => Some(Some(command)),
            Err(RecvTimeoutError::Timeout) => Some(None),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    /// Appends, or keeps the record if the disk has no space for it. The coordinator then starts no more
    /// records, and those in flight wait. This is not a failure of the log: nothing was written, and nothing was
    /// reported as written.
    fn append(&mut self, record: EncodedRecord) -> Result<()> {
        if !self.waiting_for_room.is_empty() {
            self.waiting_for_room.push_back(record);
            return Ok(());
        }
        match self.writer.append(&record) {
            Ok(()) => self.trace.appended(record.sequence),
            Err(error) if self.writer.is_well() => {
                tracing::warn!(sequence = record.sequence.0, %error, "no disk space for the next log file: waiting for some");
                let _ = self.inbox.send(Message::LogSpace { sufficient: false });
                self.waiting_for_room.push_back(record);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Appends the waiting records if there is space now.
    fn append_waiting(&mut self) -> Result<()> {
        while let Some(record) = self.waiting_for_room.pop_front() {
            match self.writer.append(&record) {
                Ok(()) => self.trace.appended(record.sequence),
                Err(_) if self.writer.is_well() => {
                    self.waiting_for_room.push_front(record);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            if self.waiting_for_room.is_empty() {
                let _ = self.inbox.send(Message::LogSpace { sufficient: true });
            }
            self.wanted = true;
        }
        Ok(())
    }

    /// Executes this command and those that wait behind it; then at most one sync for all of them.
    fn carry_out(&mut self, first: Option<Command>, commands: &Receiver<Command>) -> Result<()> {
        if first.is_none() {
            self.append_waiting()?;
        }
        let mut next = first;
        while let Some(command) = next {
            match command {
                Command::Append(record) => self.append(record)?,
                Command::Sync => self.wanted = true,
                Command::Done(plan, outcome) => {
                    self.synced(&plan, outcome)?;
                    // The disk must not idle while more is copied into place.
                    self.sync_if_wanted()?;
                }
                Command::Stop => {
                    self.stopping = true;
                    self.writer.renew_manifest();
                    self.wanted |= self.writer.is_sync_due();
                }
            }
            next = commands.try_recv().ok();
        }
        self.sync_if_wanted()
    }

    /// The plan is made here, after the appends that it covers and before the sync begins.
    fn sync_if_wanted(&mut self) -> Result<()> {
        if self.wanted && !self.under_way {
            self.wanted = false;
            self.under_way = true;
            let _ = self.plans.send(self.writer.sync_plan()?);
        }
        Ok(())
    }

    fn synced(&mut self, plan: &SyncPlan, outcome: Result<()>) -> Result<()> {
        self.under_way = false;
        if let Err(error) = outcome {
            self.writer.sync_failed(error.clone());
            return Err(error);
        }
        self.writer.synced(plan)?;
        self.trace.synced(plan.through);
        let _ = self.inbox.send(Message::Input(Input::Synced { through: plan.through }));
        Ok(())
    }
}
