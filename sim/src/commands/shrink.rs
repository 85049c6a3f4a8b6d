//! `sim shrink`: shrinks a failure and writes it as a scenario file; or records scenarios again, each from its seeded
//! defect. `crate::shrink` does the shrinking.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chosen::Chosen;
use super::failure;
use super::run::parse_duration;
use crate::bugs::elsewhere;
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
    let done = scenarios(&args).and_then(|scenarios| {
        let recorded = scenarios.iter().filter_map(|(_, scenario)| scenario.case.bug);
        if let Some(passed) = elsewhere(args.chosen.bug.into_iter().chain(recorded)) {
            return Ok(passed);
        }
        catch_panics();
        match &args.chosen.scenario {
            None => failure(&args)?,
            Some(path) if path.is_dir() => folder(scenarios, &args)?,
            Some(_) => {
                for (path, old) in scenarios {
                    println!("{}", record_again(&path, old, &args, true)?);
                }
            }
        }
        Ok(true)
    });
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        false
    })
}

/// The scenarios that are to be recorded again: none, one, or those of a folder.
fn scenarios(args: &Args) -> Result<Vec<(PathBuf, Scenario)>, String> {
    match &args.chosen.scenario {
        None => Ok(vec![]),
        Some(path) if path.is_dir() => Scenario::read_folder(path),
        Some(path) => Ok(vec![(path.clone(), Scenario::read(path)?)]),
    }
}

// ---- A failure ----

fn failure(args: &Args) -> Result<(), String> {
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
fn folder(scenarios: Vec<(PathBuf, Scenario)>, args: &Args) -> Result<(), String> {
    if args.write.is_some() {
        return Err("--write is for one scenario; those of a folder are written where they are".into());
    }
    let count = scenarios.len();
    let mut failed = 0;
    for (file, old) in scenarios {
        match record_again(&file, old, args, args.again) {
            Ok(outcome) => println!("{}: {outcome}", file.display()),
            Err(error) => {
                failed += 1;
                println!("{}: NOT RECORDED AGAIN: {error}", file.display());
            }
        }
    }
    if failed > 0 { Err(format!("{failed} of {count} scenarios were not recorded again")) } else { Ok(()) }
}

/// One scenario: searches for its defect in the same small world, then in the whole one, and shrinks it. A valid
/// scenario is replaced only by a smaller one.
fn record_again(path: &Path, old: Scenario, args: &Args, also_if_it_holds: bool) -> Result<Again, String> {
    let bug = args.chosen.bug.or(old.case.bug);
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
