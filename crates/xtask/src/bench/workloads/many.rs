//! Commands beside many containers, and what many containers cost.

use std::fs;
use std::time::Duration;

use crate::Result;
use crate::bench::figures::{Measurement, Row, Sample, Unit};
use crate::bench::measure::{Case, alternate, time};
use crate::bench::runtime::{Bundle, Live, Runtime};
use crate::bench::{Bench, entrants};

/// How many containers' memory is looked at.
const LOOKED_AT: usize = 20;

/// How long the kernel may take to free what containers had: their namespaces go later than they do.
const SETTLE: Duration = Duration::from_secs(5);

pub(super) fn state(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let bundle = bench.idle("state", &bench.default)?;
    let runtimes = bench.oci_runtimes();
    let containers: Vec<_> =
        runtimes.iter().map(|runtime| Live::create(runtime, &bundle, bench.id(), true)).collect();
    let case = Case::new("state", "", Unit::Milliseconds);
    Ok(alternate(bench.rounds(), &[case], &entrants(&runtimes), |index| {
        let container = containers[index].as_ref().map_err(ToString::to_string)?;
        Ok(vec![time(&mut runtimes[index].command(&["state", &container.id]))?])
    }))
}

pub(super) fn list(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    // What a container has beside its state makes no difference here; a network namespace takes long to go
    // away.
    let bundle = bench.variant("list", &bench.default, |config| {
        if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
            namespaces.retain(|namespace| namespace["type"] != "network");
        }
    })?;
    let runtimes = bench.oci_runtimes();
    let containers: Vec<_> = runtimes.iter().map(|runtime| create_all(bench, runtime, &bundle)).collect();
    let case = Case::new("list", format!("{} containers", bench.containers()), Unit::Milliseconds);
    Ok(alternate(bench.rounds(), &[case], &entrants(&runtimes), |index| {
        containers[index].as_ref().map_err(ToString::to_string)?;
        Ok(vec![time(&mut runtimes[index].command(&["list"]))?])
    }))
}

fn create_all<'a>(bench: &Bench<'_>, runtime: &'a Runtime, bundle: &Bundle) -> Result<Vec<Live<'a>>> {
    (0..bench.containers()).map(|_| Live::create(runtime, bundle, bench.id(), false)).collect()
}

/// Makes many containers with one runtime after the other. The rounds are the containers: the last ones are
/// made beside all others.
pub(super) fn idle(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let bundle = bench.idle("idle", &bench.default)?;
    let name = |what: &str| format!("{what}, {} containers", bench.containers());
    let mut measurements: Vec<_> = [
        (name("create each"), Unit::Milliseconds),
        (name("start each"), Unit::Milliseconds),
        (name("delete --force each"), Unit::Milliseconds),
        (name("memory of each waiting init (proportional)"), Unit::Kibibytes),
        (name("memory of the machine for each, created"), Unit::Kibibytes),
        (name("memory of the machine for each, running"), Unit::Kibibytes),
    ]
    .into_iter()
    .map(|(case, unit)| Measurement { workload: "idle".to_owned(), case, unit, rows: Vec::new() })
    .collect();
    for runtime in bench.oci_runtimes() {
        match live_together(bench, runtime, &bundle) {
            Ok(columns) => {
                for (measurement, samples) in measurements.iter_mut().zip(columns) {
                    let rounds = samples.into_iter().map(Some).collect();
                    let (label, role) = (runtime.label.clone(), runtime.role);
                    measurement.rows.push(Row { label, role, summary: None, rounds });
                }
            }
            Err(error) => println!("left out: {}: {error}", runtime.label),
        }
    }
    Ok(measurements)
}

/// Creates, starts and deletes many containers of one runtime.
fn live_together(bench: &Bench<'_>, runtime: &Runtime, bundle: &Bundle) -> Result<[Vec<Sample>; 6]> {
    let (mut create, mut start, mut delete) = (Vec::new(), Vec::new(), Vec::new());
    let (mut containers, mut pids) = (Vec::new(), Vec::new());
    // What the containers before have left is freed by then.
    std::thread::sleep(SETTLE);
    let before = available_kib()?;
    for _ in 0..bench.containers() {
        let live = Live::of(runtime, bench.id());
        create.push(time(&mut runtime.create(bundle, &live.id))?);
        pids.push(runtime.pid()?);
        containers.push(live);
    }
    let created = available_kib()?;
    let some = pids.iter().step_by(pids.len().div_ceil(LOOKED_AT).max(1));
    let memory = some.map(|pid| Ok(Sample::from(proportional_kib(*pid)?))).collect::<Result<Vec<_>>>()?;
    for live in &containers {
        start.push(time(&mut runtime.command(&["start", &live.id]))?);
    }
    let running = available_kib()?;
    for live in containers {
        delete.push(time(&mut runtime.command(&["delete", "--force", &live.id]))?);
        live.forget();
    }
    #[expect(clippy::cast_precision_loss, reason = "a small number")]
    let each = |now: f64| vec![Sample::from((before - now) / bench.containers() as f64)];
    Ok([create, start, delete, memory, each(created), each(running)])
}

/// What the machine has left. Others use it, too, so a difference means something only if it is large.
fn available_kib() -> Result<f64> {
    value_kib(&fs::read_to_string("/proc/meminfo")?, "MemAvailable:")
}

/// A process's memory: its own, and its part of what it shares.
pub(super) fn proportional_kib(pid: i32) -> Result<f64> {
    value_kib(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?, "Pss:")
}

/// A line `key  number kB` of a file in procfs.
pub(super) fn value_kib(text: &str, key: &str) -> Result<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next()?.parse().ok());
    Ok(value.ok_or_else(|| format!("no {key}"))?)
}
