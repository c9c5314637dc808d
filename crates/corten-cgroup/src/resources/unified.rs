//! Files of cgroup v2 by name, and what systemd calls them.

use super::convert;
use super::setting::{IfMissing, Place, Setting};
use super::table::{CPU_PERIOD, LegacyControllers};
use crate::error::Error;
use crate::systemd::{Property, cpu_mask};

/// The files of cgroups themselves that limit something. The others move processes, kill, freeze, or hand out
/// controllers: with `cgroup.procs` a config could take any process of the host, which would be killed with
/// the container.
const CORE_LIMITS: [&str; 3] = ["cgroup.max.depth", "cgroup.max.descendants", "cgroup.pressure"];

/// Makes the setting of a file.
pub(super) fn setting(file: &str, value: &str, legacy: &LegacyControllers) -> Result<Setting, Error> {
    let field = format!("unified[{file:?}]");
    if file.contains(['/', '\0']) {
        return Err(Error::value(
            &field,
            format!("unified resource {file:?} must be a file name (no slashes)"),
        ));
    }
    let Some((controller, _)) =
        file.split_once('.').filter(|(controller, rest)| !controller.is_empty() && !rest.is_empty())
    else {
        return Err(Error::value(
            &field,
            format!("unified resource {file:?} must be in the form CONTROLLER.PARAMETER"),
        ));
    };
    if controller == "cgroup" && !CORE_LIMITS.contains(&file) {
        let reason = format!(
            "{file:?} limits nothing: what is in the cgroup and what becomes of it is the runtime's to say"
        );
        return Err(Error::value(&field, reason));
    }
    let legacy_name = if controller == "io" { "blkio" } else { controller };
    if legacy.contains(legacy_name) {
        let reason = format!("cannot be set, as the {controller} controller is in a cgroup v1 hierarchy");
        return Err(Error::value(&field, reason));
    }
    Ok(Setting {
        field,
        place: Place::Unified,
        file: file.to_owned(),
        value: value.to_owned(),
        if_missing: IfMissing::Fail,
        exact: false,
    })
}

/// Adds what systemd is told of a file. What it has no property for is written to the file only.
pub(super) fn properties(file: &str, value: &str, properties: &mut Vec<Property>) -> Result<(), Error> {
    let value = value.trim();
    let wrong = |reason: String| Error::value(&format!("unified[{file:?}]"), reason);
    let number = |text: &str| match text {
        "max" => Ok(u64::MAX),
        text => text.parse::<u64>().map_err(|_| wrong(format!("invalid number {text:?}"))),
    };
    let amounts = [
        ("memory.min", "MemoryMin"),
        ("memory.low", "MemoryLow"),
        ("memory.high", "MemoryHigh"),
        ("memory.max", "MemoryMax"),
        ("memory.swap.max", "MemorySwapMax"),
        ("pids.max", "TasksMax"),
    ];
    if let Some((_, name)) = amounts.iter().find(|(name, _)| *name == file) {
        properties.push(Property::new(*name, number(value)?));
    }
    match file {
        // It is systemd's word for the same (of scopes since 253).
        "memory.oom.group" => {
            properties
                .push(Property::new("OOMPolicy", if value == "1" { "kill" } else { "continue" }).since(253));
        }
        "cpu.weight" => properties.push(Property::new("CPUWeight", number(value)?)),
        "cpu.idle" if value == "1" => properties.push(Property::new("CPUWeight", 0_u64).since(252)),
        "cpu.max" => {
            let (quota, period) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
            let period = if period.trim().is_empty() { CPU_PERIOD } else { number(period.trim())? };
            // "max" is below 0, and has no time per second.
            let quota = i64::try_from(number(quota)?).unwrap_or(-1);
            properties.push(Property::new("CPUQuotaPeriodUSec", period).since(242));
            let each_second = convert::quota_per_second(quota, period).unwrap_or(u64::MAX);
            properties.push(Property::new("CPUQuotaPerSecUSec", each_second));
        }
        "cpuset.cpus" | "cpuset.mems" => {
            let name = if file == "cpuset.cpus" { "AllowedCPUs" } else { "AllowedMemoryNodes" };
            let mask = cpu_mask(value).map_err(|error| wrong(error.to_string()))?;
            properties.push(Property::new(name, mask).since(244));
        }
        _ => {}
    }
    Ok(())
}
