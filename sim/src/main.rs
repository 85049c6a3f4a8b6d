//! The simulator's command line: run seeds, or the canaries that must be caught.

use std::io::{IsTerminal, Write};
use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use sim::run::{Outcome, Plan, Summary, catch_panics, run_range, run_seed};
use sim::swarm::Profile;
use sim::world::canary::Canary;

#[derive(Parser)]
#[command(about = "Runs the shipped kernel in a simulated world, under faults, against a reference model")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run seeds; each runs twice and must leave the same trace.
    Run {
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
        /// Run a deliberately broken variant instead.
        #[arg(long, value_enum)]
        canary: Option<Canary>,
        /// Threads; a run is one thread.
        #[arg(long)]
        threads: Option<usize>,
        /// Failures after which to stop.
        #[arg(long, default_value_t = 1)]
        failures: usize,
    },
    /// Deliberately broken variants: each must be caught.
    Canary {
        /// Only this one.
        #[arg(value_enum)]
        canary: Option<Canary>,
        /// Seeds to try with each.
        #[arg(long, default_value_t = 300)]
        seeds: u64,
    },
}

fn parse_range(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("{text:?} is no range of seeds; write it as 0..1000");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    Ok(from.parse().map_err(|_| wrong())?..to.parse().map_err(|_| wrong())?)
}

fn main() -> ExitCode {
    catch_panics();
    let passed = match Arguments::parse().command {
        Command::Run { seed: Some(seed), trace, profile, canary, .. } => {
            one(seed, Plan { profile, canary, print: trace })
        }
        Command::Run { seeds, profile, canary, threads, failures, .. } => {
            many(seeds, Plan { profile, canary, print: false }, threads, failures)
        }
        Command::Canary { canary, seeds } => canaries(canary, seeds),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
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
    for (seed, outcome) in &summary.failures {
        report(*seed, outcome, plan);
    }
    let mut passed = summary.failures.is_empty();
    if plan.profile == Profile::Swarm && plan.canary.is_none() && summary.seeds >= 100 && passed {
        let missing = summary.missing_faults();
        if !missing.is_empty() {
            println!("these never happened, so the run proves nothing about them: {}", missing.join(", "));
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
    for (name, group) in groups {
        let words: Vec<String> =
            group.iter().map(|(what, n)| format!("{} {n}", what.replace('_', " "))).collect();
        println!("{name}: {}", words.join(", "));
    }
}

fn report(seed: u64, outcome: &Outcome, plan: Plan) {
    let Some(violation) = &outcome.violation else { return };
    println!("\n--- seed {seed} failed; its last events:");
    for line in &outcome.tail {
        println!("{line}");
    }
    println!("--- VIOLATED {}: {}", violation.invariant, violation.text);
    let name = |value: &dyn Fn() -> Option<clap::builder::PossibleValue>| {
        value().map(|v| v.get_name().to_string()).unwrap_or_default()
    };
    let profile = name(&|| clap::ValueEnum::to_possible_value(&plan.profile));
    let canary =
        plan.canary.map(|c| format!(" --canary {}", name(&|| clap::ValueEnum::to_possible_value(&c))));
    println!(
        "--- reproduce: cargo run --release -p sim -- run --seed {seed} --profile {profile}{} --trace\n",
        canary.unwrap_or_default()
    );
}

fn canaries(only: Option<Canary>, seeds: u64) -> bool {
    let mut all_caught = true;
    for canary in Canary::ALL.into_iter().filter(|c| only.is_none_or(|only| only == *c)) {
        let plan = Plan { profile: Profile::Swarm, canary: Some(canary), print: false };
        let summary = run_range(0..seeds, plan, 2, 1, &|_, _| {});
        match summary.failures.first() {
            Some((seed, outcome)) => {
                let violation = outcome.violation.as_ref().expect("a failure has one");
                let text: String = violation.text.chars().take(140).collect();
                println!("{canary:?}: caught by seed {seed}: {}: {text}", violation.invariant);
            }
            None => {
                all_caught = false;
                println!("{canary:?}: NOT CAUGHT in {seeds} seeds");
            }
        }
    }
    all_caught
}
