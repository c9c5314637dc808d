//! Whether a plan is sound: what both halves need of each other and of their own earlier steps is there, in
//! order.
//!
//! Stage: plan; pure. The phases put steps in order and one call adds both halves of a rendezvous, so that
//! what is found here is a mistake of the planner's. Debug builds and tests of plans look; what a launch
//! meets at run time otherwise is a failure of one step.

mod conversation;
mod slots;
#[cfg(test)]
mod tests;

use super::{HostStep, OwnedStep, Plan, Planned, SyncPoint};

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanFault {
    /// A step uses a slot that nothing has filled, or that has been emptied.
    #[error("{at}: {operand} is slot {slot}, which is empty")]
    EmptySlot {
        /// The step.
        at: At,
        /// Its operand.
        operand: &'static str,
        /// The slot's number.
        slot: u16,
    },
    /// A step uses a slot that the plan does not count.
    #[error("{at}: {operand} is slot {slot} of {count}")]
    NoSlot {
        /// The step.
        at: At,
        /// Its operand.
        operand: &'static str,
        /// The slot's number.
        slot: u16,
        /// How many there are.
        count: u16,
    },
    /// One half waits for what the other does not say, or says something else.
    #[error("{at}: waits for {awaited} and hears {heard}")]
    Unanswered {
        /// The step.
        at: At,
        /// What it waits for.
        awaited: String,
        /// What comes.
        heard: String,
    },
    /// One half says what the other does not wait for.
    #[error("nobody waits for {said}")]
    Unheard {
        /// What is said.
        said: String,
    },
    /// Init is not cloned once.
    #[error("init is cloned {count} times")]
    Clones {
        /// How often.
        count: usize,
    },
    /// A step stands on the wrong side of the clone of init.
    #[error("{at}: stands {side} the clone of init")]
    Side {
        /// The step.
        at: At,
        /// `before` or `after`.
        side: &'static str,
    },
    /// A step that is for when init waits stands where it does not.
    #[error("{at}: stands where init does not wait at {point}")]
    NotWaiting {
        /// The step.
        at: At,
        /// Where init must wait.
        point: &'static str,
    },
    /// A step comes without another that has to come before it.
    #[error("{at}: comes before {earlier}, or without it")]
    TooEarly {
        /// The step.
        at: At,
        /// The other.
        earlier: &'static str,
    },
    /// Init's half does not end with the exec, or has steps after it.
    #[error("init's half has no end, or goes on after it")]
    End,
    /// A group of steps that init may pass over runs past the end, or has a rendezvous in it.
    #[error("{at}: passes over what must not be passed over")]
    Passed {
        /// The step.
        at: At,
    },
}

/// A step of a plan, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    half: &'static str,
    index: usize,
    step: &'static str,
}

impl std::fmt::Display for At {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { half, index, step } = self;
        write!(f, "{half} step {index} ({step})")
    }
}

impl Plan {
    /// Checks what the halves need of each other and of their earlier steps.
    ///
    /// # Errors
    /// The first fault that is found.
    pub fn check(&self) -> Result<(), PlanFault> {
        check_sides(&self.host)?;
        check_meetings(&self.host)?;
        check_needs(&self.host, "host", HostStep::name, HOST_NEEDS)?;
        check_needs(&self.inside, "inside", OwnedStep::name, INSIDE_NEEDS)?;
        check_end(&self.inside)?;
        slots::check(self)?;
        conversation::check(self)
    }
}

fn host_at(index: usize, step: &HostStep) -> At {
    At { half: "host", index, step: step.name() }
}

fn inside_at(index: usize, step: &OwnedStep) -> At {
    At { half: "inside", index, step: step.name() }
}

/// On which side of the clone of init a host step stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Before,
    After,
    Either,
}

impl HostStep {
    /// What init is to find when it begins comes before its clone; what is about init, after it.
    fn side(&self) -> Side {
        match self {
            Self::RecordCreating
            | Self::CreateCgroups { .. }
            | Self::MakeMountTemplate { .. }
            | Self::MakeNotifyDirectory
            | Self::ListenForReadiness
            | Self::ListenForStart { .. }
            | Self::CopyStdio { .. }
            | Self::RunOn { .. }
            | Self::OpenCgroup { .. }
            | Self::OpenDevice { .. }
            | Self::OpenNamespace { .. }
            | Self::OpenHostProc { .. }
            | Self::OpenHookOutput { .. }
            | Self::OpenInit { .. }
            | Self::OpenInitRoot { .. }
            | Self::OpenJoinedCgroup { .. } => Side::Before,
            Self::CloneInit { .. } | Self::Limit { .. } | Self::OpenTree { .. } | Self::MapTree { .. } => {
                Side::Either
            }
            _ => Side::After,
        }
    }

    /// Where init must wait while this is done.
    fn meets_at(&self) -> Option<SyncPoint> {
        match self {
            Self::StartUnit { .. }
            | Self::JoinCgroups
            | Self::JoinContainer { .. }
            | Self::AttachToUnit { .. } => Some(SyncPoint::Cgroup),
            Self::WriteIdMaps { .. } => Some(SyncPoint::Mapped),
            Self::MoveNetDevices { .. } => Some(SyncPoint::Network),
            Self::RunHooks { kind, .. } if *kind != crate::spec::HookKind::Poststart => {
                Some(SyncPoint::Hooks)
            }
            Self::RecordCreated | Self::PidFile { .. } | Self::SendPidfd { .. } => Some(SyncPoint::Ready),
            _ => None,
        }
    }
}

/// One clone, and each step on its side of it.
fn check_sides(host: &[Planned<HostStep>]) -> Result<(), PlanFault> {
    let is_clone = |planned: &&Planned<HostStep>| matches!(planned.step, HostStep::CloneInit { .. });
    let count = host.iter().filter(is_clone).count();
    if count != 1 {
        return Err(PlanFault::Clones { count });
    }
    let clone = host.iter().position(|planned| is_clone(&planned)).unwrap_or(0);
    for (index, Planned { step, .. }) in host.iter().enumerate() {
        let (side, wrong) = if index < clone { ("before", Side::After) } else { ("after", Side::Before) };
        if step.side() == wrong {
            return Err(PlanFault::Side { at: host_at(index, step), side });
        }
    }
    Ok(())
}

/// What is for when init waits stands between the words of the two.
fn check_meetings(host: &[Planned<HostStep>]) -> Result<(), PlanFault> {
    let is_awaited = |point| host.iter().any(|planned| planned.step == HostStep::Await { point });
    let mut waiting = None;
    for (index, Planned { step, .. }) in host.iter().enumerate() {
        match step {
            HostStep::Await { point } => waiting = Some(*point),
            HostStep::Release { point } if waiting != Some(*point) && is_awaited(*point) => {
                return Err(PlanFault::TooEarly { at: host_at(index, step), earlier: "Await" });
            }
            HostStep::Release { .. } => waiting = None,
            _ => {}
        }
        match step.meets_at() {
            Some(point) if waiting != Some(point) => {
                return Err(PlanFault::NotWaiting { at: host_at(index, step), point: point.name() });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Host steps, and one that must come before each.
const HOST_NEEDS: &[(&str, &str)] = &[
    ("MapTree", "OpenTree"),
    ("HandOnConsole", "ReceiveConsole"),
    ("DeviceFilter", "LoadDeviceFilter"),
    ("PrepareRecord", "RecordConfig"),
    ("RecordCreated", "PrepareRecord"),
    ("CreateCgroups", "RecordCreating"),
    ("RecordInit", "RecordCreating"),
    ("RecordConfig", "RecordInit"),
];

/// Steps of init, and one that must come before each: most for the privileges that the first takes away.
const INSIDE_NEEDS: &[(&str, &str)] = &[
    ("ControllingTerminal", "NewSession"),
    ("ControllingTerminal", "TerminalAsStdio"),
    ("PivotRoot", "Propagation"),
    ("CloseFiles", "OwnStdio"),
    ("BoundingSet", "CloseFiles"),
    ("User", "BoundingSet"),
    ("Capabilities", "User"),
    ("AmbientCapabilities", "Capabilities"),
    ("FindProgram", "Capabilities"),
    ("NoNewPrivileges", "Capabilities"),
    ("Seccomp", "Capabilities"),
    ("Announce", "FindProgram"),
    ("Exec", "Announce"),
];

fn check_needs<T>(
    steps: &[Planned<T>],
    half: &'static str,
    name: impl Fn(&T) -> &'static str,
    needs: &[(&'static str, &'static str)],
) -> Result<(), PlanFault> {
    let names: Vec<&str> = steps.iter().map(|planned| name(&planned.step)).collect();
    for (step, earlier) in needs {
        let Some(index) = names.iter().position(|name| name == step) else { continue };
        if !names[..index].contains(earlier) {
            return Err(PlanFault::TooEarly { at: At { half, index, step }, earlier });
        }
    }
    Ok(())
}

/// The exec, or the end, is the last step and the only one of its kind.
fn check_end(inside: &[Planned<OwnedStep>]) -> Result<(), PlanFault> {
    let ends =
        |planned: &Planned<OwnedStep>| matches!(planned.step, OwnedStep::Exec { .. } | OwnedStep::End {});
    match inside.iter().position(ends) {
        Some(index) if index + 1 == inside.len() => Ok(()),
        _ => Err(PlanFault::End),
    }
}
