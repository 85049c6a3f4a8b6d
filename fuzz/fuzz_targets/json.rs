//! Messages, separated by 0x1e, through one JSON decoder: each has the same outcome as alone, and as with serde_json.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../adapters/decode/tests/oracle/mod.rs"]
mod oracle;

const MESSAGES_MAX: usize = 16;

fuzz_target!(|data: &[u8]| {
    let messages: Vec<&[u8]> = data.split(|&byte| byte == 0x1e).take(MESSAGES_MAX).collect();
    oracle::check(&messages);
});
