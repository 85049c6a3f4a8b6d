//! The controls of a search: the same bug in the same world with faults left out. They show that a failure is the bug's doing, and
//! what it takes to see it.

use super::hunt::{Hunt, Subject, search};
use super::{Effort, on_threads};
use crate::fault::{Fault, FaultSet};
use crate::planted::Class;

/// Seeds after which a set of faults counts as not enough, while a set that is enough is made smaller.
const ENOUGH_SEEDS: u64 = 250;
/// Controls begin at seeds that no search from a usual starting point comes to.
const CONTROL_START: u64 = 1 << 20;

/// What the controls showed.
#[derive(Clone, Debug)]
pub struct Control {
    /// With all faults off.
    pub calm: Hunt,
    /// Kinds of faults each of which alone is enough to see the bug; None if that was not asked.
    pub alone: Option<Vec<Fault>>,
    /// Kinds that together are enough, each of them needed: without it, the others are not. None if that was not asked.
    pub together: Option<Vec<Fault>>,
}

/// Runs the controls that a subject's class calls for.
pub fn control(subject: Subject, hunts: &[Hunt], effort: Effort, jobs: usize) -> Control {
    let calm = search(subject, CONTROL_START, effort.calm, FaultSet::NONE);
    let class = match subject {
        Subject::Planted(bug) => bug.about().class,
        Subject::AsBuilt => Class::Logic,
    };
    let (mut alone, mut together) = (None, None);
    if class != Class::Logic && effort.single > 0 {
        alone = Some(enough_alone(subject, effort.single, jobs));
        let struck = hunts.iter().filter_map(|hunt| hunt.found.as_ref()).map(|found| found.struck);
        together = struck.min_by_key(|struck| struck.kinds().count()).map(|struck| needed(subject, struck));
    }
    Control { calm, alone, together }
}

fn enough_alone(subject: Subject, seeds: u64, jobs: usize) -> Vec<Fault> {
    let found = on_threads(jobs, Fault::ALL.len() as u64, |number| {
        let faults = FaultSet::NONE.with(Fault::ALL[number as usize]);
        search(subject, CONTROL_START, seeds, faults).found.is_some()
    });
    Fault::ALL.into_iter().zip(found).filter(|(_, found)| *found).map(|(fault, _)| fault).collect()
}

/// Leaves out one kind after another of a set under which the bug was seen, as long as it still is.
fn needed(subject: Subject, struck: FaultSet) -> Vec<Fault> {
    let mut faults = struck;
    for fault in struck.kinds() {
        let fewer = faults.without(fault);
        if search(subject, CONTROL_START, ENOUGH_SEEDS, fewer).found.is_some() {
            faults = fewer;
        }
    }
    faults.kinds().collect()
}
