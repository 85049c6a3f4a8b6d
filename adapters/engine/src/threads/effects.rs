//! The coordinator's host: it carries effects out on the other threads, in the order in which they come.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use kernel::message::{ShardCommand, SplitStart};
use kernel::record::EncodedRecord;
use kernel::schema::{PipelineDef, TableDef};
use kernel::{
    Effect, Epoch, Error, Event, Host, Input, Micros, PipelineId, Request, RequestId, Response, Result,
    ShardId, Snapshot,
};
use tidemark_database::TableLockGuard;
use tokio::sync::oneshot;

use crate::ports::inbox::{Answer, Message};
use crate::ports::status::Status;
use crate::ports::trace::Trace;
use crate::threads::disk::DiskWatch;
use crate::threads::events;
use crate::threads::log::Log;
use crate::threads::recording::Recording;
use crate::threads::shards::Shards;
use crate::threads::source::{SourceContext, SourceHandle, SourceSpec};

/// How long a clean stop waits for what is staged to become durable, and for sources to disconnect.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// The other threads, and what is shared with them.
pub(crate) struct Threads {
    /// To the coordinator's inbox: for guards of table locks, which release them.
    pub sender: Sender<Message>,
    pub shards: Shards,
    pub log: Log,
    pub disk: Option<DiskWatch>,
    pub sources: SourceContext,
    pub status: Arc<Status>,
    pub trace: Arc<Trace>,
    pub recording: Recording,
}

/// A client that waits.
pub(crate) struct Waiting {
    pub answer: oneshot::Sender<Result<Answer>>,
    /// For a change, which may be in a record in flight.
    pub for_change: bool,
    pub since: Instant,
}

/// See the module.
pub(crate) struct EffectHost {
    pub threads: Threads,
    open: BTreeMap<PipelineId, SourceHandle>,
    /// Sources that were closed and may not have disconnected yet.
    closing: Vec<JoinHandle<()>>,
    pub answers: HashMap<RequestId, Waiting>,
    pub wake_at_us: Option<Micros>,
    /// Set when the database is being stopped.
    pub stop_by: Option<Instant>,
}

impl Host for EffectHost {
    /// The reason of a halt.
    type End = Error;

    fn before(&mut self, effect: &Effect) -> Result<()> {
        self.threads.recording.effect(effect);
        Ok(())
    }

    fn shard(&mut self, shard: ShardId, command: ShardCommand) -> Result<()> {
        self.threads.shards.command(shard, command);
        Ok(())
    }

    fn append(&mut self, record: EncodedRecord) -> Result<()> {
        self.threads.trace.staged(&record);
        self.threads.log.append(record);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.threads.log.sync();
        Ok(())
    }

    fn open_source(&mut self, epoch: Epoch, pipeline: Arc<PipelineDef>, table: Arc<TableDef>) -> Result<()> {
        if self.stop_by.is_some() {
            return Ok(());
        }
        let id = pipeline.id;
        let source = SourceHandle::open(self.threads.sources.clone(), SourceSpec { pipeline, table, epoch });
        self.threads.status.pipeline(id).source_opening(source.source());
        let before = self.open.insert(id, source);
        assert!(before.is_none(), "the kernel closes a source before it opens the next");
        Ok(())
    }

    fn fetch(&mut self, pipeline: PipelineId, epoch: Epoch, starts: Vec<SplitStart>) -> Result<()> {
        self.threads.trace.fetch(pipeline, epoch, &starts);
        self.with_source(pipeline, epoch, |source| source.fetch(starts));
        Ok(())
    }

    fn credit(&mut self, pipeline: PipelineId, epoch: Epoch, bytes: u64) -> Result<()> {
        self.with_source(pipeline, epoch, |source| source.grant(bytes));
        Ok(())
    }

    fn verify_source(&mut self, pipeline: PipelineId, epoch: Epoch, token: u64) -> Result<()> {
        self.with_source(pipeline, epoch, |source| source.verify(token));
        Ok(())
    }

    /// While the process stops, none is open.
    fn close_source(&mut self, pipeline: PipelineId, epoch: Epoch) -> Result<()> {
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
        Ok(())
    }

    fn publish(&mut self, snapshot: Snapshot) -> Result<()> {
        self.threads.trace.published(&self.threads.status.catalog(), &snapshot.catalog);
        self.threads.status.publish(snapshot);
        Ok(())
    }

    /// Table locks are sent as guards, so that they are released even if the client no longer waits.
    fn reply(&mut self, id: RequestId, result: Result<Response>) -> Result<()> {
        let sender = &self.threads.sender;
        let answer = result.map(|response| match response {
            Response::Done(counts) => Answer::Done(counts),
            Response::TableLock { table_lock, snapshot } => {
                let sender = sender.clone();
                // A database that has stopped holds nothing.
                let release =
                    move || drop(sender.send(Message::Release(Request::ReleaseTableLock(table_lock))));
                Answer::TableLock(TableLockGuard::new(table_lock, snapshot, release))
            }
        });
        if let Some(waiting) = self.answers.remove(&id) {
            let _ = waiting.answer.send(answer);
        }
        Ok(())
    }

    fn wake_at(&mut self, at_us: Micros) -> Result<()> {
        self.wake_at_us = Some(at_us);
        Ok(())
    }

    fn event(&mut self, event: Event) -> Result<()> {
        events::tell(&event);
        if let Event::SourceRetried { pipeline, pause_us: _, error } = event {
            self.threads.status.pipeline(pipeline).source_failed(error);
        }
        Ok(())
    }

    fn halt(&mut self, error: Error) -> Error {
        error
    }
}

impl EffectHost {
    pub(crate) fn new(threads: Threads) -> EffectHost {
        EffectHost {
            threads,
            open: BTreeMap::new(),
            closing: vec![],
            answers: HashMap::new(),
            wake_at_us: None,
            stop_by: None,
        }
    }

    /// Stores the sources' messages for the status views.
    pub(crate) fn note(&self, input: &Input) {
        if let Input::SourceOpened { pipeline, epoch, metadata } = input
            && self.open.get(pipeline).is_some_and(|source| source.epoch() == *epoch)
        {
            self.threads.status.pipeline(*pipeline).source_read(metadata);
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

    /// From here on new requests are refused; staged records become durable.
    pub(crate) fn begin_stop(&mut self) {
        if self.stop_by.is_none() {
            self.stop_by = Some(Instant::now() + STOP_WAIT);
            self.hang_up();
        }
    }

    fn hang_up(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.closing.extend(open.into_values().map(SourceHandle::close));
    }

    /// Ends all threads. After a halt the log is not touched any more, and sources are not waited for.
    pub(crate) fn end(mut self, clean: bool, published: &Snapshot) {
        self.hang_up();
        self.answers.clear();
        let Threads { shards, log, disk, recording, .. } = self.threads;
        if !clean {
            return;
        }
        shards.stop();
        log.stop();
        recording.finish(published);
        if let Some(disk) = disk {
            disk.stop();
        }
        let give_up = Instant::now() + STOP_WAIT;
        while self.closing.iter().any(|thread| !thread.is_finished()) && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
