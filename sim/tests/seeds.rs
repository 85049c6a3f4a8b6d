//! A few hundred seeds of every profile, twice each: no invariant is violated, and each seed leaves the same trace
//! twice. The command line runs many more.

use sim::decide::{FuzzBytes, Recorded, Seeded};
use sim::fault::FaultSet;
use sim::run::{Plan, coverage, run, run_kept, run_range};
use sim::swarm::Profile;
use sim::trace::Keep;

fn pass(profile: Profile, seeds: std::ops::Range<u64>) -> sim::run::Summary {
    let plan = Plan { profile, faults: FaultSet::ALL, bug: None, print: false };
    let summary = run_range(seeds, plan, 2, 1, &|_, _| {});
    if let Some((seed, outcome)) = summary.failures.first() {
        panic!(
            "seed {seed} of {profile:?}: {:?}\n{}\nreproduce: cargo run --release -p sim -- run --seed {seed} --trace",
            outcome.violation,
            last_events(&outcome.decisions, plan)
        );
    }
    summary
}

/// The end of the story of a run.
fn last_events(decisions: &[u64], plan: Plan) -> String {
    let outcome = run_kept(Recorded::new(decisions.to_vec()), plan, Keep::All);
    let lines: Vec<String> = outcome.events.iter().map(|event| event.to_string()).collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

#[test]
fn the_swarm_breaks_nothing_and_every_fault_happens() {
    let summary = pass(Profile::Swarm, 0..200);
    let plan = Plan { profile: Profile::Swarm, faults: FaultSet::ALL, bug: None, print: false };
    assert_eq!(coverage(&summary, plan), Vec::<String>::new());
}

#[test]
fn each_profile_breaks_nothing() {
    for profile in [Profile::Calm, Profile::Disk, Profile::Broker, Profile::Clients, Profile::ModelTests] {
        pass(profile, 1000..1015);
    }
}

#[test]
fn damage_is_refused_or_survived_and_never_guessed_at() {
    let counts = pass(Profile::Rot, 0..60).counts.world;
    assert!(counts.rotten_refused > 0 && counts.rotten_survived > 0, "{counts:?}");
}

#[test]
fn a_run_can_be_replayed_from_its_decisions() {
    let plan = Plan { profile: Profile::Swarm, faults: FaultSet::ALL, bug: None, print: false };
    let first = run(Seeded::new(3), plan);
    let again = run(Recorded::new(first.decisions.clone()), plan);
    assert_eq!(first.hash, again.hash);
    assert_ne!(first.hash, run(Seeded::new(4), plan).hash);
}

#[test]
fn any_bytes_and_no_bytes_are_a_run() {
    let plan = Plan { profile: Profile::Swarm, faults: FaultSet::ALL, bug: None, print: false };
    assert_eq!(run(FuzzBytes::new(&[]), plan).violation, None);
    let bytes: Vec<u8> = (0..4000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    assert_eq!(run(FuzzBytes::new(&bytes), plan).violation, None);
}
