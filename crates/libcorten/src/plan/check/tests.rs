//! Plans are sound, and what is not is refused.

use proptest::prelude::*;

use super::conversation::{Act, of_host, of_inside};
use super::*;
use crate::plan::corpus::Case;
use crate::plan::{Role, Slot};

/// The plan of a case; of a few there is none.
fn plan(seed: u64) -> Plan {
    (seed..).find_map(|seed| Case::new(seed).plan().ok()).unwrap()
}

#[test]
fn plans_of_every_kind_are_sound() {
    for seed in 0..1000 {
        let plan = plan(seed);
        assert_eq!(plan.check(), Ok(()), "{plan}");
    }
}

/// A row for what has another name now would ask for nothing.
#[test]
fn needs_name_steps_that_there_are() {
    let plans: Vec<Plan> = (0..600).map(plan).collect();
    let host: Vec<_> = plans.iter().flat_map(|plan| &plan.host).map(|planned| planned.step.name()).collect();
    let inside: Vec<_> =
        plans.iter().flat_map(|plan| &plan.inside).map(|planned| planned.step.name()).collect();
    for (names, needs) in [(host, HOST_NEEDS), (inside, INSIDE_NEEDS)] {
        for name in needs.iter().flat_map(|(step, earlier)| [step, earlier]) {
            assert!(names.contains(name), "{name}");
        }
    }
}

/// The places of steps that fill a slot which was empty, and of the first that uses it then.
fn coupled(steps: &[Vec<(Slot, Role)>], full_before: &[Slot]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (filling, uses) in steps.iter().enumerate() {
        for (slot, _) in uses.iter().filter(|(_, role)| *role == Role::Fills) {
            let was_filled = |uses: &Vec<(Slot, Role)>| uses.contains(&(*slot, Role::Fills));
            if full_before.contains(slot) || steps[..filling].iter().any(was_filled) {
                continue;
            }
            let uses_it = |uses: &Vec<(Slot, Role)>| {
                uses.iter().any(|(used, role)| used == slot && *role != Role::Fills)
            };
            let using = (filling + 1..steps.len()).find(|index| uses_it(&steps[*index]));
            found.extend(using.map(|using| (filling, using)));
        }
    }
    found
}

fn inside_uses(plan: &Plan) -> Vec<Vec<(Slot, Role)>> {
    let uses = |planned: &Planned<OwnedStep>| {
        let mut uses = Vec::new();
        planned.step.slots(&mut |_, slot, role| uses.push((slot, role)));
        uses
    };
    plan.inside.iter().map(uses).collect()
}

/// Slots that host steps fill before the clone, with the steps' places.
fn filled_before(plan: &Plan) -> Vec<(usize, Slot)> {
    let mut filled = Vec::new();
    let before = plan.host.iter().enumerate().take_while(|(_, planned)| planned.step.name() != "CloneInit");
    for (index, planned) in before {
        planned
            .step
            .slots(&mut |_, slot, role| filled.extend((role == Role::Fills).then_some((index, slot))));
    }
    filled
}

/// What one half says and hears, with the places of the steps.
fn conversation<T>(steps: &[Planned<T>], acts: impl Fn(&T) -> Vec<Act>) -> Vec<(usize, Act)> {
    let of =
        |(index, planned): (usize, &Planned<T>)| acts(&planned.step).into_iter().map(move |act| (index, act));
    steps.iter().enumerate().flat_map(of).collect()
}

fn host_conversation(plan: &Plan) -> Vec<(usize, Act)> {
    conversation(&plan.host, |step| of_host(step).into_iter().collect())
}

/// Up to the start: what is said then goes to another process.
fn inside_conversation(plan: &Plan) -> Vec<(usize, Act)> {
    let start = plan.inside.iter().position(|planned| planned.step.name() == "WaitForStart");
    let steps = &plan.inside[..start.unwrap_or(plan.inside.len())];
    conversation(steps, |step| of_inside(step).into_iter().flatten().collect())
}

fn is_refused(plan: &Plan, what: &str) -> Result<(), TestCaseError> {
    prop_assert!(plan.check().is_err(), "{}: {}", what, plan);
    Ok(())
}

/// Picks one of several, if there are any.
fn pick<T: Copy>(from: &[T], pick: prop::sample::Index) -> Option<T> {
    (!from.is_empty()).then(|| from[pick.index(from.len())])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_slot_that_is_used_before_it_is_filled_is_refused(seed in 0..100_000_u64, which: prop::sample::Index) {
        let sound = plan(seed);
        let filled = filled_before(&sound);
        let full: Vec<Slot> = filled.iter().map(|(_, slot)| *slot).collect();
        let uses = inside_uses(&sound);
        if let Some((filling, using)) = pick(&coupled(&uses, &full), which) {
            let mut changed = sound.clone();
            changed.inside.swap(filling, using);
            is_refused(&changed, "swapped")?;
            changed = sound.clone();
            changed.inside.remove(filling);
            is_refused(&changed, "dropped")?;
        }
        let is_used = |slot: &Slot| uses.iter().flatten().find(|(used, _)| used == slot).is_some_and(|(_, role)| *role != Role::Fills);
        let needed: Vec<usize> = filled.iter().filter(|(_, slot)| is_used(slot)).map(|(index, _)| *index).collect();
        if let Some(index) = pick(&needed, which) {
            let mut changed = sound.clone();
            changed.host.remove(index);
            is_refused(&changed, "not opened")?;
        }
    }

    #[test]
    fn a_word_that_is_missing_is_refused(seed in 0..100_000_u64, which: prop::sample::Index) {
        let sound = plan(seed);
        let (host, inside) = (host_conversation(&sound), inside_conversation(&sound));
        if let Some((index, _)) = pick(&host, which) {
            let mut changed = sound.clone();
            changed.host.remove(index);
            is_refused(&changed, "dropped")?;
        }
        if let Some((index, _)) = pick(&inside, which) {
            let mut changed = sound.clone();
            changed.inside.remove(index);
            is_refused(&changed, "dropped")?;
        }
    }

    #[test]
    fn words_in_another_order_are_refused(seed in 0..100_000_u64, one: prop::sample::Index, other: prop::sample::Index) {
        let sound = plan(seed);
        // Of two words in the same direction it matters which comes first.
        let is_coupled = |one: Act, other: Act| match (one, other) {
            (Act::Say(one), Act::Say(other)) | (Act::Hear(one), Act::Hear(other)) => one != other,
            _ => false,
        };
        let host = host_conversation(&sound);
        if let (Some((at, one)), Some((other_at, other))) = (pick(&host, one), pick(&host, other))
            && is_coupled(one, other)
        {
            let mut changed = sound.clone();
            changed.host.swap(at, other_at);
            is_refused(&changed, "swapped")?;
        }
        let inside = inside_conversation(&sound);
        if let (Some((at, one)), Some((other_at, other))) = (pick(&inside, one), pick(&inside, other))
            && is_coupled(one, other)
        {
            let mut changed = sound.clone();
            changed.inside.swap(at, other_at);
            is_refused(&changed, "swapped")?;
        }
    }

    #[test]
    fn a_meeting_that_is_turned_round_is_refused(seed in 0..100_000_u64, which: prop::sample::Index) {
        let sound = plan(seed);
        let awaits: Vec<(usize, SyncPoint)> = sound.host.iter().enumerate().filter_map(|(index, planned)| match planned.step {
            HostStep::Await { point } => Some((index, point)),
            _ => None,
        }).collect();
        if let Some((index, point)) = pick(&awaits, which) {
            let release = HostStep::Release { point };
            let release = (index..sound.host.len()).find(|at| sound.host[*at].step == release).unwrap();
            let mut changed = sound.clone();
            changed.host.swap(index, release);
            is_refused(&changed, "turned round")?;
        }
    }

    #[test]
    fn a_step_on_the_wrong_side_of_the_clone_is_refused(seed in 0..100_000_u64, which: prop::sample::Index) {
        let sound = plan(seed);
        let clone = sound.host.iter().position(|planned| planned.step.name() == "CloneInit").unwrap();
        let index = which.index(sound.host.len());
        let wrong = match sound.host[index].step.side() {
            Side::Before => sound.host.len() - 1,
            Side::After => 0,
            Side::Either => return Ok(()),
        };
        let mut changed = sound.clone();
        let moved = changed.host.remove(index);
        changed.host.insert(wrong, moved);
        is_refused(&changed, "moved")?;
        changed = sound.clone();
        let removed = changed.host.remove(clone);
        is_refused(&changed, "no clone")?;
        changed = sound.clone();
        changed.host.push(removed);
        is_refused(&changed, "two clones")?;
    }

    #[test]
    fn a_half_without_its_end_is_refused(seed in 0..100_000_u64) {
        let mut changed = plan(seed);
        let end = changed.inside.pop().unwrap();
        is_refused(&changed, "no end")?;
        changed.inside.insert(0, end);
        is_refused(&changed, "an early end")?;
    }
}

#[test]
fn a_fault_names_the_step() {
    let mut plan = plan(0);
    let clone = plan.host.iter().position(|planned| planned.step.name() == "CloneInit").unwrap();
    let opened = plan.host.iter().position(|planned| planned.step.name() == "CreateCgroups").unwrap_or(0);
    let step = plan.host.remove(opened);
    let name = step.step.name();
    plan.host.insert(clone, step);
    assert_eq!(
        plan.check().unwrap_err().to_string(),
        format!("host step {clone} ({name}): stands after the clone of init")
    );
}
