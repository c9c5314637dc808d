//! The floor: compiled here, and given the seccomp filter that Corten has compiled.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure;
use super::runtime::{Bundle, Runtime};
use crate::{Result, shell};

/// It is in the program, so that this works without the sources, too.
const SOURCE: &str = include_str!("../../../../benches/floor/floor.c");

/// Bytes of a `struct sock_filter`.
const INSTRUCTION_BYTES: usize = 8;

/// Compiles the floor with each C library that there is, since starting a program is part of what each costs.
pub(crate) fn compile(directory: &Path) -> Result<Vec<Runtime>> {
    let source = directory.join("floor.c");
    fs::write(&source, SOURCE)?;
    // musl's compiler does not look for the kernel's headers where they are.
    let kernel = ["-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"];
    let host = if cfg!(target_env = "musl") { "musl" } else { "glibc" };
    let compilers = [("cc", host, &[][..]), ("musl-gcc", "musl", &kernel[..])];
    let mut floors: Vec<Runtime> = Vec::new();
    for (compiler, libc, options) in compilers {
        let Some(compiler) = shell::find(compiler) else {
            println!("left out: floor ({libc}): there is no {compiler}");
            continue;
        };
        let program = directory.join(format!("floor-{libc}"));
        let mut command = Command::new(compiler);
        shell::check(command.args(["-O2", "-static", "-o"]).arg(&program).arg(&source).args(options))?;
        floors.push(Runtime::floor(&program, libc));
    }
    Ok(floors)
}

/// Writes the seccomp filter of a bundle to a file, as the kernel takes it. Corten's cache ends with the
/// program, and its plan says how long that is.
pub(crate) fn export_filter(corten: &Runtime, bundle: &Bundle, to: &Path) -> Result<PathBuf> {
    let plan = corten
        .command(&["plan", "--bundle"])
        .arg(&bundle.directory)
        .stdout(std::process::Stdio::piped())
        .output()?;
    let plan = String::from_utf8_lossy(&plan.stdout).into_owned();
    let count = plan.split("program=").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    let bytes = count.ok_or("corten plan: no seccomp filter")? * INSTRUCTION_BYTES;
    measure::succeed(&mut corten.bundle_command("run", bundle, "filter"))?;
    for entry in fs::read_dir(corten.root.join("@seccomp"))? {
        let file = fs::read(entry?.path())?;
        if let Some(program) = file.len().checked_sub(bytes).and_then(|from| file.get(from..))
            && is_program(program)
        {
            fs::write(to, program)?;
            return Ok(to.to_owned());
        }
    }
    Err("Corten's cache has no filter of that length".into())
}

/// Every seccomp filter begins with loading a word (BPF_LD | BPF_W | BPF_ABS) and ends with an answer
/// (BPF_RET | BPF_K).
fn is_program(bytes: &[u8]) -> bool {
    let code = |place: Option<&[u8]>| place.map(|bytes| (bytes[0], bytes[1]));
    let last = bytes.len().checked_sub(INSTRUCTION_BYTES).and_then(|last| bytes.get(last..));
    code(bytes.get(..INSTRUCTION_BYTES)) == Some((0x20, 0)) && code(last) == Some((0x06, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_told_from_what_is_around_it() {
        let program = [0x20, 0, 0, 0, 4, 0, 0, 0, 0x06, 0, 0, 0, 0, 0, 0xff, 0x7f];
        assert!(is_program(&program));
        assert!(!is_program(&program[8..]) && !is_program(&program[..8]) && !is_program(&program[3..]));
        assert!(!is_program(&[]));
    }
}
