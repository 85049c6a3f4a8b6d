//! Checks a record's catalog changes: each was requested, no cursor moves by itself, and no partition begins where its
//! topic never began. `definitions` predicts the results of definitions.

use std::collections::BTreeMap;

use kernel::PipelineId;
use kernel::message::{Alteration, Definition, Offsets};
use kernel::record::RecordKind;
use kernel::schema::{CatalogChange, ERRORS_TABLE, PipelineDef, PipelineState, StartAt};

use super::model::{Change, Pipeline, Transaction};
use super::{Check, Oracle, Outside, Violation, ensure, rule};
use crate::broker::TopicId;

impl Oracle {
    pub(super) fn fold_definition(
        &mut self,
        transaction: &mut Transaction<'_>,
        kind: RecordKind,
        change: &CatalogChange,
        catalog: &[CatalogChange],
        outside: &Outside<'_, '_>,
    ) -> Check {
        let asked = |wanted: &dyn Fn(&Definition) -> bool, what: String| {
            ensure("honest", self.definitions.iter().any(wanted), || {
                format!("{what}, but no client asked for it")
            })
        };
        match change {
            CatalogChange::TableCreated(def) => {
                asked(
                    &|d| matches!(d, Definition::CreateTable { spec, .. } if spec.name == def.name),
                    format!("table {} created", def.name),
                )?;
                let key = def.ordinals(&def.primary_key).into_iter().map(usize::from).collect();
                transaction.apply(Change::TableCreated(def.id.0, def.name.clone(), key));
            }
            CatalogChange::TableTruncated(ERRORS_TABLE) => {
                asked(
                    &|d| matches!(d, Definition::ClearErrors { pipeline: None }),
                    "all errors are cleared".into(),
                )?;
                transaction.apply(Change::TableTruncated(ERRORS_TABLE.0));
            }
            CatalogChange::ErrorsCleared(id) => {
                let name = transaction.model().pipelines.get(&id.0).map(|p| p.name.clone());
                asked(
                    &|d| matches!(d, Definition::ClearErrors { pipeline: Some(n) } if Some(n) == name.as_ref()),
                    format!("errors of pipeline {name:?} are cleared"),
                )?;
                transaction.apply(Change::ErrorsCleared(id.0));
            }
            CatalogChange::TableDropped(id) | CatalogChange::TableTruncated(id) => {
                let truncated = matches!(change, CatalogChange::TableTruncated(_));
                let name = transaction.model().tables[&id.0].name.clone();
                let wanted = |d: &Definition| match d {
                    Definition::DropTable { name: n, .. } => !truncated && *n == name,
                    Definition::TruncateTable { name: n } => truncated && *n == name,
                    _ => false,
                };
                asked(&wanted, format!("rows of table {name} deleted"))?;
                let change =
                    if truncated { Change::TableTruncated(id.0) } else { Change::TableDropped(id.0) };
                transaction.apply(change);
            }
            CatalogChange::PipelineSet(def) => {
                self.fold_pipeline(transaction, kind, def, catalog, outside)?
            }
            CatalogChange::PipelineDropped(id) => transaction.apply(Change::PipelineDropped(id.0)),
            CatalogChange::CursorsSet { pipeline: id, .. }
            | CatalogChange::CursorsForgotten(id)
            | CatalogChange::DeadLettersRestarted(id) => {
                let is_its = |change: &CatalogChange| matches!(change, CatalogChange::PipelineSet(def) if def.id == *id);
                // What goes with a definition was folded with it.
                if !catalog.iter().any(is_its) {
                    self.fold_cursors(transaction, *id, catalog, outside)?;
                }
            }
        }
        Ok(())
    }

    fn fold_pipeline(
        &mut self,
        transaction: &mut Transaction<'_>,
        kind: RecordKind,
        def: &PipelineDef,
        catalog: &[CatalogChange],
        outside: &Outside<'_, '_>,
    ) -> Check {
        let name = &def.name;
        let before = transaction.model().pipelines.get(&def.id.0);
        let Progress { topic, cursors, dead_letters } = Progress::after(before, def.id, catalog);
        let now = Pipeline {
            name: name.clone(),
            definition: def.definition_sql.clone(),
            generation: def.generation.0,
            epoch: def.epoch.0,
            fetched: transaction.model().pipelines.get(&def.id.0).map_or(0, |before| before.fetched),
            table: def.table.0,
            topic,
            cursors,
            dead_letters,
            state: def.state.clone(),
        };
        if let Some(before) = transaction.model().pipelines.get(&def.id.0) {
            ensure("fenced", now.epoch >= before.epoch, || {
                format!("epoch of pipeline {name} falls from {} to {}", before.epoch, now.epoch)
            })?;
            self.check_state_change(before, &now)?;
            let starts = before.state != PipelineState::Running && now.state == PipelineState::Running;
            let restarted = catalog.contains(&CatalogChange::DeadLettersRestarted(def.id));
            ensure("honest", starts == restarted, || {
                format!("pipeline {name} starts: {starts}, its dead letters are counted anew: {restarted}")
            })?;
            let altered = self.definitions.iter().any(|d| is_alteration(d, &now.definition));
            ensure("honest", now.definition == before.definition || altered, || {
                format!("pipeline {name} has another definition without a request: {}", now.definition)
            })?;
            if now.generation == before.generation {
                let moved = before.cursors.iter().find(|(p, at)| now.cursors.get(p) != Some(at));
                ensure("monotonic", moved.is_none(), || {
                    format!("a definition moves cursor {moved:?} of pipeline {name} to {:?}", now.cursors)
                })?;
                self.check_first_seen(before, &now, outside)?;
            } else {
                self.check_rewind(before, &now, def, kind)?;
                self.counts.rewinds += 1;
            }
        } else {
            ensure("monotonic", now.generation == 1 && now.cursors.is_empty(), || {
                format!("new pipeline {now:?}")
            })?;
        }
        transaction.apply(Change::PipelineSet(def.id.0, Box::new(now)));
        Ok(())
    }

    /// First cursors of splits, in a record of their own.
    fn fold_cursors(
        &mut self,
        transaction: &mut Transaction<'_>,
        id: PipelineId,
        catalog: &[CatalogChange],
        outside: &Outside<'_, '_>,
    ) -> Check {
        let Some(before) = transaction.model().pipelines.get(&id.0) else {
            return Err(Violation::new("fenced", format!("cursors of pipeline {id}, which is deleted")));
        };
        let Progress { topic, cursors, dead_letters } = Progress::after(Some(before), id, catalog);
        let now = Pipeline { topic, cursors, dead_letters, ..before.clone() };
        let moved = before.cursors.iter().find(|(p, at)| now.cursors.get(p) != Some(at));
        let unasked = moved.is_some() || now.dead_letters != before.dead_letters;
        ensure("monotonic", !unasked, || format!("pipeline {before:?} became {now:?} unasked"))?;
        self.check_first_seen(before, &now, outside)?;
        transaction.apply(Change::PipelineSet(id.0, Box::new(now)));
        Ok(())
    }

    /// A pipeline is started and stopped by command, or stops by itself.
    fn check_state_change(&self, before: &Pipeline, now: &Pipeline) -> Check {
        let asked = |wanted: &dyn Fn(&Definition) -> bool| self.definitions.iter().any(wanted);
        let legal = match (&before.state, &now.state) {
            (before, now) if before == now => true,
            (_, PipelineState::Running) => {
                asked(&|d| matches!(d, Definition::StartPipeline { name, .. } if *name == now.name))
            }
            (PipelineState::Running, PipelineState::Stopped) => {
                self.stops_pipelines
                    || asked(&|d| matches!(d, Definition::StopPipeline { name, .. } if *name == now.name))
            }
            (PipelineState::Failed(_), PipelineState::Stopped) => {
                asked(&|d| is_alteration(d, &now.definition)) && now.definition != before.definition
            }
            (before, PipelineState::Failed(_)) => *before == PipelineState::Running,
            _ => false,
        };
        ensure("honest", legal, || format!("pipeline {before:?} became {:?} without a request", now.state))
    }

    /// A new partition starts at an offset that its topic has, or had (A11).
    fn check_first_seen(&self, before: &Pipeline, now: &Pipeline, outside: &Outside<'_, '_>) -> Check {
        let topic_known = before.topic.is_none() || before.topic == now.topic;
        ensure("honest", topic_known, || format!("pipeline {} continues in another topic", now.name))?;
        let Some(topic) = now.topic else { return Ok(()) };
        let rule = rule(outside, &now.name)?;
        for (partition, at) in now.cursors.iter().filter(|(p, _)| !before.cursors.contains_key(p)) {
            // Only a new pipeline may begin at the end: a partition added to a known topic is read from its start.
            let broker = &outside.brokers[rule.topic];
            let readable = match before.topic {
                None => broker.ever_told(topic, *partition, *at),
                Some(_) => broker.ever_began(topic, *partition, *at),
            };
            ensure("exactly once", readable, || {
                format!(
                    "pipeline {} first sees partition {partition} at {at}, where it never began (or, of a new pipeline, ended)",
                    now.name
                )
            })?;
        }
        Ok(())
    }

    fn check_rewind(&self, before: &Pipeline, now: &Pipeline, def: &PipelineDef, kind: RecordKind) -> Check {
        let anew = now.cursors.is_empty() && now.topic.is_none();
        let asked = self.definitions.iter().any(|d| match d {
            Definition::AlterPipeline(Alteration { source_changed: true, .. }) => {
                let is_it = is_alteration(d, &now.definition) && now.definition != before.definition;
                is_it && anew && def.start_at == StartAt::Earliest && kind == RecordKind::Catalog
            }
            _ if kind != RecordKind::Cursor => false,
            Definition::SetOffsets { name, offsets: Offsets::At(at) } if *name == now.name => {
                let mut cursors = before.cursors.clone();
                let at = at.iter().map(|(name, at)| (name.partition().unwrap_or(-1), at.ordinal()));
                cursors.extend(at);
                cursors == now.cursors && now.topic == before.topic
            }
            Definition::SetOffsets { name, offsets: Offsets::From(from) } if *name == now.name => {
                anew && *from == def.start_at
            }
            _ => false,
        });
        let legal = asked && now.generation == before.generation + 1;
        ensure("monotonic", legal, || format!("pipeline {before:?} became {now:?} without a request"))
    }
}

/// How far a pipeline is.
struct Progress {
    topic: Option<TopicId>,
    cursors: BTreeMap<i32, i64>,
    dead_letters: u64,
}

impl Progress {
    /// After a record's changes of one pipeline, in their order.
    fn after(before: Option<&Pipeline>, id: PipelineId, catalog: &[CatalogChange]) -> Progress {
        let mut now = match before {
            Some(Pipeline { topic, cursors, dead_letters, .. }) => {
                Progress { topic: *topic, cursors: cursors.clone(), dead_letters: *dead_letters }
            }
            None => Progress { topic: None, cursors: BTreeMap::new(), dead_letters: 0 },
        };
        for change in catalog {
            match change {
                CatalogChange::CursorsSet { pipeline, splits } if *pipeline == id => {
                    for set in splits {
                        now.topic = set.identity.as_ref().and_then(TopicId::of).or(now.topic);
                        now.cursors.insert(set.name.partition().unwrap_or(-1), set.position.ordinal());
                    }
                }
                CatalogChange::CursorsForgotten(pipeline) if *pipeline == id => {
                    now.topic = None;
                    now.cursors.clear();
                }
                CatalogChange::DeadLettersRestarted(pipeline) if *pipeline == id => now.dead_letters = 0,
                _ => {}
            }
        }
        now
    }
}

/// Whether a definition is this alteration of a pipeline. Each alteration has its own text.
fn is_alteration(asked: &Definition, definition: &str) -> bool {
    matches!(asked, Definition::AlterPipeline(Alteration { spec, .. }) if spec.definition_sql == definition)
}
