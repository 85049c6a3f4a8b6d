//! Decides whether the next message from a client library continues the split. Holes in a split are legal (control
//! records, aborted transactions, compaction). But librdkafka has also skipped messages and gone back, mostly at the
//! start of a fetch or at a change of leader. An unexpected jump triggers one refetch before it is accepted. Readers
//! use this guard if their client library can skip or repeat messages; the refetch itself is the reader's task.

use std::cmp::Ordering;

use crate::extract::RawMessage;
use crate::ids::*;

/// What to do with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// Accept it.
    Accept,
    /// Drop it and fetch again from the expected ordinal (faults A3, A4).
    Refetch,
    /// Drop it: after the refetch it still lies before the expected ordinal.
    WentBack,
}

/// The position of a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContinuityGuard {
    position: Position,
    /// True until the first message.
    begins: bool,
    /// The expected ordinal at the last refetch.
    refetched_at: Option<i64>,
}

impl ContinuityGuard {
    /// Starts at this ordinal.
    pub fn new(start: Position) -> ContinuityGuard {
        ContinuityGuard { position: start, begins: true, refetched_at: None }
    }

    /// The next message is expected to have this ordinal, or a later one.
    pub fn next_ordinal(&self) -> i64 {
        self.position.ordinal()
    }

    /// The ordinal at which a fetch continues.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Checks a message. Moves behind it if it is accepted.
    pub fn admit(&mut self, message: &RawMessage<'_>) -> Admission {
        let expected = self.position.ordinal();
        let behind = Position::behind(self.position.kind(), message.ordinal, message.mark);
        let (doubtful, admission) = match message.ordinal.cmp(&expected) {
            Ordering::Less => (true, Admission::WentBack),
            Ordering::Equal => (false, Admission::Accept),
            Ordering::Greater => {
                let is_new_leader = behind.leader_epoch() != self.position.leader_epoch();
                (self.begins || is_new_leader, Admission::Accept)
            }
        };
        if doubtful && self.refetched_at != Some(expected) {
            self.refetched_at = Some(expected);
            return Admission::Refetch;
        }
        if admission == Admission::Accept {
            self.position = behind;
            self.begins = false;
        }
        admission
    }

    /// Moves over a hole: there is no message before this ordinal.
    pub fn advance_to(&mut self, ordinal: i64) {
        self.position = self.position.advanced_to(ordinal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(offset: i64, leader_epoch: i32) -> RawMessage<'static> {
        RawMessage {
            ordinal: offset,
            mark: Mark::LeaderEpoch(leader_epoch),
            timestamp_ms: -1,
            key: None,
            value: None,
        }
    }

    fn guard() -> ContinuityGuard {
        ContinuityGuard::new(Position::kafka(10, 1))
    }

    #[test]
    fn messages_in_sequence_and_holes_between_them_are_taken() {
        let mut guard = guard();
        for offset in [10, 11, 12, 20, 21] {
            assert_eq!(guard.admit(&message(offset, 1)), Admission::Accept);
        }
        assert_eq!(guard.next_ordinal(), 22);
    }

    #[test]
    fn a_jump_at_the_beginning_is_believed_the_second_time() {
        let mut guard = guard();
        assert_eq!(guard.admit(&message(15, 1)), Admission::Refetch);
        assert_eq!(guard.next_ordinal(), 10);
        assert_eq!(guard.admit(&message(15, 1)), Admission::Accept);
        assert_eq!(guard.next_ordinal(), 16);
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
