//! Counters and last answers for the status views. No decision depends on them.

use kernel::cursors::Cursors;
use kernel::message::SplitMetadata;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use kernel::message::SourceMetadata;
use kernel::schema::{Catalog, PipelineDef};
use kernel::{Error, Extract, PipelineId, Snapshot, SplitName, SqlState};
use parking_lot::Mutex;
use tidemark_database::{PipelineStatus, SplitStatus};

use crate::ports::pipeline::OpenSource;
use crate::ports::published::PublishedCell;

/// Shared by the coordinator's thread, which writes, and the handles, which read.
pub(crate) struct Status {
    /// Why the kernel has halted, once it has.
    pub stopped: OnceLock<Error>,
    /// What readers see.
    pub published: PublishedCell,
    pipelines: Mutex<BTreeMap<PipelineId, Arc<PipelineWatch>>>,
    /// Records published since the process started.
    pub records: AtomicU64,
}

/// The status of one pipeline.
#[derive(Default)]
pub(crate) struct PipelineWatch {
    messages: AtomicU64,
    source_bytes: AtomicU64,
    batches: AtomicU64,
    last_error: Mutex<Option<Error>>,
    metadata: Mutex<BTreeMap<SplitName, (i64, i64)>>,
    source: Mutex<Option<OpenSource>>,
    rate: Mutex<Rate>,
}

impl Status {
    pub(crate) fn new(published: PublishedCell) -> Status {
        Status {
            stopped: OnceLock::new(),
            published,
            pipelines: Mutex::default(),
            records: AtomicU64::new(0),
        }
    }

    /// The error for requests to a stopped kernel.
    pub(crate) fn why_stopped(&self) -> Error {
        let shutdown = || Error::new(SqlState::ADMIN_SHUTDOWN, "the database is shutting down");
        self.stopped.get().cloned().unwrap_or_else(shutdown)
    }

    /// The published catalog; an empty one once the database has stopped.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        self.published.load().map(|snapshot| snapshot.catalog.clone()).unwrap_or_default()
    }

    pub(crate) fn pipeline(&self, id: PipelineId) -> Arc<PipelineWatch> {
        self.pipelines.lock().entry(id).or_default().clone()
    }

    /// Readers see this snapshot from now on.
    pub(crate) fn publish(&self, snapshot: Snapshot) {
        self.records.fetch_add(1, Ordering::Relaxed);
        let (before, catalog) = (self.catalog(), snapshot.catalog.clone());
        self.published.store(snapshot);
        let mut pipelines = self.pipelines.lock();
        pipelines.retain(|id, _| catalog.pipelines.contains_key(id) || !before.pipelines.contains_key(id));
        for id in catalog.pipelines.keys() {
            let moved = before.cursors.get(id).is_some_and(|before| *before != catalog.cursors[id]);
            if moved && let Some(watch) = pipelines.get(id) {
                watch.batches.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    pub(crate) fn pipelines(&self) -> Vec<PipelineStatus> {
        let catalog = self.catalog();
        let status = |pipeline: &Arc<PipelineDef>| {
            self.pipeline(pipeline.id).status(pipeline, &catalog.cursors[&pipeline.id])
        };
        let mut all: Vec<_> = catalog.pipelines.values().map(status).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
}

impl PipelineWatch {
    pub(crate) fn source_opening(&self, source: OpenSource) {
        *self.source.lock() = Some(source);
    }

    /// The source's last answers are outdated: until it is opened again they are not shown.
    pub(crate) fn source_closed(&self) {
        *self.source.lock() = None;
        self.metadata.lock().clear();
    }

    pub(crate) fn source_read(&self, metadata: &SourceMetadata) {
        let bounds = |(name, split): (&SplitName, &SplitMetadata)| {
            (name.clone(), (split.earliest.ordinal(), split.end.ordinal()))
        };
        *self.metadata.lock() = metadata.splits.iter().map(bounds).collect();
        *self.last_error.lock() = None;
    }

    pub(crate) fn source_failed(&self, error: Error) {
        *self.last_error.lock() = Some(error);
    }

    pub(crate) fn extracted(&self, extract: &Extract) {
        self.messages.fetch_add(extract.messages, Ordering::Relaxed);
        self.source_bytes.fetch_add(extract.source_bytes, Ordering::Relaxed);
        self.rate.lock().add(Instant::now(), extract.messages);
    }

    fn watermarks(&self) -> BTreeMap<SplitName, (i64, i64)> {
        let mut known = self.metadata.lock().clone();
        let source = self.source.lock().as_ref().and_then(|source| source.get().cloned());
        for (split, earliest, latest) in source.iter().flat_map(|source| source.watermarks()) {
            known.insert(split, (earliest, latest));
        }
        known
    }

    /// End of each split, open transactions included, and what these hold back.
    fn high_watermarks(&self) -> (BTreeMap<SplitName, i64>, BTreeMap<SplitName, i64>) {
        let source = self.source.lock().as_ref().and_then(|source| source.get().cloned());
        let held_back = source.iter().flat_map(|source| source.held_back()).collect();
        (source.iter().flat_map(|source| source.high_watermarks()).collect(), held_back)
    }

    fn status(&self, pipeline: &PipelineDef, cursors: &Cursors) -> PipelineStatus {
        let (watermarks, (high_watermarks, held_back)) = (self.watermarks(), self.high_watermarks());
        let seen =
            cursors.splits().filter(|(_, split)| split.position.is_some()).map(|(_, split)| &split.name);
        let mut names: Vec<SplitName> = watermarks.keys().chain(seen).cloned().collect();
        // Partitions by number, other splits by name.
        names.sort_by(|a, b| (a.partition(), a).cmp(&(b.partition(), b)));
        names.dedup();
        let status = |split: SplitName| {
            let next = cursors.named(&split).and_then(|(_, split)| split.position).map(|at| at.ordinal());
            let (earliest, latest) = watermarks.get(&split).copied().unzip();
            // Each value has the age of its own answer; the end is at least the last stable offset.
            let high = latest.map(|latest| latest.max(high_watermarks.get(&split).copied().unwrap_or(0)));
            // A watermark may be older than the cursor.
            let lag = high.zip(next).map(|(high, next): (i64, i64)| (high - next).max(0));
            // It was requested earlier: messages read since are no longer held back.
            let held_back = lag.map(|lag| held_back.get(&split).copied().unwrap_or(0).min(lag));
            SplitStatus { split, earliest, latest, high, next, lag, held_back }
        };
        PipelineStatus {
            pipeline: pipeline.id,
            name: pipeline.name.clone(),
            state: pipeline.state.clone(),
            last_error: self.last_error.lock().clone(),
            messages: self.messages.load(Ordering::Relaxed),
            source_bytes: self.source_bytes.load(Ordering::Relaxed),
            messages_per_second: self.rate.lock().per_second(Instant::now()),
            batches: self.batches.load(Ordering::Relaxed),
            splits: names.into_iter().map(status).collect(),
        }
    }
}

/// A count over the last seconds.
#[derive(Debug, Default)]
struct Rate {
    /// Counts per tenth of a second, oldest first.
    slices: VecDeque<(Instant, u64)>,
}

impl Rate {
    const WINDOW: Duration = Duration::from_secs(3);
    const SLICE: Duration = Duration::from_millis(100);

    fn add(&mut self, now: Instant, count: u64) {
        match self.slices.back_mut() {
            Some((begun, counted)) if now.duration_since(*begun) < Self::SLICE => *counted += count,
            _ => self.slices.push_back((now, count)),
        }
        self.forget(now);
    }

    fn forget(&mut self, now: Instant) {
        while self.slices.front().is_some_and(|(begun, _)| now.duration_since(*begun) > Self::WINDOW) {
            self.slices.pop_front();
        }
    }

    fn per_second(&mut self, now: Instant) -> f64 {
        self.forget(now);
        let counted: u64 = self.slices.iter().map(|(_, count)| count).sum();
        // A window that has just begun is not stretched to less than a second.
        let oldest = self.slices.front().map_or(Duration::ZERO, |(begun, _)| now.duration_since(*begun));
        counted as f64 / oldest.max(Duration::from_secs(1)).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_forgets_what_is_older_than_its_window() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        for tenth in 0..50 {
            rate.add(start + Duration::from_millis(tenth * 100), 10);
        }
        let at = start + Duration::from_millis(4_900);
        assert!((90.0..=110.0).contains(&rate.per_second(at)), "{}", rate.per_second(at));
        assert_eq!(rate.per_second(at + Duration::from_secs(10)), 0.0);
    }
}
