//! Running seeds: each twice, and both must leave the same trace. `shrink` and `story` handle failures.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use kernel::coverage::{self, CoverageMark, MarkCounts};

use crate::decide::{Decide, Decisions, Rate, Recorded, Seeded};
use crate::defects::{self, SeededDefect};
use crate::explain::film::Film;
use crate::fault::{Coverage, Fault, FaultCounts, FaultRates, FaultSet};
use crate::oracle::Violation;
use crate::shrink::{Case, Chance};
use crate::swarm::{Parameters, Profile};
use crate::trace::{Event, Keep, Mark, Trace};
use crate::world::{Counts, World};

/// The plan of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Profile of the runs.
    pub profile: Profile,
    /// Which of its faults may happen.
    pub faults: FaultSet,
    /// A defect to be seeded.
    pub bug: Option<SeededDefect>,
    /// Show every event.
    pub print: bool,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// Hash of its trace.
    pub hash: u64,
    /// Its counts.
    pub counts: Counts,
    /// Which of the kernel's coverage marks were reached.
    pub reached: MarkCounts,
    /// Counts of its faults.
    pub struck: FaultCounts,
    /// The violation, if any.
    pub violation: Option<Violation>,
    /// Number of events, and of those in a story.
    pub event_count: u64,
    /// See `event_count`.
    pub told: u64,
    /// How often the process ended.
    pub crashes: u64,
    /// How long it took, on the run's clock.
    pub simulated_us: u64,
    /// Its kept events.
    pub events: Vec<Event>,
    /// Kinds of faults that could happen in it.
    pub drawn: FaultSet,
    /// Number of decisions for the parameters.
    pub shape_len: usize,
    /// Every decision, for [`crate::decide::Recorded`].
    pub decisions: Vec<u64>,
    /// See [`Decisions::about`].
    pub about: Vec<Option<Fault>>,
    /// It reached its part without faults, and so its last crashes.
    pub faults_over: bool,
}

thread_local! {
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Broken invariants of the kernel are assertions: they are reported as violations and not printed as panics. Call it
/// once.
pub fn catch_panics() {
    std::panic::set_hook(Box::new(|info| {
        PANIC.with_borrow_mut(|panic| *panic = Some(info.to_string()));
    }));
}

/// One run, from any source of decisions.
pub fn run(source: impl Decide, plan: Plan) -> RunOutcome {
    run_kept(source, plan, if plan.print { Keep::Print } else { Keep::Nothing })
}

/// One run in which every allowed kind is drawn, for controls with a few kinds.
pub fn run_surely(source: impl Decide, plan: Plan) -> RunOutcome {
    let source = Rc::new(RefCell::new(source));
    let drawing = Decisions::new(source.clone());
    let mut drawn = draw(&drawing, plan);
    drawn.faults.draw_rest(&drawing, plan.profile.faults().and(plan.faults));
    let (outcome, _) = run_world(&drawing, Decisions::new(source), plan, drawn, Keep::Nothing, None);
    outcome
}

/// One run whose events are kept with their texts.
pub fn run_kept(source: impl Decide, plan: Plan, keep: Keep) -> RunOutcome {
    // One source for both: first the parameters, then the run.
    let source = Rc::new(RefCell::new(source));
    let drawing = Decisions::new(source.clone());
    let drawn = draw(&drawing, plan);
    let (outcome, _) = run_world(&drawing, Decisions::new(source), plan, drawn, keep, None);
    outcome
}

/// One run of a case, with a film if one is given. `hear` is called for every decision of the run.
pub fn run_case(
    case: &Case,
    keep: Keep,
    film: Option<Film>,
    hear: &mut dyn FnMut(u64),
) -> (RunOutcome, Option<Film>) {
    let plan = case.plan();
    let (drawing, course, mut drawn) = match &case.chance {
        Chance::Seed(seed) => {
            let source = Rc::new(RefCell::new(Seeded::new(*seed)));
            let drawing = Decisions::new(source.clone());
            let drawn = draw(&drawing, plan);
            (drawing, Decisions::new(Heard { source, hear }), drawn)
        }
        Chance::Recorded { shape, course } => {
            let drawing = Decisions::new(Recorded::new(shape.clone()));
            let mut drawn = draw(&drawing, plan);
            // The rates no longer matter, because the list says when a fault strikes. So the run does not depend on the
            // set of kinds and the order in which their rates were drawn.
            let kinds = plan.profile.faults().and(plan.faults).kinds();
            drawn.faults =
                kinds.fold(FaultRates::default(), |rates, kind| rates.with(kind, Rate::per_mille(500)));
            (drawing, Decisions::new(Heard { source: Recorded::new(course.clone()), hear }), drawn)
        }
    };
    case.limits.apply(&mut drawn);
    run_world(&drawing, course, plan, drawn, keep, film)
}

/// Reports every decision.
struct Heard<'h, D> {
    source: D,
    hear: &'h mut dyn FnMut(u64),
}

impl<D: Decide> Decide for Heard<'_, D> {
    fn below(&mut self, bound: u64) -> u64 {
        (self.hear)(bound);
        self.source.below(bound)
    }

    fn chance(&mut self, rate: Rate) -> bool {
        (self.hear)(0);
        self.source.chance(rate)
    }
}

/// Draws a world. No fault is certain: its decision is always taken, so that it is recorded.
fn draw(drawing: &Decisions<'_>, plan: Plan) -> Parameters {
    let mut drawn = Parameters::draw(drawing, plan.profile, plan.faults);
    let rates = drawn.faults.drawn().map(|(kind, rate)| (kind, rate.min(Rate(999_999))));
    drawn.faults = rates.fold(FaultRates::default(), |rates, (kind, rate)| rates.with(kind, rate));
    drawn
}

fn run_world<'a>(
    drawing: &Decisions<'_>,
    decisions: Decisions<'a>,
    plan: Plan,
    parameters: Parameters,
    keep: Keep,
    film: Option<Film>,
) -> (RunOutcome, Option<Film>) {
    coverage::take();
    defects::activate(plan.bug);
    let drawn = parameters.faults.drawn().fold(FaultSet::NONE, |set, (kind, _)| set.with(kind));
    let trace = Trace::new(keep);
    let mut world = World::new(decisions.clone(), parameters, trace.clone());
    world.film = film;
    let ended = catch_unwind(AssertUnwindSafe(|| world.run()));
    let violation = match ended {
        Ok(Ok(())) => None,
        Ok(Err(violation)) => Some(violation),
        Err(_) => {
            let text = PANIC.with_borrow_mut(|panic| panic.take()).unwrap_or_else(|| "panicked".into());
            Some(Violation::new("assertion", text))
        }
    };
    let film = world.film.take();
    let outcome = RunOutcome {
        hash: trace.hash(),
        counts: world.counts(),
        reached: coverage::take(),
        struck: decisions.struck(),
        violation,
        event_count: trace.count(),
        told: trace.count() - trace.count_of(Mark::Detail),
        crashes: trace.count_of(Mark::Crash),
        simulated_us: trace.now_us().saturating_sub(crate::world::BEGINNING_US).max(0) as u64,
        events: trace.take_events(),
        drawn,
        shape_len: drawing.count(),
        decisions: [drawing.taken(), decisions.taken()].concat(),
        about: [drawing.about(), decisions.about()].concat(),
        faults_over: decisions.faults_over(),
    };
    (outcome, film)
}

/// A seed, twice.
pub fn run_seed(seed: u64, plan: Plan) -> RunOutcome {
    let mut first = run(Seeded::new(seed), plan);
    let second = run(Seeded::new(seed), Plan { print: false, ..plan });
    if first.violation.is_none() && first.hash != second.hash {
        let text = format!("the same seed left the traces {:016x} and {:016x}", first.hash, second.hash);
        first.violation = Some(Violation::new("deterministic", text));
    }
    first
}

/// The summary of a range of seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Sum of the counts.
    pub counts: Counts,
    /// Sum of the coverage marks.
    pub reached: MarkCounts,
    /// Counts of its faults.
    pub coverage: Coverage,
    /// Sum of the trace hashes: the same for the same range on any machine and in any build.
    pub hash: u64,
    /// Events in all.
    pub events: u64,
    /// Ends of the process in all; each was followed by a recovery.
    pub crashes: u64,
    /// Time on the clocks of all runs.
    pub simulated_us: u64,
    /// Seeds that failed.
    pub failed: u64,
    /// The first of them, in order.
    pub failures: Vec<(u64, RunOutcome)>,
}

/// Most failures kept with their decisions, so that a long run does not fill the memory.
const FAILURES_KEPT: usize = 20;

impl Summary {
    fn add(&mut self, seed: u64, outcome: RunOutcome) {
        self.seeds += 1;
        self.counts.add(&outcome.counts);
        self.reached.add(&outcome.reached);
        self.coverage.add(&outcome.struck);
        self.hash = self.hash.wrapping_add(crate::trace::hash_bytes(seed, &outcome.hash.to_le_bytes()));
        self.events += outcome.event_count;
        self.crashes += outcome.crashes;
        self.simulated_us += outcome.simulated_us;
        if outcome.violation.is_some() {
            self.failed += 1;
            if self.failures.len() < FAILURES_KEPT {
                self.failures.push((seed, outcome));
            }
        }
    }
}

/// Seeds to be run.
#[derive(Debug)]
pub struct Work<'w> {
    /// Which.
    pub seeds: std::ops::Range<u64>,
    /// How.
    pub plan: Plan,
    /// Threads.
    pub jobs: usize,
    /// Number of failures that ends it.
    pub failures_max: usize,
    /// Time at which it ends.
    pub until: Option<Instant>,
    /// Set to stop early.
    pub stop: &'w AtomicBool,
}

/// Runs seeds on some threads. `progress` is called after each; `enough` failures end the run.
pub fn run_range(
    seeds: std::ops::Range<u64>,
    plan: Plan,
    threads: usize,
    enough: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Summary {
    let stop = &AtomicBool::new(false);
    let work = Work { seeds, plan, jobs: threads, failures_max: enough, until: None, stop };
    run_many(&work, &|summary| progress(summary.seeds, summary.failed))
}

/// Runs seeds until there are no more, or too many have failed, or the time is over. `progress` is called after each.
pub fn run_many(work: &Work<'_>, progress: &(dyn Fn(&Summary) + Sync)) -> Summary {
    let next = AtomicU64::new(work.seeds.start);
    let enough = AtomicBool::new(false);
    let summary = Mutex::new(Summary::default());
    let is_over = || {
        enough.load(Ordering::Relaxed)
            || work.stop.load(Ordering::Relaxed)
            || work.until.is_some_and(|until| Instant::now() >= until)
    };
    std::thread::scope(|scope| {
        for _ in 0..work.jobs {
            scope.spawn(|| {
                while !is_over() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= work.seeds.end {
                        return;
                    }
                    let outcome = run_seed(seed, work.plan);
                    let mut summary = summary.lock().expect("no panics inside");
                    summary.add(seed, outcome);
                    if summary.failed >= work.failures_max as u64 {
                        enough.store(true, Ordering::Relaxed);
                    }
                    progress(&summary);
                }
            });
        }
    });
    let mut summary = summary.into_inner().expect("no panics inside");
    summary.failures.sort_by_key(|(seed, _)| *seed);
    summary
}

/// Seeds after which every coverage mark of the kernel must have been reached.
const SEEDS_FOR_PROBES: u64 = 10_000;

/// The gaps of a run of many seeds: faults that changed nothing, or in too few or too many seeds, and events that never
/// happened. A simulator with such gaps must not pass.
pub fn coverage(summary: &Summary, plan: Plan) -> Vec<String> {
    let mut complaints = summary.coverage.complaints(plan.profile.faults().and(plan.faults));
    complaints.extend(summary.never_happened().into_iter().map(|what| format!("{what} never happened")));
    if summary.seeds >= SEEDS_FOR_PROBES {
        let missing = summary.missing_marks().into_iter();
        complaints.extend(
            missing.map(|mark| format!("the kernel's coverage mark {} was never reached", mark.name())),
        );
    }
    complaints
}

impl Summary {
    /// Coverage marks of the kernel that no seed reached: the run proves nothing about these places.
    pub fn missing_marks(&self) -> Vec<CoverageMark> {
        self.reached.each().filter(|(_, count)| *count == 0).map(|(mark, _)| mark).collect()
    }

    /// Events that are neither faults nor damage, and must occur in any run of many seeds.
    fn never_happened(&self) -> Vec<&'static str> {
        let Counts { world, oracle, .. } = &self.counts;
        let optional =
            ["rotten_refused", "rotten_survived", "rotten_residual", "stale_extracts", "read_only"];
        let all = [world.each(), oracle.each()].concat().into_iter();
        all.filter(|(name, n)| *n == 0 && !optional.contains(name)).map(|(name, _)| name).collect()
    }
}
