//! A session: its settings, its transaction block, and the execution of its statements. `server` implements the wire
//! protocol; `write` and `define` plan writes and definitions.

mod block;
mod explain;
mod several;
mod show;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::sql::sqlparser::ast::{self, Statement as Sql};
use kernel::ids::TableId;
use kernel::message::{Definition, SourceMetadata};
use kernel::{Request, Response};
use tidemark_pipeline_sql::Statement;

use crate::client::{Execution, SessionInfo, now_us, settings};
use crate::copy::{self, CopyIn, CopyOut};
use crate::error::{Result, SqlError, SqlState};
use crate::query::{Cursor, Described, Environment, QueryEngine, StatementContext, limits};
use crate::{define, write};
use tidemark_database::{Database, PipelineStatus, SnapshotGuard, TableLockGuard};

pub use block::Block;
pub use several::check as check_several;

/// How often a definition is planned again because other sessions changed its basis.
const DEFINE_TRIES: u32 = 5;

/// The outcome of a statement.
pub enum StatementOutcome {
    /// An empty statement.
    Empty,
    /// Rows to be sent; the tag is complete when they are.
    Rows(Cursor),
    /// Done: the command's tag.
    Done(String),
    /// Done, with notices.
    Noticed(String, Vec<String>),
    /// Done, with changed settings to report.
    Changed(String, Vec<(&'static str, String)>),
    /// Done, without the requested effect: the tag, and the SQLSTATE and text of a warning.
    Warned(String, SqlState, &'static str),
    /// The client is to send rows.
    CopyIn(Box<CopyIn>),
    /// Rows are to be sent as COPY data.
    CopyOut(Box<CopyOut>),
}

/// Transaction status, as ReadyForQuery shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Outside of a block.
    Idle,
    /// In a block.
    Block,
    /// In a block that failed.
    Failed,
}

enum Transaction {
    None,
    Open(Box<Block>),
    Failed,
}

/// One client's session.
pub struct Session {
    environment: Environment,
    database: Arc<dyn Database>,
    transaction: Transaction,
    /// Bytes that one transaction may buffer.
    write_bytes_max: usize,
}

/// Marks a run while its commit is in the kernel, and prevents the commit of an abandoned run.
struct Committing {
    database: Arc<dyn Database>,
    run: Arc<Execution>,
}

#[async_trait]
impl Database for Committing {
    async fn request(&self, request: Request) -> Result<Response, kernel::Error> {
        let commits = matches!(request, Request::Write(_) | Request::Define(_));
        if commits && !self.run.begin_commit() {
            let message = "the statement was given up before it was committed";
            return Err(kernel::Error::new(kernel::SqlState::QUERY_CANCELED, message));
        }
        let answer = self.database.request(request).await;
        self.run.end_commit();
        answer
    }

    fn shard_count(&self) -> u16 {
        self.database.shard_count()
    }

    fn snapshot(&self) -> Result<SnapshotGuard, kernel::Error> {
        self.database.snapshot()
    }

    async fn table_lock(&self, tables: Vec<TableId>) -> Result<TableLockGuard, kernel::Error> {
        self.database.table_lock(tables).await
    }

    async fn read_source(&self, definition_sql: &str) -> Result<SourceMetadata, kernel::Error> {
        self.database.read_source(definition_sql).await
    }

    async fn check_source(&self, definition_sql: &str) -> Result<(), kernel::Error> {
        self.database.check_source(definition_sql).await
    }

    async fn keep_secrets(&self, secrets: Vec<String>) -> Result<Vec<String>, kernel::Error> {
        self.database.keep_secrets(secrets).await
    }

    async fn settle_secrets(&self, names: Vec<String>) {
        self.database.settle_secrets(names).await;
    }

    fn pipeline_status(&self) -> Vec<PipelineStatus> {
        self.database.pipeline_status()
    }
}

impl Session {
    /// A session in this environment.
    pub fn new(environment: Environment, write_bytes_max: usize) -> Session {
        let database = Arc::clone(&environment.database);
        let mut session = Session { environment, database, transaction: Transaction::None, write_bytes_max };
        session.begin_run();
        session
    }

    /// Begins a new run.
    pub fn begin_run(&mut self) -> Arc<Execution> {
        let run = Arc::new(Execution::default());
        let database = Arc::clone(&self.database);
        self.environment.database = Arc::new(Committing { database, run: Arc::clone(&run) });
        self.environment.run = Arc::clone(&run);
        run
    }

    /// The session's state if the current run is abandoned.
    pub fn given_up(&self) -> Session {
        let transaction = match &self.transaction {
            Transaction::Open(block) if !block.is_implicit() => Transaction::Failed,
            Transaction::Failed => Transaction::Failed,
            _ => Transaction::None,
        };
        let (environment, database) = (self.environment.clone(), Arc::clone(&self.database));
        Session { environment, database, transaction, write_bytes_max: self.write_bytes_max }
    }

    /// The engine that plans and runs its statements.
    pub fn engine(&self) -> &Arc<QueryEngine> {
        &self.environment.engine
    }

    /// The session's identity.
    pub fn info(&self) -> &Arc<SessionInfo> {
        &self.environment.session
    }

    /// For ReadyForQuery.
    pub fn status(&self) -> Status {
        match &self.transaction {
            Transaction::None => Status::Idle,
            Transaction::Open(block) if block.is_implicit() => Status::Idle,
            Transaction::Open(_) => Status::Block,
            Transaction::Failed => Status::Failed,
        }
    }

    /// A statement failed: an open block fails, and its settings are undone. Returns the settings to report.
    pub fn failed(&mut self) -> Vec<(&'static str, String)> {
        self.transaction = self.given_up().transaction;
        self.info().settings.lock().end_block(false)
    }

    /// Refuses statements that a failed block does not allow.
    pub fn check_not_failed(&self, statement: Option<&Statement>) -> Result<()> {
        let ends = match statement {
            Some(Statement::Sql(sql)) => matches!(**sql, Sql::Commit { .. } | Sql::Rollback { .. }),
            _ => false,
        };
        match self.transaction {
            Transaction::Failed if !ends => Err(SqlError::new(
                SqlState::IN_FAILED_SQL_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
            _ => Ok(()),
        }
    }

    /// The context of a statement: a snapshot of its own, or the block's.
    pub fn context(&mut self) -> Result<(SnapshotGuard, StatementContext)> {
        match &mut self.transaction {
            Transaction::Open(block) => {
                let guard = block.snapshot(&self.environment)?;
                let context = self.environment.context_with(&guard, block.overlay().clone());
                Ok((guard, context))
            }
            _ => {
                let guard = self.environment.database.snapshot()?;
                let context = self.environment.context(&guard);
                Ok((guard, context))
            }
        }
    }

    /// Executes a statement with substituted parameters. `described`: the description of the rows that the client
    /// already has.
    pub async fn run(
        &mut self,
        statement: &Statement,
        described: Option<&Described>,
    ) -> Result<StatementOutcome> {
        self.check_not_failed(Some(statement))?;
        match statement {
            Statement::Sql(sql) => self.run_sql(sql, described).await,
            Statement::ShowPipelines => self.query(&show::pipelines(), described, "SHOW").await,
            Statement::ShowCreatePipeline { name, extended } => {
                let (guard, context) = self.context()?;
                let pipeline = context.snapshot().catalog.pipeline_named(name).ok_or_else(|| {
                    SqlError::new(SqlState::UNDEFINED_OBJECT, format!("pipeline \"{name}\" does not exist"))
                })?;
                let cursors = &context.snapshot().catalog.cursors[&pipeline.id];
                let text = define::show_create(pipeline, cursors, *extended)?;
                show::one_row(guard, &["Pipeline", "Create Pipeline"], vec![name.clone(), text])
            }
            other => self.define(other).await,
        }
    }

    async fn run_sql(&mut self, sql: &Sql, described: Option<&Described>) -> Result<StatementOutcome> {
        match sql {
            Sql::Query(_) => self.query(sql, described, "SELECT").await,
            statement if write::is_write(statement) => self.write(statement).await,
            Sql::StartTransaction { modes, statements, .. } if statements.is_empty() => self.begin(modes),
            Sql::Commit { chain: false, .. } => self.commit().await,
            Sql::Rollback { chain: false, savepoint: None } => Ok(self.rollback()),
            Sql::Savepoint { .. }
            | Sql::ReleaseSavepoint { .. }
            | Sql::Rollback { savepoint: Some(_), .. } => Err(SqlError::unsupported(
                "savepoints are not supported: a block is committed or rolled back as a whole",
            )),
            Sql::Explain { .. } => self.explain(sql).await,
            Sql::Copy { .. } => self.copy(sql).await,
            Sql::Set(set) => self.set(set),
            Sql::Reset(reset) => self.reset(&reset.reset),
            Sql::Discard { .. } => self.discard(),
            Sql::ShowVariable { variable } => self.show(variable).await,
            Sql::ShowTables { .. } => self.query(&show::tables(), described, "SHOW").await,
            Sql::ShowDatabases { .. } => self.query(&show::databases(), described, "SHOW").await,
            Sql::ShowSchemas { .. } => self.query(&show::schemas(), described, "SHOW").await,
            Sql::Analyze(_) => Ok(StatementOutcome::Done("ANALYZE".into())),
            Sql::Vacuum(_) => Ok(StatementOutcome::Done("VACUUM".into())),
            other => Err(unsupported(other)),
        }
    }

    async fn query(
        &mut self,
        sql: &Sql,
        described: Option<&Described>,
        tag: &'static str,
    ) -> Result<StatementOutcome> {
        let (guard, context) = self.context()?;
        let (plan, names) = context.plan_named(sql).await?;
        limits::check_width(plan.schema().fields().len())?;
        let stream = context.stream(&plan).await?;
        let mut cursor = Cursor::new(guard, stream, Some(context.client_rows()), described, tag)?;
        cursor.rename(names);
        Ok(StatementOutcome::Rows(cursor))
    }

    async fn write(&mut self, sql: &Sql) -> Result<StatementOutcome> {
        let kind = match sql {
            Sql::Insert(_) => "INSERT 0",
            Sql::Update(_) => "UPDATE",
            _ => "DELETE",
        };
        let rows = match &self.transaction {
            Transaction::Open(block) if !block.is_free() || matches!(sql, Sql::Insert(_)) => {
                let (_guard, context) = self.context()?;
                let writes = write::plan_in_block(&context, sql).await?;
                self.buffer(writes)?
            }
            _ => {
                let counts = write::execute(&self.environment, sql).await?;
                match sql {
                    Sql::Delete(_) => counts.deleted,
                    _ => counts.inserted + counts.updated,
                }
            }
        };
        Ok(StatementOutcome::Done(format!("{kind} {rows}")))
    }

    fn buffer(&mut self, writes: Vec<kernel::message::TableWrite>) -> Result<u64> {
        match &mut self.transaction {
            Transaction::Open(block) => block.add(writes, self.write_bytes_max),
            _ => Err(SqlError::internal("rows are buffered in a block only")),
        }
    }

    /// Rows of COPY: committed at once, or with the block.
    pub async fn copied(&mut self, writes: Vec<kernel::message::TableWrite>) -> Result<u64> {
        if matches!(self.transaction, Transaction::Open(_)) {
            return self.buffer(writes);
        }
        let mut block = Block::new(false);
        block.add(writes, usize::MAX)?;
        Ok(block.commit(&self.environment).await?.inserted)
    }

    async fn define(&mut self, statement: &Statement) -> Result<StatementOutcome> {
        if matches!(&self.transaction, Transaction::Open(block) if !block.is_free()) {
            return Err(SqlError::unsupported("definitions are not supported inside a transaction block")
                .with_hint("Run it by itself, outside of BEGIN … COMMIT: it is a transaction of its own."));
        }
        let mut tries_left = DEFINE_TRIES;
        loop {
            tries_left -= 1;
            let (guard, context) = self.context()?;
            let define::Plan { definitions, notices, secrets } = define::plan(&context, statement).await?;
            drop(guard);
            let done = self.carry_out(definitions).await;
            let is_known = done
                .as_ref()
                .err()
                .is_none_or(|error| error.sqlstate != SqlState::TRANSACTION_RESOLUTION_UNKNOWN);
            if is_known && define::may_leave_secrets(statement) {
                self.environment.database.settle_secrets(secrets).await;
            }
            match done {
                Ok(()) if notices.is_empty() => return Ok(StatementOutcome::Done(tag(statement).into())),
                Ok(()) => return Ok(StatementOutcome::Noticed(tag(statement).into(), notices)),
                Err(error) if tries_left > 0 && define::was_overtaken(statement, &error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn carry_out(&self, definitions: Vec<Definition>) -> Result<()> {
        for definition in definitions {
            self.environment.database.request(Request::Define(definition)).await?;
        }
        Ok(())
    }

    fn begin(&mut self, modes: &[ast::TransactionMode]) -> Result<StatementOutcome> {
        modes.iter().try_for_each(settings::transaction_mode)?;
        let read_only =
            modes.contains(&ast::TransactionMode::AccessMode(ast::TransactionAccessMode::ReadOnly));
        match &mut self.transaction {
            Transaction::None => {
                self.open(Block::new(read_only));
            }
            // Earlier statements of the text belong to the block, as in PostgreSQL. A BEGIN in an explicit block
            // changes nothing.
            Transaction::Open(block) => block.make_explicit(read_only),
            Transaction::Failed => {}
        }
        Ok(StatementOutcome::Done("BEGIN".into()))
    }

    fn open(&mut self, block: Block) {
        self.transaction = Transaction::Open(Box::new(block));
        self.info().settings.lock().begin_block();
        self.info().activity.lock().transaction_start_us = Some(now_us());
    }

    async fn commit(&mut self) -> Result<StatementOutcome> {
        self.info().activity.lock().transaction_start_us = None;
        let committed = match std::mem::replace(&mut self.transaction, Transaction::None) {
            Transaction::Open(block) => {
                block.commit(&self.environment).await?;
                true
            }
            Transaction::Failed => false,
            Transaction::None => true,
        };
        let told = self.info().settings.lock().end_block(committed);
        Ok(StatementOutcome::Changed(if committed { "COMMIT" } else { "ROLLBACK" }.into(), told))
    }

    fn rollback(&mut self) -> StatementOutcome {
        self.info().activity.lock().transaction_start_us = None;
        self.transaction = Transaction::None;
        let told = self.info().settings.lock().end_block(false);
        StatementOutcome::Changed("ROLLBACK".into(), told)
    }

    async fn copy(&mut self, sql: &Sql) -> Result<StatementOutcome> {
        if let Transaction::Open(block) = &self.transaction
            && matches!(sql, Sql::Copy { to: false, .. })
        {
            block.check_writable()?;
        }
        let (guard, context) = self.context()?;
        match sql {
            Sql::Copy { to: true, .. } => {
                Ok(StatementOutcome::CopyOut(Box::new(copy::start_out(guard, &context, sql).await?)))
            }
            _ => {
                let copy = copy::start_in(context, sql, self.write_bytes_max).await?;
                Ok(StatementOutcome::CopyIn(Box::new(copy)))
            }
        }
    }

    fn set(&mut self, set: &ast::Set) -> Result<StatementOutcome> {
        let mut settings = self.environment.session.settings.lock();
        let told = match settings::change(set)? {
            settings::Change::Set(name, value) => settings.set(&name, &value)?,
            settings::Change::SetLocal(name, value) => {
                let told = settings.set_local(&name, &value)?;
                if !matches!(self.transaction, Transaction::Open(_)) {
                    // Has no effect except the check of name and value.
                    settings.end_block(true);
                    let text = "SET LOCAL can only be used in transaction blocks";
                    return Ok(StatementOutcome::Warned(
                        "SET".into(),
                        SqlState::NO_ACTIVE_SQL_TRANSACTION,
                        text,
                    ));
                }
                told
            }
            settings::Change::Reset(name) => settings.reset(&name)?,
            settings::Change::Nothing => None,
        };
        Ok(StatementOutcome::Changed("SET".into(), told.into_iter().collect()))
    }

    fn reset(&mut self, reset: &ast::Reset) -> Result<StatementOutcome> {
        let mut settings = self.environment.session.settings.lock();
        let told = match reset {
            ast::Reset::ALL => settings.reset_all(),
            ast::Reset::ConfigurationParameter(name) => {
                settings.reset(&name.to_string())?.into_iter().collect()
            }
        };
        Ok(StatementOutcome::Changed("RESET".into(), told))
    }

    fn discard(&mut self) -> Result<StatementOutcome> {
        if self.status() != Status::Idle {
            return Err(SqlError::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "DISCARD ALL cannot run inside a transaction block",
            ));
        }
        let told = self.environment.session.settings.lock().reset_all();
        Ok(StatementOutcome::Changed("DISCARD ALL".into(), told))
    }

    async fn show(&mut self, variable: &[ast::Ident]) -> Result<StatementOutcome> {
        let guard = self.environment.database.snapshot()?;
        let name = show::setting_name(variable);
        let settings = self.environment.session.settings.lock().clone();
        if name.eq_ignore_ascii_case("all") {
            return show::rows(
                guard,
                &["name", "setting"],
                settings.all().into_iter().map(|(n, v)| vec![n, v]),
            );
        }
        match settings.get(&name) {
            Some(value) => show::rows(guard, &[name.as_str()], [vec![value]]),
            None => Err(SqlError::new(
                SqlState::UNDEFINED_OBJECT,
                format!("unrecognized configuration parameter \"{name}\""),
            )),
        }
    }

    async fn explain(&mut self, sql: &Sql) -> Result<StatementOutcome> {
        let (guard, context) = self.context()?;
        let lines = explain::lines(&context, sql).await?;
        show::rows(guard, &["QUERY PLAN"], lines.into_iter().map(|line| vec![line]))
    }

    /// The description of a statement's rows; None if it returns none. Does not run the statement.
    pub async fn describe(&mut self, statement: &Statement) -> Result<Option<Described>> {
        let texts = |names: &[&str]| Ok(Some(Described::texts(names)));
        let sql = match statement {
            Statement::Sql(sql) => match &**sql {
                Sql::Query(_) => (**sql).clone(),
                Sql::Explain { .. } => return texts(&["QUERY PLAN"]),
                Sql::ShowVariable { variable } => {
                    let name = show::setting_name(variable);
                    return match name.eq_ignore_ascii_case("all") {
                        true => texts(&["name", "setting"]),
                        false => texts(&[name.as_str()]),
                    };
                }
                Sql::ShowTables { .. } => show::tables(),
                Sql::ShowDatabases { .. } => show::databases(),
                Sql::ShowSchemas { .. } => show::schemas(),
                _ => return Ok(None),
            },
            Statement::ShowPipelines => show::pipelines(),
            Statement::ShowCreatePipeline { .. } => return texts(&["Pipeline", "Create Pipeline"]),
            _ => return Ok(None),
        };
        let (_guard, context) = self.context()?;
        let (plan, names) = context.plan_named(&sql).await?;
        limits::check_width(plan.schema().fields().len())?;
        let plan = crate::query::guard(|| context.state().optimize(&plan))?.map_err(SqlError::planning)?;
        let mut described = Described::of_schema(plan.schema().as_arrow());
        described.rename(names);
        Ok(Some(described))
    }

    /// Types of a statement's parameters, as far as it implies them.
    pub async fn parameter_types(
        &mut self,
        sql: &Sql,
    ) -> Result<Vec<Option<datafusion::arrow::datatypes::DataType>>> {
        let (_guard, context) = self.context()?;
        if write::is_write(sql) {
            return write::parameter_types(&context, sql).await;
        }
        if !matches!(sql, Sql::Query(_)) {
            return Ok(vec![]);
        }
        let plan = context.plan(sql).await?;
        let by_name = plan.get_parameter_types().map_err(SqlError::planning)?;
        let mut types = vec![];
        for (name, data_type) in by_name {
            if let Some(number) =
                name.strip_prefix('$').and_then(|n| n.parse::<usize>().ok()).filter(|n| *n > 0)
            {
                types.resize(types.len().max(number), None);
                types[number - 1] = data_type;
            }
        }
        Ok(types)
    }
}

/// The command tag of a definition.
fn tag(statement: &Statement) -> &'static str {
    match statement {
        Statement::CreateTable(_) => "CREATE TABLE",
        Statement::DropTable { .. } => "DROP TABLE",
        Statement::Truncate { .. } => "TRUNCATE TABLE",
        Statement::CreatePipeline(_) => "CREATE PIPELINE",
        Statement::DropPipeline { .. } => "DROP PIPELINE",
        Statement::StartPipeline { .. } | Statement::StartAllPipelines => "START PIPELINE",
        Statement::StopPipeline { .. } | Statement::StopAllPipelines => "STOP PIPELINE",
        Statement::SetOffsets { .. } | Statement::AlterPipeline { .. } => "ALTER PIPELINE",
        Statement::ClearErrors { .. } => "CLEAR PIPELINE ERRORS",
        Statement::ShowPipelines | Statement::ShowCreatePipeline { .. } => "SHOW",
        Statement::Sql(_) => "OK",
    }
}

fn unsupported(sql: &Sql) -> SqlError {
    let text = sql.to_string();
    let verb: Vec<&str> = text.split_whitespace().take(2).collect();
    SqlError::unsupported(format!("{} is not supported", verb.join(" ")))
}
