//! A topic in memory behind the source port, and a database over it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use kernel::expr::{Arithmetic, Expr, OnDuplicate, Update};
use kernel::message::{Alteration, Definition, PipelineSpec, SourceFailure, SourceMetadata, TableSpec};
use kernel::schema::{ColumnDef, ColumnType, ERRORS_TABLE};
use kernel::source::{Polled, Source, Sources, SplitReader};
use kernel::{ColumnId, Delivery, Error, Identity, Position, RawMessage, Snapshot, SplitName, SqlState};
use parking_lot::{Condvar, Mutex};
use tidemark_decode::{DecodePlan, ExtractPlan, Extractor, FieldMapping, Format, YEARS_DEFAULT};
use tidemark_engine::{Engine, EngineConfig, ExtractorSpec, PipelineFactory};

/// A topic for the duration of the test. Clones share it.
#[derive(Clone)]
pub struct Topic(Arc<Shared>);

struct Shared {
    log: Mutex<Log>,
    appended: Condvar,
    /// Calls of `read` and of `open` yet to fail.
    reads_to_fail: AtomicUsize,
    opens_to_fail: AtomicUsize,
    open_readers: AtomicUsize,
}

#[derive(Default)]
struct Log {
    partitions: BTreeMap<i32, Vec<String>>,
    /// Bytes that readers have handed out.
    delivered_bytes: u64,
}

impl Topic {
    pub fn new(partitions: i32) -> Topic {
        let partitions = (0..partitions).map(|p| (p, vec![])).collect();
        Topic(Arc::new(Shared {
            log: Mutex::new(Log { partitions, delivered_bytes: 0 }),
            appended: Condvar::new(),
            reads_to_fail: AtomicUsize::new(0),
            opens_to_fail: AtomicUsize::new(0),
            open_readers: AtomicUsize::new(0),
        }))
    }

    pub fn append(&self, partition: i32, message: impl Into<String>) {
        let mut log = self.0.log.lock();
        log.partitions.get_mut(&partition).expect("a partition of the topic").push(message.into());
        self.0.appended.notify_all();
    }

    pub fn add_partition(&self) -> i32 {
        let mut log = self.0.log.lock();
        let number = log.partitions.len() as i32;
        log.partitions.insert(number, vec![]);
        number
    }

    pub fn fail_next(&self, reads: usize, opens: usize) {
        self.0.reads_to_fail.store(reads, Ordering::SeqCst);
        self.0.opens_to_fail.store(opens, Ordering::SeqCst);
    }

    pub fn failures_left(&self) -> usize {
        self.0.reads_to_fail.load(Ordering::SeqCst) + self.0.opens_to_fail.load(Ordering::SeqCst)
    }

    pub fn delivered_bytes(&self) -> u64 {
        self.0.log.lock().delivered_bytes
    }

    pub fn open_readers(&self) -> usize {
        self.0.open_readers.load(Ordering::SeqCst)
    }
}

fn fails(left: &AtomicUsize) -> Result<(), SourceFailure> {
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)) {
        Ok(_) => Err(SourceFailure::Transient(Error::new(
            SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
            "the broker is away",
        ))),
        Err(_) => Ok(()),
    }
}

impl Source for Topic {
    fn read(&self) -> Result<SourceMetadata, SourceFailure> {
        fails(&self.0.reads_to_fail)?;
        let log = self.0.log.lock();
        let partitions = log.partitions.iter().map(|(p, messages)| (*p, (0, messages.len() as i64)));
        Ok(SourceMetadata::kafka(&Identity::new(&[7; 16]), partitions))
    }

    fn open(&self, split: &SplitName, start: Position) -> Result<Box<dyn SplitReader>, SourceFailure> {
        let partition = split.partition().expect("a partition");
        fails(&self.0.opens_to_fail)?;
        self.0.open_readers.fetch_add(1, Ordering::SeqCst);
        // Redelivers one message that was already delivered (fault A2).
        let next = (start.ordinal() - 1).max(0) as usize;
        Ok(Box::new(Reader { topic: self.clone(), partition, next }))
    }

    fn watermarks(&self) -> Vec<(SplitName, i64, i64)> {
        let log = self.0.log.lock();
        log.partitions.iter().map(|(p, messages)| (SplitName::kafka(*p), 0, messages.len() as i64)).collect()
    }
}

struct Reader {
    topic: Topic,
    partition: i32,
    next: usize,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.topic.0.open_readers.fetch_sub(1, Ordering::SeqCst);
    }
}

impl SplitReader for Reader {
    fn poll(
        &mut self,
        messages_max: usize,
        timeout: Duration,
        take: &mut dyn FnMut(Delivery<'_>),
    ) -> Result<Polled, SourceFailure> {
        let mut log = self.topic.0.log.lock();
        if log.partitions[&self.partition].len() <= self.next {
            self.topic.0.appended.wait_for(&mut log, timeout);
        }
        let waiting = &log.partitions[&self.partition][self.next..];
        let waiting = &waiting[..waiting.len().min(messages_max)];
        let messages: Vec<RawMessage<'_>> = (self.next as i64..)
            .zip(waiting)
            .map(|(offset, text)| RawMessage {
                ordinal: offset,
                mark: kernel::Mark::LeaderEpoch(1),
                timestamp_ms: -1,
                key: None,
                value: Some(text.as_bytes()),
            })
            .collect();
        let bytes: usize = waiting.iter().map(String::len).sum();
        if !messages.is_empty() {
            take(Delivery::Messages(&messages));
        }
        let count = messages.len();
        self.next += count;
        log.delivered_bytes += bytes as u64;
        let at_end = self.next == log.partitions[&self.partition].len();
        Ok(Polled { messages: count, next_ordinal: None, at_end })
    }
}

/// Opens one topic; messages are JSON objects with the table's columns.
struct Factory(Topic);

impl Sources for Factory {
    fn source(&self, _definition_sql: &str) -> Result<Arc<dyn Source>, SourceFailure> {
        Ok(Arc::new(self.0.clone()))
    }
}

impl PipelineFactory for Factory {
    fn extractor(&self, spec: ExtractorSpec) -> Result<Extractor, Error> {
        let field = |column: &ColumnDef| FieldMapping {
            name: column.name.clone(),
            column_type: column.column_type,
            nullable: column.nullable,
            path: vec![column.name.clone()],
            default: None,
            unit: None,
        };
        let fields = spec.table.columns.iter().map(field).collect();
        let plan = ExtractPlan {
            defaults: vec![None; spec.table.columns.len()],
            decode: DecodePlan { format: Format::Json, fields },
            shard_count: spec.shard_count,
            years: YEARS_DEFAULT,
            ignores_tombstones: false,
            table: spec.table,
        };
        let pipeline = &spec.pipeline;
        Extractor::new(plan, None, pipeline.id, spec.epoch, pipeline.generation, spec.split, spec.start)
    }

    fn has_secret(&self, definition_sql: &str) -> bool {
        definition_sql.contains("secret")
    }
}

/// Settings for a test: small log files, and a halt that fails the test instead of ending the process.
pub fn config(data_dir: &Path) -> EngineConfig {
    let mut config = EngineConfig::new(data_dir);
    config.shards = Some(4);
    config.log_file_bytes = 4 << 20;
    config.disk_reserve_bytes = 0;
    config.kernel.pacing.retry_us_min = 1_000;
    config.kernel.pacing.retry_us_max = 20_000;
    config.kernel.pacing.metadata_interval_us = 20_000;
    config.on_halt = Arc::new(|error| eprintln!("halted: {error}"));
    config
}

pub fn open(data_dir: &Path, topic: &Topic) -> Engine {
    Engine::open(config(data_dir), Arc::new(Factory(topic.clone()))).expect("opens")
}

pub fn open_with(config: EngineConfig, topic: &Topic) -> kernel::Result<Engine> {
    Engine::open(config, Arc::new(Factory(topic.clone())))
}

pub fn in_memory(topic: &Topic) -> Engine {
    Engine::in_memory(4, Arc::new(Factory(topic.clone()))).expect("opens")
}

fn column(id: u32, name: &str, column_type: ColumnType, nullable: bool) -> ColumnDef {
    ColumnDef { id: ColumnId(id), name: name.into(), column_type, nullable, default_sql: None }
}

/// `events (id bigint, text text)`, appended to.
pub fn events_table() -> Definition {
    let columns = vec![column(0, "id", ColumnType::Int64, false), column(1, "text", ColumnType::Text, true)];
    let spec = TableSpec {
        name: "events".into(),
        columns,
        primary_key: vec![],
        shard_key: vec![0],
        sort_key: vec![],
    };
    Definition::CreateTable { spec, if_not_exists: false }
}

/// `accounts (name text primary key, balance bigint)`.
pub fn accounts_table() -> Definition {
    let columns =
        vec![column(0, "name", ColumnType::Text, false), column(1, "balance", ColumnType::Int64, true)];
    let spec = TableSpec {
        name: "accounts".into(),
        columns,
        primary_key: vec![0],
        shard_key: vec![0],
        sort_key: vec![],
    };
    Definition::CreateTable { spec, if_not_exists: false }
}

pub fn pipeline(name: &str, table: &str, on_duplicate: OnDuplicate) -> Definition {
    let spec = PipelineSpec {
        source_kind: kernel::SourceKind::Kafka,
        name: name.into(),
        table: table.into(),
        definition_sql: format!("CREATE PIPELINE {name} AS LOAD DATA KAFKA 'test/topic' INTO TABLE {table}"),
        on_duplicate,
        error_limit: None,
        batch_interval_us: 0,
        batch_bytes_max: 16 << 20,
    };
    Definition::CreatePipeline { spec: Box::new(spec), if_not_exists: false }
}

/// Another definition for the pipeline `p`, derived from its previous one.
pub fn altered(table: &str, on_duplicate: OnDuplicate, was: &str, definition_sql: &str) -> Definition {
    let Definition::CreatePipeline { mut spec, .. } = pipeline("p", table, on_duplicate) else {
        unreachable!("a pipeline")
    };
    let first = std::mem::replace(&mut spec.definition_sql, definition_sql.into());
    let was = if was == "p" { first } else { was.into() };
    Definition::AlterPipeline(Alteration { spec, was, source_changed: false })
}

/// Number of rows of a pipeline in the errors table.
pub fn errors_of(snapshot: &Snapshot, pipeline: &str) -> usize {
    let views = snapshot.shards.iter().filter_map(|shard| shard.tables.get(&ERRORS_TABLE));
    let rows = views.flat_map(|view| &view.chunks).map(|chunk| {
        let names = chunk.rows.column(1).as_string::<i32>();
        let terms = |row: &usize| chunk.deleted.as_ref().is_none_or(|deleted| !deleted.value(*row));
        (0..chunk.rows.num_rows()).filter(terms).filter(|row| names.value(*row) == pipeline).count()
    });
    rows.sum()
}

/// `balance = balance + VALUES(balance)`
pub fn add_to_balance() -> OnDuplicate {
    let sum = Expr::Arithmetic(
        Arithmetic::Add,
        Box::new(Expr::Stored(ColumnId(1))),
        Box::new(Expr::Incoming(ColumnId(1))),
    );
    OnDuplicate::Update(Update { assignments: vec![(ColumnId(1), sum)], condition: None })
}

pub fn start(name: &str) -> Definition {
    Definition::StartPipeline { name: name.into(), if_not_running: false }
}

pub fn stop(name: &str) -> Definition {
    Definition::StopPipeline { name: name.into(), if_running: false }
}

/// Creates a table and a pipeline into it, and starts it.
pub async fn load(engine: &Engine, table: Definition, pipeline: Definition) {
    let name = match &pipeline {
        Definition::CreatePipeline { spec, .. } => spec.name.clone(),
        _ => unreachable!("a pipeline"),
    };
    engine.define(table).await.expect("creates the table");
    engine.define(pipeline).await.expect("creates the pipeline");
    engine.define(start(&name)).await.expect("starts");
}

/// Live rows of a table: the value of its first column as text, the second as a number (or its text's length).
pub fn rows(snapshot: &Snapshot, table: &str) -> Vec<(String, i64)> {
    let table = snapshot.catalog.table_named(table).expect("the table").id;
    let mut rows = vec![];
    for view in snapshot.shards.iter().filter_map(|shard| shard.tables.get(&table)) {
        for chunk in &view.chunks {
            for row in 0..chunk.rows.num_rows() {
                if chunk.deleted.as_ref().is_none_or(|deleted| !deleted.value(row)) {
                    rows.push((text_at(chunk.rows.column(0), row), number_at(chunk.rows.column(1), row)));
                }
            }
        }
    }
    rows.sort();
    rows
}

fn text_at(column: &arrow_array::ArrayRef, row: usize) -> String {
    match column.as_string_opt::<i32>() {
        Some(texts) => texts.value(row).to_string(),
        None => column.as_primitive::<Int64Type>().value(row).to_string(),
    }
}

fn number_at(column: &arrow_array::ArrayRef, row: usize) -> i64 {
    match column.as_string_opt::<i32>() {
        Some(texts) => texts.value(row).len() as i64,
        None => column.as_primitive::<Int64Type>().value(row),
    }
}

/// Polls until it is true. The limit detects a hang; it measures nothing.
pub async fn eventually(engine: &Engine, what: &str, mut holds: impl FnMut(&Snapshot) -> bool) {
    let give_up = Instant::now() + Duration::from_secs(60);
    loop {
        let snapshot = engine.snapshot().expect("a snapshot");
        if holds(&snapshot) {
            return;
        }
        if Instant::now() >= give_up {
            let tables = snapshot.catalog.tables.values().filter(|t| t.id != ERRORS_TABLE);
            let found: Vec<_> = tables.map(|t| (&t.name, rows(&snapshot, &t.name))).collect();
            panic!("never: {what}; pipelines: {:?}; rows: {found:?}", engine.pipeline_status());
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
