//! A fixed budget of seeds, each once, and nothing else: the test that `sim/mutants` runs against mutants of the kernel. With
//! SIM_BUDGET=n it is n seeds of the swarm and of model tests and a quarter as many of every other profile, in turns.

use sim::decide::Seeded;
use sim::fault::FaultSet;
use sim::run::{Plan, catch_panics, run};
use sim::swarm::Profile;

/// Without SIM_BUDGET.
const SEEDS_DEFAULT: u64 = 12;

#[test]
fn a_budget_of_seeds_breaks_nothing() {
    let seeds =
        std::env::var("SIM_BUDGET").map_or(SEEDS_DEFAULT, |n| n.parse().expect("SIM_BUDGET is a number"));
    catch_panics();
    for seed in 0..seeds {
        for &profile in Profile::ALL {
            if seed % 4 != 0 && !matches!(profile, Profile::Swarm | Profile::ModelTests) {
                continue;
            }
            let plan = Plan { profile, faults: FaultSet::ALL, bug: None, print: false };
            if let Some(violation) = run(Seeded::new(seed), plan).violation {
                println!(
                    "VIOLATED {} in seed {seed} of {profile:?}: {}",
                    violation.invariant, violation.text
                );
                // A panic would be neither caught nor printed.
                std::process::exit(1);
            }
        }
    }
}
