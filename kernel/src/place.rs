//! Where a reader stands, and whether to believe what comes next. Holes in a partition are legal (control records, aborted
//! transactions, compaction), and librdkafka has also skipped messages and gone back by itself, mostly when it began to fetch or
//! when a leader changed. What jumps there is fetched a second time before it is believed. For readers of clients that cannot be
//! trusted with this; how to fetch again is theirs.

use std::cmp::Ordering;

use crate::extract::RawMessage;
use crate::ids::*;

/// What to do with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may come here.
    Take,
    /// Drop it and fetch again from where the reader stands (faults A3, A4).
    FetchAgain,
    /// It was fetched again and still lies before where the reader stands.
    GoneBack,
}

/// Where a reader stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    next_offset: i64,
    leader_epoch: i32,
    /// True until the first message.
    begins: bool,
    /// Where the reader stood when it last fetched again.
    fetched_again_at: Option<i64>,
}

impl Place {
    /// Where reading begins.
    pub fn new(start: Position) -> Place {
        let Position { next_offset, leader_epoch } = start;
        Place { next_offset, leader_epoch, begins: true, fetched_again_at: None }
    }

    /// What comes next is expected to be this, or behind it.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// Where to fetch from, to go on here.
    pub fn position(&self) -> Position {
        Position { next_offset: self.next_offset, leader_epoch: self.leader_epoch }
    }

    /// Judges a message, and moves behind it if it is taken.
    pub fn judge(&mut self, message: &RawMessage<'_>) -> Verdict {
        let (doubtful, verdict) = match message.offset.cmp(&self.next_offset) {
            Ordering::Less => (true, Verdict::GoneBack),
            Ordering::Equal => (false, Verdict::Take),
            Ordering::Greater => (self.begins || message.leader_epoch != self.leader_epoch, Verdict::Take),
        };
        if doubtful && self.fetched_again_at != Some(self.next_offset) {
            self.fetched_again_at = Some(self.next_offset);
            return Verdict::FetchAgain;
        }
        if verdict == Verdict::Take {
            self.next_offset = message.offset + 1;
            self.leader_epoch = message.leader_epoch;
            self.begins = false;
        }
        verdict
    }

    /// There is nothing before this offset.
    pub fn advance_to(&mut self, end: i64) {
        self.next_offset = self.next_offset.max(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: i64, leader_epoch: i32) -> RawMessage<'static> {
        RawMessage { offset, leader_epoch, timestamp_ms: -1, key: None, value: None }
    }

    fn place() -> Place {
        Place::new(Position { next_offset: 10, leader_epoch: 1 })
    }

    #[test]
    fn messages_in_sequence_and_holes_between_them_are_taken() {
        let mut place = place();
        for offset in [10, 11, 12, 20, 21] {
            assert_eq!(place.judge(&message(offset, 1)), Verdict::Take);
        }
        assert_eq!(place.next_offset(), 22);
    }

    #[test]
    fn a_jump_at_the_beginning_is_believed_the_second_time() {
        let mut place = place();
        assert_eq!(place.judge(&message(15, 1)), Verdict::FetchAgain);
        assert_eq!(place.next_offset(), 10);
        assert_eq!(place.judge(&message(15, 1)), Verdict::Take);
        assert_eq!(place.next_offset(), 16);
    }

    #[test]
    fn what_a_second_fetch_brings_is_taken_even_if_the_first_skipped_it() {
        let mut place = place();
        assert_eq!(place.judge(&message(15, 1)), Verdict::FetchAgain);
        assert_eq!(place.judge(&message(10, 1)), Verdict::Take);
    }

    #[test]
    fn a_jump_with_a_new_leader_is_fetched_again() {
        let mut place = place();
        assert_eq!(place.judge(&message(10, 1)), Verdict::Take);
        assert_eq!(place.judge(&message(11, 2)), Verdict::Take);
        assert_eq!(place.judge(&message(13, 3)), Verdict::FetchAgain);
        assert_eq!(place.judge(&message(13, 3)), Verdict::Take);
    }

    #[test]
    fn a_step_back_is_never_taken() {
        let mut place = place();
        assert_eq!(place.judge(&message(10, 1)), Verdict::Take);
        assert_eq!(place.judge(&message(0, 1)), Verdict::FetchAgain);
        assert_eq!(place.judge(&message(0, 1)), Verdict::GoneBack);
    }
}
