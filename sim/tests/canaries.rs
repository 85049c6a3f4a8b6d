//! Deliberately broken hosts, disks and clients: a harness that does not see them is blind.

use sim::run::{Plan, catch_panics, run_range};
use sim::swarm::Profile;
use sim::world::canary::Canary;

#[test]
fn every_canary_is_caught() {
    // Some are caught by assertions of the kernel; their panics are what is expected here.
    catch_panics();
    for canary in Canary::ALL {
        let plan = Plan { profile: Profile::Swarm, canary: Some(canary), print: false };
        let summary = run_range(0..300, plan, 2, 1, &|_, _| {});
        assert!(!summary.failures.is_empty(), "{canary:?} was not caught in {} seeds", summary.seeds);
    }
}
