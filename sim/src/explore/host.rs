//! The host of the small world: it puts each effect into its channel, and the model checks it.

use std::sync::Arc;

use kernel::message::{Response, ShardCommand, ShardReply, SplitStart};
use kernel::record::EncodedRecord;
use kernel::schema::{PipelineDef, TableDef};
use kernel::{Epoch, Error, Event, Host, Micros, PipelineId, RequestId, ShardId, Snapshot};

use super::model::{Model, Oracle};
use super::process::{LogCommand, Process, SourceReply};
use super::source::Reader;
use super::world::{Check, Surroundings};
use crate::oracle::Violation;

/// The world without its coordinator.
pub struct EffectHost<'a> {
    /// The channels.
    pub process: &'a mut Process,
    /// The model.
    pub oracle: &'a mut Oracle,
    /// The operator waits for an answer.
    pub waiting: &'a mut bool,
    /// Fetches of an ended epoch may arrive.
    pub late: bool,
    /// The constant parts.
    pub around: &'a Surroundings,
}

impl EffectHost<'_> {
    /// A command that is answered must be visible, and so durable.
    fn check_answered(&self) -> Check {
        let tip = self.oracle.tip();
        let told = |model: &Model| (model.running, model.generation);
        if told(self.oracle.published()) == told(tip) {
            return Ok(());
        }
        let text = format!("the operator is told {tip:?}, readers see {:?}", self.oracle.published());
        Err(Violation::new("durable", text))
    }

    fn of_open_epoch(&self, epoch: Epoch) -> Check {
        let open = self.process.source.open;
        if open == Some(epoch) {
            return Ok(());
        }
        Err(Violation::new("fenced", format!("an effect of epoch {epoch} while {open:?} is open")))
    }
}

impl Host for EffectHost<'_> {
    type End = Violation;

    fn shard(&mut self, shard: ShardId, command: ShardCommand) -> Check {
        let shard = shard.0 as usize;
        let reply = self.process.command(shard, command, |shard| shard.fingerprint().finish());
        match reply {
            ShardReply::Published { through, view } => {
                self.oracle.at(*through)?.check_view(shard as u16, view, &self.around.topic)
            }
            _ => Ok(()),
        }
    }

    fn append(&mut self, record: EncodedRecord) -> Check {
        let (len, page_len) = (record.stored_len(), self.around.scope.page_len);
        assert!(len <= page_len, "a record of {len} bytes is longer than a page of {page_len}");
        self.oracle.appended(&record, &self.around.topic)?;
        let model = self.oracle.tip().hash();
        self.process.log.change().commands.push_back(LogCommand::Append(record, model));
        self.process.log.hashed(|log| log.fingerprint().finish());
        Ok(())
    }

    fn sync(&mut self) -> Check {
        self.process.log.change().commands.push_back(LogCommand::Sync);
        self.process.log.hashed(|log| log.fingerprint().finish());
        Ok(())
    }

    fn open_source(&mut self, epoch: Epoch, pipeline: Arc<PipelineDef>, _table: Arc<TableDef>) -> Check {
        let source = &mut self.process.source;
        if let Some(open) = source.open {
            return Err(Violation::new("fenced", format!("epoch {epoch} opens while {open} is open")));
        }
        if epoch <= source.newest {
            return Err(Violation::new("fenced", format!("epoch {epoch} was there before")));
        }
        (source.open, source.newest) = (Some(epoch), epoch);
        source.generation = pipeline.generation;
        source.replies.push_back(SourceReply::Opened(epoch));
        Ok(())
    }

    fn fetch(&mut self, _pipeline: PipelineId, epoch: Epoch, starts: Vec<SplitStart>) -> Check {
        self.of_open_epoch(epoch)?;
        for SplitStart { split, name: _, position } in starts {
            self.process.source.readers[split.0 as usize] = Some(Reader::new(position));
        }
        Ok(())
    }

    fn credit(&mut self, _pipeline: PipelineId, epoch: Epoch, bytes: u64) -> Check {
        self.of_open_epoch(epoch)?;
        self.process.source.credit += bytes as i64;
        Ok(())
    }

    fn verify_source(&mut self, _pipeline: PipelineId, epoch: Epoch, token: u64) -> Check {
        self.of_open_epoch(epoch)?;
        self.process.source.replies.push_back(SourceReply::Verified(epoch, token));
        Ok(())
    }

    fn close_source(&mut self, _pipeline: PipelineId, epoch: Epoch) -> Check {
        self.of_open_epoch(epoch)?;
        self.process.source.close(self.late, self.around.topic.messages());
        Ok(())
    }

    fn publish(&mut self, snapshot: Snapshot) -> Check {
        self.oracle.publish(&snapshot, self.process.durable, &self.around.topic)
    }

    fn reply(&mut self, _id: RequestId, result: Result<Response, Error>) -> Check {
        if let Err(error) = result {
            return Err(Violation::new("honest", format!("the operator is refused: {error}")));
        }
        *self.waiting = false;
        self.check_answered()
    }

    fn wake_at(&mut self, at_us: Micros) -> Check {
        self.process.wake_at_us = Some(at_us);
        Ok(())
    }

    fn event(&mut self, _event: Event) -> Check {
        Ok(())
    }

    fn halt(&mut self, error: Error) -> Violation {
        Violation::new("live", format!("the kernel halts: {error}"))
    }
}
