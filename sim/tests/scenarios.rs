//! The regression folder: small runs that once failed, or that fail with a defect seeded. On the kernel as it is they
//! must pass; with their defect seeded they must still fail, which `sim bugs --scenarios` checks.

use std::path::PathBuf;

use sim::shrink::case::Scenario;
use sim::trace::Keep;

fn scenarios() -> Vec<(PathBuf, Scenario)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let scenarios = Scenario::read_folder(&folder).unwrap_or_else(|error| panic!("{error}"));
    for (path, scenario) in &scenarios {
        assert!(scenario.case.bug.is_some() && !scenario.story.is_empty(), "{}", path.display());
    }
    scenarios
}

/// Seeds of a scenario's small world that the shipped kernel must pass, beside the recorded run.
const SEEDS_PASSED: u64 = 20;

#[test]
fn the_shipped_kernel_passes_every_scenario() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 12, "{} scenarios are left", scenarios.len());
    for (path, scenario) in scenarios {
        let seeds = (0..SEEDS_PASSED).map(|seed| scenario.seed(seed));
        for case in std::iter::once(scenario.case.clone()).chain(seeds) {
            let case = case.shipped();
            let violation = case.run(Keep::Nothing).violation;
            assert!(
                violation.is_none(),
                "{}, {:?}: {}\n{}",
                path.display(),
                case.chance,
                scenario.title,
                sim::story::tell(&case.run(Keep::All))
            );
        }
    }
}

/// A seeded defect is shrunk until its story is short.
#[test]
fn seeded_defects_become_short_stories() {
    use sim::defects::SeededDefect;
    use sim::fault::FaultSet;
    use sim::run::Plan;
    use sim::shrink::{Case, shrink};
    use sim::swarm::Profile;

    sim::run::catch_panics();
    let mut told = Vec::new();
    for (name, events_max) in [("synced-before-sync", 20), ("misplaced-rows", 60), ("skipped-message", 60)] {
        let bug = Some(SeededDefect::named(name).expect("it is in the ledger"));
        let plan = Plan { profile: Profile::Swarm, faults: FaultSet::ALL, bug, print: false };
        let fails = |seed: &u64| Case::of_seed(*seed, plan).run(Keep::Nothing).violation.is_some();
        let seed = (0..200).find(fails).unwrap_or_else(|| panic!("{name} is not found"));
        let budget = std::time::Duration::from_secs(40);
        let shrunk = shrink(&Case::of_seed(seed, plan), budget, &mut |_, _| {}).expect("it fails");
        told.push((name, events_max, shrunk.before, shrunk.after));
    }
    for (name, events_max, before, after) in told {
        println!("{name}: {after:?} of {before:?}");
        assert!(after.events <= events_max);
    }
}
