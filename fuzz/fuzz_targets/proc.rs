//! Any text as /proc/PID/cgroup and /proc/PID/stat: paths and names are others' choice.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    libcorten::fuzzing::proc_stat(bytes);
    corten_cgroup::fuzzing::proc_cgroup(&String::from_utf8_lossy(bytes));
});
