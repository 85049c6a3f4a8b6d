//! `sim bugs`: searches for the seeded defects, each of which the simulator must find; or for the defect of a patch; or
//! checks that each scenario catches its defect.
//! `crate::bugs` does the search.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::failure::{self, Wanted};
use crate::bugs::{
    Effort, Found, SEEDS_RUN, Subject, elsewhere, look_for, markdown, repository, run_patched, summary,
};
use crate::defects::SeededDefect;
use crate::fault::FaultSet;
use crate::run::{Plan, catch_panics};
use crate::shrink::case::{Catches, Scenario};

/// Pause between two lines of progress.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// Arguments of `sim bugs`.
#[derive(clap::Args)]
pub struct Args {
    /// Only these defects; all if none is named.
    #[arg(value_parser = SeededDefect::named)]
    bugs: Vec<SeededDefect>,
    /// List the defects with their descriptions, without a search.
    #[arg(long)]
    list: bool,
    /// Check instead that every scenario of `sim/scenarios` still catches its defect.
    #[arg(long, conflicts_with_all = ["bugs", "list", "markdown"])]
    scenarios: bool,
    /// Independent starting seeds to search from [default: 20, or 3 with --patch].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    starts: Option<u64>,
    /// Number of seeds after which a search ends without a result.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..))]
    cap: u64,
    /// Seeds of the control in which all faults are off.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    calm: u64,
    /// Seeds of the controls in which one kind of fault is on at a time.
    #[arg(long, default_value_t = 30)]
    single: u64,
    /// Threads.
    #[arg(long)]
    jobs: Option<usize>,
    /// A short pass: one starting seed and a short control for each.
    #[arg(long)]
    quick: bool,
    /// Write the table for the documentation into this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Search for the defect of a diff (as `git diff` makes it), applied to a copy of this source.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bugs", "list", "markdown", "scenarios"])]
    patch: Option<PathBuf>,
    /// With --patch: repeat a failure that was found with it.
    #[arg(long, value_name = "FILE", requires = "patch")]
    scenario: Option<PathBuf>,
    /// Look for what is wrong with this very build, which is this source with that diff.
    #[arg(long, hide = true, value_name = "FILE")]
    as_built: Option<PathBuf>,
    #[command(flatten)]
    wanted: Wanted,
}

/// Searches for defects. True if each was found as required.
pub fn run(args: Args) -> bool {
    searched(args).unwrap_or_else(|error| {
        eprintln!("{error}");
        false
    })
}

fn searched(args: Args) -> Result<bool, String> {
    let all = SeededDefect::all()?;
    if args.list {
        list(&all);
        return Ok(true);
    }
    if args.scenarios {
        return elsewhere(all).map_or_else(scenarios, Ok);
    }
    let starts = args.starts.unwrap_or(if args.patch.is_some() { 3 } else { 20 });
    let effort = Effort { starts, cap: args.cap, calm: args.calm, single: args.single };
    let effort = if args.quick { Effort { starts: 1, calm: 20, single: 0, ..effort } } else { effort };
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
    if let Some(patch) = &args.patch {
        return match &args.scenario {
            Some(scenario) => {
                run_patched(patch, ["run".as_ref(), "--scenario".as_ref(), scenario.as_os_str()])
            }
            None => run_patched(patch, as_built(patch, effort, jobs, &args.wanted)),
        };
    }
    if let Some(patch) = &args.as_built {
        return Ok(look_at_change(patch, effort, jobs, &args.wanted));
    }
    let bugs = if args.bugs.is_empty() { all } else { args.bugs };
    if let Some(passed) = elsewhere(bugs.iter().copied()) {
        return Ok(passed);
    }
    let subjects: Vec<Subject> = bugs.into_iter().map(Subject::SeededDefect).collect();
    Ok(look(&subjects, effort, jobs, args.markdown))
}

fn as_built(patch: &Path, effort: Effort, jobs: usize, wanted: &Wanted) -> Vec<OsString> {
    let Effort { starts, cap, calm, .. } = effort;
    let line = format!("bugs --starts {starts} --cap {cap} --calm {calm} --jobs {jobs} --as-built");
    line.split(' ').map(OsString::from).chain([patch.into()]).chain(wanted.args()).collect()
}

/// Searches for the defect of a change, prints the progress, and prints the smallest failure found. True if all
/// searches found one.
fn look_at_change(patch: &Path, effort: Effort, jobs: usize, wanted: &Wanted) -> bool {
    catch_panics();
    let finding =
        with_progress(effort, || look_for(&[Subject::AsBuilt], effort, jobs, &mut |_| {}).remove(0));
    if let Some(Found { seed, profile, violation, .. }) = finding.example() {
        let plan = Plan { profile: *profile, faults: FaultSet::ALL, bug: None, print: false };
        let patch = patch.display();
        failure::tell(*seed, violation, plan, wanted, &|_, path| {
            format!("cargo run --release -p sim -- bugs --patch {patch} --scenario {}", path.display())
        });
    }
    let calm = &finding.control.calm;
    match &calm.found {
        Some(found) => println!("with all faults off: found too, by seed {}", found.seed),
        None => println!("with all faults off: not found in {} seeds", calm.seeds),
    }
    println!("{}: {}", patch.display(), finding.verdict());
    finding.hunts.iter().all(|hunt| hunt.found.is_some())
}

/// Prints every few seconds how many seeds were searched, and how fast.
fn with_progress<T>(effort: Effort, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while is_done.recv_timeout(TOLD_EVERY) == Err(RecvTimeoutError::Timeout) {
                let (seeds, seconds) = (SEEDS_RUN.load(Ordering::Relaxed), began.elapsed().as_secs_f64());
                eprintln!(
                    "{seeds} seeds in {seconds:.0} s ({:.1} a second), of {} that {} searches take at most",
                    seeds as f64 / seconds,
                    effort.starts * effort.cap,
                    effort.starts
                );
            }
        });
        let outcome = work();
        drop(done);
        outcome
    })
}

fn list(bugs: &[SeededDefect]) {
    for bug in bugs {
        let about = bug.about();
        let together = about.together.join(" + ");
        println!(
            "{} ({:?}{}{together})",
            about.name,
            about.class,
            if together.is_empty() { "" } else { ": " }
        );
        println!("    {}\n    {}", about.what, about.origin);
    }
}

fn look(subjects: &[Subject], effort: Effort, jobs: usize, file: Option<PathBuf>) -> bool {
    catch_panics();
    let began = Instant::now();
    let findings = look_for(subjects, effort, jobs, &mut |finding| println!("{}", finding.line()));
    let (passed, text) = summary(&findings);
    println!("{text}; {:.0} s on {jobs} threads", began.elapsed().as_secs_f64());
    let Some(file) = file else { return passed };
    match std::fs::write(&file, markdown(&findings, effort)) {
        Ok(()) => passed,
        Err(error) => {
            eprintln!("{} cannot be written: {error}", file.display());
            false
        }
    }
}

// ---- Scenarios ----

/// Seeds of its small world among which one must catch a scenario's defect, if the recorded run no longer does.
const SEEDS_TRIED: u64 = 3000;

/// Names the command that records scenarios again.
const RECORD_AGAIN: &str = "cargo run --release -p sim -- shrink --scenario sim/scenarios --shrink-for 30s";

/// True if every scenario catches its defect: by the recorded run, or, if the world has changed since, by a seed of its
/// small world.
fn scenarios() -> Result<bool, String> {
    // Some are caught by assertions of the kernel.
    catch_panics();
    let scenarios = Scenario::read_folder(&repository()?.join("sim/scenarios"))?;
    let (mut missed, mut stale) = (0, 0);
    for (path, scenario) in &scenarios {
        let path = path.display();
        match scenario.catches(SEEDS_TRIED) {
            Catches::AsRecorded => {}
            Catches::Seed(seed) => {
                stale += 1;
                println!("{path}: caught by seed {seed} of its small world, no longer as recorded");
            }
            Catches::No => {
                missed += 1;
                println!("{path}: {SEEDS_TRIED} seeds of its small world do not catch its defect");
            }
        }
    }
    if stale + missed > 0 {
        println!("the world has changed since these were recorded; {RECORD_AGAIN}");
    }
    let verdict = if missed == 0 { "PASSED" } else { "FAILED" };
    println!("{verdict}: {} of {} scenarios catch their defect", scenarios.len() - missed, scenarios.len());
    Ok(missed == 0)
}
