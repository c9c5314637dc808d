//! A process that makes containers through the library, as an engine does: `embedder MIB BUNDLE STATE-ROOT`.
//!
//! It holds so much memory, and then does what its input says, a line each: `run ID`, a container from its
//! making to its removal, or `spawn ID`, a fork and exec without a container. It answers with the
//! milliseconds that this took.

#![allow(clippy::print_stdout, reason = "a program that answers")]

use std::error::Error;
use std::hint::black_box;
use std::io::BufRead;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use libcorten::{Bundle, CreateOptions, Runtime};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [mib, bundle, root] = arguments.as_slice() else {
        return Err("usage: embedder MIB BUNDLE STATE-ROOT".into());
    };
    // Small pages, as memory has that was taken bit by bit: they make the longest page tables.
    nix::sys::prctl::set_thp_disable(true)?;
    let memory = black_box(vec![1u8; mib.parse::<usize>()? << 20]);
    println!("{} MiB", memory.len() >> 20);
    let runtime = Runtime::new(root);
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let start = Instant::now();
        let done = match line.split_once(' ') {
            Some(("run", id)) => run(&runtime, id, bundle.as_ref()),
            Some(("spawn", _)) => spawn(),
            _ => Err("run or spawn, and an id".into()),
        };
        let time = start.elapsed().as_secs_f64() * 1000.0;
        match done {
            Ok(()) => println!("{time}"),
            Err(error) => println!("{line}: {error}"),
        }
    }
    black_box(memory);
    Ok(())
}

fn run(runtime: &Runtime, id: &str, bundle: &Path) -> Result<(), Box<dyn Error>> {
    let bundle = Bundle::open(bundle)?;
    let container = runtime.run(id, &bundle, &CreateOptions::default())?;
    let exit = container.wait()?;
    container.delete(false)?;
    if exit.code() == 0 { Ok(()) } else { Err(format!("{exit:?}").into()) }
}

/// With a user to become, std forks; otherwise it would make a child that shares the memory, as libcorten
/// does.
fn spawn() -> Result<(), Box<dyn Error>> {
    let status = Command::new("/bin/true").uid(nix::unistd::geteuid().as_raw()).status()?;
    if status.success() { Ok(()) } else { Err(status.to_string().into()) }
}
