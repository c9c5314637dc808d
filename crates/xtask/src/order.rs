//! `cargo xtask order`: which functions a container's way through Corten calls, for the linker.
//!
//! A command runs once and briefly. The kernel maps its code in windows of 64 KiB as they are touched, and
//! takes all of that down again at the end, so that functions which lie scattered over the binary cost more
//! than what they do. The linker is told to put those together that are called (`runtime-bin/order.ld`, which
//! build.rs hands to it). A name that has gone does no harm, a new function is found by running this again.
//!
//! Every function of a build with symbols gets a breakpoint, which goes away when it is hit: x86_64 only, as
//! is what it finds of code for one architecture; the names are the same everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use nix::sys::ptrace::{self, Options as Trace};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::{Result, bundle, shell};

/// Which builds to watch.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A release build with symbols (CARGO_PROFILE_RELEASE_STRIP=none); more than one where their C libraries
    /// differ
    #[arg(required = true, value_name = "FILE")]
    corten: Vec<PathBuf>,
}

/// The linker script, from the workspace.
const SCRIPT: &str = "runtime-bin/order.ld";
/// x86's `int3`.
const BREAKPOINT: u8 = 0xcc;

pub(crate) fn run(options: &Options) -> Result {
    if !cfg!(target_arch = "x86_64") || !shell::is_root() {
        return Err("watching containers being made needs x86_64 and root".into());
    }
    shell::enter_pure_v2()?;
    let mut order = Vec::new();
    for corten in &options.corten {
        let (symbols, directory) = (Symbols::read(corten)?, tempfile::tempdir()?);
        for called in watch(corten, &symbols, directory.path())? {
            if !order.contains(&called) {
                order.push(called);
            }
        }
    }
    let script = shell::workspace().join(SCRIPT);
    fs::write(&script, linker_script(&order)?)?;
    println!("{}: {} functions", script.display(), order.len());
    Ok(())
}

/// Functions by their addresses; some have several names, and a section for one of them.
#[derive(Debug)]
struct Symbols(BTreeMap<u64, Vec<String>>);

impl Symbols {
    fn read(program: &Path) -> Result<Self> {
        let listed = shell::output(Command::new("nm").arg("--defined-only").arg(program))?;
        let mut symbols: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for line in listed.lines() {
            let mut words = line.split(' ');
            if let (Some(address), Some("t" | "T" | "w" | "W"), Some(name)) =
                (words.next(), words.next(), words.next())
            {
                symbols.entry(u64::from_str_radix(address, 16)?).or_default().push(name.to_owned());
            }
        }
        if symbols.is_empty() {
            return Err(format!("{}: no symbols", program.display()).into());
        }
        Ok(Self(symbols))
    }
}

/// Runs the commands that a container's life consists of, and returns the functions that they call, in the
/// order of the first calls.
fn watch(corten: &Path, symbols: &Symbols, directory: &Path) -> Result<Vec<String>> {
    let (default, docker, idle) =
        (directory.join("default"), directory.join("docker"), directory.join("idle"));
    bundle::default(corten, &default, &["/bin/true"])?;
    bundle::docker(&docker, &["/bin/true"])?;
    bundle::default(corten, &idle, &["/bin/sleep", "100"])?;
    let root = directory.join("state");
    let run = |bundle: &Path| vec!["run".into(), "--bundle".into(), bundle.into(), "order-run".into()];
    let id = |words: &[&str]| words.iter().map(PathBuf::from).collect::<Vec<_>>();
    let commands = [
        run(&default),
        run(&docker),
        // Now with what the first one has left in the cache.
        run(&docker),
        vec!["create".into(), "--bundle".into(), idle, "order".into()],
        id(&["state", "order"]),
        id(&["start", "order"]),
        id(&["exec", "order", "/bin/true"]),
        id(&["list"]),
        id(&["kill", "order", "KILL"]),
        id(&["delete", "--force", "order"]),
    ];
    let mut called = Vec::new();
    for arguments in commands {
        let mut command = Command::new(corten);
        command.arg("--root").arg(&root).args(&arguments);
        for address in calls(&command, symbols).map_err(|error| format!("{arguments:?}: {error}"))? {
            for name in symbols.0.get(&address).into_iter().flatten() {
                if !called.contains(name) {
                    called.push(name.clone());
                }
            }
        }
    }
    Ok(called)
}

/// Runs a command with a breakpoint at every function, and returns those that are called, by their addresses.
fn calls(command: &Command, symbols: &Symbols) -> Result<Vec<u64>> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let first = shell::trace(words, Stdio::null(), Stdio::inherit(), Trace::empty())?;
    let (mut called, mut seen) = (Vec::new(), BTreeSet::new());
    let mut memory = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::__WALL))? {
            WaitStatus::PtraceEvent(pid, _, event) if event == ptrace::Event::PTRACE_EVENT_EXEC as i32 => {
                if pid == first {
                    memory = Some(set_breakpoints(pid, symbols)?);
                    ptrace::cont(pid, None)?;
                } else {
                    // Another program.
                    ptrace::detach(pid, None)?;
                }
            }
            WaitStatus::Stopped(pid, Signal::SIGTRAP) => {
                let mut registers = ptrace::getregs(pid)?;
                let address = registers.rip - 1;
                let code = memory.as_ref().and_then(|(memory, code)| Some((memory, *code.get(&address)?)));
                let Some((memory, byte)) = code else { return Err(format!("a trap at {address:#x}").into()) };
                // Another thread may have been here, too.
                memory.write_all_at(&[byte], address)?;
                if seen.insert(address) {
                    called.push(address);
                }
                registers.rip = address;
                ptrace::setregs(pid, registers)?;
                ptrace::cont(pid, None)?;
            }
            WaitStatus::PtraceEvent(pid, ..) => ptrace::cont(pid, None)?,
            WaitStatus::Stopped(pid, signal) => ptrace::cont(pid, Some(signal))?,
            WaitStatus::Exited(pid, 0) if pid == first => return Ok(called),
            WaitStatus::Exited(pid, status) if pid == first => {
                return Err(format!("ends with {status}").into());
            }
            WaitStatus::Signaled(pid, signal, _) if pid == first => {
                return Err(format!("killed by {signal}").into());
            }
            _ => {}
        }
    }
}

/// Puts a breakpoint at every function of a process; returns its memory, and what was there.
fn set_breakpoints(pid: Pid, symbols: &Symbols) -> Result<(File, BTreeMap<u64, u8>)> {
    let memory = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
    let mut code = BTreeMap::new();
    for address in symbols.0.keys() {
        let mut byte = [0];
        // Of what the linker has folded away only the name is left.
        if memory.read_exact_at(&mut byte, *address).is_ok() {
            memory.write_all_at(&[BREAKPOINT], *address)?;
            code.insert(*address, byte[0]);
        }
    }
    Ok((memory, code))
}

/// The script for GNU's linker and LLVM's: these functions before all others.
fn linker_script(order: &[String]) -> Result<String> {
    let mut script = String::from(
        "/* What the commands of a container's life call, in the order of the first calls: close together, so that little is mapped.\n   \
         Written by `cargo xtask order`. */\n\nSECTIONS\n{\n  .text.called :\n  {\n",
    );
    let mut patterns = BTreeSet::new();
    for name in order {
        let pattern = pattern(name);
        if patterns.insert(pattern.clone()) {
            // What the compiler takes for unlikely, as growing a vector, is called, too.
            writeln!(script, "    *(.text.{pattern} .text.unlikely.{pattern})")?;
        }
    }
    script.push_str("  }\n}\nINSERT BEFORE .text;\n");
    Ok(script)
}

/// The name of a function without what is another one in every build: hashes, and with them the numbers that
/// count them.
fn pattern(name: &str) -> String {
    if let Some(path) = name.strip_prefix("_R") {
        return format!("_R{}", without_numbers(path));
    }
    // Legacy mangling: `_ZN`, names with their lengths, `17h` and 16 digits, `E`.
    match name.rfind("17h").map(|at| name.split_at(at)) {
        Some((path, hash)) if path.starts_with("_ZN") && hash.len() >= 20 => format!("{path}17h*"),
        _ => name.to_owned(),
    }
}

/// Of a name in Rust's own mangling (RFC 2603): identifiers, which have their lengths before them, stay; `s`
/// and a crate's hash and `B` and a place in the name, each up to an underscore, go.
fn without_numbers(path: &str) -> String {
    let mut pattern = String::new();
    let mut rest = path;
    while let Some(first) = rest.chars().next() {
        let number = |tail: &str, is_digit: fn(&u8) -> bool| tail.bytes().take_while(is_digit).count();
        let (kept, next) = match first {
            's' | 'B' => {
                let digits = number(&rest[1..], u8::is_ascii_alphanumeric);
                pattern.push_str(&rest[..1]);
                if rest.as_bytes().get(digits + 1) == Some(&b'_') { ("*_", digits + 2) } else { ("", 1) }
            }
            '1'..='9' => {
                let digits = number(rest, u8::is_ascii_digit);
                let length: usize = rest[..digits].parse().unwrap_or(0);
                let end = rest.len().min(digits + length);
                (&rest[..end], end)
            }
            other => (&rest[..other.len_utf8()], other.len_utf8()),
        };
        pattern.push_str(kept);
        rest = &rest[next..];
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_hashes() {
        for (name, expected) in [
            ("memcpy", "memcpy"),
            ("_ZN6corten8commands3run3run17h0123456789abcdefE", "_ZN6corten8commands3run3run17h*"),
            (
                "_RNvNtNtCslERo4iccEK6_9libcorten9lifecycle6bundle4read",
                "_RNvNtNtCs*_9libcorten9lifecycle6bundle4read",
            ),
            (
                "_RNvMsj_NtCsgC8KXOPv5AB_3std2fsNtB5_11OpenOptions5__open",
                "_RNvMs*_NtCs*_3std2fsNtB*_11OpenOptions5__open",
            ),
        ] {
            assert_eq!(pattern(name), expected);
        }
    }
}
