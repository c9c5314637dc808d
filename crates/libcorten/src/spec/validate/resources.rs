//! Limits: numbers in the ranges that the kernel and cgroup v1's measures have.
//! config-linux.md#control-groups.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceType, LinuxMemory, LinuxResources, LinuxThrottleDevice, Spec,
};

use super::super::error::{Problem, SpecError, shorten};
use super::{in_linux, in_range, require};

/// Docker's word for "leave it as it is", -1, in a number without sign.
const UNSET_SWAPPINESS: u64 = u64::MAX;

pub(super) fn resources_are_sound(spec: &Spec) -> Result<(), SpecError> {
    in_linux(spec, |linux| linux.resources().as_ref().map_or(Ok(()), judge))
}

/// Judges limits: they may stand in a config, or be given to `update`.
pub(crate) fn judge(resources: &LinuxResources) -> Result<(), SpecError> {
    let field = |name: &str| format!("linux.resources.{name}");
    devices_are_sound(resources)?;
    resources.memory().as_ref().map_or(Ok(()), |memory| memory_is_sound(&field, memory))?;
    resources.cpu().as_ref().map_or(Ok(()), |cpu| cpu_is_sound(&field, cpu))?;
    resources.block_io().as_ref().map_or(Ok(()), |block_io| block_io_is_sound(&field, block_io))?;
    for (index, limit) in resources.hugepage_limits().iter().flatten().enumerate() {
        let size = limit.page_size();
        let number =
            ["KB", "MB", "GB"].into_iter().find_map(|unit| size.strip_suffix(unit)).unwrap_or_default();
        let sound = number.bytes().all(|digit| digit.is_ascii_digit())
            && !number.is_empty()
            && !number.starts_with('0');
        require(sound, || {
            (
                field(&format!("hugepageLimits[{index}].pageSize")),
                Problem::NotAPageSize { found: shorten(size, 32) },
            )
        })?;
        in_range(limit.limit(), 0, i64::MAX, || field(&format!("hugepageLimits[{index}].limit")))?;
    }
    Ok(())
}

/// runc: `access` may not be empty, though the spec calls it optional; what is none of its letters says
/// nothing. A rule without any of them is refused all the same: nobody knows what it was to deny. -1 as a
/// number means all, like none.
fn devices_are_sound(resources: &LinuxResources) -> Result<(), SpecError> {
    for (index, rule) in resources.devices().iter().flatten().enumerate() {
        let field = |name: &str| format!("linux.resources.devices[{index}].{name}");
        let access = rule.access().as_deref().unwrap_or_default();
        require(!access.is_empty(), || (field("access"), Problem::Empty))?;
        require(access.bytes().any(|letter| b"rwm".contains(&letter)), || {
            (field("access"), Problem::OneOf { expected: "r, w, m", found: shorten(access, 16) })
        })?;
        let typ = rule.typ().unwrap_or_default();
        require(!matches!(typ, LinuxDeviceType::U | LinuxDeviceType::P), || {
            (field("type"), Problem::OneOf { expected: "a, c, b", found: typ.as_str().to_owned() })
        })?;
        in_range(rule.major().unwrap_or(-1), -1, u32::MAX.into(), || field("major"))?;
        in_range(rule.minor().unwrap_or(-1), -1, u32::MAX.into(), || field("minor"))?;
    }
    Ok(())
}

/// -1 is no limit.
fn memory_is_sound(field: &impl Fn(&str) -> String, memory: &LinuxMemory) -> Result<(), SpecError> {
    let amounts = [("limit", memory.limit()), ("reservation", memory.reservation()), ("swap", memory.swap())];
    for (name, amount) in amounts {
        in_range(amount.unwrap_or(0), -1, i64::MAX, || field(&format!("memory.{name}")))?;
    }
    let swappiness = memory.swappiness().filter(|swappiness| *swappiness != UNSET_SWAPPINESS);
    in_range(swappiness.unwrap_or(0), 0, 100, || field("memory.swappiness"))
}

fn cpu_is_sound(field: &impl Fn(&str) -> String, cpu: &LinuxCpu) -> Result<(), SpecError> {
    in_range(cpu.idle().unwrap_or(0), 0, 1, || field("cpu.idle"))
}

/// 0 is not set. The kernel's own limits, which cgroup v2's measure has lost.
fn block_io_is_sound(field: &impl Fn(&str) -> String, block_io: &LinuxBlockIo) -> Result<(), SpecError> {
    let weight = |weight: Option<u16>, name: &str| match weight {
        None | Some(0) => Ok(()),
        Some(weight) => in_range(weight, 10, 1000, || field(&format!("blockIO.{name}"))),
    };
    weight(block_io.weight(), "weight")?;
    weight(block_io.leaf_weight(), "leafWeight")?;
    let number = |list: &str, index: usize, major: i64, minor: i64| {
        in_range(major, 0, u32::MAX.into(), || field(&format!("blockIO.{list}[{index}].major")))?;
        in_range(minor, 0, u32::MAX.into(), || field(&format!("blockIO.{list}[{index}].minor")))
    };
    for (index, device) in block_io.weight_device().iter().flatten().enumerate() {
        number("weightDevice", index, device.major(), device.minor())?;
        weight(device.weight(), &format!("weightDevice[{index}].weight"))?;
        weight(device.leaf_weight(), &format!("weightDevice[{index}].leafWeight"))?;
    }
    let lists: [(&str, &Option<Vec<LinuxThrottleDevice>>); 4] = [
        ("throttleReadBpsDevice", block_io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", block_io.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", block_io.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", block_io.throttle_write_iops_device()),
    ];
    for (name, list) in lists {
        for (index, device) in list.iter().flatten().enumerate() {
            number(name, index, device.major(), device.minor())?;
        }
    }
    Ok(())
}
