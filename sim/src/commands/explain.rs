//! `sim explain`: one run as a page. What is on it lives in `crate::explain`.

use std::path::PathBuf;

use super::failure;
use crate::explain::page;
use crate::fault::FaultSet;
use crate::planted::{self, Planted};
use crate::run::{Plan, catch_panics};
use crate::shrink::Case;
use crate::shrink::case::Scenario;
use crate::swarm::Profile;

/// Arguments of `sim explain`.
#[derive(clap::Args)]
pub struct Args {
    /// A seed.
    #[arg(required_unless_present = "scenario")]
    seed: Option<u64>,
    /// Or a scenario file.
    #[arg(long, conflicts_with = "seed")]
    scenario: Option<PathBuf>,
    /// The page to write.
    #[arg(long)]
    html: PathBuf,
    /// What runs are like.
    #[arg(long, value_enum, default_value = "swarm")]
    profile: Profile,
    /// Only these of its faults.
    #[arg(long, default_value = "all", value_parser = FaultSet::parse, allow_hyphen_values = true)]
    faults: FaultSet,
    /// Plant this bug first. Needs a build with `--features planted`.
    #[arg(long, value_parser = Planted::named)]
    bug: Option<Planted>,
}

/// Makes a page. True if it was written; a run that fails is worth a page too.
pub fn run(args: Args) -> bool {
    catch_panics();
    if args.bug.is_some() && !planted::BUILT_IN {
        eprintln!(
            "this build has no planted bugs; run it with: cargo run --release -p sim --features planted -- explain …"
        );
        return false;
    }
    let (title, case) = match (&args.scenario, args.seed) {
        (Some(path), _) => match Scenario::read(path) {
            Ok(scenario) => (scenario.title, Case { bug: args.bug, ..scenario.case }),
            Err(error) => {
                eprintln!("{error}");
                return false;
            }
        },
        (None, seed) => {
            let seed = seed.expect("clap asks for one of them");
            let plan = Plan { profile: args.profile, faults: args.faults, bug: args.bug, print: false };
            (format!("seed {seed}"), Case::of_seed(seed, plan))
        }
    };
    let (page, outcome) = page(&title, &case);
    if let Err(error) = failure::write_text(&args.html, &page) {
        eprintln!("{error}");
        return false;
    }
    println!(
        "{}: {} events, {} KiB. Open it in a browser; it asks nobody for anything.",
        args.html.display(),
        outcome.events.len(),
        page.len() >> 10
    );
    true
}
