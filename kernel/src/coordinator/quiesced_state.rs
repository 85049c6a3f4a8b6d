//! The state of a quiesced coordinator, as data: all state that no record of the log has. A recording begins each new
//! file with it, so that a replay can start in the middle of a term: the log up to a sequence, this state, then the
//! later inputs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use minicbor::{Decode, Encode};

use super::requests::{TableLock, Waiting};
use super::sources::ActiveSource;
use super::{Config, Coordinator, Recovery};
use crate::error::{Error, Result, SqlState};
use crate::extract::Extract;
use crate::ids::*;
use crate::message::Request;
use crate::snapshot::ShardView;

/// The state of a quiesced coordinator beside the log: see [`Coordinator::quiesced_state`].
#[derive(Clone, Debug)]
pub struct QuiescedState {
    /// The last record. It is published.
    pub sequence: Sequence,
    /// The plain data.
    pub core: QuiescedCore,
    /// Extracts that are in no record yet. For each pipeline the verified ones, then those that a metadata request
    /// verifies, then the others.
    pub extracts: Vec<Extract>,
    /// Waiting requests.
    pub waiting: Vec<(RequestId, Request)>,
}

/// The plain part of a [`QuiescedState`]; opaque, to be stored and handed back.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
pub struct QuiescedCore {
    #[n(0)]
    now_us: Micros,
    #[n(1)]
    read_only: bool,
    #[n(2)]
    sync_marker_written: bool,
    #[n(3)]
    last_append_us: Micros,
    #[n(4)]
    batch_turn: bool,
    #[n(5)]
    last_epoch: Epoch,
    #[n(6)]
    wake_at_us: Option<Micros>,
    #[n(7)]
    table_locks: BTreeMap<TableLockId, BTreeSet<TableId>>,
    #[n(8)]
    last_table_lock: u64,
    #[n(9)]
    superseded: BTreeSet<Sequence>,
    #[n(10)]
    sources: BTreeMap<PipelineId, QuiescedSource>,
}

/// An active source without its extracts, and their numbers: verified, verifying, fetched.
#[derive(Clone, Debug, Encode, Decode)]
#[cbor(map)]
struct QuiescedSource {
    #[n(0)]
    source: ActiveSource,
    #[n(1)]
    counts: [usize; 3],
}

impl Coordinator {
    /// Sets whether the coordinator is held. A held coordinator starts no record, so it quiesces within a sync; all
    /// other work continues. After the release feed [`Input::Tick`](crate::Input::Tick), which starts the waiting work.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// True if no record is staged, in flight or being published, no tip is being viewed, and no effect is undrained.
    /// Once the shards have answered every command, their state follows from the log.
    pub fn is_quiesced(&self) -> bool {
        let setting_up = self.requests.table_locks.values().any(|table_lock| table_lock.setting_up.is_some());
        self.staging.is_none()
            && self.in_flight.is_empty()
            && self.publishing.is_none()
            && self.effects.is_empty()
            && !setting_up
            && !self.poisoned
    }

    /// All state that is in no record. Call it only on a quiesced coordinator.
    pub fn quiesced_state(&self) -> QuiescedState {
        assert!(self.is_quiesced(), "the coordinator is quiesced");
        let mut extracts = vec![];
        let mut sources = BTreeMap::new();
        for (id, source) in &self.pipelines {
            let mut source = source.clone();
            let stages = source.take_extracts();
            let counts = [0, 1, 2].map(|stage| stages[stage].len());
            extracts.extend(stages.into_iter().flatten());
            sources.insert(*id, QuiescedSource { source, counts });
        }
        let requests = &self.requests;
        let core = QuiescedCore {
            now_us: self.now_us,
            read_only: self.read_only,
            sync_marker_written: self.sync_marker_written,
            last_append_us: self.last_append_us,
            batch_turn: self.batch_turn,
            last_epoch: self.last_epoch,
            wake_at_us: self.wake_at_us,
            table_locks: requests.table_locks.iter().map(|(id, b)| (*id, b.tables.clone())).collect(),
            last_table_lock: requests.last_table_lock,
            superseded: self.superseded.clone(),
            sources,
        };
        let waiting = requests.waiting.iter().map(|(id, waiting)| (*id, waiting.request())).collect();
        QuiescedState { sequence: self.published.sequence, core, extracts, waiting }
    }
}

impl Recovery {
    /// Restores a quiesced coordinator after the log was replayed up to its sequence. An error means that state and log
    /// do not match.
    pub fn resume(
        self,
        config: Config,
        quiesced_state: QuiescedState,
        views: Vec<Arc<ShardView>>,
    ) -> Result<Coordinator> {
        let misfit = |what: String| Error::new(SqlState::DATA_CORRUPTED, what);
        let QuiescedState { sequence, core, extracts, waiting } = quiesced_state;
        if self.last() != sequence {
            let last = self.last();
            return Err(misfit(format!("the state is of record {sequence}, the log ends at record {last}")));
        }
        let mut coordinator = self.coordinator(config, core.now_us, views)?;
        coordinator.read_only = core.read_only;
        coordinator.sync_marker_written = core.sync_marker_written;
        coordinator.last_append_us = core.last_append_us;
        coordinator.batch_turn = core.batch_turn;
        coordinator.last_epoch = core.last_epoch;
        coordinator.wake_at_us = core.wake_at_us;
        coordinator.requests.last_table_lock = core.last_table_lock;
        coordinator.superseded = core.superseded;
        let table_locks = core.table_locks.into_iter();
        coordinator.requests.table_locks =
            table_locks.map(|(id, tables)| (id, TableLock { tables, setting_up: None })).collect();
        for (id, request) in waiting {
            let waiting = Waiting::of(request)
                .ok_or_else(|| misfit(format!("request {} is of a kind that never waits", id.0)))?;
            coordinator.requests.waiting.push_back((id, waiting));
        }
        let mut extracts = extracts.into_iter();
        for (id, QuiescedSource { mut source, counts }) in core.sources {
            if !coordinator.tip.pipelines.contains_key(&id) {
                return Err(misfit(format!("pipeline {id} has a source, but is not in the log")));
            }
            let stages = counts.map(|count| extracts.by_ref().take(count).collect());
            if !source.put_extracts(stages) {
                return Err(misfit(format!("pipeline {id} has extracts of a source that is not open")));
            }
            coordinator.pipelines.insert(id, source);
        }
        Ok(coordinator)
    }
}
