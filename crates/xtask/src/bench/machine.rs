//! Where it was measured: without it a figure means nothing.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::runtime::Runtime;

/// The machine, and the programs that were compared.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) kernel: String,
    pub(crate) cpus: usize,
    pub(crate) model: String,
    pub(crate) cgroups: String,
    /// Load of the last minute, before and after.
    pub(crate) load: Vec<String>,
    pub(crate) runtimes: Vec<String>,
}

impl Machine {
    pub(crate) fn look(cgroups: &str, runtimes: &[Runtime]) -> Self {
        Self {
            kernel: line("/proc/sys/kernel/osrelease"),
            cpus: std::thread::available_parallelism().map_or(0, usize::from),
            model: model(),
            cgroups: cgroups.to_owned(),
            load: vec![load()],
            runtimes: runtimes.iter().map(Runtime::describe).collect(),
        }
    }

    pub(crate) fn finish(&mut self) {
        self.load.push(load());
    }

    /// What a plot says of it.
    pub(crate) fn place(&self) -> String {
        let Self { kernel, cpus, model, cgroups, .. } = self;
        format!("Medians. Linux {kernel}, {cpus} CPUs ({model}), cgroups: {cgroups}.")
    }

    /// Everything on one line, but the runtimes.
    pub(crate) fn line(&self) -> String {
        let Self { kernel, cpus, model, cgroups, load, .. } = self;
        format!("Linux {kernel}, {cpus} CPUs ({model}), cgroups: {cgroups}, load {}", load.join(" → "))
    }
}

fn line(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

fn load() -> String {
    line("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned()
}

fn model() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line = cpus.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(": ")?.1.trim().to_owned())
    };
    value("model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}
