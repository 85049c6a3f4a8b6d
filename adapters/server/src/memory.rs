//! Returns memory that the allocator keeps. Memory freed by queries lies between memory in use, and would otherwise
//! stay with the process. The trim runs while the server is nearly idle, because no thread can allocate from an arena
//! while it is trimmed.
//!
//! Another allocator would do this by itself, at the price of a thread or of work at every free, and of a C library in
//! the build. The system's allocator only needs a call.

use std::time::Duration;

/// How often the need for a trim is checked.
const INTERVAL: Duration = Duration::from_secs(2);

/// With less than this part of a core the server is nearly idle.
const IDLE_SHARE: f64 = 0.1;

/// Growth since the last trim that justifies one: at least this many bytes, and a sixteenth of all.
const GROWTH_BYTES_MIN: u64 = 16 << 20;

/// Starts the thread. Without it the server works and stays larger.
pub(crate) fn watch() {
    let started = std::thread::Builder::new().name("memory".into()).spawn(give_back_for_ever);
    if let Err(error) = started {
        tracing::warn!(%error, "cannot start the thread that returns memory");
    }
}

fn give_back_for_ever() {
    let mut watch = Watch::default();
    loop {
        std::thread::sleep(INTERVAL);
        let (Some(resident_bytes), Some(cpu)) = (resident_bytes(), cpu_time()) else { return };
        if watch.is_due(resident_bytes, cpu) {
            give_back();
            watch.given_back(self::resident_bytes().unwrap_or(resident_bytes));
        }
    }
}

/// Decides when to trim.
#[derive(Default)]
struct Watch {
    cpu_before: Duration,
    /// Bytes after the last trim.
    resident_bytes: u64,
}

impl Watch {
    /// To be called once an interval.
    fn is_due(&mut self, resident_bytes: u64, cpu: Duration) -> bool {
        let used = cpu.saturating_sub(std::mem::replace(&mut self.cpu_before, cpu));
        // Growth by loaded data causes one trim; the next one then needs larger growth.
        self.resident_bytes = self.resident_bytes.min(resident_bytes);
        let grown = resident_bytes - self.resident_bytes;
        used < INTERVAL.mul_f64(IDLE_SHARE) && grown >= GROWTH_BYTES_MIN.max(self.resident_bytes / 16)
    }

    fn given_back(&mut self, resident_bytes: u64) {
        self.resident_bytes = resident_bytes;
    }
}

/// Memory of the process that is in RAM, without what it shares with files. None where the system does not provide it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// CPU time of all threads so far.
fn cpu_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes only to its argument.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    let whole = (done == 0).then(|| time.tv_sec.try_into().ok()).flatten()?;
    Some(Duration::new(whole, time.tv_nsec.try_into().ok()?))
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: any thread may call it at any time; it changes no memory in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Other C libraries return memory by themselves.
#[cfg(not(target_env = "gnu"))]
fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn memory_is_given_back_once_after_it_grew_and_only_at_rest() {
        let mut watch = Watch::default();
        let busy = INTERVAL;
        assert!(watch.is_due(50 * MIB, Duration::ZERO));
        watch.given_back(50 * MIB);
        assert!(!watch.is_due(600 * MIB, busy), "a query runs");
        assert!(watch.is_due(600 * MIB, busy));
        watch.given_back(60 * MIB);
        assert!(!watch.is_due(70 * MIB, busy), "it is not worth while");
        // The data of a large database: a sixteenth of them.
        watch.given_back(1600 * MIB);
        assert!(!watch.is_due(1690 * MIB, busy));
        assert!(watch.is_due(1700 * MIB, busy));
    }

    #[test]
    fn the_system_says_what_is_needed() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > MIB));
        assert!(cpu_time().is_some());
    }
}
