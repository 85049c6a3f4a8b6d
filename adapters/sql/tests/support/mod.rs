//! A database for tests: the real coordinator and the real shards, driven on the caller's thread, with a log that is always
//! durable at once. And a runner of SQL that needs no wire.

#![allow(dead_code)] // Each test program uses a part of it.

pub mod server;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use kernel::ids::*;
use kernel::message::{Input, Request, Response, ShardCommand, SourceMetadata, SplitStart};
use kernel::record::{Body, EncodedRecord, Open, Record};
use kernel::schema::{PipelineDef, TableDef};
use kernel::{Config, Coordinator, Error, Event, Recovery, Shard, Snapshot};
use pg_semantics::types::encode;
use tidemark_database::{Database, PipelineStatus, PublishedSnapshot, SnapshotGuard, TableLockGuard};
use tidemark_pipeline_sql::{Statement, parse};
use tidemark_secrets::Secrets;
use tidemark_sql::client::SessionInfo;
use tidemark_sql::query::{Environment, QueryEngine};
use tidemark_sql::{SqlError, define, write};
use tokio::sync::oneshot;

type Answer = Result<Response, Error>;

struct Parts {
    coordinator: Coordinator,
    hosted: Hosted,
    next_request: u64,
    now_us: Micros,
    secrets: Arc<Secrets>,
}

/// All but the coordinator.
struct Hosted {
    shards: Vec<Shard>,
    last_appended: Sequence,
    published: Snapshot,
    waiting: HashMap<RequestId, oneshot::Sender<Answer>>,
    /// To the coordinator, in order.
    inputs: VecDeque<Input>,
}

/// The database.
#[derive(Clone)]
pub struct Host(Arc<Mutex<Parts>>);

impl Host {
    /// Empty, with this many shards.
    pub fn new(shard_count: u16) -> Host {
        let body = Body::Open(Open { database: [1; 16], shard_count, at_us: 0 });
        let open = Record { sequence: Sequence(1), term: Term(1), synced_through: Sequence(0), body };
        let mut shards: Vec<Shard> = (0..shard_count).map(|n| Shard::new(ShardId(n), shard_count)).collect();
        let views = shards.iter_mut().map(Shard::recovered).collect();
        let coordinator = Recovery::new().finish(Config::default(), 0, &open, views).unwrap();
        let hosted = Hosted {
            shards,
            last_appended: Sequence(1),
            published: coordinator.published().clone(),
            waiting: HashMap::new(),
            inputs: VecDeque::new(),
        };
        let secrets = Arc::new(Secrets::in_memory());
        Host(Arc::new(Mutex::new(Parts { coordinator, hosted, next_request: 1, now_us: 1, secrets })))
    }

    /// Secrets of its pipelines.
    pub fn secrets(&self) -> Arc<Secrets> {
        Arc::clone(&self.0.lock().unwrap().secrets)
    }

    fn send(&self, request: Request) -> oneshot::Receiver<Answer> {
        let mut parts = self.0.lock().unwrap();
        let id = RequestId(parts.next_request);
        parts.next_request += 1;
        let (sender, receiver) = oneshot::channel();
        parts.hosted.waiting.insert(id, sender);
        parts.feed(Input::Request { id, request });
        receiver
    }
}

impl Parts {
    /// Hands the kernel an input, and then what comes of its effects.
    fn feed(&mut self, input: Input) {
        self.hosted.inputs.push_back(input);
        while let Some(input) = self.hosted.inputs.pop_front() {
            self.now_us += 1;
            kernel::drive(&mut self.coordinator, self.now_us, input, &mut self.hosted).unwrap();
        }
    }
}

impl kernel::Host for Hosted {
    /// The reason of a halt.
    type End = Error;

    fn shard(&mut self, shard: ShardId, command: ShardCommand) -> Result<(), Error> {
        let reply = self.shards[usize::from(shard.0)].handle(command);
        self.inputs.push_back(Input::Shard { shard, reply });
        Ok(())
    }

    fn append(&mut self, record: EncodedRecord) -> Result<(), Error> {
        self.last_appended = record.sequence;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.inputs.push_back(Input::Synced { through: self.last_appended });
        Ok(())
    }

    // Pipelines are defined in these tests and never run: their source stays silent.

    fn open_source(&mut self, _: Epoch, _: Arc<PipelineDef>, _: Arc<TableDef>) -> Result<(), Error> {
        Ok(())
    }

    fn fetch(&mut self, _: PipelineId, _: Epoch, _: Vec<SplitStart>) -> Result<(), Error> {
        Ok(())
    }

    fn credit(&mut self, _: PipelineId, _: Epoch, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn verify_source(&mut self, _: PipelineId, _: Epoch, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn close_source(&mut self, _: PipelineId, _: Epoch) -> Result<(), Error> {
        Ok(())
    }

    fn publish(&mut self, snapshot: Snapshot) -> Result<(), Error> {
        let older = std::mem::replace(&mut self.published, snapshot);
        // A reader has a clone, and its data is in memory: nothing is to be kept for it.
        self.inputs.push_back(Input::SnapshotReleased { sequence: older.sequence });
        Ok(())
    }

    fn reply(&mut self, id: RequestId, result: Answer) -> Result<(), Error> {
        if let Some(waiting) = self.waiting.remove(&id) {
            let _ = waiting.send(result);
        }
        Ok(())
    }

    fn wake_at(&mut self, _: Micros) -> Result<(), Error> {
        Ok(())
    }

    fn event(&mut self, _: Event) -> Result<(), Error> {
        Ok(())
    }

    fn halt(&mut self, error: Error) -> Error {
        error
    }
}

#[async_trait]
impl Database for Host {
    async fn request(&self, request: Request) -> Answer {
        self.send(request).await.expect("every request is answered")
    }

    fn shard_count(&self) -> u16 {
        self.0.lock().unwrap().hosted.shards.len() as u16
    }

    fn snapshot(&self) -> Result<SnapshotGuard, Error> {
        Ok(Arc::new(PublishedSnapshot::new(self.0.lock().unwrap().hosted.published.clone(), || ())))
    }

    async fn table_lock(&self, tables: Vec<TableId>) -> Result<TableLockGuard, Error> {
        match self.request(Request::AcquireTableLock { tables }).await? {
            Response::TableLock { table_lock, snapshot } => {
                let host = self.clone();
                Ok(TableLockGuard::new(table_lock, snapshot, move || {
                    drop(host.send(Request::ReleaseTableLock(table_lock)))
                }))
            }
            other => panic!("{other:?}"),
        }
    }

    /// A topic of two partitions on any broker; brokers named `gone` do not answer.
    async fn read_source(&self, definition_sql: &str) -> Result<SourceMetadata, Error> {
        if definition_sql.contains("'gone:") {
            return Err(Error::new(
                kernel::SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
                "no broker answers",
            ));
        }
        Ok(SourceMetadata::kafka(&Identity::new(&[7; 16]), [(0, (5, 20)), (1, (0, 0))]))
    }

    /// Brokers named `forbidden` are not allowed.
    async fn check_source(&self, definition_sql: &str) -> Result<(), Error> {
        match definition_sql.contains("'forbidden:") {
            true => Err(Error::new(kernel::SqlState::INSUFFICIENT_PRIVILEGE, "forbidden is not allowed")),
            false => Ok(()),
        }
    }

    async fn keep_secrets(&self, secrets: Vec<String>) -> Result<Vec<String>, Error> {
        self.secrets().keep(&secrets)
    }

    async fn settle_secrets(&self, names: Vec<String>) {
        self.secrets().settle(&names).unwrap();
    }

    fn pipeline_status(&self) -> Vec<PipelineStatus> {
        vec![]
    }
}

/// Runs SQL on a database.
pub struct Runner {
    pub env: Environment,
    pub host: Host,
}

impl Runner {
    pub fn new(shard_count: u16) -> Runner {
        let host = Host::new(shard_count);
        let env = Environment {
            database: Arc::new(host.clone()),
            engine: Arc::new(QueryEngine::new(64 << 20, 2).unwrap()),
            session: Arc::new(SessionInfo::internal()),
            registry: Arc::default(),
            run: Arc::default(),
        };
        Runner { env, host }
    }

    /// One statement: `ok` of a definition, the counts of a write, the rows of a query in order of their text.
    pub async fn run(&self, sql: &str) -> Result<String, SqlError> {
        self.run_with(sql, &[]).await
    }

    /// The same, with parameters for a write.
    pub async fn run_with(&self, sql: &str, parameters: &[ScalarValue]) -> Result<String, SqlError> {
        let mut statements = parse(sql)?;
        assert_eq!(statements.len(), 1, "{sql}");
        match statements.pop().unwrap() {
            Statement::Sql(statement) if write::is_write(&statement) => {
                let counts = write::execute_with(&self.env, &statement, parameters).await?;
                Ok(format!(
                    "inserted {} updated {} deleted {} ignored {}",
                    counts.inserted, counts.updated, counts.deleted, counts.ignored
                ))
            }
            Statement::Sql(statement) => {
                let snapshot = self.env.database.snapshot()?;
                let context = self.env.context(&snapshot);
                let plan = context.plan(&statement).await?;
                Ok(rows(&context.collect(&plan).await?))
            }
            definition => {
                let snapshot = self.env.database.snapshot()?;
                let context = self.env.context(&snapshot);
                let plan = define::plan(&context, &definition).await?;
                for definition in plan.definitions {
                    self.env.database.request(Request::Define(definition)).await?;
                }
                Ok(if plan.notices.is_empty() { "ok".into() } else { plan.notices.join(" ; ") })
            }
        }
    }

    /// Statements and their results: the text of [`run`](Self::run), or `!`, the SQLSTATE, and words of the error.
    pub async fn script(&self, steps: &[(&str, &str)]) {
        for (sql, expected) in steps {
            match (self.run(sql).await, expected.strip_prefix('!')) {
                (Ok(found), None) => assert_eq!(found, *expected, "{sql}"),
                (Err(error), Some(wanted)) => {
                    let (code, words) = wanted.split_once(' ').unwrap_or((wanted, ""));
                    assert_eq!(error.sqlstate, code, "{sql}\n{error}");
                    assert!(error.message.contains(words), "{sql}\n{error}\nhas no {words:?}");
                }
                (Ok(found), Some(wanted)) => panic!("{sql}\ngave {found}\nand not {wanted}"),
                (Err(error), None) => panic!("{sql}\n{error}"),
            }
        }
    }
}

fn rows(batches: &[RecordBatch]) -> String {
    let row = |batch: &RecordBatch, n: usize| row_text(&batch.slice(n, 1), batch.num_columns());
    let mut lines: Vec<String> =
        batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |n| row(batch, n))).collect();
    lines.sort();
    lines.join(" ; ")
}

/// The first columns of a row, as PostgreSQL prints them.
pub fn row_text(row: &RecordBatch, columns: usize) -> String {
    let cell = |column: &datafusion::arrow::array::ArrayRef| {
        // An array of type NULL has no validity bits.
        if column.logical_nulls().is_some_and(|nulls| nulls.is_null(0)) {
            return "null".to_string();
        }
        let mut out = bytes::BytesMut::new();
        encode::text(column.as_ref(), 0, &mut out).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    };
    row.columns()[..columns].iter().map(cell).collect::<Vec<_>>().join("|")
}
