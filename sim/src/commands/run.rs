//! `sim run`: seeds, each twice, under the faults of a profile; or one scenario file. `crate::run` runs them,
//! `crate::shrink` shrinks failures.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::chosen::Chosen;
use super::failure::{self, Wanted};
use super::progress::Progress;
use crate::defects::SeededDefect;
use crate::fault::FaultSet;
use crate::run::{Plan, Summary, Work, catch_panics, coverage, run_many, run_seed};
use crate::shrink::Case;
use crate::shrink::case::Scenario;
use crate::swarm::Profile;
use crate::trace::Keep;

/// Default seeds.
const SEEDS: Range<u64> = 0..1000;

/// Arguments of `sim run`.
#[derive(clap::Args)]
pub struct Args {
    /// Range of seeds, as `0..1000` [default: 0..1000, or without an end with --for].
    #[arg(long, value_parser = parse_range, conflicts_with = "scenario")]
    seeds: Option<Range<u64>>,
    /// One seed.
    #[arg(long, conflicts_with_all = ["seeds", "scenario"])]
    seed: Option<u64>,
    #[command(flatten)]
    chosen: Chosen,
    /// Show every event.
    #[arg(long)]
    trace: bool,
    /// Threads; a run is one thread [default: one per core].
    #[arg(long, alias = "threads")]
    jobs: Option<usize>,
    /// Stop after this time, as `90s`, `10m` or `2h`.
    #[arg(long = "for", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Failures after which to stop.
    #[arg(long, default_value_t = 1)]
    failures: usize,
    /// Collect all failures.
    #[arg(long, conflicts_with = "failures")]
    keep_going: bool,
    #[command(flatten)]
    wanted: Wanted,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text:?} is not a range of seeds; write it as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let end = if to.is_empty() { u64::MAX } else { to.parse().map_err(|_| wrong())? };
    Ok(from.parse().map_err(|_| wrong())?..end)
}

/// A length of time with its unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write it as 90s, 10m or 2h");
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let seconds = match &text[unit..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..unit].parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number.checked_mul(seconds).ok_or_else(wrong)?))
}

/// Executes the command. True if nothing was violated.
pub fn run(args: Args) -> bool {
    if let Some(passed) = args.chosen.elsewhere() {
        return passed;
    }
    catch_panics();
    let plan = Plan { print: args.trace && args.seed.is_some(), ..args.chosen.plan() };
    match (&args.chosen.scenario, args.seed) {
        (Some(path), _) => scenario(path, plan.bug, args.trace),
        (None, Some(seed)) => one(seed, plan, &args.wanted),
        (None, None) => many(&args, plan),
    }
}

/// Runs a scenario on the kernel as it is, or with the requested defect.
fn scenario(path: &std::path::Path, bug: Option<SeededDefect>, trace: bool) -> bool {
    let scenario = match Scenario::read(path) {
        Ok(scenario) => scenario,
        Err(error) => {
            eprintln!("{error}");
            return false;
        }
    };
    println!("{}\n", scenario.title);
    let case = Case { bug, ..scenario.case.clone() };
    let outcome = case.run(if trace { Keep::Print } else { Keep::All });
    if !trace {
        print!("{}", crate::story::tell(&outcome));
    }
    if let (None, Some(bug)) = (bug, scenario.case.bug) {
        println!(
            "\nThis is the unmodified kernel. To seed the defect of this scenario: --bug {}",
            bug.about().name
        );
    }
    println!("{}", if outcome.violation.is_none() { "PASSED" } else { "FAILED" });
    outcome.violation.is_none()
}

fn one(seed: u64, plan: Plan, wanted: &Wanted) -> bool {
    let outcome = run_seed(seed, plan);
    println!("seed {seed}: trace {:016x}, {} decisions", outcome.hash, outcome.decisions.len());
    println!("{:#?}", outcome.counts);
    if outcome.violation.is_some() {
        failure::report(seed, &outcome, plan, wanted);
    }
    outcome.violation.is_none()
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The first interrupt ends the run with its summary, the second at once.
fn hear_interrupts() {
    let heard = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
    if let Err(error) = heard {
        eprintln!("an interrupt will end this without a summary: {error}");
    }
}

fn many(args: &Args, plan: Plan) -> bool {
    hear_interrupts();
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
    let without_end = if args.time.is_some() { 0..u64::MAX } else { SEEDS };
    let began = Instant::now();
    let work = Work {
        seeds: args.seeds.clone().unwrap_or(without_end),
        plan,
        jobs: jobs.max(1),
        failures_max: if args.keep_going { usize::MAX } else { args.failures.max(1) },
        until: args.time.map(|time| began + time),
        stop: &INTERRUPTED,
    };
    let progress = Progress::new(&work.seeds, args.time);
    let summary = run_many(&work, &|summary| progress.show(summary));
    progress.end();
    if summary.failed == 0 {
        print_counts(&summary, plan);
    }
    for (seed, outcome) in &summary.failures {
        failure::report(*seed, outcome, plan, &args.wanted);
    }
    if summary.failed > summary.failures.len() as u64 {
        println!("{} more failures are not shown", summary.failed - summary.failures.len() as u64);
    }
    let mut passed = summary.failed == 0;
    let whole = plan.profile == Profile::Swarm && plan.faults == FaultSet::ALL && plan.bug.is_none();
    if whole && summary.seeds >= 100 && passed {
        for complaint in coverage(&summary, plan) {
            println!("insufficient coverage: {complaint}");
            passed = false;
        }
    }
    let verdict = match (passed, INTERRUPTED.load(Ordering::Relaxed)) {
        (false, _) => "FAILED",
        (true, true) => "INTERRUPTED, nothing failed",
        (true, false) => "PASSED",
    };
    println!("{verdict}: {}", progress.line(&summary));
    println!("trace hash of all {:016x}, on {jobs} threads", summary.hash);
    passed
}

fn print_counts(summary: &Summary, plan: Plan) {
    let counts = &summary.counts;
    let groups = [
        ("world", counts.world.each()),
        ("disk", counts.disk.each()),
        ("broker", counts.broker.each()),
        ("checked", counts.oracle.each()),
    ];
    let missing: Vec<&str> = summary.missing_marks().into_iter().map(|mark| mark.name()).collect();
    let marks = kernel::coverage::CoverageMark::ALL.len();
    println!(
        "kernel: {} of {marks} coverage marks reached; not: {}",
        marks - missing.len(),
        missing.join(", ")
    );
    for (name, group) in groups {
        let words: Vec<String> =
            group.iter().map(|(what, n)| format!("{} {n}", what.replace('_', " "))).collect();
        println!("{name}: {}", words.join(", "));
    }
    for line in summary.coverage.table(plan.profile.faults().and(plan.faults)) {
        println!("{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_times_are_understood_or_refused() {
        assert_eq!(parse_range("3..9"), Ok(3..9));
        assert_eq!(parse_range("3.."), Ok(3..u64::MAX));
        assert!(parse_range("3").is_err() && parse_range("a..b").is_err());
        assert_eq!(parse_duration("10m"), Ok(Duration::from_secs(600)));
        assert_eq!(parse_duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "10", "m", "10 m", "99999999999999999999s", "18446744073709551615h"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
