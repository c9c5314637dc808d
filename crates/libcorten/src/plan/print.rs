//! A plan for people and for programs: `corten plan`.
//!
//! The kinds of operands that the runtime's steps have say here how they are printed; those of init's steps,
//! in corten-init.

use std::fmt;
use std::path::PathBuf;

use corten_cgroup::device::Rule;
use corten_cgroup::systemd::Property;
use corten_cgroup::{Location, Setting};
use corten_init::{Mask, Mode, Namespaces, OwnedStep, Resource, Slot, SlotRange, SyncPoint};
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use crate::oci::{Hook, LinuxIdMapping, LinuxIntelRdt, LinuxNamespaceType};
use crate::spec::{HookKind, namespace_name};

use super::{HostStep, IdMapSource, LockedFlags, Plan, Planned};

/// Operands with their names, written out.
pub(super) type Operands = Vec<(&'static str, String)>;

/// An operand of a step of the runtime.
pub(super) trait Operand {
    /// Whether it names slots, whose role the table of steps must then say.
    const NAMES_SLOTS: bool = false;

    /// Writes it out: under `name`, or as parts that have names of their own.
    fn print(&self, name: &'static str, to: &mut Operands);

    /// Calls `visit` with each slot that it names.
    fn slots(&self, _visit: &mut dyn FnMut(Slot)) {}
}

/// Kinds that are printed by a function.
macro_rules! printed {
    ($( $kind:ty: $print:expr; )*) => { $(
        impl Operand for $kind {
            fn print(&self, name: &'static str, to: &mut Operands) {
                let print: fn(&$kind) -> String = $print;
                to.push((name, print(self)));
            }
        }
    )* };
}

printed! {
    bool: |flag| if *flag { "yes" } else { "no" }.to_owned();
    u32: u32::to_string;
    i32: i32::to_string;
    u64: u64::to_string;
    &'static str: |text| (*text).to_owned();
    String: String::clone;
    PathBuf: |path| path.display().to_string();
    Mask<Vec<u8>>: Mask::to_string;
    Mode: Mode::to_string;
    Namespaces: Namespaces::to_string;
    Resource: Resource::to_string;
    SyncPoint: SyncPoint::to_string;
    HookKind: |kind| kind.name().to_owned();
    LinuxNamespaceType: |kind| namespace_name(*kind).to_owned();
    Vec<LinuxIdMapping>: |maps| joined(maps.iter().map(|map| {
        format!("{}-{}-{}", map.container_id(), map.host_id(), map.size())
    }), ",");
    Vec<(String, String)>: |devices| joined(devices.iter().map(|(outside, inside)| format!("{outside}→{inside}")), " ");
    Vec<Hook>: |hooks| joined(hooks.iter().map(|hook| hook.path().display().to_string()), " ");
}

fn joined(parts: impl Iterator<Item = String>, separator: &str) -> String {
    parts.collect::<Vec<_>>().join(separator)
}

/// What is not there is not printed.
impl<T: Operand> Operand for Option<T> {
    fn print(&self, name: &'static str, to: &mut Operands) {
        if let Some(operand) = self {
            operand.print(name, to);
        }
    }
}

/// Lists of which each entry is printed.
macro_rules! printed_one_by_one {
    ($( $kind:ty: $print:expr; )*) => { $(
        impl Operand for Vec<$kind> {
            fn print(&self, _name: &'static str, to: &mut Operands) {
                let print: fn(&$kind) -> (&'static str, String) = $print;
                to.extend(self.iter().map(print));
            }
        }
    )* };
}

printed_one_by_one! {
    PathBuf: |path| ("path", path.display().to_string());
    Property: |property| ("property", property.to_string());
    Setting: |setting| ("set", setting.to_string());
    // Written as v1's devices.allow has them.
    Rule: |rule| (if rule.allow { "allow" } else { "deny" }, rule.to_string());
}

impl Operand for Location {
    fn print(&self, _name: &'static str, to: &mut Operands) {
        to.extend(self.unit.iter().map(|unit| ("unit", unit.name().to_owned())));
        to.extend(self.unified.iter().map(|cgroup| ("path", cgroup.display().to_string())));
        to.extend(self.legacy.iter().map(|(name, path)| ("legacy", format!("{name}:{}", path.display()))));
    }
}

impl Operand for IdMapSource {
    fn print(&self, _name: &'static str, to: &mut Operands) {
        match self {
            Self::Maps { uids, gids } => {
                uids.print("uids", to);
                gids.print("gids", to);
            }
            Self::Namespace { path } => path.print("path", to),
        }
    }
}

impl Operand for LinuxIntelRdt {
    fn print(&self, _name: &'static str, to: &mut Operands) {
        self.clos_id().print("closID", to);
    }
}

/// What is not allowed is told when it is asked for.
impl Operand for LockedFlags {
    fn print(&self, _name: &'static str, _to: &mut Operands) {}
}

impl Operand for Slot {
    const NAMES_SLOTS: bool = true;

    fn print(&self, name: &'static str, to: &mut Operands) {
        to.push((name, self.to_string()));
    }

    fn slots(&self, visit: &mut dyn FnMut(Slot)) {
        visit(*self);
    }
}

impl Operand for SlotRange {
    const NAMES_SLOTS: bool = true;

    fn print(&self, name: &'static str, to: &mut Operands) {
        to.push((name, self.to_string()));
    }

    fn slots(&self, visit: &mut dyn FnMut(Slot)) {
        self.iter().for_each(visit);
    }
}

/// The operands of a step inside, written out; for a line so that each is one word.
fn inside_operands(step: &OwnedStep, as_words: bool) -> Operands {
    let mut operands = Vec::new();
    step.operands(&mut |name, value| {
        operands.push((name, if as_words { format!("{value:#}") } else { value.to_string() }));
    });
    operands
}

/// The operands of a step of the runtime, so that each is one word.
fn host_operands(step: &HostStep) -> Operands {
    let quoted = |value: String| {
        if value.is_empty() || value.contains([' ', '"']) { format!("{value:?}") } else { value }
    };
    step.operands().into_iter().map(|(name, value)| (name, quoted(value))).collect()
}

fn lines<T>(
    f: &mut fmt::Formatter<'_>,
    steps: &[Planned<T>],
    describe: impl Fn(&T) -> (&'static str, Operands),
) -> fmt::Result {
    for (index, planned) in steps.iter().enumerate() {
        let (name, operands) = describe(&planned.step);
        write!(f, "{index:4}  {name:<20} {:<32}", planned.item.to_string_lossy())?;
        for (key, value) in operands {
            write!(f, " {key}={value}")?;
        }
        writeln!(f)?;
    }
    Ok(())
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "decisions: what both halves follow from")?;
        for (name, words) in self.decisions.described() {
            writeln!(f, "      {name:<20} {words}")?;
        }
        writeln!(f, "\nhost: what the runtime does")?;
        lines(f, &self.host, |step| (step.name(), host_operands(step)))?;
        writeln!(f, "\ninside: what init does, from CloneInit on")?;
        lines(f, &self.inside, |step| (step.name(), inside_operands(step, true)))
    }
}

struct Map(Operands);

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

fn serialize_step<S: Serializer>(
    serializer: S,
    item: &std::ffi::CStr,
    name: &'static str,
    operands: Operands,
) -> Result<S::Ok, S::Error> {
    let mut step = serializer.serialize_struct("Step", 3)?;
    step.serialize_field("step", name)?;
    step.serialize_field("item", &item.to_string_lossy())?;
    step.serialize_field("operands", &Map(operands))?;
    step.end()
}

impl Serialize for Planned<HostStep> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_step(serializer, &self.item, self.step.name(), self.step.operands())
    }
}

impl Serialize for Planned<OwnedStep> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_step(serializer, &self.item, self.step.name(), inside_operands(&self.step, false))
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut plan = serializer.serialize_struct("Plan", 3)?;
        let decisions = self.decisions.described();
        plan.serialize_field("decisions", &Map(decisions))?;
        plan.serialize_field("host", &self.host)?;
        plan.serialize_field("inside", &self.inside)?;
        plan.end()
    }
}
