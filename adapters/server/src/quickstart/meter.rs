//! The numbers of the live line: count, rate, lag and freshness.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::producer::{Producer, Totals};

/// Window of the rate.
const WINDOW: Duration = Duration::from_secs(2);

/// The observed counts of the table.
pub(super) struct Meter {
    counted: Totals,
    /// Counts over the window, oldest first.
    seen: VecDeque<(Instant, u64)>,
    freshness: Option<Duration>,
}

impl Meter {
    pub(super) fn new() -> Meter {
        Meter { counted: Totals::default(), seen: VecDeque::new(), freshness: None }
    }

    /// The table was read just now.
    pub(super) fn counted_now(&mut self, counted: Totals, producer: &Producer) {
        let now = Instant::now();
        // Every payment acknowledged before the first missing one is in the table.
        let missing_since = producer.next_after(counted.payments);
        self.freshness = Some(missing_since.map_or(Duration::ZERO, |at| now.duration_since(at)));
        self.take(now, counted);
    }

    /// The table was read after the last payment.
    pub(super) fn counted_at_end(&mut self, counted: Totals) {
        self.freshness = None;
        self.take(Instant::now(), counted);
    }

    /// The database was down: rates start again.
    pub(super) fn was_away(&mut self) {
        self.seen.clear();
        self.freshness = None;
    }

    fn take(&mut self, now: Instant, counted: Totals) {
        self.counted = counted;
        self.seen.push_back((now, counted.payments));
        while self.seen.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.seen.pop_front();
        }
    }

    pub(super) fn counted(&self) -> Totals {
        self.counted
    }

    pub(super) fn rows_per_second(&self) -> f64 {
        let ends = self.seen.front().zip(self.seen.back());
        ends.map_or(0.0, |((from, before), (to, after))| {
            let seconds = to.duration_since(*from).as_secs_f64();
            if seconds > 0.0 { after.saturating_sub(*before) as f64 / seconds } else { 0.0 }
        })
    }

    /// Age of the oldest acknowledged payment that the table does not show yet.
    pub(super) fn freshness(&self) -> Option<Duration> {
        self.freshness
    }
}

/// `1,234,567`
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Cents as `1,234.56`.
pub(super) fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    format!("{sign}{}.{:02}", grouped(cents / 100), cents % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_000), "1,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(money(-5), "-0.05");
        assert_eq!(money(123_456_789), "1,234,567.89");
        assert_eq!(money(i64::MIN), "-92,233,720,368,547,758.08");
    }
}
