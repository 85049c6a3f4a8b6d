//! A Kafka broker and its client library as they really behave: holes, open and aborted transactions, retention, leader changes, clean
//! and unclean, topics created again under their name, partitions added, metadata that is incomplete for a moment, fetches
//! that repeat, overlap, fall back or fail. Everything that a topic ever said is remembered, so that the oracle can ask.
//! What is done with deliveries lives in the shipped extractor; the oracle lives in `oracle`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use kernel::message::{SourceFailure, SourceReading};
use kernel::{Error, ErrorKind, Position, SourcePartition, TopicId};

use crate::counts::counts;
use crate::decide::{Decisions, Rate};
use crate::fault::Fault;
use crate::trace::{Actor, Mark, Trace};

counts! {
    /// What happened at a broker so far.
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
        incomplete_readings,
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
    /// Its value.
    pub value: Bytes,
}

#[derive(Debug)]
struct OpenTransaction {
    /// Offset, leader epoch, value.
    messages: Vec<(i64, i32, Bytes)>,
}

#[derive(Debug, Default)]
struct Partition {
    /// By offset, every version that there has ever been: leader epoch, and None for "no longer".
    versions: BTreeMap<i64, Vec<(i32, Option<Bytes>)>>,
    start: i64,
    /// Offset of the next message.
    end: i64,
    leader_epoch: i32,
    transaction: Option<OpenTransaction>,
    /// Unclean elections: the first epoch after each, and where the log was cut.
    cuts: Vec<(i32, i64)>,
    /// The next message must really be one (see `Broker::elect_uncleanly`).
    after_cut: bool,
    /// Offsets at which readings said that it begins or ends.
    told: BTreeSet<i64>,
}

impl Partition {
    /// End of what may be read: an open transaction holds it back (A13).
    fn stable_end(&self) -> i64 {
        self.transaction.as_ref().map_or(self.end, |t| t.messages[0].0)
    }

    fn append(&mut self, offset: i64, leader_epoch: i32, value: Bytes) {
        self.versions.entry(offset).or_default().push((leader_epoch, Some(value)));
    }

    fn current(&self, offset: i64) -> Option<(i32, &Bytes)> {
        let (epoch, value) = self.versions.get(&offset)?.last()?;
        value.as_ref().map(|v| (*epoch, v))
    }

    /// The messages that can be read now, from an offset on.
    fn readable(&self, from: i64) -> impl Iterator<Item = Message> + '_ {
        let from = from.max(self.start);
        let range = from..self.stable_end().max(from);
        self.versions.range(range).filter_map(|(offset, _)| {
            let (leader_epoch, value) = self.current(*offset)?;
            Some(Message { offset: *offset, leader_epoch, value: value.clone() })
        })
    }
}

#[derive(Debug)]
struct Topic {
    partitions: Vec<Partition>,
}

/// One topic of that name at a time, and all that went before it.
pub struct Broker<'a> {
    decisions: Decisions<'a>,
    topics: BTreeMap<TopicId, Topic>,
    current: TopicId,
    counts: BrokerCounts,
    trace: Trace,
    actor: Actor,
}

impl<'a> Broker<'a> {
    /// A topic with empty partitions. `name` makes its ids differ from those of other topics.
    pub fn new(decisions: Decisions<'a>, name: u8, partitions: usize) -> Broker<'a> {
        let mut id = [0; 16];
        id[0] = 1;
        id[1] = name;
        let mut broker = Broker {
            decisions,
            topics: BTreeMap::new(),
            current: TopicId(id),
            counts: BrokerCounts::default(),
            trace: Trace::default(),
            actor: Actor::Broker(name.into()),
        };
        broker.topics.insert(broker.current, Topic { partitions: Vec::new() });
        broker.add_partitions(partitions);
        broker.counts = BrokerCounts::default();
        broker
    }

    /// Tells what happens to it.
    pub fn traced(mut self, trace: Trace) -> Broker<'a> {
        self.trace = trace;
        self
    }

    fn note(&self, facts: &[u64], text: std::fmt::Arguments<'_>) {
        self.trace.note(self.actor, Mark::Fault, facts, text);
    }

    /// What happened so far.
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
    pub fn bounds(&self, partition: SourcePartition) -> (i64, i64, i64) {
        let p = &self.topic().partitions[partition as usize];
        (p.start, p.stable_end(), p.end)
    }

    fn topic(&self) -> &Topic {
        &self.topics[&self.current]
    }

    fn partition_mut(&mut self, partition: usize) -> &mut Partition {
        &mut self.topics.get_mut(&self.current).expect("the current topic is there").partitions[partition]
    }

    /// For the oracle: what a reader who went through `first..next` of a partition and ended in this leader epoch must have seen;
    /// None if there is no such partition.
    pub fn truth(
        &self,
        topic: TopicId,
        partition: SourcePartition,
        range: std::ops::Range<i64>,
        epoch: i32,
    ) -> Option<Vec<(i64, Bytes)>> {
        let p = self.topics.get(&topic)?.partitions.get(usize::try_from(partition).ok()?)?;
        let seen = |versions: &Vec<(i32, Option<Bytes>)>| {
            versions.iter().rfind(|(e, _)| *e <= epoch).and_then(|(_, value)| value.clone())
        };
        let range = range.start..range.end.max(range.start);
        Some(p.versions.range(range).filter_map(|(offset, v)| Some((*offset, seen(v)?))).collect())
    }

    /// For the oracle: whether a reading ever said that a partition begins or ends at this offset.
    pub fn ever_told(&self, topic: TopicId, partition: SourcePartition, offset: i64) -> bool {
        let partitions = self.topics.get(&topic).map(|t| &t.partitions);
        let p = partitions.and_then(|ps| ps.get(usize::try_from(partition).ok()?));
        p.is_some_and(|p| p.told.contains(&offset))
    }

    // ---- What producers and operators of the broker do ----

    /// Writes messages to a partition: alone, or in a transaction that stays open for a while and may be aborted.
    pub fn produce(&mut self, partition: usize, values: Vec<Bytes>, transactional: bool) {
        self.counts.messages += values.len() as u64;
        let opens =
            transactional && self.partition_mut(partition).transaction.is_none() && !values.is_empty();
        self.counts.open_transactions += u64::from(opens);
        let p = self.partition_mut(partition);
        p.after_cut &= values.is_empty();
        let mut messages = Vec::new();
        for value in values {
            if opens {
                messages.push((p.end, p.leader_epoch, value));
            } else {
                p.append(p.end, p.leader_epoch, value);
            }
            p.end += 1;
        }
        if opens {
            p.transaction = Some(OpenTransaction { messages });
        }
    }

    /// Whether a transaction is open.
    pub fn has_transaction(&self, partition: usize) -> bool {
        self.topic().partitions[partition].transaction.is_some()
    }

    /// Ends an open transaction; its control record takes an offset (A7).
    pub fn end_transaction(&mut self, partition: usize, commit: bool) {
        let p = self.partition_mut(partition);
        let Some(transaction) = p.transaction.take() else { return };
        let aborted = if commit { 0 } else { transaction.messages.len() as u64 };
        if commit {
            for (offset, leader_epoch, value) in transaction.messages {
                p.append(offset, leader_epoch, value);
            }
        }
        p.end += 1;
        self.counts.aborted += aborted;
        if !commit {
            self.note(
                &[partition as u64, aborted],
                format_args!("partition {partition}: a transaction of {aborted} messages is aborted"),
            );
        }
        self.counts.holes += 1 + aborted;
    }

    /// Leaves offsets without messages, as compaction and control records do (A7, A8).
    pub fn skip_offsets(&mut self, partition: usize, count: u64) {
        let p = self.partition_mut(partition);
        if p.after_cut {
            return;
        }
        p.end += count as i64;
        self.counts.holes += count;
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
                format_args!("partition {partition}: retention removes everything below {offset}"),
            );
        }
    }

    /// Another leader, the same log.
    pub fn elect(&mut self, partition: usize) {
        self.partition_mut(partition).leader_epoch += 1;
        self.counts.leader_changes += 1;
        self.note(&[partition as u64], format_args!("partition {partition} has another leader"));
    }

    /// Another leader that does not have the end of the log: it is cut, and its offsets are used again (A9). The first thing after
    /// the cut is a message, so that epochs tell the two histories apart.
    pub fn elect_uncleanly(&mut self, partition: usize, lost: u64) {
        let p = self.partition_mut(partition);
        p.transaction = None;
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

    /// The topic is deleted and created again under its name (A6).
    pub fn recreate(&mut self, partitions: usize) {
        let mut id = self.current.0;
        id[2] += 1;
        self.current = TopicId(id);
        self.topics.insert(self.current, Topic { partitions: Vec::new() });
        self.add_partitions(partitions);
        self.counts.recreations += 1;
        self.note(
            &[partitions as u64],
            format_args!("the topic is deleted and created again, with {partitions} partitions"),
        );
    }

    /// More partitions (A11).
    pub fn add_partitions(&mut self, count: usize) {
        for _ in 0..count {
            let start =
                if self.decisions.chance(Rate::per_mille(200)) { self.decisions.below(50) as i64 } else { 0 };
            let topic = self.topics.get_mut(&self.current).expect("the current topic is there");
            topic.partitions.push(Partition { start, end: start, ..Partition::default() });
            self.counts.partitions_added += 1;
        }
    }

    // ---- What a client of the broker sees ----

    /// Describes the topic as it is now; sometimes a partition is missing (A12).
    pub fn read(&mut self) -> Result<SourceReading, SourceFailure> {
        self.maybe_fail()?;
        let mut partitions = BTreeMap::new();
        let topic = self.topics.get_mut(&self.current).expect("the current topic is there");
        for (number, p) in topic.partitions.iter_mut().enumerate() {
            p.told.extend([p.start, p.stable_end()]);
            partitions.insert(number as SourcePartition, (p.start, p.stable_end()));
        }
        if self.decisions.strikes(Fault::IncompleteMetadata) {
            self.counts.incomplete_readings += 1;
            let missing = self.decisions.index(partitions.len()) as SourcePartition;
            partitions.remove(&missing);
            self.note(
                &[missing as u64],
                format_args!("a reading of the topic leaves partition {missing} out"),
            );
        }
        Ok(SourceReading { topic_id: self.current, partitions })
    }

    fn maybe_fail(&mut self) -> Result<(), SourceFailure> {
        if self.decisions.strikes(Fault::Disconnect) {
            self.counts.transient_failures += 1;
            self.note(&[], format_args!("a call fails, and may be tried again"));
            return Err(SourceFailure::Transient(Error::new(
                ErrorKind::SourceUnreachable,
                "the broker is away",
            )));
        }
        Ok(())
    }

    /// Fetches for a session. The client library adopts a recreated topic by itself and goes on.
    pub fn fetch(&mut self, session: &mut Session, messages_max: usize) -> Result<Delivery, SourceFailure> {
        self.maybe_fail()?;
        if let Some(stale) = session.stale.take() {
            self.decisions.changed(Fault::LateResponse);
            self.counts.stale_deliveries += 1;
            let partition = session.partition;
            self.note(
                &[partition as u64],
                format_args!("partition {partition}: what an earlier session had fetched comes first"),
            );
            return Ok(Delivery { messages: stale, position: None, at_end: false });
        }
        let waiting = self
            .topic()
            .partitions
            .get(session.partition as usize)
            .is_some_and(|p| p.readable(session.next).next().is_some());
        if waiting && self.decisions.strikes(Fault::EmptyFetch) {
            self.counts.stalls += 1;
            let partition = session.partition;
            self.note(&[partition as u64], format_args!("partition {partition}: a fetch comes back empty"));
            return Ok(Delivery::default());
        }
        if !session.last.is_empty() && self.decisions.strikes(Fault::RepeatedResponse) {
            self.counts.repeats += 1;
            let partition = session.partition;
            self.note(
                &[partition as u64],
                format_args!("partition {partition}: the same response comes again"),
            );
            return Ok(Delivery { messages: session.last.clone().into(), position: None, at_end: false });
        }
        let Some(p) = self.topic().partitions.get(session.partition as usize) else {
            // A recreated topic with fewer partitions.
            return Err(lost(session.partition, session.next, 0, 0));
        };
        let diverged =
            p.cuts.iter().find(|(epoch, cut)| session.leader_epoch < *epoch && session.next > *cut);
        if let Some((_, cut)) = diverged.filter(|_| session.leader_epoch >= 0) {
            let failure = lost(session.partition, session.next, p.start, *cut);
            self.counts.losses += 1;
            return Err(failure);
        }
        if session.next < p.start || session.next > p.end {
            let failure = lost(session.partition, session.next, p.start, p.stable_end());
            self.counts.losses += 1;
            return Err(failure);
        }
        let (mut from, mut kind) = (session.next, None);
        if self.decisions.fault(Fault::Redelivery) {
            self.counts.redeliveries += 1;
            kind = Some(Fault::Redelivery);
            from -= self.decisions.between(1, 20) as i64;
            let (partition, next) = (session.partition, session.next);
            self.note(
                &[partition as u64, from as u64],
                format_args!(
                    "partition {partition}: asked for {next}, a fetch brings what is from {from} on"
                ),
            );
        } else if self.decisions.fault(Fault::FallBack) {
            self.counts.falls_back += 1;
            kind = Some(Fault::FallBack);
            from = 0;
            let (partition, next) = (session.partition, session.next);
            self.note(
                &[partition as u64],
                format_args!("partition {partition}: a client that stands at {next} falls back to 0"),
            );
        }
        let p = self.topic().partitions.get(session.partition as usize).expect("looked at above");
        let messages: VecDeque<Message> = p.readable(from).take(messages_max).collect();
        if let Some(kind) = kind.filter(|_| messages.front().is_some_and(|m| m.offset < session.next)) {
            self.decisions.changed(kind);
        }
        // The client's own position never falls back behind what it was asked for.
        if let Some(last) = messages.back().filter(|m| m.offset >= session.next) {
            session.next = last.offset + 1;
            session.leader_epoch = last.leader_epoch;
        }
        let at_end = p.readable(session.next).next().is_none();
        if at_end {
            session.next = session.next.max(p.stable_end());
        }
        session.last = messages.iter().cloned().collect();
        Ok(Delivery { messages, position: at_end.then_some(session.next), at_end })
    }

    /// Opens a session. What the one before it had fetched may still come first, as long as it does not jump ahead of `start`.
    pub fn open(&mut self, partition: SourcePartition, start: Position, before: Option<Session>) -> Session {
        let carried = before.map(|s| s.last).filter(|last| {
            // A repeat from another history of the log would be a client that ignores epochs: not modelled.
            last.first().is_some_and(|m| m.offset <= start.next_offset)
                && last.last().is_some_and(|m| m.offset < start.next_offset)
        });
        let stale = carried.filter(|_| self.decisions.fault(Fault::LateResponse)).map(VecDeque::from);
        Session {
            partition,
            next: start.next_offset,
            leader_epoch: start.leader_epoch,
            last: Vec::new(),
            stale,
        }
    }
}

fn lost(partition: SourcePartition, wanted: i64, earliest: i64, latest: i64) -> SourceFailure {
    SourceFailure::Lost { partition, wanted, earliest, latest }
}

/// A client's reading of one partition.
#[derive(Clone, Debug)]
pub struct Session {
    partition: SourcePartition,
    next: i64,
    leader_epoch: i32,
    last: Vec<Message>,
    stale: Option<VecDeque<Message>>,
}

/// What a fetch brought.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// In order of offset; may begin below what was asked for.
    pub messages: VecDeque<Message>,
    /// There is nothing more to read below this offset.
    pub position: Option<i64>,
    /// Nothing waits.
    pub at_end: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::Seeded;

    fn values(n: usize) -> Vec<Bytes> {
        (0..n).map(|i| Bytes::from(vec![i as u8])).collect()
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
        Position { next_offset: 0, leader_epoch: -1 }
    }

    #[test]
    fn an_open_transaction_holds_back_the_end_and_an_aborted_one_leaves_a_hole() {
        let mut b = broker(FaultRates::default());
        b.produce(0, values(2), false);
        b.produce(0, values(3), true);
        b.produce(0, values(1), false);
        assert_eq!(b.bounds(0), (0, 2, 6));
        let mut session = b.open(0, start(), None);
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
        b.produce(0, values(5), false);
        let mut session = b.open(0, start(), None);
        assert_eq!(b.fetch(&mut session, 100).unwrap().messages.len(), 5);
        b.elect_uncleanly(0, 2);
        b.produce(0, vec![Bytes::from_static(b"other")], false);
        assert!(matches!(b.fetch(&mut session, 100), Err(SourceFailure::Lost { wanted: 5, .. })));
        assert_eq!(b.truth(b.topic_id(), 0, 0..5, 0).unwrap().len(), 5);
        let now = b.truth(b.topic_id(), 0, 0..5, 1).unwrap();
        assert_eq!(now.last().unwrap(), &(3, Bytes::from_static(b"other")));
    }

    #[test]
    fn retention_beyond_the_position_is_a_loss() {
        let mut b = broker(FaultRates::default());
        b.produce(0, values(5), false);
        b.retain_from(0, 3);
        let mut session = b.open(0, start(), None);
        assert!(matches!(
            b.fetch(&mut session, 100),
            Err(SourceFailure::Lost { wanted: 0, earliest: 3, latest: 5, .. })
        ));
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
        b.produce(0, values(100), false);
        let mut session = b.open(0, start(), None);
        let mut filter = kernel::OffsetFilter::new(start());
        let mut taken = Vec::new();
        for _ in 0..200 {
            for m in b.fetch(&mut session, 7).unwrap().messages {
                assert!(m.offset <= filter.position().next_offset, "no jump ahead");
                if filter.admit(m.offset, m.leader_epoch) {
                    taken.push(m.offset);
                }
            }
        }
        assert_eq!(taken, (0..100).collect::<Vec<_>>());
        assert!(b.counts().redeliveries > 0 && b.counts().repeats > 0 && b.counts().falls_back > 0);
    }
}
