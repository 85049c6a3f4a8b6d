//! `sim shrink`: shrinks a failure and writes it as a scenario file; or records scenarios again, each from its seeded
//! defect. `crate::shrink` does the shrinking.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chosen::{Chosen, check_build};
use super::failure;
use super::run::parse_duration;
use crate::defects::SeededDefect;
use crate::fault::FaultSet;
use crate::run::{Plan, catch_panics};
use crate::shrink::case::Scenario;
use crate::shrink::{Case, Chance, Limits, Shrunk};
use crate::story;
use crate::trace::Keep;

/// Arguments of `sim shrink`.
#[derive(clap::Args)]
pub struct Args {
    /// A seed that fails.
    #[arg(long, conflicts_with = "scenario")]
    seed: Option<u64>,
    /// With --scenario: a file to record again, with its bug, its title and its story; or a folder, in which scenarios
    /// that no longer catch their defect are recorded again.
    #[command(flatten)]
    chosen: Chosen,
    /// Record valid scenarios again, too, and keep those that became smaller.
    #[arg(long, requires = "scenario")]
    again: bool,
    /// Only failures of this invariant.
    #[arg(long)]
    invariant: Option<String>,
    /// Scenario file to write [default: the one that is recorded again].
    #[arg(long)]
    write: Option<PathBuf>,
    /// Time for shrinking.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    shrink_for: Duration,
    /// Seeds to search for a failure.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
}

/// Shrinks a failure, or records scenarios again. True if everything was written.
pub fn run(args: Args) -> bool {
    catch_panics();
    let done = match &args.chosen.scenario {
        Some(path) if path.is_dir() => folder(path, &args),
        Some(path) => record_again(path, &args, true).map(|outcome| println!("{outcome}")),
        None => failure(&args),
    };
    if let Err(error) = &done {
        eprintln!("{error}");
    }
    done.is_ok()
}

// ---- A failure ----

fn failure(args: &Args) -> Result<(), String> {
    args.chosen.check("shrink")?;
    let plan = args.chosen.plan();
    let shrunk = match (args.seed, plan.bug) {
        (Some(seed), _) => failure::make_small(&Case::of_seed(seed, plan), args.shrink_for)
            .ok_or(format!("seed {seed} does not fail"))?,
        (None, Some(_)) => search(args, &[Case::of_seed(0, plan)], args.invariant.as_deref())?,
        (None, None) => {
            return Err("nothing to search: name a --seed, a --bug, or a --scenario that has a bug".into());
        }
    };
    let about = plan.bug.map(SeededDefect::about);
    let title = about.map_or("A failure".into(), |about| about.what.to_string());
    let story = about.map_or(String::new(), |about| format!("{}\nOrigin: {}\n", about.what, about.origin));
    let scenario = recorded(title, story, shrunk);
    println!("\n{}", scenario.events);
    match &args.write {
        None => println!("{}", scenario.to_text()),
        Some(path) => {
            failure::write(&scenario, path)?;
            println!("repeat it: {}", failure::command(&scenario, path));
        }
    }
    Ok(())
}

/// The first seed of these worlds that fails like this, and passes without the defect; shrunk.
fn search(args: &Args, worlds: &[Case], invariant: Option<&str>) -> Result<Shrunk, String> {
    for world in worlds {
        for seed in 0..args.seeds {
            let case = Case { chance: Chance::Seed(seed), ..world.clone() };
            if !fails_like(&case, invariant) || case.shipped().run(Keep::Nothing).violation.is_some() {
                continue;
            }
            let whole = if world.limits == Limits::default() { "" } else { " of the small world" };
            println!("seed {seed}{whole} fails");
            return failure::make_small(&case, args.shrink_for).ok_or("it does not fail twice".into());
        }
    }
    Err(format!("none of {} seeds fails like this", args.seeds))
}

fn fails_like(case: &Case, invariant: Option<&str>) -> bool {
    let violation = case.run(Keep::Nothing).violation;
    violation.is_some_and(|v| invariant.is_none_or(|wanted| wanted == v.invariant))
}

fn recorded(title: String, story: String, shrunk: Shrunk) -> Scenario {
    Scenario {
        title,
        story,
        events: story::tell(&shrunk.case.run(Keep::All)),
        invariant: shrunk.violation.invariant.into(),
        questions: shrunk.case.shipped().questions(),
        case: shrunk.case,
    }
}

// ---- Scenarios again ----

/// The result for a scenario.
enum Again {
    Holds,
    NotSmaller { events: u64 },
    Written { events: u64, before: Option<u64> },
}

impl std::fmt::Display for Again {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Again::Holds => f.write_str("still catches its defect"),
            Again::NotSmaller { events } => {
                write!(f, "left as it is: it did not become smaller than {events} events")
            }
            Again::Written { events, before: None } => write!(f, "recorded again: {events} events"),
            Again::Written { events, before: Some(before) } => {
                write!(f, "recorded again: {events} events, which were {before}")
            }
        }
    }
}

/// Every scenario of a folder. An error if one could not be recorded again.
fn folder(path: &Path, args: &Args) -> Result<(), String> {
    if args.write.is_some() {
        return Err("--write is for one scenario; those of a folder are written where they are".into());
    }
    let listed = std::fs::read_dir(path).and_then(|entries| entries.map(|e| Ok(e?.path())).collect());
    let mut files: Vec<PathBuf> = listed.map_err(|e: std::io::Error| format!("{}: {e}", path.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    if files.is_empty() {
        return Err(format!("{} holds no scenarios (no file ends in .toml)", path.display()));
    }
    let mut failed = 0;
    for file in &files {
        match record_again(file, args, args.again) {
            Ok(outcome) => println!("{}: {outcome}", file.display()),
            Err(error) => {
                failed += 1;
                println!("{}: NOT RECORDED AGAIN: {error}", file.display());
            }
        }
    }
    if failed > 0 {
        Err(format!("{failed} of {} scenarios were not recorded again", files.len()))
    } else {
        Ok(())
    }
}

/// One scenario: searches for its defect in the same small world, then in the whole one, and shrinks it. A valid
/// scenario is replaced only by a smaller one.
fn record_again(path: &Path, args: &Args, also_if_it_holds: bool) -> Result<Again, String> {
    let old = Scenario::read(path)?;
    let bug = args.chosen.bug.or(old.case.bug);
    check_build(bug, "shrink")?;
    if bug.is_none() {
        return Err(format!("{} has no bug to record it with; name a --bug", path.display()));
    }
    let invariant = args.invariant.as_deref().unwrap_or(&old.invariant);
    let holds = old.holds();
    if holds && !also_if_it_holds {
        return Ok(Again::Holds);
    }
    let small = Case { bug, ..old.case.clone() };
    let plan = Plan { profile: small.profile, faults: FaultSet::ALL, bug, print: false };
    let shrunk = search(args, &[small, Case::of_seed(0, plan)], Some(invariant))?;
    if shrunk.case.shipped().run(Keep::Nothing).violation.is_some() {
        return Err("the failure also occurs without the defect: examine that first".into());
    }
    let (before, after) = (old.case.run(Keep::Nothing).told, shrunk.after.events);
    let fewer_faults = shrunk.case.faults.kinds().count() < old.case.faults.kinds().count();
    let is_better = after < before || after == before && fewer_faults;
    if holds && args.write.is_none() && !is_better {
        return Ok(Again::NotSmaller { events: before });
    }
    let scenario = recorded(old.title, old.story, shrunk);
    failure::write(&scenario, args.write.as_deref().unwrap_or(path))?;
    Ok(Again::Written { events: after, before: holds.then_some(before) })
}
