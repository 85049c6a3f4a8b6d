//! A whole scenario: the fuzzer's bytes make every random decision, from the parameters of the world to the pages that
//! survive a power cut. A violated invariant is a crash, and so is a failed assertion of the kernel. See `sim::fuzz`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sim::fuzz::run_bytes;

fuzz_target!(|data: &[u8]| {
    if let Some(violation) = run_bytes(data).and_then(|outcome| outcome.violation) {
        panic!("VIOLATED {}: {}", violation.invariant, violation.text);
    }
});
