//! When a pipeline asks its source for metadata, closes a batch and retries a failed source: pure decisions over
//! numbers. `sources` and `batch` carry them out.
//!
//! A batch costs a record, a sync and a publication, however few rows it has. A metadata request costs the broker an
//! answer. At the end of a source neither lingers, because a client may wait for the newest row. Behind the end,
//! throughput matters more than the age of one row: a batch waits for `linger_bytes` or `linger_us`, whichever comes
//! first.

use minicbor::{Decode, Encode};

use crate::ids::Micros;

/// The limits of pacing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Pacing {
    /// First pause before a retry of a failed source. Each further pause doubles.
    #[n(0)]
    pub retry_us_min: i64,
    /// Longest pause before a retry of a failed source.
    #[n(1)]
    pub retry_us_max: i64,
    /// Pause between two metadata requests of an idle source: how late a new split or a recreated topic is detected.
    #[n(2)]
    pub metadata_interval_us: i64,
    /// Least pause between two metadata requests at the end of a source. It limits the requests for a trickle of
    /// messages, and adds at most this much to their age.
    #[n(3)]
    pub metadata_pause_us: i64,
    /// Behind the end of its source a pipeline waits for this many source bytes before it verifies or commits extracts.
    #[n(4)]
    pub linger_bytes: u64,
    /// Behind the end of its source a pipeline waits at most this long for `linger_bytes`.
    #[n(5)]
    pub linger_us: i64,
}

impl Default for Pacing {
    fn default() -> Pacing {
        Pacing {
            retry_us_min: 200_000,
            retry_us_max: 30_000_000,
            metadata_interval_us: 5_000_000,
            metadata_pause_us: 2000,
            linger_bytes: 8 << 20,
            linger_us: 30_000,
        }
    }
}

/// The extracts that wait at one step of a pipeline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Backlog {
    /// Their source bytes.
    pub bytes: u64,
    /// Source bytes at which waiting ends: a quarter of the credit.
    pub bytes_max: u64,
    /// The source has messages that are not fetched yet.
    pub behind: bool,
}

/// The limits in a pipeline's definition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BatchRule {
    /// Least pause between two batches.
    pub interval_us: i64,
    /// Most source bytes of a batch.
    pub bytes_max: u64,
}

impl Pacing {
    /// Whether to wait for more bytes.
    pub(super) fn lingers(&self, backlog: Backlog) -> bool {
        backlog.behind && backlog.bytes < self.linger_bytes.min(backlog.bytes_max)
    }

    /// When to ask for metadata again, which verifies extracts. `fetched`: None if no extract waits for it.
    pub(super) fn metadata_due_us(&self, last_us: Micros, fetched: Option<Backlog>) -> Micros {
        let pause_us = match fetched {
            None => self.metadata_interval_us,
            Some(backlog) if self.lingers(backlog) => self.linger_us,
            Some(Backlog { behind: true, .. }) => 0,
            Some(_) => self.metadata_pause_us,
        };
        last_us.saturating_add(pause_us)
    }

    /// When verified extracts may become a batch.
    pub(super) fn batch_due_us(&self, last_batch_us: Micros, verified: Backlog, rule: BatchRule) -> Micros {
        let lingers = verified.bytes < rule.bytes_max && self.lingers(verified);
        let linger_us = if lingers { self.linger_us } else { 0 };
        last_batch_us.saturating_add(rule.interval_us.max(linger_us))
    }

    /// Pause before the next retry of a source, after this many failures in a row.
    pub(super) fn retry_pause_us(&self, tries: u32) -> i64 {
        self.retry_us_min.saturating_mul(1 << tries.min(20)).min(self.retry_us_max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backlog(bytes: u64, behind: bool) -> Backlog {
        Backlog { bytes, bytes_max: 1 << 20, behind }
    }

    fn pacing() -> Pacing {
        Pacing { linger_bytes: 1000, ..Pacing::default() }
    }

    #[test]
    fn at_the_end_of_a_source_nothing_lingers() {
        let (pacing, rule) = (pacing(), BatchRule { interval_us: 0, bytes_max: 1 << 20 });
        assert_eq!(pacing.batch_due_us(7, backlog(1, false), rule), 7);
        assert_eq!(pacing.metadata_due_us(7, Some(backlog(1, false))), 7 + pacing.metadata_pause_us);
        assert_eq!(pacing.metadata_due_us(7, None), 7 + pacing.metadata_interval_us);
    }

    #[test]
    fn behind_the_end_a_step_waits_for_bytes_or_time() {
        let (pacing, rule) = (pacing(), BatchRule { interval_us: 0, bytes_max: 1 << 20 });
        assert_eq!(pacing.batch_due_us(0, backlog(999, true), rule), pacing.linger_us);
        assert_eq!(pacing.batch_due_us(0, backlog(1000, true), rule), 0);
        assert_eq!(pacing.metadata_due_us(0, Some(backlog(999, true))), pacing.linger_us);
        assert_eq!(pacing.metadata_due_us(0, Some(backlog(1000, true))), 0);
    }

    #[test]
    fn a_full_batch_and_an_exhausted_credit_wait_for_nothing() {
        let pacing = Pacing { linger_bytes: u64::MAX, ..Pacing::default() };
        let rule = BatchRule { interval_us: 0, bytes_max: 10 };
        assert_eq!(pacing.batch_due_us(0, backlog(10, true), rule), 0);
        let rule = BatchRule { interval_us: 0, bytes_max: u64::MAX };
        assert_eq!(pacing.batch_due_us(0, backlog(1 << 20, true), rule), 0);
    }

    #[test]
    fn the_interval_of_a_pipeline_holds_however_much_waits() {
        let rule = BatchRule { interval_us: 500_000, bytes_max: 10 };
        for (bytes, behind) in [(1, false), (1, true), (u64::MAX, true)] {
            assert_eq!(pacing().batch_due_us(1, backlog(bytes, behind), rule), 500_001);
        }
    }

    #[test]
    fn a_first_batch_is_due_at_once() {
        let rule = BatchRule { interval_us: 500_000, bytes_max: 10 };
        assert!(pacing().batch_due_us(Micros::MIN, backlog(1, true), rule) < 0);
    }

    proptest! {
        /// Pauses between retries double from the least to the longest, for any number of retries.
        #[test]
        fn pauses_between_tries_are_bounded(min in 0..1i64 << 40, more in 0..1i64 << 40, tries in any::<u32>()) {
            let pacing = Pacing { retry_us_min: min, retry_us_max: min + more, ..Pacing::default() };
            let (pause_us, next_us) = (pacing.retry_pause_us(tries), pacing.retry_pause_us(tries.saturating_add(1)));
            prop_assert!((min..=min + more).contains(&pause_us));
            prop_assert!(pause_us <= next_us && next_us <= pause_us.saturating_mul(2));
        }

        /// Nothing is due before the step that it is counted from, and nothing later than the longest pause that
        /// applies.
        #[test]
        fn dues_are_bounded(last_us in 0..1i64 << 50, bytes: u64, bytes_max: u64, behind: bool, interval_us in 0..1i64 << 40) {
            let (pacing, backlog) = (pacing(), Backlog { bytes, bytes_max, behind });
            let metadata_us = pacing.metadata_due_us(last_us, Some(backlog)) - last_us;
            prop_assert!((0..=pacing.linger_us.max(pacing.metadata_pause_us)).contains(&metadata_us));
            let rule = BatchRule { interval_us, bytes_max };
            let batch_us = pacing.batch_due_us(last_us, backlog, rule) - last_us;
            prop_assert!((interval_us..=interval_us.max(pacing.linger_us)).contains(&batch_us));
        }
    }
}
