//! `sim shrink`: makes a failure small and writes it as a scenario file; or records a scenario again from its planted bug. How it is
//! made small lives in `crate::shrink`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::failure;
use super::run::parse_duration;
use crate::fault::FaultSet;
use crate::planted::{self, Planted};
use crate::run::{Plan, catch_panics};
use crate::shrink::case::Scenario;
use crate::shrink::{Case, Chance, Limits, Shrunk};
use crate::story;
use crate::swarm::Profile;
use crate::trace::Keep;

/// Arguments of `sim shrink`.
#[derive(clap::Args)]
pub struct Args {
    /// A seed that fails.
    #[arg(long)]
    seed: Option<u64>,
    /// Scenario file to record again: with its bug, its title and its story.
    #[arg(long, conflicts_with = "seed")]
    scenario: Option<PathBuf>,
    /// Plant this bug first. Without a seed, the first one that catches it is looked for.
    #[arg(long, value_parser = Planted::named)]
    bug: Option<Planted>,
    /// What runs are like.
    #[arg(long, value_enum, default_value = "swarm")]
    profile: Profile,
    /// Only these of its faults.
    #[arg(long, default_value = "all", value_parser = FaultSet::parse, allow_hyphen_values = true)]
    faults: FaultSet,
    /// Only failures of this invariant.
    #[arg(long)]
    invariant: Option<String>,
    /// Scenario file to write [default: the one that is recorded again].
    #[arg(long)]
    write: Option<PathBuf>,
    /// Time to make it small.
    #[arg(long, default_value = "60s", value_parser = parse_duration)]
    shrink_for: Duration,
    /// Seeds among which one that fails is looked for.
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
}

/// Makes a failure small. True if there is one and it was written.
pub fn run(args: Args) -> bool {
    catch_panics();
    match try_run(&args) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("{error}");
            false
        }
    }
}

fn try_run(args: &Args) -> Result<(), String> {
    let before = args.scenario.as_deref().map(Scenario::read).transpose()?;
    let plan = match &before {
        Some(old) => {
            let Case { profile, bug, .. } = old.case;
            Plan { profile, faults: FaultSet::ALL, bug: args.bug.or(bug), print: false }
        }
        None => Plan { profile: args.profile, faults: args.faults, bug: args.bug, print: false },
    };
    if plan.bug.is_some() && !planted::BUILT_IN {
        return Err("this build has no planted bugs; run it with: cargo run --release -p sim --features planted -- shrink …".into());
    }
    if plan.bug.is_none() && args.seed.is_none() {
        return Err("nothing to look for: name a --seed, a --bug, or a --scenario that has a bug".into());
    }
    let invariant = args.invariant.clone().or(before.as_ref().map(|old| old.invariant.clone()));
    let shrunk = match args.seed {
        Some(seed) => failure::make_small(&Case::of_seed(seed, plan), args.shrink_for)
            .ok_or(format!("seed {seed} does not fail"))?,
        None => search(args, plan, invariant.as_deref())?,
    };
    let told = shrunk.case.run(Keep::All);
    println!("\n{}", story::tell(&told));
    let about = plan.bug.map(Planted::about);
    let scenario = Scenario {
        title: before.as_ref().map_or_else(
            || about.map_or("A failure".into(), |about| about.what.to_string()),
            |old| old.title.clone(),
        ),
        story: before.map_or_else(
            || about.map_or(String::new(), |about| format!("{}\nOrigin: {}\n", about.what, about.origin)),
            |old| old.story,
        ),
        events: story::tell(&told),
        invariant: shrunk.violation.invariant.into(),
        questions: shrunk.case.shipped().questions(),
        case: shrunk.case,
    };
    let Some(path) = args.write.as_deref().or(args.scenario.as_deref()) else {
        println!("{}", scenario.to_text());
        return Ok(());
    };
    failure::write(&scenario, path)?;
    println!("repeat it: {}", failure::command(&scenario, path));
    Ok(())
}

/// The first seed that fails like this, made small. The same small world as before is tried first.
fn search(args: &Args, plan: Plan, invariant: Option<&str>) -> Result<Shrunk, String> {
    let old: Option<Case> =
        args.scenario.as_deref().map(|path: &Path| Scenario::read(path).map(|s| s.case)).transpose()?;
    let worlds = old.into_iter().chain([Case::of_seed(0, plan)]);
    for world in worlds {
        for seed in 0..args.seeds {
            let case = Case { chance: Chance::Seed(seed), bug: plan.bug, ..world.clone() };
            let violation = case.run(Keep::Nothing).violation;
            if violation.is_some_and(|v| invariant.is_none_or(|wanted| wanted == v.invariant)) {
                let whole = if world.limits == Limits::default() { "" } else { " of the small world" };
                println!("seed {seed}{whole} fails");
                return failure::make_small(&case, args.shrink_for).ok_or("it does not fail twice".into());
            }
        }
    }
    Err(format!("none of {} seeds fails like this", args.seeds))
}
