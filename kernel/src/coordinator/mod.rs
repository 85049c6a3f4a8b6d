//! The control plane: catalog, cursors, order of batches, head of the log. The coordinator handles messages per batch,
//! never rows. Rows pass through it as owned columns that it does not read.
//!
//! The states of a record: *staging* (one at a time; shards compute its outcome) → *in flight* (appended, being synced;
//! several) → *publishing* (durable; shards swap their views) → published. Then its clients are answered and its
//! credits returned. `requests` (clients) and `batch` (pipelines) start records. `sources` runs each source. `define`
//! turns DDL into logged outcomes. `apply` is the one function that changes the catalog, live and in recovery.

mod apply;
mod batch;
mod define;
mod errors_table;
mod pacing;
mod publish;
mod quiesced_state;
mod recovery;
mod requests;
mod sources;
mod staging;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use minicbor::{Decode, Encode};

use crate::coverage::{CoverageMark, reached};
use crate::error::{Error, SqlState};
use crate::event::Event;
use crate::ids::*;
use crate::message::{Effect, Input, ShardReply};
use crate::schema::{Catalog, CursorSet};
use crate::snapshot::Snapshot;

pub use pacing::Pacing;
pub use quiesced_state::{QuiescedCore, QuiescedState};
pub use recovery::Recovery;

/// Explicit limits (invariant 9). The defaults are for a small server.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Config {
    /// Records that are staged or appended and not yet published.
    #[n(0)]
    pub unsynced_records_max: usize,
    /// Source bytes of one pipeline that may be extracted and not yet published.
    #[n(1)]
    pub pipeline_credit_bytes: u64,
    /// Waiting client requests.
    #[n(2)]
    pub requests_waiting_max: usize,
    /// When sources are asked for metadata, batches closed and failures retried.
    #[n(3)]
    pub pacing: Pacing,
    /// After this time without a record a sync marker is written. It proves that the last commit is durable.
    #[n(4)]
    pub sync_marker_idle_us: i64,
    /// Bytes of dead letters in one set of columns. Arrow's offsets have 31 bits; more dead letters become several
    /// sets.
    #[n(5)]
    pub dead_letter_bytes_max: usize,
    /// Stop all running pipelines when this term begins, before any source is opened. So the server starts even if a
    /// pipeline makes it fail.
    #[n(6)]
    pub pipelines_stopped: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            unsynced_records_max: 16,
            pipeline_credit_bytes: 64 << 20,
            requests_waiting_max: 4096,
            pacing: Pacing::default(),
            sync_marker_idle_us: 200_000,
            dead_letter_bytes_max: 256 << 20,
            pipelines_stopped: false,
        }
    }
}

/// A record that a source needs before any of its batches.
enum OwnRecord {
    /// The pipeline stops with this error.
    Failure(Error),
    /// An error of a source that is retried.
    Report(Error),
    /// First cursors of splits.
    Splits(Vec<CursorSet>),
}

/// The coordinator of a database. Made by [`Recovery::finish`].
#[derive(Clone, Debug)]
pub struct Coordinator {
    config: Config,
    shard_count: u16,
    now_us: Micros,
    effects: VecDeque<Effect>,
    /// Set by a failed append or sync. Nothing happens after it (fault B3).
    poisoned: bool,
    /// Free disk space is below the reserve: no record is started.
    read_only: bool,
    /// The host has requested a quiesced state: no record is started. See [`hold`](Coordinator::hold).
    held: bool,

    /// Catalog after the last staged record.
    tip: Arc<Catalog>,
    /// Sequence of the next record.
    next_sequence: Sequence,
    staging: Option<staging::Staging>,
    in_flight: VecDeque<publish::InFlight>,
    publishing: Option<publish::Publishing>,
    published: Snapshot,
    /// Snapshots that were published, and replaced by a newer one, and that the host has not released: somebody may
    /// read them.
    superseded: BTreeSet<Sequence>,
    /// Highest sequence that is durable.
    durable: Sequence,
    /// The last record was a sync marker. Another one would add nothing.
    sync_marker_written: bool,
    last_append_us: Micros,

    requests: requests::Requests,
    pipelines: BTreeMap<PipelineId, sources::ActiveSource>,
    /// Who starts the next record if both can: a pipeline's batch or a client.
    batch_turn: bool,
    last_epoch: Epoch,
    wake_at_us: Option<Micros>,
}

impl Coordinator {
    /// Takes one input. All its effects are carried out before the next one: [`drive`](crate::drive) does both.
    pub fn handle(&mut self, now_us: Micros, input: Input) {
        if self.poisoned {
            return;
        }
        // The wall clock may go back (fault B7); the kernel's time never does.
        if now_us < self.now_us {
            reached(CoverageMark::ClockWentBack);
        }
        self.now_us = self.now_us.max(now_us);
        match input {
            Input::Extracted(extract) => self.extracted(extract),
            Input::SourceOpened { pipeline, epoch, metadata } => {
                self.source_opened(pipeline, epoch, metadata)
            }
            Input::SourceVerified { pipeline, epoch, token, metadata } => {
                self.source_verified(pipeline, epoch, token, metadata)
            }
            Input::SourceFailed { pipeline, epoch, failure } => self.source_failed(pipeline, epoch, failure),
            Input::Shard { shard, reply } => self.shard_replied(shard, reply),
            Input::Synced { through } => self.synced(through),
            Input::LogFailed { error } => return self.halt(error),
            Input::DiskSpace { sufficient } => self.disk_space(sufficient),
            Input::SnapshotReleased { sequence } => self.snapshot_released(sequence),
            Input::Request { id, request } => self.request(id, request),
            Input::Tick => {}
        }
        self.advance();
    }

    /// The next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The newest published state.
    pub fn published(&self) -> &Snapshot {
        &self.published
    }

    /// Sequences of the published snapshots that a newer one has replaced and that the host has not released yet.
    pub fn superseded(&self) -> &BTreeSet<Sequence> {
        &self.superseded
    }

    /// Definitions and cursors after the last staged record, as in effects. They may not be durable yet.
    pub fn tip(&self) -> &Arc<Catalog> {
        &self.tip
    }

    /// Sequence of the last staged record and of the last durable one. A crash may lose the records between them.
    pub fn staged_and_durable(&self) -> (Sequence, Sequence) {
        (Sequence(self.next_sequence.0 - 1), self.durable)
    }

    /// Starts all work that follows from the state and not from one input.
    fn advance(&mut self) {
        self.run_timers();
        while self.staging.is_none() && self.start_record() {}
        self.write_sync_marker_if_idle();
        self.ask_for_wake_up();
        assert!(self.in_flight.len() <= self.config.unsynced_records_max, "records in flight are bounded");
        assert!(self.published.sequence <= self.durable, "a published record is durable");
    }

    /// Starts staging the next record, alternately of a client and of a pipeline batch. False if there is none. A
    /// request that ends at once (an error, a no-op) counts as started.
    fn start_record(&mut self) -> bool {
        if self.held {
            return false;
        }
        if self.in_flight.len() >= self.config.unsynced_records_max {
            reached(CoverageMark::WindowFull);
            return false;
        }
        for batch in [self.batch_turn, !self.batch_turn] {
            let started = if batch { self.start_batch() } else { self.start_request() };
            if started {
                self.batch_turn = !batch;
                return true;
            }
        }
        false
    }

    fn shard_replied(&mut self, shard: ShardId, reply: ShardReply) {
        assert!((0..self.shard_count).contains(&shard.0), "the shard exists in this database");
        match reply {
            ShardReply::Staged { sequence, outcome, counts, ignored, rejected } => {
                self.staged(shard, sequence, outcome, counts, ignored, rejected)
            }
            ShardReply::Abandoned { .. } => {}
            ShardReply::Published { through, view } => self.shard_published(shard, through, view),
            ShardReply::Tip { table_lock, view } => self.tip_viewed(shard, table_lock, view),
        }
    }

    fn disk_space(&mut self, sufficient: bool) {
        if !sufficient && self.staging.is_some() {
            reached(CoverageMark::ReadOnlyWhileStaging);
        }
        if self.read_only == sufficient {
            if sufficient {
                reached(CoverageMark::ReadWriteAgain);
            }
            let event = if sufficient { Event::ReadWrite } else { Event::ReadOnly };
            self.effects.push_back(Effect::Event(event));
        }
        self.read_only = !sufficient;
    }

    fn disk_full(&self) -> Error {
        Error::new(
            SqlState::DISK_FULL,
            "the disk is almost full, so the database is read-only; nothing was changed. Free disk space and try again",
        )
    }

    fn halt(&mut self, error: Error) {
        if !self.in_flight.is_empty() {
            reached(CoverageMark::HaltedWithRecordsInFlight);
        }
        self.poisoned = true;
        self.effects.clear();
        self.effects.push_back(Effect::Halt(error));
    }

    /// A new epoch, higher than all before.
    fn new_epoch(&mut self) -> Epoch {
        self.last_epoch = Epoch(self.last_epoch.max(self.tip.last_epoch).0 + 1);
        self.last_epoch
    }

    /// The parts that its future depends on: see [`crate::fingerprint`]. Its effects are drained.
    #[cfg(feature = "explore")]
    pub fn fingerprint(&self) -> crate::fingerprint::StateFingerprint {
        let Coordinator {
            config: _,
            shard_count,
            now_us,
            effects,
            poisoned,
            read_only,
            held,
            tip,
            next_sequence,
            staging,
            in_flight,
            publishing,
            // The rows of views are the shards' rows at publication; the search compares these with the records.
            published: Snapshot { sequence, catalog, shards: _ },
            superseded,
            durable,
            sync_marker_written,
            last_append_us: _,
            requests,
            pipelines,
            batch_turn,
            last_epoch: _,
            wake_at_us: _,
        } = self;
        assert!(effects.is_empty(), "all effects are drained");
        let epochs = pipelines.iter().map(|(id, source)| (*id, source.epoch)).collect();
        let mut to = crate::fingerprint::StateFingerprint::new(*sequence, epochs);
        to.word(*shard_count);
        to.word(*poisoned);
        to.word(*read_only);
        to.word(*held);
        to.catalog(tip);
        to.sequence(*next_sequence);
        to.word(staging.is_some());
        staging.iter().for_each(|staging| staging.fingerprint(&mut to));
        to.count(in_flight.len());
        in_flight.iter().for_each(|record| record.fingerprint(&mut to));
        to.word(publishing.is_some());
        publishing.iter().for_each(|publishing| publishing.fingerprint(&mut to));
        to.catalog(catalog);
        superseded.iter().for_each(|older| to.sequence(*older));
        to.count(superseded.len());
        to.sequence(*durable);
        to.word(*sync_marker_written);
        to.word(self.sync_marker_due().is_some_and(|due_us| due_us <= *now_us));
        requests.fingerprint(&mut to);
        to.count(pipelines.len());
        for (id, source) in pipelines {
            to.word(id.0);
            source.fingerprint(&mut to);
            self.timers_due(*id, source).into_iter().for_each(|due| to.word(due));
        }
        to.word(*batch_turn);
        to
    }

    fn ask_for_wake_up(&mut self) {
        let next = [self.next_pipeline_timer(), self.sync_marker_due()].into_iter().flatten().min();
        if next != self.wake_at_us {
            self.wake_at_us = next;
            if let Some(at_us) = next {
                self.effects.push_back(Effect::WakeAt(at_us));
            }
        }
    }
}
