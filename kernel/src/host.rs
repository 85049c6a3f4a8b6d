//! What a host does for the kernel: a method for each effect. [`drive`] hands the coordinator an input and calls the
//! method of each effect; it is the only place that matches on [`Effect`] to carry it out.

use std::sync::Arc;

use crate::coordinator::Coordinator;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::ids::*;
use crate::message::{Effect, Input, Response, ShardCommand, SplitStart};
use crate::record::EncodedRecord;
use crate::schema::{PipelineDef, TableDef};
use crate::snapshot::Snapshot;

/// A host: it carries out effects, and hands in their answers as later inputs. The methods are called in the order of
/// the effects. A method may only pass the effect on to its addressee (a shard's thread, the log, a source, a client), as
/// long as each addressee gets its effects in this order.
pub trait Host {
    /// Why the host ends: after an error no effect is carried out.
    type End;

    /// Called before each effect is carried out: for recorders and tests.
    fn before(&mut self, _effect: &Effect) -> Result<(), Self::End> {
        Ok(())
    }

    /// Hands the command to the shard, which answers it with exactly one [`Input::Shard`]. A shard gets its commands in
    /// order, and its answers arrive in order.
    fn shard(&mut self, shard: ShardId, command: ShardCommand) -> Result<(), Self::End>;

    /// Appends the record to the log. If the append fails, and [`LogWriter::is_well`](crate::log::LogWriter::is_well) is
    /// false, [`Input::LogFailed`] follows and the log is never touched again. If the disk has no space,
    /// [`Input::DiskSpace`] follows, and the record and those behind it are kept and tried again.
    fn append(&mut self, record: EncodedRecord) -> Result<(), Self::End>;

    /// Makes all appended records durable. [`Input::Synced`] follows a successful sync that began after the appends
    /// returned, [`Input::LogFailed`] a failed one. One sync may answer several of these.
    fn sync(&mut self) -> Result<(), Self::End>;

    /// Connects to the pipeline's source. [`Input::SourceOpened`] or [`Input::SourceFailed`] follows. See
    /// [`Effect::SourceOpen`].
    fn open_source(
        &mut self,
        epoch: Epoch,
        pipeline: Arc<PipelineDef>,
        table: Arc<TableDef>,
    ) -> Result<(), Self::End>;

    /// Begins to fetch splits. [`Input::Extracted`] follows for one range after another; the first one of a split begins
    /// at the given position, and each later one at the end of the one before.
    fn fetch(&mut self, pipeline: PipelineId, epoch: Epoch, starts: Vec<SplitStart>)
    -> Result<(), Self::End>;

    /// Adds to the bytes of source payload that may be extracted. One message may overdraw the credit.
    fn credit(&mut self, pipeline: PipelineId, epoch: Epoch, bytes: u64) -> Result<(), Self::End>;

    /// Requests metadata, beginning now. [`Input::SourceVerified`] or [`Input::SourceFailed`] follows.
    fn verify_source(&mut self, pipeline: PipelineId, epoch: Epoch, token: u64) -> Result<(), Self::End>;

    /// Ends the epoch: nothing more is fetched under it.
    fn close_source(&mut self, pipeline: PipelineId, epoch: Epoch) -> Result<(), Self::End>;

    /// Readers that begin later read this snapshot. [`Input::SnapshotReleased`] follows when the last reader of the
    /// previous one has ended. Before the first call readers read [`Coordinator::published`].
    fn publish(&mut self, snapshot: Snapshot) -> Result<(), Self::End>;

    /// Answers a client. The client must be able to read what was published before.
    fn reply(&mut self, id: RequestId, result: Result<Response>) -> Result<(), Self::End>;

    /// Hands in [`Input::Tick`] at this time or later. Replaces the previous wake-up.
    fn wake_at(&mut self, at_us: Micros) -> Result<(), Self::End>;

    /// Informs the operator. Correctness does not depend on it.
    fn event(&mut self, event: Event) -> Result<(), Self::End>;

    /// Ends the host: the kernel is poisoned, and the next start recovers from the disk. The log is not touched any more.
    fn halt(&mut self, error: Error) -> Self::End;
}

/// Hands the coordinator an input, with the time, and carries out all effects.
pub fn drive<H: Host>(
    coordinator: &mut Coordinator,
    now_us: Micros,
    input: Input,
    host: &mut H,
) -> Result<(), H::End> {
    coordinator.handle(now_us, input);
    carry_out(coordinator, host)
}

/// Carries out all effects: those of an input, or, in a new term, those of [`Recovery::finish`](crate::Recovery::finish).
pub fn carry_out<H: Host>(coordinator: &mut Coordinator, host: &mut H) -> Result<(), H::End> {
    while let Some(effect) = coordinator.poll_effect() {
        host.before(&effect)?;
        match effect {
            Effect::Shard { shard, command } => host.shard(shard, command)?,
            Effect::Append(record) => host.append(record)?,
            Effect::Sync => host.sync()?,
            Effect::SourceOpen { pipeline: _, epoch, definition, table } => {
                host.open_source(epoch, definition, table)?
            }
            Effect::Fetch { pipeline, epoch, starts } => host.fetch(pipeline, epoch, starts)?,
            Effect::Credit { pipeline, epoch, bytes } => host.credit(pipeline, epoch, bytes)?,
            Effect::SourceVerify { pipeline, epoch, token } => host.verify_source(pipeline, epoch, token)?,
            Effect::SourceClose { pipeline, epoch } => host.close_source(pipeline, epoch)?,
            Effect::Publish(snapshot) => host.publish(snapshot)?,
            Effect::Reply { id, result } => host.reply(id, result)?,
            Effect::WakeAt(at_us) => host.wake_at(at_us)?,
            Effect::Event(event) => host.event(event)?,
            Effect::Halt(error) => return Err(host.halt(error)),
        }
    }
    Ok(())
}
