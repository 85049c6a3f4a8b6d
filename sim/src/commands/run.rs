//! `sim run`: seeds, each twice, under the faults of a profile. What a run is lives in `crate::run`.

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::time::Instant;

use crate::decide::Recorded;
use crate::fault::FaultSet;
use crate::planted::{self, Planted};
use crate::run::{Outcome, Plan, Summary, catch_panics, coverage, run_kept, run_range, run_seed};
use crate::swarm::Profile;
use crate::trace::Keep;

/// Arguments of `sim run`.
#[derive(clap::Args)]
pub struct Args {
    /// Range of seeds, as `0..1000`.
    #[arg(long, default_value = "0..1000", value_parser = parse_range, conflicts_with = "seed")]
    seeds: Range<u64>,
    /// One seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Show every event.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Which faults may happen.
    #[arg(long, value_enum, default_value = "swarm")]
    profile: Profile,
    /// Only these of its faults, as `kill,torn-sectors`, `broker,-retention` or `all,-poison`.
    #[arg(long, default_value = "all", value_parser = FaultSet::parse, allow_hyphen_values = true)]
    faults: FaultSet,
    /// Plant this bug first; `sim bugs --list` names them. Needs a build with `--features planted`.
    #[arg(long, value_parser = Planted::named)]
    bug: Option<Planted>,
    /// Threads; a run is one thread.
    #[arg(long)]
    threads: Option<usize>,
    /// Failures after which to stop.
    #[arg(long, default_value_t = 1)]
    failures: usize,
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text:?} is no range of seeds; write it as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    Ok(from.parse().map_err(|_| wrong())?..to.parse().map_err(|_| wrong())?)
}

/// Runs seeds. True if nothing was violated.
pub fn run(args: Args) -> bool {
    catch_panics();
    let Args { seeds, seed, trace, profile, faults, bug, threads, failures } = args;
    if bug.is_some() && !planted::BUILT_IN {
        eprintln!(
            "this build has no planted bugs; run it with: cargo run --release -p sim --features planted -- run …"
        );
        return false;
    }
    match seed {
        Some(seed) => one(seed, Plan { profile, faults, bug, print: trace }),
        None => many(seeds, Plan { profile, faults, bug, print: false }, threads, failures),
    }
}

fn one(seed: u64, plan: Plan) -> bool {
    let outcome = run_seed(seed, plan);
    println!("seed {seed}: trace {:016x}, {} decisions", outcome.hash, outcome.decisions.len());
    println!("{:#?}", outcome.counts);
    if outcome.violation.is_some() {
        report(seed, &outcome, plan);
    }
    outcome.violation.is_none()
}

fn many(seeds: Range<u64>, plan: Plan, threads: Option<usize>, failures: usize) -> bool {
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get()));
    let began = Instant::now();
    let total = seeds.end.saturating_sub(seeds.start);
    let on_terminal = std::io::stderr().is_terminal();
    let progress = |done: u64, failed: u64| {
        if on_terminal && (done.is_multiple_of(10) || done == total) || done.is_multiple_of(500) {
            let rate = done as f64 / began.elapsed().as_secs_f64();
            let end = if on_terminal { "\r" } else { "\n" };
            eprint!("{done} of {total} seeds, {failed} failed, {rate:.0} seeds/s{end}");
            let _ = std::io::stderr().flush();
        }
    };
    let summary = run_range(seeds, plan, threads, failures, &progress);
    let seconds = began.elapsed().as_secs_f64();
    print_counts(&summary);
    for line in summary.coverage.table(plan.profile.faults().and(plan.faults)) {
        println!("{line}");
    }
    for (seed, outcome) in &summary.failures {
        report(*seed, outcome, plan);
    }
    let mut passed = summary.failures.is_empty();
    if plan.profile == Profile::Swarm
        && plan.faults == FaultSet::ALL
        && plan.bug.is_none()
        && summary.seeds >= 100
        && passed
    {
        for complaint in coverage(&summary, plan) {
            println!("too little is shown: {complaint}");
            passed = false;
        }
    }
    println!(
        "{}: {} seeds, each twice, in {seconds:.1} s ({:.0} seeds/s on {threads} threads), trace hash of all {:016x}",
        if passed { "PASSED" } else { "FAILED" },
        summary.seeds,
        summary.seeds as f64 / seconds,
        summary.hash
    );
    passed
}

fn print_counts(summary: &Summary) {
    let counts = &summary.counts;
    let groups = [
        ("world", counts.world.each()),
        ("disk", counts.disk.each()),
        ("broker", counts.broker.each()),
        ("checked", counts.oracle.each()),
    ];
    let missing: Vec<&str> = summary.missing_probes().into_iter().map(|probe| probe.name()).collect();
    let probes = kernel::probe::Probe::ALL.len();
    println!("kernel: {} of {probes} probes reached; not: {}", probes - missing.len(), missing.join(", "));
    for (name, group) in groups {
        let words: Vec<String> =
            group.iter().map(|(what, n)| format!("{} {n}", what.replace('_', " "))).collect();
        println!("{name}: {}", words.join(", "));
    }
}

fn report(seed: u64, outcome: &Outcome, plan: Plan) {
    let Some(violation) = &outcome.violation else { return };
    println!("\n--- seed {seed} failed; its last events:");
    let events = run_kept(Recorded::new(outcome.decisions.clone()), plan, Keep::All).events;
    for event in &events[events.len().saturating_sub(60)..] {
        println!("{event}");
    }
    println!("--- VIOLATED {}: {}", violation.invariant, violation.text);
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        value().map(|v| v.get_name().to_string()).unwrap_or_default()
    };
    let profile = name(&|| clap::ValueEnum::to_possible_value(&plan.profile));
    let (features, bug) = match plan.bug {
        Some(bug) => (" --features planted", format!(" --bug {}", bug.about().name)),
        None => ("", String::new()),
    };
    println!(
        "--- reproduce: cargo run --release -p sim{features} -- run --seed {seed} --profile {profile} --faults {}{bug} --trace\n",
        plan.faults
    );
}
