//! The parameters of a run: its size, its speeds and its faults, drawn per run (swarm testing: leaving features out per
//! run finds more than always enabling all).

use std::sync::Arc;

use kernel::log::LogLimits;
use kernel::{Config, Pacing, ShardLimits};
use tidemark_decode::{ExtractLimits, ShapeLimits};

use crate::csv::Dialect;
use crate::decide::{Decisions, Rate};
use crate::disk::{Crash, DiskHabits};
use crate::fault::{Fault, FaultRates, FaultSet, Group};
use crate::program::Program;
use crate::scenario::{Duplicate, MessageMix, PipelineRule, Setting, TableShape};
use crate::wide::WideMix;

/// Which faults a run may draw.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Profile {
    /// Any of them, each left out by some runs.
    Swarm,
    /// None at all.
    Calm,
    /// Those of the disk and of the process.
    Disk,
    /// Those of the broker.
    Broker,
    /// None, with many active clients.
    Clients,
    /// Damage to durable data, after a crash: the database must refuse to start, or lose nothing.
    Rot,
    /// Those of the disk and of the process in short runs that crash every few steps.
    Crashes,
    /// The same in runs that are shorter still, each with many model tests and corrupted logs behind it.
    ModelTests,
}

impl Profile {
    /// All of them.
    pub const ALL: &[Profile] = {
        use Profile::*;
        &[Swarm, Calm, Disk, Broker, Clients, Rot, Crashes, ModelTests]
    };

    /// Faults that runs of this profile may draw.
    pub fn faults(self) -> FaultSet {
        use Group::{Broker, Disk, Messages, Process, Rot, Time};
        match self {
            Profile::Swarm => FaultSet::ALL,
            Profile::Calm => FaultSet::NONE,
            Profile::Disk | Profile::Crashes | Profile::ModelTests => {
                FaultSet::of(&[Messages, Disk, Process, Time])
            }
            Profile::Broker => FaultSet::of(&[Broker, Messages, Time]),
            Profile::Clients => FaultSet::of(&[Messages]),
            Profile::Rot => FaultSet::of(&[Messages, Disk, Process, Time, Rot]),
        }
    }
}

/// Optional activities of clients and operators.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)]
pub struct ActivityRates {
    pub truncate: Rate,
    pub table_churn: Rate,
    pub odd_definition: Rate,
    pub rest: Rate,
    pub restart_pipeline: Rate,
    pub rewind: Rate,
    pub write: Rate,
    pub table_lock: Rate,
    pub read: Rate,
}

/// How often each part of the world gets its turn, relative to the others: a slow shard, a slow disk, a slow source.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Paces {
    pub shards: Vec<u64>,
    pub replies: u64,
    pub log: u64,
    /// Least turns of the log for a sync.
    pub sync: u64,
    pub source: u64,
    /// Answers of sources in flight to the coordinator.
    pub answers: u64,
    pub readers: u64,
    pub producer: u64,
    pub clients: u64,
    pub requests: u64,
}

/// The parameters of a run.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// See [`Profile`].
    pub profile: Profile,
    /// Fixed when the database is created.
    pub shard_count: u16,
    /// Partitions of each topic at the start.
    pub topics: Vec<usize>,
    /// How each topic's messages are written: lines of CSV, each a row; None: a JSON object each.
    pub dialects: Vec<Option<Dialect>>,
    /// Tables: name, shape, placed by all columns.
    pub tables: Vec<(String, TableShape, bool)>,
    /// Pipelines.
    pub pipelines: Vec<PipelineRule>,
    /// Most source bytes in one batch, by pipeline.
    pub batch_bytes_max: Vec<u64>,
    /// Pause between batches, by pipeline.
    pub batch_interval_us: Vec<i64>,
    /// Limits of the coordinator.
    pub config: Config,
    /// Limits of the shards.
    pub shard_limits: ShardLimits,
    /// Limits of the log.
    pub log: LogLimits,
    /// Messages written before the faults end.
    pub messages: u64,
    /// See [`MessageMix`].
    pub mix: MessageMix,
    /// See [`FaultRates`].
    pub faults: FaultRates,
    /// See [`DiskHabits`].
    pub disk: DiskHabits,
    /// See [`ActivityRates`].
    pub activity: ActivityRates,
    /// See [`Paces`].
    pub paces: Paces,
    /// How many of the clients' UPDATEs give rows other keys.
    pub key_moves: Rate,
    /// How often definitions follow one another without waiting for answers.
    pub definition_chains: Rate,
    /// Most waiting definitions at a time.
    pub definitions_in_line_max: u64,
    /// Readers refetch after jumps, as the shipped Kafka reader does.
    pub doubting_readers: bool,
    /// Least offset of any message.
    pub first_offset: i64,
    /// Calls to a broker that fail one after the other at most, beside those that fail by themselves.
    pub outage_calls_max: u64,
    /// Most messages of a fetch.
    pub fetch_messages_max: u64,
    /// See [`Pushes`].
    pub pushes: Pushes,
    /// Steps before the faults end.
    pub steps: u64,
    /// Steps without faults in which everything must have caught up.
    pub catch_up_steps_max: u64,
    /// How often its last log is corrupted and read, only where all faults may happen.
    pub log_corruptions: u64,
    /// Number of model tests (shards, logs, readers) at its end.
    pub model_tests: u64,
    /// Faults of a model test's log.
    pub model_test_faults: FaultSet,
    /// Most turns of producers and operators between the end of one process and the start of the next.
    pub outage_turns: u64,
    /// The process's last crashes, after everything has caught up.
    pub last_crashes: Vec<Crash>,
}

/// How readers hand messages to their extractors: one by one, or as a server does, whatever they have fetched.
#[derive(Clone, Copy, Debug)]
pub struct Pushes {
    /// Messages that are pushed at a time at most.
    pub messages_max: u64,
    /// Now and then a reader fetches once more before it pushes: what is delivered twice comes in one push.
    pub joins_fetches: bool,
    /// Limits of the extractors.
    pub limits: ExtractLimits,
}

impl Pushes {
    fn draw(d: &Decisions<'_>) -> Pushes {
        let shipped = ExtractLimits::default();
        let messages_max = d.pick(&[1, 4, 1000, 1000]);
        let joins_fetches = messages_max > 1 && d.below(3) > 0;
        // Chunks within which nothing ends, or so small that each push fills several.
        let limits = match d.below(2) {
            0 => shipped,
            _ => ExtractLimits {
                chunk_messages_max: d.pick(&[shipped.chunk_messages_max, 1, 4, 20]),
                chunk_bytes_max: d.pick(&[shipped.chunk_bytes_max, shipped.chunk_bytes_max, 300, 2000]),
                stride: d.pick(&[shipped.stride, 1, 3, 8]),
                shapes: draw_shape_limits(d),
            },
        };
        Pushes { messages_max, joins_fetches, limits }
    }
}

/// So few shapes that they are forgotten and learned again.
fn draw_shape_limits(d: &Decisions<'_>) -> ShapeLimits {
    let shipped = ShapeLimits::default();
    ShapeLimits {
        edges_max: d.pick(&[shipped.edges_max, 8, 60]),
        bytes_max: d.pick(&[shipped.bytes_max, shipped.bytes_max, 200]),
        pause_messages: d.pick(&[shipped.pause_messages, 0, 5]),
        steps_max: d.pick(&[shipped.steps_max, shipped.steps_max, 6]),
    }
}

/// Most messages of a run with long messages: many batches contain only one.
const PADDED_MESSAGES_MAX: u64 = 150;

/// Model tests and log corruptions of a run in the profile for them.
const MODEL_TESTS: u64 = 4;
const LOG_CORRUPTIONS: u64 = 6;

/// A rate that half of the runs leave out.
fn maybe(d: &Decisions<'_>, allowed: bool, per_mille_max: u64) -> Rate {
    if !allowed || d.below(2) == 0 {
        return Rate::NEVER;
    }
    Rate(d.between(1, per_mille_max * 1000) as u32)
}

impl Parameters {
    /// Draws the parameters of a run. Of the profile's faults only those in `faults` are drawn.
    pub fn draw(d: &Decisions<'_>, profile: Profile, faults: FaultSet) -> Parameters {
        let shard_count = d.between(1, 8) as u16;
        let topics: Vec<usize> = (0..d.between(1, 2)).map(|_| d.between(1, 4) as usize).collect();
        let tables = draw_tables(d);
        let pipelines = draw_pipelines(d, &tables, topics.len(), profile);
        let batch_bytes_max: Vec<u64> = pipelines.iter().map(|_| d.pick(&[1, 300, 2000, 1 << 20])).collect();
        let config = draw_config(d);
        let shard_limits = draw_shard_limits(d);
        // One message per batch is slow.
        let slow = config.pipeline_credit_bytes == 1 || batch_bytes_max.contains(&1);
        let batch_interval_us = pipelines.iter().map(|_| d.pick(&[0, 0, 1000, 20_000])).collect();
        let pace = || d.pick(&[1, 2, 4, 8]);
        let mut parameters = Parameters {
            profile,
            shard_count,
            dialects: vec![None; topics.len()],
            topics,
            tables,
            pipelines,
            batch_bytes_max,
            batch_interval_us,
            config,
            shard_limits,
            log: LogLimits::from(d.pick(&[4, 4, 16, 256]) << 10),
            messages: d.between(40, if slow { 100 } else { 500 }),
            mix: MessageMix {
                huge: maybe(d, true, 30),
                keys: d.between(1, 40),
                wide: None,
                oversized_bytes_max: 20_000.min(4 * shard_limits.step_bytes_max as u64 - 800),
                multiples_of: d.pick(&[1, 1, 100]),
                padding: 0,
            },
            faults: draw_faults(d, profile, faults),
            disk: draw_disk(d, faults),
            activity: draw_activity(d, profile),
            paces: Paces {
                shards: (0..shard_count).map(|_| pace()).collect(),
                replies: 4 * pace(),
                log: 2 * pace(),
                sync: 0,
                source: 2 * pace(),
                answers: 0,
                readers: 2 * pace(),
                producer: pace(),
                clients: pace(),
                requests: 4 * pace(),
            },
            key_moves: Rate::NEVER,
            definition_chains: Rate::NEVER,
            definitions_in_line_max: 1,
            doubting_readers: d.below(2) == 1,
            first_offset: 0,
            outage_calls_max: 0,
            fetch_messages_max: d.between(1, 40),
            pushes: Pushes { messages_max: 1, joins_fetches: false, limits: ExtractLimits::default() },
            // Many short runs find more than a few long ones, and some things only happen late.
            steps: mixed_lengths(d.between(800, 4500)),
            catch_up_steps_max: 200_000,
            log_corruptions: FaultSet::of(&[Group::Rot]).kinds().all(|kind| faults.contains(kind)).into(),
            model_tests: matches!(profile, Profile::Swarm | Profile::Clients).into(),
            model_test_faults: profile.faults().and(faults).and(FaultSet::of(&[Group::Disk, Group::Process])),
            outage_turns: 0,
            last_crashes: last_crashes(faults),
        };
        parameters.draw_wide(d);
        let mut parameters = match profile {
            Profile::Crashes => parameters.crashing(d, faults),
            Profile::ModelTests => parameters.model_testing(d),
            _ => parameters,
        };
        // Records are appended during a sync, so that covered and uncovered ones differ.
        parameters.paces.sync = d.pick(&[0, 0, 2, 8]);
        // The slower an answer, the more likely it is outdated.
        parameters.paces.answers = d.pick(&[4, 8, 2, 1]);
        // Records as long as pages, and log files that end while a previous one is unsynced.
        let padding = d.pick(if profile == Profile::Crashes { &[0, 0, 700, 700] } else { &[0, 0, 0, 700] });
        // They must fit where rows have to be short.
        if padding > 0 && parameters.shard_limits.step_bytes_max >= 6000 {
            parameters.mix.padding = padding;
            parameters.messages = parameters.messages.min(PADDED_MESSAGES_MAX);
        }
        parameters.draw_dialects(d);
        parameters.definitions_in_line_max = d.pick(&[1, 1, 3]);
        parameters.draw_power_cuts(d);
        parameters.outage_turns = d.pick(&[0, 0, 6, 30]);
        parameters.faults.draw_late(d, profile.faults().and(faults));
        // What is drawn from here on is as it always was where it is zero, so that recorded runs keep their meaning.
        parameters.pushes = Pushes::draw(d);
        parameters.key_moves = Rate::per_mille(d.pick(&[0, 300, 900]));
        // Offsets have 64 bits: few of any kind, just below and above those of 32, and large ones.
        parameters.first_offset = d.pick(&[0, 0, (1 << 31) - 60, (1 << 32) - 60, 1 << 40]);
        parameters.outage_calls_max = d.pick(&[0, 0, 10, 300]);
        if parameters.outage_calls_max > 100 {
            // So many retries, with pauses that end at the longest, take their time.
            let pacing = &mut parameters.config.pacing;
            (pacing.retry_us_min, pacing.retry_us_max) = (1000, 8000);
            if profile.faults().and(faults).contains(Fault::Disconnect) {
                parameters.faults.set(Fault::Disconnect, Rate::per_mille(30));
            }
        }
        if d.below(8) == 1 {
            parameters.shard_count = d.between(9, 40) as u16;
            parameters.paces.shards = (0..parameters.shard_count).map(|_| pace()).collect();
        }
        for rule in &mut parameters.pipelines {
            rule.setting = (d.below(3) == 1).then(|| draw_setting(d));
        }
        let chains = if matches!(profile, Profile::Swarm | Profile::Clients) { [0, 10, 40] } else { [0; 3] };
        parameters.definition_chains = Rate::per_mille(d.pick(&chains));
        parameters.log = draw_log_limits(d, parameters.log.log_file_len);
        parameters.shard_limits.keys_at_once = d.pick(&[ShardLimits::default().keys_at_once, 1, 3]);
        parameters
    }

    /// A third of the topics have messages of several rows. Some of their rows are added up, some ignored, some
    /// rejected.
    fn draw_dialects(&mut self, d: &Decisions<'_>) {
        let layout = self.mix.wide.map(|mix| mix.layout);
        for dialect in &mut self.dialects {
            *dialect = (d.below(3) == 1).then(|| Dialect::draw(d, layout));
        }
        for rule in &mut self.pipelines {
            if self.dialects[rule.topic].is_some() && rule.duplicate == Duplicate::Add && d.below(2) == 1 {
                rule.duplicate = Duplicate::AddGains;
            }
        }
    }

    /// With frequent power cuts a run makes little progress: in some short runs much happens between two cuts.
    fn draw_power_cuts(&mut self, d: &Decisions<'_>) {
        let rate = self.faults.of(Fault::PowerCut);
        if self.profile == Profile::Crashes && rate != Rate::NEVER {
            self.faults.set(Fault::PowerCut, Rate((rate.0 >> d.below(7)).max(1)));
            if d.below(3) == 2 {
                self.messages *= 4;
            }
        }
    }

    /// Half of the runs have a wide table, loaded by one pipeline.
    fn draw_wide(&mut self, d: &Decisions<'_>) {
        if d.below(2) == 0 {
            return;
        }
        let mix = WideMix::draw(d);
        let shape = TableShape::Wide(mix.layout);
        self.mix.wide = Some(mix);
        self.tables.push(("wide".into(), shape, d.below(2) == 0));
        let pipeline = self.pipelines.last_mut().expect("there is one at least");
        (pipeline.table, pipeline.shape) = ("wide".into(), shape);
        pipeline.duplicate = match d.below(8) {
            0 => Duplicate::Reject,
            1 => Duplicate::Replace,
            2 => Duplicate::Ignore,
            _ => Duplicate::Update(Arc::new(Program::draw(d, mix.layout))),
        };
    }

    /// A run just long enough to leave a log.
    fn model_testing(mut self, d: &Decisions<'_>) -> Parameters {
        self.messages = d.between(5, 30);
        self.steps = d.between(100, 400);
        self.log_corruptions *= LOG_CORRUPTIONS;
        self.model_tests = MODEL_TESTS;
        self
    }

    /// Short, with little time between two crashes: this profile tests recovery.
    fn crashing(mut self, d: &Decisions<'_>, allowed: FaultSet) -> Parameters {
        self.messages = d.between(5, 40);
        self.steps = d.between(300, 1000);
        // Little is written, so log files must be short to become full.
        self.log.log_file_len = self.log.log_file_len.min(16 << 10);
        let crashes = [(Fault::Kill, 30), (Fault::PowerCut, 30), (Fault::CrashInRecovery, 60)];
        for (crash, per_mille_max) in crashes.into_iter().filter(|(crash, _)| allowed.contains(*crash)) {
            self.faults.set(crash, Rate::per_mille(d.between(1, per_mille_max) as u32));
        }
        self
    }
}

/// Every run ends in two crashes, if such crashes may happen at all.
fn last_crashes(faults: FaultSet) -> Vec<Crash> {
    let crashes = [(Fault::Kill, Crash::Kill), (Fault::PowerCut, Crash::Power)];
    crashes.into_iter().filter(|(fault, _)| faults.contains(*fault)).map(|(_, crash)| crash).collect()
}

fn draw_tables(d: &Decisions<'_>) -> Vec<(String, TableShape, bool)> {
    let mut tables = vec![
        ("events".to_string(), TableShape::Events, d.below(3) == 0),
        ("accounts".to_string(), TableShape::Accounts, d.below(2) == 0),
        ("latest".to_string(), TableShape::Latest, d.below(2) == 0),
    ];
    tables.extend((0..3).map(|i| (format!("ledger_{i}"), TableShape::Ledger, false)));
    tables
}

fn draw_pipelines(
    d: &Decisions<'_>,
    tables: &[(String, TableShape, bool)],
    topics: usize,
    profile: Profile,
) -> Vec<PipelineRule> {
    let count = d.between(1, 4);
    let mut pipelines: Vec<PipelineRule> = Vec::new();
    for number in 0..count {
        let (table, shape, _) = tables[d.index(3)].clone();
        let duplicate = match shape {
            TableShape::Events | TableShape::Ledger | TableShape::Wide(_) => Duplicate::Reject,
            TableShape::Accounts => d.pick(&[Duplicate::Add, Duplicate::Add, Duplicate::Replace]),
            TableShape::Latest => {
                d.pick(&[Duplicate::Replace, Duplicate::Ignore, Duplicate::Reject, Duplicate::TakeIfGreater])
            }
        };
        pipelines.push(PipelineRule {
            name: format!("pipeline_{number}"),
            table,
            shape,
            duplicate,
            filter_multiples_of: d.pick(&[0, 0, 2, 5]),
            setting: None,
            topic: d.index(topics),
            error_limit: (profile != Profile::Calm && d.below(4) == 0).then(|| d.between(3, 20)),
        });
    }
    pipelines
}

fn draw_setting(d: &Decisions<'_>) -> Setting {
    Setting {
        fails_on: d.below(Setting::FAILS_IN as u64) as i64,
        nulls_on: d.below(Setting::NULLS_IN as u64) as i64,
        adds: d.pick(&[0, 1, -7]),
        names_rows: d.below(2) == 1,
    }
}

fn draw_config(d: &Decisions<'_>) -> Config {
    Config {
        unsynced_records_max: d.between(1, 16) as usize,
        pipeline_credit_bytes: d.pick(&[1, 400, 4800, 1 << 20]),
        requests_waiting_max: d.pick(&[2, 100]),
        pacing: Pacing {
            retry_us_min: d.pick(&[1000, 20_000]),
            retry_us_max: 100_000,
            metadata_interval_us: d.pick(&[5000, 50_000]),
            linger_bytes: d.pick(&[0, 300, 1 << 20]),
            linger_us: d.pick(&[500, 20_000]),
            metadata_pause_us: d.pick(&[0, 1000]),
        },
        sync_marker_idle_us: d.pick(&[2000, 20_000]),
        dead_letter_bytes_max: d.pick(&[1, 400, 256 << 20]),
        pipelines_stopped: false,
    }
}

/// The limits of a server, or limits so small that short records reach every boundary: see [`LogLimits`].
pub(crate) fn draw_log_limits(d: &Decisions<'_>, log_file_len: u64) -> LogLimits {
    let shipped = LogLimits::from(log_file_len);
    if d.below(2) == 0 {
        return shipped;
    }
    LogLimits {
        log_file_len,
        copy_len: d.pick(&[shipped.copy_len, 64, 100, 1000]),
        clear_len: d.pick(&[shipped.clear_len, 64, 100, 500]),
        windows: d.pick(&[shipped.windows, 1, 64]),
        window_len_min: d.pick(&[shipped.window_len_min, 192, 4096]),
    }
}

/// A server's limits, or limits so small that a few rows reach each of them: see [`ShardLimits`].
pub(crate) fn draw_shard_limits(d: &Decisions<'_>) -> ShardLimits {
    let shipped = ShardLimits::default();
    if d.below(2) == 0 {
        return shipped;
    }
    ShardLimits {
        step_bytes_max: d.pick(&[700, 1500, 6000, shipped.step_bytes_max]),
        piece_rows_max: d.pick(&[1, 3, 10, shipped.piece_rows_max]),
        chunk_rows_max: d.pick(&[4, 16, 64, shipped.chunk_rows_max]),
        chunk_bytes_max: d.pick(&[300, 2000, shipped.chunk_bytes_max]),
        row_text_bytes_max: d.pick(&[10, 100, shipped.row_text_bytes_max]),
        keys_at_once: shipped.keys_at_once,
        key_hash_bits: d.pick(&[0, 2, 5, shipped.key_hash_bits]),
    }
}

/// Without power cuts, a process that dies in a call is killed.
fn draw_disk(d: &Decisions<'_>, allowed: FaultSet) -> DiskHabits {
    let power = Rate::per_mille(d.between(0, 1000) as u32);
    let power = if allowed.contains(Fault::PowerCut) { power } else { Rate::NEVER };
    DiskHabits { power, lie: Rate::NEVER }
}

fn draw_faults(d: &Decisions<'_>, profile: Profile, allowed: FaultSet) -> FaultRates {
    let mut rates = FaultRates::draw(d, profile.faults().and(allowed));
    if profile == Profile::Rot {
        let kinds: Vec<Fault> = FaultSet::of(&[Group::Rot]).and(allowed).kinds().collect();
        if !kinds.is_empty() {
            rates.set(d.pick(&kinds), Rate::per_mille(500));
        }
    }
    rates
}

fn draw_activity(d: &Decisions<'_>, profile: Profile) -> ActivityRates {
    use Profile::*;
    let broker = matches!(profile, Swarm | Broker);
    let clients = matches!(profile, Swarm | Clients);
    ActivityRates {
        truncate: maybe(d, clients, 20),
        table_churn: maybe(d, clients, 30),
        odd_definition: maybe(d, clients, 100),
        rest: maybe(d, profile != Calm, 10),
        restart_pipeline: maybe(d, clients || broker, 40),
        rewind: maybe(d, clients || broker, 400),
        write: if profile == Clients { Rate::per_mille(700) } else { maybe(d, profile != Calm, 300) },
        table_lock: maybe(d, profile != Calm, 600),
        read: maybe(d, true, 200),
    }
}

/// A third of the runs are a tenth as long: many short runs find more than a few long ones, and some events only happen
/// late.
fn mixed_lengths(steps: u64) -> u64 {
    if steps % 3 == 1 { 50 + steps / 10 } else { steps }
}
