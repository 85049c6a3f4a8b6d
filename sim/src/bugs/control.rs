//! The controls of a search: the same defect in the same world with some faults off. They show that the defect causes
//! the failure, and which faults it needs.
//!
//! A fault here is a kind of its own. The consequences of a power cut for pages and directory
//! ([`Fault::is_of_power_cuts`]) are not separate faults: they are enabled in every control, and do not count. A
//! process that dies in a call is killed, unless power cuts are enabled, too.

use super::hunt::{Hunt, Subject, hunt_with};
use super::{Effort, on_threads};
use crate::defects::Class;
use crate::fault::{Fault, FaultSet};

/// Number of searches that must find a defect with two kinds before these count as enough.
const CONFIRMATIONS: u64 = 3;
/// Seeds after which one of these searches ends.
const TOGETHER_SEEDS: u64 = 800;
/// One kind of two counts as not enough after this many times the seeds that both together needed.
const PATIENCE: u64 = 8;
/// Bounds of these seeds.
const PATIENCE_SEEDS: std::ops::RangeInclusive<u64> = 100..=800;
/// Controls begin at seeds that no usual search reaches.
const CONTROL_START: u64 = 1 << 20;

/// The results of the controls.
#[derive(Clone, Debug)]
pub struct Control {
    /// With all faults off.
    pub calm: Hunt,
    /// Kinds of faults of which each alone is enough: one, if one is declared to be enough, and all, if none is. None
    /// if not checked.
    pub alone: Option<Vec<Fault>>,
    /// Kinds that together are enough: one, or two that several searches confirmed. None if not checked, or not found.
    pub together: Option<Vec<Fault>>,
}

/// Runs the controls that a subject's class calls for.
pub fn control(subject: Subject, hunts: &[Hunt], effort: Effort, jobs: usize) -> Control {
    let calm = hunt_with(subject, CONTROL_START, effort.calm, FaultSet::NONE);
    let (mut alone, mut together) = (None, None);
    if let Subject::SeededDefect(bug) = subject
        && effort.single > 0
    {
        let about = bug.about();
        match about.class {
            Class::Logic => {}
            Class::NeedsFault => {
                let enough = first_alone(subject, hunts, effort.single);
                together = enough.map(|fault| vec![fault]);
                alone = Some(enough.into_iter().collect());
            }
            Class::NeedsTwoFaults => {
                let named =
                    |name: &&str| Fault::named(name).expect("a test holds the names to those of faults");
                let two: Vec<Fault> = about.together.iter().map(named).collect();
                let took = average(subject, &two);
                let patience = took.map_or(effort.single, |took| {
                    (took * PATIENCE).clamp(*PATIENCE_SEEDS.start(), *PATIENCE_SEEDS.end())
                });
                let seeds_for = |fault| if two.contains(&fault) { patience } else { effort.single };
                alone = Some(all_alone(subject, seeds_for, jobs));
                together = took.map(|_| two.clone());
            }
        }
    }
    Control { calm, alone, together }
}

/// Kinds that count as faults.
fn kinds() -> impl Iterator<Item = Fault> {
    Fault::ALL.into_iter().filter(|fault| !fault.is_of_power_cuts())
}

fn only(faults: &[Fault]) -> FaultSet {
    faults.iter().fold(FaultSet::of_power_cuts(), |set, fault| set.with(*fault))
}

/// One kind that alone is enough; kinds that changed something in most of the failing runs are tried first.
fn first_alone(subject: Subject, hunts: &[Hunt], seeds: u64) -> Option<Fault> {
    let suspects = suspects(hunts);
    // First all with few seeds, then those that struck in every such run with more.
    let quick = suspects.iter().map(|(_, fault)| (*fault, seeds));
    let found = hunts.iter().filter(|hunt| hunt.found.is_some()).count();
    let patient = suspects.iter().filter(|(times, _)| *times == found);
    let patient = patient.map(|(_, fault)| (*fault, *PATIENCE_SEEDS.end()));
    quick.chain(patient).find_map(|(fault, seeds)| {
        hunt_with(subject, CONTROL_START, seeds, only(&[fault])).found.map(|_| fault)
    })
}

/// Kinds that changed something in failing runs, with the number of these runs, most frequent first.
fn suspects(hunts: &[Hunt]) -> Vec<(usize, Fault)> {
    let found: Vec<_> = hunts.iter().filter_map(|hunt| hunt.found.as_ref()).collect();
    let times = |fault: Fault| found.iter().filter(|found| found.struck.contains(fault)).count();
    let mut suspects: Vec<(usize, Fault)> =
        kinds().map(|fault| (times(fault), fault)).filter(|(times, _)| *times > 0).collect();
    suspects.sort_by_key(|(times, fault)| (std::cmp::Reverse(*times), *fault));
    suspects
}

/// Every kind that alone is enough.
fn all_alone(subject: Subject, seeds_for: impl Fn(Fault) -> u64 + Sync, jobs: usize) -> Vec<Fault> {
    let kinds: Vec<Fault> = kinds().collect();
    let found = on_threads(jobs, kinds.len() as u64, |number| {
        let fault = kinds[number as usize];
        hunt_with(subject, CONTROL_START, seeds_for(fault), only(&[fault])).found.is_some()
    });
    kinds.into_iter().zip(found).filter(|(_, found)| *found).map(|(fault, _)| fault).collect()
}

/// Average seeds of searches with these faults; None if one of them was abandoned.
fn average(subject: Subject, faults: &[Fault]) -> Option<u64> {
    let mut sum = 0;
    for start in 0..CONFIRMATIONS {
        let hunt = hunt_with(subject, CONTROL_START + start, TOGETHER_SEEDS, only(faults));
        hunt.found?;
        sum += hunt.seeds;
    }
    Some(sum.div_ceil(CONFIRMATIONS))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bugs::Found;
    use crate::defects::SeededDefect;
    use crate::oracle::Violation;
    use crate::swarm::Profile;

    fn hunt_that(struck: &str) -> Hunt {
        let struck = FaultSet::parse(struck).expect("kinds");
        let violation = Violation::new("durable", "x");
        let found = Some(Found { seed: 0, profile: Profile::Swarm, violation, struck });
        Hunt { seeds: 1, cpu: Duration::ZERO, found, fails_anyway: vec![] }
    }

    #[test]
    fn what_struck_in_most_runs_is_suspected_first() {
        let missed = Hunt { found: None, ..hunt_that("none") };
        let hunts = [
            hunt_that("kill,poison,retention"),
            hunt_that("poison,power-cut,lost-pages"),
            hunt_that("poison,kill,lost-pages"),
            missed,
        ];
        let suspects = suspects(&hunts);
        assert_eq!(suspects[..2], [(3, Fault::Poison), (2, Fault::Kill)]);
        assert_eq!(suspects.len(), 4, "what a power cut leaves is no fault of its own: {suspects:?}");
    }

    #[test]
    fn who_needs_two_faults_names_two_kinds() {
        for bug in SeededDefect::all().unwrap() {
            let about = bug.about();
            let two: Vec<Option<Fault>> = about.together.iter().map(|name| Fault::named(name)).collect();
            let wanted = if about.class == Class::NeedsTwoFaults { 2 } else { 0 };
            assert_eq!(
                two.iter().flatten().filter(|fault| !fault.is_of_power_cuts()).count(),
                wanted,
                "{about:?}"
            );
            assert_eq!(two.len(), wanted, "{about:?}");
        }
    }
}
