//! Handles a failure: shrinks it, prints its story, and writes a file that repeats it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::run::parse_duration;
use crate::oracle::Violation;
use crate::run::{Plan, RunOutcome};
use crate::shrink::case::Scenario;
use crate::shrink::{Case, Shrunk, shrink};
use crate::story;
use crate::trace::Keep;

/// Options for failures.
#[derive(clap::Args)]
pub struct Wanted {
    /// Print a failure without shrinking it.
    #[arg(long)]
    no_shrink: bool,
    /// Time for shrinking a failure.
    #[arg(long, default_value = "30s", value_parser = parse_duration)]
    shrink_for: Duration,
    /// Directory for scenario files of failures.
    #[arg(long, default_value = "target/sim")]
    failures_dir: PathBuf,
}

impl Wanted {
    /// The arguments for these options.
    pub fn args(&self) -> Vec<OsString> {
        let shrink_for = format!("{}s", self.shrink_for.as_secs());
        let mut args: Vec<OsString> = vec!["--shrink-for".into(), shrink_for.into(), "--failures-dir".into()];
        args.push(self.failures_dir.clone().into());
        args.extend(self.no_shrink.then(|| "--no-shrink".into()));
        args
    }
}

/// Reports a seed's failure, shrunk if requested.
pub fn report(seed: u64, outcome: &RunOutcome, plan: Plan, wanted: &Wanted) {
    if let Some(violation) = &outcome.violation {
        tell(seed, violation, plan, wanted, &command);
    }
}

/// As [`report`]; `command` is what repeats a scenario that lies in a file.
pub fn tell(
    seed: u64,
    violation: &Violation,
    plan: Plan,
    wanted: &Wanted,
    command: &dyn Fn(&Scenario, &Path) -> String,
) {
    println!("\nseed {seed} violated {}: {}", violation.invariant, violation.text);
    let case = Case::of_seed(seed, plan);
    // A difference between two runs cannot be shrunk by running them again.
    let shrunk = (!wanted.no_shrink && violation.invariant != "deterministic")
        .then(|| make_small(&case, wanted.shrink_for))
        .flatten();
    let small = shrunk.as_ref().map_or(&case, |shrunk| &shrunk.case);
    let told = small.run(Keep::All);
    println!("\n{}", story::tell(&told));
    let name = plan.bug.map_or(format!("seed-{seed}"), |bug| format!("{}-{seed}", bug.about().name));
    let path = wanted.failures_dir.join(format!("{name}.toml"));
    let scenario = Scenario {
        title: format!("{}, found by seed {seed}", violation.invariant),
        story: String::new(),
        events: story::tell(&told),
        invariant: violation.invariant.into(),
        questions: small.shipped().questions(),
        case: small.clone(),
    };
    match write(&scenario, &path) {
        Ok(()) => println!("repeat it: {}", command(&scenario, &path)),
        Err(error) => println!("no scenario file: {error}"),
    }
}

/// Shrinks a case and reports the result.
pub fn make_small(case: &Case, budget: Duration) -> Option<Shrunk> {
    eprintln!("shrinking it for at most {} s (--no-shrink skips this)", budget.as_secs());
    let shrunk = shrink(case, budget, &mut |_, _| {})?;
    println!(
        "shrunk in {:.1} s and {} runs: {} events instead of {}, {} non-zero decisions instead of {}{}",
        shrunk.took.as_secs_f64(),
        shrunk.runs,
        shrunk.after.events,
        shrunk.before.events,
        shrunk.after.loud,
        shrunk.before.loud,
        if shrunk.is_smallest {
            "; nothing more can be removed"
        } else {
            "; the time ended before the minimum was reached"
        }
    );
    Some(shrunk)
}

/// Writes a scenario file.
pub fn write(scenario: &Scenario, path: &Path) -> Result<(), String> {
    write_text(path, &scenario.to_text())
}

/// Writes a file, and creates its folder.
pub fn write_text(path: &Path, text: &str) -> Result<(), String> {
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(fail)?;
    }
    std::fs::write(path, text).map_err(fail)
}

/// The command that repeats a scenario with its bug.
pub fn command(scenario: &Scenario, path: &Path) -> String {
    let bug = scenario.case.bug.map_or(String::new(), |bug| format!(" --bug {}", bug.about().name));
    format!("cargo run --release -p sim -- run --scenario {}{bug}", path.display())
}
