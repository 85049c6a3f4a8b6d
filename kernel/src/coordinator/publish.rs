//! From appended to visible: records in flight, the durable sequence, the swap of views, and the answers and credits
//! that follow. A record becomes visible only when it is durable.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Coordinator;
use crate::coverage::{CoverageMark, reached};
use crate::ids::*;
use crate::message::{Counts, Effect, Response, ShardCommand};
use crate::record::Body;
use crate::schema::Catalog;
use crate::snapshot::ShardView;

/// A record that is appended and not yet published.
#[derive(Clone, Debug)]
pub(super) struct InFlight {
    pub sequence: Sequence,
    /// Catalog after it.
    pub catalog: Arc<Catalog>,
    /// Shards that staged a part of it.
    pub touched: BTreeSet<ShardId>,
    /// Clients to answer, and the number of changed rows.
    pub reply: Option<(RequestId, Counts)>,
    /// Credits to return to pipelines' sources.
    pub credits: Vec<(PipelineId, Epoch, u64)>,
}

/// A publication during which shards swap their views.
#[derive(Clone, Debug)]
pub(super) struct Publishing {
    through: Sequence,
    waiting: BTreeSet<ShardId>,
    /// Kept apart until all views are there: no snapshot shows a part of a record (invariant 2).
    views: Vec<(ShardId, Arc<ShardView>)>,
}

#[cfg(feature = "explore")]
impl InFlight {
    /// See [`crate::fingerprint`].
    pub(super) fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let InFlight { sequence, catalog, touched, reply, credits } = self;
        to.sequence(*sequence);
        to.catalog(catalog);
        touched.iter().for_each(|shard| to.word(shard.0));
        to.count(touched.len());
        to.word(reply.is_some());
        for (pipeline, epoch, bytes) in credits {
            to.epoch(*pipeline, *epoch);
            to.word(*bytes);
        }
        to.count(credits.len());
    }
}

#[cfg(feature = "explore")]
impl Publishing {
    /// See [`crate::fingerprint`].
    pub(super) fn fingerprint(&self, to: &mut crate::fingerprint::StateFingerprint) {
        let Publishing { through, waiting, views } = self;
        to.sequence(*through);
        waiting.iter().for_each(|shard| to.word(shard.0));
        to.count(waiting.len());
        to.count(views.len());
    }
}

impl Coordinator {
    pub(super) fn synced(&mut self, through: Sequence) {
        assert!(through < self.next_sequence, "only appended records can be durable");
        self.durable = self.durable.max(through);
        if self.publishing.is_some() {
            reached(CoverageMark::SyncedWhilePublishing);
        }
        self.publish_durable();
    }

    /// Asks the shards with new rows to publish, one publication at a time.
    fn publish_durable(&mut self) {
        while self.publishing.is_none() {
            let durable = self.in_flight.iter().take_while(|r| r.sequence <= self.durable);
            let Some(through) = durable.clone().last().map(|r| r.sequence) else { return };
            if durable.clone().nth(1).is_some() {
                reached(CoverageMark::SeveralRecordsPublished);
            }
            let touched: BTreeSet<ShardId> = durable.flat_map(|r| r.touched.iter().copied()).collect();
            if !self.superseded.is_empty() {
                reached(CoverageMark::OldSnapshotHeld);
            }
            if touched.is_empty() {
                reached(CoverageMark::PublishedWithoutShards);
            }
            for &shard in &touched {
                self.effects.push_back(Effect::Shard { shard, command: ShardCommand::Publish { through } });
            }
            self.publishing = Some(Publishing { through, waiting: touched, views: vec![] });
            self.finish_publishing_if_complete();
        }
    }

    pub(super) fn shard_published(&mut self, shard: ShardId, through: Sequence, view: Arc<ShardView>) {
        let publishing = self.publishing.as_mut().expect("a shard publishes only on command");
        assert_eq!(publishing.through, through, "one publication at a time");
        assert!(publishing.waiting.remove(&shard), "one reply per command");
        publishing.views.push((shard, view));
        self.finish_publishing_if_complete();
        self.publish_durable();
    }

    /// All shards have swapped. Publishes the state at `through`, then answers its clients.
    fn finish_publishing_if_complete(&mut self) {
        let Some(publishing) = self.publishing.take_if(|p| p.waiting.is_empty()) else { return };
        let through = publishing.through;
        for (shard, view) in publishing.views {
            self.published.shards[shard.0 as usize] = view;
        }
        assert!(
            through > self.published.sequence && through <= self.durable,
            "a published record is durable"
        );
        self.superseded.insert(self.published.sequence);
        let mut answers = Vec::new();
        while self.in_flight.front().is_some_and(|r| r.sequence <= through) {
            let record = self.in_flight.pop_front().expect("the record was seen above");
            self.published.sequence = record.sequence;
            self.published.catalog = record.catalog;
            for (pipeline, epoch, bytes) in record.credits {
                self.give_back_credit(pipeline, epoch, bytes);
            }
            answers.extend(record.reply);
        }
        let publish = Effect::Publish(self.published.clone());
        let replies =
            answers.into_iter().map(|(id, counts)| Effect::Reply { id, result: Ok(Response::Done(counts)) });
        self.effects.extend([publish].into_iter().chain(replies));
    }

    /// Nobody reads this snapshot any more. Data that only it needs may be removed. (All data is in memory and shared, so
    /// there is none today.)
    pub(super) fn snapshot_released(&mut self, sequence: Sequence) {
        assert!(self.superseded.remove(&sequence), "a superseded snapshot is released once");
    }

    pub(super) fn sync_marker_due(&self) -> Option<Micros> {
        let may_write = !self.read_only && !self.held;
        (may_write && !self.sync_marker_written && self.in_flight.is_empty() && self.staging.is_none())
            .then_some(self.last_append_us + self.config.sync_marker_idle_us)
    }

    /// Writes a sync marker when the log is idle. It proves that the last commit is durable, so later damage to that
    /// commit is classified as corruption and not as a torn tail.
    pub(super) fn write_sync_marker_if_idle(&mut self) {
        if self.sync_marker_due().is_none_or(|due_us| due_us > self.now_us) {
            return;
        }
        reached(CoverageMark::SyncMarkerWritten);
        let catalog = self.tip.clone();
        self.append(
            Body::SyncMarker,
            InFlight {
                sequence: self.next_sequence,
                catalog,
                touched: BTreeSet::new(),
                reply: None,
                credits: vec![],
            },
        );
        self.sync_marker_written = true;
    }

    /// Hands a record to the log and requests its sync.
    pub(super) fn append(&mut self, body: Body, record: InFlight) {
        assert_eq!(record.sequence, self.next_sequence, "records are appended in order, without gaps");
        assert!(self.in_flight.back().is_none_or(|r| r.sequence.next() == record.sequence));
        self.effects.push_back(Effect::Append(body.encode(record.sequence)));
        self.effects.push_back(Effect::Sync);
        self.next_sequence = record.sequence.next();
        self.last_append_us = self.now_us;
        self.sync_marker_written = false;
        self.in_flight.push_back(record);
    }
}
