//! `run`: a container from its making to its removal.

use std::fs;

use crate::Result;
use crate::bench::figures::{Measurement, Unit};
use crate::bench::measure::{Case, Rounds, alternate, time};
use crate::bench::runtime::{Bundle, Floor, Runtime};
use crate::bench::{Bench, entrants};

pub(super) fn warm(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let mut measurements = Vec::new();
    for (name, bundle) in [("default", &bench.default), ("docker", &bench.docker)] {
        measurements.extend(runs(bench, bench.rounds(), Case::new("run", name, Unit::Milliseconds), bundle));
    }
    Ok(measurements)
}

/// Runs a bundle with every runtime that can.
pub(super) fn runs(bench: &Bench<'_>, rounds: Rounds, case: Case, bundle: &Bundle) -> Vec<Measurement> {
    // The floor knows two bundles only.
    let can = |runtime: &&Runtime| runtime.is_oci() || !matches!(bundle.floor, Floor::None);
    let runtimes: Vec<_> = bench.runtimes.iter().filter(can).collect();
    alternate(rounds, &[case], &entrants(&runtimes), |index| {
        let mut command = runtimes[index].run(bundle, &bench.id())?;
        Ok(vec![time(&mut command)?])
    })
}

/// The caches are below the state roots, which have nothing else between two runs. The floor has none.
pub(super) fn cold(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let runtimes = bench.oci_runtimes();
    let case = Case::new("cold", "docker", Unit::Milliseconds);
    Ok(alternate(bench.rounds(), &[case], &entrants(&runtimes), |index| {
        empty(runtimes[index])?;
        let mut command = runtimes[index].run(&bench.docker, &bench.id())?;
        Ok(vec![time(&mut command)?])
    }))
}

/// Empties a state root.
fn empty(runtime: &Runtime) -> Result {
    for entry in fs::read_dir(&runtime.root)? {
        let path = entry?.path();
        // What holds a namespace is a mount.
        nix::mount::umount2(&path, nix::mount::MntFlags::MNT_DETACH).ok();
        if path.is_dir() { fs::remove_dir_all(&path)? } else { fs::remove_file(&path)? }
    }
    Ok(())
}
