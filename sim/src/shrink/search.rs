//! The attempts to shrink a failure, their order, and the budget. An attempt counts if the same invariant is violated
//! and the failure is smaller than the smallest so far.

use std::time::{Duration, Instant};

use super::case::{Case, Chance};
use super::limits::Without;
use crate::fault::{Fault, FaultSet};
use crate::oracle::Violation;
use crate::run::RunOutcome;
use crate::trace::Keep;

/// Other seeds that are tried for each step towards a smaller world.
const SEEDS_A_STEP: u64 = 24;
/// Seeds of the smallest world among which the shortest failure is picked.
const SEEDS_AT_LAST: u64 = 300;

/// Indexes in [`Tried::lists`].
const SHAPE: usize = 0;
const COURSE: usize = 1;

/// The size of a failure: events of its story, then non-zero decisions, then decisions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size {
    /// Events of its story.
    pub events: u64,
    /// Decisions that are not zero.
    pub loud: usize,
    /// Decisions.
    pub decisions: usize,
}

/// The result of an attempt.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The violation.
    pub violation: Option<Violation>,
    /// Number of events until then.
    pub events: u64,
    /// The decisions: parameters of the world, and the run, without those for unneeded kinds of faults.
    pub lists: [Vec<u64>; 2],
    /// Kinds of faults that fired.
    pub fired: FaultSet,
    /// Kinds needed for this run: those that fired, and the kinds of the run's last crashes, if these could also happen
    /// at other times.
    pub needed: FaultSet,
}

impl Tried {
    /// From a run.
    pub fn from(outcome: RunOutcome) -> Tried {
        let fired = outcome.struck.fired();
        let ends = FaultSet::NONE.with(Fault::Kill).with(Fault::PowerCut);
        let needed = if outcome.faults_over { fired.or(ends.and(outcome.drawn)) } else { fired };
        let answers = outcome.decisions.iter().zip(&outcome.about).skip(outcome.shape_len);
        let counts = answers.filter(|(_, about)| about.is_none_or(|kind| needed.contains(kind)));
        let mut course: Vec<u64> = counts.map(|(answer, _)| *answer).collect();
        let mut shape = outcome.decisions;
        shape.truncate(outcome.shape_len);
        for list in [&mut shape, &mut course] {
            // Zeros follow the end in any case.
            list.truncate(list.iter().rposition(|d| *d != 0).map_or(0, |last| last + 1));
        }
        let RunOutcome { violation, told: events, .. } = outcome;
        Tried { violation, events, lists: [shape, course], fired, needed }
    }

    fn size(&self) -> Size {
        let loud = self.lists.iter().flatten().filter(|d| **d != 0).count();
        Size { events: self.events, loud, decisions: self.lists.iter().map(Vec::len).sum() }
    }
}

/// A shrunk failure.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The case that repeats it, with recorded decisions.
    pub case: Case,
    /// The violation.
    pub violation: Violation,
    /// Its size before.
    pub before: Size,
    /// Its size after.
    pub after: Size,
    /// Runs that it took.
    pub runs: u64,
    /// Time that it took.
    pub took: Duration,
    /// True if nothing more could be removed; otherwise the budget was spent.
    pub is_smallest: bool,
}

/// Shrinks a failing case.
pub fn shrink(case: &Case, budget: Duration, progress: &mut dyn FnMut(&str, Size)) -> Option<Shrunk> {
    shrink_by(case, budget, progress, &mut |case| Tried::from(case.run(Keep::Nothing)))
}

/// With another way to run a case. None if it does not fail.
pub fn shrink_by(
    case: &Case,
    budget: Duration,
    progress: &mut dyn FnMut(&str, Size),
    run: &mut dyn FnMut(&Case) -> Tried,
) -> Option<Shrunk> {
    // Failures of liveness are first searched with few steps. A run that was only slow is not a failure.
    let hurried = attempt(case, budget, true, progress, run)?;
    if hurried.violation.invariant != "live" || hurried.case.limits.catch_up_steps.is_none() {
        return Some(hurried);
    }
    attempt(case, budget, false, progress, run)
}

fn attempt(
    case: &Case,
    budget: Duration,
    hurries: bool,
    progress: &mut dyn FnMut(&str, Size),
    run: &mut dyn FnMut(&Case) -> Tried,
) -> Option<Shrunk> {
    let began = Instant::now();
    let best = run(case);
    let violation = best.violation.clone()?;
    let before = best.size();
    let mut search = Search {
        run,
        progress,
        until: began + budget,
        runs: 1,
        next_seed: 1,
        wanted: Signature::of(&violation),
        hurries,
        case: case.clone(),
        best,
    };
    // Half of the time is for the world, the rest for the decisions.
    search.until = began + budget / 2;
    search.smaller_world();
    search.until = began + budget * 6 / 10;
    search.shortest_seed();
    search.until = began + budget;
    let is_smallest = search.fewer_decisions();
    search.whole_patience();
    Some(Shrunk {
        after: search.best.size(),
        violation: search.best.violation.clone().expect("only failures are kept"),
        before,
        runs: search.runs,
        took: began.elapsed(),
        is_smallest,
        case: search.case,
    })
}

/// The identity of a violation: the invariant, and the assertion or the unfinished work.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Signature {
    invariant: &'static str,
    place: Option<String>,
}

/// Kinds of unfinished work.
const REASONS: [&str; 7] =
    ["starts", "not answered", "not there", "not seen its topic", " is at ", "Stopped", "Failed"];

impl Signature {
    fn of(violation: &Violation) -> Signature {
        let line = violation.text.lines().next().unwrap_or_default();
        let place = match violation.invariant {
            "assertion" => Some(line.to_string()),
            // The kind of unfinished work, without names and numbers.
            "live" => {
                Some(REASONS.into_iter().find(|reason| line.contains(reason)).unwrap_or(line).to_string())
            }
            _ => None,
        };
        Signature { invariant: violation.invariant, place }
    }
}

struct Search<'s> {
    run: &'s mut dyn FnMut(&Case) -> Tried,
    progress: &'s mut dyn FnMut(&str, Size),
    until: Instant,
    runs: u64,
    next_seed: u64,
    wanted: Signature,
    /// Attempts that do not end are abandoned early.
    hurries: bool,
    case: Case,
    best: Tried,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Tries a case; keeps it if it fails in the same way and `good` accepts it.
    fn try_case(&mut self, case: Case, what: &str, good: impl Fn(&Tried, &Tried) -> bool) -> bool {
        self.runs += 1;
        let tried = (self.run)(&case);
        let alike = tried.violation.as_ref().is_some_and(|v| Signature::of(v) == self.wanted);
        if !alike || !good(&tried, &self.best) {
            return false;
        }
        self.case = case;
        self.best = tried;
        (self.progress)(what, self.best.size());
        true
    }

    // ---- The world ----

    /// Reduces the world until nothing more can be removed.
    fn smaller_world(&mut self) {
        loop {
            let mut smaller = false;
            for change in changes(&self.case, &self.best, self.hurries) {
                if self.is_over() {
                    return;
                }
                smaller |= self.try_world(change);
            }
            if !smaller {
                return;
            }
        }
    }

    /// Tries a smaller world: with the same chance, then with other seeds.
    fn try_world(&mut self, change: Change) -> bool {
        let Some(case) = change(&self.case, &self.best) else { return false };
        if self.try_case(case.clone(), "a smaller world", |_, _| true) {
            return true;
        }
        let first = self.next_seed;
        for seed in first..first + SEEDS_A_STEP {
            self.next_seed = seed + 1;
            let case = Case { chance: Chance::Seed(seed), ..case.clone() };
            if self.is_over() {
                return false;
            }
            if self.try_case(case, "a smaller world", |_, _| true) {
                // It works well: start from it again.
                self.next_seed = seed;
                return true;
            }
        }
        false
    }

    /// Searches the seed of the smallest world with the shortest failure.
    fn shortest_seed(&mut self) {
        for seed in 0..SEEDS_AT_LAST {
            if self.is_over() {
                return;
            }
            let case = Case { chance: Chance::Seed(seed), ..self.case.clone() };
            self.try_case(case, "a shorter run", |tried, best| tried.events < best.events);
        }
    }

    /// A slow run is not a failure: the final case must also fail with the usual number of steps.
    fn whole_patience(&mut self) {
        if self.case.limits.catch_up_steps.is_none() {
            return;
        }
        let mut case = self.case.clone();
        case.limits.catch_up_steps = None;
        let (best, before) = (self.best.clone(), self.case.clone());
        if !self.try_case(case, "with all patience", |_, _| true) {
            self.best = best;
            self.case = before;
        }
    }

    // ---- The decisions ----

    /// The case with these decisions. Only the needed faults are asked for.
    fn recorded(&self, lists: &[Vec<u64>; 2]) -> Case {
        let [shape, course] = lists.clone();
        let faults = self.case.faults.and(self.best.needed);
        Case { chance: Chance::Recorded { shape, course }, faults, ..self.case.clone() }
    }

    /// Cuts and zeroes decisions, large pieces first, until nothing more can be removed. False if the time ran out
    /// before.
    fn fewer_decisions(&mut self) -> bool {
        let case = self.recorded(&self.best.lists);
        if !self.try_case(case, "as a record", |_, _| true) {
            return false;
        }
        loop {
            let before = self.best.size();
            let len = self.best.lists[COURSE].len().max(1);
            let mut piece = len.next_power_of_two() / 2;
            while piece > 0 {
                self.pieces(COURSE, piece, "fewer decisions", |list, at, end| {
                    list.drain(at..end);
                });
                self.pieces(COURSE, piece, "quieter decisions", |list, at, end| list[at..end].fill(0));
                self.pieces(SHAPE, piece, "a quieter world", |list, at, end| list[at..end].fill(0));
                if self.is_over() {
                    return false;
                }
                piece /= 2;
            }
            for which in [COURSE, SHAPE] {
                self.pieces(which, 1, "smaller decisions", |list, at, _| list[at] /= 2);
                self.pieces(which, 1, "smaller decisions", |list, at, _| {
                    list[at] = list[at].saturating_sub(1)
                });
            }
            if self.is_over() {
                return false;
            }
            if self.best.size() == before {
                return true;
            }
        }
    }

    /// Changes one piece of this length after the other, from the end: late changes affect the run least.
    fn pieces(
        &mut self,
        which: usize,
        piece: usize,
        what: &str,
        change: impl Fn(&mut Vec<u64>, usize, usize),
    ) {
        let mut end = self.best.lists[which].len();
        while end > 0 && !self.is_over() {
            let at = end.saturating_sub(piece);
            let mut lists = self.best.lists.clone();
            end = end.min(lists[which].len());
            if at < end {
                change(&mut lists[which], at, end);
                if lists != self.best.lists
                    && self.try_case(self.recorded(&lists), what, |tried, best| tried.size() < best.size())
                {
                    // The answers actually given.
                    self.case = self.recorded(&self.best.lists);
                }
            }
            end = at.min(self.best.lists[which].len());
        }
    }
}

/// A step towards a smaller world; None if it does not apply.
type Change = Box<dyn Fn(&Case, &Tried) -> Option<Case>>;

fn changes(case: &Case, best: &Tried, hurries: bool) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    if hurries && best.violation.as_ref().is_some_and(|v| v.invariant == "live") {
        // Every attempt that fails in the same way uses all of its steps.
        all.push(at_most(|l| &mut l.catch_up_steps, 20_000));
    }
    let world: [Change; 10] = [
        faults(FaultSet::NONE),
        Box::new(|case, best| {
            let fewer = case.faults.and(best.fired);
            (fewer != case.faults).then(|| Case { faults: fewer, ..case.clone() })
        }),
        without(Without::everything()),
        at_most(|l| &mut l.shards, 1),
        at_most(|l| &mut l.pipelines, 1),
        at_most(|l| &mut l.topics, 1),
        at_most(|l| &mut l.partitions, 1),
        at_most(|l| &mut l.shards, 2),
        at_most(|l| &mut l.pipelines, 2),
        at_most(|l| &mut l.partitions, 2),
    ];
    all.extend(world);
    for most in [10, 30, 100, 300, 1000] {
        all.push(at_most(|l| &mut l.steps, most * 3));
        all.push(at_most(|l| &mut l.messages, most / 10));
    }
    all.extend(Without::parts().map(without));
    let kinds: Vec<_> = case.faults.and(best.fired).kinds().collect();
    for kind in kinds {
        all.push(Box::new(move |case, _| {
            case.faults.contains(kind).then(|| Case { faults: case.faults.without(kind), ..case.clone() })
        }));
    }
    all
}

fn faults(set: FaultSet) -> Change {
    Box::new(move |case, _| (case.faults != set).then(|| Case { faults: set, ..case.clone() }))
}

fn without(parts: Without) -> Change {
    Box::new(move |case, _| {
        let mut case = case.clone();
        let already = case.limits.without.contains(parts);
        case.limits.without = case.limits.without.and(parts);
        (!already).then_some(case)
    })
}

fn at_most(field: fn(&mut super::Limits) -> &mut Option<u64>, most: u64) -> Change {
    Box::new(move |case, _| {
        let mut case = case.clone();
        let limit = field(&mut case.limits);
        if limit.is_some_and(|limit| limit <= most) {
            return None;
        }
        *limit = Some(most);
        Some(case)
    })
}
