//! The time that goes into the kernel: the wall clock as it stood at the start, carried on by the monotonic clock. So it never
//! jumps, whatever is done to the wall clock while the process lives (fault B7).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kernel::Micros;

/// A clock that only goes on. Copies agree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    started_us: Micros,
}

impl Clock {
    pub(crate) fn start() -> Clock {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { started: Instant::now(), started_us: since_1970.as_micros() as Micros }
    }

    pub(crate) fn now_us(&self) -> Micros {
        self.started_us + self.started.elapsed().as_micros() as Micros
    }

    /// How long it is until then; zero if it is past.
    pub(crate) fn until(&self, at_us: Micros) -> Duration {
        Duration::from_micros(at_us.saturating_sub(self.now_us()).max(0) as u64)
    }
}
