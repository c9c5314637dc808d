//! What the spec offers and Corten does not do, one line each: an issue that does one deletes its line.
//!
//! An empty object or a member of zero asks for nothing and is accepted: engines write `"cpu": {"shares": 0}`.

use oci_spec::runtime::{LinuxResources, Spec};

use super::error::SpecError;

/// Returns the path of the field that asks for it, if one does.
type Asks = fn(&Spec) -> Option<String>;

#[rustfmt::skip]
const NOT_YET: &[(&str, Asks)] = &[
    ("a memory limit",                      memory),
    ("a CPU limit",                         cpu),
    ("a limit on the number of processes",  pids),
    ("a block I/O limit",                   block_io),
    ("a limit on huge pages",               |spec| resource(spec, "hugepageLimits", |r| listed(r.hugepage_limits()))),
    ("a network class or priority",         network),
    ("an RDMA limit",                       |spec| resource(spec, "rdma", |r| filled(r.rdma()))),
    ("a cgroup v2 setting",                 |spec| resource(spec, "unified", |r| filled(r.unified()))),
];

/// What the spec has no values for.
const NEVER: &[(&str, Asks)] = &[("a personality flag", personality_flags)];

/// A section for another platform: its name, what it asks for, and whether a config has it.
type OtherPlatform = (&'static str, &'static str, fn(&Spec) -> bool);

/// Sections for other platforms. A config that has one was made for another runtime; ignoring the section would run
/// something else than what was asked for.
pub(super) const OTHER_PLATFORMS: &[OtherPlatform] = &[
    ("windows", "a container for Windows", |spec| spec.windows().is_some()),
    ("solaris", "a container for Solaris", |spec| spec.solaris().is_some()),
    ("zos", "a container for z/OS", |spec| spec.zos().is_some()),
    ("vm", "a virtual machine", |spec| spec.vm().is_some()),
    // The type has no such field: `compat` looks for it in the text.
    ("freebsd", "a container for FreeBSD", |_| false),
];

pub(super) fn is_not_asked_for(spec: &Spec) -> Result<(), SpecError> {
    if let Some((name, what, _)) = OTHER_PLATFORMS.iter().find(|(_, _, asks)| asks(spec)) {
        return Err(other_platform(name, what));
    }
    for (table, yet) in [(NEVER, false), (NOT_YET, true)] {
        for &(what, asks) in table {
            if let Some(field) = asks(spec) {
                return Err(SpecError::Unsupported { field, what, yet });
            }
        }
    }
    Ok(())
}

pub(super) fn other_platform(name: &str, what: &'static str) -> SpecError {
    SpecError::Unsupported { field: name.to_owned(), what, yet: false }
}

// Shapes of an answer.

fn resource(spec: &Spec, name: &str, asks: impl Fn(&LinuxResources) -> bool) -> Option<String> {
    let resources = spec.linux().as_ref()?.resources().as_ref()?;
    asks(resources).then(|| format!("linux.resources.{name}"))
}

fn listed<T>(list: &Option<Vec<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn filled<V>(map: &Option<std::collections::HashMap<String, V>>) -> bool {
    map.as_ref().is_some_and(|map| !map.is_empty())
}

fn named(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

fn nonzero<T: Default + PartialEq>(number: Option<T>) -> bool {
    number.is_some_and(|number| number != T::default())
}

// The lines that need more than a line.

/// runc: warns and ignores them.
fn personality_flags(spec: &Spec) -> Option<String> {
    let personality = spec.linux().as_ref()?.personality().as_ref()?;
    listed(personality.flags()).then(|| "linux.personality.flags".to_owned())
}

/// runc: `kernel`, `kernelTCP` and `useHierarchy` are ignored; `checkBeforeUpdate` is about the limit.
/// A swappiness of zero does ask for something.
fn memory(spec: &Spec) -> Option<String> {
    resource(spec, "memory", |resources| {
        resources.memory().as_ref().is_some_and(|memory| {
            nonzero(memory.limit())
                || nonzero(memory.reservation())
                || nonzero(memory.swap())
                || memory.swappiness().is_some()
                || nonzero(memory.disable_oom_killer())
        })
    })
}

fn cpu(spec: &Spec) -> Option<String> {
    resource(spec, "cpu", |resources| {
        resources.cpu().as_ref().is_some_and(|cpu| {
            nonzero(cpu.shares())
                || nonzero(cpu.quota())
                || nonzero(cpu.burst())
                || nonzero(cpu.period())
                || nonzero(cpu.idle())
                || nonzero(cpu.realtime_runtime())
                || nonzero(cpu.realtime_period())
                || named(cpu.cpus())
                || named(cpu.mems())
        })
    })
}

/// A negative limit is "unlimited", as a new cgroup is.
fn pids(spec: &Spec) -> Option<String> {
    resource(spec, "pids", |resources| resources.pids().as_ref().is_some_and(|pids| pids.limit() > 0))
}

fn block_io(spec: &Spec) -> Option<String> {
    resource(spec, "blockIO", |resources| {
        resources.block_io().as_ref().is_some_and(|block_io| {
            nonzero(block_io.weight())
                || nonzero(block_io.leaf_weight())
                || listed(block_io.weight_device())
                || listed(block_io.throttle_read_bps_device())
                || listed(block_io.throttle_write_bps_device())
                || listed(block_io.throttle_read_iops_device())
                || listed(block_io.throttle_write_iops_device())
        })
    })
}

fn network(spec: &Spec) -> Option<String> {
    resource(spec, "network", |resources| {
        let network = resources.network().as_ref();
        network.is_some_and(|network| nonzero(network.class_id()) || listed(network.priorities()))
    })
}
