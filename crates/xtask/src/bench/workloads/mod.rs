//! The workloads, one file each, or one for a few of a kind. Each clears away what it has made.

mod exec;
mod execs;
mod host_mounts;
mod many;
mod memory;
mod parallel;
mod resident;
mod run;
mod size;
mod steps;
mod users;

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
    Workload { name: "state", about: "state of a container", quick: true, measure: many::state },
    Workload { name: "list", about: "list of 1,000 containers", quick: false, measure: many::list },
    Workload {
        name: "parallel",
        about: "200 runs, 1, 2, 4 and 8 at a time",
        quick: false,
        measure: parallel::measure,
    },
    Workload {
        name: "host-mounts",
        about: "run with up to 2,000 more mounts on the host",
        quick: false,
        measure: host_mounts::measure,
    },
    Workload {
        name: "size",
        about: "run of configs with 200 mounts, and with 200 devices",
        quick: true,
        measure: size::measure,
    },
    Workload {
        name: "resident",
        about: "run through the library, from a process with 4 GiB",
        quick: false,
        measure: resident::measure,
    },
    Workload {
        name: "memory",
        about: "peak memory of a create, memory of a waiting init, and the lowest limit",
        quick: false,
        measure: memory::measure,
    },
    Workload {
        name: "idle",
        about: "1,000 containers that do nothing: memory and time",
        quick: false,
        measure: many::idle,
    },
    Workload { name: "userns", about: "run with a user namespace", quick: true, measure: users::namespace },
    Workload { name: "rootless", about: "run by an ordinary user", quick: true, measure: users::rootless },
    Workload {
        name: "execs",
        about: "how many programs a run executes before the user's",
        quick: true,
        measure: execs::measure,
    },
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
