//! The world: one database and everything around it, in one thread, on the run's clock. The order of turns is decided,
//! and so is every fault. Modules: `process` (one running process), `source` (its sources), `clients`. The oracle
//! checks the results.

mod clients;
mod drive;
mod effects;
pub(crate) mod process;
mod published;
pub(crate) mod rest;
mod source;
mod view;
mod words;

use std::collections::VecDeque;
use std::sync::Arc;

use kernel::log;
use kernel::record::{Body, Record, RecordKind};
use kernel::{Config, Input, Micros, Recovery, Request, Sequence, Shard, ShardId, SqlState, Term};

use self::clients::Clients;
use self::drive::Stalled;
use self::process::{LogHost, Process, Voucher};
use crate::broker::{Broker, BrokerCounts};
use crate::counts::counts;
use crate::decide::{Decisions, Rate};
use crate::defects::{self, WorldDefect};
use crate::disk::{Crash, Damage, Disk, DiskCounts};
use crate::fault::Fault;
use crate::oracle::{Oracle, OracleCounts, Outside, ReadRecord, Violation, hash_body};
use crate::scenario::Messages;
use crate::swarm::Parameters;
use crate::trace::{Actor, Mark, Trace, text_fact};

/// When a run begins, on its own clock.
pub const BEGINNING_US: Micros = 1_000_000;
/// Identity of the database.
const DATABASE: [u8; 16] = [7; 16];
/// One of this many processes starts with its pipelines stopped.
const STOPPED_PROCESS_TURN: u64 = 16;

/// Attempts to start the process before a run is given up.
const STARTS_MAX: u32 = 2000;
/// Consecutive starts that failing disk calls may prevent.
const FAILING_STARTS_MAX: u32 = 20;
/// The kernel's clock when a run begins.
const KERNEL_EPOCH_US: Micros = 1_700_000_000_000_000;
/// How far a clock is set forward or back.
const CLOCK_SET_MAX_US: u64 = 7_200_000_000;

/// How often a power cut may happen, by the number of unsynced pages or records, whichever is greater: of two, one may
/// survive without the other.
const POWER_CUT_CHANCES: [u32; 4] = [1, 5, 24, 40];
/// The same between two syncs that each cover a part of the unsynced data, which is a short time.
const POWER_CUT_CHANCES_BETWEEN: u32 = 200;

counts! {
    /// Counts of a run, besides those of its parts.
    WorldCounts {
        steps,
        crashes_in_recovery,
        halts,
        stale_extracts,
        requests,
        requests_failed,
        abandoned,
        pipelines_failed,
        torn_tails,
        clock_jumps_back,
        read_only,
        log_files_at_end,
        rotten_refused,
        rotten_survived,
        rotten_residual,
        readings_held,
        rests,
    }
}

/// All counts of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counts {
    pub world: WorldCounts,
    pub oracle: OracleCounts,
    pub disk: DiskCounts,
    pub broker: BrokerCounts,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Counts) {
        self.world.add(&other.world);
        self.oracle.add(&other.oracle);
        self.disk.add(&other.disk);
        self.broker.add(&other.broker);
    }
}

/// How a start of the process ended.
enum Start {
    Up,
    /// Damage was found, and the run is over: the database refuses to start, or lost records without durability
    /// evidence.
    Refused,
}

/// See the module.
pub struct World<'a> {
    d: Decisions<'a>,
    p: Parameters,
    /// The state at every moment, if a page is made.
    pub film: Option<crate::explain::film::Film>,
    /// Events of the run.
    pub trace: Trace,
    disk: Disk<'a>,
    brokers: Vec<Broker<'a>>,
    messages: Messages,
    now_us: Micros,
    process: Option<Process<'a>>,
    clients: Clients,
    oracle: Oracle,
    written: u64,
    /// The damage on the disk, until a start has survived it.
    damage: Option<Damage>,
    /// There was damage once; there is no more.
    aged: bool,
    /// Records of the last term that are evidence for others.
    vouchers: VecDeque<Voucher>,
    /// The record that the manifest named at the end of the last term.
    named: Sequence,
    /// Offset of the kernel's clock.
    skew_us: Micros,
    /// The process dies before the kernel is drained of its next effect.
    dies: bool,
    stalled: Option<Stalled>,
    created: bool,
    /// The last term whose log was open.
    term: Term,
    counts: WorldCounts,
    /// Kept for its memory: filled anew in every step.
    turns: Vec<(drive::Turn, u64)>,
}

impl<'a> World<'a> {
    /// A new world.
    pub fn new(d: Decisions<'a>, p: Parameters, trace: Trace) -> World<'a> {
        d.set_faults(p.faults);
        let mut habits = p.disk;
        if defects::is(WorldDefect::LyingDisk) {
            habits.lie = Rate::per_mille(300);
        }
        let brokers = p.topics.iter().enumerate();
        let broker = |(i, n): (usize, &usize)| {
            let broker = Broker::beginning_at(p.first_offset, d.clone(), i as u8, *n);
            broker.with_outages(p.outage_calls_max).traced(trace.clone())
        };
        let brokers = brokers.map(broker).collect();
        let oracle = Oracle::new(p.shard_limits, p.config.clone());
        World {
            disk: Disk::new(d.clone(), habits).traced(trace.clone()),
            d,
            p,
            film: None,
            trace,
            brokers,
            messages: Messages::default(),
            now_us: BEGINNING_US,
            process: None,
            clients: Clients::default(),
            oracle,
            written: 0,
            damage: None,
            aged: false,
            vouchers: VecDeque::new(),
            named: Sequence(0),
            skew_us: 0,
            dies: false,
            stalled: None,
            created: false,
            term: Term(0),
            counts: WorldCounts::default(),
            turns: Vec::new(),
        }
    }

    /// Counts so far.
    pub fn counts(&self) -> Counts {
        let mut broker = BrokerCounts::default();
        for b in &self.brokers {
            broker.add(&b.counts());
        }
        Counts { world: self.counts, oracle: self.oracle.counts, disk: self.disk.counts(), broker }
    }

    fn note(&self, actor: Actor, mark: Mark, facts: &[u64], text: std::fmt::Arguments<'_>) {
        self.trace.set_now(self.now_us);
        self.trace.note(actor, mark, facts, text);
    }

    /// Runs from the beginning to the end: with faults, then without, until everything has caught up, then through two last
    /// crashes.
    pub fn run(&mut self) -> Result<(), Violation> {
        self.introduce();
        if let Start::Refused = self.start()? {
            return Ok(());
        }
        for _ in 0..self.p.steps {
            self.step()?;
            if let Start::Refused = self.restart_if_dead()? {
                return Ok(());
            }
        }
        self.note(Actor::World, Mark::Step, &[], format_args!("faults end here"));
        self.d.end_faults();
        self.catch_up()?;
        for crash in self.p.last_crashes.clone() {
            self.crash(crash);
            self.start()?;
            self.catch_up()?;
        }
        self.counts.log_files_at_end = log::Storage::log_files(&mut self.disk).map_or(0, |s| s.len() as u64);
        (0..self.p.log_corruptions).try_for_each(|_| self.log_corruption())?;
        (0..self.p.model_tests).try_for_each(|_| self.model_test())
    }

    /// Describes the run.
    fn introduce(&self) {
        let p = &self.p;
        let facts = [u64::from(p.shard_count), p.topics.len() as u64, p.pipelines.len() as u64, p.messages];
        let partitions = &p.topics;
        self.note(
            Actor::World,
            Mark::Step,
            &facts,
            format_args!(
                "{}; topics with {partitions:?} partitions; {}; {}",
                words::count(p.shard_count.into(), "shard"),
                words::count(p.messages, "message"),
                words::count(p.pipelines.len() as u64, "pipeline"),
            ),
        );
        for (number, rule) in p.pipelines.iter().enumerate() {
            self.note(
                Actor::Source(number as u16),
                Mark::Step,
                &[rule.topic as u64],
                format_args!(
                    "loads topic_{}{} into {}, ON DUPLICATE KEY {:?}{}",
                    rule.topic,
                    if p.dialects[rule.topic].is_some() { ", messages of several rows," } else { "" },
                    rule.table,
                    rule.duplicate,
                    match (rule.filter_multiples_of > 0, rule.setting.is_some()) {
                        (false, false) => "",
                        (true, false) => ", with a WHERE",
                        (false, true) => ", with a SET that may fail",
                        (true, true) => ", with a WHERE and a SET that may fail",
                    }
                ),
            );
        }
        let faults: Vec<String> =
            p.faults.drawn().map(|(fault, rate)| format!("{} {}", fault.name(), rate.0)).collect();
        let (faults, activity) = (faults.join(", "), &p.activity);
        let text = format_args!("faults, in millionths: {faults}; {activity:?}");
        self.note(Actor::World, Mark::Detail, &[], text);
    }

    /// Corrupts a copy of the run's last log.
    fn log_corruption(&mut self) -> Result<(), Violation> {
        let broken =
            |error| Violation::new("honest", format!("the disk cannot be read at the end of a run: {error}"));
        self.disk.spare(true);
        let image = self.disk.image().map_err(broken)?;
        self.disk.spare(false);
        crate::log_corruption::check(&self.d, &image, self.p.shard_count)
    }

    /// Tests shards against a model of their own, which start again where a crash may end the process.
    fn model_test(&mut self) -> Result<(), Violation> {
        let restarts = !self.p.last_crashes.is_empty();
        let tell = |text: std::fmt::Arguments<'_>| self.note(Actor::World, Mark::Step, &[], text);
        for _ in 0..4 {
            crate::model_test::continuity::check(&self.d, &tell)?;
        }
        crate::model_test::limits::check(&self.d, &tell)?;
        crate::model_test::check(&self.d, restarts, &tell)?;
        crate::model_test::log::check(&self.d, self.p.model_test_faults, &|text| {
            self.note(Actor::Log, Mark::Detail, &[text_fact(&text.to_string())], text)
        })?;
        crate::model_test::columns::check(&self.d)?;
        crate::model_test::program::check(&self.d, &tell)?;
        crate::model_test::scale::check(&self.d, &tell)
    }

    fn restart_if_dead(&mut self) -> Result<Start, Violation> {
        if let Some(misuse) = self.disk.misuse().or_else(|| self.disk.misannounced()) {
            return Err(Violation::new(
                "honest",
                format!("the log violated the contract of its storage: {misuse}"),
            ));
        }
        if self.process.as_ref().is_some_and(|process| process.log.full_is_failure) {
            return Err(Violation::new("live", "a disk that is full ends the process"));
        }
        let crash = match (self.disk.died(), &self.process) {
            (Some(crash), _) => crash,
            (None, Some(process)) if process.halted => {
                self.counts.halts += 1;
                Crash::Kill
            }
            (None, Some(_)) if std::mem::take(&mut self.dies) => {
                if self.d.chance(self.p.disk.power) {
                    Crash::Power
                } else {
                    Crash::Kill
                }
            }
            (None, Some(_)) if self.d.strikes(Fault::Kill) => Crash::Kill,
            (None, Some(process)) if self.power_fails(&process.log) => Crash::Power,
            _ => return Ok(Start::Up),
        };
        self.crash(crash);
        self.stay_down();
        self.start()
    }

    /// Power cuts are more likely the more unsynced data there is.
    fn power_fails(&self, log: &LogHost<'_>) -> bool {
        if self.p.faults.of(Fault::PowerCut) == Rate::NEVER {
            return false;
        }
        let at_stake = log.unsynced_records().max(self.disk.dirty_pages());
        let chances = match log.is_between_syncs() {
            true => POWER_CUT_CHANCES_BETWEEN,
            false => POWER_CUT_CHANCES[at_stake.min(POWER_CUT_CHANCES.len() - 1)],
        };
        (0..chances).any(|_| self.d.strikes(Fault::PowerCut))
    }

    fn crash(&mut self, crash: Crash) {
        self.dies = false;
        let staged = self.process.as_ref().map(|l| l.coordinator().staged_and_durable());
        let (last_staged, durable) = staged.map_or((0, 0), |(staged, durable)| (staged.0, durable.0));
        self.note(
            Actor::World,
            Mark::Crash,
            &[crash as u64, last_staged, durable],
            format_args!(
                "{}: the kernel had staged up to record {last_staged} and knew {durable} to be durable",
                match crash {
                    Crash::Kill => "the process is killed",
                    Crash::Power => "power cut",
                }
            ),
        );
        if let Some(process) = self.process.take() {
            self.vouchers = process.log.vouchers;
            self.named = process.log.named;
        }
        self.clients.disconnected();
        self.oracle.crashed();
        self.disk.restart(crash);
        self.take_frame();
        if !self.aged {
            self.damage = self.disk.age();
            self.aged = self.damage.is_some();
        }
    }

    /// Starts the process until it is up; it may die again while it recovers.
    fn start(&mut self) -> Result<Start, Violation> {
        for attempt in 0..STARTS_MAX {
            // After many failing starts the disk's calls stop failing.
            self.disk.spare(attempt >= FAILING_STARTS_MAX);
            if self.d.strikes(Fault::ClockSet) {
                self.skew_us = self.d.below(2 * CLOCK_SET_MAX_US) as Micros - CLOCK_SET_MAX_US as Micros;
            }
            self.disk.set_recovering(true);
            let recovered = self.recover();
            self.disk.set_recovering(false);
            self.disk.spare(false);
            let error = match recovered? {
                Ok(start) => return Ok(start),
                Err(error) => error,
            };
            let died = self.disk.died();
            self.note(
                Actor::World,
                Mark::Step,
                &[text_fact(error.sqlstate.as_str()), text_fact(&error.to_string())],
                format_args!("the start fails: {error}"),
            );
            match died {
                Some(crash) => {
                    self.counts.crashes_in_recovery += 1;
                    self.crash(crash);
                }
                // A damaged version number looks like another version: a legal refusal, too.
                None if self.damage.is_some()
                    && matches!(
                        error.sqlstate,
                        SqlState::DATA_CORRUPTED | SqlState::FEATURE_NOT_SUPPORTED
                    ) =>
                {
                    self.counts.rotten_refused += 1;
                    return Ok(Start::Refused);
                }
                None if matches!(error.sqlstate, SqlState::IO_ERROR | SqlState::DISK_FULL) => {
                    self.crash(Crash::Kill)
                }
                None => {
                    let text = format!("the database refuses to start, without damage: {error}");
                    return Err(Violation::new("recovered", text));
                }
            }
        }
        Err(Violation::new("live", format!("not up after {STARTS_MAX} starts")))
    }

    /// One start: create or open the log, replay it, begin a term; or why it failed.
    fn recover(&mut self) -> Result<kernel::Result<Start>, Violation> {
        let mut replay = Replay::new(&self.p);
        let opened = log::is_created(&mut self.disk.clone()).and_then(|there| {
            let (disk, now_us, limits) = (self.disk.clone(), self.kernel_now_us(), self.p.log);
            let mut visitor = |record| replay.take(record);
            // Only then is an empty directory a new one.
            if there || self.created && self.damage.is_none() {
                log::open(disk, now_us, limits, &mut visitor)
            } else {
                log::create(disk, DATABASE, self.p.shard_count, now_us, limits, &mut visitor)
            }
        });
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        self.created = true;
        self.check_opened(&opened)?;
        let read = replay.recovery.opened().map(|open| (open.database, open.shard_count));
        if read != Some((DATABASE, self.p.shard_count)) {
            return Err(Violation::new("recovered", format!("recovery says that {read:?} was opened")));
        }
        self.counts.torn_tails += u64::from(opened.torn_tail.is_some());
        let Replay { recovery, mut shards, seen, open, .. } = replay;
        let views = shards.iter_mut().map(Shard::recovered).collect();
        let Some(open) = open else {
            return Err(Violation::new("recovered", "no open record was handed over"));
        };
        self.oracle.life_begins(self.kernel_now_us());
        // Not drawn, so that older recordings keep their meaning.
        let pipelines_stopped = opened.term.0 % STOPPED_PROCESS_TURN == STOPPED_PROCESS_TURN / 2;
        self.oracle.stops_pipelines = pipelines_stopped;
        let config = Config { pipelines_stopped, ..self.p.config.clone() };
        let coordinator = match recovery.finish(config, self.kernel_now_us(), &open, views) {
            Ok(coordinator) => coordinator,
            Err(error) => return Ok(Err(error)),
        };
        self.note(
            Actor::World,
            Mark::Up,
            &[opened.term.0, open.sequence.0, u64::from(opened.torn_tail.is_some())],
            format_args!(
                "the database is up, term {}: its first record is {}{}",
                opened.term,
                open.sequence,
                if opened.torn_tail.is_some() { "; a torn tail was removed" } else { "" }
            ),
        );
        if let Some(damage) = self.damage {
            let (last, visible) = (self.oracle.known_prefix(&seen), self.oracle.visible());
            let proven_durable = match damage.fault.is_of_files() {
                // The manifest is evidence for visible records where whole files are concerned.
                true => visible,
                false => LogHost::durable_despite(&self.vouchers, damage).max(self.named),
            };
            if last < visible && last >= proven_durable {
                self.note(
                    Actor::World,
                    Mark::Step,
                    &[last.0, visible.0],
                    format_args!(
                        "the damage hit records without durability evidence: records up to {last} are recovered, {visible} was visible"
                    ),
                );
                self.counts.rotten_residual += 1;
                return Ok(Ok(Start::Refused));
            }
            // Damage that a start survived does no harm later.
            self.damage = self.damage.filter(|_| last < visible);
            self.counts.rotten_survived += 1;
        }
        self.oracle.recovered(&seen, coordinator.published())?;
        self.oracle.sources.recovered(coordinator.published());
        let log = LogHost::new(opened.writer, self.disk.clone(), self.p.paces.sync);
        self.process = Some(Process::new(coordinator, shards, log));
        self.drive(None)?;
        // A crash during its first effects may prevent the record that stops the pipelines.
        if !self.dies {
            self.oracle.check_stopped()?;
        }
        self.take_frame();
        Ok(Ok(Start::Up))
    }

    /// Checks the facts of an opened log.
    fn check_opened(&mut self, opened: &log::Opened<Disk<'a>>) -> Result<(), Violation> {
        let (writer, before) = (&opened.writer, self.term);
        let agree = (writer.database(), writer.term(), opened.database, opened.shard_count)
            == (DATABASE, opened.term, DATABASE, self.p.shard_count)
            && writer.durable() == writer.last();
        self.term = opened.term;
        // Damage may remove the previous term's open record, for which there is no evidence.
        if agree && (opened.term > before || self.damage.is_some()) {
            return Ok(());
        }
        let text = format!("the opened log reports {opened:?}, after term {before}");
        Err(Violation::new("recovered", text))
    }

    /// Feeds an input to the coordinator and executes the effects.
    fn feed(&mut self, input: Input) -> Result<(), Violation> {
        if self.d.strikes(Fault::ClockForward) {
            self.skew_us += self.d.below(CLOCK_SET_MAX_US) as Micros;
        }
        let mut now_us = self.kernel_now_us();
        if self.d.strikes(Fault::ClockBack) {
            self.counts.clock_jumps_back += 1;
            now_us -= self.d.below(2_000_000) as i64;
        }
        if let Some(process) = &mut self.process {
            if let Input::DiskSpace { sufficient } = input {
                process.read_only = !sufficient;
            }
            if let Input::Request { id, request: Request::Write(_) | Request::Define(_) } = &input {
                process.waiting.insert(*id, process::InLine::default());
            }
            self.oracle.told_time(now_us);
            self.oracle.sources.fed(now_us, &input);
        }
        self.drive(Some((now_us, input)))?;
        let Some(process) = self.process.as_ref().filter(|_| !self.dies) else { return Ok(()) };
        let (known, expected) = (process.coordinator().superseded(), process.published.superseded());
        if *known != expected {
            let text = format!("the kernel counts {known:?} as superseded and read, and not {expected:?}");
            return Err(Violation::new("bounded", text));
        }
        let sync_marker_due_us = self.oracle.sync_marker_due_us(self.p.config.sync_marker_idle_us);
        self.oracle.sources.check_quiesced(process.coordinator().is_quiesced())?;
        self.oracle.sources.settled(process.held.is_some(), sync_marker_due_us)
    }

    /// The kernel's time: a wall clock.
    fn kernel_now_us(&self) -> Micros {
        KERNEL_EPOCH_US + self.now_us + self.skew_us
    }

    fn outside(&self) -> Outside<'_, 'a> {
        Outside {
            brokers: &self.brokers,
            messages: &self.messages,
            rules: &self.p.pipelines,
            row_text_bytes_max: self.p.shard_limits.row_text_bytes_max,
            sync_marker_idle_us: self.p.config.sync_marker_idle_us,
        }
    }
}

/// The records that a start reads back.
struct Replay {
    recovery: Recovery,
    shards: Vec<Shard>,
    seen: Vec<ReadRecord>,
    open: Option<Record>,
}

impl Replay {
    fn new(p: &Parameters) -> Replay {
        let shard = |shard| Shard::with_limits(ShardId(shard), p.shard_count, p.shard_limits);
        Replay {
            recovery: Recovery::new(),
            shards: (0..p.shard_count).map(shard).collect(),
            seen: Vec::new(),
            open: None,
        }
    }

    fn take(&mut self, record: Record) -> kernel::Result<()> {
        self.recovery.replay(&record)?;
        let kind = record.body.kind();
        let hash = hash_body(kind, &record.body.encode(record.sequence).parts);
        self.seen.push(ReadRecord { sequence: record.sequence, kind, hash });
        if let Body::Commit(_, commit) = &record.body {
            let none = vec![];
            for (index, shard) in self.shards.iter_mut().enumerate() {
                let forgotten =
                    defects::is(WorldDefect::ForgottenPiece) && record.sequence.0 == 20 && index == 0;
                let outcomes = commit.outcomes.get(index).filter(|_| !forgotten).unwrap_or(&none);
                shard.replay(record.sequence, &commit.catalog, outcomes)?;
            }
        }
        if kind == RecordKind::Open {
            self.open = Some(record);
        }
        Ok(())
    }
}

/// The published catalog.
fn visible_catalog(process: &Process<'_>) -> Arc<kernel::schema::Catalog> {
    process.published.load().catalog.clone()
}
