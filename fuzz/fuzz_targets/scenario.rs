//! A whole scenario: the fuzzer's bytes decide everything that chance decides, from what the world is like to which page survives a power
//! cut. An invariant that does not hold is a crash, and so is an assertion of the kernel. The first byte says which faults.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sim::decide::FuzzBytes;
use sim::fault::FaultSet;
use sim::run::{Plan, run};
use sim::swarm::Profile;

fuzz_target!(|data: &[u8]| {
    let [profile, decisions @ ..] = data else { return };
    let profile = Profile::ALL[*profile as usize % Profile::ALL.len()];
    let plan = Plan { profile, faults: FaultSet::ALL, bug: None, print: false };
    let outcome = run(FuzzBytes::new(decisions), plan);
    if let Some(violation) = outcome.violation {
        panic!("VIOLATED {}: {}", violation.invariant, violation.text);
    }
});
