//! Where a reader stands, and whether to believe what comes next. Holes in a partition are legal (control records, aborted
//! transactions, compaction), and librdkafka has also skipped messages and gone back by itself, mostly when it began to fetch or
//! when a leader changed. What jumps there is fetched a second time before it is believed. For readers of clients that cannot be
//! trusted with this; how to fetch again is theirs.

use std::cmp::Ordering;

use crate::extract::RawMessage;
use crate::ids::*;

/// What to do with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It may come here.
    Accept,
    /// Drop it and fetch again from where the reader stands (faults A3, A4).
    Refetch,
    /// It was fetched again and still lies before where the reader stands.
    WentBack,
}

/// Where a reader stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContinuityGuard {
    next_offset: i64,
    leader_epoch: i32,
    /// True until the first message.
    begins: bool,
    /// Where the reader stood when it last fetched again.
    fetched_again_at: Option<i64>,
}

impl ContinuityGuard {
    /// Where reading begins.
    pub fn new(start: Position) -> ContinuityGuard {
        let Position { next_offset, leader_epoch } = start;
        ContinuityGuard { next_offset, leader_epoch, begins: true, fetched_again_at: None }
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
    pub fn admit(&mut self, message: &RawMessage<'_>) -> Admission {
        let (doubtful, verdict) = match message.offset.cmp(&self.next_offset) {
            Ordering::Less => (true, Admission::WentBack),
            Ordering::Equal => (false, Admission::Accept),
            Ordering::Greater => {
                (self.begins || message.leader_epoch != self.leader_epoch, Admission::Accept)
            }
        };
        if doubtful && self.fetched_again_at != Some(self.next_offset) {
            self.fetched_again_at = Some(self.next_offset);
            return Admission::Refetch;
        }
        if verdict == Admission::Accept {
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

    fn guard() -> ContinuityGuard {
        ContinuityGuard::new(Position { next_offset: 10, leader_epoch: 1 })
    }

    #[test]
    fn messages_in_sequence_and_holes_between_them_are_taken() {
        let mut guard = guard();
        for offset in [10, 11, 12, 20, 21] {
            assert_eq!(guard.admit(&message(offset, 1)), Admission::Accept);
        }
        assert_eq!(guard.next_offset(), 22);
    }

    #[test]
    fn a_jump_at_the_beginning_is_believed_the_second_time() {
        let mut guard = guard();
        assert_eq!(guard.admit(&message(15, 1)), Admission::Refetch);
        assert_eq!(guard.next_offset(), 10);
        assert_eq!(guard.admit(&message(15, 1)), Admission::Accept);
        assert_eq!(guard.next_offset(), 16);
    }

    #[test]
    fn what_a_second_fetch_brings_is_taken_even_if_the_first_skipped_it() {
        let mut guard = guard();
        assert_eq!(guard.admit(&message(15, 1)), Admission::Refetch);
        assert_eq!(guard.admit(&message(10, 1)), Admission::Accept);
    }

    #[test]
    fn a_jump_with_a_new_leader_is_fetched_again() {
        let mut guard = guard();
        assert_eq!(guard.admit(&message(10, 1)), Admission::Accept);
        assert_eq!(guard.admit(&message(11, 2)), Admission::Accept);
        assert_eq!(guard.admit(&message(13, 3)), Admission::Refetch);
        assert_eq!(guard.admit(&message(13, 3)), Admission::Accept);
    }

    #[test]
    fn a_step_back_is_never_taken() {
        let mut guard = guard();
        assert_eq!(guard.admit(&message(10, 1)), Admission::Accept);
        assert_eq!(guard.admit(&message(0, 1)), Admission::Refetch);
        assert_eq!(guard.admit(&message(0, 1)), Admission::WentBack);
    }
}
