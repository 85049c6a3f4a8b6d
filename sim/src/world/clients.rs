//! The clients: they create the scenario's tables and pipelines, start stopped pipelines, write, update under table
//! locks, truncate, rewind, and hold snapshots for a while to check that they do not change. The oracle predicts the
//! results.

use kernel::cursors::Cursors;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use kernel::expr::{Expr, OnDuplicate, Update};
use kernel::message::{
    Alteration, Definition, Offsets, PipelineSpec, ShardWrite, TableSpec, TableWrite, Write,
};
use kernel::schema::{Catalog, ColumnDef, ColumnType, PipelineDef, PipelineState, StartAt, TableDef};
use kernel::snapshot::Snapshot;
use kernel::{
    ColumnId, Error, Generation, PipelineId, Position, Request, RequestId, SplitName, SqlState, TableId,
    TableLockId,
};

use crate::columns;
use crate::decide::{Decisions, Rate};
use crate::oracle::value::{self, Digest, ReadRow, Row, Value};
use crate::oracle::wide;
use crate::oracle::{ClientWrite, Oracle, Statement};
use crate::program::{MISFIT, Program};
use crate::scenario::{ALTERATIONS_TURN, Duplicate, Fields, PipelineRule, TableShape};
use crate::swarm::Parameters;
use crate::wide::Wide;

/// The kind of a request.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A definition.
    Definition,
    /// Rows.
    Write,
    /// A write that does not fit its table, and must be refused.
    Misfit {
        /// The table.
        table: u32,
        /// The required error.
        due: SqlState,
    },
    /// A table lock over these tables.
    TableLock(Vec<u32>),
}

/// A table lock that a client holds.
#[derive(Debug)]
pub struct Held {
    /// For the write or the release.
    pub table_lock: TableLockId,
    /// The snapshot that it reads.
    pub snapshot: Snapshot,
    /// The locked tables.
    pub tables: Vec<u32>,
}

/// A snapshot that a client holds, and its digest at the beginning.
#[derive(Debug)]
pub struct Reading {
    /// The snapshot that it reads.
    pub snapshot: Arc<Snapshot>,
    digests: Vec<(TableId, Digest)>,
}

impl Reading {
    /// Begins to read.
    pub fn new(snapshot: Arc<Snapshot>) -> Reading {
        let digests = snapshot.catalog.tables.keys().map(|t| (*t, value::digest(&snapshot, *t))).collect();
        Reading { snapshot, digests }
    }

    /// Whether the snapshot is unchanged.
    pub fn is_unchanged(&self) -> bool {
        self.digests.iter().all(|(table, before)| value::digest(&self.snapshot, *table) == *before)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Clients {
    /// Requests that are not answered yet.
    pub asked: BTreeMap<RequestId, Asked>,
    /// Table locks that are held.
    pub held: Vec<Held>,
    /// Snapshots that are held.
    pub readings: Vec<Reading>,
    /// Generation in which each pipeline lost its source and an operator set its offsets.
    repaired: BTreeMap<PipelineId, Generation>,
    next_request: u64,
    next_row: i64,
    next_churn: u64,
    /// Number of the last alteration: each makes another definition, with its own text.
    last_alteration: u64,
    looks: usize,
    /// Definitions that follow the last one without waiting for its answer.
    following: VecDeque<Definition>,
}

/// A table that is created and dropped, has odd keys, and is never written to.
const ODD_TABLE: &str = "odd";

/// A request that is about to be sent.
pub type Sent = (RequestId, Request);

/// The next act of a client.
#[derive(Debug)]
pub enum Act {
    /// None.
    Nothing,
    /// It sends a request.
    Send(Sent),
    /// It begins to read the newest snapshot.
    Read,
    /// It has read this one.
    HasRead(Reading),
}

impl From<Option<Sent>> for Act {
    fn from(sent: Option<Sent>) -> Act {
        sent.map_or(Act::Nothing, Act::Send)
    }
}

impl Clients {
    /// The server has ended, and with it all requests, locks and snapshots.
    pub fn disconnected(&mut self) {
        self.asked.clear();
        self.held.clear();
        self.readings.clear();
        self.following.clear();
    }

    fn send(&mut self, asked: Asked, request: Request) -> Sent {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.asked.insert(id, asked);
        (id, request)
    }

    fn define(&mut self, oracle: &mut Oracle, definition: Definition) -> Sent {
        let (id, request) = self.send(Asked::Definition, Request::Define(definition.clone()));
        oracle.asked_to_define(id.0, definition);
        (id, request)
    }

    /// Whether a client sends a definition now: mostly not while another one waits.
    fn defines(&self, d: &Decisions<'_>, p: &Parameters) -> bool {
        let in_line = self.asked.values().filter(|asked| matches!(asked, Asked::Definition)).count() as u64;
        in_line == 0 || (in_line < p.definitions_in_line_max && d.activity(Rate::per_mille(300)))
    }

    /// Does one thing, or nothing.
    pub fn step(&mut self, d: &Decisions<'_>, p: &Parameters, catalog: &Catalog, oracle: &mut Oracle) -> Act {
        if let Some(definition) = self.following.pop_front() {
            return Act::Send(self.define(oracle, definition));
        }
        let defines = self.defines(d, p);
        if defines && let Some(definition) = self.press(d, p, catalog) {
            return Act::Send(self.define(oracle, definition));
        }
        if defines && let Some(definition) = missing(p, catalog).or_else(|| self.operate(d, p, catalog)) {
            return Act::Send(self.define(oracle, definition));
        }
        if defines && d.activity(p.activity.odd_definition) {
            return match self.odd(d, p, catalog) {
                Some(definition) => Act::Send(self.define(oracle, definition)),
                None => self.misfit(d, p, catalog).into(),
            };
        }
        if !self.held.is_empty() && (d.faults_over() || d.below(2) == 0) {
            return self.use_table_lock(d, p, oracle).into();
        }
        if !self.readings.is_empty() && (d.faults_over() || d.below(4) == 0) {
            return Act::HasRead(self.readings.swap_remove(d.index(self.readings.len())));
        }
        if d.activity(p.activity.read) {
            return Act::Read;
        }
        if d.activity(p.activity.write) {
            let sent = if d.chance(p.activity.table_lock) {
                self.ask_for_table_lock(d, p, catalog)
            } else {
                self.insert(d, p, catalog, oracle)
            };
            return sent.into();
        }
        Act::Nothing
    }

    /// An operator's action: starts stopped pipelines, and sometimes stops, rewinds, truncates, drops.
    fn operate(&mut self, d: &Decisions<'_>, p: &Parameters, catalog: &Catalog) -> Option<Definition> {
        let pipelines: Vec<&Arc<PipelineDef>> = catalog.pipelines.values().collect();
        // Rotated at every call, so that decisions that are all zero reach every pipeline.
        self.looks += 1;
        let turned = d.index(pipelines.len().max(1)) + self.looks;
        let pipeline = pipelines.get(turned % pipelines.len().max(1))?;
        let name = pipeline.name.clone();
        if d.activity(p.definition_chains) {
            return Some(self.chain(d, p, catalog, pipeline));
        }
        match &pipeline.state {
            PipelineState::Running if d.activity(p.activity.restart_pipeline) => Some(match d.below(4) {
                3 => self.alter(p, pipeline),
                question => Definition::StopPipeline { name, if_running: question < 2 },
            }),
            PipelineState::Stopped if d.activity(p.activity.rewind) => {
                Some(self.rewind(d, p, pipeline, &catalog.cursors[&pipeline.id]))
            }
            PipelineState::Stopped => {
                Some(Definition::StartPipeline { name, if_not_running: d.below(2) == 0 })
            }
            PipelineState::Failed(error) if error.sqlstate.class() == "TM" => {
                let repaired =
                    self.repaired.get(&pipeline.id).is_some_and(|repaired| *repaired < pipeline.generation);
                if repaired || d.activity(Rate::per_mille(300)) {
                    self.repaired.remove(&pipeline.id);
                    return Some(Definition::StartPipeline { name, if_not_running: false });
                }
                self.repaired.insert(pipeline.id, pipeline.generation);
                Some(repair(d, name, error))
            }
            PipelineState::Failed(_) => Some(Definition::StartPipeline { name, if_not_running: false }),
            PipelineState::Running if d.activity(p.activity.truncate) => {
                let tables: Vec<String> = p.tables.iter().map(|(name, ..)| name.clone()).collect();
                Some(Definition::TruncateTable { name: d.pick(&tables[..3]) })
            }
            PipelineState::Running if d.activity(p.activity.table_churn) => Some(self.churn(d, catalog)),
            PipelineState::Running => None,
        }
    }

    /// Several definitions in a row without a wait between them: a dropped object is created again under its name with
    /// another content, running or not. Returns the first definition.
    fn chain(
        &mut self,
        d: &Decisions<'_>,
        p: &Parameters,
        catalog: &Catalog,
        pipeline: &PipelineDef,
    ) -> Definition {
        let name = pipeline.name.clone();
        let start = Definition::StartPipeline { name: name.clone(), if_not_running: d.below(2) == 0 };
        let stop = Definition::StopPipeline { name: name.clone(), if_running: true };
        let mut chain = VecDeque::new();
        match d.below(6) {
            0 | 1 => {
                let table = catalog.tables.values().find(|table| table.name.starts_with("churn"));
                let name = table.map_or("churn_0".into(), |table| table.name.clone());
                if d.below(3) == 1 && table.is_some() {
                    chain.push_back(Definition::TruncateTable { name: name.clone() });
                }
                chain.push_back(Definition::DropTable { name: name.clone(), if_exists: true });
                chain.push_back(Definition::CreateTable { spec: churn_spec(d, &name), if_not_exists: false });
            }
            2 => chain.extend([stop, self.alter(p, pipeline), start]),
            3 => {
                let offsets = Offsets::From(StartAt::Earliest);
                chain.extend([stop, Definition::SetOffsets { name, offsets }, start]);
            }
            4 => {
                chain.push_back(Definition::DropPipeline { name, if_exists: false });
                chain.extend([self.create_altered(p, pipeline), start]);
            }
            _ => {
                let loading = catalog.pipelines.values().filter(|other| other.table == pipeline.table);
                let drop = |other: &Arc<PipelineDef>| Definition::DropPipeline {
                    name: other.name.clone(),
                    if_exists: false,
                };
                chain.extend(loading.map(drop));
                if let Some(table) = catalog.tables.get(&pipeline.table) {
                    let (name, shape) = (table.name.clone(), shape_of(p, table));
                    let spec = shape.spec(&name, !table.shard_key.is_empty());
                    chain.push_back(Definition::DropTable { name, if_exists: false });
                    chain.push_back(Definition::CreateTable { spec, if_not_exists: false });
                }
                chain.extend([self.create_altered(p, pipeline), start]);
            }
        }
        self.following = chain;
        self.following.pop_front().expect("a chain has a beginning")
    }

    /// The pipeline is created again, as a later alteration would leave it.
    fn create_altered(&mut self, p: &Parameters, pipeline: &PipelineDef) -> Definition {
        self.last_alteration += 1;
        let rule = p.pipelines.iter().position(|rule| rule.name == pipeline.name);
        let spec = pipeline_spec(p, rule.expect("a pipeline of the scenario"), self.last_alteration);
        Definition::CreatePipeline { spec, if_not_exists: false }
    }

    /// Another definition for a pipeline, running or not: of the same source, or sometimes of another one.
    fn alter(&mut self, p: &Parameters, pipeline: &PipelineDef) -> Definition {
        self.last_alteration += 1;
        let rule = p.pipelines.iter().position(|rule| rule.name == pipeline.name);
        let spec = pipeline_spec(p, rule.expect("a pipeline of the scenario"), self.last_alteration);
        // Not drawn, so that decisions recorded before ALTER existed keep their meaning.
        let source_changed = self.last_alteration % 4 == 3;
        Definition::AlterPipeline(Alteration { spec, was: pipeline.definition_sql.clone(), source_changed })
    }

    fn rewind(
        &mut self,
        d: &Decisions<'_>,
        p: &Parameters,
        pipeline: &PipelineDef,
        cursors: &Cursors,
    ) -> Definition {
        let name = pipeline.name.clone();
        let mut at = BTreeMap::new();
        for (split, position) in cursors.positions() {
            if d.below(2) == 0 {
                // Back by some offsets, or unchanged: unseen offsets cannot be set.
                let offset = position.ordinal() - d.below(position.ordinal().min(30) as u64 + 1) as i64;
                let name = cursors.get(split).expect("just seen").name.clone();
                at.insert(name, Position::kafka(offset, -1));
            }
        }
        match d.below(6) {
            0 => Definition::SetOffsets { name, offsets: Offsets::From(StartAt::Earliest) },
            1 => Definition::SetOffsets { name, offsets: Offsets::From(StartAt::Latest) },
            3 => {
                let at = odd_offset(d);
                Definition::SetOffsets { name, offsets: Offsets::At(at) }
            }
            2 => Definition::DropPipeline { name, if_exists: d.below(2) == 0 },
            5 => self.alter(p, pipeline),
            _ => Definition::SetOffsets { name, offsets: Offsets::At(at) },
        }
    }

    fn churn(&mut self, d: &Decisions<'_>, catalog: &Catalog) -> Definition {
        let churned = catalog.tables.values().find(|t| t.name.starts_with("churn"));
        match churned {
            Some(table) => Definition::DropTable { name: table.name.clone(), if_exists: false },
            None => {
                // Names are reused, identities are not.
                self.next_churn += d.below(2);
                let spec = TableShape::Events.spec(&format!("churn_{}", self.next_churn), false);
                Definition::CreateTable { spec, if_not_exists: d.below(2) == 0 }
            }
        }
    }

    /// If definitions may queue: sends one that waits for a table lock, or one that waits only for its turn.
    fn press(&mut self, d: &Decisions<'_>, p: &Parameters, catalog: &Catalog) -> Option<Definition> {
        let held = self.held.first().filter(|_| p.definitions_in_line_max > 1)?;
        if !d.activity(Rate::per_mille(200)) {
            return None;
        }
        let names = held.tables.iter().filter_map(|id| catalog.tables.get(&TableId(*id)));
        let barred = names.map(|table| table.name.clone()).find(|name| !name.starts_with("ledger"));
        match barred.filter(|_| d.below(2) == 0) {
            Some(name) => Some(Definition::TruncateTable { name }),
            None => Some(self.churn(d, catalog)),
        }
    }

    /// Odd definitions, which may be mistakes: missing or duplicate names, illegal definitions, commands at the wrong
    /// time.
    fn odd(&mut self, d: &Decisions<'_>, p: &Parameters, catalog: &Catalog) -> Option<Definition> {
        let rule = d.index(p.pipelines.len());
        let (spec, rule) = (pipeline_spec(p, rule, 0), &p.pipelines[rule]);
        let name = if d.below(4) == 0 { "nobody".to_string() } else { rule.name.clone() };
        let table = d.pick(&[rule.table.as_str(), "events", ODD_TABLE]).to_string();
        Some(match d.below(12) {
            0 => {
                let (if_not_exists, or_replace) = (d.below(2) == 0, d.below(2) == 0);
                self.create_or_replace(catalog, spec, if_not_exists, or_replace)
            }
            1 => {
                // No primary key, or no table at all.
                let table = d.pick(&["events", "nothing"]).to_string();
                let on_duplicate = kernel::expr::OnDuplicate::Ignore;
                let spec = Box::new(PipelineSpec { table, on_duplicate, ..*spec });
                let (if_not_exists, or_replace) = (d.below(2) == 0, d.below(2) == 0);
                self.create_or_replace(catalog, spec, if_not_exists, or_replace)
            }
            2 => Definition::StartPipeline { name, if_not_running: d.below(2) == 0 },
            3 => Definition::StopPipeline { name, if_running: d.below(2) == 0 },
            4 => {
                let at = odd_offset(d);
                Definition::SetOffsets { name, offsets: Offsets::At(at) }
            }
            5 => Definition::DropTable { name: table, if_exists: d.below(2) == 0 },
            6 => Definition::TruncateTable { name: ODD_TABLE.into() },
            7 => Definition::DropPipeline { name: "nobody".into(), if_exists: d.below(2) == 0 },
            8 => Definition::CreateTable { spec: odd_table(d, &table), if_not_exists: d.below(2) == 0 },
            11 => Definition::ClearErrors { pipeline: (d.below(3) > 0).then_some(name) },
            // An update that does not fit its table.
            _ => return None,
        })
    }

    /// As in SQL: OR REPLACE alters an existing pipeline. Some clients do not know its last alteration.
    fn create_or_replace(
        &mut self,
        catalog: &Catalog,
        mut spec: Box<PipelineSpec>,
        if_not_exists: bool,
        or_replace: bool,
    ) -> Definition {
        if !or_replace {
            return Definition::CreatePipeline { spec, if_not_exists };
        }
        let before = catalog.pipeline_named(&spec.name).map(|pipeline| pipeline.definition_sql.clone());
        // The original rule under a new text: each such alteration returns to it.
        self.last_alteration = (self.last_alteration + 1).next_multiple_of(ALTERATIONS_TURN);
        let was = match (self.last_alteration / ALTERATIONS_TURN) % 3 {
            0 => spec.definition_sql.clone(),
            _ => before.unwrap_or_default(),
        };
        spec.definition_sql = PipelineRule::definition(&spec.name, self.last_alteration);
        Definition::AlterPipeline(Alteration { spec, was, source_changed: false })
    }

    // ---- Rows ----

    fn insert(
        &mut self,
        d: &Decisions<'_>,
        p: &Parameters,
        catalog: &Catalog,
        oracle: &mut Oracle,
    ) -> Option<Sent> {
        let mut statements = Vec::new();
        for _ in 0..d.between(1, 3) {
            let (table, shape) = pick_table(d, p, catalog)?;
            // Sometimes more rows than a bitmap's word or a sample of values.
            let most = if d.below(160) == 1 { 300 } else { 6 };
            let rows = (0..d.between(1, most)).map(|_| self.row(d, p, shape)).collect();
            let duplicate = if shape.key().is_empty() {
                Duplicate::Reject
            } else {
                let update = |other| match shape {
                    TableShape::Wide(layout) => Duplicate::Update(Arc::new(Program::draw(d, layout))),
                    _ => other,
                };
                match d.below(5) {
                    0 => Duplicate::Reject,
                    1 => Duplicate::Ignore,
                    2 => Duplicate::Replace,
                    3 => update(Duplicate::Add),
                    _ => update(Duplicate::TakeIfGreater),
                }
            };
            statements.push((Statement { table: table.id.0, removed: vec![], rows, duplicate }, vec![]));
        }
        let ledger = format!("ledger_{}", d.below(3));
        self.write(p, catalog, oracle, None, statements, &ledger)
    }

    /// An update that does not fit its table, of a statement or of a pipeline: must be refused.
    fn misfit(&mut self, d: &Decisions<'_>, p: &Parameters, catalog: &Catalog) -> Option<Sent> {
        let (table, shape) = pick_table(d, p, catalog)?;
        // An odd table may have the name, with other columns.
        if table.ordinals(&table.primary_key) != shape.key() {
            return None;
        }
        let of_pipeline = d.below(2) == 1;
        let (on_duplicate, due) = match shape {
            TableShape::Wide(layout) => (Program::draw_misfit(d, layout), MISFIT),
            _ if !shape.key().is_empty() => {
                let expr = Expr::Cast(Box::new(Expr::Incoming(ColumnId(0))), ColumnType::Bool);
                (
                    OnDuplicate::Update(Update { assignments: vec![(ColumnId(1), expr)], condition: None }),
                    MISFIT,
                )
            }
            _ if of_pipeline => (OnDuplicate::Ignore, SqlState::INVALID_TABLE_DEFINITION),
            _ => (OnDuplicate::Replace, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE),
        };
        let asked = Asked::Misfit { table: table.id.0, due };
        let request = if of_pipeline {
            let spec = PipelineSpec {
                source_kind: kernel::SourceKind::Kafka,
                name: "misfit".into(),
                table: table.name.clone(),
                definition_sql: "misfit".into(),
                on_duplicate,
                error_limit: None,
                batch_interval_us: 0,
                batch_bytes_max: 1,
            };
            Request::Define(Definition::CreatePipeline { spec: Box::new(spec), if_not_exists: false })
        } else {
            let shards = (0..p.shard_count).map(|_| ShardWrite::default()).collect();
            let schema_version = table.schema_version;
            let table = TableWrite { table: table.id, schema_version, on_duplicate, shards };
            Request::Write(Write { table_lock: None, tables: vec![table] })
        };
        Some(self.send(asked, request))
    }

    fn ask_for_table_lock(&mut self, d: &Decisions<'_>, p: &Parameters, catalog: &Catalog) -> Option<Sent> {
        let ledger = catalog.table_named(&format!("ledger_{}", d.below(3)))?;
        let mut tables = vec![ledger.id];
        for _ in 0..d.between(1, 2) {
            let (table, _) = pick_table(d, p, catalog)?;
            if !tables.contains(&table.id) {
                tables.push(table.id);
            }
        }
        let asked = Asked::TableLock(tables.iter().map(|t| t.0).collect());
        Some(self.send(asked, Request::AcquireTableLock { tables }))
    }

    /// UPDATE and DELETE: deletions and new rows are computed from the table lock's snapshot.
    fn use_table_lock(&mut self, d: &Decisions<'_>, p: &Parameters, oracle: &mut Oracle) -> Option<Sent> {
        let Held { table_lock, snapshot, tables } = self.held.swap_remove(d.index(self.held.len()));
        let [ledger, tables @ ..] = &tables[..] else { panic!("the ledger comes first") };
        if d.below(4) == 0 {
            self.next_request += 1;
            return Some((RequestId(self.next_request), Request::ReleaseTableLock(table_lock)));
        }
        let catalog = &snapshot.catalog;
        let mut statements = Vec::with_capacity(tables.len());
        for id in tables {
            let table = &catalog.tables[&TableId(*id)];
            let mut statement = rewrite(d, table, shape_of(p, table), value::rows(&snapshot, table.id));
            if d.chance(p.key_moves) {
                self.move_keys(d, p, table, &mut statement.0.rows);
            }
            statements.push(statement);
        }
        let ledger = catalog.tables[&TableId(*ledger)].name.clone();
        self.write(p, catalog, oracle, Some(table_lock), statements, &ledger)
    }

    /// An UPDATE gives some rows other keys: new ones, or one another's keys. If a key exists already, the statement is
    /// refused and no row changes.
    fn move_keys(&mut self, d: &Decisions<'_>, p: &Parameters, table: &TableDef, rows: &mut [Row]) {
        let shape = shape_of(p, table);
        // An odd table may have taken the name, with keys that are none of the shape's.
        if table.ordinals(&table.primary_key) != shape.key() {
            return;
        }
        let all: Vec<u16> = (0..table.columns.len() as u16).collect();
        let keys = [&table.ordinals(&table.primary_key), &table.ordinals(&table.shard_key), &all];
        let key: Vec<usize> = keys
            .into_iter()
            .find(|key| !key.is_empty())
            .expect("columns, at least")
            .iter()
            .map(|column| usize::from(*column))
            .collect();
        if rows.len() > 1 && d.below(3) == 1 {
            for at in 1..rows.len() {
                let (before, from) = rows.split_at_mut(at);
                key.iter()
                    .for_each(|column| std::mem::swap(&mut before[at - 1][*column], &mut from[0][*column]));
            }
            return;
        }
        let one_in = d.between(1, 3);
        for row in rows {
            if d.below(one_in) == 0 {
                let other = self.row(d, p, shape);
                key.iter().for_each(|column| row[*column] = other[*column].clone());
            }
        }
    }

    fn row(&mut self, d: &Decisions<'_>, p: &Parameters, shape: TableShape) -> Row {
        self.next_row += 1;
        let key = d.below(p.mix.keys) as i64;
        let amount = if d.chance(p.mix.huge) { i64::MIN + 1 } else { d.below(100) as i64 };
        let mut row = match shape {
            TableShape::Events => vec![Value::Int(-self.next_row), Value::Null, Value::Int(amount)],
            TableShape::Accounts => vec![Value::Text(format!("name-{key}")), Value::Int(amount)],
            TableShape::Latest => vec![Value::Int(key), Value::Int(amount), Value::Text("client".into())],
            TableShape::Wide(_) => wide_row(d, p, self.next_row, key, amount),
            TableShape::Ledger => vec![Value::Int(-self.next_row)],
        };
        row.extend([Value::Null, Value::Null, Value::Null]);
        row
    }

    fn write(
        &mut self,
        p: &Parameters,
        catalog: &Catalog,
        oracle: &mut Oracle,
        table_lock: Option<TableLockId>,
        mut statements: Vec<(Statement, Vec<ReadRow>)>,
        ledger: &str,
    ) -> Option<Sent> {
        let ledger = catalog.table_named(ledger)?;
        let number = self.next_request + 1;
        let row = vec![Value::Int(number as i64), Value::Null, Value::Null, Value::Null];
        let entry =
            Statement { table: ledger.id.0, removed: vec![], rows: vec![row], duplicate: Duplicate::Reject };
        statements.push((entry, vec![]));
        let mut tables = Vec::new();
        for (statement, gone) in &statements {
            let def = &catalog.tables[&TableId(statement.table)];
            tables.push(table_write(p, def, statement, gone));
        }
        let statements = statements.into_iter().map(|(statement, _)| statement).collect();
        oracle.asked_to_write(number, ClientWrite { statements });
        Some(self.send(Asked::Write, Request::Write(Write { table_lock, tables })))
    }
}

/// A table or pipeline of the scenario that the catalog lacks.
fn missing(p: &Parameters, catalog: &Catalog) -> Option<Definition> {
    for (name, shape, by_all) in &p.tables {
        if catalog.table_named(name).is_none() {
            return Some(Definition::CreateTable { spec: shape.spec(name, *by_all), if_not_exists: false });
        }
    }
    for (index, rule) in p.pipelines.iter().enumerate() {
        if catalog.pipeline_named(&rule.name).is_none() {
            let spec = pipeline_spec(p, index, 0);
            return Some(Definition::CreatePipeline { spec, if_not_exists: false });
        }
    }
    None
}

/// The pipeline of a rule after its nth alteration.
fn pipeline_spec(p: &Parameters, index: usize, alteration: u64) -> Box<PipelineSpec> {
    let rule = &p.pipelines[index].altered(alteration);
    Box::new(PipelineSpec {
        source_kind: kernel::SourceKind::Kafka,
        name: rule.name.clone(),
        table: rule.table.clone(),
        definition_sql: PipelineRule::definition(&rule.name, alteration),
        on_duplicate: rule.duplicate.lowered(rule.shape),
        error_limit: rule.error_limit,
        batch_interval_us: if alteration.is_multiple_of(2) { p.batch_interval_us[index] } else { 0 },
        batch_bytes_max: p.batch_bytes_max[index],
    })
}

/// An illegal table: without columns, with keys that name a missing column or one twice, or a shard key outside the
/// primary key. Sometimes it is legal.
fn odd_table(d: &Decisions<'_>, name: &str) -> TableSpec {
    let mut spec = TableShape::Events.spec(name, false);
    let key = || (0..d.below(3)).map(|_| d.below(4) as u16).collect();
    (spec.primary_key, spec.shard_key, spec.sort_key) = (key(), key(), key());
    match d.below(6) {
        0 => spec.columns.clear(),
        1 => spec.columns[2].name = spec.columns[0].name.clone(),
        // The maximum number of columns, or one more.
        2 if d.below(4) == 1 => {
            let column = spec.columns[0].clone();
            let numbered = |number: u64| ColumnDef {
                id: ColumnId(number as u32),
                name: format!("column_{number}"),
                ..column.clone()
            };
            spec.columns = (0..1600 + d.below(2)).map(numbered).collect();
        }
        _ => {}
    }
    spec
}

/// Neither of them may be negative.
fn odd_offset(d: &Decisions<'_>) -> BTreeMap<SplitName, Position> {
    let (partition, offset) = (d.pick(&[0, 0, -1]), d.pick(&[0, -1, -7]));
    BTreeMap::from([(SplitName::kafka(partition), Position::kafka(offset, -1))])
}

/// The repair that a failed pipeline's error suggests.
fn repair(d: &Decisions<'_>, name: String, error: &Error) -> Definition {
    let hinted = error.message.split_once("'{\"").and_then(|(_, hint)| {
        let (partition, rest) = hint.split_once("\": ")?;
        let (offset, _) = rest.split_once('}')?;
        Some((SplitName::new(partition), Position::kafka(offset.parse().ok()?, -1)))
    });
    match hinted.filter(|_| error.sqlstate == SqlState::SOURCE_LOST) {
        Some(at) => Definition::SetOffsets { name, offsets: Offsets::At(BTreeMap::from([at])) },
        None => {
            let from = d.pick(&[StartAt::Earliest, StartAt::Earliest, StartAt::Latest]);
            Definition::SetOffsets { name, offsets: Offsets::From(from) }
        }
    }
}

/// A table that comes and goes, of one shape or another.
fn churn_spec(d: &Decisions<'_>, name: &str) -> TableSpec {
    d.pick(&CHURN_SHAPES).spec(name, d.below(2) == 0)
}

/// Shapes of tables that are created and dropped during a run; their first columns differ.
const CHURN_SHAPES: [TableShape; 3] = [TableShape::Events, TableShape::Accounts, TableShape::Latest];

/// The shape of a table: by its name, or where that comes and goes by its definition.
pub fn shape_of(p: &Parameters, def: &TableDef) -> TableShape {
    let named = p.tables.iter().find(|(table, ..)| *table == def.name).map(|(_, shape, _)| *shape);
    let first = def.columns.first().map(|column| column.name.as_str());
    let like = |shape: &TableShape| shape.columns().first().map(|column| column.0) == first;
    named.or(CHURN_SHAPES.into_iter().find(like)).unwrap_or(TableShape::Events)
}

fn pick_table(d: &Decisions<'_>, p: &Parameters, catalog: &Catalog) -> Option<(Arc<TableDef>, TableShape)> {
    let tables: Vec<&Arc<TableDef>> = catalog
        .tables
        .values()
        .filter(|t| {
            t.id != kernel::schema::ERRORS_TABLE && !t.name.starts_with("ledger") && t.name != ODD_TABLE
        })
        .collect();
    let table = (*tables.get(d.index(tables.len().max(1)))?).clone();
    let shape = shape_of(p, &table);
    Some((table, shape))
}

/// UPDATE or DELETE of some of the rows of a table. Sometimes a row appears twice, which a key rejects, and with it the
/// statement.
fn rewrite(
    d: &Decisions<'_>,
    table: &TableDef,
    shape: TableShape,
    read: Vec<ReadRow>,
) -> (Statement, Vec<ReadRow>) {
    let one_in = d.between(1, 6);
    let gone: Vec<ReadRow> = read.into_iter().filter(|_| d.below(one_in) == 0).collect();
    let updates = d.below(3) > 0;
    let changes = gone.iter().filter(|_| updates && d.below(5) > 0);
    let mut rows: Vec<Row> = changes.map(|read| changed(d, shape, &read.row)).collect();
    if d.below(6) == 1 {
        rows.extend(rows.last().cloned());
    }
    let removed = gone.iter().map(|r| r.row.clone()).collect();
    (Statement { table: table.id.0, removed, rows, duplicate: Duplicate::Reject }, gone)
}

/// A row after an UPDATE: another number, no provenance, and sometimes another key.
fn changed(d: &Decisions<'_>, shape: TableShape, row: &Row) -> Row {
    let mut row = row.clone();
    let number =
        shape.columns().iter().rposition(|c| c.1 == ColumnType::Int64).expect("each shape has a number");
    if let Value::Int(n) = &mut row[number] {
        *n = n.wrapping_add(d.below(10) as i64);
    }
    row[shape.columns().len()..].fill(Value::Null);
    row
}

fn table_write(p: &Parameters, def: &TableDef, statement: &Statement, gone: &[ReadRow]) -> TableWrite {
    let shape = shape_of(p, def);
    let mut shards: Vec<ShardWrite> = (0..p.shard_count).map(|_| ShardWrite::default()).collect();
    for read in gone {
        shards[read.shard].deletes.push(read.id);
    }
    if !statement.rows.is_empty() {
        let rows = columns::batch(def, &statement.rows);
        let empty = rows.slice(0, 0);
        for (shard, rows) in kernel::route::route(def, &rows, p.shard_count).into_iter().enumerate() {
            // Some shards get columns without rows.
            shards[shard].rows = rows.or_else(|| (shard % 2 == 1).then(|| empty.clone()));
        }
    }
    TableWrite {
        table: def.id,
        schema_version: def.schema_version,
        on_duplicate: statement.duplicate.lowered(shape),
        shards,
    }
}

/// A client's row of the wide table: as a message would make it.
fn wide_row(d: &Decisions<'_>, p: &Parameters, number: i64, key: i64, amount: i64) -> Row {
    let mix = p.mix.wide.expect("there is a wide table");
    let wide = Some(Box::new(Wide { values: mix.values(d, number as u64, true) }));
    let name = Some(format!("name-{key}"));
    wide::row(&Fields { id: -number, k: key, name, amount, tag: None, wide })
}
