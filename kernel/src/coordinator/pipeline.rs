//! The life of each running pipeline's source: open, fetch, prove, retry, fail. All of it is volatile: what must survive is in
//! the catalog. What becomes of proven extracts is decided in `batch`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Config, Coordinator};
use crate::error::{Error, ErrorKind};
use crate::extract::Extract;
use crate::ids::*;
use crate::message::{Effect, SourceFailure, SourceReading};
use crate::planted::{self, Bug};
use crate::probe::{Probe, reached};
use crate::schema::{PipelineDef, StartAt};

/// Readings in a row in which the cursor of a partition may lie beyond its end before that is called a loss: a broker that just took
/// over may know less of the end than we do (fault A10).
const READINGS_BEYOND_END_MAX: u32 = 5;

/// What a source is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
enum Phase {
    /// `SourceOpen` is out.
    Opening,
    /// Fetching.
    Fetching,
    /// Failed in a way that passes; tried again at this time.
    Waiting { retry_at_us: Micros },
    /// Failed for good; the record that says so waits its turn.
    Failed,
}

impl Phase {
    /// Between `SourceOpen` and `SourceClose`.
    fn is_open(self) -> bool {
        matches!(self, Phase::Opening | Phase::Fetching)
    }
}

/// One life of a pipeline's source, from START to STOP or failure.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SourceRun {
    /// Fences what was asked for before; newer than the one in the catalog after a retry.
    pub epoch: Epoch,
    phase: Phase,
    tries: u32,
    /// Of partitions that ended before their cursors: in how many readings in a row.
    beyond_end: BTreeMap<SourcePartition, u32>,
    topic_id: TopicId,
    /// Offset at which the next extract of each partition must begin.
    expected: BTreeMap<SourcePartition, i64>,
    /// Fetched after the last reading of the topic began.
    #[serde(skip)]
    pub unproven: Vec<Extract>,
    /// Fetched before the reading that is on its way began.
    #[serde(skip)]
    pub proving: Vec<Extract>,
    /// Bracketed by two equal readings: may be committed.
    #[serde(skip)]
    pub proven: VecDeque<Extract>,
    /// Token of the reading that is on its way.
    reading: Option<u64>,
    last_token: u64,
    /// Something that the last reading knew of is not fetched yet.
    behind: bool,
    last_reading_us: Micros,
    /// Topic and partitions first seen, to be logged before any batch.
    pub discovered: Option<(TopicId, BTreeMap<SourcePartition, Position>)>,
    /// An error to be logged to the errors table; terminal or not.
    pub report: Option<Report>,
    last_reported: Option<String>,
    /// When the last batch was closed.
    pub last_batch_us: Micros,
}

/// An error of a source that waits to be logged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub error: Error,
    /// The pipeline stops.
    pub terminal: bool,
}

impl SourceRun {
    fn new(epoch: Epoch, now_us: Micros) -> SourceRun {
        SourceRun {
            epoch,
            phase: Phase::Opening,
            tries: 0,
            beyond_end: BTreeMap::new(),
            topic_id: TopicId::default(),
            expected: BTreeMap::new(),
            unproven: vec![],
            proving: vec![],
            proven: VecDeque::new(),
            reading: None,
            last_token: 0,
            behind: false,
            last_reading_us: now_us,
            discovered: None,
            report: None,
            last_reported: None,
            last_batch_us: Micros::MIN,
        }
    }

    /// Source bytes that are ready to be committed.
    pub fn proven_bytes(&self) -> u64 {
        self.proven.iter().map(|e| e.source_bytes).sum()
    }

    /// What a reading says of how far this run is.
    fn note_reading(&mut self, reading: &SourceReading, now_us: Micros) {
        self.last_reading_us = now_us;
        self.behind = reading.partitions.iter().any(|(partition, (_, latest))| {
            self.expected.get(partition).is_some_and(|expected| expected < latest)
        });
    }

    /// Whether it is worth waiting for more before something is done for `bytes`.
    fn gathers(&self, bytes: u64, config: &Config) -> bool {
        // A batch that took all credit would wait for nothing.
        self.behind && bytes < config.catch_up_bytes.min(config.pipeline_credit_bytes / 4)
    }

    fn unproven_bytes(&self) -> u64 {
        self.unproven.iter().map(|e| e.source_bytes).sum()
    }

    /// See [`crate::logical`].
    #[cfg(feature = "explore")]
    pub(super) fn logical(&self, to: &mut crate::logical::Logical) {
        let SourceRun {
            epoch: _,
            phase,
            tries,
            beyond_end,
            topic_id,
            expected,
            unproven,
            proving,
            proven,
            reading,
            last_token: _,
            behind,
            last_reading_us: _,
            discovered,
            report,
            last_reported,
            last_batch_us: _,
        } = self;
        to.word(match phase {
            Phase::Opening => 0u64,
            Phase::Fetching => 1,
            Phase::Waiting { .. } => 2,
            Phase::Failed => 3,
        });
        to.word(*tries);
        to.count(beyond_end.len());
        for (partition, readings) in beyond_end {
            to.signed((*partition).into());
            to.word(*readings);
        }
        to.topic(Some(*topic_id));
        to.count(expected.len());
        for (partition, offset) in expected {
            to.signed((*partition).into());
            to.signed(*offset);
        }
        for extracts in [unproven.len(), proving.len(), proven.len()] {
            to.count(extracts);
        }
        unproven.iter().chain(proving).chain(proven).for_each(|extract| extract.logical(to));
        to.word(reading.is_some());
        to.word(*behind);
        to.word(discovered.is_some());
        if let Some((topic_id, partitions)) = discovered {
            to.topic(Some(*topic_id));
            to.count(partitions.len());
            for (partition, position) in partitions {
                to.signed((*partition).into());
                to.position(*position);
            }
        }
        to.word(report.as_ref().map_or(0u64, |report| 1 + u64::from(report.terminal)));
        to.word(last_reported.is_some());
    }

    fn forget_fetched(&mut self) {
        if !planted::is(Bug::RetryKeepsExpected) {
            self.expected.clear();
        }
        self.unproven.clear();
        if planted::is(Bug::RetryKeepsProving) {
            self.proven = self.proving.drain(..).collect();
        } else if planted::is(Bug::PoisonCountedTwice) {
            self.proven.retain(|extract| extract.messages == extract.set_aside.len() as u64);
        } else {
            self.proven.clear();
        }
        self.proving.clear();
        self.discovered = None;
        self.reading = None;
    }
}

impl Coordinator {
    /// Begins to load a pipeline: START, and recovery of one that was running.
    pub(super) fn open_source(&mut self, definition: Arc<PipelineDef>, epoch: Epoch) {
        let run = SourceRun::new(epoch, self.now_us);
        assert!(self.pipelines.insert(definition.id, run).is_none(), "a pipeline runs once");
        self.say_open(definition, epoch);
    }

    /// With the definitions: what is waiting in line may drop the pipeline before the effect is carried out.
    fn say_open(&mut self, definition: Arc<PipelineDef>, epoch: Epoch) {
        let table = self.tip.tables[&definition.table].clone();
        self.effects.push_back(Effect::SourceOpen { pipeline: definition.id, epoch, definition, table });
    }

    /// Ends it: STOP, DROP, failure. What was fetched and not staged is dropped.
    pub(super) fn close_source(&mut self, id: PipelineId) {
        self.close_epoch(id);
        let Some(run) = self.pipelines.remove(&id) else { return };
        if run.report.is_some_and(|report| report.terminal) {
            reached(Probe::FailureForgotten);
        }
        if !run.proven.is_empty() || !run.proving.is_empty() || !run.unproven.is_empty() {
            reached(Probe::StoppedWithFetched);
        }
    }

    /// Closes what is open of a source. One that waits to be tried again, or has failed, was closed then.
    fn close_epoch(&mut self, id: PipelineId) {
        let open = self.pipelines.get(&id).filter(|run| run.phase.is_open());
        if let Some(SourceRun { epoch, .. }) = open {
            self.effects.push_back(Effect::SourceClose { pipeline: id, epoch: *epoch });
        }
    }

    /// The run that a message of the source speaks of; None if it is of an older epoch (invariant 6).
    fn run(&mut self, id: PipelineId, epoch: Epoch) -> Option<&mut SourceRun> {
        let run = self.pipelines.get_mut(&id)?;
        if run.epoch != epoch {
            reached(Probe::OlderEpochDropped);
            return None;
        }
        Some(run).filter(|run| run.phase != Phase::Failed)
    }

    pub(super) fn source_opened(&mut self, id: PipelineId, epoch: Epoch, reading: SourceReading) {
        let Some(run) = self.run(id, epoch).filter(|run| run.phase == Phase::Opening) else { return };
        run.topic_id = reading.topic_id;
        let pipeline = self.tip.pipelines[&id].clone();
        let mut before = pipeline.topic_id;
        if planted::is(Bug::TopicUncheckedAtOpen) {
            before = None;
        }
        if planted::is(Bug::TopicIdNotRecovered) && self.is_marked_recovered(id) {
            before = None;
        }
        if let Some(error) = changed_topic(&pipeline, before, reading.topic_id) {
            reached(Probe::TopicChangedAtOpen);
            return self.fail(id, error);
        }
        let cursors = self.cursors(id);
        if cursors.keys().any(|partition| !reading.partitions.contains_key(partition)) {
            reached(Probe::PartitionAbsent);
        }
        let mut beyond_end = BTreeMap::new();
        for (&partition, &(earliest, latest)) in &reading.partitions {
            let Some(cursor) = cursors.get(&partition) else { continue };
            if cursor.next_offset < earliest && !is_reset(&pipeline, *cursor, earliest) {
                reached(Probe::LostAtOpen);
                return self.fail(id, lost(&pipeline, partition, cursor.next_offset, earliest, latest));
            }
            if cursor.next_offset > latest {
                beyond_end.insert(partition, (cursor.next_offset, earliest, latest));
            }
        }
        if !beyond_end.is_empty() {
            return self.tolerate_or_fail(id, beyond_end);
        }
        let run = self.pipelines.get_mut(&id).expect("just seen");
        run.phase = Phase::Fetching;
        run.tries = 0;
        run.beyond_end.clear();
        let bytes = self.config.pipeline_credit_bytes;
        self.fetch_partitions(id, &reading);
        let run = self.pipelines.get_mut(&id).expect("just seen");
        run.note_reading(&reading, self.now_us);
        self.effects.push_back(Effect::Credit { pipeline: id, epoch, bytes });
    }

    /// Cursors of some partitions lie beyond their ends, as a reading has it. That is a loss of a partition of which several readings in a
    /// row say so.
    fn tolerate_or_fail(&mut self, id: PipelineId, found: BTreeMap<SourcePartition, (i64, i64, i64)>) {
        let run = self.pipelines.get_mut(&id).expect("called for a run");
        run.beyond_end.retain(|partition, _| found.contains_key(partition));
        found.keys().for_each(|partition| *run.beyond_end.entry(*partition).or_default() += 1);
        let is_loss = |readings: u32| readings > READINGS_BEYOND_END_MAX || planted::is(Bug::BeyondEndIsLoss);
        let loss = run.beyond_end.iter().find(|(_, readings)| is_loss(**readings));
        let terminal = loss.map(|(partition, _)| *partition);
        reached(if terminal.is_some() { Probe::BeyondEndIsLoss } else { Probe::BeyondEndTolerated });
        let told = terminal.unwrap_or_else(|| *found.keys().next().expect("there is one"));
        let (wanted, earliest, latest) = found[&told];
        if terminal.is_some() {
            self.fail(id, lost(&self.tip.pipelines[&id], told, wanted, earliest, latest))
        } else {
            self.retry_later(id, ends_early(told, wanted, latest))
        }
    }

    /// Where a pipeline goes on: its cursors at the tip, or beyond it what the batch that is being staged will make of them.
    fn cursors(&self, id: PipelineId) -> BTreeMap<SourcePartition, Position> {
        let mut cursors = self.tip.pipelines[&id].cursors.clone();
        if planted::is(Bug::StagedCursorsForgotten) {
            return cursors;
        }
        let staged = self.staging.iter().flat_map(|staging| staging.advances());
        for advance in staged.filter(|advance| advance.pipeline == id) {
            reached(Probe::OpenedWhileStaging);
            cursors.insert(advance.partition, advance.next);
        }
        cursors
    }

    /// Begins to fetch the partitions of a reading that are not fetched yet. Those never seen before get a cursor, which is
    /// logged before the first batch (fault A11).
    fn fetch_partitions(&mut self, id: PipelineId, reading: &SourceReading) {
        let pipeline = self.tip.pipelines[&id].clone();
        let cursors = self.cursors(id);
        let run = self.pipelines.get_mut(&id).expect("called for a run");
        let first_reading =
            planted::is(Bug::NewPartitionAtEnd) || pipeline.topic_id.is_none() && run.expected.is_empty();
        let mut starts = vec![];
        let mut discovered = BTreeMap::new();
        for (&partition, &(earliest, latest)) in &reading.partitions {
            if run.expected.contains_key(&partition) {
                continue;
            }
            let known = cursors.get(&partition).copied();
            let known = known.filter(|at| !is_reset(&pipeline, *at, earliest));
            let position = known.unwrap_or_else(|| {
                let at_end = first_reading && pipeline.start_at == StartAt::Latest;
                if at_end {
                    reached(Probe::StartedAtLatest);
                }
                let position =
                    Position { next_offset: if at_end { latest } else { earliest }, leader_epoch: -1 };
                discovered.insert(partition, position);
                position
            });
            run.expected.insert(partition, position.next_offset);
            starts.push((partition, position));
        }
        if !discovered.is_empty() || pipeline.topic_id.is_none() {
            let (_, partitions) = run.discovered.get_or_insert((reading.topic_id, BTreeMap::new()));
            partitions.append(&mut discovered);
        }
        if !starts.is_empty() {
            self.effects.push_back(Effect::Fetch { pipeline: id, epoch: run.epoch, starts });
        }
    }

    pub(super) fn extracted(&mut self, mut extract: Extract) {
        let id = extract.pipeline;
        if planted::is(Bug::StaleFetchAfterSetOffsets) {
            self.adopt_after_rewind(&mut extract);
        }
        let current = self.pipelines.get(&id).map(|run| run.epoch);
        let unchecked = current.filter(|_| planted::is(Bug::EpochNotChecked));
        let epoch = unchecked.unwrap_or(extract.epoch);
        assert_eq!(extract.pieces.len(), self.shard_count as usize, "one piece a shard");
        let Some(run) = self.run(id, epoch).filter(|run| run.phase == Phase::Fetching) else {
            return reached(Probe::StaleExtractDropped);
        };
        let follows = run.expected.get_mut(&extract.partition).filter(|at| **at == extract.first_offset);
        match follows {
            Some(expected) if extract.next.next_offset >= *expected => *expected = extract.next.next_offset,
            // The range repeats, overlaps or skips: whatever delivered it has lost its place. Nothing is guessed; the store's
            // own offset is the truth (faults A3, A4), and the source starts again from there.
            _ => {
                reached(Probe::RangeDoesNotFollow);
                let text = format!(
                    "partition {}: range {}..{} does not follow; fetching again from the cursor",
                    extract.partition, extract.first_offset, extract.next.next_offset
                );
                self.effects.push_back(Effect::Note { pipeline: Some(id), text, error: None });
                return self.reopen(id);
            }
        }
        if planted::is(Bug::BracketNotClosed) {
            return run.proven.push_back(extract);
        }
        run.unproven.push(extract);
    }

    /// The planted bug `topic-id-not-recovered`: a run that recovery began is known by its tokens.
    pub(super) fn mark_recovered(&mut self, id: PipelineId) {
        self.pipelines.get_mut(&id).expect("just opened").last_token = TOKENS_OF_RECOVERED;
    }

    fn is_marked_recovered(&self, id: PipelineId) -> bool {
        self.pipelines[&id].last_token >= TOKENS_OF_RECOVERED
    }

    /// The planted bug `stale-fetch-after-set-offsets`: what reaches beyond where the next range begins is taken for this epoch's.
    fn adopt_after_rewind(&self, extract: &mut Extract) {
        let rewound = self.tip.pipelines.get(&extract.pipeline).is_some_and(|p| p.run > Run(1));
        let run = self.pipelines.get(&extract.pipeline).filter(|_| rewound);
        let at = run.and_then(|run| run.expected.get(&extract.partition).map(|at| (run.epoch, *at)));
        if let Some((epoch, expected)) = at.filter(|(_, at)| extract.next.next_offset >= *at) {
            (extract.epoch, extract.first_offset) = (epoch, expected);
        }
    }

    /// Asks for a reading of the topic, which proves all that was fetched before it begins: the second bracket.
    fn read_topic(&mut self, id: PipelineId) {
        let run = self.pipelines.get_mut(&id).expect("called for a run");
        assert!(run.reading.is_none() && run.proving.is_empty(), "one reading at a time proves extracts");
        run.proving.append(&mut run.unproven);
        run.last_token += 1;
        run.reading = Some(run.last_token);
        let (epoch, token) = (run.epoch, run.last_token);
        self.effects.push_back(Effect::SourceVerify { pipeline: id, epoch, token });
    }

    pub(super) fn source_verified(
        &mut self,
        id: PipelineId,
        epoch: Epoch,
        token: u64,
        reading: SourceReading,
    ) {
        let now_us = self.now_us;
        let Some(run) = self.run(id, epoch).filter(|run| run.reading == Some(token)) else { return };
        run.reading = None;
        run.note_reading(&reading, now_us);
        let topic_id = run.topic_id;
        if let Some(error) = changed_topic(&self.tip.pipelines[&id], Some(topic_id), reading.topic_id) {
            reached(Probe::TopicChangedWhileRead);
            return self.fail(id, error);
        }
        let run = self.pipelines.get_mut(&id).expect("just seen");
        if !run.unproven.is_empty() {
            reached(Probe::FetchedDuringReading);
        }
        run.proven.extend(run.proving.drain(..));
        if planted::is(Bug::ProofTooEarly) {
            run.proven.extend(run.unproven.drain(..));
        }
        if planted::is(Bug::AbsentPartitionDropped) {
            run.expected.retain(|partition, _| reading.partitions.contains_key(partition));
        }
        run.last_reported = None;
        self.fetch_partitions(id, &reading);
    }

    pub(super) fn source_failed(&mut self, id: PipelineId, epoch: Epoch, failure: SourceFailure) {
        if self.run(id, epoch).is_none() {
            return;
        }
        match failure {
            SourceFailure::Transient(error) => self.retry_later(id, error),
            SourceFailure::Lost { .. } if planted::is(Bug::LossIsReset) => self.reopen(id),
            SourceFailure::Permanent(error) => self.fail(id, error),
            SourceFailure::Lost { partition, wanted, earliest, latest } => {
                reached(Probe::LostWhileRead);
                // The reader was ahead of what is committed: what it has lost may not be what the pipeline needs next, and a
                // hint to go on from there would skip what lies between. From the cursor the same question has its answer.
                let cursor = self.cursors(id).get(&partition).map(|at| at.next_offset);
                if cursor.is_some_and(|cursor| cursor < wanted) {
                    let text = format!(
                        "partition {partition}: a reader at {wanted} has lost its place; fetching again from the cursor"
                    );
                    self.effects.push_back(Effect::Note { pipeline: Some(id), text, error: None });
                    return self.reopen(id);
                }
                let error = lost(&self.tip.pipelines[&id], partition, wanted, earliest, latest);
                self.fail(id, error)
            }
        }
    }

    /// The pipeline stops. The record that says so is staged in its turn (`batch::start_own_record`).
    fn fail(&mut self, id: PipelineId, error: Error) {
        self.close_epoch(id);
        let run = self.pipelines.get_mut(&id).expect("called for a run");
        run.phase = Phase::Failed;
        run.forget_fetched();
        run.report = Some(Report { error, terminal: true });
    }

    /// The source is closed and opened again after a pause. The error goes to the errors table once, until something works.
    fn retry_later(&mut self, id: PipelineId, error: Error) {
        let epoch = self.new_epoch();
        let (now_us, config) = (self.now_us, self.config.clone());
        self.close_epoch(id);
        let run = self.pipelines.get_mut(&id).expect("called for a run");
        let pause_us = config.retry_us_min.saturating_mul(1 << run.tries.min(20)).min(config.retry_us_max);
        if pause_us == config.retry_us_max {
            reached(Probe::RetryPauseLongest);
        }
        run.epoch = epoch;
        run.tries += 1;
        run.phase = Phase::Waiting { retry_at_us: now_us + pause_us };
        run.forget_fetched();
        let text = format!("source failed, trying again in {} ms: {}", pause_us / 1000, error.message);
        if run.last_reported.as_ref() != Some(&error.message) {
            run.last_reported = Some(error.message.clone());
            run.report = Some(Report { error: error.clone(), terminal: false });
        }
        self.effects.push_back(Effect::Note { pipeline: Some(id), text, error: Some(error) });
    }

    /// Opens again at once, from the cursor, under a new epoch.
    fn reopen(&mut self, id: PipelineId) {
        let epoch = self.new_epoch();
        self.close_epoch(id);
        let run = self.pipelines.get_mut(&id).expect("called for a run");
        run.epoch = epoch;
        run.phase = Phase::Opening;
        run.forget_fetched();
        self.say_open(self.tip.pipelines[&id].clone(), epoch);
    }

    pub(super) fn give_back_credit(&mut self, id: PipelineId, epoch: Epoch, bytes: u64) {
        if bytes > 0 && self.run(id, epoch).is_some() {
            self.effects.push_back(Effect::Credit { pipeline: id, epoch, bytes });
        }
    }

    /// Retries that are due, and readings of topics: of what was fetched, or because nothing came for a while.
    pub(super) fn run_timers(&mut self) {
        let ids: Vec<PipelineId> = self.pipelines.keys().copied().collect();
        for id in ids {
            let run = &self.pipelines[&id];
            match run.phase {
                Phase::Waiting { retry_at_us } if retry_at_us <= self.now_us => {
                    reached(Probe::Retried);
                    self.reopen(id)
                }
                Phase::Fetching if self.reading_due(run).is_some_and(|due_us| due_us <= self.now_us) => {
                    if run.unproven.is_empty() {
                        reached(Probe::IdleReading);
                    }
                    self.read_topic(id)
                }
                _ => {}
            }
        }
    }

    pub(super) fn reading_due(&self, run: &SourceRun) -> Option<Micros> {
        let pause_us = if run.unproven.is_empty() {
            self.config.reading_interval_us
        } else if run.gathers(run.unproven_bytes(), &self.config) {
            self.config.catch_up_pause_us
        } else if run.behind {
            0
        } else {
            self.config.reading_pause_us
        };
        run.reading.is_none().then_some(run.last_reading_us + pause_us)
    }

    pub(super) fn next_pipeline_timer(&self) -> Option<Micros> {
        let timers = self.pipelines.iter().filter_map(|(id, run)| match run.phase {
            Phase::Waiting { retry_at_us } => Some(retry_at_us),
            Phase::Fetching => {
                let batch = self.batch_due(*id, run).filter(|due_us| *due_us > self.now_us);
                batch.into_iter().chain(self.reading_due(run)).min()
            }
            Phase::Opening | Phase::Failed => None,
        });
        timers.min()
    }

    /// When a pipeline may close its next batch; None if it has nothing to commit.
    pub(super) fn batch_due(&self, id: PipelineId, run: &SourceRun) -> Option<Micros> {
        let pipeline: &Arc<PipelineDef> = &self.tip.pipelines[&id];
        let bytes = run.proven_bytes();
        let gathers = bytes < pipeline.batch_bytes_max && run.gathers(bytes, &self.config);
        if gathers && bytes > 0 {
            reached(Probe::BatchGathering);
        }
        let pause_us = if gathers { self.config.catch_up_pause_us } else { 0 };
        let interval_us = pipeline.batch_interval_us.max(pause_us);
        (!run.proven.is_empty()).then(|| run.last_batch_us.saturating_add(interval_us))
    }

    /// The topic that a run fetches from.
    pub(super) fn run_topic(&self, id: PipelineId) -> TopicId {
        self.pipelines[&id].topic_id
    }
}

/// The planted bug `topic-id-not-recovered`: tokens of readings begin here.
const TOKENS_OF_RECOVERED: u64 = 1 << 32;

/// The planted bug `loss-is-reset`: only of a pipeline that was never rewound, which could stand before the oldest message without
/// any loss.
fn is_reset(pipeline: &PipelineDef, cursor: Position, earliest: i64) -> bool {
    planted::is(Bug::LossIsReset) && pipeline.run == Run(1) && cursor.next_offset < earliest
}

fn changed_topic(pipeline: &PipelineDef, before: Option<TopicId>, now: TopicId) -> Option<Error> {
    let before = before.filter(|before| *before != now)?;
    Some(Error::new(
        ErrorKind::SourceChanged,
        format!(
            "the topic of pipeline {} was deleted and created again (topic id {} is now {}), so its offsets mean other \
             messages; nothing of the new topic was loaded, and what was loaded of the old one stays. To load the new one from \
             its start, in addition: ALTER PIPELINE {} SET OFFSETS EARLIEST, then START PIPELINE",
            pipeline.name,
            hex(before),
            hex(now),
            pipeline.name
        ),
    ))
}

/// Of a partition that is said to end before its cursor, as long as that may pass.
fn ends_early(partition: SourcePartition, wanted: i64, latest: i64) -> Error {
    let text = format!(
        "partition {partition} ends at {latest}, before the next message {wanted}, as its broker says now; a broker that just \
         took over may not know of all messages yet, so it is asked again before this counts as a loss"
    );
    Error::new(ErrorKind::SourceLost, text)
}

fn lost(
    pipeline: &PipelineDef,
    partition: SourcePartition,
    wanted: i64,
    earliest: i64,
    latest: i64,
) -> Error {
    let (what, go_on) = if wanted >= earliest {
        let what = format!(
            "partition {partition} ends at {latest}, before the next message {wanted}: the source lost or replaced messages"
        );
        (what, latest)
    } else {
        let what = format!(
            "messages {wanted}..{earliest} of partition {partition} are gone from the source (retention or truncation)"
        );
        (what, earliest)
    };
    Error::new(
        ErrorKind::SourceLost,
        format!(
            "{what}; pipeline {name} stopped rather than guess. To go on without them: ALTER PIPELINE {name} SET OFFSETS \
             '{{\"{partition}\": {go_on}}}', then START PIPELINE",
            name = pipeline.name,
        ),
    )
}

fn hex(id: TopicId) -> String {
    id.0.iter().map(|b| format!("{b:02x}")).collect()
}
