//! `sim canary`: deliberately broken hosts, disks and clients, each of which must be caught.

use crate::run::{Plan, catch_panics, run_range};
use crate::swarm::Profile;
use crate::world::canary::Canary;

/// Arguments of `sim canary`.
#[derive(clap::Args)]
pub struct Args {
    /// Only this one.
    #[arg(value_enum)]
    canary: Option<Canary>,
    /// Seeds to try with each.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
}

/// Runs the canaries. True if each was caught.
pub fn run(args: Args) -> bool {
    catch_panics();
    canaries(args.canary, args.seeds)
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
