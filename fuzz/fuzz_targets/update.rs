//! Any bytes as the limits of `update`: taken, and worked out for every layout of cgroups, or refused.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| libcorten::fuzzing::update(bytes));
