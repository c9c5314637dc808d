//! The workloads, one file each, or one for a few of a kind. Each clears away what it has made.

mod exec;
mod parallel;
mod run;
mod steps;

use super::Bench;
use super::figures::Measurement;
use crate::Result;

/// Something to measure.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Takes seconds, with the default number of rounds.
    quick: bool,
    pub(crate) measure: fn(&Bench<'_>) -> Result<Vec<Measurement>>,
}

impl Workload {
    pub(crate) fn print(&self) {
        println!("{:<12} {}{}", self.name, self.about, if self.quick { "" } else { " (takes minutes)" });
    }
}

pub(crate) const ALL: &[Workload] = &[
    Workload {
        name: "run",
        about: "run of the default bundle, and of Docker's config with the filter cache warm",
        quick: true,
        measure: run::warm,
    },
    Workload {
        name: "cold",
        about: "run of Docker's config with all caches of the runtime removed",
        quick: true,
        measure: run::cold,
    },
    Workload {
        name: "steps",
        about: "create, start, kill and delete, each alone",
        quick: true,
        measure: steps::measure,
    },
    Workload {
        name: "exec",
        about: "exec of /bin/true, plain and with a seccomp profile",
        quick: true,
        measure: exec::measure,
    },
    Workload { name: "parallel", about: "200 runs, 1, 2, 4 and 8 at a time", quick: false, measure: parallel::measure },
];

/// The workloads of these names, or the quick ones.
pub(crate) fn chosen(names: &[String]) -> Result<Vec<&'static Workload>> {
    if names.is_empty() {
        return Ok(ALL.iter().filter(|workload| workload.quick).collect());
    }
    if names == ["all"] {
        return Ok(ALL.iter().collect());
    }
    let find = |name: &String| {
        let found = ALL.iter().find(|workload| workload.name == *name);
        Ok(found.ok_or_else(|| format!("there is no workload {name}; --list prints those that there are"))?)
    };
    names.iter().map(find).collect()
}
