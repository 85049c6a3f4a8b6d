//! The credit window: the bytes of source payload that a pipeline's readers may still extract, and the end of their
//! epoch.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Shared by the threads of one pipeline's source in one epoch.
#[derive(Debug, Default)]
pub(crate) struct CreditWindow {
    /// Bytes that may still be extracted; below zero once a message has overdrawn it.
    credit_bytes: Mutex<i64>,
    /// Counts messages that came to an empty queue. Changed under the lock of `credit_bytes`, so that no wait misses one.
    arrivals: AtomicU64,
    changed: Condvar,
    closed: AtomicBool,
}

impl CreditWindow {
    /// More may be extracted.
    pub(crate) fn grant(&self, bytes: u64) {
        let mut credit = self.credit_bytes.lock();
        *credit = credit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.changed.notify_all();
    }

    /// Takes up to `wanted` bytes of the remaining credit; 0 if none is left. Unused bytes are returned with
    /// [`settle`](Self::settle).
    pub(crate) fn reserve(&self, wanted: u64) -> u64 {
        let mut credit = self.credit_bytes.lock();
        let taken = (*credit).clamp(0, wanted as i64);
        *credit -= taken;
        taken as u64
    }

    /// Corrects a reservation to the bytes actually extracted: fewer, or more by one message.
    pub(crate) fn settle(&self, reserved: u64, used: u64) {
        if reserved != used {
            *self.credit_bytes.lock() += reserved as i64 - used as i64;
        }
    }

    /// Waits until something changes, at most this long.
    pub(crate) fn wait(&self, timeout: Duration) {
        let mut credit = self.credit_bytes.lock();
        if !self.is_closed() {
            self.changed.wait_for(&mut credit, timeout);
        }
    }

    /// Messages wait to be read. Called from threads that must not block.
    pub(crate) fn arrived(&self) {
        let _credit = self.credit_bytes.lock();
        self.arrivals.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_all();
    }

    /// The argument of [`wait_for_arrival`](Self::wait_for_arrival): read it before checking whether messages wait.
    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals.load(Ordering::Acquire)
    }

    /// Waits until messages have arrived since, or the window changes; at most this long.
    pub(crate) fn wait_for_arrival(&self, since: u64, timeout: Duration) {
        let mut credit = self.credit_bytes.lock();
        if !self.is_closed() && self.arrivals() == since {
            self.changed.wait_for(&mut credit, timeout);
        }
    }

    /// The epoch is over.
    pub(crate) fn close(&self) {
        let _credit = self.credit_bytes.lock();
        self.closed.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::CreditWindow;

    #[test]
    fn credit_is_never_lost_and_one_message_may_overdraw_it() {
        let credit = CreditWindow::default();
        assert_eq!(credit.reserve(100), 0);
        credit.grant(150);
        assert_eq!(credit.reserve(100), 100);
        assert_eq!(credit.reserve(100), 50);
        credit.settle(100, 20);
        credit.settle(50, 300);
        assert_eq!(credit.reserve(1), 0, "overdrawn by 170");
        credit.grant(171);
        assert_eq!(credit.reserve(100), 1);
    }
}
