//! The controls of a search: the same bug in the same world with faults left out. They show that a failure is the bug's doing, and
//! what it takes to see it.

use super::hunt::{Hunt, Subject, search};
use super::{Effort, on_threads};
use crate::fault::{Fault, FaultSet};
use crate::planted::Class;

/// Searches from so many starting points must see a bug with a set of faults before that set is believed to be enough.
const CONFIRMATIONS: u64 = 3;
/// A set counts as not enough where so many times the seeds do not show the bug that a greater set needed.
const PATIENCE: u64 = 4;
/// Bounds of the seeds after which a set counts as not enough.
const SEEDS: std::ops::RangeInclusive<u64> = 60..=400;
/// Controls begin at seeds that no search from a usual starting point comes to.
const CONTROL_START: u64 = 1 << 20;

/// What the controls showed.
#[derive(Clone, Debug)]
pub struct Control {
    /// With all faults off.
    pub calm: Hunt,
    /// Kinds of faults each of which alone is enough to see the bug: one, where one is said to be enough, and all, where none is.
    /// None if that was not asked.
    pub alone: Option<Vec<Fault>>,
    /// Kinds that together are enough, as several starting points confirmed, each of them needed: without it, the others are not.
    /// None if that was not asked, or no such set was found.
    pub together: Option<Vec<Fault>>,
}

/// Runs the controls that a subject's class calls for.
pub fn control(subject: Subject, hunts: &[Hunt], effort: Effort, jobs: usize) -> Control {
    let calm = search(subject, CONTROL_START, effort.calm, FaultSet::NONE);
    let class = match subject {
        Subject::Planted(bug) => bug.about().class,
        Subject::AsBuilt => Class::Logic,
    };
    let suspects = Suspects::of(hunts);
    let (mut alone, mut together) = (None, None);
    if effort.single > 0 {
        match class {
            Class::Logic => {}
            Class::NeedsFault => {
                let enough = first_alone(subject, &suspects, effort.single);
                together = enough.map(|fault| vec![fault]);
                alone = Some(enough.into_iter().collect());
            }
            Class::NeedsTwoFaults => {
                alone = Some(all_alone(subject, effort.single, jobs));
                together = needed(subject, &suspects);
            }
        }
    }
    Control { calm, alone, together }
}

/// Kinds that changed something in runs in which the bug was seen, those of most runs first.
#[derive(Debug)]
struct Suspects {
    kinds: Vec<Fault>,
    /// So many of them were in every such run.
    in_all: usize,
    /// Seeds that half of the searches needed at most.
    median_seeds: u64,
}

impl Suspects {
    fn of(hunts: &[Hunt]) -> Suspects {
        let found: Vec<&Hunt> = hunts.iter().filter(|hunt| hunt.found.is_some()).collect();
        let struck = |fault: Fault| {
            found.iter().filter_map(|hunt| hunt.found.as_ref()).filter(|f| f.struck.contains(fault)).count()
        };
        let mut kinds: Vec<(usize, Fault)> =
            Fault::ALL.into_iter().map(|fault| (struck(fault), fault)).filter(|(n, _)| *n > 0).collect();
        kinds.sort_by_key(|(n, fault)| (std::cmp::Reverse(*n), *fault));
        let in_all = kinds.iter().take_while(|(n, _)| *n == found.len()).count();
        let mut seeds: Vec<u64> = found.iter().map(|hunt| hunt.seeds).collect();
        seeds.sort();
        let median_seeds = seeds.get(seeds.len().saturating_sub(1) / 2).copied().unwrap_or(1);
        Suspects { kinds: kinds.into_iter().map(|(_, fault)| fault).collect(), in_all, median_seeds }
    }

    fn first(&self, count: usize) -> FaultSet {
        self.kinds.iter().take(count).fold(FaultSet::NONE, |set, fault| set.with(*fault))
    }
}

/// One kind that alone is enough: where it is not the cause, it is looked for in fewer seeds.
fn first_alone(subject: Subject, suspects: &Suspects, seeds: u64) -> Option<Fault> {
    let patient = patience(suspects.median_seeds).max(seeds);
    suspects.kinds.iter().enumerate().find_map(|(rank, fault)| {
        let seeds = if rank < suspects.in_all { patient } else { seeds };
        search(subject, CONTROL_START, seeds, FaultSet::NONE.with(*fault)).found.map(|_| *fault)
    })
}

/// Every kind that alone is enough.
fn all_alone(subject: Subject, seeds: u64, jobs: usize) -> Vec<Fault> {
    let found = on_threads(jobs, Fault::ALL.len() as u64, |number| {
        let faults = FaultSet::NONE.with(Fault::ALL[number as usize]);
        search(subject, CONTROL_START, seeds, faults).found.is_some()
    });
    Fault::ALL.into_iter().zip(found).filter(|(_, found)| *found).map(|(fault, _)| fault).collect()
}

/// The smallest set that begins with what struck in every run that saw the bug, and of which nothing can be left out.
fn needed(subject: Subject, suspects: &Suspects) -> Option<Vec<Fault>> {
    let mut seeds = patience(suspects.median_seeds);
    let mut count = suspects.in_all;
    // More and more of them, until they are enough.
    let took = loop {
        match average(subject, suspects.first(count), seeds) {
            Some(took) => break took,
            None if count >= suspects.kinds.len() => return None,
            None => count = (count + 2).max(count * 2).min(suspects.kinds.len()),
        }
    };
    seeds = patience(took);
    let mut faults = suspects.first(count);
    // What struck in few of the runs goes first.
    for fault in suspects.kinds.iter().take(count).rev() {
        if let Some(took) = average(subject, faults.without(*fault), seeds) {
            faults = faults.without(*fault);
            seeds = patience(took);
        }
    }
    Some(faults.kinds().collect())
}

/// Seeds that searches with these faults needed, on average; None if one of them was given up.
fn average(subject: Subject, faults: FaultSet, seeds: u64) -> Option<u64> {
    let mut sum = 0;
    for start in 0..CONFIRMATIONS {
        let hunt = search(subject, CONTROL_START + start, seeds, faults);
        hunt.found?;
        sum += hunt.seeds;
    }
    Some(sum.div_ceil(CONFIRMATIONS))
}

fn patience(took: u64) -> u64 {
    (took * PATIENCE).clamp(*SEEDS.start(), *SEEDS.end())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bugs::Found;
    use crate::oracle::Violation;
    use crate::swarm::Profile;

    fn hunt_with(seeds: u64, struck: &str) -> Hunt {
        let struck = FaultSet::parse(struck).expect("kinds");
        let violation = Violation::new("durable", "x");
        let found = Some(Found { seed: 0, profile: Profile::Swarm, violation, struck });
        Hunt { seeds, cpu: Duration::ZERO, found, fails_anyway: vec![] }
    }

    #[test]
    fn what_struck_in_every_run_is_suspected_first() {
        let missed = Hunt { found: None, ..hunt_with(900, "none") };
        let hunts = [
            hunt_with(7, "kill,poison,retention"),
            hunt_with(3, "poison,power-cut"),
            hunt_with(5, "poison,kill"),
            missed,
        ];
        let suspects = Suspects::of(&hunts);
        assert_eq!(suspects.kinds[..2], [Fault::Poison, Fault::Kill]);
        assert_eq!((suspects.kinds.len(), suspects.in_all, suspects.median_seeds), (4, 1, 5));
        assert_eq!(suspects.first(2), FaultSet::parse("poison,kill").expect("kinds"));
    }

    #[test]
    fn nothing_is_suspected_where_nothing_was_found() {
        let suspects = Suspects::of(&[]);
        assert_eq!((suspects.kinds.len(), suspects.in_all), (0, 0));
        assert_eq!((patience(1), patience(50), patience(5000)), (60, 200, 400));
    }
}
