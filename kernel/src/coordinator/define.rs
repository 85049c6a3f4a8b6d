//! Definitions: a client's request, checked against the catalog and turned into logged outcomes. The adapters check
//! everything that needs SQL (names, expressions that run in the extractor). This module has the checks that must hold
//! for every caller.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Coordinator;
use super::staging::WorkByShard;
use crate::coverage::{CoverageMark, reached};
use crate::error::{Error, Result, SqlState};
use crate::expr::OnDuplicate;
use crate::ids::*;
use crate::message::{Alteration, Definition, Offsets, PipelineSpec, TableSpec, Work};
use crate::record::RecordKind;
use crate::schema::{
    Catalog, CatalogChange, CursorSet, ERRORS_TABLE, PipelineDef, PipelineState, StartAt, TableDef,
};

/// The result of a definition.
pub(super) enum Resolution {
    /// No change is needed.
    Nothing,
    /// A record.
    Record { kind: RecordKind, catalog: Vec<CatalogChange>, work: WorkByShard },
}

/// Tables that a definition changes or depends on.
pub(super) fn is_definition_of(catalog: &Catalog, definition: &Definition) -> BTreeSet<TableId> {
    let table = match definition {
        Definition::DropTable { name, .. } | Definition::TruncateTable { name } => catalog.table_named(name),
        _ => None,
    };
    table.into_iter().map(|t| t.id).collect()
}

fn outcome(kind: RecordKind, catalog: Vec<CatalogChange>) -> Result<Resolution> {
    Ok(Resolution::Record { kind, catalog, work: WorkByShard::new() })
}

impl Coordinator {
    pub(super) fn resolve(&mut self, definition: Definition) -> Result<Resolution> {
        match definition {
            Definition::CreateTable { spec, if_not_exists } => self.create_table(spec, if_not_exists),
            Definition::DropTable { name, if_exists } => self.drop_table(&name, if_exists),
            Definition::TruncateTable { name } => {
                let id = self.table_named(&name)?.id;
                let work = self.on_all_shards(|| Work::TruncateTable(id));
                let catalog = vec![CatalogChange::TableTruncated(id)];
                Ok(Resolution::Record { kind: RecordKind::Catalog, catalog, work })
            }
            Definition::CreatePipeline { spec, if_not_exists } => self.create_pipeline(*spec, if_not_exists),
            Definition::AlterPipeline(alteration) => self.alter_pipeline(alteration),
            Definition::DropPipeline { name, if_exists } => self.drop_pipeline(&name, if_exists),
            Definition::StartPipeline { name, if_not_running } => self.start_pipeline(&name, if_not_running),
            Definition::StopPipeline { name, if_running } => self.stop_pipeline(&name, if_running),
            Definition::SetOffsets { name, offsets } => self.set_offsets(&name, offsets),
            Definition::ClearErrors { pipeline } => self.clear_errors(pipeline.as_deref()),
        }
    }

    fn on_all_shards(&self, work: impl Fn() -> Work) -> WorkByShard {
        (0..self.shard_count).map(|shard| (ShardId(shard), vec![work()])).collect()
    }

    fn table_named(&self, name: &str) -> Result<&Arc<TableDef>> {
        self.tip
            .table_named(name)
            .ok_or_else(|| Error::new(SqlState::UNDEFINED_TABLE, format!("table \"{name}\" does not exist")))
    }

    fn pipeline_named(&self, name: &str) -> Result<&Arc<PipelineDef>> {
        self.tip.pipeline_named(name).ok_or_else(|| {
            Error::new(SqlState::UNDEFINED_OBJECT, format!("pipeline \"{name}\" does not exist"))
        })
    }

    fn create_table(&mut self, spec: TableSpec, if_not_exists: bool) -> Result<Resolution> {
        if self.tip.table_named(&spec.name).is_some() {
            return if if_not_exists {
                Ok(Resolution::Nothing)
            } else {
                Err(Error::new(SqlState::DUPLICATE_TABLE, format!("table \"{}\" already exists", spec.name)))
            };
        }
        check_table(&spec)?;
        let TableSpec { name, mut columns, primary_key, shard_key, sort_key } = spec;
        for (i, column) in columns.iter_mut().enumerate() {
            column.id = ColumnId(i as u32);
            column.nullable &= !primary_key.contains(&(i as u16));
        }
        let ids = |key: Vec<u16>| key.into_iter().map(|at| columns[usize::from(at)].id).collect();
        let table = TableDef {
            id: TableId(self.tip.next_table),
            name,
            schema_version: 1,
            primary_key: ids(primary_key),
            shard_key: ids(shard_key),
            sort_key: ids(sort_key),
            columns,
            created_at: self.next_sequence,
        };
        let shared = Arc::new(table.clone());
        let work = self.on_all_shards(|| Work::CreateTable(shared.clone()));
        Ok(Resolution::Record {
            kind: RecordKind::Catalog,
            catalog: vec![CatalogChange::TableCreated(table)],
            work,
        })
    }

    fn drop_table(&mut self, name: &str, if_exists: bool) -> Result<Resolution> {
        let Some(table) = self.tip.table_named(name) else {
            return if if_exists {
                Ok(Resolution::Nothing)
            } else {
                Err(self.table_named(name).unwrap_err())
            };
        };
        let id = table.id;
        if let Some(pipeline) = self.tip.pipelines.values().find(|p| p.table == id) {
            let text = format!(
                "cannot drop table \"{name}\" because pipeline \"{0}\" loads it; DROP PIPELINE {0} first",
                pipeline.name
            );
            return Err(Error::new(SqlState::OBJECT_IN_USE, text));
        }
        let work = self.on_all_shards(|| Work::DropTable(id));
        Ok(Resolution::Record {
            kind: RecordKind::Catalog,
            catalog: vec![CatalogChange::TableDropped(id)],
            work,
        })
    }

    /// The table that a pipeline loads, if its ON DUPLICATE KEY clause fits the table.
    fn loadable_table(&self, spec: &PipelineSpec) -> Result<TableId> {
        let table = self.table_named(&spec.table)?;
        if table.primary_key.is_empty() && spec.on_duplicate != OnDuplicate::Reject {
            let text = format!(
                "table \"{}\" has no primary key, so ON DUPLICATE KEY UPDATE never applies",
                table.name
            );
            return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, text));
        }
        spec.on_duplicate.check(table)?;
        Ok(table.id)
    }

    fn create_pipeline(&mut self, spec: PipelineSpec, if_not_exists: bool) -> Result<Resolution> {
        let table = self.loadable_table(&spec)?;
        if self.tip.pipeline_named(&spec.name).is_some() {
            if if_not_exists {
                return Ok(Resolution::Nothing);
            }
            let text = format!("pipeline \"{}\" already exists", spec.name);
            return Err(Error::new(SqlState::DUPLICATE_OBJECT, text));
        }
        let pipeline = PipelineDef {
            id: PipelineId(self.tip.next_pipeline),
            name: spec.name,
            table,
            source_kind: spec.source_kind,
            definition_sql: spec.definition_sql,
            on_duplicate: spec.on_duplicate,
            error_limit: spec.error_limit,
            batch_interval_us: spec.batch_interval_us,
            batch_bytes_max: spec.batch_bytes_max,
            state: PipelineState::Stopped,
            epoch: self.new_epoch(),
            generation: Generation(1),
            start_at: StartAt::Earliest,
            created_at_us: self.now_us,
            altered_at_us: self.now_us,
        };
        outcome(RecordKind::Catalog, vec![CatalogChange::PipelineSet(pipeline)])
    }

    /// Alters a running pipeline at a batch boundary. Staged extracts belong to the older definition and are committed
    /// before it ends. Extracts that are not staged are dropped, and fetched again under the new epoch.
    fn alter_pipeline(&mut self, alteration: Alteration) -> Result<Resolution> {
        let Alteration { spec, was, source_changed } = alteration;
        let before = self.pipeline_named(&spec.name)?.clone();
        let table = self.loadable_table(&spec)?;
        if before.definition_sql != was {
            let text = format!(
                "pipeline \"{}\" was altered by another statement; nothing was changed. Try again",
                spec.name
            );
            return Err(Error::new(SqlState::SERIALIZATION_FAILURE, text));
        }
        let mut pipeline = PipelineDef {
            table,
            source_kind: spec.source_kind,
            definition_sql: spec.definition_sql,
            on_duplicate: spec.on_duplicate,
            error_limit: spec.error_limit,
            batch_interval_us: spec.batch_interval_us,
            batch_bytes_max: spec.batch_bytes_max,
            epoch: self.new_epoch(),
            altered_at_us: self.now_us,
            ..(*before).clone()
        };
        if source_changed {
            pipeline.generation = Generation(pipeline.generation.0 + 1);
            pipeline.start_at = StartAt::Earliest;
        }
        let forgotten = source_changed.then_some(CatalogChange::CursorsForgotten(pipeline.id));
        if before.state == PipelineState::Running {
            self.open_altered(&pipeline);
        } else {
            // The error of a failed pipeline belongs to its old definition.
            pipeline.state = PipelineState::Stopped;
        }
        let set = CatalogChange::PipelineSet(pipeline);
        outcome(RecordKind::Catalog, [set].into_iter().chain(forgotten).collect())
    }

    fn open_altered(&mut self, pipeline: &PipelineDef) {
        reached(CoverageMark::AlteredWhileRunning);
        let last_batch_us = self.pipelines.get(&pipeline.id).map(|source| source.last_batch_us);
        self.close_source(pipeline.id);
        self.open_source(Arc::new(pipeline.clone()), pipeline.epoch);
        // The pause between two batches continues across the change.
        if let (Some(last_batch_us), Some(source)) = (last_batch_us, self.pipelines.get_mut(&pipeline.id)) {
            source.last_batch_us = last_batch_us;
        }
    }

    fn drop_pipeline(&mut self, name: &str, if_exists: bool) -> Result<Resolution> {
        let id = match self.pipeline_named(name) {
            Ok(pipeline) => pipeline.id,
            Err(_) if if_exists => return Ok(Resolution::Nothing),
            Err(error) => return Err(error),
        };
        self.close_source(id);
        let work = self.on_all_shards(|| Work::RemoveErrors(id));
        let catalog = vec![CatalogChange::PipelineDropped(id)];
        Ok(Resolution::Record { kind: RecordKind::Catalog, catalog, work })
    }

    fn clear_errors(&mut self, pipeline: Option<&str>) -> Result<Resolution> {
        let Some(name) = pipeline else {
            let work = self.on_all_shards(|| Work::TruncateTable(ERRORS_TABLE));
            let catalog = vec![CatalogChange::TableTruncated(ERRORS_TABLE)];
            return Ok(Resolution::Record { kind: RecordKind::Catalog, catalog, work });
        };
        let id = self.pipeline_named(name)?.id;
        let work = self.on_all_shards(|| Work::RemoveErrors(id));
        let catalog = vec![CatalogChange::ErrorsCleared(id)];
        Ok(Resolution::Record { kind: RecordKind::Catalog, catalog, work })
    }

    fn start_pipeline(&mut self, name: &str, if_not_running: bool) -> Result<Resolution> {
        let mut pipeline = (**self.pipeline_named(name)?).clone();
        if pipeline.state == PipelineState::Running {
            return if if_not_running { Ok(Resolution::Nothing) } else { Err(running(name)) };
        }
        pipeline.state = PipelineState::Running;
        pipeline.epoch = self.new_epoch();
        pipeline.altered_at_us = self.now_us;
        self.open_source(Arc::new(pipeline.clone()), pipeline.epoch);
        let restarted = CatalogChange::DeadLettersRestarted(pipeline.id);
        outcome(RecordKind::Catalog, vec![CatalogChange::PipelineSet(pipeline), restarted])
    }

    fn stop_pipeline(&mut self, name: &str, if_running: bool) -> Result<Resolution> {
        let mut pipeline = (**self.pipeline_named(name)?).clone();
        if pipeline.state != PipelineState::Running {
            let text = format!("pipeline \"{name}\" is not running");
            return if if_running {
                Ok(Resolution::Nothing)
            } else {
                Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, text))
            };
        }
        self.close_source(pipeline.id);
        pipeline.state = PipelineState::Stopped;
        pipeline.epoch = self.new_epoch();
        pipeline.altered_at_us = self.now_us;
        outcome(RecordKind::Catalog, vec![CatalogChange::PipelineSet(pipeline)])
    }

    fn set_offsets(&mut self, name: &str, offsets: Offsets) -> Result<Resolution> {
        let mut pipeline = (**self.pipeline_named(name)?).clone();
        if pipeline.state == PipelineState::Running {
            return Err(running(name));
        }
        let cursors = match offsets {
            Offsets::From(start_at) => {
                reached(CoverageMark::RewoundToEnds);
                pipeline.start_at = start_at;
                CatalogChange::CursorsForgotten(pipeline.id)
            }
            Offsets::At(positions) => {
                reached(CoverageMark::RewoundTo);
                self.cursors_at(&pipeline, positions)?
            }
        };
        pipeline.generation = Generation(pipeline.generation.0 + 1);
        pipeline.epoch = self.new_epoch();
        pipeline.altered_at_us = self.now_us;
        outcome(RecordKind::Cursor, vec![CatalogChange::PipelineSet(pipeline), cursors])
    }

    /// Cursors that SET OFFSETS sets.
    fn cursors_at(
        &self,
        pipeline: &PipelineDef,
        positions: BTreeMap<SplitName, Position>,
    ) -> Result<CatalogChange> {
        let numbers = self.tip.cursors[&pipeline.id].numbers_for(pipeline.source_kind, positions.keys());
        let mut splits = vec![];
        for (name, position) in positions {
            let (kind, noun) = (position.kind(), position.kind().split_noun());
            let error = match () {
                () if kind != pipeline.source_kind => {
                    format!("position {position} of {noun} {name}: the pipeline reads another kind of source")
                }
                () if position.ordinal() < 0 || kind.own_number(&name).is_none() => {
                    format!("offset {position} of {noun} {name}: neither may be negative")
                }
                () => {
                    splits.push(CursorSet { split: numbers[&name], name, identity: None, position });
                    continue;
                }
            };
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, error));
        }
        Ok(CatalogChange::CursorsSet { pipeline: pipeline.id, splits })
    }
}

fn running(name: &str) -> Error {
    let text = format!("pipeline \"{name}\" is running; STOP PIPELINE {name} first");
    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, text)
}

fn check_table(spec: &TableSpec) -> Result<()> {
    let invalid = |text: String| Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, text));
    if !(1..=1600).contains(&spec.columns.len()) {
        return invalid(format!(
            "table \"{}\" has {} columns; 1 to 1600 are allowed",
            spec.name,
            spec.columns.len()
        ));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = spec.columns.iter().find(|c| !names.insert(&c.name)) {
        return invalid(format!("column \"{}\" is specified more than once", twice.name));
    }
    for key in [&spec.primary_key, &spec.shard_key, &spec.sort_key] {
        let mut seen = BTreeSet::new();
        if let Some(bad) = key.iter().find(|&&c| c as usize >= spec.columns.len() || !seen.insert(c)) {
            return invalid(format!(
                "key of table \"{}\": column {bad} does not exist or is named twice",
                spec.name
            ));
        }
    }
    let outside = spec.shard_key.iter().find(|c| !spec.primary_key.contains(c));
    if let Some(&outside) = outside.filter(|_| !spec.primary_key.is_empty()) {
        return invalid(format!(
            "column \"{}\" of the SHARD KEY is not in the PRIMARY KEY: a unique key must contain the shard key, because it is \
             checked on one shard",
            spec.columns[outside as usize].name
        ));
    }
    Ok(())
}
