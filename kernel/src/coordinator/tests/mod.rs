//! Scenarios of the coordinator. The test plays host, log and source. It either answers for the shards, with refusals
//! as configured, or carries commands to real shards. Scenarios of the whole kernel, with disk and faults, are in the
//! simulator.

mod dispositions;
mod sources;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::expr::{Expr, Literal, OnDuplicate, Update};
use crate::extract::{DeadLetter, DeadLetterKind, Extract};
use crate::message::*;
use crate::record::{Body, EncodedRecord, Open, Record, RecordKind};
use crate::schema::*;
use crate::shard::Shard;
use crate::snapshot::ShardView;

const SHARDS: u16 = 2;
const TOPIC: [u8; 16] = [7; 16];

/// No lingering: metadata requests and batches start as soon as allowed.
fn eager() -> Config {
    Config {
        pacing: Pacing { linger_bytes: 0, metadata_pause_us: 0, ..Pacing::default() },
        ..Config::default()
    }
}

struct Host {
    kernel: Coordinator,
    now_us: Micros,
    /// Effects that the test has not examined yet, without shard commands and appends.
    seen: VecDeque<Effect>,
    appended: Vec<(Sequence, RecordKind, Body)>,
    /// Real shards. Empty: the test answers for them.
    shards: Vec<Shard>,
    /// Rows of this table are refused.
    refuse: Option<TableId>,
    /// Shard commands wait for `release`.
    hold: bool,
    held: VecDeque<(ShardId, ShardCommand)>,
    commands: Vec<String>,
}

impl Host {
    fn new() -> Host {
        Host::over(vec![], eager())
    }

    /// With real shards.
    fn with_shards() -> Host {
        Host::over((0..SHARDS).map(|shard| Shard::new(ShardId(shard), SHARDS)).collect(), eager())
    }

    fn over(mut shards: Vec<Shard>, config: Config) -> Host {
        let open = Record {
            sequence: Sequence(1),
            term: Term(1),
            synced_through: Sequence(0),
            body: Body::Open(Open { database: [1; 16], shard_count: SHARDS, at_us: 0 }),
        };
        let mut views: Vec<Arc<ShardView>> = shards.iter_mut().map(Shard::recovered).collect();
        views.resize(SHARDS as usize, Arc::default());
        let kernel = Recovery::new().finish(config, 0, &open, views).unwrap();
        let mut host = Host {
            kernel,
            now_us: 0,
            seen: VecDeque::new(),
            appended: vec![],
            shards,
            refuse: None,
            hold: false,
            held: VecDeque::new(),
            commands: vec![],
        };
        host.carry_out();
        host.seen.clear();
        host
    }

    /// Feeds an input; the shards answer at once.
    fn feed(&mut self, input: Input) {
        self.now_us += 1;
        self.kernel.handle(self.now_us, input);
        self.carry_out();
    }

    /// Sorts the effects by addressee; the shards answer, unless their commands are held.
    fn carry_out(&mut self) {
        loop {
            let Host { kernel, seen, appended, held, commands, .. } = self;
            let ended = crate::host::carry_out(kernel, &mut Sorted { seen, appended, held, commands });
            let Some((shard, command)) = held.pop_front_if(|_| !self.hold && ended.is_ok()) else { return };
            let reply = match self.shards.get_mut(shard.0 as usize) {
                Some(shard) => shard.handle(command),
                None => self.answer(command),
            };
            self.kernel.handle(self.now_us, Input::Shard { shard, reply });
        }
    }

    /// Carries out the waiting shard commands, and later ones at once.
    fn release(&mut self) {
        self.hold = false;
        self.carry_out();
    }

    fn answer(&self, command: ShardCommand) -> ShardReply {
        match command {
            ShardCommand::Stage { sequence, work } => {
                let mut rejected = vec![];
                for work in &work {
                    if let Work::Rows { table, rows, .. } = work
                        && Some(*table) == self.refuse
                        && rows.iter().any(|r| r.num_rows() > 0)
                    {
                        let error = Error::new(SqlState::UNIQUE_VIOLATION, "duplicate key");
                        rejected.push(Rejected {
                            table: *table,
                            error,
                            origin: Some((SplitId(0), 0)),
                            row_text: "{}".into(),
                        });
                    }
                }
                let (counts, ignored) = (Counts::default(), BTreeMap::new());
                ShardReply::Staged {
                    sequence,
                    outcome: Bytes::from_static(b"outcome-"),
                    counts,
                    ignored,
                    rejected,
                }
            }
            ShardCommand::Abandon { from } => ShardReply::Abandoned { from },
            ShardCommand::Publish { through, .. } => ShardReply::Published { through, view: Arc::default() },
            ShardCommand::ViewTip { table_lock } => ShardReply::Tip { table_lock, view: Arc::default() },
        }
    }

    fn sync(&mut self) {
        let through = self.appended.last().expect("a record was appended").0;
        self.feed(Input::Synced { through });
    }

    fn request(&mut self, id: u64, request: Request) {
        self.feed(Input::Request { id: RequestId(id), request });
    }

    /// The answer to a request, if it exists.
    fn answer_to(&mut self, id: u64) -> Option<Result<Response, Error>> {
        let found = self.seen.iter().position(|e| matches!(e, Effect::Reply { id: of, .. } if of.0 == id))?;
        match self.seen.remove(found) {
            Some(Effect::Reply { result, .. }) => Some(result),
            _ => unreachable!("just matched"),
        }
    }

    fn define(&mut self, id: u64, definition: Definition) {
        self.request(id, Request::Define(definition));
        self.sync();
        self.answer_to(id).expect("the request is answered").unwrap();
    }

    /// Creates a table `t (a bigint)`, keyed or not, and a pipeline `p` into it, which fetches partition 0 from offset
    /// 0.
    fn with_pipeline(keyed: bool, error_limit: Option<u64>) -> Host {
        let mut host = Host::new();
        let spec = PipelineSpec { error_limit, ..pipeline("p", "t", OnDuplicate::Reject) };
        host.start_pipeline(keyed, spec);
        host
    }

    /// Creates a table `(a bigint)`, keyed or not, and the next pipeline into it, which fetches partition 0 from offset
    /// 0.
    fn start_pipeline(&mut self, keyed: bool, spec: PipelineSpec) -> PipelineId {
        let id = PipelineId(self.kernel.tip().next_pipeline);
        let name = spec.name.clone();
        self.define(1, create_table(&spec.table, keyed));
        self.define(2, create_pipeline(spec));
        self.define(3, Definition::StartPipeline { name, if_not_running: false });
        let epoch = self.kernel.pipelines[&id].epoch;
        self.feed(Input::SourceOpened { pipeline: id, epoch, metadata: metadata(TOPIC) });
        self.sync();
        self.seen.clear();
        id
    }

    fn epoch(&self) -> Epoch {
        self.kernel.pipelines[&PipelineId(1)].epoch
    }

    fn extracted(&mut self, epoch: Epoch, from: i64, to: i64) {
        self.extracted_for_schema(1, epoch, from, to);
    }

    fn extracted_for_schema(&mut self, schema_version: u32, epoch: Epoch, from: i64, to: i64) {
        let rows = rows((from..to).collect());
        let extract = Extract {
            pipeline: PipelineId(1),
            epoch,
            split: SplitId(0),
            schema_version,
            first: Position::kafka(from, 0),
            next: Position::kafka(to, 0),
            messages: (to - from) as u64,
            filtered: 0,
            source_bytes: 100,
            rows: vec![Some(rows), None],
            dead_letters: vec![],
            originals: None,
        };
        self.feed(Input::Extracted(extract));
    }

    /// Answers the current metadata request.
    fn verified(&mut self, topic_id: [u8; 16]) {
        self.verified_of(PipelineId(1), topic_id);
    }

    fn verified_of(&mut self, pipeline: PipelineId, topic_id: [u8; 16]) {
        let asked = self.seen.iter().rev().find_map(|e| match e {
            Effect::SourceVerify { pipeline: of, epoch, token } if *of == pipeline => Some((*epoch, *token)),
            _ => None,
        });
        let (epoch, token) = asked.expect("metadata was requested");
        self.feed(Input::SourceVerified { pipeline, epoch, token, metadata: metadata(topic_id) });
    }

    /// Start of the last fetch.
    fn last_fetch(&self) -> Option<i64> {
        self.seen.iter().rev().find_map(|e| match e {
            Effect::Fetch { starts, .. } => Some(starts[0].position.ordinal()),
            _ => None,
        })
    }

    fn cursor(&self) -> i64 {
        self.position(PipelineId(1)).ordinal()
    }

    /// The cursor of partition 0.
    fn position(&self, pipeline: PipelineId) -> Position {
        let cursors = &self.kernel.published().catalog.cursors[&pipeline];
        cursors.get(SplitId(0)).and_then(|split| split.position).expect("a cursor")
    }

    fn state(&self) -> PipelineState {
        self.kernel.published().catalog.pipelines[&PipelineId(1)].state.clone()
    }
}

/// Keeps the effects for the test.
struct Sorted<'a> {
    seen: &'a mut VecDeque<Effect>,
    appended: &'a mut Vec<(Sequence, RecordKind, Body)>,
    held: &'a mut VecDeque<(ShardId, ShardCommand)>,
    commands: &'a mut Vec<String>,
}

/// The kernel has halted.
struct Halted;

impl crate::host::Host for Sorted<'_> {
    type End = Halted;

    fn before(&mut self, effect: &Effect) -> Result<(), Halted> {
        if !matches!(effect, Effect::Shard { .. } | Effect::Append(_)) {
            self.seen.push_back(effect.clone());
        }
        Ok(())
    }

    fn shard(&mut self, shard: ShardId, command: ShardCommand) -> Result<(), Halted> {
        self.commands.push(format!("{shard} {}", name_of(&command)));
        self.held.push_back((shard, command));
        Ok(())
    }

    fn append(&mut self, record: EncodedRecord) -> Result<(), Halted> {
        let payload: Vec<u8> = record.parts.iter().flat_map(|p| p.iter().copied()).collect();
        let body = Body::decode(record.kind, &Bytes::from(payload)).unwrap();
        self.appended.push((record.sequence, record.kind, body));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Halted> {
        Ok(())
    }

    fn open_source(&mut self, _: Epoch, _: Arc<PipelineDef>, _: Arc<TableDef>) -> Result<(), Halted> {
        Ok(())
    }

    fn fetch(&mut self, _: PipelineId, _: Epoch, _: Vec<SplitStart>) -> Result<(), Halted> {
        Ok(())
    }

    fn credit(&mut self, _: PipelineId, _: Epoch, _: u64) -> Result<(), Halted> {
        Ok(())
    }

    fn verify_source(&mut self, _: PipelineId, _: Epoch, _: u64) -> Result<(), Halted> {
        Ok(())
    }

    fn close_source(&mut self, _: PipelineId, _: Epoch) -> Result<(), Halted> {
        Ok(())
    }

    fn publish(&mut self, _: Snapshot) -> Result<(), Halted> {
        Ok(())
    }

    fn reply(&mut self, _: RequestId, _: Result<Response, Error>) -> Result<(), Halted> {
        Ok(())
    }

    fn wake_at(&mut self, _: Micros) -> Result<(), Halted> {
        Ok(())
    }

    fn event(&mut self, _: Event) -> Result<(), Halted> {
        Ok(())
    }

    fn halt(&mut self, _: Error) -> Halted {
        Halted
    }
}

fn name_of(command: &ShardCommand) -> String {
    match command {
        ShardCommand::Stage { sequence, .. } => format!("stage {sequence}"),
        ShardCommand::Abandon { from } => format!("abandon {from}"),
        ShardCommand::Publish { through, .. } => format!("publish {through}"),
        ShardCommand::ViewTip { .. } => "tip".into(),
    }
}

fn metadata(topic_id: [u8; 16]) -> SourceMetadata {
    SourceMetadata::kafka(&Identity::new(&topic_id), [(0, (0, 1000))])
}

fn column(name: &str) -> ColumnDef {
    let column_type = ColumnType::Int64;
    ColumnDef { id: ColumnId(0), name: name.into(), column_type, nullable: true, default_sql: None }
}

fn pipeline(name: &str, table: &str, on_duplicate: OnDuplicate) -> PipelineSpec {
    PipelineSpec {
        source_kind: SourceKind::Kafka,
        name: name.into(),
        table: table.into(),
        definition_sql: format!("CREATE PIPELINE {name} …"),
        on_duplicate,
        error_limit: None,
        batch_interval_us: 0,
        batch_bytes_max: 1 << 20,
    }
}

fn create_pipeline(spec: PipelineSpec) -> Definition {
    Definition::CreatePipeline { spec: Box::new(spec), if_not_exists: false }
}

fn create_table(name: &str, keyed: bool) -> Definition {
    let primary_key = if keyed { vec![0] } else { vec![] };
    let spec = TableSpec {
        name: name.into(),
        columns: vec![column("a")],
        primary_key,
        shard_key: vec![],
        sort_key: vec![],
    };
    Definition::CreateTable { spec, if_not_exists: false }
}

fn rows(values: Vec<i64>) -> arrow_array::RecordBatch {
    use arrow_array::{Int32Array, Int64Array};
    let n = values.len();
    let mut catalog = Catalog::new();
    let Definition::CreateTable { spec, .. } = create_table("t", false) else { unreachable!() };
    let table = TableDef {
        id: TableId(1),
        name: spec.name,
        schema_version: 1,
        columns: spec.columns,
        primary_key: vec![],
        shard_key: vec![],
        sort_key: vec![],
        created_at: Sequence(1),
    };
    catalog.apply(&CatalogChange::TableCreated(table)).unwrap();
    let schema = catalog.tables[&TableId(1)].stored_schema();
    let columns: Vec<arrow_array::ArrayRef> = vec![
        Arc::new(Int64Array::from(values)),
        Arc::new(Int64Array::from(vec![None; n])),
        Arc::new(Int32Array::from(vec![None; n])),
        Arc::new(Int64Array::from(vec![None; n])),
    ];
    arrow_array::RecordBatch::try_new(schema, columns).unwrap()
}

fn write(table_lock: Option<TableLockId>) -> Request {
    write_with(table_lock, OnDuplicate::Reject)
}

fn write_with(table_lock: Option<TableLockId>, on_duplicate: OnDuplicate) -> Request {
    let part = |rows| ShardWrite { deletes: vec![], rows };
    let table = TableWrite {
        table: TableId(1),
        schema_version: 1,
        on_duplicate,
        shards: vec![part(Some(rows(vec![1]))), part(None)],
    };
    Request::Write(Write { table_lock, tables: vec![table] })
}

#[test]
fn a_batch_needs_the_second_reading_and_is_seen_only_after_its_sync() {
    let mut host = Host::with_pipeline(false, None);
    let appended = host.appended.len();
    host.extracted(host.epoch(), 0, 10);
    assert_eq!(host.appended.len(), appended, "the extract is not verified yet");
    host.verified(TOPIC);
    assert_eq!(host.appended.len(), appended + 1, "the extract is verified, staged, appended");
    assert_eq!(host.cursor(), 0, "the record is not durable, so not visible");
    host.sync();
    assert_eq!(host.cursor(), 10);
    let (_, kind, Body::Commit(_, commit)) = host.appended.last().unwrap() else { panic!("a commit") };
    assert_eq!(*kind, RecordKind::Batch);
    assert_eq!((commit.cursors[0].first.ordinal(), commit.cursors[0].tally.applied), (0, 10));
}

#[test]
fn what_arrives_during_a_sync_is_one_batch_after_it() {
    let mut host = Host::with_pipeline(false, None);
    host.extracted(host.epoch(), 0, 10);
    host.verified(TOPIC);
    let appended = host.appended.len();
    for from in [10, 20, 30] {
        host.extracted(host.epoch(), from, from + 10);
        host.verified(TOPIC);
    }
    assert_eq!(host.appended.len(), appended, "the log is busy and nothing is full");
    host.sync();
    assert_eq!(host.appended.len(), appended + 1);
    host.sync();
    assert_eq!(host.cursor(), 40);
}

#[test]
fn behind_the_end_of_its_source_a_pipeline_gathers_until_it_has_enough_or_has_waited() {
    let config = Config { pacing: Pacing { linger_bytes: 250, ..Pacing::default() }, ..Config::default() };
    let mut host = Host::over(vec![], config.clone());
    host.start_pipeline(false, pipeline("p", "t", OnDuplicate::Reject));
    let metadata =
        |host: &Host| host.seen.iter().filter(|e| matches!(e, Effect::SourceVerify { .. })).count();
    let (asked, appended) = (metadata(&host), host.appended.len());

    // Each range has 100 bytes; the metadata names 1000 messages.
    host.extracted(host.epoch(), 0, 10);
    host.extracted(host.epoch(), 10, 20);
    assert_eq!(metadata(&host), asked, "too few bytes for a metadata request");
    host.extracted(host.epoch(), 20, 30);
    assert_eq!(metadata(&host), asked + 1, "enough");
    host.verified(TOPIC);
    assert_eq!(host.appended.len(), appended + 1, "300 bytes are a batch");
    host.sync();

    host.extracted(host.epoch(), 30, 40);
    assert_eq!(
        host.kernel.next_pipeline_timer().map(|due_us| due_us <= host.now_us + config.pacing.linger_us),
        Some(true)
    );
    host.now_us += config.pacing.linger_us;
    host.feed(Input::Tick);
    assert_eq!(metadata(&host), asked + 2, "`linger_us` has passed");
    host.verified(TOPIC);
    assert_eq!(host.appended.len(), appended + 2, "the batch does not linger again");
    host.sync();

    host.extracted(host.epoch(), 40, 1000);
    host.now_us += config.pacing.linger_us;
    host.feed(Input::Tick);
    host.verified(TOPIC);
    host.sync();
    host.extracted(host.epoch(), 1000, 1001);
    assert_eq!(metadata(&host), asked + 3, "at the end `metadata_pause_us` passes between requests");
    host.now_us += config.pacing.metadata_pause_us;
    host.feed(Input::Tick);
    assert_eq!(metadata(&host), asked + 4);
    host.verified(TOPIC);
    host.sync();
    assert_eq!(host.cursor(), 1001);
}

#[test]
fn an_older_epoch_changes_nothing_and_a_range_that_does_not_follow_is_fetched_again() {
    let mut host = Host::with_pipeline(false, None);
    let epoch = host.epoch();
    host.extracted(Epoch(epoch.0 - 1), 0, 10);
    assert!(
        !host.seen.iter().any(|e| matches!(e, Effect::SourceVerify { .. })),
        "an extract of an older epoch is dropped"
    );
    host.extracted(epoch, 5, 10);
    assert!(host.epoch() > epoch, "a skip reopens the source under a new epoch");
    assert!(host.seen.iter().any(|e| matches!(e, Effect::SourceOpen { .. })));
    let (pipeline, epoch) = (PipelineId(1), host.epoch());
    host.feed(Input::SourceOpened { pipeline, epoch, metadata: metadata(TOPIC) });
    assert_eq!(host.last_fetch(), Some(0), "the fetch starts at the cursor");
}

#[test]
fn rows_for_another_version_of_the_table_are_dropped_and_fetched_again() {
    let mut host = Host::with_pipeline(false, None);
    let epoch = host.epoch();
    host.extracted_for_schema(2, epoch, 0, 10);
    assert!(host.epoch() > epoch, "the source is reopened under a new epoch");
    let (pipeline, epoch) = (PipelineId(1), host.epoch());
    host.feed(Input::SourceOpened { pipeline, epoch, metadata: metadata(TOPIC) });
    assert_eq!(host.last_fetch(), Some(0), "the fetch starts at the cursor");
    host.extracted(epoch, 0, 10);
    host.verified(TOPIC);
    host.sync();
    assert_eq!(host.cursor(), 10);
}

#[test]
fn a_source_that_is_opened_again_goes_on_behind_the_batch_that_is_being_staged() {
    let mut host = Host::with_pipeline(false, None);
    host.hold = true;
    host.extracted(host.epoch(), 0, 10);
    host.verified(TOPIC);
    let (pipeline, epoch) = (PipelineId(1), host.epoch());
    let failure = SourceFailure::Transient(Error::new(
        SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
        "no route to host",
    ));
    host.feed(Input::SourceFailed { pipeline, epoch, failure });
    host.now_us += Pacing::default().retry_us_max;
    host.feed(Input::Tick);
    let epoch = host.epoch();
    host.feed(Input::SourceOpened { pipeline, epoch, metadata: metadata(TOPIC) });
    assert_eq!(host.last_fetch(), Some(10), "the ranges of the staged batch are not fetched again");
    host.release();
    host.sync();
    host.extracted(epoch, 10, 15);
    host.verified(TOPIC);
    (0..3).for_each(|_| host.sync());
    assert_eq!(host.cursor(), 15);
}

#[test]
fn a_recreated_topic_stops_the_pipeline_and_nothing_of_it_is_loaded() {
    let mut host = Host::with_pipeline(false, None);
    host.extracted(host.epoch(), 0, 10);
    host.verified([8; 16]);
    host.sync();
    assert_eq!(host.cursor(), 0);
    let PipelineState::Failed(error) = host.state() else { panic!("{:?}", host.state()) };
    assert_eq!(error.sqlstate, SqlState::SOURCE_CHANGED);
    assert!(error.message.contains("SET OFFSETS EARLIEST"), "the error names the remedy: {error}");
}

/// Opened and closed epochs, in order.
fn opened_and_closed(effects: &VecDeque<Effect>) -> Vec<(&'static str, Epoch)> {
    let of = |effect: &Effect| match effect {
        Effect::SourceOpen { epoch, .. } => Some(("open", *epoch)),
        Effect::SourceClose { epoch, .. } => Some(("close", *epoch)),
        _ => None,
    };
    effects.iter().filter_map(of).collect()
}

#[test]
fn a_source_that_fails_for_good_is_closed_once() {
    let mut host = Host::with_pipeline(false, None);
    let (pipeline, epoch) = (PipelineId(1), host.epoch());
    let failure = SourceFailure::Permanent(Error::new(
        SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
        "no such topic",
    ));
    host.feed(Input::SourceFailed { pipeline, epoch, failure });
    host.sync();
    assert!(matches!(host.state(), PipelineState::Failed(_)));
    assert_eq!(opened_and_closed(&host.seen), [("close", epoch)]);
}

#[test]
fn a_source_that_waits_to_be_tried_again_is_closed_already() {
    let mut host = Host::with_pipeline(false, None);
    let (pipeline, first) = (PipelineId(1), host.epoch());
    let failure = || {
        SourceFailure::Transient(Error::new(
            SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
            "no route to host",
        ))
    };
    host.feed(Input::SourceFailed { pipeline, epoch: first, failure: failure() });
    host.now_us += Pacing::default().retry_us_max;
    host.feed(Input::Tick);
    let second = host.epoch();
    host.feed(Input::SourceFailed { pipeline, epoch: second, failure: failure() });
    host.define(9, Definition::StopPipeline { name: "p".into(), if_running: false });
    let expected = [("close", first), ("open", second), ("close", second)];
    assert_eq!(opened_and_closed(&host.seen), expected);
}

#[test]
fn a_cursor_below_the_earliest_offset_is_a_typed_loss() {
    let mut host = Host::with_pipeline(false, None);
    host.extracted(host.epoch(), 0, 10);
    host.verified(TOPIC);
    host.sync();
    let (pipeline, epoch) = (PipelineId(1), host.epoch());
    let failure = SourceFailure::kafka_lost(0, 10, 20, 30);
    host.feed(Input::SourceFailed { pipeline, epoch, failure });
    host.sync();
    let PipelineState::Failed(error) = host.state() else { panic!("{:?}", host.state()) };
    assert_eq!(error.sqlstate, SqlState::SOURCE_LOST);
    assert!(error.message.contains("10..20"), "the error names the range: {error}");
}

#[test]
fn a_reader_ahead_of_its_cursor_that_loses_its_place_begins_again_at_the_cursor() {
    let mut host = Host::with_pipeline(false, None);
    host.extracted(host.epoch(), 0, 10);
    host.verified(TOPIC);
    host.sync();
    // Read up to 20 and not committed. Then the partition is truncated at 15 and gets other messages. No committed
    // message is lost.
    host.extracted(host.epoch(), 10, 20);
    let (pipeline, before) = (PipelineId(1), host.epoch());
    let failure = SourceFailure::kafka_lost(0, 20, 0, 15);
    host.feed(Input::SourceFailed { pipeline, epoch: before, failure });
    host.sync();
    assert_eq!(host.state(), PipelineState::Running);
    let opened = host.seen.iter().rev().find_map(|e| match e {
        Effect::SourceOpen { epoch, .. } => Some(*epoch),
        _ => None,
    });
    let epoch = opened.expect("opened again");
    assert!(epoch > before);
    host.feed(Input::SourceOpened { pipeline, epoch, metadata: metadata(TOPIC) });
    assert_eq!(host.last_fetch(), Some(10));
}

#[test]
fn a_cursor_behind_the_latest_offset_is_told_of_while_it_is_tried_again() {
    let mut host = Host::with_pipeline(false, None);
    host.extracted(host.epoch(), 0, 1001);
    host.verified(TOPIC);
    host.sync();
    let failure = SourceFailure::Transient(Error::new(
        SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
        "no broker answers",
    ));
    host.feed(Input::SourceFailed { pipeline: PipelineId(1), epoch: host.epoch(), failure });
    host.sync();
    host.seen.clear();
    host.now_us += Pacing::default().retry_us_max;
    host.feed(Input::Tick);
    // The topic ends at offset 1000.
    host.feed(Input::SourceOpened {
        pipeline: PipelineId(1),
        epoch: host.epoch(),
        metadata: metadata(TOPIC),
    });
    let told = host.seen.iter().find_map(|e| match e {
        Effect::Event(Event::SourceRetried { error, .. }) => Some(error.clone()),
        _ => None,
    });
    assert!(told.expect("the retry is reported").message.contains("ends at 1000"));
}

#[test]
fn a_refused_client_row_abandons_the_record_and_its_sequence_is_used_again() {
    let mut host = Host::new();
    host.define(1, create_table("t", true));
    host.refuse = Some(TableId(1));
    host.request(2, write(None));
    let error = host.answer_to(2).expect("the request is answered without a sync").unwrap_err();
    assert_eq!(error.sqlstate, SqlState::UNIQUE_VIOLATION);
    let refused = host.kernel.staged_and_durable().0.next();
    assert!(host.commands.contains(&format!("0 abandon {refused}")), "{:?}", host.commands);
    host.refuse = None;
    host.request(3, write(None));
    assert_eq!(host.appended.last().unwrap().0, refused);
    host.sync();
    host.answer_to(3).unwrap().unwrap();
}

#[test]
fn a_refused_pipeline_row_goes_to_the_errors_table_of_the_same_record() {
    let mut host = Host::with_pipeline(true, None);
    host.refuse = Some(TableId(1));
    host.extracted(host.epoch(), 0, 10);
    host.verified(TOPIC);
    host.sync();
    assert_eq!(host.cursor(), 10, "the other messages are loaded");
    let (_, _, Body::Commit(_, commit)) = host.appended.last().unwrap() else { panic!("a commit") };
    let tally = commit.cursors[0].tally;
    assert_eq!((tally.applied, tally.dead_letters), (9, 1));
    let staged =
        host.commands.iter().filter(|c| c.contains(&format!("stage {}", host.appended.last().unwrap().0)));
    assert_eq!(staged.count(), 2, "rows, then errors rows, under one sequence");
}

#[test]
fn the_error_limit_stops_the_pipeline_with_the_batch_that_reaches_it() {
    let mut host = Host::with_pipeline(false, Some(0));
    let dead_letter = DeadLetter {
        split: SplitId(0),
        ordinal: 0,
        kind: DeadLetterKind::Decode,
        error: Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "not JSON"),
        payload: None,
    };
    let extract = Extract {
        pipeline: PipelineId(1),
        epoch: host.epoch(),
        split: SplitId(0),
        schema_version: 1,
        first: Position::kafka(0, 0),
        next: Position::kafka(1, 0),
        messages: 1,
        filtered: 0,
        source_bytes: 10,
        rows: vec![None, None],
        dead_letters: vec![dead_letter],
        originals: None,
    };
    host.feed(Input::Extracted(extract));
    host.verified(TOPIC);
    host.sync();
    assert_eq!(host.cursor(), 1, "the dead letter is in the record whose cursor passes it");
    assert!(matches!(host.state(), PipelineState::Failed(_)));
}

#[test]
fn a_table_lock_holds_later_batches_back_until_its_write_is_staged() {
    let mut host = Host::with_pipeline(false, None);
    host.request(10, Request::AcquireTableLock { tables: vec![TableId(1)] });
    let Some(Ok(Response::TableLock { table_lock, .. })) = host.answer_to(10) else { panic!("granted") };
    let appended = host.appended.len();
    host.extracted(host.epoch(), 0, 10);
    host.verified(TOPIC);
    host.request(11, write(None));
    assert_eq!(host.appended.len(), appended, "neither the batch nor another client's rows are staged");
    host.request(12, write(Some(table_lock)));
    let kinds: Vec<RecordKind> = host.appended[appended..].iter().map(|a| a.1).collect();
    assert_eq!(kinds[0], RecordKind::Client, "the lock's holder comes first: {kinds:?}");
    host.sync();
    host.sync();
    host.answer_to(12).unwrap().unwrap();
    host.answer_to(11).unwrap().unwrap();
    assert_eq!(host.cursor(), 10);
}

#[test]
fn a_table_lock_that_is_released_lets_the_others_go_on() {
    let mut host = Host::new();
    host.define(1, create_table("t", false));
    host.request(2, Request::AcquireTableLock { tables: vec![TableId(1)] });
    let Some(Ok(Response::TableLock { table_lock, .. })) = host.answer_to(2) else { panic!("granted") };
    host.request(3, Request::AcquireTableLock { tables: vec![TableId(1)] });
    assert!(host.answer_to(3).is_none(), "one table lock at a time");
    host.request(4, Request::ReleaseTableLock(table_lock));
    assert!(matches!(host.answer_to(3), Some(Ok(Response::TableLock { .. }))));
}

#[test]
fn the_holder_of_a_table_lock_is_never_turned_away() {
    let mut host = Host::over(vec![], Config { requests_waiting_max: 1, ..eager() });
    host.define(1, create_table("t", false));
    host.request(2, Request::AcquireTableLock { tables: vec![TableId(1)] });
    let Some(Ok(Response::TableLock { table_lock, .. })) = host.answer_to(2) else { panic!("granted") };
    host.request(3, write(None));
    assert!(host.answer_to(3).is_none(), "the request waits for the table lock and fills the queue");
    host.request(4, write(None));
    assert_eq!(
        host.answer_to(4).expect("the request is answered").unwrap_err().sqlstate,
        SqlState::OUT_OF_MEMORY
    );
    host.request(5, write(Some(table_lock)));
    host.sync();
    host.answer_to(5).expect("the holder's request is answered").unwrap();
    host.sync();
    host.answer_to(3).expect("the queue continues").unwrap();
}

#[test]
fn below_the_disk_reserve_nothing_is_logged_and_above_it_everything_goes_on() {
    let mut host = Host::with_pipeline(false, None);
    host.feed(Input::DiskSpace { sufficient: false });
    let appended = host.appended.len();
    host.extracted(host.epoch(), 0, 10);
    host.verified(TOPIC);
    host.request(2, write(None));
    assert_eq!(host.answer_to(2).unwrap().unwrap_err().sqlstate, SqlState::DISK_FULL);
    assert_eq!(host.appended.len(), appended);
    host.feed(Input::DiskSpace { sufficient: true });
    host.sync();
    assert_eq!(host.cursor(), 10);
}

/// Assigns a text to the first column, the bigint key.
fn misfit() -> OnDuplicate {
    let text = Expr::Literal(Literal::Text("one".into()), ColumnType::Text);
    OnDuplicate::Update(Update { assignments: vec![(ColumnId(0), text)], condition: None })
}

#[test]
fn a_rule_that_does_not_fit_its_table_is_refused_with_the_definition() {
    let mut host = Host::new();
    host.define(1, create_table("t", true));
    let appended = host.appended.len();
    host.request(2, Request::Define(create_pipeline(pipeline("p", "t", misfit()))));
    let error = host.answer_to(2).expect("the request is answered at once").unwrap_err();
    assert!(error.message.contains("primary key"), "{error}");
    assert_eq!(host.appended.len(), appended, "nothing was created");
}

#[test]
fn a_write_whose_rule_does_not_fit_its_table_is_refused_and_lets_go_of_its_table_lock() {
    let mut host = Host::new();
    host.define(1, create_table("t", true));
    host.request(2, Request::AcquireTableLock { tables: vec![TableId(1)] });
    let Some(Ok(Response::TableLock { table_lock, .. })) = host.answer_to(2) else { panic!("granted") };
    host.request(3, write_with(Some(table_lock), misfit()));
    let error = host.answer_to(3).expect("the request is answered at once").unwrap_err();
    assert!(error.message.contains("primary key"), "{error}");
    let stage = |command: &String| command.contains(&format!("stage {}", host.kernel.next_sequence));
    assert!(!host.commands.iter().any(stage), "no shard got the write");
    host.request(4, Request::AcquireTableLock { tables: vec![TableId(1)] });
    assert!(matches!(host.answer_to(4), Some(Ok(Response::TableLock { .. }))));
}

#[test]
fn a_failed_log_poisons_the_kernel() {
    let mut host = Host::new();
    host.feed(Input::LogFailed { error: Error::new(SqlState::IO_ERROR, "sync failed") });
    assert!(matches!(host.seen.pop_back(), Some(Effect::Halt(_))));
    host.request(1, write(None));
    assert!(host.seen.is_empty(), "no effect after Halt");
}

#[test]
fn a_superseded_snapshot_is_known_until_the_host_releases_it() {
    let mut host = Host::new();
    assert!(host.kernel.superseded().is_empty(), "the newest snapshot is superseded by none");
    host.define(1, create_table("t", false));
    host.define(2, create_table("u", false));
    let superseded = |host: &Host| host.kernel.superseded().iter().map(|s| s.0).collect::<Vec<_>>();
    assert_eq!(superseded(&host), [1, 2]);
    host.feed(Input::SnapshotReleased { sequence: Sequence(2) });
    assert_eq!(superseded(&host), [1], "a reader of an older one goes on");
    host.seen.clear();
    host.feed(Input::SnapshotReleased { sequence: Sequence(1) });
    assert!(superseded(&host).is_empty() && host.seen.is_empty());
}

#[test]
#[should_panic(expected = "released once")]
fn the_newest_snapshot_is_not_released() {
    let mut host = Host::new();
    host.define(1, create_table("t", false));
    host.feed(Input::SnapshotReleased { sequence: Sequence(2) });
}

#[test]
fn a_sync_marker_is_written_once_when_the_log_is_idle() {
    let mut host = Host::new();
    host.define(1, create_table("t", false));
    host.now_us += Config::default().sync_marker_idle_us;
    host.feed(Input::Tick);
    assert_eq!(host.appended.last().unwrap().1, RecordKind::SyncMarker);
    host.sync();
    let appended = host.appended.len();
    host.now_us += Config::default().sync_marker_idle_us;
    host.feed(Input::Tick);
    assert_eq!(host.appended.len(), appended, "a second sync marker would add nothing");
}

#[test]
fn recovery_over_the_appended_records_gives_the_published_catalog_and_starts_what_was_running() {
    let mut host = Host::with_pipeline(false, None);
    host.extracted(host.epoch(), 0, 10);
    host.verified(TOPIC);
    host.sync();
    let mut recovery = Recovery::new();
    let record = |sequence, body| Record { sequence, term: Term(1), synced_through: Sequence(0), body };
    let open = Body::Open(Open { database: [1; 16], shard_count: SHARDS, at_us: 0 });
    recovery.replay(&record(Sequence(1), open.clone())).unwrap();
    for (sequence, _, body) in &host.appended {
        recovery.replay(&record(*sequence, body.clone())).unwrap();
    }
    let next = host.appended.last().unwrap().0.next();
    let views = vec![Arc::default(); SHARDS as usize];
    let mut again = recovery.finish(Config::default(), 5, &record(next, open), views).unwrap();
    assert_eq!(again.published().catalog, host.kernel.published().catalog);
    let effects: Vec<Effect> = std::iter::from_fn(|| again.poll_effect()).collect();
    let opened = effects.iter().find_map(|e| match e {
        Effect::SourceOpen { epoch, .. } => Some(*epoch),
        _ => None,
    });
    assert!(
        opened.expect("the pipeline was running") > host.epoch(),
        "extracts of the earlier term are fenced"
    );
}
