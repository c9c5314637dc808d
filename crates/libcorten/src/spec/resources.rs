//! `linux.resources` in the words of corten-cgroup.

use corten_cgroup::{Cpu, HugePages, Io, Memory, Network, Rdma, Resources, ThrottleDevice, WeightDevice};
use oci_spec::runtime::{LinuxResources, LinuxThrottleDevice, LinuxWeightDevice};

/// Returns the limits, all but the devices.
pub(crate) fn limits(given: &LinuxResources) -> Resources {
    let mut limits = Resources::default();
    if let Some(cpu) = given.cpu() {
        limits.cpu = Cpu {
            shares: cpu.shares(),
            quota: cpu.quota(),
            period: cpu.period(),
            burst: cpu.burst(),
            idle: cpu.idle(),
            realtime_runtime: cpu.realtime_runtime(),
            realtime_period: cpu.realtime_period(),
            cpus: cpu.cpus().clone().unwrap_or_default(),
            mems: cpu.mems().clone().unwrap_or_default(),
        };
    }
    if let Some(memory) = given.memory() {
        limits.memory = Memory {
            limit: memory.limit(),
            reservation: memory.reservation(),
            swap: memory.swap(),
            swappiness: memory.swappiness(),
            disable_oom_killer: memory.disable_oom_killer().unwrap_or(false),
            check_before_update: memory.check_before_update().unwrap_or(false),
        };
    }
    limits.pids = given.pids().map(|pids| pids.limit());
    if let Some(io) = given.block_io() {
        limits.io = Io {
            weight: io.weight(),
            leaf_weight: io.leaf_weight(),
            weight_device: list(io.weight_device(), weight),
            throttle_read_bps: list(io.throttle_read_bps_device(), throttle),
            throttle_write_bps: list(io.throttle_write_bps_device(), throttle),
            throttle_read_iops: list(io.throttle_read_iops_device(), throttle),
            throttle_write_iops: list(io.throttle_write_iops_device(), throttle),
        };
    }
    limits.huge_pages = list(given.hugepage_limits(), |limit| HugePages {
        page_size: limit.page_size().clone(),
        // Validated.
        limit: limit.limit().try_into().unwrap_or(0),
    });
    if let Some(network) = given.network() {
        let priorities =
            list(network.priorities(), |priority| (priority.name().clone(), priority.priority()));
        limits.network = Network { class_id: network.class_id(), priorities };
    }
    for (device, rdma) in given.rdma().iter().flatten() {
        limits.rdma.insert(device.clone(), Rdma { handles: rdma.hca_handles(), objects: rdma.hca_objects() });
    }
    limits.unified =
        given.unified().iter().flatten().map(|(file, value)| (file.clone(), value.clone())).collect();
    limits
}

fn list<T, U>(given: &Option<Vec<T>>, into: impl Fn(&T) -> U) -> Vec<U> {
    given.iter().flatten().map(into).collect()
}

fn weight(device: &LinuxWeightDevice) -> WeightDevice {
    let (weight, leaf_weight) = (device.weight(), device.leaf_weight());
    WeightDevice { major: device.major(), minor: device.minor(), weight, leaf_weight }
}

fn throttle(device: &LinuxThrottleDevice) -> ThrottleDevice {
    ThrottleDevice { major: device.major(), minor: device.minor(), rate: device.rate() }
}
