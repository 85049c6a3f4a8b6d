//! Looking for seeded defects: how many seeds, and how much of a processor's time, until the simulator sees one; and the control,
//! that it is the bug that was seen and that it takes what it is said to take. A simulator that cannot fail proves nothing.
//!
//! - `hunt`: one search from one starting seed. `control`: the same bug with faults left out.
//! - `report`: what is printed and what goes into the documentation.
//! - `variant`: the binary that has the bugs in it, and the one with a stranger's change.
//!
//! The bugs themselves are declared in `kernel::defects` and [`crate::defects`].

mod control;
mod hunt;
mod report;
mod variant;

pub use control::{Control, control};
pub use hunt::{Found, Hunt, SEEDS_RUN, Subject, hunt};
pub use report::{Finding, markdown, summary};
pub use variant::{build_with_bugs, patched, run_binary};

/// How thoroughly to look.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Independent starting seeds.
    pub starts: u64,
    /// Seeds from each after which a search is given up.
    pub cap: u64,
    /// Seeds of the control with all faults off.
    pub calm: u64,
    /// Seeds of the control with one kind of fault at a time; 0 leaves these controls out.
    pub single: u64,
}

/// A percentile above this is a bug that is not seen well enough.
pub const P95_SEEDS_MAX: u64 = 1000;

/// Looks for some bugs, one after another, each on so many threads; `progress` is told of each.
pub fn look_for(
    subjects: &[Subject],
    effort: Effort,
    jobs: usize,
    progress: &mut dyn FnMut(&Finding),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for subject in subjects {
        let hunts = on_threads(jobs, effort.starts, |start| hunt(*subject, start, effort.cap));
        let control = control(*subject, &hunts, effort, jobs);
        let finding = Finding { subject: *subject, hunts, control };
        progress(&finding);
        findings.push(finding);
    }
    findings
}

/// Carries out `0..count` on some threads; the results are in order.
fn on_threads<T: Send>(jobs: usize, count: u64, work: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = std::sync::atomic::AtomicU64::new(0);
    let results = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let result = work(number);
                    results.lock().expect("no panics inside").push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no panics inside");
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}
