//! A path through the small world as a story: one line per step, shortened to the steps that the violation needs.

use super::scope::Scope;
use super::search::{Step, caught};
use super::world::{Surroundings, World};
use crate::decide::{Decisions, Recorded};
use crate::oracle::Violation;

/// The steps and the result.
#[derive(Clone, Debug)]
pub struct Story {
    /// One line per step.
    pub lines: Vec<String>,
    /// The violation; None if there was none.
    pub violation: Option<Violation>,
}

/// Returns the shortest story that is found by removing steps of a path.
pub fn tell(scope: &Scope, path: &[Step]) -> Story {
    let around = Surroundings::new(scope.clone());
    let Some(violation) = replay(path, &around, &mut |_| {}) else {
        return Story { lines: vec![], violation: None };
    };
    let fails = |steps: &[Step]| {
        let found = replay(steps, &around, &mut |_| {});
        found.is_some_and(|found| found.invariant == violation.invariant)
    };
    let steps = shortened(path.to_vec(), &fails);
    let mut lines = vec![];
    let violation = replay(&steps, &around, &mut |line| lines.push(line));
    Story { lines, violation }
}

/// Executes those of the steps that are possible.
fn replay(steps: &[Step], around: &Surroundings, hear: &mut dyn FnMut(String)) -> Option<Violation> {
    let mut world = match caught(|| World::new(around)) {
        Ok(world) => world,
        Err(violation) => return Some(violation),
    };
    for (chosen, inside) in steps {
        if !world.moves(around).contains(chosen) {
            continue;
        }
        hear(world.tell(*chosen, inside, around));
        let decisions = Decisions::new(Recorded::new(inside.clone()));
        let moved = caught(|| world.take(*chosen, &decisions, around));
        if let Err(violation) = moved.and_then(|()| world.check_end(around)) {
            return Some(violation);
        }
    }
    None
}

/// Removes sequences of steps, long ones first, as long as it still fails.
fn shortened(mut steps: Vec<Step>, fails: &dyn Fn(&[Step]) -> bool) -> Vec<Step> {
    let mut run = steps.len() / 2;
    while run > 0 {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.drain(at..(at + run).min(steps.len()));
            if fails(&fewer) {
                steps = fewer;
            } else {
                at += run;
            }
        }
        run /= 2;
    }
    steps
}
