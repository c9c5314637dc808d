//! From rules to a program: what is decided by the architecture, the number and the arguments of a call.
//!
//! libseccomp makes such programs, too, but takes time that grows with the cube of their length: 3,000 rules
//! with arguments are half a minute (docs/adr/0018-filters-are-assembled-here.md). The answers are
//! libseccomp's:
//!
//! * A rule matches if all its comparisons hold. A rule without comparisons is stronger than those with some.
//! * Of rules that match and differ in their actions, that one counts whose first argument is the later one;
//!   of those that begin with the same argument, an equality before an upper bound before a lower bound, and
//!   the larger value first, but for upper bounds the smaller one.
//! * A rule that goes on where another ends is of no use. If it came before the other one, with another
//!   action, that is a contradiction, unless a rule without comparisons makes both moot. (libseccomp sees
//!   that only if it comes first.)
//! * On architectures with 32 bits the lower halves of values count alone.
//!
//! Stage: plan, pure. Attacker: the process under the filter.

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, HashMap};

use libc::{BPF_JEQ, BPF_JGE, BPF_JGT};
use libseccomp::ScmpArch;

use super::assembler::{Assembler, Place, Word};
use super::calls::{Abi, Number, X32_FIRST};
use super::enosys::{self, ENOSYS};

/// Offsets in the kernel's `struct seccomp_data`.
const NUMBER: Word = Word { at: 0, mask: u32::MAX };
const ARCH: Word = Word { at: 4, mask: u32::MAX };
const ARGUMENTS_AT: u32 = 16;

/// The answer where nobody named the architecture.
const NO_ABI: u32 = libc::SECCOMP_RET_KILL_THREAD;

/// So many numbers are compared one by one, sooner than by halves.
const ONE_BY_ONE: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterEqual,
}

/// A comparison of `argument & mask` with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Comparison {
    pub(super) argument: u32,
    pub(super) operator: Operator,
    pub(super) mask: u64,
    pub(super) value: u64,
}

/// A rule of the profile: all comparisons must hold.
#[derive(Debug, Clone)]
pub(super) struct Rule<'a> {
    /// Position in `linux.seccomp.syscalls`.
    pub(super) index: usize,
    pub(super) name: &'a str,
    /// What the filter answers: `SECCOMP_RET_*`.
    pub(super) answer: u32,
    pub(super) comparisons: Vec<Comparison>,
}

/// A rule that says something else for what another one speaks of, which goes farther and came before it.
#[derive(Debug)]
pub(super) struct Contradiction<'a> {
    pub(super) index: usize,
    pub(super) name: &'a str,
}

/// A rule as it is for one number.
#[derive(Debug)]
struct Arm<'a> {
    comparisons: Vec<Comparison>,
    answer: u32,
    /// Position among all rules.
    position: usize,
    rule: &'a Rule<'a>,
}

/// What is decided by a call's arguments: the first whose comparisons hold. It is the same for calls with the
/// same rules.
type Decision = Vec<(Vec<Comparison>, u32)>;

/// Returns the program for calls of these architectures. Rules that say what is said by default anyway only
/// name calls, as libseccomp refuses them.
pub(super) fn program<'a>(
    rules: &'a [Rule<'a>],
    abis: &[Abi],
    default: u32,
) -> Result<Vec<u8>, Contradiction<'a>> {
    let mut writer =
        Writer { out: Assembler::default(), decisions: Vec::new(), ids: HashMap::new(), default };
    let mut audit_archs: Vec<u32> = Vec::new();
    for abi in abis {
        if !audit_archs.contains(&abi.audit_arch) {
            audit_archs.push(abi.audit_arch);
        }
    }
    let mut next = writer.out.answer(NO_ABI);
    for audit_arch in audit_archs.into_iter().rev() {
        let abis: Vec<&Abi> = abis.iter().filter(|abi| abi.audit_arch == audit_arch).collect();
        let ranges = writer.ranges(rules, &abis)?;
        let numbers = writer.numbers(&ranges);
        next = writer.out.test(BPF_JEQ, ARCH, audit_arch, numbers, next);
    }
    Ok(writer.out.finish(next))
}

/// What the rules say of each number that they name, on one architecture.
fn arms<'a>(rules: &'a [Rule<'a>], abi: &Abi, default: u32) -> BTreeMap<u32, Vec<Arm<'a>>> {
    let mut calls: BTreeMap<u32, Vec<Arm<'a>>> = BTreeMap::new();
    let mut numbers: HashMap<&str, Option<Number>> = HashMap::new();
    for (position, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.answer != default) {
        let comparisons = narrowed(&rule.comparisons, abi);
        let mut add = |number: u32, comparisons: Vec<Comparison>| {
            calls.entry(number).or_default().push(Arm { comparisons, answer: rule.answer, position, rule });
        };
        match *numbers.entry(rule.name).or_insert_with(|| abi.number(rule.name)) {
            None => {}
            Some(Number::Own(number)) => add(number, comparisons),
            Some(Number::Part { through, which, own }) => {
                // libseccomp: the first argument says which call it is. The others are where a filter cannot
                // look; they are compared with what is there instead.
                let part = Comparison {
                    argument: 0,
                    operator: Operator::Equal,
                    mask: u64::MAX,
                    value: u64::from(which),
                };
                let others = comparisons.iter().filter(|comparison| comparison.argument != 0).copied();
                add(through, narrowed(&std::iter::once(part).chain(others).collect::<Vec<_>>(), abi));
                if let Some(own) = own {
                    add(own, comparisons);
                }
            }
        }
    }
    calls
}

/// The comparisons in the order of the arguments, as far as they count on this architecture, without those
/// that always hold.
fn narrowed(comparisons: &[Comparison], abi: &Abi) -> Vec<Comparison> {
    let bits = if abi.is_wide { u64::MAX } else { u32::MAX.into() };
    let mut narrowed: Vec<Comparison> = comparisons
        .iter()
        .map(|comparison| {
            let mask = comparison.mask & bits;
            Comparison { mask, value: comparison.value & mask, ..*comparison }
        })
        .filter(|comparison| comparison.mask != 0)
        .collect();
    narrowed.sort_by_key(|comparison| comparison.argument);
    narrowed
}

/// Puts the rules for one number in the order in which they count, without those that cannot.
fn decision<'a>(mut arms: Vec<Arm<'a>>) -> Result<Decision, Contradiction<'a>> {
    if let Some(all) = arms.iter().find(|arm| arm.comparisons.is_empty()) {
        return Ok(vec![(Vec::new(), all.answer)]);
    }
    arms.sort_by(|one, other| in_order(&one.comparisons, &other.comparisons));
    let mut kept: Vec<Arm<'a>> = Vec::with_capacity(arms.len());
    for arm in arms {
        // Whatever begins like a rule comes right after it.
        let Some(shorter) = kept.last().filter(|last| arm.comparisons.starts_with(&last.comparisons)) else {
            kept.push(arm);
            continue;
        };
        let later = if arm.position < shorter.position { shorter } else { &arm };
        let contradicts = arm.comparisons == shorter.comparisons || arm.position < shorter.position;
        if contradicts && arm.answer != shorter.answer {
            return Err(Contradiction { index: later.rule.index, name: later.rule.name });
        }
    }
    Ok(kept.into_iter().map(|arm| (arm.comparisons, arm.answer)).collect())
}

/// Of two lists one of which goes on where the other ends, the shorter one is first.
fn in_order(one: &[Comparison], other: &[Comparison]) -> Ordering {
    let key = |comparison: &Comparison| {
        let Comparison { argument, operator, mask, value } = *comparison;
        let (rank, value) = match operator {
            Operator::Equal | Operator::NotEqual => (2, value),
            Operator::Less | Operator::LessOrEqual => (1, !value),
            Operator::Greater | Operator::GreaterEqual => (0, value),
        };
        // What comes last only keeps together what is the same.
        Reverse((argument, rank, value, operator, mask))
    };
    one.iter().map(key).cmp(other.iter().map(key))
}

/// A rule of which some comparisons have been made.
#[derive(Clone, Copy)]
struct Rest<'a> {
    comparisons: &'a [Comparison],
    answer: u32,
}

struct Writer {
    out: Assembler,
    /// Each with its place, once it is written.
    decisions: Vec<(Decision, Option<Place>)>,
    ids: HashMap<Decision, usize>,
    default: u32,
}

impl Writer {
    fn id(&mut self, decision: Decision) -> usize {
        *self.ids.entry(decision).or_insert_with_key(|decision| {
            self.decisions.push((decision.clone(), None));
            self.decisions.len() - 1
        })
    }

    fn answer(&mut self, value: u32) -> usize {
        self.id(vec![(Vec::new(), value)])
    }

    /// Which decision is for which numbers: each from its number on to the next one's.
    fn ranges<'a>(
        &mut self,
        rules: &'a [Rule<'a>],
        abis: &[&Abi],
    ) -> Result<Vec<(u32, usize)>, Contradiction<'a>> {
        let not_named = self.not_named(rules, abis);
        let mut ranges = not_named.clone();
        let default = self.default;
        for (number, arms) in abis.iter().flat_map(|abi| arms(rules, abi, default)) {
            let id = self.id(decision(arms)?);
            ranges.insert(number, id);
            if let Some(next) = number.checked_add(1) {
                ranges.entry(next).or_insert(at(&not_named, next));
            }
        }
        let mut ranges: Vec<(u32, usize)> = ranges.into_iter().collect();
        ranges.dedup_by_key(|(_, id)| *id);
        Ok(ranges)
    }

    /// The same without the numbers that rules are for. x86_64 and x32 are one architecture, with ranges of
    /// their own.
    fn not_named(&mut self, rules: &[Rule<'_>], abis: &[&Abi]) -> BTreeMap<u32, usize> {
        let (default, no_abi, enosys) = (self.answer(self.default), self.answer(NO_ABI), self.answer(ENOSYS));
        let has = |arch| abis.iter().any(|abi| abi.arch == arch);
        let mut ranges = BTreeMap::from([(0, default)]);
        match (has(ScmpArch::X8664), has(ScmpArch::X32)) {
            // -1, a tracer's "skip", goes through to the default.
            (true, false) => ranges.extend([(X32_FIRST, no_abi), (u32::MAX, default)]),
            (false, true) => ranges.extend([(0, no_abi), (X32_FIRST, default)]),
            _ => {}
        }
        let newer = abis.iter().filter(|_| enosys::is_instead_of(self.default));
        for (from, to) in newer.filter_map(|abi| enosys::newer(rules, abi)) {
            if let Some(next) = to.checked_add(1) {
                let after = at(&ranges, next);
                ranges.insert(next, after);
            }
            ranges.insert(from, enosys);
        }
        ranges
    }

    fn numbers(&mut self, ranges: &[(u32, usize)]) -> Place {
        if let Some((singles, others)) = few_numbers(ranges) {
            let mut next = self.decide(others);
            for (number, id) in singles.into_iter().rev() {
                let hit = self.decide(id);
                next = self.out.test(BPF_JEQ, NUMBER, number, hit, next);
            }
            return next;
        }
        let (below, above) = ranges.split_at(ranges.len() / 2);
        let from = above[0].0;
        let above = self.numbers(above);
        let below = self.numbers(below);
        self.out.test(BPF_JGE, NUMBER, from, above, below)
    }

    fn decide(&mut self, id: usize) -> Place {
        if let Some(place) = self.decisions[id].1 {
            return place;
        }
        let decision = std::mem::take(&mut self.decisions[id].0);
        let rests: Vec<Rest<'_>> =
            decision.iter().map(|(comparisons, answer)| Rest { comparisons, answer: *answer }).collect();
        let miss = self.out.answer(self.default);
        let place = self.first_of(&rests, miss);
        let place = self.out.settle(place, NUMBER);
        self.decisions[id].1 = Some(place);
        place
    }

    /// The answer of the first rule whose comparisons hold. What several in a row begin with is compared
    /// once.
    fn first_of(&mut self, rests: &[Rest<'_>], miss: Place) -> Place {
        if let Some(Rest { comparisons: [], answer }) = rests.first() {
            return self.out.answer(*answer);
        }
        let with_the_same: Vec<&[Rest<'_>]> =
            rests.chunk_by(|one, other| one.comparisons[0] == other.comparisons[0]).collect();
        let mut next = miss;
        for groups in with_the_same.chunk_by(|one, other| have_one_upper_half(first(one), first(other))).rev()
        {
            next = self.groups(groups, next);
        }
        next
    }

    /// Groups of rules; those of a group have the first comparison in common. If there are several, these are
    /// equalities in which the upper halves of the values are the same.
    fn groups(&mut self, groups: &[&[Rest<'_>]], miss: Place) -> Place {
        let comparison = first(groups[0]);
        if comparison.operator != Operator::Equal {
            let hit = self.after_first(groups[0], miss);
            return self.compare(comparison, hit, miss);
        }
        let mut next = miss;
        for group in groups.iter().rev() {
            let hit = self.after_first(group, next);
            next = self.half(BPF_JEQ, first(group), Half::Lower, hit, next);
        }
        self.half(BPF_JEQ, comparison, Half::Upper, next, miss)
    }

    fn after_first(&mut self, group: &[Rest<'_>], miss: Place) -> Place {
        let rests: Vec<Rest<'_>> =
            group.iter().map(|rest| Rest { comparisons: &rest.comparisons[1..], ..*rest }).collect();
        self.first_of(&rests, miss)
    }

    fn compare(&mut self, comparison: Comparison, hit: Place, miss: Place) -> Place {
        let lower = match comparison.operator {
            Operator::NotEqual => return self.compare_as(Operator::Equal, comparison, miss, hit),
            Operator::Less => return self.compare_as(Operator::GreaterEqual, comparison, miss, hit),
            Operator::LessOrEqual => return self.compare_as(Operator::Greater, comparison, miss, hit),
            Operator::Equal => {
                let lower = self.half(BPF_JEQ, comparison, Half::Lower, hit, miss);
                return self.half(BPF_JEQ, comparison, Half::Upper, lower, miss);
            }
            Operator::Greater => BPF_JGT,
            Operator::GreaterEqual => BPF_JGE,
        };
        let lower = self.half(lower, comparison, Half::Lower, hit, miss);
        if comparison.mask <= u32::MAX.into() {
            return lower;
        }
        let equal = self.half(BPF_JEQ, comparison, Half::Upper, lower, miss);
        self.half(BPF_JGT, comparison, Half::Upper, hit, equal)
    }

    fn compare_as(&mut self, operator: Operator, comparison: Comparison, hit: Place, miss: Place) -> Place {
        self.compare(Comparison { operator, ..comparison }, hit, miss)
    }

    /// Compares half of an argument, if the mask has something of it.
    fn half(&mut self, operator: u32, comparison: Comparison, half: Half, hit: Place, miss: Place) -> Place {
        let (offset, shift) = if half == Half::Lower { (0, 0) } else { (4, 32) };
        let of = |value: u64| u32::try_from(value >> shift & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        let word = Word { at: ARGUMENTS_AT + 8 * comparison.argument + offset, mask: of(comparison.mask) };
        if word.mask == 0 {
            return hit;
        }
        self.out.test(operator, word, of(comparison.value), hit, miss)
    }
}

/// Of an argument, as little-endian machines have it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Lower,
    Upper,
}

fn first(group: &[Rest<'_>]) -> Comparison {
    group[0].comparisons[0]
}

fn have_one_upper_half(one: Comparison, other: Comparison) -> bool {
    let upper = |comparison: Comparison| (comparison.argument, comparison.mask >> 32, comparison.value >> 32);
    one.operator == Operator::Equal && other.operator == Operator::Equal && upper(one) == upper(other)
}

/// What is for a number.
fn at(ranges: &BTreeMap<u32, usize>, number: u32) -> usize {
    ranges.range(..=number).next_back().map_or(0, |(_, id)| *id)
}

/// Returns the few single numbers with something of their own, and what is for all others, if that is all
/// there is in these ranges.
fn few_numbers(ranges: &[(u32, usize)]) -> Option<(Vec<(u32, usize)>, usize)> {
    if ranges.len() > 2 * ONE_BY_ONE + 1 {
        return None;
    }
    let others = ranges[0].1;
    let mut singles = Vec::new();
    for (at, (number, id)) in ranges.iter().enumerate().filter(|(_, (_, id))| *id != others) {
        let next = ranges.get(at + 1)?.0;
        if next - number != 1 {
            return None;
        }
        singles.push((*number, *id));
    }
    (singles.len() <= ONE_BY_ONE).then_some((singles, others))
}

#[cfg(test)]
mod tests;
