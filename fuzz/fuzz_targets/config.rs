//! Any bytes as config.json: taken or refused with an error that can be shown.
#![no_main]

use libcorten::spec;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match spec::parse(bytes) {
        Ok(config) => {
            if let Err(error) = spec::validate(&config) {
                assert!(!error.to_string().is_empty());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
