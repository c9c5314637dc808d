//! Any bytes as /proc/self/mountinfo, which shows paths of others.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8], &str)| {
    let (table, info, path) = input;
    libcorten::fuzzing::mountinfo(table, info, Path::new(path));
    let text = String::from_utf8_lossy(table);
    for id in text.split([' ', '\n']).take(8) {
        std::hint::black_box(corten_cgroup::fuzzing::root_of_mount(&text, id));
    }
});
