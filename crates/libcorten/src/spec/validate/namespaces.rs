//! `linux.namespaces`, and what belongs to one of them: `timeOffsets`, `netDevices`.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use super::{absolute, in_linux, in_range, needs_namespace, require};
use crate::spec::error::{Problem, SpecError, shorten};
use crate::spec::strings::entry;
use crate::spec::{is_joined, namespace};

pub(super) fn namespaces_are_unique(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| {
        let mut seen = HashMap::new();
        for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
            if let Some(first) = seen.insert(namespace.typ(), index) {
                let first = format!("linux.namespaces[{first}]");
                return Err(SpecError::invalid(
                    format!("linux.namespaces[{index}]"),
                    Problem::Duplicate { first },
                ));
            }
        }
        Ok(())
    })
}

/// An empty path asks for a new namespace, as none does.
pub(super) fn namespace_paths_are_absolute(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| {
        for (index, namespace) in linux.namespaces().iter().flatten().enumerate() {
            if let Some(path) = namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
                absolute(path, || format!("linux.namespaces[{index}].path"))?;
            }
        }
        Ok(())
    })
}

/// The offsets of a namespace can be set only while nobody is in it.
pub(super) fn time_offsets_are_sound(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| {
        // A map has no order; the message has.
        let mut offsets: Vec<_> = linux.time_offsets().iter().flatten().collect();
        offsets.sort_unstable_by_key(|(clock, _)| *clock);
        if offsets.is_empty() {
            return Ok(());
        }
        let field = || "linux.timeOffsets".to_owned();
        let Some(time) = namespace(spec, LinuxNamespaceType::Time) else {
            return Err(SpecError::invalid(field(), Problem::OffsetsWithoutNamespace));
        };
        require(!is_joined(time), || (field(), Problem::OffsetsAndPath))?;
        for (clock, offset) in offsets {
            require(matches!(clock.as_str(), "monotonic" | "boottime"), || {
                let problem = Problem::OneOf { expected: "monotonic, boottime", found: shorten(clock, 64) };
                (entry("linux.timeOffsets", clock), problem)
            })?;
            let nanosecs = offset.nanosecs().unwrap_or(0);
            in_range(nanosecs, 0, 999_999_999, || format!("linux.timeOffsets.{clock}.nanosecs"))?;
        }
        Ok(())
    })
}

pub(super) fn net_devices_are_sound(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| {
        let mut devices: Vec<_> = linux.net_devices().iter().flatten().collect();
        devices.sort_unstable_by_key(|(name, _)| *name);
        if devices.is_empty() {
            return Ok(());
        }
        needs_namespace(spec, LinuxNamespaceType::Network, || "linux.netDevices".into())?;
        let mut seen = HashMap::new();
        for (outside, device) in devices {
            let field = || entry("linux.netDevices", outside);
            is_device_name(outside, field)?;
            let inside = device.name().as_ref().filter(|name| !name.is_empty()).unwrap_or(outside);
            is_device_name(inside, || format!("{}.name", field()))?;
            if let Some(first) = seen.insert(inside, outside) {
                let first = entry("linux.netDevices", first);
                return Err(SpecError::invalid(format!("{}.name", field()), Problem::Duplicate { first }));
            }
        }
        Ok(())
    })
}

/// The kernel's `dev_valid_name`. Its white space is Latin-1's, which has a byte beyond ASCII.
fn is_device_name(name: &str, field: impl FnOnce() -> String) -> Result<(), SpecError> {
    let is_bad = |byte: u8| matches!(byte, b'/' | b':' | b' ' | 9..=13 | 0xa0);
    let sound = (1..=15).contains(&name.len()) && name != "." && name != ".." && !name.bytes().any(is_bad);
    require(sound, || (field(), Problem::NotADeviceName { found: shorten(name, 64) }))
}
