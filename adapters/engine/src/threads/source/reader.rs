//! A thread that reads and extracts some of a pipeline's source partitions.

use kernel::message::SplitStart;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use kernel::message::SourceFailure;
use kernel::source::Source;
use kernel::{Extract, Input};

use super::context::{SourceContext, SourceSpec};
use super::credit::CreditWindow;
use super::worker::{PartitionWorker, Step};
use crate::ports::inbox::Message;
use crate::ports::pipeline::ExtractorSpec;

/// How long a thread with one partition waits at its end, and the longest delay until it notices a stop.
const LONE_POLL: Duration = Duration::from_millis(50);

/// How long a thread with several partitions, all at their ends, waits at one of them: the longest delay of a message
/// on another one.
const SHARED_POLL: Duration = Duration::from_millis(1);

/// How long a thread waits at the ends of partitions whose readers announce messages: an announcement wakes it at once.
const ANNOUNCED_POLL: Duration = Duration::from_millis(500);

/// How long a thread without credit waits; credit wakes it at once.
const HELD_BACK_WAIT: Duration = Duration::from_millis(1);

pub(super) struct ReaderThread {
    context: SourceContext,
    spec: SourceSpec,
    source: Arc<dyn Source>,
    credit: Arc<CreditWindow>,
    commands: Receiver<SplitStart>,
    workers: Vec<PartitionWorker>,
}

impl ReaderThread {
    pub(super) fn new(
        context: SourceContext,
        spec: SourceSpec,
        source: Arc<dyn Source>,
        credit: Arc<CreditWindow>,
        commands: Receiver<SplitStart>,
    ) -> ReaderThread {
        ReaderThread { context, spec, source, credit, commands, workers: vec![] }
    }

    /// Runs until the epoch ends or the source fails.
    pub(super) fn run(mut self) {
        if let Err(failure) = self.read_on() {
            let (pipeline, epoch) = (self.spec.pipeline.id, self.spec.epoch);
            let _ = self.context.inbox.send(Message::Input(Input::SourceFailed { pipeline, epoch, failure }));
        }
    }

    fn read_on(&mut self) -> Result<(), SourceFailure> {
        let mut waits_at = 0;
        while self.take_commands()? {
            let arrivals = self.credit.arrivals();
            let (mut quiet, mut idle, mut held_back) = (true, true, true);
            for index in 0..self.workers.len() {
                let step = self.step(index, Duration::ZERO)?;
                quiet &= step != Step::Busy;
                idle &= step == Step::Idle;
                held_back &= step == Step::HeldBack;
            }
            if held_back {
                self.credit.wait(HELD_BACK_WAIT);
            } else if idle && self.workers.iter().all(PartitionWorker::announces) {
                self.credit.wait_for_arrival(arrivals, ANNOUNCED_POLL);
            } else if quiet {
                waits_at = (waits_at + 1) % self.workers.len();
                let timeout = if self.workers.len() == 1 { LONE_POLL } else { SHARED_POLL };
                if self.step(waits_at, timeout)? == Step::HeldBack {
                    self.credit.wait(HELD_BACK_WAIT);
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, index: usize, timeout: Duration) -> Result<Step, SourceFailure> {
        let now_us = self.context.clock.now_us();
        let inbox = &self.context.inbox;
        let mut hand_in = |extract, waiting| hand_in(inbox, extract, waiting);
        let worker = &mut self.workers[index];
        worker.step(&*self.source, &self.credit, self.context.chunk_bytes, timeout, now_us, &mut hand_in)
    }

    /// Takes new partitions, waiting for the first. False when the epoch is over.
    fn take_commands(&mut self) -> Result<bool, SourceFailure> {
        loop {
            if self.credit.is_closed() {
                return Ok(false);
            }
            if self.workers.is_empty() {
                match self.commands.recv_timeout(LONE_POLL) {
                    Ok(command) => self.begin(command)?,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return Ok(false),
                }
            }
            match self.commands.try_recv() {
                Ok(command) => self.begin(command)?,
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    fn begin(&mut self, start: SplitStart) -> Result<(), SourceFailure> {
        let spec = ExtractorSpec {
            pipeline: self.spec.pipeline.clone(),
            table: self.spec.table.clone(),
            shard_count: self.context.shard_count,
            epoch: self.spec.epoch,
            split: start.split,
            start: start.position,
        };
        let extractor = self.context.factory.extractor(spec).map_err(SourceFailure::Permanent)?;
        self.workers.retain(|worker| worker.split != start.name);
        let credit = self.credit.clone();
        self.workers.push(PartitionWorker::new(start.name, extractor, Arc::new(move || credit.arrived())));
        Ok(())
    }
}

/// Sends an extract to the coordinator's inbox. The pipeline's credit, and the number of a partition's waiting
/// extracts, bound it.
fn hand_in(inbox: &Sender<Message>, extract: Extract, waiting: Arc<AtomicUsize>) {
    if let Err(refused) = inbox.send(Message::Extracted(Box::new(extract), waiting)) {
        // The process is about to end; the count must still be right.
        if let Message::Extracted(_, waiting) = refused.0 {
            waiting.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
