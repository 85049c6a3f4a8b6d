//! One running process in the small world, without its coordinator: shards and log, each of which is copied only when it
//! changes, and the channels.

use std::collections::VecDeque;
use std::sync::Arc;

use kernel::fingerprint::StateFingerprint;
use kernel::log::{LogWriter, Storage, SyncPlan};
use kernel::message::{ShardCommand, ShardReply};
use kernel::record::EncodedRecord;
use kernel::{Epoch, Generation, Micros, Result, Sequence, Shard};
use xxhash_rust::xxh3::xxh3_128;

use super::disk::Disk;
use super::source::{Late, Reader};

/// A value shared by all states with the same value, and its hash.
#[derive(Debug)]
pub struct Part<T> {
    value: Arc<T>,
    hash: u128,
}

impl<T> Clone for Part<T> {
    fn clone(&self) -> Part<T> {
        Part { value: self.value.clone(), hash: self.hash }
    }
}

impl<T: Clone> Part<T> {
    /// Of a value with this hash.
    pub fn new(value: T, hash: u128) -> Part<T> {
        Part { value: Arc::new(value), hash }
    }

    /// The value.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// The value, for a change; call [`hashed`](Self::hashed) afterwards.
    pub fn change(&mut self) -> &mut T {
        Arc::make_mut(&mut self.value)
    }

    /// Sets the hash of the changed value.
    pub fn hashed(&mut self, hash: impl FnOnce(&T) -> u128) {
        self.hash = hash(&self.value);
    }

    /// Its hash.
    pub fn hash(&self) -> u128 {
        self.hash
    }
}

/// A log command of the coordinator.
#[derive(Clone, Debug)]
pub enum LogCommand {
    /// Append a record; the model after it has this hash.
    Append(EncodedRecord, u64),
    /// Sync.
    Sync,
}

/// A record that is appended and not durable.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    sequence: Sequence,
    /// Its `synced_through`.
    stamp: Sequence,
    len: u64,
    model: u64,
}

/// The host's log: one thread appends, one syncs.
#[derive(Clone, Debug)]
pub struct Log {
    /// The shipped writer.
    pub writer: LogWriter<Disk>,
    /// From the coordinator, in order.
    pub commands: VecDeque<LogCommand>,
    running: Option<SyncPlan>,
    wanted: bool,
    appended: VecDeque<Appended>,
}

/// The next step of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogStep {
    /// Take the next command.
    Command,
    /// End the running sync.
    EndSync,
}

impl Log {
    /// A log that was just opened.
    pub fn new(writer: LogWriter<Disk>) -> Log {
        Log { writer, commands: VecDeque::new(), running: None, wanted: false, appended: VecDeque::new() }
    }

    /// Its possible steps.
    pub fn steps(&self) -> impl Iterator<Item = LogStep> {
        let command = (!self.commands.is_empty()).then_some(LogStep::Command);
        command.into_iter().chain(self.running.is_some().then_some(LogStep::EndSync))
    }

    /// The next command as text.
    pub fn next_command(&self) -> &'static str {
        match self.commands.front() {
            Some(LogCommand::Append(..)) => "append a record",
            Some(LogCommand::Sync) if self.running.is_some() => "a sync is requested after the running one",
            _ => "a sync begins",
        }
    }

    /// Executes a step; returns the new durable sequence.
    pub fn step(&mut self, step: LogStep) -> Result<Option<Sequence>> {
        match step {
            LogStep::Command => match self.commands.pop_front().expect("it has one") {
                LogCommand::Append(record, model) => {
                    let stamp = self.writer.durable();
                    let len = record.stored_len();
                    self.appended.push_back(Appended { sequence: record.sequence, stamp, len, model });
                    self.writer.storage_mut().begin_append();
                    self.writer.append(&record).map(|()| None)
                }
                LogCommand::Sync if self.running.is_some() => {
                    self.wanted = true;
                    Ok(None)
                }
                LogCommand::Sync => self.begin_sync(),
            },
            LogStep::EndSync => {
                let plan = self.running.take().expect("a sync is running");
                plan.ranges.iter().for_each(|range| self.writer.storage_mut().end_sync(*range));
                self.write_manifest(&plan)?;
                self.writer.synced(&plan)?;
                self.appended.retain(|record| record.sequence > plan.through);
                if std::mem::take(&mut self.wanted) {
                    self.begin_sync()?;
                }
                Ok(Some(plan.through))
            }
        }
    }

    fn begin_sync(&mut self) -> Result<Option<Sequence>> {
        let plan = self.writer.sync_plan()?;
        if plan.ranges.is_empty() {
            self.write_manifest(&plan)?;
            self.writer.synced(&plan)?;
            return Ok(Some(plan.through));
        }
        plan.ranges.iter().for_each(|range| self.writer.storage_mut().begin_sync(*range));
        self.running = Some(plan);
        Ok(None)
    }

    fn write_manifest(&mut self, plan: &SyncPlan) -> Result<()> {
        let Some(manifest) = &plan.manifest else { return Ok(()) };
        self.writer.storage_mut().write_manifest(manifest.slot(), &manifest.encode())
    }

    /// Its fingerprint: durable records are in the models; the location of the others follows from their lengths.
    pub fn fingerprint(&self) -> StateFingerprint {
        let Log { writer, commands, running, wanted, appended } = self;
        let mut to = StateFingerprint::new(writer.durable(), vec![]);
        writer.fingerprint(writer.storage().modulus(), &mut to);
        for command in commands {
            match command {
                LogCommand::Append(record, model) => {
                    to.sequence(record.sequence);
                    to.word(record.stored_len());
                    to.word(*model);
                }
                LogCommand::Sync => to.word(u64::MAX),
            }
        }
        to.word(running.is_some());
        if let Some(SyncPlan { ranges, manifest, through }) = running {
            to.count(ranges.len());
            to.word(manifest.is_some());
            to.sequence(*through);
        }
        to.word(*wanted);
        for Appended { sequence, stamp, len, model } in appended {
            to.sequence(*sequence);
            to.sequence(*stamp);
            to.word(*len);
            to.word(*model);
        }
        for (_, _, versions) in writer.storage().dirty() {
            to.count(versions);
        }
        to
    }
}

/// An answer of the source in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceReply {
    /// It is open.
    Opened(Epoch),
    /// Metadata, with epoch and token of the request.
    Verified(Epoch, u64),
}

/// The pipeline's source, as its host sees it.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The epoch that was opened and not closed.
    pub open: Option<Epoch>,
    /// The epoch that was opened last.
    pub newest: Epoch,
    /// The generation that it reads for.
    pub generation: Generation,
    /// Remaining credit in bytes.
    pub credit: i64,
    /// To the coordinator, in order.
    pub replies: VecDeque<SourceReply>,
    /// By partition.
    pub readers: Vec<Option<Reader>>,
    /// Fetches of ended epochs.
    pub late: Vec<Late>,
}

impl Source {
    /// Ends the epoch. With `late`, the last fetches of its readers may still arrive.
    pub fn close(&mut self, late: bool, messages: &[i64]) {
        let (epoch, generation) = (self.open.take().expect("the closed source is open"), self.generation);
        self.credit = 0;
        for (partition, reader) in self.readers.iter_mut().enumerate() {
            let offset = reader.take().map(|reader| reader.position());
            if let Some(offset) = offset.filter(|offset| late && *offset < messages[partition]) {
                self.late.push(Late { epoch, generation, partition, offset });
            }
        }
    }

    /// Its part of the fingerprint.
    pub fn words(&self, words: &mut Vec<u64>) {
        let Source { open, newest: _, generation, credit, replies, readers, late } = self;
        let current = |epoch: &Epoch| u64::from(Some(*epoch) == *open);
        words.extend([u64::from(open.is_some()), generation.0.into(), *credit as u64, replies.len() as u64]);
        for reply in replies {
            match reply {
                SourceReply::Opened(epoch) => words.push(current(epoch)),
                SourceReply::Verified(epoch, _) => words.push(2 + current(epoch)),
            }
        }
        for reader in readers {
            words.push(reader.as_ref().map_or(u64::MAX, |reader| reader.position() as u64));
            let last = reader.as_ref().and_then(Reader::last);
            words.push(last.map_or(u64::MAX, |(first, next)| (first << 16 | next) as u64));
        }
        words.push(late.len() as u64);
        for Late { epoch: _, generation, partition, offset } in late {
            words.extend([generation.0.into(), *partition as u64, *offset as u64]);
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Process {
    /// Data plane.
    pub shards: Vec<Part<Shard>>,
    /// The log.
    pub log: Part<Log>,
    /// From each shard, in order. A shard answers at once; the arrival of its answers is a move.
    pub shard_replies: Vec<VecDeque<ShardReply>>,
    /// From the log, in order.
    pub log_replies: VecDeque<Sequence>,
    /// The source.
    pub source: Source,
    /// The clock, which moves only to the next wake-up.
    pub now_us: Micros,
    /// When the coordinator wants to be woken.
    pub wake_at_us: Option<Micros>,
    /// Records up to here are durable.
    pub durable: Sequence,
}

/// A time that is never reached.
const NEVER_US: Micros = 1 << 40;

impl Process {
    /// The next wake-up, if there is one.
    pub fn wake_up(&self) -> Option<Micros> {
        self.wake_at_us.filter(|at_us| *at_us > self.now_us && *at_us < NEVER_US)
    }

    /// A shard executes a command.
    pub fn command(
        &mut self,
        shard: usize,
        command: ShardCommand,
        hash: impl FnOnce(&Shard) -> u128,
    ) -> &ShardReply {
        let reply = self.shards[shard].change().handle(command);
        self.shards[shard].hashed(hash);
        self.shard_replies[shard].push_back(reply);
        self.shard_replies[shard].back().expect("just added")
    }

    /// Answers of one round of staging, or of one publication, that have not arrived: of the given kind.
    pub fn outstanding(&self, stages: bool) -> usize {
        let all = self.shard_replies.iter().flatten();
        all.filter(|reply| matches!(reply, ShardReply::Staged { .. }) == stages).count()
    }

    /// The channels' part of the fingerprint.
    pub fn words(&self, words: &mut Vec<u64>) {
        let Process {
            shards: _,
            log: _,
            shard_replies,
            log_replies,
            source,
            now_us: _,
            wake_at_us: _,
            durable: _,
        } = self;
        for replies in shard_replies {
            words.push(replies.len() as u64);
            for reply in replies {
                match reply {
                    ShardReply::Staged { outcome, rejected, .. } => {
                        words.extend([1, outcome.len() as u64, rejected.len() as u64]);
                    }
                    ShardReply::Published { .. } => words.push(2),
                    ShardReply::Abandoned { .. } => words.push(3),
                    ShardReply::Tip { .. } => words.push(4),
                }
            }
        }
        words.push(log_replies.len() as u64);
        words.extend(log_replies.iter().map(|through| self.durable.0 - through.0));
        source.words(words);
        words.push(u64::from(self.wake_up().is_some()));
    }
}

/// Hash of the whole content of a value.
pub fn exactly(value: &impl std::fmt::Debug) -> u128 {
    xxh3_128(format!("{value:?}").as_bytes())
}
