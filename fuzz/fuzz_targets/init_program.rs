//! Any bytes as a program: they are read to the end or refused.
#![no_main]

use corten_init::Program;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(program) = Program::parse(bytes) else { return };
    assert_eq!(program.fds().count(), program.slots() as usize);
    for step in program.steps() {
        let Ok((item, step)) = step else { return };
        let mut length = item.count_bytes();
        step.operands(&mut |name, value| length += name.len() + value.to_string().len());
        std::hint::black_box(length);
    }
});
