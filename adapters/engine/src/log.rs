//! The log thread: appends as records come, and makes all that has come durable with one sync.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use kernel::log::{LogWriter, Storage};
use kernel::record::EncodedRecord;
use kernel::{Input, Result};

use crate::coordinator::Message;
use crate::threads;
use crate::trace::Trace;

enum Command {
    Append(EncodedRecord),
    Sync,
}

/// The coordinator thread's end of the log. What waits here is bounded by `Config::unsynced_records_max`.
pub(crate) struct Log {
    commands: Sender<Command>,
    thread: JoinHandle<()>,
}

impl Log {
    pub(crate) fn start<S: Storage + Send + 'static>(
        writer: LogWriter<S>,
        inbox: Sender<Message>,
        trace: Arc<Trace>,
    ) -> Log {
        let (commands, waiting) = channel();
        let panic_inbox = inbox.clone();
        let thread = threads::spawn_guarded(
            "log",
            move || run(writer, waiting, inbox, &trace),
            move |panic| Message::broken_invariant(&panic_inbox, panic),
        );
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
        drop(self.commands);
        let _ = self.thread.join();
    }
}

/// After a failure the log is never touched again: the thread ends and leaves what waits.
fn run<S: Storage>(
    mut writer: LogWriter<S>,
    commands: Receiver<Command>,
    inbox: Sender<Message>,
    trace: &Trace,
) {
    while let Ok(first) = commands.recv() {
        if let Err(error) = group(&mut writer, first, &commands, &inbox, trace) {
            let _ = inbox.send(Message::Input(Input::LogFailed { error }));
            return;
        }
    }
    if writer.durable() < writer.last()
        && let Err(error) = writer.sync()
    {
        let _ = inbox.send(Message::Input(Input::LogFailed { error }));
    }
}

/// Appends everything that waits, then syncs once if any of it asks for that.
fn group<S: Storage>(
    writer: &mut LogWriter<S>,
    first: Command,
    commands: &Receiver<Command>,
    inbox: &Sender<Message>,
    trace: &Trace,
) -> Result<()> {
    let mut sync = false;
    let mut next = Some(first);
    while let Some(command) = next {
        match command {
            Command::Append(record) => {
                writer.append(&record)?;
                trace.appended(record.sequence);
            }
            Command::Sync => sync = true,
        }
        next = commands.try_recv().ok();
    }
    if sync {
        let through = writer.sync()?;
        trace.synced(through);
        let _ = inbox.send(Message::Input(Input::Synced { through }));
    }
    Ok(())
}
