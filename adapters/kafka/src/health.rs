//! The connection state of a client. librdkafka reconnects by itself and reports nothing to a reader, so outages are
//! recorded here for readers that wait.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Connection state of one client.
#[derive(Debug, Default)]
pub(crate) struct Health {
    troubled: AtomicBool,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    all_down_since: Option<Instant>,
    denied: bool,
    /// A broker that was not connected to because it is not allowed.
    refused: Option<String>,
    last_error: Option<String>,
}

impl Health {
    /// An error that librdkafka reports; `all_down`: no broker can be reached; `denied`: the broker refused the credentials.
    pub(crate) fn report(&self, all_down: bool, denied: bool, text: String) {
        // Duration and repetition change the text each time; the error is the same.
        let text = text.split_once(" (after ").map_or(text.as_str(), |(what, _)| what).to_owned();
        let mut trouble = self.trouble.lock();
        if all_down {
            trouble.all_down_since.get_or_insert_with(Instant::now);
        } else {
            trouble.last_error = Some(text);
        }
        trouble.denied |= denied;
        self.troubled.store(true, Ordering::Release);
    }

    /// Records a broker that was not connected to because it is not allowed. True if this is new.
    pub(crate) fn refuse(&self, broker: &str) -> bool {
        let mut trouble = self.trouble.lock();
        let is_news = trouble.refused.as_deref() != Some(broker);
        trouble.refused = Some(broker.to_owned());
        self.troubled.store(true, Ordering::Release);
        is_news
    }

    /// The last broker that was refused since a broker last answered.
    pub(crate) fn refused(&self) -> Option<String> {
        self.trouble.lock().refused.clone()
    }

    /// A broker has answered. Called for every batch, hence cheap when there is nothing to clear.
    pub(crate) fn heard(&self) {
        if self.troubled.swap(false, Ordering::AcqRel) {
            *self.trouble.lock() = Trouble::default();
        }
    }

    /// The last reported error, if no broker was reachable for at least this long.
    pub(crate) fn down_for(&self, at_least: Duration) -> Option<String> {
        if !self.troubled.load(Ordering::Acquire) {
            return None;
        }
        let trouble = self.trouble.lock();
        let since = trouble.all_down_since.filter(|since| since.elapsed() >= at_least)?;
        let what = trouble.last_error.as_deref().unwrap_or("no broker answers");
        Some(format!("{what}, for {} s", since.elapsed().as_secs()))
    }

    /// The last error, if there was one since a broker last answered.
    pub(crate) fn last_error(&self) -> Option<String> {
        self.trouble.lock().last_error.clone()
    }

    /// True if the broker refused the credentials.
    pub(crate) fn denied(&self) -> bool {
        self.trouble.lock().denied
    }
}
