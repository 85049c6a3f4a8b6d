//! One search: seeds from a starting point on, each run once, until one fails.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::decide::Seeded;
use crate::defects::SeededDefect;
use crate::fault::{Fault, FaultSet, Group};
use crate::oracle::Violation;
use crate::run::{Plan, RunOutcome, run, run_surely};
use crate::swarm::Profile;

/// The subject of a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subject {
    /// A seeded defect.
    SeededDefect(SeededDefect),
    /// The unknown defect of this build.
    AsBuilt,
}

impl Subject {
    fn bug(self) -> Option<SeededDefect> {
        match self {
            Subject::SeededDefect(bug) => Some(bug),
            Subject::AsBuilt => None,
        }
    }
}

/// Distance between starting points.
const STARTS_APART: u64 = 1 << 32;
/// Profiles of a search's seeds, in turn: mostly the swarm, some short with many crashes, one with damage.
const PROFILES: [Profile; 8] = {
    use Profile::{Crashes, Rot, Swarm};
    [Swarm, Crashes, Swarm, Swarm, Crashes, Swarm, Swarm, Rot]
};

/// Seeds that searches of this process have run.
pub static SEEDS_RUN: AtomicU64 = AtomicU64::new(0);

/// The result of a search.
#[derive(Clone, Debug)]
pub struct Found {
    /// The seed that failed.
    pub seed: u64,
    /// Its profile.
    pub profile: Profile,
    /// The violation.
    pub violation: Violation,
    /// Kinds of faults that changed something in it.
    pub struck: FaultSet,
}

/// A search.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// Seeds that were run, the failing one included.
    pub seeds: u64,
    /// CPU time.
    pub cpu: Duration,
    /// None: not found.
    pub found: Option<Found>,
    /// Seeds that fail without the defect.
    pub fails_anyway: Vec<u64>,
}

/// Searches from one of the starting points, with all faults.
pub fn hunt(subject: Subject, start: u64, cap: u64) -> Hunt {
    search(subject, start, cap, Among { profiles: &PROFILES, faults: FaultSet::ALL, surely: false })
}

/// Searches with some faults only, each enabled in every run of a profile that has it.
pub(super) fn hunt_with(subject: Subject, start: u64, cap: u64, faults: FaultSet) -> Hunt {
    search(subject, start, cap, Among { profiles: profiles_of(faults), faults, surely: true })
}

/// Profiles in which some faults can strike; without broker faults mostly short ones.
fn profiles_of(faults: FaultSet) -> &'static [Profile] {
    use Profile::{Crashes, Rot, Swarm};
    let rot = FaultSet::of(&[Group::Rot]);
    if faults == FaultSet::NONE {
        &PROFILES
    } else if faults.and(Crashes.faults()) == faults {
        &[Crashes, Swarm]
    } else if faults.and(rot) != FaultSet::NONE {
        &[Rot, Swarm]
    } else {
        &[Swarm]
    }
}

/// The runs of a search.
#[derive(Clone, Copy)]
struct Among<'a> {
    profiles: &'a [Profile],
    faults: FaultSet,
    surely: bool,
}

fn search(subject: Subject, start: u64, cap: u64, among: Among<'_>) -> Hunt {
    let Among { profiles, faults, surely } = among;
    let run = if surely { run_surely } else { run };
    let clock = ThreadClock::start();
    let mut fails_anyway = Vec::new();
    for number in 0..cap {
        let seed = start * STARTS_APART + number;
        let profile = profiles[(number % profiles.len() as u64) as usize];
        let plan = Plan { profile, faults, bug: subject.bug(), print: false };
        let RunOutcome { violation, struck, .. } = run(Seeded::new(seed), plan);
        SEEDS_RUN.fetch_add(1, Ordering::Relaxed);
        if let Some(violation) = violation {
            // A seed that fails without the defect, too, does not count, and is reported.
            if subject.bug().is_some()
                && run(Seeded::new(seed), Plan { bug: None, ..plan }).violation.is_some()
            {
                fails_anyway.push(seed);
                continue;
            }
            let changed = Fault::ALL.into_iter().filter(|fault| struck.of(*fault).changed > 0);
            let struck = changed.fold(FaultSet::NONE, FaultSet::with);
            let found = Some(Found { seed, profile, violation, struck });
            return Hunt { seeds: number + 1, cpu: clock.elapsed(), found, fails_anyway };
        }
    }
    Hunt { seeds: cap, cpu: clock.elapsed(), found: None, fails_anyway }
}

/// CPU time of this thread (Linux); elapsed time elsewhere.
struct ThreadClock {
    cpu: Option<Duration>,
    wall: Instant,
}

impl ThreadClock {
    fn start() -> ThreadClock {
        ThreadClock { cpu: ThreadClock::cpu(), wall: Instant::now() }
    }

    fn cpu() -> Option<Duration> {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
    }

    fn elapsed(&self) -> Duration {
        match (self.cpu, ThreadClock::cpu()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.wall.elapsed(),
        }
    }
}
