//! Shared by the tests of the whole program: a real Kafka broker ([`kafka`]), a real PostgreSQL ([`mod@postgres`]), the
//! real server binary ([`server`]), and the server's work at the time of a kill ([`trace`]). The tests themselves are
//! in `tests/tests/real`; SQL against PostgreSQL is in `tests/sqldiff`.

pub mod kafka;
pub mod postgres;
pub mod scratch;
pub mod server;
pub mod trace;

use std::time::{Duration, Instant};

/// Polls until there is an answer. Panics with `what` after a time that only a hang or a loss can take.
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < Duration::from_secs(180), "still waiting after 3 minutes: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
