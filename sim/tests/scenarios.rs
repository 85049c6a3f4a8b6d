//! The regression folder: small runs that once failed, or that fail with a bug planted. On the kernel as it is they must pass; with
//! their bug planted (`cargo test -p sim --features planted`) they must still fail, or they prove nothing.

use std::path::PathBuf;

use sim::shrink::case::Scenario;
use sim::trace::Keep;

fn scenarios() -> Vec<(PathBuf, Scenario)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(&folder).expect("the folder is there");
    let mut paths: Vec<PathBuf> = files.map(|file| file.expect("it can be listed").path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let scenario = Scenario::read(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(scenario.case.bug.is_some() && !scenario.story.is_empty(), "{}", path.display());
        (path, scenario)
    };
    paths.into_iter().map(read).collect()
}

fn record_again(path: &std::path::Path) -> String {
    format!("cargo run --release -p sim --features planted -- shrink --scenario {}", path.display())
}

#[test]
fn the_shipped_kernel_passes_every_scenario() {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 12, "{} scenarios are left", scenarios.len());
    for (path, scenario) in scenarios {
        let case = scenario.case.shipped();
        let outcome = case.run(Keep::All);
        assert!(
            outcome.violation.is_none(),
            "{}: {}\n{}",
            path.display(),
            scenario.title,
            sim::story::tell(&outcome)
        );
        // Said, and no failure: whether it still proves something is shown by the test below.
        if case.questions() != scenario.questions {
            println!(
                "{} is stale: its decisions answer other questions; {}",
                path.display(),
                record_again(&path)
            );
        }
    }
}

#[cfg(feature = "planted")]
#[test]
fn every_scenario_still_catches_its_bug() {
    // Some are caught by assertions of the kernel; their panics are what is expected here.
    sim::run::catch_panics();
    let mut wrong = Vec::new();
    for (path, scenario) in scenarios() {
        let bug = scenario.case.bug;
        let caught = scenario.case.run(Keep::Nothing).violation.map(|v| v.invariant);
        if caught != Some(scenario.invariant.as_str()) {
            wrong.push(format!(
                "{bug:?} violates {caught:?} and not {}; {}",
                scenario.invariant,
                record_again(&path)
            ));
        }
    }
    // Printed, because nobody prints panics any more.
    println!("{}", wrong.join("\n"));
    assert!(wrong.is_empty());
}

/// A planted bug is made so small that its story can be read at a glance.
#[cfg(feature = "planted")]
#[test]
fn planted_bugs_become_short_stories() {
    use sim::fault::FaultSet;
    use sim::planted::Planted;
    use sim::run::Plan;
    use sim::shrink::{Case, shrink};
    use sim::swarm::Profile;

    sim::run::catch_panics();
    let mut told = Vec::new();
    for (name, events_max) in [("synced-before-sync", 20), ("misplaced-rows", 60), ("skipped-message", 60)] {
        let bug = Some(Planted::named(name).expect("it is in the ledger"));
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
