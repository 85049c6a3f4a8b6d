//! A model of each pipeline's source. It observes the coordinator's inputs and effects, and checks three kinds of
//! properties. *Order*: where fetches begin, and which extracts a batch takes. *Bounds*: metadata requests, retries and
//! batches are not more frequent than the configuration allows. *Progress*: no work waits longer than the configuration
//! allows ([`due`]). The model does not contain the kernel's policy between the bounds, so a better policy needs no
//! change here. Other contents of records, and the pauses between them, are checked in `super` and `pace`.

mod due;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use kernel::message::{
    Effect, Input, Response, ShardCommand, SourceFailure, SourceMetadata, SplitStart, Work,
};
use kernel::record::{Body, Commit, RecordKind};
use kernel::schema::{CatalogChange, ERRORS_TABLE, PipelineDef, PipelineState, StartAt};
use kernel::{Config, Event, Extract, Micros, Pacing, Position, Request, Snapshot, TableLockId};

use super::value::errors;
use super::{Check, ensure};

/// Consecutive metadata answers that may end before a cursor: a new leader may lag (A10).
const METADATA_BEYOND_END_MAX: u32 = 5;

/// The pace of a pipeline's definition, and its cursors.
#[derive(Clone, Debug)]
struct Rule {
    table: u32,
    batch_bytes_max: u64,
    batch_interval_us: i64,
    /// Where partitions begin that are seen first, as long as it has no topic.
    begins: StartAt,
    has_topic: bool,
    /// After the last record.
    cursors: BTreeMap<i32, Position>,
}

impl Rule {
    /// After a definition; how far it is does not change.
    fn of(def: &PipelineDef, before: Option<&Rule>) -> Rule {
        Rule {
            table: def.table.0,
            batch_bytes_max: def.batch_bytes_max,
            batch_interval_us: def.batch_interval_us,
            begins: def.start_at,
            has_topic: before.is_some_and(|before| before.has_topic),
            cursors: before.map(|before| before.cursors.clone()).unwrap_or_default(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Opening,
    Fetching,
    Waiting { retry_at_us: Micros },
    Closed,
}

/// An extracted range: partition, first offset, next one, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Range {
    partition: i32,
    first: i64,
    next: i64,
    bytes: u64,
}

/// One pipeline's active source.
#[derive(Clone, Debug)]
struct SourceModel {
    epoch: u64,
    phase: Phase,
    /// The last metadata, and whether it is of the opening.
    known: Option<SourceMetadata>,
    is_opened: bool,
    /// Expected next offset of each fetched partition.
    expected: BTreeMap<i32, i64>,
    /// Extracts: fetched, verifying and verified.
    fetched: Vec<Range>,
    verifying: Vec<Range>,
    verified: VecDeque<Range>,
    /// When the first of those that are verified now became so.
    verified_since_us: Micros,
    metadata: Option<u64>,
    last_token: Option<u64>,
    /// The last pause before a try, since one worked: none that follows is shorter.
    last_pause_us: i64,
    behind: bool,
    last_metadata_us: Micros,
    last_batch_us: Option<Micros>,
    /// Partitions that ended before their cursors: number of consecutive answers. And whether the source was closed
    /// because of the last one.
    beyond_end: BTreeMap<i32, u32>,
    closed_at_open: bool,
    /// A loss at a cursor was reported: the source cannot continue.
    has_lost: bool,
    /// Error to be recorded in the errors table, and the last recorded one.
    report: Option<String>,
    last_reported: Option<String>,
}

impl SourceModel {
    fn new(epoch: u64, now_us: Micros) -> SourceModel {
        SourceModel {
            epoch,
            phase: Phase::Opening,
            known: None,
            is_opened: false,
            expected: BTreeMap::new(),
            fetched: Vec::new(),
            verifying: Vec::new(),
            verified: VecDeque::new(),
            verified_since_us: now_us,
            metadata: None,
            last_token: None,
            last_pause_us: 0,
            behind: false,
            last_metadata_us: now_us,
            last_batch_us: None,
            beyond_end: BTreeMap::new(),
            closed_at_open: false,
            has_lost: false,
            report: None,
            last_reported: None,
        }
    }

    /// Uncommitted extracts are dropped with the source.
    fn close(&mut self) {
        self.closed_at_open = self.is_opened;
        let SourceModel { expected, fetched, verifying, verified, metadata, known, is_opened, .. } = self;
        expected.clear();
        fetched.clear();
        verifying.clear();
        verified.clear();
        (*metadata, *known, *is_opened) = (None, None, false);
        self.phase = Phase::Closed;
    }

    fn look(&mut self, now_us: Micros) {
        let Some(metadata) = &self.known else { return };
        self.last_metadata_us = now_us;
        let more = |partition: &i32, latest: i64| self.expected.get(partition).is_some_and(|at| *at < latest);
        self.behind = metadata.partitions().iter().any(|(partition, (_, latest))| more(partition, *latest));
    }

    /// The time before which the source must not be asked for metadata again. Behind the end of the source, fetched
    /// extracts may be verified at once.
    fn metadata_earliest_us(&self, pacing: &Pacing) -> Option<Micros> {
        let pause_us = match () {
            () if self.fetched.is_empty() => pacing.metadata_interval_us,
            () if self.behind => 0,
            () => pacing.metadata_pause_us,
        };
        (self.phase == Phase::Fetching && self.metadata.is_none()).then_some(self.last_metadata_us + pause_us)
    }

    /// The time by which the source must have been asked for metadata again.
    fn metadata_latest_us(&self, pacing: &Pacing) -> Option<Micros> {
        let pause_us = match self.fetched.is_empty() {
            true => pacing.metadata_interval_us,
            false => pacing.metadata_pause_us.max(pacing.linger_us),
        };
        (self.phase == Phase::Fetching && self.metadata.is_none()).then_some(self.last_metadata_us + pause_us)
    }

    /// The time before which no batch may begin; None if nothing is verified.
    fn batch_earliest_us(&self, rule: &Rule) -> Option<Micros> {
        self.verified.front()?;
        Some(self.last_batch_us.map_or(Micros::MIN, |last_us| last_us + rule.batch_interval_us))
    }

    /// The time by which a batch must have begun, if nothing else is in its way.
    fn batch_latest_us(&self, rule: &Rule, pacing: &Pacing) -> Option<Micros> {
        let earliest_us = self.batch_earliest_us(rule)?;
        let since_us = self.last_batch_us.unwrap_or(Micros::MIN).max(self.verified_since_us);
        Some(earliest_us.max(since_us.saturating_add(pacing.linger_us)))
    }

    /// The ranges of the next batch: the first, and the following ones that fit.
    fn next_ranges(&self, rule: &Rule) -> Vec<Range> {
        let mut bytes = 0;
        let fits = |range: &&Range| {
            let is_first = bytes == 0 && self.verified.front() == Some(*range);
            bytes += range.bytes;
            is_first || bytes <= rule.batch_bytes_max
        };
        self.verified.iter().take_while(fits).copied().collect()
    }
}

/// The expected batch when staging of a record began.
#[derive(Clone, Debug)]
struct Staging {
    sequence: u64,
    at_us: Micros,
    /// Why no batch may begin, if so.
    forbidden: Option<&'static str>,
    /// Epoch and ranges of each pipeline that may commit.
    ranges: BTreeMap<u32, (u64, Vec<Range>)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct SourceModels {
    config: Config,
    now_us: Micros,
    rules: BTreeMap<u32, Rule>,
    sources: BTreeMap<u32, SourceModel>,
    /// By pipeline and partition: partitions that a source or the catalog called finished. They need not be fetched.
    finished: BTreeSet<(u32, i32)>,
    staging: Option<Staging>,
    appended: u64,
    published: u64,
    read_only: bool,
    halted: bool,
    /// Disk state to be reported: whether the database is read-only.
    disk_told: Option<bool>,
    wake_at_us: Option<Micros>,
    /// Requests that are to become records, and are not answered.
    unanswered: BTreeSet<u64>,
    /// Unpublished records for one of them.
    for_requests: VecDeque<u64>,
    table_locks_asked: BTreeSet<u64>,
    table_locks_held: BTreeSet<TableLockId>,
    /// Table locks that are being set up, each with the last record before it.
    setting_up: BTreeMap<TableLockId, u64>,
    /// Requested writes under a table lock, which ends with them.
    holders: BTreeMap<u64, TableLockId>,
    shards: usize,
}

impl SourceModels {
    /// Before the first process.
    pub fn new(config: Config) -> SourceModels {
        SourceModels { config, ..SourceModels::default() }
    }

    /// A process starts.
    pub fn begin(&mut self, now_us: Micros) {
        *self = SourceModels { config: self.config.clone(), now_us, ..SourceModels::default() };
    }

    /// The recovered state: a crash may have removed appended records.
    pub fn recovered(&mut self, snapshot: &Snapshot) {
        let catalog = &snapshot.catalog;
        (self.published, self.shards) = (snapshot.sequence.0, snapshot.shards.len());
        self.appended = self.published;
        let rule = |def: &PipelineDef| {
            let told = &catalog.cursors[&def.id];
            let cursors = told.positions().map(|(split, at)| (split.0 as i32, at)).collect();
            Rule { has_topic: told.has_identity(), cursors, ..Rule::of(def, None) }
        };
        self.rules = catalog.pipelines.values().map(|def| (def.id.0, rule(def))).collect();
        for (id, cursors) in &catalog.cursors {
            let finished = cursors.splits().filter(|(_, split)| split.finished);
            self.finished.extend(finished.map(|(number, _)| (id.0, number.0 as i32)));
        }
    }

    // ---- Inputs ----

    /// The coordinator is about to take an input.
    pub fn fed(&mut self, now_us: Micros, input: &Input) {
        self.now_us = self.now_us.max(now_us);
        if let Input::SourceOpened { pipeline, metadata, .. }
        | Input::SourceVerified { pipeline, metadata, .. } = input
        {
            let finished = metadata.splits.iter().filter(|(_, split)| split.finished);
            self.finished.extend(finished.filter_map(|(name, _)| Some((pipeline.0, name.partition()?))));
        }
        match input {
            Input::SourceOpened { pipeline, epoch, metadata } => {
                if let Some(source) = self.run(pipeline.0, epoch.0)
                    && source.phase == Phase::Opening
                {
                    (source.known, source.is_opened) = (Some(metadata.clone()), true);
                    self.count_ends(pipeline.0, metadata);
                }
            }
            Input::Extracted(extract) => self.extracted(extract),
            Input::SourceVerified { pipeline, epoch, token, metadata } => {
                let now_us = self.now_us;
                if let Some(source) = self.run(pipeline.0, epoch.0)
                    && source.metadata == Some(*token)
                {
                    (source.metadata, source.known) = (None, Some(metadata.clone()));
                    source.look(now_us);
                    if source.verified.is_empty() {
                        source.verified_since_us = now_us;
                    }
                    // A partition that is absent from an answer stays unverified.
                    let named = metadata.partitions();
                    let is_named = |range: &Range| named.contains_key(&range.partition);
                    let (verified, unnamed): (Vec<_>, Vec<_>) =
                        source.verifying.drain(..).partition(is_named);
                    source.verified.extend(verified);
                    source.fetched.splice(0..0, unnamed);
                    source.last_reported = None;
                }
            }
            Input::DiskSpace { sufficient } => {
                self.disk_told = (self.read_only == *sufficient).then_some(!sufficient);
                self.read_only = !sufficient;
            }
            Input::SourceFailed { pipeline, epoch, failure: SourceFailure::Lost { split, wanted, .. } } => {
                let is_next = self.is_next(pipeline.0, split.partition().unwrap_or(-1), wanted.ordinal());
                // After another failure of the same source it is ignored.
                if let Some(source) = self.run(pipeline.0, epoch.0)
                    && matches!(source.phase, Phase::Opening | Phase::Fetching)
                {
                    source.has_lost = is_next;
                }
            }
            Input::LogFailed { .. } => self.halted = true,
            Input::Request { id, request } => match request {
                Request::Write(kernel::message::Write { table_lock: Some(table_lock), .. }) => {
                    self.unanswered.insert(id.0);
                    self.holders.insert(id.0, *table_lock);
                }
                Request::Define(_) | Request::Write(_) => {
                    self.unanswered.insert(id.0);
                }
                Request::AcquireTableLock { .. } => {
                    self.table_locks_asked.insert(id.0);
                }
                Request::ReleaseTableLock(table_lock) => {
                    self.table_locks_held.remove(table_lock);
                }
            },
            _ => {}
        }
    }

    /// Counts ends before cursors in the metadata of an opening. While a record is staged, the future cursors are
    /// unknown here.
    fn count_ends(&mut self, pipeline: u32, metadata: &SourceMetadata) {
        let ends_early = |(partition, (_, latest)): (&i32, &(i64, i64))| {
            self.cursor(pipeline, *partition).is_some_and(|at| at > *latest)
        };
        let early: BTreeSet<i32> =
            metadata.partitions().iter().filter(|at| ends_early(*at)).map(|(p, _)| *p).collect();
        let Some(source) = self.sources.get_mut(&pipeline) else { return };
        source.beyond_end.retain(|partition, _| early.contains(partition));
        early.iter().for_each(|partition| *source.beyond_end.entry(*partition).or_default() += 1);
    }

    /// Cursor of a partition after the record being staged.
    fn cursor(&self, pipeline: u32, partition: i32) -> Option<i64> {
        let staged = self.staging.iter().filter_map(|staging| staging.ranges.get(&pipeline));
        let ranges = staged.flat_map(|(_, ranges)| ranges);
        let staged = ranges.filter(|range| range.partition == partition).map(|range| range.next).max();
        staged.or(self.rules.get(&pipeline)?.cursors.get(&partition).map(|at| at.ordinal()))
    }

    /// Whether a pipeline needs this message next, and not one before it. The record being staged may be a batch that
    /// ends there.
    fn is_next(&self, pipeline: u32, partition: i32, offset: i64) -> bool {
        let staged = self.staging.iter().filter_map(|staging| staging.ranges.get(&pipeline));
        let mut ranges = staged.flat_map(|(_, ranges)| ranges);
        match self.rules.get(&pipeline).and_then(|rule| rule.cursors.get(&partition)) {
            Some(cursor) => cursor.ordinal() >= offset,
            None => !ranges.any(|range| range.partition == partition),
        }
    }

    fn run(&mut self, pipeline: u32, epoch: u64) -> Option<&mut SourceModel> {
        self.sources
            .get_mut(&pipeline)
            .filter(|source| source.epoch == epoch && source.phase != Phase::Closed)
    }

    fn extracted(&mut self, extract: &Extract) {
        let range = Range {
            partition: extract.split.0 as i32,
            first: extract.first.ordinal(),
            next: extract.next.ordinal(),
            bytes: extract.source_bytes,
        };
        let Some(source) = self.run(extract.pipeline.0, extract.epoch.0) else { return };
        if source.phase == Phase::Fetching
            && let Some(at) = source.expected.get_mut(&range.partition)
            && (*at, range.first <= range.next) == (range.first, true)
        {
            *at = range.next;
            source.fetched.push(range);
        }
    }

    /// A pipeline is being dropped: it is not tried again.
    pub fn drops(&mut self, pipeline: u32) {
        if let Some(source) = self.sources.get_mut(&pipeline)
            && matches!(source.phase, Phase::Waiting { .. })
        {
            source.close();
        }
    }

    // ---- Effects ----

    /// An effect of the coordinator.
    pub fn effect(&mut self, effect: &Effect) -> Check {
        let now_us = self.now_us;
        match effect {
            Effect::SourceOpen { pipeline, epoch, definition, .. } => {
                // A definition begins under its own epoch, later openings under later ones. A pipeline altered while
                // running keeps the pause since its last batch.
                let altered =
                    if definition.epoch == *epoch { self.sources.remove(&pipeline.0) } else { None };
                let source = self.sources.entry(pipeline.0).or_insert_with(|| SourceModel {
                    last_batch_us: altered.and_then(|before| before.last_batch_us),
                    ..SourceModel::new(epoch.0, now_us)
                });
                if let Phase::Waiting { retry_at_us } = source.phase {
                    ensure("bounded", retry_at_us <= now_us, || {
                        format!("pipeline {pipeline} is tried again {} us too early", retry_at_us - now_us)
                    })?;
                }
                ensure("bounded", !source.has_lost, || {
                    format!("pipeline {pipeline} is opened again, and its next message is lost")
                })?;
                source.close();
                (source.epoch, source.phase) = (epoch.0, Phase::Opening);
            }
            Effect::SourceClose { pipeline, .. } => {
                self.sources.get_mut(&pipeline.0).into_iter().for_each(SourceModel::close);
            }
            Effect::Fetch { pipeline, starts, .. } => self.fetches(pipeline.0, starts)?,
            Effect::Credit { pipeline, bytes, .. } => {
                ensure("bounded", *bytes > 0, || {
                    format!("pipeline {pipeline} is given a credit of nothing")
                })?;
                if let Some(source) = self.sources.get_mut(&pipeline.0)
                    && std::mem::take(&mut source.is_opened)
                {
                    (source.phase, source.last_pause_us) = (Phase::Fetching, 0);
                    source.beyond_end.clear();
                    source.look(now_us);
                }
            }
            Effect::SourceVerify { pipeline, token, .. } => self.verifies(pipeline.0, *token)?,
            Effect::Event(Event::SourceRetried { pipeline, pause_us, error }) => {
                self.retried(pipeline.0, *pause_us, &error.message)?;
            }
            Effect::Event(event @ (Event::ReadOnly | Event::ReadWrite)) => {
                let told = Some(*event == Event::ReadOnly);
                ensure("honest", self.disk_told.take() == told, || {
                    format!("the disk did not change: {event:?}")
                })?;
            }
            Effect::Shard { command: ShardCommand::Stage { sequence, work }, .. } => {
                self.stages(sequence.0)?;
                self.check_parts(work)?;
                let in_vain = work.iter().find(|item| match item {
                    Work::Rows { rows, deletes, .. } => {
                        rows.iter().any(|rows| rows.num_rows() == 0) || rows.is_empty() && deletes.is_empty()
                    }
                    _ => false,
                });
                ensure("bounded", in_vain.is_none(), || format!("a shard is given {in_vain:?}"))?;
                work.iter().try_for_each(|item| self.reports(item))?;
            }
            Effect::Shard { command: ShardCommand::ViewTip { table_lock }, .. } => {
                self.setting_up.insert(*table_lock, self.appended);
            }
            Effect::Shard { command: ShardCommand::Abandon { .. }, .. } => self.staging = None,
            Effect::Publish(snapshot) => {
                (self.published, self.shards) = (snapshot.sequence.0, snapshot.shards.len());
                self.for_requests.retain(|sequence| *sequence > self.published);
            }
            Effect::Reply { id, result } => {
                self.unanswered.remove(&id.0);
                if let Some(table_lock) = self.holders.remove(&id.0) {
                    self.table_locks_held.remove(&table_lock);
                }
                if self.table_locks_asked.remove(&id.0)
                    && let Ok(Response::TableLock { table_lock, snapshot }) = result
                {
                    let (due, found) = (self.setting_up.remove(table_lock), snapshot.sequence.0);
                    let is_new = self.table_locks_held.insert(*table_lock);
                    ensure("atomic", is_new && due == Some(found), || {
                        format!(
                            "table lock {table_lock} shows record {found}, it was asked for behind {due:?}"
                        )
                    })?;
                }
            }
            Effect::WakeAt(at_us) => self.wake_at_us = Some(*at_us),
            Effect::Halt(_) => self.halted = true,
            _ => {}
        }
        Ok(())
    }

    /// Each partition continues from its cursor, after the last record or the one being staged; a new one from its
    /// start or end in the last metadata.
    fn fetches(&mut self, pipeline: u32, starts: &[SplitStart]) -> Check {
        let starts: Vec<(i32, Position)> =
            starts.iter().map(|start| (start.split.0 as i32, start.position)).collect();
        let (Some(source), Some(rule)) = (self.sources.get_mut(&pipeline), self.rules.get(&pipeline)) else {
            return Ok(());
        };
        let at_end = !rule.has_topic && rule.begins == StartAt::Latest && source.expected.is_empty();
        let staged = self.staging.as_ref().and_then(|staging| staging.ranges.get(&pipeline));
        for (partition, at) in &starts {
            let told = source.known.as_ref().map(SourceMetadata::partitions);
            let known = told.and_then(|told| told.get(partition).copied());
            let first_seen = known.map(|(earliest, latest)| if at_end { latest } else { earliest });
            let ends =
                staged.and_then(|(_, ranges)| ranges.iter().rfind(|range| range.partition == *partition));
            let is_right = match rule.cursors.get(partition) {
                Some(cursor) => at == cursor || ends.is_some_and(|range| range.next == at.ordinal()),
                None => Some(at.ordinal()) == first_seen && at.leader_epoch() == -1,
            };
            let is_gone = known.is_some_and(|(earliest, _)| earliest > at.ordinal());
            ensure("exactly once", !(source.is_opened && is_gone), || {
                format!(
                    "pipeline {pipeline} fetches partition {partition} from {at:?}, which is lost: {source:?}"
                )
            })?;
            let again = source.expected.contains_key(partition);
            ensure("exactly once", is_right && !again, || {
                format!(
                    "pipeline {pipeline} fetches partition {partition} from {at:?}: {source:?}, {rule:?}, {staged:?}"
                )
            })?;
        }
        let now_us = self.now_us;
        source.expected.extend(starts.iter().map(|(partition, at)| (*partition, at.ordinal())));
        source.look(now_us);
        Ok(())
    }

    fn verifies(&mut self, pipeline: u32, token: u64) -> Check {
        let now_us = self.now_us;
        let Some(source) = self.sources.get_mut(&pipeline) else { return Ok(()) };
        let earliest_us = source.metadata_earliest_us(&self.config.pacing);
        ensure("bounded", earliest_us.is_some_and(|earliest_us| earliest_us <= now_us), || {
            format!(
                "pipeline {pipeline} asks for metadata at {now_us} us, the earliest is {earliest_us:?}: {source:?}"
            )
        })?;
        ensure("fenced", Some(token) > source.last_token, || {
            format!("pipeline {pipeline} asks again with token {token}, after {:?}", source.last_token)
        })?;
        source.verifying.append(&mut source.fetched);
        (source.metadata, source.last_token) = (Some(token), Some(token));
        Ok(())
    }

    fn retried(&mut self, pipeline: u32, pause_us: Micros, error: &str) -> Check {
        let now_us = self.now_us;
        let Some(source) = self.sources.get_mut(&pipeline) else { return Ok(()) };
        let Pacing { retry_us_min, retry_us_max, .. } = self.config.pacing;
        let bounds = retry_us_min.max(source.last_pause_us)..=retry_us_max;
        ensure("bounded", bounds.contains(&pause_us), || {
            format!("pipeline {pipeline} pauses for {pause_us} us, must pause for {bounds:?} us: {source:?}")
        })?;
        source.last_pause_us = pause_us;
        source.close();
        source.phase = Phase::Waiting { retry_at_us: now_us + pause_us };
        if source.last_reported.as_deref() != Some(error) {
            source.report = Some(error.to_string());
            source.last_reported = source.report.clone();
        }
        Ok(())
    }

    /// Staging of a record begins, or continues.
    fn stages(&mut self, sequence: u64) -> Check {
        if self.staging.as_ref().is_some_and(|staging| staging.sequence == sequence) {
            return Ok(());
        }
        let in_flight = self.appended - self.published;
        ensure("bounded", in_flight < self.config.unsynced_records_max as u64, || {
            format!("record {sequence} is started with {in_flight} unpublished records before it")
        })?;
        let forbidden = self.read_only.then_some("the database is read-only");
        let ranges = self
            .due(|source, rule| source.batch_earliest_us(rule))
            .map(|id| (id, (self.sources[&id].epoch, self.sources[&id].next_ranges(&self.rules[&id]))))
            .collect();
        self.staging = Some(Staging { sequence, at_us: self.now_us, forbidden, ranges });
        Ok(())
    }

    fn is_barred(&self) -> bool {
        !self.table_locks_asked.is_empty() || !self.table_locks_held.is_empty()
    }

    /// Pipelines of which a time has come.
    fn due(&self, time_us: impl Fn(&SourceModel, &Rule) -> Option<Micros>) -> impl Iterator<Item = u32> {
        let is_due = move |id: &u32, source: &SourceModel| {
            let rule = self.rules.get(id);
            rule.and_then(|rule| time_us(source, rule)).is_some_and(|due_us| due_us <= self.now_us)
        };
        self.sources.iter().filter(move |(id, source)| is_due(id, source)).map(|(id, _)| *id)
    }

    /// Transient errors of sources are recorded once, until a success.
    fn reports(&mut self, work: &Work) -> Check {
        let Work::Rows { table: ERRORS_TABLE, rows, .. } = work else { return Ok(()) };
        for rows in rows {
            // Several messages in one batch of columns keep to a limit.
            let bytes = message_bytes(rows, 0..rows.num_rows());
            ensure("bounded", rows.num_rows() < 2 || bytes <= self.config.dead_letter_bytes_max, || {
                format!("{} dead letters of {bytes} bytes are in one batch", rows.num_rows())
            })?;
            for row in 0..rows.num_rows() {
                self.reported(rows, row)?;
            }
        }
        Ok(())
    }

    /// Dead letters are in no more batches of columns than necessary. (Checked where all of them go to one shard.)
    fn check_parts(&self, work: &[Work]) -> Check {
        let dead_letters = work.iter().filter_map(|item| match item {
            Work::Rows { table: ERRORS_TABLE, rows, .. } => rows.first(),
            _ => None,
        });
        let parts: Vec<&RecordBatch> = dead_letters.filter(|_| self.shards == 1).collect();
        let fits = |pair: &&[&RecordBatch]| {
            let before = message_bytes(pair[0], 0..pair[0].num_rows());
            before + message_bytes(pair[1], 0..1) <= self.config.dead_letter_bytes_max
        };
        let apart = parts.windows(2).find(fits);
        ensure("bounded", apart.is_none(), || format!("dead letters are in separate batches: {apart:?}"))
    }

    fn reported(&mut self, rows: &RecordBatch, row: usize) -> Check {
        if rows.column(errors::OFFSET).is_valid(row) {
            return Ok(());
        }
        let pipeline = rows.column(0).as_primitive::<Int64Type>().value(row) as u32;
        let message = rows.column(errors::MESSAGE).as_string::<i32>().value(row);
        let Some(source) = self.sources.get_mut(&pipeline) else { return Ok(()) };
        let is_end = source.phase == Phase::Closed;
        let told =
            |(partition, _): &(&i32, &u32)| message.starts_with(&format!("partition {partition} ends at "));
        let metadata = source.beyond_end.iter().find(told).map_or(0, |(_, metadata)| *metadata);
        let at_open = source.closed_at_open && message.contains(" ends at ");
        ensure("honest", !(is_end && at_open) || metadata > METADATA_BEYOND_END_MAX, || {
            format!(
                "pipeline {pipeline} fails after {:?} metadata answers that end too early: {message}",
                source.beyond_end
            )
        })?;
        let most = source.beyond_end.values().max().copied().unwrap_or(0);
        ensure("live", is_end || most <= METADATA_BEYOND_END_MAX, || {
            format!(
                "pipeline {pipeline} is retried after {:?} metadata answers that end too early",
                source.beyond_end
            )
        })?;
        let due = source.report.take();
        ensure("honest", is_end || due.as_deref() == Some(message), || {
            format!("the errors table has {message:?} of pipeline {pipeline}, due is {due:?}")
        })
    }

    /// A record is handed to the log.
    pub fn appended(&mut self, sequence: u64, body: &Body) -> Check {
        if let Body::Commit(kind, commit) = body {
            self.stages(sequence)?;
            let staging = self.staging.take().expect("just made");
            if matches!(kind, RecordKind::Batch) {
                self.check_batch(&staging, commit)?;
            }
            self.defined(commit)?;
            if is_for_request(*kind, commit) {
                self.for_requests.push_back(sequence);
            }
        }
        self.appended = sequence;
        Ok(())
    }

    fn check_batch(&mut self, staging: &Staging, commit: &Commit) -> Check {
        let wrong = |what: &str| format!("record {} is a batch: {what}; {staging:?}", staging.sequence);
        ensure("bounded", staging.forbidden.is_none(), || wrong(staging.forbidden.unwrap_or_default()))?;
        let mut told: BTreeMap<u32, Vec<(i32, i64, i64)>> = BTreeMap::new();
        for advance in &commit.cursors {
            let range = (advance.split.0 as i32, advance.first.ordinal(), advance.next.ordinal());
            told.entry(advance.pipeline.0).or_default().push(range);
        }
        let expected = |ranges: &Vec<Range>| {
            let mut joined: BTreeMap<i32, (i64, i64)> = BTreeMap::new();
            for range in ranges {
                joined.entry(range.partition).or_insert((range.first, range.next)).1 = range.next;
            }
            joined.into_iter().map(|(partition, (first, next))| (partition, first, next)).collect::<Vec<_>>()
        };
        for (pipeline, ranges) in &told {
            let due = staging.ranges.get(pipeline).map(|(_, ranges)| expected(ranges));
            ensure("bounded", due.as_ref() == Some(ranges), || {
                wrong(&format!("pipeline {pipeline} takes {ranges:?}, must take {due:?}"))
            })?;
        }
        let tables: BTreeSet<u32> = told.keys().map(|pipeline| self.rules[pipeline].table).collect();
        ensure("bounded", tables.len() == told.len(), || {
            wrong(&format!("two of the pipelines {:?} load one table", told.keys()))
        })?;
        for pipeline in told.keys() {
            let (epoch, ranges) = &staging.ranges[pipeline];
            let Some(source) = self.sources.get_mut(pipeline) else { continue };
            source.last_batch_us = Some(staging.at_us);
            source.verified_since_us = staging.at_us;
            // A source that was opened again meanwhile has dropped the rest.
            if source.epoch == *epoch && source.phase == Phase::Fetching {
                source.verified.drain(..ranges.len());
            }
        }
        Ok(())
    }

    fn defined(&mut self, commit: &Commit) -> Check {
        for change in &commit.catalog {
            match change {
                CatalogChange::PipelineSet(def) => {
                    let rule = Rule::of(def, self.rules.get(&def.id.0));
                    self.rules.insert(def.id.0, rule);
                    if def.state != PipelineState::Running {
                        self.sources.remove(&def.id.0);
                    }
                }
                CatalogChange::CursorsSet { pipeline, splits } => {
                    let Some(rule) = self.rules.get_mut(&pipeline.0) else { continue };
                    for set in splits {
                        // Of a position that was set, or is the first of its partition, nothing was read.
                        let partition = set.split.0 as i32;
                        let is_kept = rule.cursors.get(&partition) == Some(&set.position);
                        ensure("honest", set.position.leader_epoch() == -1 || is_kept, || {
                            format!(
                                "pipeline {pipeline} is set to a leader epoch that no source named: {set:?}"
                            )
                        })?;
                        rule.cursors.insert(partition, set.position);
                        rule.has_topic |= set.identity.is_some();
                    }
                }
                CatalogChange::CursorsForgotten(id) => {
                    if let Some(rule) = self.rules.get_mut(&id.0) {
                        (rule.has_topic, rule.cursors) = (false, BTreeMap::new());
                    }
                }
                CatalogChange::PipelineDropped(id) => {
                    let source = self.sources.remove(&id.0);
                    let is_open = source
                        .as_ref()
                        .is_some_and(|source| matches!(source.phase, Phase::Opening | Phase::Fetching));
                    ensure("bounded", !is_open, || {
                        format!("pipeline {id} is dropped and its source is still open: {source:?}")
                    })?;
                    self.rules.remove(&id.0);
                }
                _ => {}
            }
        }
        for advance in &commit.cursors {
            if let Some(rule) = self.rules.get_mut(&advance.pipeline.0) {
                rule.cursors.insert(advance.split.0 as i32, advance.next);
            }
        }
        Ok(())
    }
}

/// Bytes of some rows of the errors table, with their messages.
fn message_bytes(rows: &RecordBatch, range: std::ops::Range<usize>) -> usize {
    let messages = rows.column(errors::MESSAGE).as_string::<i32>();
    let payloads = rows.column(errors::PAYLOAD).as_binary::<i32>();
    range.map(|row| messages.value_length(row) as usize + payloads.value_length(row) as usize).sum()
}

/// Whether a record is for a request. The coordinator's own records are for new partitions, errors, and failed
/// pipelines.
fn is_for_request(kind: RecordKind, commit: &Commit) -> bool {
    let is_own = |change: &CatalogChange| match change {
        CatalogChange::PipelineSet(def) => match def.state {
            PipelineState::Failed(_) => kind == RecordKind::Catalog,
            PipelineState::Running => kind == RecordKind::Cursor,
            PipelineState::Stopped => false,
        },
        CatalogChange::CursorsSet { .. } => kind == RecordKind::Cursor,
        _ => false,
    };
    match kind {
        RecordKind::Batch => false,
        RecordKind::Cursor | RecordKind::Catalog => !commit.catalog.iter().all(is_own),
        _ => true,
    }
}
