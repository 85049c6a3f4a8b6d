//! The search for seeded defects: the seeds and CPU time until the simulator finds one; and the controls, which show
//! that the defect causes the failure and needs the declared faults. A simulator that cannot fail proves nothing.
//!
//! - `hunt`: one search from one starting seed. `control`: the same defect with faults off.
//! - `report`: the output and the table for the documentation.
//! - `copy`: builds of a changed copy of the source. `seeded`: the one with all patches of `sim/defects`, in which
//!   `instrument` makes the choice between them.
//!
//! [`crate::defects`] reads and declares the defects.

mod control;
mod copy;
mod hunt;
mod instrument;
mod report;
mod seeded;

pub use control::{Control, control};
pub use copy::{repository, run_patched};
pub use hunt::{Found, Hunt, SEEDS_RUN, Subject, hunt};
pub use report::{Finding, markdown, summary};
pub use seeded::elsewhere;

/// The effort of a search.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Independent starting seeds.
    pub starts: u64,
    /// Seeds after which a search ends.
    pub cap: u64,
    /// Seeds of the control with all faults off.
    pub calm: u64,
    /// Seeds of the control with one kind of fault at a time; 0 omits these controls.
    pub single: u64,
}

/// A p95 above this means that the defect is not found well enough.
pub const P95_SEEDS_MAX: u64 = 1000;

/// Searches for defects, one after another, each on this many threads; `progress` is called for each.
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

/// Executes `0..count` on some threads; the results are in order.
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
