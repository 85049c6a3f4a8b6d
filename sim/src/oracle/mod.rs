//! The oracle: the expected state of the database, record by record, computed independently, and its comparison with
//! the actual state.
//!
//! The oracle gets every record when it is appended, folds it into a reference model ([`model`]) from the broker's
//! messages and the clients' requests (never from the kernel's rows), and compares every published snapshot, every
//! table lock, every answer and every recovery with it. The names in [`Violation`] are those of docs/INVARIANTS.md.

mod catalog;
mod definitions;
pub(crate) mod describe;
pub(crate) mod expr;
mod messages;
pub mod model;
mod pace;
pub(crate) mod placed;
mod quotient;
mod refusal;
mod seen;
mod sources;
pub mod value;
pub mod wide;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kernel::message::{Counts, Definition, Offsets};
use kernel::record::{Body, Commit, CursorAdvance, EncodedRecord, RecordKind, Tally};
use kernel::schema::{CatalogChange, ERRORS_TABLE, PipelineState, StartAt};
use kernel::snapshot::Snapshot;
use kernel::{Config, Sequence, ShardLimits, TableId};
use xxhash_rust::xxh3::Xxh3;

use self::model::{Change, Fate, Model, Transaction};
pub(crate) use self::seen::{check_counts, check_sizes, check_table};
use self::seen::{check_cursors, check_failures};
use self::value::Row;
use crate::broker::{Broker, TopicId};
use crate::counts::counts;
use crate::scenario::{Duplicate, Messages, PipelineRule};

/// An invariant that does not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which: `exactly once`, `atomic`, `durable`, `monotonic`, `placed`, `fenced`, `recovered`, `honest`, `bounded`,
    /// `live`.
    pub invariant: &'static str,
    /// The expected and the found value.
    pub text: String,
}

impl Violation {
    /// A violation.
    pub fn new(invariant: &'static str, text: impl Into<String>) -> Violation {
        Violation { invariant, text: text.into() }
    }
}

pub(crate) type Check = Result<(), Violation>;

pub(crate) fn ensure(invariant: &'static str, holds: bool, text: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(Violation::new(invariant, text())) }
}

/// The world outside the database, which the oracle may read.
pub struct Outside<'w, 'a> {
    /// By topic.
    pub brokers: &'w [Broker<'a>],
    /// The meaning of payloads.
    pub messages: &'w Messages,
    /// By pipeline name.
    pub rules: &'w [PipelineRule],
    /// Limit of a rejected row's text.
    pub row_text_bytes_max: usize,
    /// See [`kernel::Config::sync_marker_idle_us`].
    pub sync_marker_idle_us: i64,
}

/// A client's transaction in plain terms.
#[derive(Clone, Debug)]
pub struct ClientWrite {
    /// In order.
    pub statements: Vec<Statement>,
}

/// One statement of it.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Table.
    pub table: u32,
    /// Deleted rows, as read under the table lock.
    pub removed: Vec<Row>,
    /// New rows.
    pub rows: Vec<Row>,
    /// What happens on an existing key.
    pub duplicate: Duplicate,
}

/// A record that a recovery read.
#[derive(Clone, Copy, Debug)]
pub struct ReadRecord {
    /// Its sequence.
    pub sequence: Sequence,
    /// Its kind.
    pub kind: RecordKind,
    /// See [`hash_body`].
    pub hash: u64,
}

struct Logged {
    sequence: Sequence,
    changes: Vec<Change>,
    /// Client transaction in it, and its expected answer.
    write: Option<(u64, Counts)>,
}

/// See the module.
pub struct Oracle {
    /// At the last published record, which cannot be undone.
    base: Model,
    base_sequence: Sequence,
    /// Records after it.
    tail: VecDeque<Logged>,
    /// At the last appended record.
    tip: Model,
    /// Hash of each record that was handed to the log.
    bodies: BTreeMap<Sequence, u64>,
    writes: BTreeMap<u64, ClientWrite>,
    definitions: Vec<Definition>,
    /// Definitions that are not answered yet, in the order in which they were asked for.
    outstanding: VecDeque<definitions::Outstanding>,
    /// Client transactions whose ledger row was staged for a record that is not appended yet.
    staged: BTreeMap<Sequence, u64>,
    published_writes: BTreeMap<u64, Counts>,
    answered: BTreeSet<u64>,
    /// This process starts with all pipelines stopped.
    pub stops_pipelines: bool,
    pace: pace::Pace,
    /// Models of the sources.
    pub sources: sources::SourceModels,
    limits: ShardLimits,
    /// Records, snapshots and messages that were checked.
    pub counts: OracleCounts,
}

counts! {
    /// Counts of the checks.
    OracleCounts {
        records,
        batches,
        client_transactions,
        messages,
        applied,
        filtered,
        ignored,
        dead_letters,
        rows,
        messages_of_several_rows,
        messages_applied_in_part,
        messages_failed_in_set,
        snapshots,
        table_locks,
        recoveries,
        unpublished_recovered,
        appended_lost,
        rewinds,
    }
}

impl Default for Oracle {
    fn default() -> Oracle {
        Oracle::new(ShardLimits::default(), Config::default())
    }
}

impl Oracle {
    /// Before the database is created; its shards and its coordinator work within these limits.
    pub fn new(limits: ShardLimits, config: Config) -> Oracle {
        Oracle {
            base: Model::new(),
            base_sequence: Sequence(0),
            tail: VecDeque::new(),
            tip: Model::new(),
            bodies: BTreeMap::new(),
            writes: BTreeMap::new(),
            definitions: Vec::new(),
            outstanding: VecDeque::new(),
            staged: BTreeMap::new(),
            published_writes: BTreeMap::new(),
            answered: BTreeSet::new(),
            stops_pipelines: false,
            pace: pace::Pace::default(),
            sources: sources::SourceModels::new(config),
            limits,
            counts: OracleCounts::default(),
        }
    }

    /// The expected database at the last appended record.
    pub fn tip(&self) -> &Model {
        &self.tip
    }

    /// The client transaction in the last appended record, if it has one, and its expected answer.
    pub fn last_appended_write(&self) -> Option<(u64, Counts)> {
        self.tail.back()?.write
    }

    /// A client will send this.
    pub fn asked_to_write(&mut self, id: u64, write: ClientWrite) {
        self.writes.insert(id, write);
    }

    /// Tables that a client's transaction touches.
    pub fn tables_of(&self, id: u64) -> Vec<u32> {
        self.writes[&id].statements.iter().map(|statement| statement.table).collect()
    }

    /// A client transaction's rows were handed to the shards, to become this record.
    pub fn staged(&mut self, sequence: Sequence, write: u64) {
        self.staged.insert(sequence, write);
    }

    /// Everything staged from here on was abandoned.
    pub fn abandoned(&mut self, from: Sequence) {
        self.staged.split_off(&from);
    }

    /// The kernel gets the time.
    pub fn told_time(&mut self, now_us: i64) {
        self.pace.told(now_us);
    }

    /// A process starts at this time.
    pub fn life_begins(&mut self, now_us: i64) {
        self.pace.begin(now_us);
        self.sources.begin(now_us);
    }

    /// A process has started: pipelines that must be stopped are.
    pub fn check_stopped(&mut self) -> Check {
        let stops = std::mem::take(&mut self.stops_pipelines);
        let running = self.tip.pipelines.values().find(|p| p.state == PipelineState::Running);
        ensure("honest", !stops || running.is_none(), || {
            format!("a process starts with its pipelines stopped, and {running:?} runs")
        })
    }

    /// When a sync marker is due, if nothing else happens until then.
    pub fn sync_marker_due_us(&self, sync_marker_idle_us: i64) -> Option<i64> {
        self.pace.sync_marker_due_us(sync_marker_idle_us)
    }

    /// The last record is a sync marker, or everything is known to be synced.
    pub fn has_sync_marker(&self) -> bool {
        self.pace.has_sync_marker()
    }

    // ---- Records ----

    /// A record is handed to the log.
    pub fn appended(&mut self, record: &EncodedRecord, outside: &Outside<'_, '_>) -> Check {
        let sequence = record.sequence;
        let expected = self.tail.back().map_or(self.base_sequence, |r| r.sequence).next();
        ensure("recovered", sequence == expected, || {
            format!("record {sequence} appended, {expected} is next")
        })?;
        let payload: Bytes = record.parts.concat().into();
        let body = Body::decode(record.kind, &payload).map_err(|e| {
            Violation::new("recovered", format!("record {sequence} cannot be read back: {e}"))
        })?;
        self.bodies.insert(sequence, hash_body(record.kind, [&payload]));
        self.counts.records += 1;
        self.pace.appended(&body, self.tail.is_empty(), outside.sync_marker_idle_us)?;
        self.sources.appended(sequence.0, &body)?;
        let mut tip = std::mem::take(&mut self.tip);
        let mut transaction = Transaction::new(&mut tip);
        let outcome = self.fold(&mut transaction, sequence, &body, outside);
        let changes = transaction.changes;
        self.tip = tip;
        let write = outcome.map_err(|v| Violation { text: format!("record {sequence}: {}", v.text), ..v })?;
        self.tail.push_back(Logged { sequence, changes, write });
        Ok(())
    }

    fn fold(
        &mut self,
        transaction: &mut Transaction<'_>,
        sequence: Sequence,
        body: &Body,
        outside: &Outside<'_, '_>,
    ) -> Result<Option<(u64, Counts)>, Violation> {
        let Body::Commit(kind, commit) = body else {
            ensure("recovered", matches!(body, Body::SyncMarker), || {
                "an open record in the middle of a term".into()
            })?;
            return Ok(None);
        };
        // A batch that reaches its error limit stops its pipeline in the same record, under a new epoch: its own ranges
        // still count.
        let epochs: BTreeMap<u32, u64> =
            transaction.model().pipelines.iter().map(|(id, p)| (*id, p.epoch)).collect();
        let pipelines = transaction.model().pipelines.iter();
        let running: BTreeSet<u32> =
            pipelines.filter(|(_, p)| p.state == PipelineState::Running).map(|(id, _)| *id).collect();
        for change in &commit.catalog {
            self.check_carried_out(change, transaction.model())?;
            self.fold_definition(transaction, *kind, change, &commit.catalog, outside)?;
        }
        for advance in &commit.cursors {
            let oldest = epochs.get(&advance.pipeline.0).copied().unwrap_or(u64::MAX);
            ensure("fenced", oldest <= advance.epoch.0, || {
                format!("{} was fetched under an older epoch than {oldest}", range_name(advance))
            })?;
        }
        self.fold_batch(transaction, commit, outside)?;
        for change in &commit.catalog {
            if let CatalogChange::PipelineSet(def) = change
                && running.contains(&def.id.0)
                && commit.cursors.is_empty()
            {
                transaction.fail(def, commit.at_us);
            }
            // A stopped one keeps its state when its offsets are set.
            if let CatalogChange::PipelineSet(def) = change
                && running.contains(&def.id.0)
            {
                refusal::check_stop(def, &transaction.model().pipelines[&def.id.0], outside)?;
            }
        }
        let write = self.staged.remove(&sequence);
        ensure("exactly once", write.is_some() == (*kind == RecordKind::Client), || {
            format!("a record of kind {kind:?} with client transaction {write:?}")
        })?;
        let Some(id) = write else { return Ok(None) };
        self.counts.client_transactions += 1;
        Ok(Some((id, self.fold_write(transaction, id)?)))
    }

    fn fold_write(&self, transaction: &mut Transaction<'_>, id: u64) -> Result<Counts, Violation> {
        let mut counts = Counts::default();
        let write = &self.writes[&id];
        ensure("exactly once", !self.published_writes.contains_key(&id), || {
            format!("transaction {id} twice")
        })?;
        for statement in &write.statements {
            for row in &statement.removed {
                let there = transaction.remove(statement.table, row);
                ensure("exactly once", there, || {
                    format!("transaction {id} deletes a row that does not exist: {row:?}")
                })?;
                counts.deleted += 1;
            }
            for row in &statement.rows {
                match transaction.upsert(statement.table, &statement.duplicate, row.clone()) {
                    Fate::Inserted => counts.inserted += 1,
                    Fate::Updated => counts.updated += 1,
                    Fate::Ignored => counts.ignored += 1,
                    Fate::Rejected(_) => {
                        let text = format!("transaction {id} is logged, but its row {row:?} must be refused");
                        return Err(Violation::new("exactly once", text));
                    }
                }
            }
        }
        Ok(counts)
    }

    fn fold_batch(
        &mut self,
        transaction: &mut Transaction<'_>,
        commit: &Commit,
        outside: &Outside<'_, '_>,
    ) -> Check {
        self.counts.batches += u64::from(!commit.cursors.is_empty());
        for advance in &commit.cursors {
            let tally = self.fold_advance(transaction, advance, commit.at_us, outside)?;
            let told = advance.tally;
            ensure("exactly once", told == tally, || {
                format!("{} has the tally {told:?}, expected {tally:?}", range_name(advance))
            })?;
        }
        check_error_limits(transaction.model(), commit, outside)
    }

    /// Folds the messages of one range of a source partition, and moves the cursor.
    fn fold_advance(
        &mut self,
        transaction: &mut Transaction<'_>,
        advance: &CursorAdvance,
        at_us: i64,
        outside: &Outside<'_, '_>,
    ) -> Result<Tally, Violation> {
        let id = advance.pipeline.0;
        let known = transaction.model().pipelines.get(&id).cloned();
        let Some(mut pipeline) = known else {
            return Err(Violation::new("fenced", format!("{} of a dropped pipeline", range_name(advance))));
        };
        let rule = rule_of(outside, &pipeline)?;
        let fresh = pipeline.generation == advance.generation.0 && pipeline.fetched <= advance.epoch.0;
        ensure("fenced", fresh, || format!("{} is older than {pipeline:?}", range_name(advance)))?;
        let topic = TopicId::of(&advance.identity);
        ensure("honest", pipeline.topic.is_some() && pipeline.topic == topic, || {
            format!("{} is of another topic than {pipeline:?}", range_name(advance))
        })?;
        let partition = advance.split.0 as i32;
        let cursor = pipeline.cursors.get(&partition).copied();
        let follows =
            cursor == Some(advance.first.ordinal()) && advance.next.ordinal() >= advance.first.ordinal();
        ensure("monotonic", follows, || {
            format!("{} does not follow cursor {cursor:?}", range_name(advance))
        })?;

        let topic_id = topic.expect("just compared");
        let ends = || outside.brokers[rule.topic].ends_by(topic_id, partition, advance.next.ordinal());
        ensure("exactly once", !advance.finished || ends(), || {
            format!("{} finishes a split that goes on", range_name(advance))
        })?;
        let range = advance.first.ordinal()..advance.next.ordinal();
        let epoch = match advance.next.leader_epoch() {
            unknown if unknown < 0 => i32::MAX,
            epoch => epoch,
        };
        let truth = outside.brokers[rule.topic].truth(topic_id, partition, range, epoch);
        let truth = truth.ok_or_else(|| {
            Violation::new("honest", format!("{}: there is no such partition", range_name(advance)))
        })?;
        let table = transaction.model().table_named(&rule.table);
        let table =
            table.ok_or_else(|| Violation::new("fenced", format!("{}: no table", range_name(advance))))?;
        let generation = advance.generation.0;
        let range =
            messages::Range { pipeline: id, rule: &rule, table, generation, partition, at_us, outside };
        let mut tally = Tally::default();
        for (offset, payload) in truth {
            self.counts.messages += 1;
            range.fold(transaction, offset, payload.as_ref(), &mut tally, &mut self.counts);
        }
        self.counts.applied += tally.applied;
        self.counts.filtered += tally.filtered;
        self.counts.ignored += tally.ignored;
        self.counts.dead_letters += tally.dead_letters;
        pipeline.cursors.insert(partition, advance.next.ordinal());
        pipeline.dead_letters += tally.dead_letters;
        pipeline.fetched = advance.epoch.0;
        transaction.apply(Change::PipelineSet(id, Box::new(pipeline)));
        Ok(tally)
    }

    // ---- Visible states ----

    /// A snapshot becomes visible; `durable` is the last record that the disk truly has.
    pub fn published(&mut self, snapshot: &Snapshot, durable: Sequence) -> Check {
        let sequence = snapshot.sequence;
        ensure("durable", sequence <= durable, || {
            format!("record {sequence} is visible, {durable} is durable")
        })?;
        ensure("monotonic", sequence >= self.base_sequence, || {
            format!("snapshot {sequence} after {}", self.base_sequence)
        })?;
        self.advance_base(sequence)?;
        self.check_snapshot(snapshot)
    }

    fn advance_base(&mut self, sequence: Sequence) -> Check {
        while self.base_sequence < sequence {
            let Some(record) = self.tail.pop_front() else {
                return Err(Violation::new(
                    "atomic",
                    format!("snapshot {sequence} of a record that was never appended"),
                ));
            };
            for change in &record.changes {
                self.base.apply(change);
            }
            self.base_sequence = record.sequence;
            if let Some((id, counts)) = record.write {
                self.published_writes.insert(id, counts);
            }
        }
        Ok(())
    }

    fn check_snapshot(&mut self, snapshot: &Snapshot) -> Check {
        self.counts.snapshots += 1;
        let sequence = snapshot.sequence;
        let tables: Vec<u32> = snapshot.catalog.tables.keys().map(|id| id.0).collect();
        let expected: Vec<u32> = self.base.tables.keys().copied().collect();
        ensure("atomic", tables == expected, || {
            format!("snapshot {sequence} has tables {tables:?}, must have {expected:?}")
        })?;
        check_cursors(snapshot, &self.base)?;
        for id in tables {
            check_table(snapshot, id, &self.base)?;
            check_sizes(snapshot, id, &self.base, &self.limits)?;
            self.check_places(snapshot, id)?;
        }
        // As in `check_places`: every eighth is enough.
        if self.counts.snapshots.is_multiple_of(8) {
            check_failures(snapshot, &self.base)?;
        }
        Ok(())
    }

    /// Every row is on the shard of its key (invariant 5), and its row id is unique.
    fn check_places(&self, snapshot: &Snapshot, id: u32) -> Check {
        let def = &snapshot.catalog.tables[&TableId(id)];
        if id == ERRORS_TABLE.0 {
            return Ok(());
        }
        // Checking all rows of all snapshots would cost too much: every eighth snapshot.
        if !self.counts.snapshots.is_multiple_of(8) {
            return Ok(());
        }
        let mut ids = BTreeSet::new();
        for read in value::rows(snapshot, TableId(id)) {
            let place = placed::shard_of(def, &read.row, snapshot.shards.len());
            ensure("placed", place == read.shard, || {
                format!(
                    "row {:?} of table {} is on shard {}, must be on {place}",
                    read.row, def.name, read.shard
                )
            })?;
            let own = ids.insert((read.shard, read.id)) && read.id.sequence <= snapshot.sequence;
            ensure("atomic", own, || {
                format!("row id {:?} of {:?} in snapshot {}", read.id, read.row, snapshot.sequence)
            })?;
        }
        Ok(())
    }

    /// A reader acquired a snapshot: it must be the newest published one.
    pub fn acquired(&mut self, snapshot: &Snapshot) -> Check {
        ensure("monotonic", snapshot.sequence == self.base_sequence, || {
            format!("snapshot {} is acquired, {} is published", snapshot.sequence, self.base_sequence)
        })?;
        self.check_snapshot(snapshot)
    }

    /// A statement reads the staged tip of its tables.
    pub fn table_lock(&mut self, snapshot: &Snapshot, tables: &[u32]) -> Check {
        self.counts.table_locks += 1;
        tables.iter().try_for_each(|id| check_table(snapshot, *id, &self.tip))
    }

    /// A client transaction was answered.
    pub fn answered(&mut self, id: u64, answer: Result<Counts, &kernel::Error>) -> Check {
        ensure("exactly once", self.answered.insert(id), || format!("transaction {id} is answered twice"))?;
        let in_log = self.tail.iter().any(|r| r.write.is_some_and(|(write, _)| write == id));
        match answer {
            Ok(counts) => {
                let expected = self.published_writes.get(&id).copied();
                ensure("durable", expected == Some(counts), || {
                    format!(
                        "transaction {id} is answered {counts:?}, must be {expected:?} (None: not published)"
                    )
                })
            }
            Err(error) => {
                let logged = in_log || self.published_writes.contains_key(&id);
                ensure("exactly once", !logged, || {
                    format!("transaction {id} failed ({error}) and is in the log")
                })
            }
        }
    }

    // ---- Crashes ----

    /// The process died: staged records are lost, appended ones may be.
    pub fn crashed(&mut self) {
        self.staged.clear();
        self.outstanding.clear();
    }

    /// The last record of the unchanged prefix of the records read.
    pub fn known_prefix(&self, records: &[ReadRecord]) -> Sequence {
        let known = records.iter().take_while(|r| self.bodies.get(&r.sequence) == Some(&r.hash));
        Sequence(known.count() as u64)
    }

    /// The last visible record.
    pub fn visible(&self) -> Sequence {
        self.base_sequence
    }

    /// A recovery has read the log: every record's sequence, kind and hash, its own `open` record last.
    pub fn recovered(&mut self, records: &[ReadRecord], snapshot: &Snapshot) -> Check {
        self.counts.recoveries += 1;
        let Some(open) = records.last().filter(|r| r.kind == RecordKind::Open) else {
            return Err(Violation::new("recovered", "no open record at the end of the log"));
        };
        let counted = records.iter().enumerate().all(|(index, r)| r.sequence.0 == index as u64 + 1);
        ensure("recovered", counted, || "records are not counted one by one".into())?;
        // Processes that died during recovery leave their open records: only those may follow the appended records.
        let last = self.known_prefix(records);
        let known = last.0 as usize;
        let stranger = records[known..].iter().find(|r| r.kind != RecordKind::Open);
        ensure("recovered", stranger.is_none(), || format!("{stranger:?} is not the one that was appended"))?;
        ensure("durable", last >= self.base_sequence, || {
            format!("recovered up to record {last}, but {} was visible", self.base_sequence)
        })?;
        let lost = self.tail.iter().filter(|r| r.sequence > last).count();
        self.counts.appended_lost += lost as u64;
        self.counts.unpublished_recovered += (self.tail.len() - lost) as u64;
        self.bodies.split_off(&last.next());
        self.bodies.extend(records[known..].iter().map(|r| (r.sequence, r.hash)));
        self.tail.retain(|record| record.sequence <= last);
        let visible = self.tail.back().map_or(self.base_sequence, |r| r.sequence);
        self.advance_base(visible)?;
        self.tip = self.base.clone();
        self.pace.recovered(self.intervals());
        ensure("recovered", snapshot.sequence == open.sequence, || {
            format!("open record {}, snapshot {}", open.sequence, snapshot.sequence)
        })?;
        self.base_sequence = open.sequence;
        self.check_snapshot(snapshot)
    }
}

/// Hash of a record; `payload` in any parts.
pub fn hash_body<'p>(kind: RecordKind, payload: impl IntoIterator<Item = &'p Bytes>) -> u64 {
    let mut hash = Xxh3::with_seed(kind as u64);
    payload.into_iter().for_each(|part| hash.update(part));
    hash.digest()
}

fn rule<'w>(outside: &Outside<'w, '_>, name: &str) -> Result<&'w PipelineRule, Violation> {
    let found = outside.rules.iter().find(|rule| rule.name == name);
    found.ok_or_else(|| Violation::new("honest", format!("no client created pipeline {name}")))
}

/// The rule that a pipeline follows now.
fn rule_of(outside: &Outside<'_, '_>, pipeline: &model::Pipeline) -> Result<PipelineRule, Violation> {
    Ok(rule(outside, &pipeline.name)?.defined(&pipeline.definition))
}

/// A pipeline stops in the record in which its dead letters exceed the limit, and for that reason in no other.
fn check_error_limits(model: &Model, commit: &Commit, outside: &Outside<'_, '_>) -> Check {
    for advance in &commit.cursors {
        let id = advance.pipeline;
        let pipeline = &model.pipelines[&id.0];
        let Some(limit) = rule_of(outside, pipeline)?.error_limit else { continue };
        let of_it = commit.cursors.iter().filter(|a| a.pipeline == id);
        let dead_letters: u64 = of_it.map(|a| a.tally.dead_letters).sum();
        let exceeded = dead_letters > 0 && pipeline.dead_letters > limit;
        let why = format!("pipeline {} has {} dead letters", pipeline.name, pipeline.dead_letters);
        let says_why = |state: &PipelineState| matches!(state, PipelineState::Failed(error) if error.message.starts_with(&why));
        let stops = |change: &CatalogChange| matches!(change, CatalogChange::PipelineSet(def) if def.id == id && says_why(&def.state));
        ensure("honest", commit.catalog.iter().any(stops) == exceeded, || {
            format!(
                "pipeline {} has {} dead letters, its limit is {limit}; catalog changes: {:?}",
                pipeline.name, pipeline.dead_letters, commit.catalog
            )
        })?;
    }
    Ok(())
}

fn range_name(a: &CursorAdvance) -> String {
    format!(
        "range {}..{} of partition {}, pipeline {}, generation {}, epoch {}",
        a.first, a.next, a.split, a.pipeline, a.generation, a.epoch
    )
}

/// Offsets that an operator may set a pipeline to.
pub fn from_start() -> Offsets {
    Offsets::From(StartAt::Earliest)
}
