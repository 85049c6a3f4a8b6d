//! The thread that opens and verifies a pipeline's source in one epoch, and the coordinator thread's end of it.

use kernel::message::SplitStart;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use kernel::message::SourceFailure;
use kernel::{Epoch, Error, Input, SqlState};

use super::context::{SourceContext, SourceSpec};
use super::credit::CreditWindow;
use super::reader::ReaderThread;
use crate::ports::inbox::Message;
use crate::ports::pipeline::OpenSource;
use crate::ports::spawn;

enum Command {
    Fetch(Vec<SplitStart>),
    Verify(u64),
}

/// The coordinator thread's end of a source.
pub(crate) struct SourceHandle {
    epoch: Epoch,
    commands: Sender<Command>,
    credit: Arc<CreditWindow>,
    source: OpenSource,
    thread: Option<JoinHandle<()>>,
}

impl SourceHandle {
    /// Begins to open the source; the answer goes to the coordinator's inbox.
    pub(crate) fn open(context: SourceContext, spec: SourceSpec) -> SourceHandle {
        let (commands, inbox) = channel();
        let credit = Arc::new(CreditWindow::default());
        let source = Arc::new(OnceLock::new());
        let epoch = spec.epoch;
        let control = ControlThread {
            context,
            spec,
            commands: inbox,
            credit: credit.clone(),
            source: source.clone(),
            readers: vec![],
            next_reader: 0,
        };
        let name = format!("source-{}", control.spec.pipeline.id);
        let panicked = control.panicked();
        let thread = spawn::spawn_guarded(&name, move || control.run(), panicked);
        SourceHandle { epoch, commands, credit, source, thread: Some(thread) }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn fetch(&self, starts: Vec<SplitStart>) {
        // The thread has ended only if it has failed, and then it has reported the failure.
        let _ = self.commands.send(Command::Fetch(starts));
    }

    pub(crate) fn verify(&self, token: u64) {
        let _ = self.commands.send(Command::Verify(token));
    }

    pub(crate) fn grant(&self, bytes: u64) {
        self.credit.grant(bytes);
    }

    /// Where lag is read from; empty until the source is open.
    pub(crate) fn source(&self) -> OpenSource {
        self.source.clone()
    }

    /// Ends the epoch without waiting; the thread ends when its last call to the broker returns.
    pub(crate) fn close(mut self) -> JoinHandle<()> {
        self.credit.close();
        self.thread.take().expect("joined only here")
    }
}

/// Opens and verifies; starts the readers.
struct ControlThread {
    context: SourceContext,
    spec: SourceSpec,
    commands: Receiver<Command>,
    credit: Arc<CreditWindow>,
    source: OpenSource,
    readers: Vec<(Sender<SplitStart>, JoinHandle<()>)>,
    next_reader: usize,
}

impl ControlThread {
    /// Runs until the handle is dropped.
    fn run(mut self) {
        match self.open() {
            Err(failure) => self.fail(failure),
            Ok(()) => {
                while let Ok(command) = self.commands.recv() {
                    match command {
                        Command::Fetch(starts) => self.fetch(starts),
                        Command::Verify(token) => self.verify(token),
                    }
                }
            }
        }
        self.credit.close();
        for (commands, thread) in self.readers {
            drop(commands);
            let _ = thread.join();
        }
    }

    fn open(&mut self) -> Result<(), SourceFailure> {
        let definition = &self.spec.pipeline.definition_sql;
        let source = self.context.factory.source(definition)?;
        let metadata = source.read()?;
        let _ = self.source.set(source);
        let (pipeline, epoch) = (self.spec.pipeline.id, self.spec.epoch);
        self.send(Input::SourceOpened { pipeline, epoch, metadata });
        Ok(())
    }

    fn verify(&mut self, token: u64) {
        let source = self.source.get().expect("verified only after it was opened");
        let (pipeline, epoch) = (self.spec.pipeline.id, self.spec.epoch);
        match source.verify() {
            Ok(metadata) => self.send(Input::SourceVerified { pipeline, epoch, token, metadata }),
            Err(failure) => self.fail(failure),
        }
    }

    /// Deals the splits out to the readers in turn.
    fn fetch(&mut self, starts: Vec<SplitStart>) {
        for start in starts {
            if self.readers.len() < self.context.reader_threads_max {
                self.readers.push(self.start_reader());
            }
            let (commands, _) = &self.readers[self.next_reader % self.readers.len()];
            self.next_reader += 1;
            let _ = commands.send(start);
        }
        // Wakes the readers that wait for messages: they look for commands, too.
        self.credit.arrived();
    }

    fn start_reader(&self) -> (Sender<SplitStart>, JoinHandle<()>) {
        let (commands, inbox) = channel();
        let source = self.source.get().expect("fetched only after it was opened").clone();
        let reader =
            ReaderThread::new(self.context.clone(), self.spec.clone(), source, self.credit.clone(), inbox);
        let name = format!("extract-{}-{}", self.spec.pipeline.id, self.readers.len());
        (commands, spawn::spawn_guarded(&name, move || reader.run(), self.panicked()))
    }

    /// A panic here stops the pipeline and nothing else: the threads of a source own nothing that other threads use.
    fn panicked(&self) -> impl FnOnce(String) + Send + 'static {
        let (pipeline, epoch) = (self.spec.pipeline.id, self.spec.epoch);
        let inbox = self.context.inbox.clone();
        move |panic| {
            let failure = SourceFailure::Permanent(Error::new(SqlState::INTERNAL_ERROR, panic));
            let _ = inbox.send(Message::Input(Input::SourceFailed { pipeline, epoch, failure }));
        }
    }

    fn fail(&self, failure: SourceFailure) {
        let (pipeline, epoch) = (self.spec.pipeline.id, self.spec.epoch);
        self.send(Input::SourceFailed { pipeline, epoch, failure });
    }

    fn send(&self, input: Input) {
        // The coordinator has ended only at the end of the process.
        let _ = self.context.inbox.send(Message::Input(input));
    }
}
