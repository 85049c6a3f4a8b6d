//! One running process: coordinator, shards, log and sources, and the channels between them. It follows the numbered
//! duties of a host; `world` decides the order in which the channels move.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kernel::log::{LogWriter, SyncPlan, SyncRange};
use kernel::message::{ShardCommand, ShardReply};
use kernel::record::EncodedRecord;
use kernel::schema::Catalog;
use kernel::{Coordinator, Epoch, Input, Micros, PipelineId, Request, RequestId, Sequence, Shard, SqlState};

use super::published::Published;
use super::rest::Held;
use super::source::{Command, SourceHost};
use crate::decide::Decisions;
use crate::defects::{self, WorldDefect};
use crate::disk::{Damage, Disk, PendingSync};
use crate::fault::Fault;
use crate::oracle::Violation;

/// How long a request waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct InLine {
    /// Batches that were written since.
    pub batches: u64,
    /// Most waiting requests meanwhile.
    pub longest: u64,
}

/// A log command of the coordinator.
#[derive(Debug)]
pub enum LogCommand {
    /// See [`kernel::Host::append`].
    Append(EncodedRecord),
    /// See [`kernel::Host::sync`].
    Sync,
}

/// The result of one turn of the host's log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogStep {
    /// A record is in the page cache.
    Appended,
    /// A sync has begun.
    SyncBegun,
    /// A part of it is done.
    SyncGoesOn,
    /// It is slow.
    StillSyncing,
    /// It is done.
    Synced,
    /// Another sync will follow the running one.
    SyncWanted,
    /// All is durable already.
    NothingToSync,
    /// A broken host reports success.
    Pretended,
    /// There is no space for a record, which waits.
    NoRoom,
    /// An append or a sync failed.
    Failed,
}

impl std::fmt::Display for LogStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            LogStep::Appended => "appends a record",
            LogStep::SyncBegun => "begins a sync",
            LogStep::SyncGoesOn => "syncs the next log file",
            LogStep::StillSyncing => "waits for the disk",
            LogStep::Synced => "ends its sync",
            LogStep::SyncWanted => "will sync again",
            LogStep::NothingToSync => "has nothing to sync",
            LogStep::Pretended => "reports a sync that did not happen",
            LogStep::NoRoom => "has no space for a record",
            LogStep::Failed => "fails",
        })
    }
}

/// A sync that goes on while records are appended.
struct RunningSync {
    plan: SyncPlan,
    /// Ranges of the plan that are done.
    done: usize,
    pending: PendingSync,
    /// Turns of the log until it continues.
    slow: u64,
    /// It began at the end of another one.
    follows: bool,
}

/// The host's log.
pub struct LogHost<'a> {
    writer: LogWriter<Disk<'a>>,
    disk: Disk<'a>,
    /// From the coordinator, in order.
    pub commands: VecDeque<LogCommand>,
    /// To the coordinator, in order.
    pub replies: VecDeque<Input>,
    running: Option<RunningSync>,
    /// Turns of a sync, until the run has to catch up.
    sync_turns: u64,
    wanted: bool,
    failed: bool,
    /// It found no space and reported this to the coordinator.
    is_full: bool,
    /// A full disk was treated as a failed log.
    pub full_is_failure: bool,
    /// The last record that is truly durable.
    pub durable: Sequence,
    /// Appended records that are not durable yet, and where each ends.
    stamps: VecDeque<(Voucher, u64)>,
    /// The last durable records of this term.
    pub vouchers: VecDeque<Voucher>,
    /// The record that the manifest names.
    pub named: Sequence,
}

/// Remembered vouchers.
const VOUCHERS_MAX: usize = 64;

/// A record that is evidence for the durability of others.
#[derive(Clone, Copy, Debug)]
pub struct Voucher {
    sequence: Sequence,
    /// All up to here.
    pub durable: Sequence,
    /// Location of its header: log file, offset, length.
    pub header: (u64, u64, usize),
}

impl<'a> LogHost<'a> {
    /// Up to which record the log contains evidence, if a part of it is damaged.
    pub fn durable_despite(vouchers: &VecDeque<Voucher>, damage: Damage) -> Sequence {
        let touched = |v: &&Voucher| damage.touches(v.header.0, v.header.1, v.header.2);
        let whole = vouchers.iter().filter(|v| !touched(v)).map(|v| v.durable).max();
        whole.unwrap_or(Sequence(0))
    }

    /// A log that was just opened.
    pub fn new(writer: LogWriter<Disk<'a>>, disk: Disk<'a>, sync_turns: u64) -> LogHost<'a> {
        let durable = writer.durable();
        let header = disk.last_write();
        LogHost {
            writer,
            disk,
            commands: VecDeque::new(),
            replies: VecDeque::new(),
            running: None,
            sync_turns,
            wanted: false,
            failed: false,
            is_full: false,
            full_is_failure: false,
            durable,
            stamps: VecDeque::new(),
            // The `open` record, written last.
            vouchers: VecDeque::from([Voucher {
                sequence: durable,
                durable: Sequence(durable.0 - 1),
                header,
            }]),
            // The manifest was written with it.
            named: durable,
        }
    }

    /// Records that are appended and not durable yet.
    pub fn unsynced_records(&self) -> usize {
        self.stamps.len()
    }

    /// Whether a sync directly followed another one and covers a part of the unsynced records: some were appended
    /// during the previous sync, some since.
    pub fn is_between_syncs(&self) -> bool {
        self.running.as_ref().is_some_and(|sync| sync.follows && sync.plan.through < self.writer.last())
    }

    /// The last record that was appended.
    pub fn appended(&self) -> Sequence {
        self.writer.last()
    }

    /// Log file, first byte and length of what is being synced.
    pub fn syncing(&self) -> Option<(u64, u64, u64)> {
        self.running.as_ref().map(|running| running.pending.range())
    }

    /// Whether there is work.
    pub fn can_step(&self) -> bool {
        !self.failed && (self.running.is_some() || !self.commands.is_empty())
    }

    /// Does one thing: a part of the running sync, or the next command. Returns what it did.
    pub fn step(&mut self, decisions: &Decisions<'_>) -> LogStep {
        let outcome = match self.running.take() {
            Some(mut running)
                if running.slow > 0 && (self.commands.is_empty() || decisions.below(2) == 0) =>
            {
                running.slow -= 1;
                self.running = Some(running);
                Ok(LogStep::StillSyncing)
            }
            Some(running) if self.commands.is_empty() || decisions.below(2) == 0 => {
                self.go_on(running, decisions)
            }
            running => {
                self.running = running;
                match self.commands.pop_front().expect("called when there is something to do") {
                    LogCommand::Append(record) => self.append(record),
                    LogCommand::Sync if defects::is(WorldDefect::SyncedBeforeSync) => {
                        self.replies.push_back(Input::Synced { through: self.writer.last() });
                        Ok(LogStep::Pretended)
                    }
                    LogCommand::Sync if self.running.is_some() => {
                        self.wanted = true;
                        Ok(LogStep::SyncWanted)
                    }
                    LogCommand::Sync => self.begin_sync(decisions),
                }
            }
        };
        outcome.unwrap_or_else(|error| {
            self.failed = true;
            self.full_is_failure = error.sqlstate == SqlState::DISK_FULL;
            assert!(self.writer.sync_plan().is_err(), "a log that failed is of no use any more");
            self.replies.push_back(Input::LogFailed { error });
            LogStep::Failed
        })
    }

    /// A record without space waits at the head of the queue, and the coordinator starts no further record.
    fn append(&mut self, record: EncodedRecord) -> kernel::Result<LogStep> {
        let (sequence, durable) = (record.sequence, self.writer.durable());
        let payload_len: usize = record.parts.iter().map(|part| part.len()).sum();
        if let Err(error) = self.writer.append(&record) {
            if !self.writer.is_well() {
                return Err(error);
            }
            self.commands.push_front(LogCommand::Append(record));
            self.tell_room(false);
            return Ok(LogStep::NoRoom);
        }
        self.tell_room(true);
        let header = self.disk.last_write();
        let end = header.1 + 64 + (payload_len as u64).next_multiple_of(64);
        self.stamps.push_back((Voucher { sequence, durable, header }, end));
        Ok(LogStep::Appended)
    }

    fn tell_room(&mut self, sufficient: bool) {
        if std::mem::replace(&mut self.is_full, !sufficient) == sufficient {
            self.replies.push_back(Input::DiskSpace { sufficient });
        }
    }

    fn begin_sync(&mut self, decisions: &Decisions<'_>) -> kernel::Result<LogStep> {
        let plan = self.writer.sync_plan()?;
        self.check_plan(&plan);
        if defects::is(WorldDefect::ManifestBeforeSync) {
            self.write_manifest(&plan)?;
        }
        let Some(first) = plan.ranges.first().copied() else {
            self.write_manifest(&plan)?;
            self.writer.synced(&plan)?;
            self.replies.push_back(Input::Synced { through: plan.through });
            return Ok(LogStep::NothingToSync);
        };
        let pending = self.disk.begin_sync(first.log_file, first.offset, first.len);
        let held_up = if decisions.strikes(Fault::SlowSync) { decisions.between(20, 200) } else { 0 };
        let usual = if decisions.faults_over() { 0 } else { self.sync_turns };
        let slow = usual + held_up;
        self.running = Some(RunningSync { plan, done: 0, pending, slow, follows: false });
        Ok(LogStep::SyncBegun)
    }

    /// Checks that a plan has at most one range per log file, of unsynced bytes.
    fn check_plan(&self, plan: &SyncPlan) {
        let rising = plan.ranges.windows(2).all(|pair| pair[0].log_file < pair[1].log_file);
        let is_needed = |range: &SyncRange| {
            let in_log_file = self.stamps.iter().filter(|(voucher, _)| voucher.header.0 == range.log_file);
            let start = in_log_file.clone().map(|(voucher, _)| voucher.header.1).min();
            // With the first record of a log file its header.
            let start = start.map(|start| if start == 64 { 0 } else { start });
            let end = in_log_file.map(|(_, end)| *end).max();
            start.is_some_and(|start| start <= range.offset)
                && range.len > 0
                && end.is_some_and(|end| range.offset + range.len <= end)
        };
        // Before the first sync of a term the beginning of the term is unknown here.
        let known = self.vouchers.len() > 1;
        assert!(
            !known || rising && plan.ranges.iter().all(is_needed),
            "{plan:?} asks for more than there is to be synced: {:?}",
            self.stamps
        );
    }

    fn write_manifest(&mut self, plan: &SyncPlan) -> kernel::Result<()> {
        let Some(manifest) = &plan.manifest else { return Ok(()) };
        if let Err(error) = self.disk.put_manifest(manifest.slot(), &manifest.encode()) {
            self.writer.sync_failed(error.clone());
            return Err(error);
        }
        self.named = manifest.through;
        Ok(())
    }

    fn go_on(&mut self, mut running: RunningSync, decisions: &Decisions<'_>) -> kernel::Result<LogStep> {
        let mut synced = self.disk.end_sync(&running.pending);
        if defects::is(WorldDefect::SyncRetried) && synced.is_err() {
            synced = self.disk.end_sync(&running.pending);
        }
        if let Err(error) = synced {
            self.writer.sync_failed(error.clone());
            return Err(error);
        }
        running.done += 1;
        if let Some(next) = running.plan.ranges.get(running.done) {
            running.pending = self.disk.begin_sync(next.log_file, next.offset, next.len);
            self.running = Some(running);
            return Ok(LogStep::SyncGoesOn);
        }
        self.write_manifest(&running.plan)?;
        self.writer.synced(&running.plan)?;
        self.durable = self.durable.max(running.plan.through);
        let through = running.plan.through;
        while let Some((voucher, _)) = self.stamps.pop_front_if(|(v, _)| v.sequence <= through) {
            self.vouchers.push_back(voucher);
            if self.vouchers.len() > VOUCHERS_MAX {
                self.vouchers.pop_front();
            }
        }
        self.replies.push_back(Input::Synced { through: running.plan.through });
        if std::mem::take(&mut self.wanted) {
            self.begin_sync(decisions)?;
            self.running.iter_mut().for_each(|running| running.follows = true);
        }
        Ok(LogStep::Synced)
    }
}

/// See the module.
pub struct Process<'a> {
    /// Control plane; None while its effects are carried out.
    pub coordinator: Option<Coordinator>,
    /// The coordinator's catalog after the last input, for texts.
    pub tip: Arc<Catalog>,
    /// Data plane.
    pub shards: Vec<Shard>,
    /// To each shard, in order.
    pub shard_commands: Vec<VecDeque<ShardCommand>>,
    /// From each shard, in order.
    pub shard_replies: Vec<VecDeque<ShardReply>>,
    /// The log.
    pub log: LogHost<'a>,
    /// Each pipeline's source.
    pub sources: BTreeMap<PipelineId, SourceHost>,
    /// Epoch of each source that the coordinator opened and did not close yet.
    pub open_epochs: BTreeMap<PipelineId, Epoch>,
    /// Bytes that each source was granted and has not handed in.
    pub credits: BTreeMap<(PipelineId, Epoch), i64>,
    /// From clients, in order.
    pub requests: VecDeque<(RequestId, Request)>,
    /// When the coordinator wants to be woken.
    pub wake_at_us: Option<Micros>,
    /// The kernel emitted Halt.
    pub halted: bool,
    /// It got the input that the disk is full.
    pub read_only: bool,
    /// Requests that the coordinator has taken and not begun.
    pub waiting: BTreeMap<RequestId, InLine>,
    /// It is being quiesced.
    pub held: Option<Held>,
    /// What readers see.
    pub published: Published,
}

impl<'a> Process<'a> {
    /// A new process.
    pub fn new(coordinator: Coordinator, shards: Vec<Shard>, log: LogHost<'a>) -> Process<'a> {
        let count = shards.len();
        let published = Published::new(coordinator.published().clone());
        Process {
            tip: coordinator.tip().clone(),
            coordinator: Some(coordinator),
            shards,
            shard_commands: (0..count).map(|_| VecDeque::new()).collect(),
            shard_replies: (0..count).map(|_| VecDeque::new()).collect(),
            log,
            sources: BTreeMap::new(),
            open_epochs: BTreeMap::new(),
            credits: BTreeMap::new(),
            requests: VecDeque::new(),
            wake_at_us: None,
            halted: false,
            read_only: false,
            waiting: BTreeMap::new(),
            held: None,
            published,
        }
    }

    /// The coordinator, between two inputs.
    pub fn coordinator(&self) -> &Coordinator {
        self.coordinator.as_ref().expect("no effects are being carried out")
    }

    /// The same, to be held.
    pub fn coordinator_mut(&mut self) -> &mut Coordinator {
        self.coordinator.as_mut().expect("no effects are being carried out")
    }

    /// Checks that effects of a source's epoch come between its one open and its one close, and that one epoch is open
    /// at a time.
    pub fn hear_source_command(&mut self, pipeline: PipelineId, command: &Command) -> Result<(), Violation> {
        let epoch = command.epoch();
        let (expected, after) = match command {
            Command::Open { .. } => (None, Some(epoch)),
            Command::Close { .. } => (Some(epoch), None),
            _ => (Some(epoch), Some(epoch)),
        };
        let open = self.open_epochs.remove(&pipeline);
        if open != expected {
            let text = format!("epoch {open:?} of the source of pipeline {pipeline} is open: {command:?}");
            return Err(Violation::new("fenced", text));
        }
        self.open_epochs.extend(after.map(|epoch| (pipeline, epoch)));
        Ok(())
    }
}
