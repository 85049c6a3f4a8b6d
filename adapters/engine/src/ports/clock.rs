//! The time that goes into the kernel: the wall clock at the start plus the monotonic clock since. It never jumps, even
//! if the wall clock does (fault B7).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kernel::Micros;

/// A monotonic clock. Copies agree.
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
