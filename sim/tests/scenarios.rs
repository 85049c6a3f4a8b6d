//! The regression folder: small runs that once failed, or that fail with a defect seeded. On the kernel as it is they
//! must pass; with their defect seeded (`cargo test -p sim --features defects`) they must still fail.

use std::path::PathBuf;

use sim::shrink::case::Scenario;
use sim::trace::Keep;

fn scenarios() -> Vec<(PathBuf, Scenario)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(&folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("it can be listed").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let read = |path: PathBuf| {
        let scenario = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(scenario.case.bug.is_some() && !scenario.story.is_empty(), "{}", path.display());
        (path, scenario)
    };
    paths.into_iter().map(read).collect()
}

/// Checks all scenarios, and names the command that records them again.
#[cfg(feature = "defects")]
const RECORD_AGAIN: &str =
    "cargo run --release -p sim --features defects -- shrink --scenario sim/scenarios --shrink-for 30s";

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

/// Seeds of its small world among which one must catch a scenario's bug, if the recorded run no longer does.
#[cfg(feature = "defects")]
const SEEDS_TRIED: u64 = 3000;

/// Caught by the recorded run, or, if the world has changed since, by a seed of its small world.
#[cfg(feature = "defects")]
#[test]
fn every_scenario_still_catches_its_bug() {
    use sim::shrink::case::Catches;

    // Some are caught by assertions of the kernel; their panics are expected here.
    sim::run::catch_panics();
    let (mut wrong, mut stale) = (Vec::new(), false);
    for (path, scenario) in scenarios() {
        match scenario.catches(SEEDS_TRIED) {
            Catches::AsRecorded => {}
            Catches::Seed(seed) => {
                stale = true;
                println!(
                    "{}: caught by seed {seed} of its small world, no longer as recorded",
                    path.display()
                );
            }
            Catches::No => wrong.push(path),
        }
    }
    // Printed, because messages of panics are suppressed.
    for path in &wrong {
        println!("{}: {SEEDS_TRIED} seeds of its small world do not catch its bug", path.display());
    }
    if stale || !wrong.is_empty() {
        println!("the world has changed since these were recorded; {RECORD_AGAIN}");
    }
    assert!(wrong.is_empty());
}

/// A seeded defect is shrunk until its story is short.
#[cfg(feature = "defects")]
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
