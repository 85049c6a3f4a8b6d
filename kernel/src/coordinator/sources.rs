//! The life of each running pipeline's source: open, fetch, prove, retry, fail. All of it is volatile: what must survive is in
//! the catalog. What becomes of proven extracts is decided in `batch`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Config, Coordinator};
use crate::coverage::{CoverageMark, reached};
use crate::defects::{self, Defect};
use crate::error::{Error, ErrorKind};
use crate::extract::Extract;
use crate::ids::*;
use crate::message::{Effect, SourceFailure, SourceMetadata};
use crate::schema::{PipelineDef, StartAt};

/// Readings in a row in which the cursor of a partition may lie beyond its end before that is called a loss: a broker that just took
/// over may know less of the end than we do (fault A10).
const METADATA_BEYOND_END_MAX: u32 = 5;

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
pub(super) struct ActiveSource {
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
    pub fetched: Vec<Extract>,
    /// Fetched before the reading that is on its way began.
    #[serde(skip)]
    pub verifying: Vec<Extract>,
    /// Bracketed by two equal readings: may be committed.
    #[serde(skip)]
    pub verified: VecDeque<Extract>,
    /// Token of the reading that is on its way.
    metadata: Option<u64>,
    last_token: u64,
    /// Something that the last reading knew of is not fetched yet.
    behind: bool,
    last_metadata_us: Micros,
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

impl ActiveSource {
    fn new(epoch: Epoch, now_us: Micros) -> ActiveSource {
        ActiveSource {
            epoch,
            phase: Phase::Opening,
            tries: 0,
            beyond_end: BTreeMap::new(),
            topic_id: TopicId::default(),
            expected: BTreeMap::new(),
            fetched: vec![],
            verifying: vec![],
            verified: VecDeque::new(),
            metadata: None,
            last_token: 0,
            behind: false,
            last_metadata_us: now_us,
            discovered: None,
            report: None,
            last_reported: None,
            last_batch_us: Micros::MIN,
        }
    }

    /// Source bytes that are ready to be committed.
    pub fn verified_bytes(&self) -> u64 {
        self.verified.iter().map(|e| e.source_bytes).sum()
    }

    /// What a reading says of how far this run is.
    fn observe_metadata(&mut self, metadata: &SourceMetadata, now_us: Micros) {
        self.last_metadata_us = now_us;
        self.behind = metadata.partitions.iter().any(|(partition, (_, latest))| {
            self.expected.get(partition).is_some_and(|expected| expected < latest)
        });
    }

    /// Whether it is worth waiting for more before something is done for `bytes`.
    fn lingers(&self, bytes: u64, config: &Config) -> bool {
        // A batch that took all credit would wait for nothing.
        self.behind && bytes < config.linger_bytes.min(config.pipeline_credit_bytes / 4)
    }

    fn fetched_bytes(&self) -> u64 {
        self.fetched.iter().map(|e| e.source_bytes).sum()
    }

    /// See [`crate::fingerprint`].
    #[cfg(feature = "explore")]
    pub(super) fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let ActiveSource {
            epoch: _,
            phase,
            tries,
            beyond_end,
            topic_id,
            expected,
            fetched,
            verifying,
            verified,
            metadata,
            last_token: _,
            behind,
            last_metadata_us: _,
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
        for (partition, metadata) in beyond_end {
            to.signed((*partition).into());
            to.word(*metadata);
        }
        to.topic(Some(*topic_id));
        to.count(expected.len());
        for (partition, offset) in expected {
            to.signed((*partition).into());
            to.signed(*offset);
        }
        for extracts in [fetched.len(), verifying.len(), verified.len()] {
            to.count(extracts);
        }
        fetched.iter().chain(verifying).chain(verified).for_each(|extract| extract.fingerprint(to));
        to.word(metadata.is_some());
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
        if !defects::is(Defect::RetryKeepsExpected) {
            self.expected.clear();
        }
        self.fetched.clear();
        if defects::is(Defect::RetryKeepsVerifying) {
            self.verified = self.verifying.drain(..).collect();
        } else if defects::is(Defect::PoisonCountedTwice) {
            self.verified.retain(|extract| extract.messages == extract.dead_letters.len() as u64);
        } else {
            self.verified.clear();
        }
        self.verifying.clear();
        self.discovered = None;
        self.metadata = None;
    }
}

impl Coordinator {
    /// Begins to load a pipeline: START, and recovery of one that was running.
    pub(super) fn open_source(&mut self, definition: Arc<PipelineDef>, epoch: Epoch) {
        let source = ActiveSource::new(epoch, self.now_us);
        assert!(self.pipelines.insert(definition.id, source).is_none(), "a pipeline runs once");
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
        let Some(source) = self.pipelines.remove(&id) else { return };
        if source.report.is_some_and(|report| report.terminal) {
            reached(CoverageMark::FailureForgotten);
        }
        if !source.verified.is_empty() || !source.verifying.is_empty() || !source.fetched.is_empty() {
            reached(CoverageMark::StoppedWithFetched);
        }
    }

    /// Closes what is open of a source. One that waits to be tried again, or has failed, was closed then.
    fn close_epoch(&mut self, id: PipelineId) {
        let open = self.pipelines.get(&id).filter(|source| source.phase.is_open());
        if let Some(ActiveSource { epoch, .. }) = open {
            self.effects.push_back(Effect::SourceClose { pipeline: id, epoch: *epoch });
        }
    }

    /// The run that a message of the source speaks of; None if it is of an older epoch (invariant 6).
    fn source(&mut self, id: PipelineId, epoch: Epoch) -> Option<&mut ActiveSource> {
        let source = self.pipelines.get_mut(&id)?;
        if source.epoch != epoch {
            reached(CoverageMark::OlderEpochDropped);
            return None;
        }
        Some(source).filter(|source| source.phase != Phase::Failed)
    }

    pub(super) fn source_opened(&mut self, id: PipelineId, epoch: Epoch, metadata: SourceMetadata) {
        let Some(source) = self.source(id, epoch).filter(|source| source.phase == Phase::Opening) else {
            return;
        };
        source.topic_id = metadata.topic_id;
        let pipeline = self.tip.pipelines[&id].clone();
        let mut before = pipeline.topic_id;
        if defects::is(Defect::TopicUncheckedAtOpen) {
            before = None;
        }
        if defects::is(Defect::TopicIdNotRecovered) && self.is_marked_recovered(id) {
            before = None;
        }
        if let Some(error) = changed_topic(&pipeline, before, metadata.topic_id) {
            reached(CoverageMark::TopicChangedAtOpen);
            return self.fail(id, error);
        }
        let cursors = self.cursors(id);
        if cursors.keys().any(|partition| !metadata.partitions.contains_key(partition)) {
            reached(CoverageMark::PartitionAbsent);
        }
        let mut beyond_end = BTreeMap::new();
        for (&partition, &(earliest, latest)) in &metadata.partitions {
            let Some(cursor) = cursors.get(&partition) else { continue };
            if cursor.next_offset < earliest && !is_reset(&pipeline, *cursor, earliest) {
                reached(CoverageMark::LostAtOpen);
                return self.fail(id, lost(&pipeline, partition, cursor.next_offset, earliest, latest));
            }
            if cursor.next_offset > latest {
                beyond_end.insert(partition, (cursor.next_offset, earliest, latest));
            }
        }
        if !beyond_end.is_empty() {
            return self.tolerate_or_fail(id, beyond_end);
        }
        let source = self.pipelines.get_mut(&id).expect("just seen");
        source.phase = Phase::Fetching;
        source.tries = 0;
        source.beyond_end.clear();
        let bytes = self.config.pipeline_credit_bytes;
        self.fetch_partitions(id, &metadata);
        let source = self.pipelines.get_mut(&id).expect("just seen");
        source.observe_metadata(&metadata, self.now_us);
        self.effects.push_back(Effect::Credit { pipeline: id, epoch, bytes });
    }

    /// Cursors of some partitions lie beyond their ends, as a reading has it. That is a loss of a partition of which several readings in a
    /// row say so.
    fn tolerate_or_fail(&mut self, id: PipelineId, found: BTreeMap<SourcePartition, (i64, i64, i64)>) {
        let source = self.pipelines.get_mut(&id).expect("called for a run");
        source.beyond_end.retain(|partition, _| found.contains_key(partition));
        found.keys().for_each(|partition| *source.beyond_end.entry(*partition).or_default() += 1);
        let is_loss =
            |metadata: u32| metadata > METADATA_BEYOND_END_MAX || defects::is(Defect::BeyondEndIsLoss);
        let loss = source.beyond_end.iter().find(|(_, metadata)| is_loss(**metadata));
        let terminal = loss.map(|(partition, _)| *partition);
        reached(if terminal.is_some() {
            CoverageMark::BeyondEndIsLoss
        } else {
            CoverageMark::BeyondEndTolerated
        });
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
        if defects::is(Defect::StagedCursorsForgotten) {
            return cursors;
        }
        let staged = self.staging.iter().flat_map(|staging| staging.advances());
        for advance in staged.filter(|advance| advance.pipeline == id) {
            reached(CoverageMark::OpenedWhileStaging);
            cursors.insert(advance.partition, advance.next);
        }
        cursors
    }

    /// Begins to fetch the partitions of a reading that are not fetched yet. Those never seen before get a cursor, which is
    /// logged before the first batch (fault A11).
    fn fetch_partitions(&mut self, id: PipelineId, metadata: &SourceMetadata) {
        let pipeline = self.tip.pipelines[&id].clone();
        let cursors = self.cursors(id);
        let source = self.pipelines.get_mut(&id).expect("called for a run");
        let first_metadata = defects::is(Defect::NewPartitionAtEnd)
            || pipeline.topic_id.is_none() && source.expected.is_empty();
        let mut starts = vec![];
        let mut discovered = BTreeMap::new();
        for (&partition, &(earliest, latest)) in &metadata.partitions {
            if source.expected.contains_key(&partition) {
                continue;
            }
            let known = cursors.get(&partition).copied();
            let known = known.filter(|at| !is_reset(&pipeline, *at, earliest));
            let position = known.unwrap_or_else(|| {
                let at_end = first_metadata && pipeline.start_at == StartAt::Latest;
                if at_end {
                    reached(CoverageMark::StartedAtLatest);
                }
                let position =
                    Position { next_offset: if at_end { latest } else { earliest }, leader_epoch: -1 };
                discovered.insert(partition, position);
                position
            });
            source.expected.insert(partition, position.next_offset);
            starts.push((partition, position));
        }
        if !discovered.is_empty() || pipeline.topic_id.is_none() {
            let (_, partitions) = source.discovered.get_or_insert((metadata.topic_id, BTreeMap::new()));
            partitions.append(&mut discovered);
        }
        if !starts.is_empty() {
            self.effects.push_back(Effect::Fetch { pipeline: id, epoch: source.epoch, starts });
        }
    }

    pub(super) fn extracted(&mut self, mut extract: Extract) {
        let id = extract.pipeline;
        if defects::is(Defect::StaleFetchAfterSetOffsets) {
            self.adopt_after_rewind(&mut extract);
        }
        let current = self.pipelines.get(&id).map(|source| source.epoch);
        let unchecked = current.filter(|_| defects::is(Defect::EpochNotChecked));
        let epoch = unchecked.unwrap_or(extract.epoch);
        assert_eq!(extract.pieces.len(), self.shard_count as usize, "one piece a shard");
        let Some(source) = self.source(id, epoch).filter(|source| source.phase == Phase::Fetching) else {
            return reached(CoverageMark::StaleExtractDropped);
        };
        let follows = source.expected.get_mut(&extract.partition).filter(|at| **at == extract.first_offset);
        match follows {
            Some(expected) if extract.next.next_offset >= *expected => *expected = extract.next.next_offset,
            // The range repeats, overlaps or skips: whatever delivered it has lost its place. Nothing is guessed; the store's
            // own offset is the truth (faults A3, A4), and the source starts again from there.
            _ => {
                reached(CoverageMark::RangeDoesNotFollow);
                let text = format!(
                    "partition {}: range {}..{} does not follow; fetching again from the cursor",
                    extract.partition, extract.first_offset, extract.next.next_offset
                );
                self.effects.push_back(Effect::Event { pipeline: Some(id), text, error: None });
                return self.reopen(id);
            }
        }
        if defects::is(Defect::BracketNotClosed) {
            return source.verified.push_back(extract);
        }
        source.fetched.push(extract);
    }

    /// The seeded defect `topic-id-not-recovered`: a run that recovery began is known by its tokens.
    pub(super) fn mark_recovered(&mut self, id: PipelineId) {
        self.pipelines.get_mut(&id).expect("just opened").last_token = TOKENS_OF_RECOVERED;
    }

    fn is_marked_recovered(&self, id: PipelineId) -> bool {
        self.pipelines[&id].last_token >= TOKENS_OF_RECOVERED
    }

    /// The seeded defect `stale-fetch-after-set-offsets`: what reaches beyond where the next range begins is taken for this epoch's.
    fn adopt_after_rewind(&self, extract: &mut Extract) {
        let rewound = self.tip.pipelines.get(&extract.pipeline).is_some_and(|p| p.generation > Generation(1));
        let source = self.pipelines.get(&extract.pipeline).filter(|_| rewound);
        let at =
            source.and_then(|source| source.expected.get(&extract.partition).map(|at| (source.epoch, *at)));
        if let Some((epoch, expected)) = at.filter(|(_, at)| extract.next.next_offset >= *at) {
            (extract.epoch, extract.first_offset) = (epoch, expected);
        }
    }

    /// Asks for a reading of the topic, which proves all that was fetched before it begins: the second bracket.
    fn read_topic(&mut self, id: PipelineId) {
        let source = self.pipelines.get_mut(&id).expect("called for a run");
        assert!(
            source.metadata.is_none() && source.verifying.is_empty(),
            "one reading at a time proves extracts"
        );
        source.verifying.append(&mut source.fetched);
        source.last_token += 1;
        source.metadata = Some(source.last_token);
        let (epoch, token) = (source.epoch, source.last_token);
        self.effects.push_back(Effect::SourceVerify { pipeline: id, epoch, token });
    }

    pub(super) fn source_verified(
        &mut self,
        id: PipelineId,
        epoch: Epoch,
        token: u64,
        metadata: SourceMetadata,
    ) {
        let now_us = self.now_us;
        let Some(source) = self.source(id, epoch).filter(|source| source.metadata == Some(token)) else {
            return;
        };
        source.metadata = None;
        source.observe_metadata(&metadata, now_us);
        let topic_id = source.topic_id;
        if let Some(error) = changed_topic(&self.tip.pipelines[&id], Some(topic_id), metadata.topic_id) {
            reached(CoverageMark::TopicChangedWhileRead);
            return self.fail(id, error);
        }
        let source = self.pipelines.get_mut(&id).expect("just seen");
        if !source.fetched.is_empty() {
            reached(CoverageMark::FetchedDuringMetadata);
        }
        source.verified.extend(source.verifying.drain(..));
        if defects::is(Defect::VerifiedTooEarly) {
            source.verified.extend(source.fetched.drain(..));
        }
        if defects::is(Defect::AbsentPartitionDropped) {
            source.expected.retain(|partition, _| metadata.partitions.contains_key(partition));
        }
        source.last_reported = None;
        self.fetch_partitions(id, &metadata);
    }

    pub(super) fn source_failed(&mut self, id: PipelineId, epoch: Epoch, failure: SourceFailure) {
        if self.source(id, epoch).is_none() {
            return;
        }
        match failure {
            SourceFailure::Transient(error) => self.retry_later(id, error),
            SourceFailure::Lost { .. } if defects::is(Defect::LossIsReset) => self.reopen(id),
            SourceFailure::Permanent(error) => self.fail(id, error),
            SourceFailure::Lost { partition, wanted, earliest, latest } => {
                reached(CoverageMark::LostWhileRead);
                // The reader was ahead of what is committed: what it has lost may not be what the pipeline needs next, and a
                // hint to go on from there would skip what lies between. From the cursor the same question has its answer.
                let cursor = self.cursors(id).get(&partition).map(|at| at.next_offset);
                if cursor.is_some_and(|cursor| cursor < wanted) {
                    let text = format!(
                        "partition {partition}: a reader at {wanted} has lost its place; fetching again from the cursor"
                    );
                    self.effects.push_back(Effect::Event { pipeline: Some(id), text, error: None });
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
        let source = self.pipelines.get_mut(&id).expect("called for a run");
        source.phase = Phase::Failed;
        source.forget_fetched();
        source.report = Some(Report { error, terminal: true });
    }

    /// The source is closed and opened again after a pause. The error goes to the errors table once, until something works.
    fn retry_later(&mut self, id: PipelineId, error: Error) {
        let epoch = self.new_epoch();
        let (now_us, config) = (self.now_us, self.config.clone());
        self.close_epoch(id);
        let source = self.pipelines.get_mut(&id).expect("called for a run");
        let shift =
            if defects::is(Defect::RetryShiftWraps) { source.tries % 64 } else { source.tries.min(20) };
        let pause_us = config.retry_us_min.saturating_mul(1 << shift).min(config.retry_us_max);
        if pause_us == config.retry_us_max {
            reached(CoverageMark::RetryPauseLongest);
        }
        source.epoch = epoch;
        source.tries += 1;
        source.phase = Phase::Waiting { retry_at_us: now_us + pause_us };
        source.forget_fetched();
        let text = format!("source failed, trying again in {} ms: {}", pause_us / 1000, error.message);
        if source.last_reported.as_ref() != Some(&error.message) {
            source.last_reported = Some(error.message.clone());
            source.report = Some(Report { error: error.clone(), terminal: false });
        }
        self.effects.push_back(Effect::Event { pipeline: Some(id), text, error: Some(error) });
    }

    /// Opens again at once, from the cursor, under a new epoch.
    fn reopen(&mut self, id: PipelineId) {
        let epoch = self.new_epoch();
        self.close_epoch(id);
        let source = self.pipelines.get_mut(&id).expect("called for a run");
        source.epoch = epoch;
        source.phase = Phase::Opening;
        source.forget_fetched();
        self.say_open(self.tip.pipelines[&id].clone(), epoch);
    }

    pub(super) fn give_back_credit(&mut self, id: PipelineId, epoch: Epoch, bytes: u64) {
        if bytes > 0 && self.source(id, epoch).is_some() {
            self.effects.push_back(Effect::Credit { pipeline: id, epoch, bytes });
        }
    }

    /// Retries that are due, and readings of topics: of what was fetched, or because nothing came for a while.
    pub(super) fn run_timers(&mut self) {
        let ids: Vec<PipelineId> = self.pipelines.keys().copied().collect();
        for id in ids {
            let source = &self.pipelines[&id];
            match source.phase {
                Phase::Waiting { retry_at_us } if retry_at_us <= self.now_us => {
                    reached(CoverageMark::Retried);
                    self.reopen(id)
                }
                Phase::Fetching if self.metadata_due(source).is_some_and(|due_us| due_us <= self.now_us) => {
                    if source.fetched.is_empty() {
                        reached(CoverageMark::IdleMetadata);
                    }
                    self.read_topic(id)
                }
                _ => {}
            }
        }
    }

    pub(super) fn metadata_due(&self, source: &ActiveSource) -> Option<Micros> {
        let pause_us = if source.fetched.is_empty() {
            self.config.metadata_interval_us
        } else if source.lingers(source.fetched_bytes(), &self.config) {
            self.config.linger_us
        } else if source.behind {
            0
        } else {
            self.config.metadata_pause_us
        };
        source.metadata.is_none().then_some(source.last_metadata_us + pause_us)
    }

    pub(super) fn next_pipeline_timer(&self) -> Option<Micros> {
        let timers = self.pipelines.iter().filter_map(|(id, source)| match source.phase {
            Phase::Waiting { retry_at_us } => Some(retry_at_us),
            Phase::Fetching => {
                let batch = self.batch_due(*id, source).filter(|due_us| *due_us > self.now_us);
                batch.into_iter().chain(self.metadata_due(source)).min()
            }
            Phase::Opening | Phase::Failed => None,
        });
        timers.min()
    }

    /// When a pipeline may close its next batch; None if it has nothing to commit.
    pub(super) fn batch_due(&self, id: PipelineId, source: &ActiveSource) -> Option<Micros> {
        let pipeline: &Arc<PipelineDef> = &self.tip.pipelines[&id];
        let bytes = source.verified_bytes();
        let lingers = bytes < pipeline.batch_bytes_max && source.lingers(bytes, &self.config);
        if lingers && bytes > 0 {
            reached(CoverageMark::BatchLingering);
        }
        let pause_us = if lingers { self.config.linger_us } else { 0 };
        let interval_us = pipeline.batch_interval_us.max(pause_us);
        (!source.verified.is_empty()).then(|| source.last_batch_us.saturating_add(interval_us))
    }

    /// The topic that a run fetches from.
    pub(super) fn run_topic(&self, id: PipelineId) -> TopicId {
        self.pipelines[&id].topic_id
    }
}

/// The seeded defect `topic-id-not-recovered`: tokens of readings begin here.
const TOKENS_OF_RECOVERED: u64 = 1 << 32;

/// The seeded defect `loss-is-reset`: only of a pipeline that was never rewound, which could stand before the oldest message without
/// any loss.
fn is_reset(pipeline: &PipelineDef, cursor: Position, earliest: i64) -> bool {
    defects::is(Defect::LossIsReset) && pipeline.generation == Generation(1) && cursor.next_offset < earliest
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
