//! Words of the config as the kernel's numbers: scheduler, I/O priority, execution domain, memory policy.
//!
//! Source: sched(7), ioprio_set(2), personality(2), set_mempolicy(2) and their headers.

use corten_init::{Mask, OwnedStep as Step, SchedulerFlags};

use crate::oci::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonalityDomain, LinuxSchedulerFlag,
    LinuxSchedulerPolicy, MemoryPolicyFlagType, MemoryPolicyModeType, Scheduler,
};
use crate::spec::number_list;

use super::PlanError;

pub(super) fn scheduler(scheduler: &Scheduler) -> Step {
    let policy = match scheduler.policy() {
        LinuxSchedulerPolicy::SchedOther => 0,
        LinuxSchedulerPolicy::SchedFifo => 1,
        LinuxSchedulerPolicy::SchedRr => 2,
        LinuxSchedulerPolicy::SchedBatch => 3,
        LinuxSchedulerPolicy::SchedIso => 4,
        LinuxSchedulerPolicy::SchedIdle => 5,
        LinuxSchedulerPolicy::SchedDeadline => 6,
    };
    let flags = scheduler.flags().iter().flatten().fold(0, |all, flag| {
        all | match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            LinuxSchedulerFlag::SchedFlagUtilClampMin => 0x20,
            LinuxSchedulerFlag::SchedFlagUtilClampMax => 0x40,
        }
    });
    Step::Scheduler {
        policy,
        flags: SchedulerFlags(flags),
        nice: scheduler.nice().unwrap_or(0),
        priority: scheduler.priority().unwrap_or(0).cast_unsigned(),
        runtime: scheduler.runtime().unwrap_or(0),
        deadline: scheduler.deadline().unwrap_or(0),
        period: scheduler.period().unwrap_or(0),
    }
}

pub(super) fn io_priority(priority: &LinuxIOPriority) -> u64 {
    const CLASS_SHIFT: u64 = 13;
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    class << CLASS_SHIFT | u64::try_from(priority.priority()).unwrap_or(0)
}

pub(super) fn personality(domain: LinuxPersonalityDomain) -> u64 {
    match domain {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    }
}

/// Mode with its flags, and the nodes.
pub(super) fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<(u64, Mask<Vec<u8>>), PlanError> {
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = policy.flags().iter().flatten().fold(0, |all, flag| {
        all | match flag {
            MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
            MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
            MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
        }
    });
    let listed = policy.nodes().as_deref().unwrap_or_default();
    Ok((mode | flags, mask("linux.memoryPolicy.nodes", listed)?))
}

/// A list of CPUs or nodes as a mask.
pub(super) fn mask(item: &'static str, list: &str) -> Result<Mask<Vec<u8>>, PlanError> {
    number_list(list).map(Mask::new).ok_or(PlanError::Missing { item })
}
