//! Reading through the port as a host does: an ordinal filter, positions, a new reader after a transient failure. Every
//! poll is checked against the port's contract.

use std::time::Duration;

use crate::extract::OrdinalFilter;
use crate::ids::*;
use crate::message::{SourceFailure, SourceMetadata};
use crate::source::{Polled, Source, SplitReader};

use super::{Sent, Topic};

/// Timeout of a poll.
const POLL: Duration = Duration::from_millis(50);
/// Polls in a row without messages, or with transient failures, before the wait ends: minutes with real brokers, no
/// time in the simulator.
const PATIENCE: u32 = 2400;

/// A position at an offset, with unknown leader epoch.
pub fn at(next_offset: i64) -> Position {
    Position::kafka(next_offset, -1)
}

/// A message as read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seen {
    pub offset: i64,
    pub leader_epoch: i32,
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

impl Seen {
    /// Its value as text.
    pub fn text(&self) -> &str {
        let value = self.value.as_deref().expect("the message has a value");
        std::str::from_utf8(value).expect("the message is text")
    }
}

/// Offsets and texts.
pub fn texts(seen: &[Seen]) -> Vec<(i64, &str)> {
    seen.iter().map(|m| (m.offset, m.text())).collect()
}

/// The expected texts at consecutive offsets.
pub fn sent(from: i64, messages: &[Sent]) -> Vec<(i64, &str)> {
    fn text(message: &Sent) -> &str {
        let value = message.value.as_deref().expect("the message has a value");
        std::str::from_utf8(value).expect("the message is text")
    }
    (from..).zip(messages.iter().map(text)).collect()
}

/// One poll, checked against the contract. Its messages go to `take`.
pub fn poll(
    reader: &mut dyn SplitReader,
    messages_max: usize,
    mut take: impl FnMut(Seen),
) -> Result<Polled, SourceFailure> {
    let (mut calls, mut messages, mut last) = (0, 0, -1);
    let polled = reader.poll(messages_max, POLL, &mut |delivery| {
        calls += 1;
        messages += delivery.len();
        for m in delivery.messages().expect("raw messages") {
            assert!(m.ordinal > last, "offset {} comes after {last} in one poll", m.ordinal);
            last = m.ordinal;
            take(Seen {
                offset: m.ordinal,
                leader_epoch: m.mark.leader_epoch(),
                timestamp_ms: m.timestamp_ms,
                key: m.key.map(<[u8]>::to_vec),
                value: m.value.map(<[u8]>::to_vec),
            });
        }
    })?;
    assert!(calls <= 1, "a poll calls `take` at most once, not {calls} times");
    assert_eq!(polled.messages, messages, "a poll reports the number of its messages");
    assert!(messages <= messages_max, "{messages} messages, more than {messages_max} requested");
    assert!(
        polled.next_ordinal.is_none_or(|position| position > last),
        "the position is behind all messages"
    );
    Ok(polled)
}

/// A reader with the state that a host keeps for it.
pub struct Follower {
    reader: Box<dyn SplitReader>,
    filter: OrdinalFilter,
    pub seen: Vec<Seen>,
    pub at_end: bool,
}

impl Follower {
    /// Opens a partition.
    pub fn open(source: &dyn Source, partition: i32, start: Position) -> Follower {
        let reader = source.open(&SplitName::kafka(partition), start).expect("the partition opens");
        Follower { reader, filter: OrdinalFilter::new(start), seen: Vec::new(), at_end: false }
    }

    /// Its position.
    pub fn position(&self) -> Position {
        self.filter.position()
    }

    /// One poll. Leader epochs of new messages never go back.
    pub fn poll(&mut self) -> Result<Polled, SourceFailure> {
        let Follower { reader, filter, seen, .. } = self;
        let polled = poll(&mut **reader, 1000, |message| {
            let before = filter.position().leader_epoch();
            if filter.admit(message.offset, Mark::LeaderEpoch(message.leader_epoch)) {
                assert!(message.leader_epoch >= before, "{message:?} has a leader epoch before {before}");
                seen.push(message);
            }
        })?;
        if let Some(position) = polled.next_ordinal {
            self.filter.advance_to(position);
        }
        self.at_end = polled.at_end;
        Ok(polled)
    }

    /// Polls until its position is `end`, and not beyond.
    pub fn read_to(&mut self, end: i64) -> &[Seen] {
        let mut in_vain = 0;
        while self.position().ordinal() < end {
            let polled = self.poll().expect("the source answers");
            in_vain = if polled.messages > 0 { 0 } else { in_vain + 1 };
            assert!(in_vain < PATIENCE, "the reader is at {:?} and does not reach {end}", self.position());
        }
        assert_eq!(self.position().ordinal(), end, "the reader went too far");
        &self.seen
    }

    /// Polls until the end, and returns its offset.
    pub fn read_to_end(&mut self) -> i64 {
        for _ in 0..PATIENCE {
            self.poll().expect("the source answers");
            if self.at_end {
                return self.position().ordinal();
            }
        }
        panic!("the reader is at {:?} and does not report the end", self.position());
    }

    /// Polls a few times. No new message may come.
    pub fn finds_nothing(&mut self) {
        let position = self.position();
        for _ in 0..6 {
            self.poll().expect("the source answers");
            assert_eq!(self.position(), position, "no message can be read yet");
        }
    }

    /// Polls until the reader fails.
    pub fn failure(&mut self) -> SourceFailure {
        for _ in 0..PATIENCE {
            if let Err(failure) = self.poll() {
                return failure;
            }
        }
        panic!("the reader does not fail; it is at {:?}", self.position());
    }
}

/// Reads a range with a new reader.
pub fn read(source: &dyn Source, partition: i32, start: i64, end: i64) -> Vec<Seen> {
    let mut follower = Follower::open(source, partition, at(start));
    follower.read_to(end);
    follower.seen
}

/// Earliest offset and end by partition.
pub fn watermarks(source: &dyn Source) -> Vec<(i32, i64, i64)> {
    let by_number = |(name, earliest, end): (SplitName, i64, i64)| Some((name.partition()?, earliest, end));
    let mut watermarks: Vec<_> = source.watermarks().into_iter().filter_map(by_number).collect();
    watermarks.sort_unstable();
    watermarks
}

/// Metadata from a source that must answer.
pub fn describe(source: &dyn Source) -> SourceMetadata {
    source.read().expect("the source describes the topic")
}

/// Retries while failures are transient. Returns a permanent failure.
pub fn patiently<T>(
    topic: &impl Topic,
    mut ask: impl FnMut() -> Result<T, SourceFailure>,
) -> Result<T, SourceFailure> {
    let mut last = None;
    for _ in 0..PATIENCE / 4 {
        match ask() {
            Err(SourceFailure::Transient(error)) => last = Some(error),
            answer => return answer,
        }
        topic.wait();
    }
    panic!("the transient failure does not end: {last:?}");
}
