//! `exec` in a container that runs.

use crate::Result;
use crate::bench::figures::{Measurement, Unit};
use crate::bench::measure::{Case, alternate, time};
use crate::bench::runtime::Live;
use crate::bench::{Bench, entrants};

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let mut measurements = Vec::new();
    for (name, bundle) in [("default", &bench.default), ("docker", &bench.docker)] {
        let bundle = bench.idle(&format!("exec-{name}"), bundle)?;
        let runtimes = bench.oci_runtimes();
        let mut containers = Vec::new();
        for runtime in &runtimes {
            containers.push(Live::create(runtime, &bundle, bench.id(), true));
        }
        let case = Case::new("exec", name, Unit::Milliseconds);
        measurements.extend(alternate(bench.rounds(), &[case], &entrants(&runtimes), |index| {
            let container = containers[index].as_ref().map_err(ToString::to_string)?;
            Ok(vec![time(&mut runtimes[index].command(&["exec", &container.id, "/bin/true"]))?])
        }));
    }
    Ok(measurements)
}
