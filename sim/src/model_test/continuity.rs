//! The continuity guard alone: messages in any order and of any leader, and the expected verdict for each, as
//! `kernel::continuity` documents.

use std::fmt::Arguments;

use kernel::continuity::{Admission, ContinuityGuard};
use kernel::{Mark, Position, RawMessage};

use crate::decide::Decisions;
use crate::oracle::{Check, ensure};

/// Passes messages to a guard for a while.
pub fn check(d: &Decisions<'_>, tell: &dyn Fn(Arguments<'_>)) -> Check {
    let leader_epoch = |d: &Decisions<'_>| d.pick(&[3, 3, 3, 4, -1]);
    let start = Position::kafka(d.between(0, 9) as i64, leader_epoch(d));
    let mut guard = ContinuityGuard::new(start);
    // Taken so far: the last offset and its leader epoch.
    let mut last: Option<(i64, i32)> = None;
    let mut next = start.ordinal();
    let mut doubted_at = None;
    for _ in 0..d.between(1, 12) {
        if d.below(5) == 1 {
            let end = next + d.below(4) as i64 - 1;
            guard.advance_to(end);
            next = next.max(end);
        }
        let offset = (next + d.pick(&[0, 0, 0, 1, 3, -1, -2])).max(0);
        let leader_epoch = leader_epoch(d);
        let message = RawMessage {
            ordinal: offset,
            mark: Mark::LeaderEpoch(leader_epoch),
            timestamp_ms: -1,
            key: None,
            value: None,
        };
        let follows = last.is_some_and(|(_, epoch)| epoch == leader_epoch) && offset > next;
        // A jump is refetched once; a hole after a message of the same leader comes from compaction or transactions.
        let due = match () {
            () if offset != next && doubted_at != Some(next) && !follows => Admission::Refetch,
            () if offset < next => Admission::WentBack,
            () => Admission::Accept,
        };
        let verdict = guard.admit(&message);
        ensure("exactly once", verdict == due, || {
            format!(
                "a guard at {next}, after {last:?}, refetched at {doubted_at:?}, returns {verdict:?} for {message:?}, expected {due:?}"
            )
        })?;
        match due {
            Admission::Refetch => doubted_at = Some(next),
            Admission::WentBack => break,
            Admission::Accept => (last, next) = (Some((offset, leader_epoch)), offset + 1),
        }
        let position = last.map_or(start.leader_epoch(), |(_, epoch)| epoch);
        let due = Position::kafka(next, position);
        ensure("exactly once", (guard.position(), guard.next_ordinal()) == (due, next), || {
            format!("a guard is at {:?}, expected {due:?}", guard.position())
        })?;
    }
    tell(format_args!("a reader reaches {next}"));
    Ok(())
}
