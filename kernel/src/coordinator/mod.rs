//! The control plane: catalog, cursors, order of batches, log head. It handles messages per batch, never rows; rows pass
//! through it as owned columns that it does not look into.
//!
//! The life of a record: *staging* (one at a time: shards compute its outcome) → *in flight* (appended, being synced; several)
//! → *publishing* (durable, shards swap their views) → published, answered, its credits given back. What starts a record:
//! `requests` (clients) and `batch` (pipelines); `sources` runs the life of each source; `define` turns DDL into logged
//! outcomes; `apply` is the one function that changes the catalog, live and in recovery.

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

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::coverage::{CoverageMark, reached};
use crate::defects::{self, Defect};
use crate::error::{Error, SqlState};
use crate::ids::*;
use crate::message::{Effect, Input, ShardReply};
use crate::schema::{Catalog, CursorSet};
use crate::snapshot::Snapshot;

pub use pacing::Pacing;
pub use quiesced_state::{QuiescedCore, QuiescedState};
pub use recovery::Recovery;

/// Limits, all of them explicit (invariant 9). Defaults are for a small server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Records staged or appended and not yet published.
    pub unsynced_records_max: usize,
    /// Source bytes that one pipeline may have extracted and not yet published.
    pub pipeline_credit_bytes: u64,
    /// Client requests waiting.
    pub requests_waiting_max: usize,
    /// When sources are asked, batches closed and failures tried again.
    pub pacing: Pacing,
    /// A sync marker is written when nothing was logged for this long, so that the last commit is known to be synced.
    pub sync_marker_idle_us: i64,
    /// Bytes of messages that are set aside in one set of columns, whose offsets have 31 bits; more become several.
    pub dead_letter_bytes_max: usize,
    /// What ran before is stopped when this life begins, before any source is opened: a way in, whatever a pipeline does.
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

/// What a source needs logged before any batch of it.
enum OwnRecord {
    /// The pipeline stops with this error.
    Failure(Error),
    /// An error of a source that is tried again.
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
    /// Set by a failed append or sync; nothing happens ever after (fault B3).
    poisoned: bool,
    /// The disk is below its reserve: nothing new is logged.
    read_only: bool,
    /// The host wants rest: no record is begun, see [`hold`](Coordinator::hold).
    held: bool,

    /// Catalog after the last staged record.
    tip: Arc<Catalog>,
    /// Sequence that the next record gets.
    next_sequence: Sequence,
    staging: Option<staging::Staging>,
    in_flight: VecDeque<publish::InFlight>,
    publishing: Option<publish::Publishing>,
    published: Snapshot,
    /// Highest sequence that the log called durable.
    durable: Sequence,
    /// The last record said nothing but `synced_through`; another one would say nothing new.
    sync_marker_written: bool,
    last_append_us: Micros,

    requests: requests::Requests,
    pipelines: BTreeMap<PipelineId, sources::ActiveSource>,
    /// Next to start a record where both could: a pipeline's batch, or a client.
    batch_turn: bool,
    last_epoch: Epoch,
    wake_at_us: Option<Micros>,
    /// Pipelines whose sources recovery opened: for the seeded defect `topic-id-not-recovered`.
    recovered: std::collections::BTreeSet<PipelineId>,
}

impl Coordinator {
    /// Takes an input at a time. Drain [`poll_effect`](Self::poll_effect) until it is empty before the next one.
    pub fn handle(&mut self, now_us: Micros, input: Input) {
        if self.poisoned {
            return;
        }
        // The wall clock may jump back (fault B7); the kernel's time does not.
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
            Input::Request { id, request } => self.request(id, request),
            Input::Tick => {}
        }
        self.advance();
    }

    /// The next thing to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The newest published state.
    pub fn published(&self) -> &Snapshot {
        &self.published
    }

    /// Definitions and cursors after the last staged record: what effects speak of. It may not be durable yet.
    pub fn tip(&self) -> &Arc<Catalog> {
        &self.tip
    }

    /// Sequence of the last record that was staged, and of the last that is durable: the width of the window that a crash
    /// may lose.
    pub fn staged_and_durable(&self) -> (Sequence, Sequence) {
        (Sequence(self.next_sequence.0 - 1), self.durable)
    }

    /// Everything that follows from the state rather than from one input.
    fn advance(&mut self) {
        self.run_timers();
        while self.staging.is_none() && self.start_record() {}
        self.write_sync_marker_if_idle();
        self.ask_for_wake_up();
        assert!(self.in_flight.len() <= self.config.unsynced_records_max, "the window is bounded");
        assert!(self.published.sequence <= self.durable, "visible implies durable");
    }

    /// Starts staging the next record, a client's or a pipeline batch in turn. False if there is none to start. A request
    /// that ends at once (an error, a no-op) counts as started.
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
        assert!((0..self.shard_count).contains(&shard.0), "a shard of this database");
        match reply {
            ShardReply::Staged { sequence, piece, counts, ignored, rejected } => {
                self.staged(shard, sequence, piece, counts, ignored, rejected)
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
            let text = if sufficient {
                "room on the disk again: read-write"
            } else {
                "disk below its reserve: read-only"
            };
            self.effects.push_back(Effect::Event { pipeline: None, text: text.into(), error: None });
        }
        self.read_only = !sufficient;
    }

    fn disk_full(&self) -> Error {
        Error::new(
            SqlState::DISK_FULL,
            "the disk is almost full, so the database is read-only: nothing was changed; free some space and try again",
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

    /// An epoch that nothing was ever fetched under.
    fn new_epoch(&mut self) -> Epoch {
        let last = if defects::is(Defect::EpochReused) { self.tip.last_epoch } else { self.last_epoch };
        self.last_epoch = Epoch(last.max(self.tip.last_epoch).0 + 1);
        self.last_epoch
    }

    /// What counts of it: see [`crate::fingerprint`]. Its effects are drained.
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
            // Rows of views are those of the shards when they published; who searches compares them with the records.
            published: Snapshot { sequence, catalog, shards: _ },
            durable,
            sync_marker_written,
            last_append_us: _,
            requests,
            pipelines,
            batch_turn,
            last_epoch: _,
            wake_at_us: _,
            recovered: _,
        } = self;
        assert!(effects.is_empty(), "effects are drained before anything else happens");
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
