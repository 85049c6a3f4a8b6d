//! A path through the small world as a story: one line a step, shortened to what the violation needs.

use std::cell::RefCell;
use std::rc::Rc;

use super::scope::Scope;
use super::search::caught;
use super::world::{Move, Surroundings, World};
use crate::decide::{Decisions, Recorded};
use crate::oracle::Violation;

/// What happened, and what it came to.
#[derive(Clone, Debug)]
pub struct Story {
    /// One line a step.
    pub lines: Vec<String>,
    /// The violation; None if there was none.
    pub violation: Option<Violation>,
}

/// A move, and the decisions inside of it.
type Step = (Move, Vec<u64>);

/// Tells the shortest story that is found by leaving out steps of a path.
pub fn tell(scope: &Scope, path: &[u64]) -> Story {
    let around = Surroundings::new(scope.clone());
    let (steps, violation) = steps(path, &around);
    let Some(violation) = violation else { return Story { lines: vec![], violation: None } };
    let fails = |steps: &[Step]| {
        let found = replay(steps, &around, &mut |_| {});
        found.is_some_and(|found| found.invariant == violation.invariant)
    };
    let steps = shortened(steps, &fails);
    let mut lines = vec![];
    let violation = replay(&steps, &around, &mut |line| lines.push(line));
    Story { lines, violation }
}

/// The moves of a path, and how it ends.
fn steps(path: &[u64], around: &Surroundings) -> (Vec<Step>, Option<Violation>) {
    let given = Rc::new(RefCell::new(Recorded::new(path.to_vec())));
    let mut steps = vec![];
    let mut taken = 0;
    let mut world = match caught(|| World::new(around)) {
        Ok(world) => world,
        Err(violation) => return (steps, Some(violation)),
    };
    while taken < path.len() || !world.moves(around).is_empty() {
        let decisions = Decisions::new(given.clone());
        let moves = world.moves(around);
        if moves.is_empty() {
            break;
        }
        let chosen = moves[decisions.index(moves.len())];
        let before = decisions.count();
        let moved = caught(|| world.take(chosen, &decisions, around));
        taken += decisions.count();
        steps.push((chosen, decisions.taken().split_off(before)));
        let ended = moved.and_then(|()| world.check_end(around));
        if let Err(violation) = ended {
            return (steps, Some(violation));
        }
        if taken >= path.len() && steps.len() > 10_000 {
            break;
        }
    }
    (steps, None)
}

/// Takes those of the steps that are possible.
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

/// Leaves out runs of steps, long ones first, as long as it still fails.
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
