//! A plan for people and for programs: `corten plan`.

use std::fmt;

use corten_init::{OwnedStep, SyncPoint, Value};
use serde::ser::{Serialize, SerializeMap, SerializeStruct, Serializer};

use super::{HostStep, Plan, Planned};

impl HostStep {
    /// Returns the step's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::RecordCreating => "RecordCreating",
            Self::CreateCgroup { .. } => "CreateCgroup",
            Self::OpenTree { .. } => "OpenTree",
            Self::OpenNull { .. } => "OpenNull",
            Self::ListenForStart { .. } => "ListenForStart",
            Self::CloneInit { .. } => "CloneInit",
            Self::DeviceFilter { .. } => "DeviceFilter",
            Self::OomScoreAdjust { .. } => "OomScoreAdjust",
            Self::ReceiveConsole => "ReceiveConsole",
            Self::Await { .. } => "Await",
            Self::RecordCreated => "RecordCreated",
            Self::PidFile { .. } => "PidFile",
            Self::Release { .. } => "Release",
            Self::AwaitExec => "AwaitExec",
        }
    }

    /// Returns the operands, written out.
    fn operands(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::RecordCreating | Self::ReceiveConsole | Self::RecordCreated | Self::AwaitExec => Vec::new(),
            Self::CreateCgroup { path } | Self::PidFile { path } => vec![("path", path.display().to_string())],
            Self::OpenTree { source, recursive, directory, slot } => vec![
                ("source", source.display().to_string()),
                ("recursive", recursive.to_string()),
                ("directory", directory.to_string()),
                ("slot", slot.0.to_string()),
            ],
            Self::OpenNull { slot } | Self::ListenForStart { slot } => vec![("slot", slot.0.to_string())],
            Self::CloneInit { namespaces } => vec![("namespaces", format!("{namespaces:#x}"))],
            Self::DeviceFilter { rules } => vec![("rules", rules.len().to_string())],
            Self::OomScoreAdjust { value } => vec![("value", value.to_string())],
            Self::Await { point } | Self::Release { point } => vec![("point", point.name().to_owned())],
        }
    }
}

/// The operands of a step inside, written out: strings quoted, lists as their strings, filters by their length.
fn inside_operands(step: &OwnedStep) -> Vec<(&'static str, String)> {
    let mut operands = Vec::new();
    step.operands(|name, value| operands.push((name, operand(name, value))));
    operands
}

fn operand(name: &str, value: Value<'_>) -> String {
    const FLAGS: [&str; 7] = ["attributes", "set", "clear", "propagation", "flags", "keep", "effective"];
    match (value, name) {
        (Value::Number(number), "point") => u32::try_from(number)
            .ok()
            .and_then(SyncPoint::from_number)
            .map_or_else(|| number.to_string(), |point| point.name().to_owned()),
        (Value::Number(number), "mode" | "mask") => format!("{number:#o}"),
        (Value::Number(number), "permitted" | "inheritable") => format!("{number:#x}"),
        (Value::Number(number), name) if number != 0 && FLAGS.contains(&name) => format!("{number:#x}"),
        (Value::Number(number), _) => number.to_string(),
        (Value::Slot(slot), _) => slot.0.to_string(),
        (Value::Text(text), _) => text.to_string_lossy().into_owned(),
        (Value::Bytes(bytes), "program") => format!("{} instructions", bytes.len() / 8),
        (Value::Bytes(bytes), "groups") => {
            let ids = bytes.as_chunks::<4>().0.iter().map(|id| u32::from_ne_bytes(*id).to_string());
            ids.collect::<Vec<_>>().join(" ")
        }
        (Value::Bytes(bytes), "options") => options(bytes),
        (Value::Bytes(bytes), _) => strings(bytes).map(|text| format!("{text:?}")).collect::<Vec<_>>().join(" "),
    }
}

fn strings(block: &[u8]) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    block.strip_suffix(b"\0").into_iter().flat_map(|block| block.split(|byte| *byte == 0)).map(String::from_utf8_lossy)
}

fn options(block: &[u8]) -> String {
    let words: Vec<_> = strings(block).collect();
    let pairs = words.chunks(2).map(|pair| match pair {
        [key, value] if !value.is_empty() => format!("{key}={value}"),
        [key, ..] => key.to_string(),
        [] => String::new(),
    });
    pairs.collect::<Vec<_>>().join(",")
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
            match value.as_str() {
                value if value.is_empty() || value.contains([' ', '"']) && key != "program" => {
                    write!(f, " {key}={value:?}")?
                }
                value => write!(f, " {key}={value}")?,
            }
        }
        writeln!(f)?;
    }
    Ok(())
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host: what the runtime does")?;
        lines(f, &self.host, |step| (step.name(), step.operands()))?;
        writeln!(f, "\ninside: what init does, from CloneInit on")?;
        lines(f, &self.inside, |step| (step.name(), inside_operands(step)))
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
        serialize_step(serializer, &self.item, self.step.name(), inside_operands(&self.step))
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut plan = serializer.serialize_struct("Plan", 2)?;
        plan.serialize_field("host", &self.host)?;
        plan.serialize_field("inside", &self.inside)?;
        plan.end()
    }
}
