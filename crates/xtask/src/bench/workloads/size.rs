//! `run` of configs with many mounts, and with many devices.

use std::fs;

use serde_json::{Value, json};

use super::run::runs;
use crate::Result;
use crate::bench::Bench;
use crate::bench::figures::{Measurement, Unit};
use crate::bench::measure::Case;

const COUNT: usize = 200;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let rootfs = bench.default.directory.join("rootfs");
    let sources = bench.directory.join("sources");
    for number in 0..COUNT {
        fs::create_dir_all(sources.join(number.to_string()))?;
        fs::create_dir_all(rootfs.join(format!("mnt/{number}")))?;
    }
    let mounts = bench.variant("with-mounts", &bench.default, |config| {
        let more = (0..COUNT).map(|number| {
            let (source, destination) = (sources.join(number.to_string()), format!("/mnt/{number}"));
            json!({ "destination": destination, "type": "bind", "source": source, "options": ["bind", "ro", "nosuid"] })
        });
        append(&mut config["mounts"], more);
    })?;
    let devices = bench.variant("with-devices", &bench.default, |config| {
        let more = (0..COUNT).map(|number| {
            let path = format!("/dev/device{number}");
            json!({ "path": path, "type": "c", "major": 1, "minor": 5, "fileMode": 0o666, "uid": 0, "gid": 0 })
        });
        config["linux"]["devices"] = json!([]);
        append(&mut config["linux"]["devices"], more);
    })?;
    let mut measurements = Vec::new();
    for (name, bundle) in [("mounts", &mounts), ("devices", &devices)] {
        let case = Case::new("size", format!("{COUNT} {name} in the config"), Unit::Milliseconds);
        measurements.extend(runs(bench, bench.rounds().divided(2), case, bundle));
    }
    Ok(measurements)
}

fn append(list: &mut Value, more: impl Iterator<Item = Value>) {
    if let Some(list) = list.as_array_mut() {
        list.extend(more);
    }
}
