//! The search: depth first, every move of every state once, until all states are seen. Threads share the set of seen
//! states and pass work to each other.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::scope::Scope;
use super::world::{Move, Surroundings, World};
use crate::decide::{Decisions, Odometer};
use crate::oracle::Violation;

/// A move, and the decisions inside of it.
pub type Step = (Move, Vec<u64>);

/// The result of a search.
#[derive(Debug)]
pub struct Report {
    /// Different states.
    pub states: u64,
    /// Moves taken.
    pub transitions: u64,
    /// Longest path that was on the stack.
    pub depth: u64,
    /// States without due events.
    pub ends: u64,
    /// What an observer sees in these, with counts.
    pub endings: BTreeMap<Vec<Vec<u8>>, u64>,
    /// Everything that an observer could have seen: see [`World::observed`]. Empty unless it was asked for.
    pub observed: BTreeSet<u128>,
    /// Number of recoveries.
    pub recoveries: u64,
    /// The search is complete.
    pub closed: bool,
    /// How long it took.
    pub time: Duration,
    /// The first violation, and the steps that lead to it.
    pub found: Option<(Violation, Vec<Step>)>,
}

/// How to search.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Threads.
    pub jobs: usize,
    /// States after which to give up.
    pub states_max: u64,
    /// Time after which to give up.
    pub time_max: Option<Duration>,
    /// Keep what an observer could have seen.
    pub observe: bool,
}

impl Limits {
    /// One thread, to the end.
    pub const NONE: Limits = Limits { jobs: 1, states_max: u64::MAX, time_max: None, observe: false };
}

/// A hasher for states, which are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("states are 128-bit numbers")
    }

    fn write_u128(&mut self, state: u128) {
        self.0 = state as u64;
    }
}

type Seen = HashSet<u128, BuildHasherDefault<AsItIs>>;

const SETS: usize = 64;

/// Work for an idle thread.
struct Task {
    world: World,
    path: Vec<Step>,
}

struct Shared {
    scope: Scope,
    limits: Limits,
    seen: Vec<Mutex<Seen>>,
    crashed: Mutex<Seen>,
    tasks: Mutex<Vec<Task>>,
    idle: AtomicUsize,
    over: AtomicBool,
    states: AtomicU64,
    transitions: AtomicU64,
    depth: AtomicU64,
    recoveries: AtomicU64,
    gave_up: AtomicBool,
    found: Mutex<Option<(Violation, Vec<Step>)>>,
    outcome: Mutex<Found>,
    started: Instant,
}

/// End states, and observations.
#[derive(Default)]
struct Found {
    endings: BTreeMap<Vec<Vec<u8>>, u64>,
    observed: BTreeSet<u128>,
}

/// A state on the stack, and its next move.
struct Frame {
    world: World,
    hash: u128,
    /// Its crashes are tried, too; otherwise another state with the same disk and history was crashed.
    crashes: bool,
    odometer: Rc<RefCell<Odometer>>,
    /// Steps before it.
    path: usize,
    exhausted: bool,
}

/// The progress of a search.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Different states so far.
    pub states: u64,
    /// Moves so far.
    pub transitions: u64,
    /// Longest path so far.
    pub depth: u64,
    /// Time so far.
    pub time: Duration,
}

/// Searches a world. `prepare` is called once on each thread; `progress` at intervals, on this one.
pub fn search(
    scope: &Scope,
    limits: Limits,
    prepare: &(dyn Fn() + Sync),
    progress: &mut dyn FnMut(Progress),
) -> Report {
    let shared = Shared {
        scope: scope.clone(),
        limits,
        seen: (0..SETS).map(|_| Mutex::default()).collect(),
        crashed: Mutex::default(),
        tasks: Mutex::default(),
        idle: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        states: AtomicU64::new(0),
        transitions: AtomicU64::new(0),
        depth: AtomicU64::new(0),
        recoveries: AtomicU64::new(0),
        gave_up: AtomicBool::new(false),
        found: Mutex::default(),
        outcome: Mutex::default(),
        started: Instant::now(),
    };
    prepare();
    let first = caught(|| World::new(&Surroundings::new(scope.clone())));
    match first {
        Ok(world) => {
            let hash = world.hash(&Surroundings::new(scope.clone()));
            shared.is_new(hash);
            shared.states.store(1, Relaxed);
            shared.tasks.lock().expect("no panic while locked").push(Task { world, path: vec![] });
            std::thread::scope(|threads| {
                let workers: Vec<_> = (0..limits.jobs)
                    .map(|_| {
                        threads.spawn(|| {
                            prepare();
                            shared.work();
                        })
                    })
                    .collect();
                while workers.iter().any(|worker| !worker.is_finished()) {
                    std::thread::sleep(Duration::from_millis(20));
                    progress(shared.progress());
                }
            });
        }
        Err(violation) => {
            shared.found.lock().expect("no panic while locked").get_or_insert((violation, vec![]));
        }
    }
    let found = shared.found.into_inner().expect("no panic while locked");
    let Found { endings, observed } = shared.outcome.into_inner().expect("no panic while locked");
    Report {
        states: shared.states.into_inner(),
        transitions: shared.transitions.into_inner(),
        depth: shared.depth.into_inner(),
        ends: endings.values().sum(),
        endings,
        observed,
        recoveries: shared.recoveries.into_inner(),
        closed: found.is_none() && !shared.gave_up.into_inner(),
        time: shared.started.elapsed(),
        found,
    }
}

/// A panic of the kernel is a violation, because the kernel asserts its own invariants.
pub fn caught<T>(act: impl FnOnce() -> Result<T, Violation>) -> Result<T, Violation> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Violation::new("assertion", text.unwrap_or_default()))
    })
}

impl Shared {
    fn is_new(&self, hash: u128) -> bool {
        let set = (hash >> 64) as usize % SETS;
        self.seen[set].lock().expect("no panic while locked").insert(hash)
    }

    fn progress(&self) -> Progress {
        Progress {
            states: self.states.load(Relaxed),
            transitions: self.transitions.load(Relaxed),
            depth: self.depth.load(Relaxed),
            time: self.started.elapsed(),
        }
    }

    fn work(&self) {
        let around = Surroundings::new(self.scope.clone());
        let mut outcome = Found::default();
        while let Some(task) = self.next_task() {
            self.explore(task, &around, &mut outcome);
        }
        self.recoveries.fetch_add(around.crashes.recoveries.get(), Relaxed);
        let mut all = self.outcome.lock().expect("no panic while locked");
        outcome
            .endings
            .into_iter()
            .for_each(|(ending, count)| *all.endings.entry(ending).or_default() += count);
        all.observed.append(&mut outcome.observed);
    }

    fn next_task(&self) -> Option<Task> {
        self.idle.fetch_add(1, Relaxed);
        loop {
            if self.over.load(Relaxed) {
                return None;
            }
            {
                let mut tasks = self.tasks.lock().expect("no panic while locked");
                if let Some(task) = tasks.pop() {
                    self.idle.fetch_sub(1, Relaxed);
                    return Some(task);
                }
                // If all threads are idle, no work can appear.
                if self.idle.load(Relaxed) == self.limits.jobs {
                    self.over.store(true, Relaxed);
                }
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn fail(&self, violation: Violation, path: &[Step]) {
        self.found.lock().expect("no panic while locked").get_or_insert((violation, path.to_vec()));
        self.over.store(true, Relaxed);
    }

    fn explore(&self, task: Task, around: &Surroundings, outcome: &mut Found) {
        let mut path = task.path;
        let mut on_stack = Seen::default();
        let hash = task.world.hash(around);
        on_stack.insert(hash);
        let mut stack = vec![self.frame(task.world, hash, path.len(), around)];
        if let Err(violation) = self.arrived(&stack[0].world, around, outcome) {
            return self.fail(violation, &path);
        }
        while let Some(top) = stack.last_mut() {
            if top.exhausted || self.over.load(Relaxed) {
                on_stack.remove(&top.hash);
                path.truncate(top.path);
                stack.pop();
                continue;
            }
            path.truncate(top.path);
            let decisions = Decisions::new(top.odometer.clone());
            let chosen = top.world.choose(top.crashes, &decisions, around);
            let Some(chosen) = chosen else {
                top.exhausted = true;
                continue;
            };
            let (mut world, before) = (top.world.clone(), decisions.count());
            let moved = caught(|| world.take(chosen, &decisions, around));
            path.push((chosen, decisions.taken().split_off(before)));
            top.exhausted = !top.odometer.borrow_mut().advance();
            if let Err(violation) = moved {
                return self.fail(violation, &path);
            }
            self.transitions.fetch_add(1, Relaxed);
            let hash = world.hash(around);
            if !self.is_new(hash) {
                if on_stack.contains(&hash) {
                    let text = "a state recurs: due events can continue for ever without an end";
                    return self.fail(Violation::new("live", text), &path);
                }
                continue;
            }
            let states = self.states.fetch_add(1, Relaxed) + 1;
            if self.is_over_limit(states) {
                self.gave_up.store(true, Relaxed);
                self.over.store(true, Relaxed);
                return;
            }
            if self.limits.jobs > 1 && self.idle.load(Relaxed) > 0 {
                let mut tasks = self.tasks.lock().expect("no panic while locked");
                if tasks.len() < self.limits.jobs {
                    tasks.push(Task { world, path: path.clone() });
                    continue;
                }
            }
            if let Err(violation) = self.arrived(&world, around, outcome) {
                return self.fail(violation, &path);
            }
            on_stack.insert(hash);
            stack.push(self.frame(world, hash, path.len(), around));
            self.depth.fetch_max(stack.len() as u64, Relaxed);
        }
    }

    fn arrived(&self, world: &World, around: &Surroundings, outcome: &mut Found) -> Result<(), Violation> {
        world.check_end(around)?;
        if let Some(ending) = world.ending(around) {
            *outcome.endings.entry(ending).or_default() += 1;
        }
        if self.limits.observe {
            outcome.observed.insert(world.observed());
        }
        Ok(())
    }

    fn is_over_limit(&self, states: u64) -> bool {
        states > self.limits.states_max
            || (states.is_multiple_of(1024)
                && self.limits.time_max.is_some_and(|max| self.started.elapsed() > max))
    }

    fn frame(&self, world: World, hash: u128, path: usize, around: &Surroundings) -> Frame {
        let once = world.crash_hash(around);
        let crashes =
            once.is_none_or(|hash| self.crashed.lock().expect("no panic while locked").insert(hash));
        let odometer = Rc::new(RefCell::new(Odometer::new(usize::MAX)));
        Frame { world, hash, crashes, odometer, path, exhausted: false }
    }
}
