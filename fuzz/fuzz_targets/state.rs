//! Any bytes as state.json: what is one is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| libcorten::fuzzing::state(bytes));
