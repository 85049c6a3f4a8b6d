//! Planning and running of statements that read, on DataFusion: one snapshot per statement, bounded memory, and no
//! panic that escapes. `catalog` presents a snapshot as a catalog; `session` holds the client's session and
//! transaction.

mod cursor;
mod interruptible;
pub mod limits;
pub mod parameters;
pub mod rewrite;
mod workers;
mod yielding;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::common::DFSchema;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{
    FairSpillPool, GreedyMemoryPool, MemoryConsumer, MemoryPool, MemoryReservation,
};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::execution::{FunctionRegistry, SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast;
use futures::{FutureExt, StreamExt, TryStreamExt};
use kernel::Snapshot;
use pg_semantics::budget::Budget;
use pg_semantics::syntax::{self, Relations};
use tokio::runtime::{Builder, Runtime};

use crate::catalog::{self, Surroundings};
use crate::client::{Execution, Registry, SessionInfo};
use crate::error::{Result, SqlError};
use crate::tables::{CatalogList, Overlay, Tables};
use tidemark_database::Database;

use workers::Workers;

pub use cursor::{Cursor, Described, Field};
pub use workers::{STACK_BYTES, THREADS_MAX};

/// Shared by all statements of a server: functions, planning rules, the memory pool, and the threads of queries. These
/// are apart from the threads that serve clients, so that no query delays those.
#[derive(Debug)]
pub struct QueryEngine {
    base: SessionState,
    threads: Option<Runtime>,
    workers: Workers,
    /// Memory of all queries.
    pool: Arc<dyn MemoryPool>,
    /// Memory for clients between statements and for their incomplete messages. It is separate, so that clients that
    /// only send cannot block queries.
    clients: Arc<dyn MemoryPool>,
}

/// The clients' memory is the queries' memory divided by this.
const CLIENTS_PART: usize = 4;

/// Batches by which a query may be ahead of its reader.
const BATCHES_AHEAD: usize = 2;

impl QueryEngine {
    /// `memory_bytes` bounds the memory of all queries together beyond the tables; `threads` is the number of
    /// partitions of one query.
    pub fn new(memory_bytes: usize, threads: usize) -> Result<QueryEngine> {
        let pool: Arc<dyn MemoryPool> = Arc::new(FairSpillPool::new(memory_bytes));
        let mut config = SessionConfig::new()
            .with_information_schema(false)
            .with_create_default_catalog_and_schema(false)
            .with_default_catalog_and_schema(catalog::DATABASE, catalog::PUBLIC)
            .with_target_partitions(threads.max(1));
        let options = config.options_mut();
        options.sql_parser.map_string_types_to_utf8view = false;
        // 1.5 is numeric, as in PostgreSQL: arithmetic on numeric columns stays exact.
        options.sql_parser.parse_float_as_decimal = true;
        options.execution.time_zone = Some("+00:00".into());
        options.extensions.insert(Budget::new(Arc::clone(&pool), Arc::default()));
        // Nullability and field metadata of catalog functions need not agree to the last bit.
        options.execution.skip_physical_aggregate_schema_check = true;
        let mut state = pg_semantics::functions::allowed(SessionStateBuilder::new())
            .with_config(config)
            .with_runtime_env(runtime(Arc::clone(&pool))?)
            .with_expr_planners(pg_semantics::expr_planners())
            .with_optimizer_rules(interruptible::rules())
            .with_analyzer_rules(pg_semantics::analyzer_rules())
            .with_type_planner(Arc::new(pg_semantics::types::planner::Types))
            .with_physical_optimizer_rules(physical_rules())
            .build();
        pg_semantics::install(&mut state)?;
        catalog::functions::register(&mut state)?;
        let threads = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .max_blocking_threads(THREADS_MAX)
            .thread_stack_size(STACK_BYTES)
            .thread_name("query")
            .enable_all()
            .build()
            .map_err(|error| SqlError::internal(format!("threads for queries cannot be started: {error}")))?;
        let workers = Workers::new(threads.handle().clone());
        let clients = Arc::new(GreedyMemoryPool::new(memory_bytes / CLIENTS_PART));
        Ok(QueryEngine { base: state, threads: Some(threads), workers, pool, clients })
    }

    /// Parses, plans or executes a statement of about `bytes` bytes on a thread of its own. If this future is dropped,
    /// the work ends at its next wait or check.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T> {
        self.workers.run(bytes, work).await
    }

    /// Memory for a statement, none yet.
    pub(crate) fn memory(&self, what: &str) -> MemoryReservation {
        MemoryConsumer::new(what).register(&self.pool)
    }

    /// Memory for a client's state, none yet.
    pub(crate) fn client_memory(&self, what: &str) -> MemoryReservation {
        MemoryConsumer::new(what).register(&self.clients)
    }

    /// Runs a plan on the threads of queries; dropping the stream ends it.
    pub(crate) fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let threads = self.threads.as_ref().ok_or_else(|| SqlError::internal("the server is stopping"))?;
        let mut running = RecordBatchReceiverStream::builder(plan.schema(), BATCHES_AHEAD);
        let rows = running.tx();
        let task = async move {
            let mut stream = execute_stream(plan, context)?;
            while let Some(batch) = stream.next().await {
                let failed = batch.is_err();
                if rows.send(batch).await.is_err() || failed {
                    break;
                }
            }
            Ok(())
        };
        running.spawn_on(task, threads.handle());
        Ok(running.build())
    }

    /// Functions and planning rules, without a catalog: for expressions that read no table.
    pub(crate) fn state(&self) -> &SessionState {
        &self.base
    }
}

impl Drop for QueryEngine {
    fn drop(&mut self) {
        // The drop may happen on a thread that must not block.
        if let Some(threads) = self.threads.take() {
            threads.shutdown_background();
        }
    }
}

/// Compiles an expression for batches of this schema: types coerced, arithmetic checked.
pub(crate) fn physical_expression(
    state: &SessionState,
    logical: Expr,
    schema: &DFSchema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let planned = guard(|| {
        let context = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
        let simplifier = ExprSimplifier::new(context);
        let checked = pg_semantics::arithmetic::check(simplifier.coerce(logical, schema)?, schema)?;
        // Some functions, COALESCE among them, exist only until they are simplified.
        state.create_physical_expr(simplifier.simplify(checked)?, schema)
    });
    planned?.map_err(SqlError::planning)
}

fn runtime(pool: Arc<dyn MemoryPool>) -> Result<Arc<RuntimeEnv>> {
    // No spilling: a query that does not fit fails with 53200 instead of filling a temporary directory.
    Ok(RuntimeEnvBuilder::new()
        .with_memory_pool(pool)
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .build_arc()?)
}

/// The environment of a statement of any kind.
#[derive(Clone)]
pub struct Environment {
    /// The database.
    pub database: Arc<dyn Database>,
    /// Shared by all sessions.
    pub engine: Arc<QueryEngine>,
    /// Who asks.
    pub session: Arc<SessionInfo>,
    /// Who else is there.
    pub registry: Arc<Registry>,
    /// Whether the client still waits.
    pub run: Arc<Execution>,
}

impl Environment {
    /// A context for one statement on this state of the database. The caller keeps the guard that it came from for as long
    /// as the statement runs.
    pub fn context(&self, snapshot: &Snapshot) -> StatementContext {
        self.context_with(snapshot, Overlay::default())
    }

    /// The same, with rows on top that a transaction block has buffered.
    pub fn context_with(&self, snapshot: &Snapshot, overlay: Overlay) -> StatementContext {
        let snapshot = Arc::new(snapshot.clone());
        let mut state = self.engine.base.clone();
        let surroundings = Surroundings {
            database: Arc::clone(&self.database),
            session: Arc::clone(&self.session),
            registry: Arc::clone(&self.registry),
        };
        let functions = catalog::functions::of_session(&surroundings, &snapshot);
        let view = catalog::View::new(surroundings, Arc::clone(&snapshot));
        let tables = Arc::new(Tables::new(view, overlay));
        state.register_catalog_list(Arc::new(CatalogList::new(Arc::clone(&tables))));
        for function in functions {
            // Replaces the function of that name in the previous statement's context, which is a copy.
            let _ = state.register_udf(function);
        }
        let budget = Budget::new(Arc::clone(&self.engine.pool), Arc::clone(&self.run.stopped));
        state.config_mut().options_mut().extensions.insert(budget);
        state.mark_start_execution();
        let held = MemoryConsumer::new("rows of a statement").register(&state.runtime_env().memory_pool);
        StatementContext { environment: self.clone(), snapshot, tables, state, held }
    }
}

/// One statement on one snapshot. All reads of the statement go through it.
pub struct StatementContext {
    environment: Environment,
    snapshot: Arc<Snapshot>,
    tables: Arc<Tables>,
    state: SessionState,
    /// Memory of the collected rows.
    held: MemoryReservation,
}

impl StatementContext {
    /// The database's handles.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The snapshot that the statement reads.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Lets tables planned from now on have their hidden columns, the rows' identity among them.
    pub fn show_hidden_columns(&self) {
        self.tables.show_hidden_columns();
    }

    /// DataFusion's state, for planning of expressions.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// Plans a SELECT, VALUES, or EXPLAIN of one. Everything else is refused: DataFusion's own COPY and CREATE EXTERNAL
    /// TABLE would access the server's files.
    pub async fn plan(&self, statement: &ast::Statement) -> Result<LogicalPlan> {
        Ok(self.plan_named(statement).await?.0)
    }

    /// The same, with PostgreSQL's names for the columns of the result.
    pub async fn plan_named(&self, statement: &ast::Statement) -> Result<(LogicalPlan, Vec<String>)> {
        limits::check(statement)?;
        if rewrite::names_hidden_column(statement) {
            self.show_hidden_columns();
        }
        let mut statement = rewrite::for_planner(statement.clone())?;
        let ast::Statement::Query(query) = &mut statement else {
            return Err(SqlError::unsupported("this statement is not supported"));
        };
        let names = guard(|| syntax::resolve(query, self))??;
        pg_semantics::operators::roots::mark(&mut statement);
        pg_semantics::syntax::time::frames(&mut statement);
        let plan = self.plan_once(&statement).await?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)
            .map_err(|_| SqlError::unsupported("this statement is not supported"))?;
        Ok((plan, names))
    }

    async fn plan_once(&self, statement: &ast::Statement) -> Result<LogicalPlan> {
        let statement = DfStatement::Statement(Box::new(statement.clone()));
        guarded(self.state.statement_to_plan(statement)).await?.map_err(SqlError::planning)
    }

    /// An SQL expression over `schema`, types coerced.
    pub fn expression(&self, expression: &ast::Expr, schema: &DFSchema) -> Result<Expr> {
        let expression = rewrite::expression_for_planner(expression.clone())?;
        let plan = || self.state.create_logical_expr_from_sql_expr(with_alias(expression), schema);
        guard(plan)?.map_err(SqlError::planning)
    }

    /// Memory for rows on their way to the client, nothing taken yet.
    pub fn client_rows(&self) -> MemoryReservation {
        self.environment.engine.memory("rows for a client")
    }

    /// Optimizes a plan for execution.
    pub async fn physical(&self, plan: &LogicalPlan) -> Result<Arc<dyn ExecutionPlan>> {
        guarded(self.state.create_physical_plan(plan)).await?.map_err(SqlError::planning)
    }

    /// Starts a plan. The stream ends with an error, never with a panic.
    pub async fn stream(&self, plan: &LogicalPlan) -> Result<SendableRecordBatchStream> {
        let physical = self.physical(plan).await?;
        self.run(physical)
    }

    /// Starts a physical plan.
    pub fn run(&self, physical: Arc<dyn ExecutionPlan>) -> Result<SendableRecordBatchStream> {
        self.environment.engine.run(physical, self.state.task_ctx())
    }

    /// All rows of a plan, for results that are small or are needed as a whole.
    pub async fn collect(&self, plan: &LogicalPlan) -> Result<Vec<RecordBatch>> {
        let mut stream = self.stream(plan).await?;
        let mut batches = Vec::new();
        while let Some(batch) = guarded(stream.try_next()).await?? {
            // Held until the statement ends: the rows are changed and written after they are read.
            self.held.try_grow(bytes(&batch)?)?;
            batches.push(batch);
        }
        Ok(batches)
    }
}

impl Relations for StatementContext {
    fn relation(&self, schema: Option<&str>, name: &str) -> Result<Option<syntax::Relation>> {
        self.tables.described(schema.unwrap_or(catalog::PUBLIC), name)
    }

    fn is_aggregate(&self, name: &str) -> bool {
        self.state.aggregate_functions().contains_key(name)
    }
}

/// DataFusion's physical rules, except the one that moves filters: it finds the columns of a filter by name alone, and
/// confuses equal names of two tables. The logical plan has already moved filters where possible.
fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    rules.retain(|rule| !rule.name().starts_with("FilterPushdown"));
    rules.push(Arc::new(yielding::Yielding));
    rules
}

/// Bytes of the rows of a batch, which may be a slice of more.
fn bytes(batch: &RecordBatch) -> Result<usize> {
    let columns = batch.columns().iter().map(|c| c.to_data().get_slice_memory_size());
    Ok(columns.sum::<Result<usize, _>>()?)
}

fn with_alias(expression: ast::Expr) -> ast::ExprWithAlias {
    ast::ExprWithAlias { expr: expression, alias: None }
}

/// Catches a panic of the planner: the statement fails, the session continues.
pub(crate) fn guard<T>(f: impl FnOnce() -> T) -> Result<T> {
    std::panic::catch_unwind(AssertUnwindSafe(f)).map_err(|panic| panicked(panic.as_ref()))
}

/// See [`guard`].
pub(crate) async fn guarded<T>(future: impl Future<Output = T>) -> Result<T> {
    AssertUnwindSafe(future).catch_unwind().await.map_err(|panic| panicked(panic.as_ref()))
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> SqlError {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| s.to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!("a query panicked: {text}");
    SqlError::internal(format!("the query engine failed on this statement: {text}"))
}
