//! The times of records: their timestamps, the pause between a pipeline's batches, the sync marker of an idle log.
//! `super` checks the rest of the records.

use std::collections::BTreeMap;

use kernel::Micros;
use kernel::record::{Body, Commit, RecordKind};
use kernel::schema::{CatalogChange, PipelineState};

use super::{Check, ensure};

/// The kernel's time, which never goes back, and the times of the last records.
#[derive(Debug, Default)]
pub(super) struct Pace {
    now_us: Micros,
    last_at_us: Micros,
    last_append_us: Micros,
    last_kind: Option<RecordKind>,
    /// Least pause between two batches, by pipeline.
    interval_us: BTreeMap<u32, i64>,
    /// Time of the last batch, for pipelines that were not restarted since.
    last_batch_us: BTreeMap<u32, Micros>,
}

impl Pace {
    /// A term begins, with its open record.
    pub fn begin(&mut self, now_us: Micros) {
        let last_kind = Some(RecordKind::Open);
        *self = Pace { now_us, last_at_us: now_us, last_append_us: now_us, last_kind, ..Pace::default() };
    }

    /// What the definitions say that are there: a crash may have taken back the last ones.
    pub fn recovered(&mut self, interval_us: BTreeMap<u32, i64>) {
        self.interval_us = interval_us;
    }

    /// The kernel gets the time.
    pub fn told(&mut self, now_us: Micros) {
        self.now_us = self.now_us.max(now_us);
    }

    /// The last record is a sync marker, or the first of its term.
    pub fn has_sync_marker(&self) -> bool {
        self.last_kind.is_none_or(|kind| matches!(kind, RecordKind::SyncMarker | RecordKind::Open))
    }

    /// When a sync marker is due, if nothing else happens until then.
    pub fn sync_marker_due_us(&self, sync_marker_idle_us: i64) -> Option<Micros> {
        (!self.has_sync_marker()).then_some(self.last_append_us + sync_marker_idle_us)
    }

    /// A record is written; `published` if nothing before it is unpublished.
    pub fn appended(&mut self, body: &Body, published: bool, sync_marker_idle_us: i64) -> Check {
        let kind = match body {
            Body::Open(_) => RecordKind::Open,
            Body::SyncMarker => RecordKind::SyncMarker,
            Body::Commit(kind, commit) => {
                self.commit(*kind, commit)?;
                *kind
            }
        };
        let idle_us = self.now_us - self.last_append_us;
        let is_due = published && !self.has_sync_marker() && idle_us >= sync_marker_idle_us;
        ensure("bounded", kind != RecordKind::SyncMarker || is_due, || {
            format!(
                "a sync marker after {:?}, {idle_us} us idle, all published: {published}; due after {sync_marker_idle_us} us",
                self.last_kind
            )
        })?;
        (self.last_append_us, self.last_kind) = (self.now_us, Some(kind));
        Ok(())
    }

    fn commit(&mut self, kind: RecordKind, commit: &Commit) -> Check {
        let at_us = commit.at_us;
        ensure("monotonic", (self.last_at_us..=self.now_us).contains(&at_us), || {
            format!("a record of {at_us} us after one of {} us, at {} us", self.last_at_us, self.now_us)
        })?;
        self.last_at_us = at_us;
        if kind == RecordKind::Batch {
            self.batch(commit)?;
        }
        // A batch may stop its pipeline.
        for change in &commit.catalog {
            if let CatalogChange::PipelineSet(def) = change {
                self.interval_us.insert(def.id.0, def.batch_interval_us);
                if def.state != PipelineState::Running {
                    self.last_batch_us.remove(&def.id.0);
                }
            }
        }
        Ok(())
    }

    fn batch(&mut self, commit: &Commit) -> Check {
        let pipelines: std::collections::BTreeSet<u32> =
            commit.cursors.iter().map(|a| a.pipeline.0).collect();
        for pipeline in pipelines {
            let interval_us = self.interval_us.get(&pipeline).copied().unwrap_or_default();
            if let Some(before) = self.last_batch_us.insert(pipeline, commit.at_us) {
                ensure("bounded", commit.at_us - before >= interval_us, || {
                    format!(
                        "pipeline {pipeline} has a batch {} us after the previous one, {interval_us} us are the least",
                        commit.at_us - before
                    )
                })?;
            }
        }
        Ok(())
    }
}
