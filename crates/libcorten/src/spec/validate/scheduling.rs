//! Where and when the process runs: `process.scheduler`, `process.ioPriority`, `process.execCPUAffinity`,
//! `linux.memoryPolicy`.

use oci_spec::runtime::{LinuxSchedulerPolicy, MemoryPolicyModeType, Spec};

use super::{in_linux, in_process, in_range, require};
use crate::spec::error::{Problem, SpecError, shorten};
use crate::spec::number_list;

/// runc: a member of zero is one that is not given, whatever the policy.
pub(super) fn scheduler_is_sound(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| {
        let Some(scheduler) = process.scheduler() else {
            return Ok(());
        };
        let field = |name: &str| format!("process.scheduler.{name}");
        let policy = *scheduler.policy();
        if matches!(policy, LinuxSchedulerPolicy::SchedOther | LinuxSchedulerPolicy::SchedBatch) {
            in_range(scheduler.nice().unwrap_or(0), -20, 19, || field("nice"))?;
        }
        let priority = scheduler.priority().unwrap_or(0);
        if matches!(policy, LinuxSchedulerPolicy::SchedFifo | LinuxSchedulerPolicy::SchedRr) {
            // sched(7): Linux has these priorities for both.
            in_range(priority, 1, 99, || field("priority"))?;
        } else {
            let policies = "SCHED_FIFO or SCHED_RR";
            require(priority == 0, || (field("priority"), Problem::OtherPolicy { policies }))?;
        }
        let times = [
            ("runtime", scheduler.runtime()),
            ("deadline", scheduler.deadline()),
            ("period", scheduler.period()),
        ];
        for (name, time) in times {
            let fits = policy == LinuxSchedulerPolicy::SchedDeadline || time.unwrap_or(0) == 0;
            require(fits, || (field(name), Problem::OtherPolicy { policies: "SCHED_DEADLINE" }))?;
        }
        Ok(())
    })
}

pub(super) fn io_priority_is_in_range(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| {
        let priority = process.io_priority().as_ref().map_or(0, |io| io.priority());
        in_range(priority, 0, 7, || "process.ioPriority.priority".into())
    })
}

/// It is for exec; runc refuses a wrong one when the container is made.
pub(super) fn exec_cpu_affinity_is_sound(spec: &Spec) -> Result<(), SpecError> {
    in_process(spec, |process| {
        let Some(affinity) = process.exec_cpu_affinity() else {
            return Ok(());
        };
        numbers("process.execCPUAffinity.initial", affinity.initial())?;
        numbers("process.execCPUAffinity.final", affinity.cpu_affinity_final()).map(drop)
    })
}

/// `set_mempolicy(2)` refuses nodes with modes that choose their own, and some modes without nodes.
pub(super) fn memory_policy_is_sound(spec: &Spec) -> Result<(), SpecError> {
    use MemoryPolicyModeType as Mode;
    in_linux(spec, |linux| {
        let Some(policy) = linux.memory_policy() else {
            return Ok(());
        };
        let field = "linux.memoryPolicy.nodes";
        let found = numbers(field, policy.nodes())?.len();
        match policy.mode() {
            Mode::MpolDefault | Mode::MpolLocal => {
                require(found == 0, || (field.into(), Problem::NodesNotWanted { found }))
            }
            Mode::MpolBind
            | Mode::MpolInterleave
            | Mode::MpolWeightedInterleave
            | Mode::MpolPreferredMany => require(found > 0, || (field.into(), Problem::NodesWanted)),
            Mode::MpolPreferred => Ok(()),
        }
    })
}

fn numbers(field: &str, text: &Option<String>) -> Result<Vec<usize>, SpecError> {
    let text = text.as_deref().unwrap_or_default();
    number_list(text).ok_or_else(|| SpecError::invalid(field, Problem::NotAList { found: shorten(text, 64) }))
}
