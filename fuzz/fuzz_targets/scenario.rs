//! A whole scenario: the fuzzer's bytes decide everything that chance decides, from what the world is like to which page survives a power
//! cut. An invariant that does not hold is a crash, and so is an assertion of the kernel. See `sim::fuzz`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sim::fuzz::run_bytes;

fuzz_target!(|data: &[u8]| {
    if let Some(violation) = run_bytes(data).and_then(|outcome| outcome.violation) {
        panic!("VIOLATED {}: {}", violation.invariant, violation.text);
    }
});
