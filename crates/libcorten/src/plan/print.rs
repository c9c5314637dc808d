//! A plan for people and for programs: `corten plan`.

use std::fmt;

use corten_init::OwnedStep;
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use super::{HostStep, IdMapSource, Plan, Planned};

fn cgroups(location: &corten_cgroup::Location, or_inits: Option<bool>, optional: bool) -> Vec<(&'static str, String)> {
    let unified = location.unified.iter().map(|cgroup| ("path", cgroup.display().to_string()));
    let legacy = location.legacy.iter().map(|(name, path)| ("legacy", format!("{name}:{}", path.display())));
    let flags =
        or_inits.map(|flag| ("or_inits", flag.to_string())).into_iter().chain([("optional", optional.to_string())]);
    unified.chain(legacy).chain(flags).collect()
}

impl HostStep {
    /// Whether the kernel may hold the caller in it for as long as somebody else likes: a filesystem that does not answer, a cgroup that is
    /// frozen just then, a program or a socket of others. No [`CreateOptions::cancel`](crate::CreateOptions::cancel) ends it.
    pub fn may_hang(&self) -> bool {
        matches!(
            self,
            Self::OpenTree { .. }
                | Self::OpenDevice { .. }
                | Self::OpenNamespace { .. }
                | Self::OpenHookOutput { .. }
                | Self::CloneInit { .. }
                | Self::WriteIdMaps { .. }
                | Self::SendSeccompListener { .. }
                | Self::SendPidfd { .. }
                | Self::PidFile { .. }
        )
    }

    /// Returns the step's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RecordCreating => "RecordCreating",
            Self::CreateCgroups { .. } => "CreateCgroups",
            Self::Limit { .. } => "Limit",
            Self::StartUnit { .. } => "StartUnit",
            Self::JoinCgroups => "JoinCgroups",
            Self::JoinContainer { .. } => "JoinContainer",
            Self::OpenJoinedCgroup { .. } => "OpenJoinedCgroup",
            Self::JoinIntelRdt { .. } => "JoinIntelRdt",
            Self::AttachToUnit { .. } => "AttachToUnit",
            Self::OpenInit { .. } => "OpenInit",
            Self::OpenInitRoot { .. } => "OpenInitRoot",
            Self::RunOn { .. } => "RunOn",
            Self::DelegateCgroup { .. } => "DelegateCgroup",
            Self::OpenTree { .. } => "OpenTree",
            Self::SendTrees { .. } => "SendTrees",
            Self::CheckIdMap { .. } => "CheckIdMap",
            Self::OpenCgroup { .. } => "OpenCgroup",
            Self::MapTree { .. } => "MapTree",
            Self::OpenDevice { .. } => "OpenDevice",
            Self::OpenNamespace { .. } => "OpenNamespace",
            Self::MakeNetwork => "MakeNetwork",
            Self::MakeMountTemplate { .. } => "MakeMountTemplate",
            Self::OpenHostProc { .. } => "OpenHostProc",
            Self::OpenHookOutput { .. } => "OpenHookOutput",
            Self::FollowClone => "FollowClone",
            Self::WriteIdMaps { .. } => "WriteIdMaps",
            Self::IntelRdt { .. } => "IntelRdt",
            Self::ResourceLimit { .. } => "ResourceLimit",
            Self::MoveNetDevices { .. } => "MoveNetDevices",
            Self::RunHooks { .. } => "RunHooks",
            Self::SendSeccompListener { .. } => "SendSeccompListener",
            Self::SendPidfd { .. } => "SendPidfd",
            Self::MakeNotifyDirectory => "MakeNotifyDirectory",
            Self::ListenForReadiness => "ListenForReadiness",
            Self::ListenForStart { .. } => "ListenForStart",
            Self::CloneInit { .. } => "CloneInit",
            Self::LoadDeviceFilter { .. } => "LoadDeviceFilter",
            Self::DeviceFilter { .. } => "DeviceFilter",
            Self::OomScoreAdjust { .. } => "OomScoreAdjust",
            Self::CopyStdio { .. } => "CopyStdio",
            Self::GiveStdio { .. } => "GiveStdio",
            Self::ReceiveConsole => "ReceiveConsole",
            Self::HandOnConsole => "HandOnConsole",
            Self::Await { .. } => "Await",
            Self::RecordInit => "RecordInit",
            Self::RecordConfig => "RecordConfig",
            Self::PrepareRecord => "PrepareRecord",
            Self::RecordCreated => "RecordCreated",
            Self::PidFile { .. } => "PidFile",
            Self::Release { .. } => "Release",
            Self::AwaitExec => "AwaitExec",
        }
    }

    /// Returns the operands, written out.
    fn operands(&self) -> Vec<(&'static str, String)> {
        let path = |path: &std::path::Path| ("path", path.display().to_string());
        let at = |slot: &corten_init::Slot| ("slot", slot.0.to_string());
        match self {
            Self::RecordCreating
            | Self::ReceiveConsole
            | Self::HandOnConsole
            | Self::RecordInit
            | Self::RecordConfig
            | Self::PrepareRecord
            | Self::RecordCreated
            | Self::AwaitExec
            | Self::FollowClone
            | Self::JoinCgroups
            | Self::MakeNetwork
            | Self::MakeNotifyDirectory
            | Self::CopyStdio { uid: None }
            | Self::ListenForReadiness => Vec::new(),
            Self::StartUnit { location, properties } => {
                let unit = location.unit.as_ref().map(|unit| ("unit", unit.name().to_owned()));
                let properties = properties.iter().map(|property| ("property", property.to_string()));
                unit.into_iter().chain(properties).collect()
            }
            Self::DelegateCgroup { uid } | Self::GiveStdio { uid } | Self::CopyStdio { uid: Some(uid) } => {
                vec![("uid", uid.to_string())]
            }
            Self::CreateCgroups { location, optional } => cgroups(location, None, *optional),
            Self::JoinContainer { location, or_inits, optional } => cgroups(location, Some(*or_inits), *optional),
            Self::OpenJoinedCgroup { location, slot } => {
                let location = cgroups(location, None, false).into_iter();
                location.chain([("slot", slot.0.to_string())]).collect()
            }
            Self::AttachToUnit { below } => vec![("below", below.clone())],
            Self::JoinIntelRdt { tasks } => tasks.iter().map(|tasks| path(tasks)).collect(),
            Self::Limit { settings } => settings.iter().map(|setting| ("set", setting.to_string())).collect(),
            Self::MakeMountTemplate { directory: file }
            | Self::PidFile { path: file }
            | Self::SendPidfd { path: file, .. }
            | Self::SendSeccompListener { path: file, .. } => {
                vec![path(file)]
            }
            Self::OpenTree { source, recursive, directory, link_itself, copied, slot, .. } => vec![
                ("source", source.display().to_string()),
                ("recursive", recursive.to_string()),
                ("directory", directory.to_string()),
                ("link_itself", link_itself.to_string()),
                ("copied", copied.to_string()),
                at(slot),
            ],
            Self::SendTrees { first, count } => vec![("first", first.0.to_string()), ("count", count.to_string())],
            Self::CheckIdMap { file, maps } => vec![("file", (*file).to_owned()), ("maps", ids(maps))],
            Self::MapTree { slot, maps, recursive } => {
                let mut operands = vec![at(slot), ("recursive", recursive.to_string())];
                match maps {
                    IdMapSource::Maps { uids, gids } => operands.extend([("uids", ids(uids)), ("gids", ids(gids))]),
                    IdMapSource::Namespace { path: namespace } => operands.push(path(namespace)),
                }
                operands
            }
            Self::OpenDevice { path: device, kind, major, minor, slot } => {
                vec![path(device), ("kind", format!("{kind:#o}")), ("number", format!("{major}:{minor}")), at(slot)]
            }
            Self::OpenNamespace { path: namespace, flag, foreign, slot, .. } => {
                vec![path(namespace), ("flag", format!("{flag:#x}")), ("foreign", foreign.to_string()), at(slot)]
            }
            Self::OpenHookOutput { path: file, slot } => vec![path(file), at(slot)],
            Self::OpenCgroup { slot }
            | Self::OpenHostProc { slot }
            | Self::ListenForStart { slot }
            | Self::OpenInit { slot }
            | Self::OpenInitRoot { slot } => vec![at(slot)],
            Self::RunOn { cpus } => vec![("cpus", cpus.to_string())],
            Self::CloneInit { namespaces } => vec![("namespaces", format!("{namespaces:#x}"))],
            Self::WriteIdMaps { uids, gids } => vec![("uids", ids(uids)), ("gids", ids(gids))],
            Self::DeviceFilter { optional } => vec![("optional", optional.to_string())],
            Self::LoadDeviceFilter { rules, optional } => {
                // Written as v1's devices.allow has them.
                let word = |rule: &corten_cgroup::device::Rule| if rule.allow { "allow" } else { "deny" };
                let mut operands: Vec<_> = rules.iter().map(|rule| (word(rule), rule.to_string())).collect();
                operands.push(("optional", optional.to_string()));
                operands
            }
            Self::IntelRdt { config } => vec![("closID", config.clos_id().clone().unwrap_or_default())],
            Self::ResourceLimit { resource, soft, hard } => {
                let number = |number: &u64| number.to_string();
                vec![("resource", number(resource)), ("soft", number(soft)), ("hard", number(hard))]
            }
            Self::MoveNetDevices { devices } => {
                let devices: Vec<_> = devices.iter().map(|(outside, inside)| format!("{outside}→{inside}")).collect();
                vec![("devices", devices.join(" "))]
            }
            Self::RunHooks { kind, hooks } => {
                let paths: Vec<_> = hooks.iter().map(|hook| hook.path().display().to_string()).collect();
                vec![("kind", kind.name().to_owned()), ("hooks", paths.join(" "))]
            }
            Self::OomScoreAdjust { value } => vec![("value", value.to_string())],
            Self::Await { point } | Self::Release { point } => vec![("point", point.name().to_owned())],
        }
    }
}

/// Ranges as `container-host-size`.
fn ids(maps: &[crate::oci::LinuxIdMapping]) -> String {
    let range = |map: &crate::oci::LinuxIdMapping| format!("{}-{}-{}", map.container_id(), map.host_id(), map.size());
    maps.iter().map(range).collect::<Vec<_>>().join(",")
}

/// The operands of a step inside, written out; for a line so that each is one word.
fn inside_operands(step: &OwnedStep, as_words: bool) -> Vec<(&'static str, String)> {
    let mut operands = Vec::new();
    step.operands(&mut |name, value| {
        operands.push((name, if as_words { format!("{value:#}") } else { value.to_string() }));
    });
    operands
}

/// The operands of a step of the runtime, so that each is one word.
fn host_operands(step: &HostStep) -> Vec<(&'static str, String)> {
    let quoted = |value: String| {
        if value.is_empty() || value.contains([' ', '"']) { format!("{value:?}") } else { value }
    };
    step.operands().into_iter().map(|(name, value)| (name, quoted(value))).collect()
}

fn lines<T>(
    f: &mut fmt::Formatter<'_>,
    steps: &[Planned<T>],
    describe: impl Fn(&T) -> (&'static str, Vec<(&'static str, String)>),
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

struct Operands(Vec<(&'static str, String)>);

impl Serialize for Operands {
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
    operands: Vec<(&'static str, String)>,
) -> Result<S::Ok, S::Error> {
    let mut step = serializer.serialize_struct("Step", 3)?;
    step.serialize_field("step", name)?;
    step.serialize_field("item", &item.to_string_lossy())?;
    step.serialize_field("operands", &Operands(operands))?;
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
        plan.serialize_field("decisions", &Operands(decisions))?;
        plan.serialize_field("host", &self.host)?;
        plan.serialize_field("inside", &self.inside)?;
        plan.end()
    }
}
