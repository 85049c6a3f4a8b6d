//! The model of a Kafka broker: batches, holes, open and aborted transactions, compaction, retention, clean and unclean
//! leader changes, recreated topics, added partitions. The history of each topic is kept for the oracle. `client`
//! models the client library (fetches that repeat, overlap, skip or fail). The shipped extractor handles deliveries.

mod client;
mod transactions;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kernel::{Identity, RawMessage};

pub use client::{Delivery, Opening, Session};
use transactions::OpenTransaction;

use crate::counts::counts;
use crate::decide::{Decisions, Rate};
use crate::fault::Fault;
use crate::trace::{Actor, Mark, Trace};

counts! {
    /// Counts of a broker.
    BrokerCounts {
        messages,
        holes,
        aborted,
        open_transactions,
        redeliveries,
        repeats,
        falls_back,
        stale_deliveries,
        stalls,
        transient_failures,
        incomplete_metadata,
        retentions,
        losses,
        leader_changes,
        unclean_elections,
        recreations,
        partitions_added,
    }
}

/// A message as a fetch delivers it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its offset.
    pub offset: i64,
    /// Leader epoch under which it was written.
    pub leader_epoch: i32,
    /// Its timestamp, which may be wrong.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; None is a tombstone.
    pub value: Option<Bytes>,
}

impl Message {
    /// As the source port lends it.
    pub fn raw(&self) -> RawMessage<'_> {
        RawMessage {
            ordinal: self.offset,
            mark: kernel::Mark::LeaderEpoch(self.leader_epoch),
            timestamp_ms: self.timestamp_ms,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
        }
    }

    /// Bytes that credits count.
    pub fn bytes(&self) -> u64 {
        [&self.key, &self.value].into_iter().flatten().map(|bytes| bytes.len() as u64).sum()
    }
}

/// A producer's message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Payload {
    /// Its timestamp, which may be wrong.
    pub timestamp_ms: i64,
    /// Key.
    pub key: Option<Bytes>,
    /// Value; None is a tombstone.
    pub value: Option<Bytes>,
}

#[derive(Debug, Default)]
struct Partition {
    /// By offset, every version ever: leader epoch, and None for "removed".
    versions: BTreeMap<i64, Vec<(i32, Option<Payload>)>>,
    start: i64,
    /// Offset of the next message.
    end: i64,
    leader_epoch: i32,
    transactions: Vec<OpenTransaction>,
    /// Unclean elections: the first epoch after each, and where the log was cut.
    cuts: Vec<(i32, i64)>,
    /// First offset of each batch that a producer wrote.
    batches: BTreeSet<i64>,
    /// No reader was ever given an offset from here on.
    delivered: i64,
    /// It gets no messages for now.
    silent: bool,
    /// It gets no messages any more, and metadata says so.
    finished: bool,
    /// The next offset must be a message (see `Broker::elect_uncleanly`).
    after_cut: bool,
    /// Offsets that metadata answers gave as its start or end.
    told: BTreeSet<i64>,
    /// Those of them that were starts.
    told_starts: BTreeSet<i64>,
}

impl Partition {
    fn append(&mut self, offset: i64, leader_epoch: i32, payload: Payload) {
        self.versions.entry(offset).or_default().push((leader_epoch, Some(payload)));
    }

    fn current(&self, offset: i64) -> Option<(i32, &Payload)> {
        let (epoch, payload) = self.versions.get(&offset)?.last()?;
        payload.as_ref().map(|p| (*epoch, p))
    }

    /// Start of the batch that contains an offset.
    fn batch_of(&self, offset: i64) -> i64 {
        self.batches.range(..=offset).next_back().copied().unwrap_or(offset)
    }

    /// The messages that can be read now, from an offset on.
    fn readable(&self, from: i64) -> impl Iterator<Item = Message> + '_ {
        let from = from.max(self.start);
        let range = from..self.stable_end().max(from);
        self.versions.range(range).filter_map(|(offset, _)| {
            let (leader_epoch, payload) = self.current(*offset)?;
            let Payload { timestamp_ms, key, value } = payload.clone();
            Some(Message { offset: *offset, leader_epoch, timestamp_ms, key, value })
        })
    }

    /// Messages of a transaction that is still open, from an offset on.
    fn uncommitted(&self, from: i64) -> impl Iterator<Item = Message> + '_ {
        let all = self.transactions.iter().flat_map(|transaction| &transaction.messages);
        all.filter(move |(offset, ..)| *offset >= from).map(|(offset, leader_epoch, payload)| Message {
            offset: *offset,
            leader_epoch: *leader_epoch,
            timestamp_ms: payload.timestamp_ms,
            key: payload.key.clone(),
            value: payload.value.clone(),
        })
    }
}

#[derive(Debug)]
struct Topic {
    partitions: Vec<Partition>,
}

/// The current topic of that name, and all previous ones.
pub struct Broker<'a> {
    decisions: Decisions<'a>,
    topics: BTreeMap<TopicId, Topic>,
    current: TopicId,
    /// Bounds of each partition in the last metadata answer.
    last_told: BTreeMap<i32, (i64, i64)>,
    /// By reader, consecutive answers with an end that is too low.
    stale_metadata: BTreeMap<u16, u32>,
    /// Producers of transactions so far.
    producers: u64,
    /// It was deleted, and not created again yet.
    deleted: bool,
    /// Least offset of any message.
    first_offset: i64,
    /// Calls that fail one after the other at most, and those that still will.
    outage_calls_max: u64,
    outage_calls: u64,
    counts: BrokerCounts,
    trace: Trace,
    actor: Actor,
}

/// The id of a topic that was created once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// As the kernel identifies it.
    pub fn identity(self) -> Identity {
        Identity::new(&self.0)
    }

    /// Of what the kernel says; None if it is no topic's.
    pub fn of(identity: &Identity) -> Option<TopicId> {
        identity.as_bytes().try_into().ok().map(TopicId)
    }
}

impl<'a> Broker<'a> {
    /// A topic with empty partitions. `name` makes its ids differ from those of other topics.
    pub fn new(decisions: Decisions<'a>, name: u8, partitions: usize) -> Broker<'a> {
        Broker::beginning_at(0, decisions, name, partitions)
    }

    /// The same, of which no message has an offset below this.
    pub fn beginning_at(
        first_offset: i64,
        decisions: Decisions<'a>,
        name: u8,
        partitions: usize,
    ) -> Broker<'a> {
        let mut id = [0; 16];
        id[0] = 1;
        id[1] = name;
        let mut broker = Broker {
            decisions,
            topics: BTreeMap::new(),
            current: TopicId(id),
            last_told: BTreeMap::new(),
            stale_metadata: BTreeMap::new(),
            producers: 0,
            deleted: false,
            first_offset,
            outage_calls_max: 0,
            outage_calls: 0,
            counts: BrokerCounts::default(),
            trace: Trace::default(),
            actor: Actor::Broker(name.into()),
        };
        broker.topics.insert(broker.current, Topic { partitions: Vec::new() });
        broker.add_partitions(partitions);
        broker.counts = BrokerCounts::default();
        broker
    }

    /// Where a call fails, up to so many that follow may fail as well.
    pub fn with_outages(mut self, calls_max: u64) -> Broker<'a> {
        self.outage_calls_max = calls_max;
        self
    }

    /// With a trace of its events.
    pub fn traced(mut self, trace: Trace) -> Broker<'a> {
        self.trace = trace;
        self
    }

    fn note(&self, facts: &[u64], text: std::fmt::Arguments<'_>) {
        self.trace.note(self.actor, Mark::Fault, facts, text);
    }

    /// Counts so far.
    pub fn counts(&self) -> BrokerCounts {
        self.counts
    }

    /// The id that the topic has now.
    pub fn topic_id(&self) -> TopicId {
        self.current
    }

    /// How many partitions the topic has now.
    pub fn partition_count(&self) -> usize {
        self.topic().partitions.len()
    }

    /// Start, end of what may be read, and end, of a partition of the current topic.
    pub fn bounds(&self, partition: i32) -> (i64, i64, i64) {
        let p = &self.topic().partitions[partition as usize];
        (p.start, p.stable_end(), p.end)
    }

    fn topic(&self) -> &Topic {
        &self.topics[&self.current]
    }

    fn partition_mut(&mut self, partition: usize) -> &mut Partition {
        &mut self.topics.get_mut(&self.current).expect("the current topic is there").partitions[partition]
    }

    /// For the oracle: the messages that a reader of `first..next` of a partition must have seen if it ended in this
    /// leader epoch; None if there is no such partition.
    pub fn truth(
        &self,
        topic: TopicId,
        partition: i32,
        range: std::ops::Range<i64>,
        epoch: i32,
    ) -> Option<Vec<(i64, Option<Bytes>)>> {
        let p = self.topics.get(&topic)?.partitions.get(usize::try_from(partition).ok()?)?;
        let seen = |versions: &Vec<(i32, Option<Payload>)>| {
            let (_, payload) = versions.iter().rfind(|(e, _)| *e <= epoch)?;
            payload.as_ref().map(|payload| payload.value.clone())
        };
        let range = range.start..range.end.max(range.start);
        Some(p.versions.range(range).filter_map(|(offset, v)| Some((*offset, seen(v)?))).collect())
    }

    /// For the oracle: whether a metadata answer ever gave this offset as start or end of a partition.
    pub fn ever_told(&self, topic: TopicId, partition: i32, offset: i64) -> bool {
        let partitions = self.topics.get(&topic).map(|t| &t.partitions);
        let p = partitions.and_then(|ps| ps.get(usize::try_from(partition).ok()?));
        p.is_some_and(|p| p.told.contains(&offset))
    }

    /// For the oracle: whether a metadata answer ever gave this offset as start of a partition.
    pub fn ever_began(&self, topic: TopicId, partition: i32, offset: i64) -> bool {
        let partitions = self.topics.get(&topic).map(|t| &t.partitions);
        let p = partitions.and_then(|ps| ps.get(usize::try_from(partition).ok()?));
        p.is_some_and(|p| p.told_starts.contains(&offset))
    }

    /// For the oracle: whether a reader at this offset has lost messages: the next ones were removed, or earlier ones
    /// were replaced.
    pub fn has_lost(&self, topic: TopicId, partition: i32, next: i64) -> bool {
        let p = self.topics.get(&topic).and_then(|t| t.partitions.get(usize::try_from(partition).ok()?));
        p.is_none_or(|p| next < p.start || next > p.end || p.cuts.iter().any(|(_, cut)| *cut < next))
    }

    /// For the oracle: how many topics of this name there have been.
    pub fn topics_created(&self) -> usize {
        self.topics.len()
    }

    // ---- Producers and operators of the broker ----

    /// Writes a batch to a partition: at once, or in a transaction that stays open for a while and may be aborted.
    pub fn produce(&mut self, partition: usize, payloads: Vec<Payload>) {
        if !payloads.is_empty() && self.opens_transaction(partition) {
            let producer = self.new_producer();
            return self.produce_in(producer, partition, payloads);
        }
        self.counts.messages += payloads.len() as u64;
        let p = self.partition_mut(partition);
        p.after_cut &= payloads.is_empty();
        p.batches.insert(p.end);
        for payload in payloads {
            p.append(p.end, p.leader_epoch, payload);
            p.end += 1;
        }
    }

    /// Whether a partition gets no messages for now.
    pub fn is_silent(&self, partition: usize) -> bool {
        let p = &self.topic().partitions[partition];
        p.silent || p.finished
    }

    /// Whether no message will follow the end of a partition.
    pub fn is_finished(&self, partition: usize) -> bool {
        self.topic().partitions[partition].finished
    }

    /// No message will follow the end of this partition.
    pub fn finish(&mut self, partition: usize) {
        let p = self.partition_mut(partition);
        assert!(p.transactions.is_empty(), "a partition with an open transaction goes on");
        p.finished = true;
        let end = p.end;
        self.note(
            &[partition as u64, end as u64],
            format_args!("partition {partition} is finished at {end}"),
        );
    }

    /// For the oracle: whether a partition is finished, and ends at this offset or before it.
    pub fn ends_by(&self, topic: TopicId, partition: i32, offset: i64) -> bool {
        let partitions = self.topics.get(&topic).map(|topic| &topic.partitions);
        let p = partitions.and_then(|partitions| partitions.get(usize::try_from(partition).ok()?));
        p.is_some_and(|p| p.finished && p.end <= offset)
    }

    /// Leaves offsets without messages at the end, as control records do (A7).
    pub fn skip_offsets(&mut self, partition: usize, count: u64) {
        let p = self.partition_mut(partition);
        if p.after_cut {
            return;
        }
        p.end += count as i64;
        self.counts.holes += count;
    }

    /// Compaction removes messages that no reader was given yet (A8), so that repeated reads return the same.
    pub fn compact(&mut self, partition: usize) {
        let decisions = self.decisions.clone();
        let p = self.partition_mut(partition);
        // After a cut the first message distinguishes the two histories.
        if !p.cuts.is_empty() {
            return;
        }
        let from = p.delivered.max(p.start);
        let range = from..p.stable_end().max(from);
        let gone: Vec<i64> =
            p.versions.range(range).map(|(offset, _)| *offset).filter(|_| decisions.below(3) == 0).collect();
        if gone.is_empty() {
            return;
        }
        self.remove(partition, &gone);
        self.counts.holes += gone.len() as u64;
        self.decisions.changed(Fault::Compaction);
        self.note(
            &[partition as u64, gone.len() as u64],
            format_args!(
                "partition {partition}: compaction removes {} messages from {} on",
                gone.len(),
                gone[0]
            ),
        );
    }

    /// Removes single messages, as compaction does.
    pub fn remove(&mut self, partition: usize, offsets: &[i64]) {
        let p = self.partition_mut(partition);
        for offset in offsets {
            p.versions.remove(offset);
        }
    }

    /// Retention removes messages below an offset (A5).
    pub fn retain_from(&mut self, partition: usize, offset: i64) {
        let p = self.partition_mut(partition);
        let offset = offset.min(p.stable_end());
        if offset > p.start {
            p.start = offset;
            self.counts.retentions += 1;
            self.decisions.changed(Fault::Retention);
            self.note(
                &[partition as u64, offset as u64],
                format_args!("partition {partition}: retention removes all messages below {offset}"),
            );
        }
    }

    /// Elects another leader, with the same log.
    pub fn elect(&mut self, partition: usize) {
        self.partition_mut(partition).leader_epoch += 1;
        self.counts.leader_changes += 1;
        self.note(&[partition as u64], format_args!("partition {partition} has a new leader"));
    }

    /// Elects a leader without the end of the log: the log is cut, and its offsets are used again (A9). The first
    /// offset after the cut is a message, so that epochs distinguish the two histories.
    pub fn elect_uncleanly(&mut self, partition: usize, lost: u64) {
        let p = self.partition_mut(partition);
        p.transactions.clear();
        let cut = (p.end - lost as i64).max(p.start);
        if cut == p.end {
            return;
        }
        p.leader_epoch += 1;
        for (_, versions) in p.versions.range_mut(cut..) {
            versions.push((p.leader_epoch, None));
        }
        p.cuts.push((p.leader_epoch, cut));
        p.end = cut;
        p.after_cut = true;
        self.decisions.changed(Fault::UncleanElection);
        self.counts.unclean_elections += 1;
        self.note(
            &[partition as u64, cut as u64],
            format_args!(
                "partition {partition} is cut at {cut} by an unclean election, and its offsets are used again"
            ),
        );
        self.counts.leader_changes += 1;
    }

    /// Deletes the topic until it is created again.
    pub fn delete(&mut self) {
        self.deleted = true;
    }

    /// The topic is deleted, if it still is there, and created again under its name (A6).
    pub fn recreate(&mut self, partitions: usize) {
        self.deleted = false;
        let mut id = self.current.0;
        id[2] += 1;
        self.current = TopicId(id);
        self.last_told.clear();
        self.topics.insert(self.current, Topic { partitions: Vec::new() });
        self.add_partitions(partitions);
        self.counts.recreations += 1;
        self.note(
            &[partitions as u64],
            format_args!("the topic is deleted and created again, with {partitions} partitions"),
        );
    }

    /// Adds partitions (A11).
    pub fn add_partitions(&mut self, count: usize) {
        for _ in 0..count {
            let start =
                if self.decisions.chance(Rate::per_mille(200)) { self.decisions.below(50) as i64 } else { 0 };
            let start = self.first_offset + start;
            let topic = self.topics.get_mut(&self.current).expect("the current topic is there");
            let silent = self.decisions.fault(Fault::EmptyPartition);
            topic.partitions.push(Partition { start, end: start, silent, ..Partition::default() });
            self.counts.partitions_added += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::Position;
    use kernel::message::SourceFailure;

    use super::*;
    use crate::decide::Seeded;

    fn payload(value: impl Into<Bytes>) -> Payload {
        Payload { timestamp_ms: 0, key: None, value: Some(value.into()) }
    }

    fn payloads(n: usize) -> Vec<Payload> {
        (0..n).map(|i| payload(vec![i as u8])).collect()
    }

    use crate::fault::FaultRates;

    fn broker(faults: FaultRates) -> Broker<'static> {
        let decisions = Decisions::new(Seeded::new(5));
        decisions.set_faults(faults);
        let mut broker = Broker::new(decisions, 0, 1);
        broker.partition_mut(0).start = 0;
        broker.partition_mut(0).end = 0;
        broker
    }

    fn start() -> Position {
        Position::kafka(0, -1)
    }

    #[test]
    fn an_open_transaction_holds_back_the_end_and_an_aborted_one_leaves_a_hole() {
        let mut b = broker(FaultRates::default());
        b.produce(0, payloads(2));
        b.decisions.set_faults(FaultRates::default().with(Fault::OpenTransaction, Rate(1_000_000)));
        b.produce(0, payloads(3));
        b.decisions.set_faults(FaultRates::default());
        b.produce(0, payloads(1));
        assert_eq!(b.bounds(0), (0, 2, 6));
        let mut session = b.open(0, start(), Opening::default());
        let first = b.fetch(&mut session, 100).unwrap();
        assert_eq!((first.messages.len(), first.position), (2, Some(2)));
        b.end_transaction(0, false);
        let second = b.fetch(&mut session, 100).unwrap();
        assert_eq!(second.messages.iter().map(|m| m.offset).collect::<Vec<_>>(), vec![5]);
        assert_eq!(second.position, Some(7));
        assert_eq!(b.truth(b.topic_id(), 0, 0..7, 0).unwrap().len(), 3);
    }

    #[test]
    fn an_unclean_election_is_a_divergence_for_who_read_on_and_the_truth_knows_both_histories() {
        let mut b = broker(FaultRates::default());
        b.produce(0, payloads(5));
        let mut session = b.open(0, start(), Opening::default());
        assert_eq!(b.fetch(&mut session, 100).unwrap().messages.len(), 5);
        b.elect_uncleanly(0, 2);
        b.produce(0, vec![payload(&b"other"[..])]);
        assert!(
            matches!(b.fetch(&mut session, 100), Err(SourceFailure::Lost { wanted, .. }) if wanted.ordinal() == 5)
        );
        assert_eq!(b.truth(b.topic_id(), 0, 0..5, 0).unwrap().len(), 5);
        let now = b.truth(b.topic_id(), 0, 0..5, 1).unwrap();
        assert_eq!(now.last().unwrap(), &(3, Some(Bytes::from_static(b"other"))));
    }

    #[test]
    fn retention_beyond_the_position_is_a_loss() {
        let mut b = broker(FaultRates::default());
        b.produce(0, payloads(5));
        b.retain_from(0, 3);
        let mut session = b.open(0, start(), Opening::default());
        let lost = SourceFailure::kafka_lost(0, 0, 3, 5);
        assert_eq!(b.fetch(&mut session, 100).map(|_| ()), Err(lost));
    }

    #[test]
    fn deliveries_repeat_and_overlap_but_skip_nothing() {
        let half = Rate::per_mille(300);
        let mut b = broker(
            FaultRates::default()
                .with(Fault::Redelivery, half)
                .with(Fault::RepeatedResponse, half)
                .with(Fault::FallBack, half)
                .with(Fault::EmptyFetch, half),
        );
        b.produce(0, payloads(100));
        let mut session = b.open(0, start(), Opening::default());
        let mut filter = kernel::OrdinalFilter::new(start());
        let mut taken = Vec::new();
        for _ in 0..200 {
            for m in b.fetch(&mut session, 7).unwrap().messages {
                assert!(m.offset <= filter.position().ordinal(), "no jump ahead");
                if filter.admit(m.offset, kernel::Mark::LeaderEpoch(m.leader_epoch)) {
                    taken.push(m.offset);
                }
            }
        }
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert!(b.counts().redeliveries > 0 && b.counts().repeats > 0 && b.counts().falls_back > 0);
    }
}
