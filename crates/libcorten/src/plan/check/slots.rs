//! Slots: filled before they are used, and not used when they are empty again.

use std::collections::BTreeSet;

use super::{At, PlanFault, host_at, inside_at};
use crate::plan::{HostStep, OwnedStep, Plan, Role, Slot};

/// The socket to the runtime, which init always has.
const SOCKET: Slot = Slot(0);

/// Slots that hold a file descriptor.
struct Table {
    full: BTreeSet<u16>,
    count: u16,
}

impl Table {
    fn apply(&mut self, at: At, operand: &'static str, slot: Slot, role: Role) -> Result<(), PlanFault> {
        let Slot(slot) = slot;
        let is_full = self.full.contains(&slot);
        match role {
            _ if slot >= self.count => {
                return Err(PlanFault::NoSlot { at, operand, slot, count: self.count });
            }
            Role::Reads | Role::Takes if !is_full => return Err(PlanFault::EmptySlot { at, operand, slot }),
            // What was there stays open until all files are closed.
            Role::Fills => self.full.extend([slot]),
            Role::Takes => drop(self.full.remove(&slot)),
            Role::Reads => {}
        }
        Ok(())
    }
}

/// Checks both halves. Init finds full what the runtime has filled before the clone; what it fills after that
/// it hands over.
pub(super) fn check(plan: &Plan) -> Result<(), PlanFault> {
    let mut host = Table { full: BTreeSet::new(), count: plan.slots };
    let mut inside = Table { full: BTreeSet::new(), count: plan.slots };
    for (index, planned) in plan.host.iter().enumerate() {
        let mut used = Ok(());
        planned.step.slots(&mut |operand, slot, role| {
            if used.is_ok() {
                used = host.apply(host_at(index, &planned.step), operand, slot, role);
            }
        });
        used?;
        if matches!(planned.step, HostStep::CloneInit { .. }) {
            inside.full = std::mem::take(&mut host.full);
            inside.full.insert(SOCKET.0);
        }
    }
    check_inside(plan, inside)
}

fn check_inside(plan: &Plan, mut table: Table) -> Result<(), PlanFault> {
    // Steps that may be passed over: where they end, and what was full before them.
    let mut group: Option<(usize, BTreeSet<u16>)> = None;
    for (index, planned) in plan.inside.iter().enumerate() {
        if let Some((_, before)) = group.take_if(|(end, _)| *end == index) {
            // Whoever comes after them may count on neither way.
            table.full.retain(|slot| before.contains(slot));
        }
        let (at, step) = (inside_at(index, &planned.step), &planned.step);
        let mut used = Ok(());
        step.slots(&mut |operand, slot, role| {
            if used.is_ok() {
                used = table.apply(at, operand, slot, role);
            }
        });
        used?;
        match step {
            OwnedStep::CloseFiles { .. } => {
                let mut kept = BTreeSet::from([SOCKET.0]);
                step.slots(&mut |_, slot, _| kept.extend([slot.0]));
                table.full.retain(|slot| kept.contains(slot));
            }
            OwnedStep::OwnDev { steps, .. } => {
                let end =
                    usize::try_from(*steps).map_or(usize::MAX, |steps| (index + 1).saturating_add(steps));
                let passed = plan.inside.get(index + 1..end).ok_or(PlanFault::Passed { at })?;
                if group.is_some() || passed.iter().any(|planned| !may_be_passed(&planned.step)) {
                    return Err(PlanFault::Passed { at });
                }
                group = Some((end, table.full.clone()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether init may leave a step out: what makes something in `/dev`, and nothing that others wait for.
fn may_be_passed(step: &OwnedStep) -> bool {
    matches!(
        step,
        OwnedStep::MakeNode { .. }
            | OwnedStep::MakeLink { .. }
            | OwnedStep::SetAttributes { .. }
            | OwnedStep::OpenTarget { .. }
            | OwnedStep::CloneMount { .. }
            | OwnedStep::MoveMount { .. }
    )
}
