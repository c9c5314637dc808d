//! The conversation of the halves: each waits for what the other says then, and nothing is said that nobody
//! waits for.

use std::collections::VecDeque;
use std::fmt;

use super::{At, PlanFault, host_at, inside_at};
use crate::plan::{HostStep, OwnedStep, Plan, SlotRange, SyncPoint};

/// What one half says to the other. `docs/protocol.md` has the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Reached(SyncPoint),
    Continue(SyncPoint),
    Trees(SlotRange),
    Cloned,
    Console,
    Listener,
    Executing,
    /// The end of the stream.
    End,
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reached(point) => write!(f, "reached {}", point.name()),
            Self::Continue(point) => write!(f, "continue {}", point.name()),
            Self::Trees(SlotRange { first, count }) => write!(f, "{count} trees from slot {} on", first.0),
            Self::Cloned => f.write_str("a clone"),
            Self::Console => f.write_str("the console"),
            Self::Listener => f.write_str("the listener"),
            Self::Executing => f.write_str("executing"),
            Self::End => f.write_str("the end"),
        }
    }
}

/// What a step does in the conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Say(Word),
    Hear(Word),
    /// `Executing` may come before.
    HearEnd,
}

/// What a host step does in the conversation.
pub(super) fn of_host(step: &HostStep) -> Option<Act> {
    Some(match step {
        HostStep::Await { point } => Act::Hear(Word::Reached(*point)),
        HostStep::FollowClone => Act::Hear(Word::Cloned),
        HostStep::ReceiveConsole => Act::Hear(Word::Console),
        HostStep::SendSeccompListener { .. } => Act::Hear(Word::Listener),
        HostStep::AwaitExec => Act::HearEnd,
        HostStep::Release { point } => Act::Say(Word::Continue(*point)),
        HostStep::MakeNetwork => Act::Say(Word::Continue(SyncPoint::Made)),
        HostStep::SendTrees { trees } => Act::Say(Word::Trees(*trees)),
        _ => return None,
    })
}

/// What a step of init does in the conversation, in order.
pub(super) fn of_inside(step: &OwnedStep) -> [Option<Act>; 2] {
    let meet = |point| [Some(Act::Say(Word::Reached(point))), Some(Act::Hear(Word::Continue(point)))];
    match step {
        OwnedStep::Sync { point } => meet(*point),
        OwnedStep::AwaitHooks { .. } => meet(SyncPoint::Hooks),
        OwnedStep::Await { point } => [Some(Act::Hear(Word::Continue(*point))), None],
        OwnedStep::TakeNetwork { .. } => [Some(Act::Hear(Word::Continue(SyncPoint::Made))), None],
        OwnedStep::TakeTrees { trees } => [Some(Act::Hear(Word::Trees(*trees))), None],
        OwnedStep::CloneAgain { .. } | OwnedStep::CloneInto { .. } => [Some(Act::Say(Word::Cloned)), None],
        OwnedStep::SendConsole { .. } => [Some(Act::Say(Word::Console)), None],
        OwnedStep::Seccomp { notify: true, .. } => [Some(Act::Say(Word::Listener)), None],
        OwnedStep::Announce {} => [Some(Act::Say(Word::Executing)), None],
        OwnedStep::Exec { .. } | OwnedStep::End {} => [Some(Act::Say(Word::End)), None],
        _ => [None, None],
    }
}

/// One half: what is left for it to say and hear, and what has been said to it.
struct Half {
    acts: VecDeque<(At, Act)>,
    heard: VecDeque<Word>,
}

impl Half {
    /// Goes on until it has to wait. What it says goes to `other`. Returns whether it went on at all.
    fn go_on(&mut self, other: &mut Self) -> Result<bool, PlanFault> {
        let mut went_on = false;
        while let Some((at, act)) = self.acts.front().copied() {
            match act {
                Act::Say(word) => other.heard.push_back(word),
                Act::HearEnd => {
                    self.heard.pop_front_if(|word| *word == Word::Executing);
                    let Some(word) = self.heard.pop_front() else { break };
                    expect(at, Word::End, word)?;
                }
                Act::Hear(awaited) => {
                    let Some(word) = self.heard.pop_front() else { break };
                    expect(at, awaited, word)?;
                }
            }
            went_on = true;
            self.acts.pop_front();
        }
        Ok(went_on)
    }
}

fn expect(at: At, awaited: Word, heard: Word) -> Result<(), PlanFault> {
    if awaited == heard {
        return Ok(());
    }
    Err(PlanFault::Unanswered { at, awaited: awaited.to_string(), heard: heard.to_string() })
}

/// Lets both halves speak with each other, to the end of both.
pub(super) fn check(plan: &Plan) -> Result<(), PlanFault> {
    let acts = plan.host.iter().enumerate();
    let acts =
        acts.filter_map(|(index, planned)| Some((host_at(index, &planned.step), of_host(&planned.step)?)));
    let mut host = Half { acts: acts.collect(), heard: VecDeque::new() };
    // When it has been started, init speaks with another process.
    let own = plan.inside.iter().enumerate();
    let own = own.take_while(|(_, planned)| !matches!(planned.step, OwnedStep::WaitForStart { .. }));
    let acts = own.flat_map(|(index, planned)| {
        let at = inside_at(index, &planned.step);
        of_inside(&planned.step).into_iter().flatten().map(move |act| (at, act))
    });
    let mut inside = Half { acts: acts.collect(), heard: VecDeque::new() };
    while host.go_on(&mut inside)? || inside.go_on(&mut host)? {}
    for half in [&host, &inside] {
        if let Some((at, Act::Hear(awaited))) = half.acts.front() {
            let (at, awaited) = (*at, awaited.to_string());
            return Err(PlanFault::Unanswered { at, awaited, heard: "nothing".to_owned() });
        }
        if let Some((at, _)) = half.acts.front() {
            let (awaited, heard) = (Word::End.to_string(), "nothing".to_owned());
            return Err(PlanFault::Unanswered { at: *at, awaited, heard });
        }
    }
    match host.heard.iter().chain(&inside.heard).next() {
        Some(said) => Err(PlanFault::Unheard { said: said.to_string() }),
        None => Ok(()),
    }
}
