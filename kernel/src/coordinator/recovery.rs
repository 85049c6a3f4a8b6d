//! From the log to a running coordinator.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::staging::{Origin, WorkByShard};
use super::{Config, Coordinator, apply, requests};
use crate::coverage::{CoverageMark, reached};
use crate::error::{Error, Result, SqlState};
use crate::ids::*;
use crate::record::{Body, Commit, Open, Record, RecordKind};
use crate::schema::{Catalog, CatalogChange, PipelineDef, PipelineState};
use crate::snapshot::{ShardView, Snapshot};

/// The coordinator during recovery. It takes every record in order, then becomes a [`Coordinator`].
#[derive(Debug)]
pub struct Recovery {
    catalog: Catalog,
    opened: Option<Open>,
    last: Sequence,
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery::new()
    }
}

impl Recovery {
    /// Before the first record.
    pub fn new() -> Recovery {
        Recovery { catalog: Catalog::new(), opened: None, last: Sequence(0) }
    }

    /// The content of the first `open` record; None before it is read.
    pub fn opened(&self) -> Option<&Open> {
        self.opened.as_ref()
    }

    /// Takes the next record: advances catalog and cursors with the same function as live. The host hands the record's
    /// outcomes to the shards ([`crate::Shard::replay`]), in parallel. An error means corruption: refuse to start.
    pub fn replay(&mut self, record: &Record) -> Result<()> {
        let corrupt = |text: String| Err(Error::new(SqlState::DATA_CORRUPTED, text));
        if record.sequence != self.last.next() {
            return corrupt(format!("log record {} follows {}", record.sequence, self.last));
        }
        match &record.body {
            Body::Open(open) => match &self.opened {
                None => self.opened = Some(open.clone()),
                Some(first) if first.database != open.database || first.shard_count != open.shard_count => {
                    return corrupt(format!("log record {} opens another database", record.sequence));
                }
                Some(_) => {}
            },
            _ if self.opened.is_none() => {
                return corrupt("the log does not begin with an open record".into());
            }
            Body::Commit(_, commit) => apply::apply(&mut self.catalog, commit)?,
            Body::SyncMarker => {}
        }
        self.last = record.sequence;
        Ok(())
    }

    /// Ends recovery. `open` is this term's durable `open` record; `views` are the shards' first views, by shard. Readers
    /// begin with [`Coordinator::published`]. The first effects start the running pipelines again.
    pub fn finish(
        mut self,
        config: Config,
        now_us: Micros,
        open: &Record,
        views: Vec<Arc<ShardView>>,
    ) -> Result<Coordinator> {
        if self.last != open.sequence {
            self.replay(open)?;
        }
        let mut coordinator = self.coordinator(config, now_us, views)?;
        let catalog = coordinator.tip.clone();
        let running = || catalog.pipelines.values().filter(|p| p.state == PipelineState::Running);
        if coordinator.config.pipelines_stopped {
            coordinator.stop_recovered(running().cloned().collect());
        } else {
            for pipeline in running() {
                let epoch = coordinator.new_epoch();
                coordinator.open_source(pipeline.clone(), epoch);
            }
        }
        coordinator.ask_for_wake_up();
        Ok(coordinator)
    }

    /// An idle coordinator at the last replayed record.
    pub(super) fn coordinator(
        self,
        config: Config,
        now_us: Micros,
        views: Vec<Arc<ShardView>>,
    ) -> Result<Coordinator> {
        let opened = self.opened.ok_or_else(|| {
            Error::new(SqlState::DATA_CORRUPTED, "no open record was replayed, so there is no database")
        })?;
        let shard_count = opened.shard_count;
        assert_eq!(views.len(), shard_count as usize, "one view per shard");
        let catalog = Arc::new(self.catalog);
        Ok(Coordinator {
            config,
            shard_count,
            now_us,
            effects: VecDeque::new(),
            poisoned: false,
            read_only: false,
            held: false,
            last_epoch: catalog.last_epoch,
            tip: catalog.clone(),
            next_sequence: self.last.next(),
            staging: None,
            in_flight: VecDeque::new(),
            publishing: None,
            published: Snapshot { sequence: self.last, catalog, shards: views },
            superseded: BTreeSet::new(),
            durable: self.last,
            sync_marker_written: true,
            last_append_us: now_us,
            requests: requests::Requests::default(),
            pipelines: BTreeMap::new(),
            batch_turn: false,
            wake_at_us: None,
        })
    }

    /// Definitions and cursors after the last record.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The last replayed record.
    pub fn last(&self) -> Sequence {
        self.last
    }
}

impl Coordinator {
    /// Stages one record that stops the running pipelines. START runs them again from their offsets.
    fn stop_recovered(&mut self, running: Vec<Arc<PipelineDef>>) {
        if running.is_empty() {
            return;
        }
        reached(CoverageMark::StoppedAtStart);
        let stopped = |pipeline: &Arc<PipelineDef>| {
            let epoch = self.new_epoch();
            let altered_at_us = self.now_us;
            let state = PipelineState::Stopped;
            CatalogChange::PipelineSet(PipelineDef { state, epoch, altered_at_us, ..(**pipeline).clone() })
        };
        let catalog = running.iter().map(stopped).collect();
        let commit = Commit { at_us: self.now_us, catalog, ..Commit::default() };
        self.stage(RecordKind::Catalog, Origin::Own, commit, WorkByShard::new());
    }
}
