//! The model of the client library: metadata of the topic, sessions that fetch from an offset, and the faults of both.
//! The broker model holds the topic's content.

use std::collections::{BTreeMap, VecDeque};

use kernel::message::{SourceFailure, SourceMetadata};
use kernel::{Error, Position, SplitName, SqlState};

use super::{Broker, Message, Partition, TopicId};
use crate::defects::{self, WorldDefect};
use crate::fault::Fault;

/// How often a lagging leader is asked whether it still lags.
const LAGGING_CHANCES: u32 = 4;

/// Most consecutive metadata answers with an end that is too low. A new leader catches up; the kernel treats the sixth
/// as a loss.
const STALE_METADATA_MAX: u32 = 4;

/// A client's session for one partition.
#[derive(Clone, Debug)]
pub struct Session {
    partition: i32,
    topic: TopicId,
    next: i64,
    leader_epoch: i32,
    /// Something was fetched.
    begun: bool,
    /// The reader refetches after jumps: the client skips messages only for such a reader.
    doubting: bool,
    /// It was opened to refetch after a jump; a client does not skip twice in the same place.
    again: bool,
    last: Vec<Message>,
    stale: Option<VecDeque<Message>>,
}

/// How a session is opened.
#[derive(Clone, Debug, Default)]
pub struct Opening {
    /// The previous session, whose response may still be in flight.
    pub before: Option<Session>,
    /// See [`Session`].
    pub doubting: bool,
    /// See [`Session`].
    pub again: bool,
}

/// The response of a fetch.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// In order of offset; may begin below the requested offset.
    pub messages: VecDeque<Message>,
    /// There is nothing more to read below this offset.
    pub position: Option<i64>,
}

impl Delivery {
    fn of(messages: VecDeque<Message>) -> Delivery {
        Delivery { messages, position: None }
    }
}

impl Broker<'_> {
    // ---- Metadata ----

    /// Describes the topic as it is now for a reader of that number; sometimes a partition is missing (A12), or its end
    /// is that of a lagging new leader (A10).
    pub fn read(&mut self, reader: u16) -> Result<SourceMetadata, SourceFailure> {
        self.maybe_fail()?;
        let mut partitions = self.bounds_now();
        self.make_stale(reader, &mut partitions);
        Ok(self.told(partitions))
    }

    /// As [`Broker::read`], for verification: topic id and set of partitions are current, offsets may be those of an
    /// earlier answer (A19).
    pub fn verify(&mut self) -> Result<SourceMetadata, SourceFailure> {
        self.maybe_fail()?;
        let mut partitions = self.bounds_now();
        let earlier = self.last_told.iter().filter(|(p, at)| partitions.get(p).is_some_and(|now| now != *at));
        let earlier: Vec<(i32, (i64, i64))> = earlier.map(|(p, at)| (*p, *at)).collect();
        if !earlier.is_empty() && self.decisions.strikes(Fault::OldOffsets) {
            self.note(&[], format_args!("a metadata answer has offsets of an earlier one"));
            partitions.extend(earlier);
        }
        Ok(self.told(partitions))
    }

    fn bounds_now(&self) -> BTreeMap<i32, (i64, i64)> {
        let bounds = |(number, p): (usize, &Partition)| (number as i32, (p.start, p.stable_end()));
        self.topic().partitions.iter().enumerate().map(bounds).collect()
    }

    fn make_stale(&mut self, reader: u16, partitions: &mut BTreeMap<i32, (i64, i64)>) {
        let in_a_row = self.stale_metadata.get(&reader).copied().unwrap_or(0);
        let partition = self.decisions.index(partitions.len()) as i32;
        let (start, end) = partitions[&partition];
        // A lagging leader lags for a while.
        let lags = |broker: &Broker<'_>| {
            let chances = if in_a_row > 0 { LAGGING_CHANCES } else { 1 };
            (0..chances).any(|_| broker.decisions.strikes(Fault::StaleLeader))
        };
        if start == end || in_a_row >= STALE_METADATA_MAX || !lags(self) {
            self.stale_metadata.remove(&reader);
            return;
        }
        self.stale_metadata.insert(reader, in_a_row + 1);
        let known = start + self.decisions.below((end - start) as u64) as i64;
        partitions.insert(partition, (start, known));
        self.note(
            &[partition as u64, known as u64],
            format_args!("partition {partition}: a new leader reports its end at {known}"),
        );
    }

    /// May omit a partition, and remembers the answer.
    fn told(&mut self, mut partitions: BTreeMap<i32, (i64, i64)>) -> SourceMetadata {
        if self.decisions.strikes(Fault::IncompleteMetadata) {
            self.counts.incomplete_metadata += 1;
            let missing = self.decisions.index(partitions.len()) as i32;
            partitions.remove(&missing);
            self.note(&[missing as u64], format_args!("a metadata answer omits partition {missing}"));
        }
        let topic = self.topics.get_mut(&self.current).expect("the current topic is there");
        for (partition, (start, end)) in &partitions {
            let p = &mut topic.partitions[*partition as usize];
            p.told.extend([*start, *end]);
            p.told_starts.insert(*start);
            if p.silent && start == end {
                self.decisions.changed(Fault::EmptyPartition);
            }
        }
        let is_finished = |(partition, (_, end)): (&i32, &(i64, i64))| {
            let p = &topic.partitions[*partition as usize];
            (p.finished && p.end == *end).then(|| SplitName::kafka(*partition))
        };
        let finished: Vec<SplitName> = partitions.iter().filter_map(is_finished).collect();
        self.last_told = partitions.clone();
        let mut metadata = SourceMetadata::kafka(&self.current.identity(), partitions);
        for name in finished {
            metadata.splits.get_mut(&name).expect("a split of this answer").finished = true;
            self.decisions.changed(Fault::FinishedSplit);
        }
        metadata
    }

    fn maybe_fail(&mut self) -> Result<(), SourceFailure> {
        let is_away = self.outage_calls > 0 && !self.decisions.faults_over();
        self.outage_calls = self.outage_calls.saturating_sub(1);
        if is_away || self.decisions.strikes(Fault::Disconnect) {
            if !is_away && self.outage_calls_max > 0 {
                self.outage_calls = self.decisions.below(self.outage_calls_max);
            }
            self.counts.transient_failures += 1;
            self.note(&[], format_args!("a call fails, and may be tried again"));
            return Err(passing("the broker is away"));
        }
        if self.deleted {
            let text = "there is no such topic";
            return Err(SourceFailure::Permanent(Error::new(SqlState::UNDEFINED_OBJECT, text)));
        }
        Ok(())
    }

    // ---- Fetches ----

    /// Opens a session. The previous session's response may still come first, as long as it does not jump ahead of
    /// `start`.
    pub fn open(&mut self, partition: i32, start: Position, opening: Opening) -> Session {
        let carried = opening.before.map(|s| s.last).filter(|last| {
            // A repeat from another history of the log would be a client that ignores epochs: not modelled.
            last.first().is_some_and(|m| m.offset <= start.ordinal())
                && last.last().is_some_and(|m| m.offset < start.ordinal())
        });
        let stale = carried.filter(|_| self.decisions.fault(Fault::LateResponse)).map(VecDeque::from);
        Session {
            partition,
            topic: self.current,
            next: start.ordinal(),
            leader_epoch: start.leader_epoch(),
            begun: false,
            doubting: opening.doubting,
            again: opening.again,
            last: Vec::new(),
            stale,
        }
    }

    /// Fetches for a session. The client library adopts a recreated topic by itself and goes on.
    pub fn fetch(&mut self, session: &mut Session, messages_max: usize) -> Result<Delivery, SourceFailure> {
        self.maybe_fail()?;
        let partition = session.partition;
        if let Some(stale) = session.stale.take() {
            self.decisions.changed(Fault::LateResponse);
            self.counts.stale_deliveries += 1;
            self.note(
                &[partition as u64],
                format_args!("partition {partition}: an earlier session's response comes first"),
            );
            return Ok(Delivery::of(stale));
        }
        let p = self.topic().partitions.get(partition as usize);
        let waiting = p.is_some_and(|p| p.readable(session.next).next().is_some());
        if waiting && self.decisions.strikes(Fault::EmptyFetch) {
            self.counts.stalls += 1;
            self.note(&[partition as u64], format_args!("partition {partition}: a fetch returns nothing"));
            return Ok(Delivery::default());
        }
        if !session.last.is_empty() && self.decisions.strikes(Fault::RepeatedResponse) {
            self.counts.repeats += 1;
            self.note(
                &[partition as u64],
                format_args!("partition {partition}: the previous response comes again"),
            );
            return Ok(Delivery::of(session.last.clone().into()));
        }
        self.check_position(session)?;
        let messages = self.deliver(session, messages_max);
        session.begun |= !messages.is_empty();
        session.again &= messages.is_empty();
        let p = self.partition_mut(partition as usize);
        if let Some(last) = messages.back() {
            p.delivered = p.delivered.max(last.offset + 1);
        }
        // The client's own position never falls back behind what it was asked for.
        if let Some(last) = messages.back().filter(|m| m.offset >= session.next) {
            session.next = last.offset + 1;
            session.leader_epoch = last.leader_epoch;
        }
        let at_end = p.readable(session.next).next().is_none();
        if at_end {
            session.next = session.next.max(p.stable_end());
            // Later compaction before this offset would be a hole that a reader passed as the end.
            p.delivered = p.delivered.max(session.next);
        }
        session.last = messages.iter().cloned().collect();
        Ok(Delivery { messages, position: at_end.then_some(session.next) })
    }

    /// Whether the broker has the session's next offset.
    fn check_position(&mut self, session: &Session) -> Result<(), SourceFailure> {
        let (partition, next) = (session.partition, session.next);
        let lost = |earliest, end| SourceFailure::kafka_lost(partition, next, earliest, end);
        let Some(p) = self.topic().partitions.get(partition as usize) else {
            // A recreated topic with fewer partitions.
            return Err(changed_topic());
        };
        let (start, stable, end) = (p.start, p.stable_end(), p.end);
        let diverged = p.cuts.iter().find(|(epoch, cut)| session.leader_epoch < *epoch && next > *cut);
        let failure = match diverged.filter(|_| session.leader_epoch >= 0) {
            Some(_) => lost(start, stable),
            None if next < start || next > end => lost(start, stable),
            None if next > start && self.decisions.strikes(Fault::StaleLeader) => {
                self.note(
                    &[partition as u64, next as u64],
                    format_args!("partition {partition}: a new leader does not have offset {next}"),
                );
                return Err(passing("the broker refused an offset that it has"));
            }
            None => return Ok(()),
        };
        if session.topic != self.current {
            return Err(changed_topic());
        }
        self.counts.losses += 1;
        Err(failure)
    }

    /// The messages of a response: from the requested offset, or with the client's faults.
    fn deliver(&mut self, session: &Session, messages_max: usize) -> VecDeque<Message> {
        let (partition, next) = (session.partition, session.next);
        let batch = self.topic().partitions[partition as usize].batch_of(next);
        let (from, kind) = if batch < next && self.decisions.fault(Fault::CompressedBatch) {
            (batch, Some(Fault::CompressedBatch))
        } else if self.decisions.fault(Fault::Redelivery) {
            self.counts.redeliveries += 1;
            (next - self.decisions.between(1, 20) as i64, Some(Fault::Redelivery))
        } else if self.decisions.fault(Fault::FallBack) {
            self.counts.falls_back += 1;
            (self.first_offset, Some(Fault::FallBack))
        } else {
            (next, None)
        };
        let p = &self.topic().partitions[partition as usize];
        let mut messages: VecDeque<Message> = p.readable(from).take(messages_max).collect();
        if defects::is(WorldDefect::AbortedRowsCounted) && messages.len() < messages_max {
            messages.extend(p.uncommitted(next));
        }
        if defects::is(WorldDefect::RelabelledRedelivery)
            && let Some(shift) = messages.front().map(|first| next - first.offset).filter(|shift| *shift > 0)
        {
            messages.iter_mut().for_each(|message| message.offset += shift);
        }
        if let Some(kind) = kind.filter(|_| messages.front().is_some_and(|m| m.offset < next)) {
            self.decisions.changed(kind);
            self.note(
                &[partition as u64, from as u64],
                format_args!(
                    "partition {partition}: a fetch for offset {next} returns messages from {from} on"
                ),
            );
        }
        let changes_leader = messages.front().is_some_and(|m| m.leader_epoch != session.leader_epoch);
        if session.doubting
            && !session.again
            && kind.is_none()
            && (!session.begun || changes_leader)
            && messages.len() > 1
            && self.decisions.strikes(Fault::Skip)
        {
            let skipped = self.decisions.between(1, messages.len() as u64 - 1) as usize;
            messages.drain(..skipped);
            let first = messages[0].offset;
            self.note(
                &[partition as u64, first as u64],
                format_args!("partition {partition}: a fetch for offset {next} skips to {first}"),
            );
        }
        messages
    }
}

fn passing(text: &str) -> SourceFailure {
    SourceFailure::Transient(Error::new(SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION, text))
}

fn changed_topic() -> SourceFailure {
    let text = "the topic was deleted and created again: its offsets now name other messages";
    SourceFailure::Permanent(Error::new(SqlState::SOURCE_CHANGED, text))
}
