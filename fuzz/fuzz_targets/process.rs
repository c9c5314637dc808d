//! Any bytes as the process.json of `exec`: taken or refused with an error that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| libcorten::fuzzing::process(bytes));
