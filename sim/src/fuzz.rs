//! A fuzzer's bytes as a run, and a run as a fuzzer's bytes: the first byte selects the profile, the others are the
//! decisions. The target, and the tool that makes a corpus from seeds, are in `fuzz/`.

use std::cell::RefCell;
use std::rc::Rc;

use crate::decide::{Encoded, FuzzBytes, Seeded};
use crate::fault::FaultSet;
use crate::run::{Plan, RunOutcome, run};
use crate::swarm::Profile;

/// The run of an input. None for an empty one.
pub fn run_bytes(input: &[u8]) -> Option<RunOutcome> {
    let [profile, decisions @ ..] = input else { return None };
    let profile = Profile::ALL[*profile as usize % Profile::ALL.len()];
    Some(run(FuzzBytes::new(decisions), plan(profile)))
}

/// The input for the run of a seed.
pub fn bytes_of_seed(profile: Profile, seed: u64) -> Vec<u8> {
    let number = Profile::ALL.iter().position(|each| *each == profile).expect("one of all");
    let bytes = Rc::new(RefCell::new(vec![number as u8]));
    run(Encoded::new(Seeded::new(seed), bytes.clone()), plan(profile));
    bytes.take()
}

fn plan(profile: Profile) -> Plan {
    Plan { profile, faults: FaultSet::ALL, bug: None, print: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_seed_decide_what_the_seed_decided() {
        for &profile in Profile::ALL {
            let again = run_bytes(&bytes_of_seed(profile, 5)).expect("it is not empty");
            assert_eq!(again.hash, run(Seeded::new(5), plan(profile)).hash, "{profile:?}");
        }
        assert!(run_bytes(&[]).is_none());
    }
}
