//! Runs a command under limits, in cgroups of its own, and says what it has used.
//!
//! ```text
//! limit [--memory BYTES] [--cpu PERCENT] [--pids N] [--cpus LIST] COMMAND [ARGUMENT…]
//! ```

#![allow(clippy::print_stderr, reason = "a program that talks to its user")]

use std::error::Error;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use corten_cgroup::{Cgroups, Cpu, Machine, Memory, Resources};

/// How long processes that are killed may take to end.
const DEADLINE: Duration = Duration::from_secs(10);

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)).and_then(|(limits, command)| run(&limits, &command)) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            eprintln!("limit: {error}{reason}");
            ExitCode::from(125)
        }
    }
}

/// Reads the limits up to the command.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<(Resources, Vec<String>), Box<dyn Error>> {
    let (mut cpu, mut memory, mut pids) = (Cpu::default(), Memory::default(), None);
    while let Some(argument) = arguments.next() {
        if !argument.starts_with("--") {
            let resources = Resources { cpu, memory, pids, ..Resources::default() };
            return Ok((resources, std::iter::once(argument).chain(arguments).collect()));
        }
        let value = arguments.next().ok_or_else(|| format!("{argument} needs a value"))?;
        match argument.as_str() {
            "--memory" => memory.limit = Some(value.parse()?),
            // Of one CPU, in a period of 100 ms.
            "--cpu" => cpu.quota = Some(value.parse::<i64>()? * 1000),
            "--cpus" => cpu.cpus = value,
            "--pids" => pids = Some(value.parse()?),
            _ => return Err(format!("unknown limit {argument}").into()),
        }
    }
    Err("no command".into())
}

fn run(limits: &Resources, command: &[String]) -> Result<u8, Box<dyn Error>> {
    let machine = Machine::detect()?;
    let name = format!("limit-{}", std::process::id());
    let cgroups = machine.create(&machine.locate(Some(format!("/{name}").as_ref()), &name)?)?;
    let result = run_in(&cgroups, limits, &machine, command);
    // In any case, with whatever the command has left running.
    cgroups.kill(DEADLINE)?;
    cgroups.remove(DEADLINE)?;
    result
}

fn run_in(
    cgroups: &Cgroups,
    limits: &Resources,
    machine: &Machine,
    command: &[String],
) -> Result<u8, Box<dyn Error>> {
    for field in limits.without_meaning(machine.legacy_controllers()) {
        eprintln!("limit: {field} has no meaning here");
    }
    cgroups.apply(&limits.settings(machine.legacy_controllers())?)?;
    // A shell that waits, so that the command begins in its cgroups. It gives the command our stdin then.
    let mut child = Command::new("sh")
        .args(["-c", "read go && exec \"$@\" < /proc/$PPID/fd/0", "sh"])
        .args(command)
        .stdin(Stdio::piped())
        .spawn()?;
    cgroups.add(child.id().try_into()?)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(b"go\n")?;
    }
    let status = child.wait()?;
    let stats = cgroups.stats()?;
    if let Some(cpu) = &stats.cpu {
        eprintln!("limit: {:?} of processor time", Duration::from_nanos(cpu.total_ns));
    }
    if cgroups.oom_kills()? > 0 {
        eprintln!("limit: it needed more memory");
    }
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    Ok(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
