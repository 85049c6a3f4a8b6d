//! Predicts the result of a definition from the model and the request: a record, no change, or a refusal with its kind.
//! `super` checks the record.

use std::collections::{BTreeMap, BTreeSet};

use kernel::message::{Alteration, Definition, Effect, Offsets, PipelineSpec, ShardCommand, TableSpec, Work};
use kernel::schema::{CatalogChange, ERRORS_TABLE, PipelineDef, PipelineState, TableDef};
use kernel::{SqlState, expr::OnDuplicate};

use super::model::{Model, Pipeline};
use super::{Check, Oracle, Violation, ensure};

/// The predicted result of a definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Foretold {
    /// No change: answered at once.
    Nothing,
    /// A record.
    Record,
    /// Nothing is changed.
    Refused(SqlState),
}

/// Most columns of a table.
const COLUMNS_MAX: usize = 1600;

/// Predicts the result of a definition now.
pub fn foretell(definition: &Definition, tip: &Model) -> Foretold {
    let table = |name: &str| tip.table_named(name);
    let pipeline = |name: &str| tip.pipelines.values().find(|p| p.name == name);
    let nothing_if = |fine: bool, kind| if fine { Foretold::Nothing } else { Foretold::Refused(kind) };
    let running = |p: &Pipeline| p.state == PipelineState::Running;
    match definition {
        Definition::CreateTable { spec, if_not_exists } => match table(&spec.name) {
            Some(_) => nothing_if(*if_not_exists, SqlState::DUPLICATE_TABLE),
            None if is_legal_table(spec) => Foretold::Record,
            None => Foretold::Refused(SqlState::INVALID_TABLE_DEFINITION),
        },
        Definition::DropTable { name, if_exists } => match table(name) {
            None => nothing_if(*if_exists, SqlState::UNDEFINED_TABLE),
            Some(id) if tip.pipelines.values().any(|p| p.table == id) => {
                Foretold::Refused(SqlState::OBJECT_IN_USE)
            }
            Some(_) => Foretold::Record,
        },
        Definition::TruncateTable { name } if table(name).is_some() => Foretold::Record,
        Definition::TruncateTable { .. } => Foretold::Refused(SqlState::UNDEFINED_TABLE),
        Definition::CreatePipeline { spec, if_not_exists } => match pipeline(&spec.name) {
            _ if let Some(kind) = cannot_load(spec, tip) => Foretold::Refused(kind),
            None => Foretold::Record,
            Some(_) => nothing_if(*if_not_exists, SqlState::DUPLICATE_OBJECT),
        },
        Definition::AlterPipeline(Alteration { spec, was, .. }) => match pipeline(&spec.name) {
            None => Foretold::Refused(SqlState::UNDEFINED_OBJECT),
            _ if let Some(kind) = cannot_load(spec, tip) => Foretold::Refused(kind),
            Some(p) if p.definition != *was => Foretold::Refused(SqlState::SERIALIZATION_FAILURE),
            Some(_) => Foretold::Record,
        },
        Definition::ClearErrors { pipeline: None } => Foretold::Record,
        Definition::ClearErrors { pipeline: Some(name) } => match pipeline(name) {
            None => Foretold::Refused(SqlState::UNDEFINED_OBJECT),
            Some(_) => Foretold::Record,
        },
        Definition::DropPipeline { name, if_exists } => match pipeline(name) {
            None => nothing_if(*if_exists, SqlState::UNDEFINED_OBJECT),
            Some(_) => Foretold::Record,
        },
        Definition::StartPipeline { name, if_not_running } => match pipeline(name) {
            None => Foretold::Refused(SqlState::UNDEFINED_OBJECT),
            Some(p) if running(p) => nothing_if(*if_not_running, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE),
            Some(_) => Foretold::Record,
        },
        Definition::StopPipeline { name, if_running } => match pipeline(name) {
            None => Foretold::Refused(SqlState::UNDEFINED_OBJECT),
            Some(p) if running(p) => Foretold::Record,
            Some(_) => nothing_if(*if_running, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE),
        },
        Definition::SetOffsets { name, offsets } => match (pipeline(name), offsets) {
            (None, _) => Foretold::Refused(SqlState::UNDEFINED_OBJECT),
            (Some(p), _) if running(p) => Foretold::Refused(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE),
            (_, Offsets::At(at))
                if at.iter().any(|(name, at)| name.partition().is_none() || at.ordinal() < 0) =>
            {
                Foretold::Refused(SqlState::INVALID_PARAMETER_VALUE)
            }
            _ => Foretold::Record,
        },
    }
}

/// Why a pipeline cannot load its table, if so.
fn cannot_load(spec: &PipelineSpec, tip: &Model) -> Option<SqlState> {
    let Some(id) = tip.table_named(&spec.table) else { return Some(SqlState::UNDEFINED_TABLE) };
    let never_applies = tip.tables[&id].key.is_empty() && spec.on_duplicate != OnDuplicate::Reject;
    never_applies.then_some(SqlState::INVALID_TABLE_DEFINITION)
}

fn is_legal_table(spec: &TableSpec) -> bool {
    let names: BTreeSet<&String> = spec.columns.iter().map(|column| &column.name).collect();
    let is_legal_key = |key: &Vec<u16>| {
        let columns: BTreeSet<u16> = key.iter().copied().collect();
        columns.len() == key.len() && columns.iter().all(|column| usize::from(*column) < spec.columns.len())
    };
    let placed_by_key =
        spec.primary_key.is_empty() || spec.shard_key.iter().all(|c| spec.primary_key.contains(c));
    (1..=COLUMNS_MAX).contains(&spec.columns.len())
        && names.len() == spec.columns.len()
        && [&spec.primary_key, &spec.shard_key, &spec.sort_key].into_iter().all(is_legal_key)
        && placed_by_key
}

/// The table equals the requested one. Columns of a primary key are NOT NULL.
fn is_as_asked(def: &TableDef, spec: &TableSpec) -> bool {
    let column = |(at, column): (usize, &kernel::schema::ColumnDef)| {
        let mut column = column.clone();
        column.id = kernel::ColumnId(at as u32);
        column.nullable = column.nullable && !spec.primary_key.contains(&(at as u16));
        column
    };
    def.columns == spec.columns.iter().enumerate().map(column).collect::<Vec<_>>()
        && def.ordinals(&def.primary_key) == spec.primary_key
        && def.ordinals(&def.shard_key) == spec.shard_key
        && def.ordinals(&def.sort_key) == spec.sort_key
}

fn is_pipeline_as_asked(def: &PipelineDef, spec: &PipelineSpec, tip: &Model) -> bool {
    Some(def.table.0) == tip.table_named(&spec.table)
        && def.definition_sql == spec.definition_sql
        && def.on_duplicate == spec.on_duplicate
        && def.error_limit == spec.error_limit
        && def.batch_interval_us == spec.batch_interval_us
        && def.batch_bytes_max == spec.batch_bytes_max
}

/// Whether a change executes a definition as requested; None if it is unrelated.
fn carries_out(definition: &Definition, change: &CatalogChange, tip: &Model) -> Option<bool> {
    let table = |id: &kernel::TableId, name: &str| tip.tables.get(&id.0).is_some_and(|t| t.name == name);
    let before = |def: &PipelineDef| tip.pipelines.get(&def.id.0);
    let was_running = |def: &PipelineDef| before(def).is_some_and(|p| p.state == PipelineState::Running);
    let newer = |def: &PipelineDef| before(def).is_none_or(|before| def.epoch.0 > before.epoch);
    let done = match (definition, change) {
        (Definition::CreateTable { spec, .. }, CatalogChange::TableCreated(def)) => {
            (def.name == spec.name).then(|| is_as_asked(def, spec))
        }
        (Definition::DropTable { name, .. }, CatalogChange::TableDropped(id)) => {
            table(id, name).then_some(true)
        }
        (Definition::TruncateTable { name }, CatalogChange::TableTruncated(id)) => {
            table(id, name).then_some(true)
        }
        (Definition::CreatePipeline { spec, .. }, CatalogChange::PipelineSet(def)) => {
            let is_new = def.name == spec.name && before(def).is_none();
            is_new.then(|| is_pipeline_as_asked(def, spec, tip) && def.state == PipelineState::Stopped)
        }
        (
            Definition::AlterPipeline(Alteration { spec, source_changed, .. }),
            CatalogChange::PipelineSet(def),
        ) => {
            let before = before(def)?;
            let is_it = def.definition_sql == spec.definition_sql && before.definition != def.definition_sql;
            let goes_on = before.state == PipelineState::Running;
            let state = if goes_on { PipelineState::Running } else { PipelineState::Stopped };
            let same_generation = def.generation.0 == before.generation;
            is_it.then(|| {
                is_pipeline_as_asked(def, spec, tip)
                    && def.state == state
                    && same_generation != *source_changed
            })
        }
        (Definition::ClearErrors { pipeline: None }, CatalogChange::TableTruncated(ERRORS_TABLE)) => {
            Some(true)
        }
        (Definition::ClearErrors { pipeline: Some(name) }, CatalogChange::ErrorsCleared(id)) => {
            tip.pipelines.get(&id.0).is_some_and(|p| p.name == *name).then_some(true)
        }
        (Definition::DropPipeline { name, .. }, CatalogChange::PipelineDropped(id)) => {
            tip.pipelines.get(&id.0).is_some_and(|p| p.name == *name).then_some(true)
        }
        (Definition::StartPipeline { name, .. }, CatalogChange::PipelineSet(def)) => {
            let starts = def.name == *name && !was_running(def) && def.state == PipelineState::Running;
            starts.then_some(true)
        }
        (Definition::StopPipeline { name, .. }, CatalogChange::PipelineSet(def)) => {
            let stops = def.name == *name && was_running(def) && def.state == PipelineState::Stopped;
            stops.then_some(true)
        }
        (Definition::SetOffsets { name, .. }, CatalogChange::PipelineSet(def)) => {
            let rewinds =
                before(def).is_some_and(|before| def.name == *name && def.generation.0 != before.generation);
            rewinds.then_some(true)
        }
        _ => None,
    }?;
    Some(done && if let CatalogChange::PipelineSet(def) = change { newer(def) } else { true })
}

/// A definition that a client waits for.
#[derive(Debug)]
pub(super) struct Outstanding {
    request: u64,
    definition: Definition,
    /// A record has executed it.
    done: bool,
}

impl Oracle {
    /// A client sends this. Definitions are executed in the order of the requests.
    pub fn asked_to_define(&mut self, request: u64, definition: Definition) {
        self.definitions.push(definition.clone());
        self.outstanding.push_back(Outstanding { request, definition, done: false });
    }

    /// The pause between the batches of each pipeline, from its last definition.
    pub(super) fn intervals(&self) -> BTreeMap<u32, i64> {
        let asked = |definition: &str| {
            self.definitions.iter().rev().find_map(|asked| match asked {
                Definition::CreatePipeline { spec, .. }
                | Definition::AlterPipeline(Alteration { spec, .. }) => {
                    (spec.definition_sql == definition).then_some(spec.batch_interval_us)
                }
                _ => None,
            })
        };
        let pipelines = self.tip.pipelines.iter();
        pipelines.filter_map(|(id, pipeline)| Some((*id, asked(&pipeline.definition)?))).collect()
    }

    /// Checks a record's catalog change: if a client waits for it, it must be that client's turn, be as requested, and
    /// be legal.
    pub(super) fn check_carried_out(&mut self, change: &CatalogChange, tip: &Model) -> Check {
        let Some(turn) = self.outstanding.iter().position(|o| !o.done) else {
            return self.check_out_of_turn(change, tip);
        };
        let definition = &self.outstanding[turn].definition;
        let Some(as_asked) = carries_out(definition, change, tip) else {
            return self.check_out_of_turn(change, tip);
        };
        ensure("honest", as_asked, || format!("{definition:?} is executed differently: {change:?}"))?;
        let foretold = foretell(definition, tip);
        ensure("honest", foretold == Foretold::Record, || {
            format!("{definition:?} is executed, expected {foretold:?}")
        })?;
        self.outstanding[turn].done = true;
        Ok(())
    }

    /// A change that is not the next requested one must be neither an executed one nor a later one.
    fn check_out_of_turn(&self, change: &CatalogChange, tip: &Model) -> Check {
        let other = self.outstanding.iter().find(|o| carries_out(&o.definition, change, tip).is_some());
        ensure("honest", other.is_none(), || {
            let how = if other.is_some_and(|o| o.done) { "twice" } else { "before its turn" };
            format!("{other:?} is executed {how}: {change:?}")
        })
    }

    /// An effect of the coordinator. The source of a pipeline is closed as soon as its DROP is staged, before the record
    /// is published.
    pub fn effect(&mut self, effect: &Effect) -> Check {
        let next = self.outstanding.iter().find(|o| !o.done).map(|o| &o.definition);
        if let Effect::Shard { command: ShardCommand::Stage { work, .. }, .. } = effect
            && let Some(Definition::DropPipeline { .. }) = next
        {
            for item in work {
                if let Work::RemoveErrors(pipeline) = item {
                    self.sources.drops(pipeline.0);
                }
            }
        }
        self.sources.effect(effect)
    }

    /// Whether a record has executed the definition of this request.
    pub fn is_carried_out(&self, request: u64) -> bool {
        self.outstanding.iter().any(|o| o.request == request && o.done)
    }

    /// A definition is refused for the state of the database; checked elsewhere.
    pub fn definition_turned_away(&mut self, request: u64) {
        self.outstanding.retain(|o| o.request != request);
    }

    /// A definition is answered.
    pub fn defined(&mut self, request: u64, refused: Option<SqlState>) -> Check {
        let Some(at) = self.outstanding.iter().position(|o| o.request == request) else {
            return Err(Violation::new("honest", "a definition is answered without a request"));
        };
        let before = self.outstanding.iter().take(at).find(|o| !o.done);
        ensure("honest", before.is_none(), || format!("definition {request} is answered before {before:?}"))?;
        let Outstanding { definition, done, .. } = self.outstanding.remove(at).expect("just found");
        let expected = match (refused, done) {
            (None, true) => return Ok(()),
            (None, false) => Foretold::Nothing,
            (Some(kind), _) => Foretold::Refused(kind),
        };
        let foretold = foretell(&definition, &self.tip);
        ensure("honest", expected == foretold && !done, || {
            format!("{definition:?} resulted in {expected:?} (done: {done}), expected {foretold:?}")
        })
    }
}
