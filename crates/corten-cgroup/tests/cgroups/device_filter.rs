//! The device filter against a model of its rules, in an interpreter of its instructions.

use corten_cgroup::device::{Access, Filter, Kind, Rule};
use proptest::prelude::*;

/// A request, as the kernel puts it to the program.
#[derive(Debug, Clone, Copy)]
struct Request {
    block: bool,
    major: u32,
    minor: u32,
    /// mknod 1, read 2, write 4.
    access: u32,
}

/// What the rules mean: each thing asked for is decided by the last rule that speaks of it; without one, it
/// is forbidden.
fn model(rules: &[Rule], request: Request) -> bool {
    [1, 2, 4].into_iter().filter(|bit| request.access & bit != 0).all(|bit| {
        let speaks = |rule: &&Rule| {
            let kind = match rule.kind {
                Kind::All => true,
                Kind::Block => request.block,
                Kind::Char => !request.block,
            };
            let access = match bit {
                1 => rule.access.mknod,
                2 => rule.access.read,
                _ => rule.access.write,
            };
            kind && access
                && rule.major.is_none_or(|major| major == request.major)
                && rule.minor.is_none_or(|minor| minor == request.minor)
        };
        rules.iter().rev().find(speaks).is_some_and(|rule| rule.allow)
    })
}

/// Runs the program: the few instructions that it is made of.
fn interpret(program: &[u64], request: Request) -> bool {
    let kind = if request.block { 1 } else { 2 };
    let context = [request.access << 16 | kind, request.major, request.minor];
    let mut registers = [0u32; 11];
    let mut at = 0usize;
    // Jumps go forward only, so that the program ends.
    while at < program.len() {
        let bytes = program[at].to_ne_bytes();
        let (code, to, from) = (bytes[0], usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
        let offset = i16::from_ne_bytes([bytes[2], bytes[3]]);
        let immediate = u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        at += 1;
        let mut jump = |condition: bool| {
            if condition {
                at += usize::try_from(offset).unwrap();
            }
        };
        match code {
            0x61 => registers[to] = context[usize::try_from(offset).unwrap() / 4],
            0x54 => registers[to] &= immediate,
            0x74 => registers[to] >>= immediate,
            0xbc => registers[to] = registers[from],
            0xb4 => registers[to] = immediate,
            0x56 => jump(registers[to] != immediate),
            0x46 => jump(registers[to] & immediate != 0),
            0x95 => return registers[0] == 1,
            code => panic!("instruction {code:#x}"),
        }
    }
    panic!("the program does not end");
}

fn rule() -> impl Strategy<Value = Rule> {
    let kind = prop_oneof![Just(Kind::All), Just(Kind::Char), Just(Kind::Block)];
    let number = || proptest::option::of(0u32..3);
    (any::<bool>(), kind, number(), number(), any::<(bool, bool, bool)>()).prop_map(
        |(allow, kind, major, minor, (read, write, mknod))| Rule {
            allow,
            kind,
            major,
            minor,
            access: Access { read, write, mknod },
        },
    )
}

fn all_requests() -> impl Iterator<Item = Request> {
    (0..2 * 3 * 3 * 7).map(|n| Request {
        block: n % 2 == 1,
        major: n / 2 % 3,
        minor: n / 6 % 3,
        access: n / 18 + 1,
    })
}

proptest! {
    #[test]
    fn the_program_does_what_the_rules_say(rules in proptest::collection::vec(rule(), 0..8)) {
        let filter = Filter::compile(&rules);
        for request in all_requests() {
            let said = interpret(filter.instructions(), request);
            prop_assert_eq!(said, model(&rules, request), "{:?} of {:?}", request, rules);
            prop_assert!(said || !filter.allows_everything());
        }
    }
}

#[test]
fn the_last_word_on_everything_makes_what_was_before_superfluous() {
    let all = Access { read: true, write: true, mknod: true };
    let total = |allow| Rule { allow, kind: Kind::All, major: None, minor: None, access: all };
    let one = Rule { allow: true, kind: Kind::Char, major: Some(1), minor: Some(3), access: all };
    let short = Filter::compile(&[total(false), one]);
    assert_eq!(Filter::compile(&[one, one, total(true), one, total(false), one, one]), short);
    assert!(Filter::compile(&[one, total(true)]).allows_everything());
    assert!(!Filter::compile(&[]).allows_everything());
}

/// A jump reaches 32,767 instructions.
#[test]
fn more_devices_than_a_jump_passes() {
    let access = Access { read: true, write: false, mknod: false };
    let rule =
        |major, minor| Rule { allow: true, kind: Kind::Char, major: Some(major), minor: Some(minor), access };
    let mut rules: Vec<Rule> = (0..5_000).map(|minor| rule(1, minor)).collect();
    rules.extend((2..5_000).map(|major| rule(major, 7)));
    let filter = Filter::compile(&rules);
    assert!(filter.instructions().len() > 1 << 15);
    for (major, minor) in
        [(1, 0), (1, 2_500), (1, 4_999), (2, 7), (4_999, 7), (0, 0), (1, 5_000), (3, 6), (5_000, 7)]
    {
        for block in [false, true] {
            let request = Request { block, major, minor, access: 2 };
            assert_eq!(interpret(filter.instructions(), request), model(&rules, request), "{request:?}");
        }
    }
}

/// What Docker's devices come to: no rule leaves more in the program than the numbers it tells apart.
#[test]
fn the_program_is_short() {
    let access = |read, write, mknod| Access { read, write, mknod };
    let rule = |allow, kind, major, minor, access| Rule { allow, kind, major, minor, access };
    let all = access(true, true, true);
    let mut rules = vec![rule(false, Kind::All, None, None, all)];
    for kind in [Kind::Char, Kind::Block] {
        rules.push(rule(true, kind, None, None, access(false, false, true)));
    }
    let usable = [
        (1, Some(3)),
        (1, Some(5)),
        (1, Some(7)),
        (5, Some(0)),
        (1, Some(8)),
        (1, Some(9)),
        (136, None),
        (5, Some(2)),
    ];
    rules.extend(usable.map(|(major, minor)| rule(true, Kind::Char, Some(major), minor, all)));
    // Six to read the request; the kind; three majors; seven minors, each with its answer; one more; four for
    // "only mknod".
    assert_eq!(Filter::compile(&rules).instructions().len(), 6 + 1 + 3 + 7 * 3 + 2 + 4 * 5);
}
