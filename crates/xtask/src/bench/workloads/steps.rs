//! create, start, kill and delete, as engines call them.

use std::fs;
use std::time::{Duration, Instant};

use crate::Result;
use crate::bench::figures::{Measurement, Sample, Unit};
use crate::bench::measure::{Case, alternate, time};
use crate::bench::runtime::{Bundle, Live, Runtime};
use crate::bench::{Bench, entrants};

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let bundle = bench.idle("steps", &bench.default)?;
    let cases =
        ["create", "start", "kill", "delete"].map(|name| Case::new("steps", name, Unit::Milliseconds));
    let runtimes = bench.oci_runtimes();
    Ok(alternate(bench.rounds(), &cases, &entrants(&runtimes), |index| {
        life(runtimes[index], &bundle, bench.id())
    }))
}

/// One life: how long each step of it took.
fn life(runtime: &Runtime, bundle: &Bundle, id: String) -> Result<Vec<Sample>> {
    let live = Live::of(runtime, id);
    let create = time(&mut runtime.create(bundle, &live.id))?;
    let start = time(&mut runtime.command(&["start", &live.id]))?;
    let kill = time(&mut runtime.command(&["kill", &live.id, "KILL"]))?;
    // The signal is sent; that the process has ended is not the runtime's doing, and delete wants it.
    wait_for_end(runtime.pid()?)?;
    let delete = time(&mut runtime.command(&["delete", &live.id]))?;
    live.forget();
    Ok(vec![create, start, kill, delete])
}

/// Waits until a process has ended, reaped or not.
fn wait_for_end(pid: i32) -> Result {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may have any character in it, comes the state.
        if stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with(['Z', 'X'])) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err("the container does not end".into());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}
