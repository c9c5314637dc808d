//! Init's executor on a kernel that is made up: with the programs of real plans and with any bytes, it comes
//! to an end, and what it says are messages. That includes what it reads of the image: passwd, links,
//! directories.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libcorten::{Bundle, CreateOptions, Runtime, spec};
use libfuzzer_sys::fuzz_target;

/// The programs of real plans: from the default config and from Docker's, and with what these lack.
static PROGRAMS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let configs = [
        include_str!("../../crates/libcorten/tests/data/default-config.json").to_owned(),
        include_str!("../../crates/libcorten/tests/data/docker-config.json").to_owned(),
        include_str!("../seeds/executor-config.json").to_owned(),
    ];
    configs.iter().flat_map(|config| [true, false].map(|waits| program(config, waits))).collect()
});

fn program(config: &str, waits: bool) -> Vec<u8> {
    let mut config = spec::parse(config.as_bytes()).expect("a config");
    config.process_mut().as_mut().expect("a process").set_terminal(Some(false));
    let bundle = Bundle::new(Path::new("/"), config).expect("a bundle");
    let plan = Runtime::new("/proc/nowhere").plan("fuzz", &bundle, &CreateOptions::default(), waits).expect("a plan");
    let steps = plan.inside.iter().map(|step| (step.item.as_c_str(), &step.step));
    corten_init::encode(&[-1; 64], steps).expect("a program")
}

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (which, bytes, answers) = input;
    // The executor has never more of the caller's files than those that it is given: none.
    match PROGRAMS.get(usize::from(which)) {
        Some(program) => corten_init::fuzzing::execute(program, answers),
        None => corten_init::fuzzing::execute(bytes, answers),
    }
});
