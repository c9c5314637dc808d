//! Programs against libseccomp, and against the specification.

use libseccomp::ScmpArch;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::tests::{
    ALLOW, ERRNO, I386, X86_64, by_libseccomp, compiled, dockers_profile, number, profile, run, run_native,
};
use super::super::{CompileOptions, SeccompError, compile, rules};
use super::*;

const NAMES: [&str; 5] = ["getpid", "gettid", "mkdirat", "ioctl", "clone"];
const EPERM: u32 = ERRNO | 1;

/// Values around which comparisons change their minds, in both halves.
const VALUES: [u64; 9] = [0, 1, 2, 7, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, 0x1_0000_0007, u64::MAX];

fn holds(comparison: &Comparison, value: u64, is_wide: bool) -> bool {
    let bits = if is_wide { u64::MAX } else { u32::MAX.into() };
    let (value, with) = (value & comparison.mask & bits, comparison.value & comparison.mask & bits);
    match comparison.operator {
        Operator::Equal => value == with,
        Operator::NotEqual => value != with,
        Operator::Less => value < with,
        Operator::LessOrEqual => value <= with,
        Operator::Greater => value > with,
        Operator::GreaterEqual => value >= with,
    }
}

/// The actions of all rules that match, one by one, as the specification has it.
fn matching(rules: &[Rule<'_>], name: &str, args: &[u64; 6], is_wide: bool) -> Vec<u32> {
    let argument = |comparison: &Comparison| args[usize::try_from(comparison.argument).expect("an argument")];
    rules
        .iter()
        .filter(|rule| rule.name == name)
        .filter(|rule| rule.comparisons.iter().all(|one| holds(one, argument(one), is_wide)))
        .map(|rule| rule.answer)
        .collect()
}

fn a_comparison(index: u32) -> impl Strategy<Value = Value> {
    let op = proptest::sample::select(vec!["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"]);
    let value = proptest::sample::select(VALUES.to_vec());
    (op, value.clone(), value).prop_map(move |(op, value, two)| {
        json!({ "index": index, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{op}") })
    })
}

fn an_equality(index: u32) -> impl Strategy<Value = Value> {
    proptest::sample::select(VALUES.to_vec())
        .prop_map(move |value| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" }))
}

/// An entry of `syscalls` with up to three of the arguments.
fn an_entry<S: Strategy<Value = Value>>(
    comparison: fn(u32) -> S,
    actions: &[&'static str],
) -> impl Strategy<Value = Value> + use<S> {
    let arguments: Vec<_> = (0..3).map(|index| proptest::option::weighted(0.6, comparison(index))).collect();
    let actions = proptest::sample::select(actions.to_vec());
    (proptest::sample::subsequence(NAMES.to_vec(), 1..3), arguments, actions).prop_map(
        |(names, args, action)| {
            let args: Vec<Value> = args.into_iter().flatten().collect();
            json!({ "names": names, "action": action, "errnoRet": 77, "args": args })
        },
    )
}

fn profile_of(default: &str, entries: &[Value]) -> Value {
    json!({
        "defaultAction": default,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": entries,
    })
}

/// All calls that make a difference to the first three arguments.
fn calls() -> impl Iterator<Item = (&'static str, [u64; 6])> {
    let around = || VALUES.into_iter().flat_map(|value| [value, value ^ 4]);
    let args = move || {
        around().flat_map(move |a| {
            VALUES.into_iter().flat_map(move |b| [0, 7, u64::MAX].map(|c| [a, b, c, 0, 0, 0]))
        })
    };
    NAMES.into_iter().flat_map(move |name| args().map(move |args| (name, args)))
}

fn number_on(name: &str, arch: ScmpArch) -> u32 {
    match Abi::of(arch).expect("an architecture").number(name) {
        Some(Number::Own(number)) => number,
        other => panic!("{name}: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The specification leaves no choice: whatever matches has the one action that there is.
    #[test]
    fn a_rule_matches_if_all_its_comparisons_hold(
        default in proptest::sample::select(vec!["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"]),
        entries in proptest::collection::vec(an_entry(a_comparison, &["SCMP_ACT_LOG"]), 1..12),
    ) {
        let profile = profile(&profile_of(default, &entries).to_string());
        let filter = compile(&profile, CompileOptions::default()).expect("a filter");
        let rules = rules(&profile, CompileOptions::default()).expect("rules");
        for (name, args) in calls() {
            let archs = [(ScmpArch::X8664, X86_64, true), (ScmpArch::X86, I386, false)];
            for (arch, audit_arch, is_wide) in archs {
                let found = run(&filter, audit_arch, number_on(name, arch), args);
                if matching(&rules, name, &args, is_wide).is_empty() {
                    prop_assert!([ALLOW, EPERM, ERRNO | 38].contains(&found), "{} {:x?}: {:#x}", name, args, found);
                } else {
                    prop_assert_eq!(found, libc::SECCOMP_RET_LOG, "{} {:x?}", name, args);
                }
            }
        }
    }

    /// Where rules of several actions match, it is one of theirs, and never weaker than by default if all of
    /// them are stronger.
    #[test]
    fn the_answer_is_that_of_a_rule_that_matches(
        entries in proptest::collection::vec(
            an_entry(a_comparison, &["SCMP_ACT_LOG", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"]), 1..10),
    ) {
        let profile = profile(&profile_of("SCMP_ACT_ALLOW", &entries).to_string());
        let filter = match compile(&profile, CompileOptions::default()) {
            Ok(filter) => filter,
            Err(SeccompError::Contradiction { .. }) => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        let rules = rules(&profile, CompileOptions::default()).expect("rules");
        for (name, args) in calls() {
            let found = run(&filter, X86_64, number_on(name, ScmpArch::X8664), args);
            let matching = matching(&rules, name, &args, true);
            if matching.is_empty() {
                prop_assert_eq!(found, ALLOW, "{} {:x?}", name, args);
            } else {
                prop_assert!(matching.contains(&found), "{} {:x?}: {:#x} of {:x?}", name, args, found, matching);
            }
        }
    }

    /// Among rules that match the same one counts as with libseccomp, and the same profiles contradict
    /// themselves.
    #[test]
    fn rules_that_overlap_are_taken_as_by_libseccomp(
        entries in proptest::collection::vec(
            an_entry(an_equality, &["SCMP_ACT_LOG", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"]), 1..8),
    ) {
        let profile = profile(&profile_of("SCMP_ACT_ALLOW", &entries).to_string());
        let ours = compile(&profile, CompileOptions::default()).ok();
        let libseccomp = by_libseccomp(&profile);
        let speaks_of_all = |entry: &Value| entry["args"].as_array().is_some_and(Vec::is_empty);
        // What is moot here libseccomp has refused before it heard of that.
        let is_moot = ours.is_some() && entries.iter().any(speaks_of_all);
        prop_assert!(ours.is_some() == libseccomp.is_some() || is_moot);
        let Some((ours, libseccomp)) = ours.zip(libseccomp) else { return Ok(()) };
        let rules = rules(&profile, CompileOptions::default()).expect("rules");
        for (name, args) in calls() {
            for (arch, audit_arch) in [(ScmpArch::X8664, X86_64), (ScmpArch::X86, I386)] {
                let of = |filter| run(filter, audit_arch, number_on(name, arch), args);
                // Where it answers what no rule says, libseccomp has taken a piece of another call's for one
                // that it has.
                if matching(&rules, name, &args, arch == ScmpArch::X8664).contains(&of(&libseccomp)) {
                    prop_assert_eq!(of(&ours), of(&libseccomp), "{} {:x?} {:?}", name, args, arch);
                }
            }
        }
    }
}

/// All numbers of all architectures, with arguments that the profiles speak of.
#[test]
fn dockers_and_podmans_profiles_say_what_they_say_with_libseccomp() {
    let podman = profile(
        r#"{ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
             "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], "syscalls": [
        { "names": ["bdflush", "io_pgetevents", "mount", "reboot", "vhangup"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1 },
        { "names": ["read", "socketcall", "ipc", "shmctl", "bind", "close", "openat2"], "action": "SCMP_ACT_ALLOW" },
        { "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 8, "op": "SCMP_CMP_EQ" }] },
        { "names": ["personality"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 131072, "op": "SCMP_CMP_EQ" }] },
        { "names": ["clone"], "action": "SCMP_ACT_ALLOW",
          "args": [{ "index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ" }] },
        { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [
            { "index": 0, "value": 16, "op": "SCMP_CMP_EQ" }, { "index": 2, "value": 9, "op": "SCMP_CMP_EQ" }] },
        { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 2, "value": 9, "op": "SCMP_CMP_NE" }] },
        { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 16, "op": "SCMP_CMP_NE" }] },
        { "names": ["listen"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 1, "value": 5, "op": "SCMP_CMP_LE" }] }] }"#,
    );
    let archs = [X86_64, I386, 0xc000_00b7, 0x1234];
    for profile in [podman, dockers_profile()] {
        let (ours, libseccomp) = (
            compile(&profile, CompileOptions::default()).expect("a filter"),
            by_libseccomp(&profile).expect("a filter"),
        );
        let numbers = (0..1000).chain(0x4000_0000..0x4000_0400).chain([0x7fff_ffff, 0xffff_ffff]);
        let of_both = |audit_arch, number, args| {
            [&ours, &libseccomp].map(|filter| run(filter, audit_arch, number, args))
        };
        for (number, audit_arch) in numbers.flat_map(|number| archs.map(|arch| (number, arch))) {
            for first in [
                0,
                1,
                2,
                5,
                8,
                16,
                40,
                0x2_0000,
                0x1000_0000,
                0x7e02_0000,
                0xffff_ffff,
                1 << 32 | 8,
                u64::MAX,
            ] {
                for third in [0, 5, 6, 9, 1 << 32 | 9] {
                    let [ours, libseccomp] = of_both(audit_arch, number, [first, third, third, 0, 0, 0]);
                    // libseccomp 2.5.4 has no name for what Docker allows from here on, nor for uretprobe.
                    let unknown =
                        number & 0x3fff_ffff > 450 || audit_arch == X86_64 && number & 0x3fff_ffff == 335;
                    let newer = libseccomp == EPERM && (ours == ERRNO | 38 || unknown && ours == ALLOW);
                    assert!(
                        ours == libseccomp || newer,
                        "{audit_arch:#x} {number} {first:#x}: {ours:#x}, {libseccomp:#x}"
                    );
                }
            }
        }
    }
}

/// With libseccomp the second rule vanishes: it finds that the upper half is compared already, and leaves.
#[test]
fn a_bound_with_another_comparison_is_not_lost_beside_a_bound_alone() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 0, "value": 7, "op": "SCMP_CMP_GT"}]},
            {"names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args": [
                {"index": 0, "value": 5, "op": "SCMP_CMP_GT"}, {"index": 1, "value": 3, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    assert_eq!(run_native(&filter, "getpid", [6, 3, 0, 0, 0, 0]), EPERM);
    assert_eq!(run_native(&filter, "getpid", [6, 4, 0, 0, 0, 0]), ALLOW);
    assert_eq!(run_native(&filter, "getpid", [8, 4, 0, 0, 0, 0]), EPERM);
}

/// libseccomp answers LOG to the second call as well, which the rule for another call says.
#[test]
fn a_rule_is_for_its_own_call_alone() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
            {"names": ["getpid", "gettid"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 0, "op": "SCMP_CMP_EQ"}]},
            {"names": ["getpid"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]},
            {"names": ["getpid"], "action": "SCMP_ACT_LOG", "args": [
                {"index": 0, "value": 2, "op": "SCMP_CMP_EQ"}, {"index": 1, "value": 0, "op": "SCMP_CMP_EQ"},
                {"index": 2, "value": 0, "op": "SCMP_CMP_EQ"}]},
            {"names": ["gettid"], "action": "SCMP_ACT_LOG", "args": [
                {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}, {"index": 2, "value": 1, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    assert_eq!(run_native(&filter, "getpid", [1, 0, 0, 0, 0, 0]), libc::SECCOMP_RET_LOG);
    assert_eq!(run_native(&filter, "gettid", [1, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(run_native(&filter, "gettid", [1, 0, 1, 0, 0, 0]), libc::SECCOMP_RET_LOG);
}

/// On architectures with 32 bits both speak of 0. A rule that speaks of all makes them moot wherever it
/// stands; libseccomp sees that if it is the first.
#[test]
fn no_contradiction_is_left_beside_a_rule_without_comparisons() {
    let equal = |value: u64| json!([{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }]);
    let entry = |action: &str, args: Value| json!({ "names": ["mkdirat"], "action": action, "args": args });
    let one = entry("SCMP_ACT_ERRNO", equal(0));
    let other = entry("SCMP_ACT_LOG", equal(1 << 32));
    let all = entry("SCMP_ACT_LOG", json!([]));
    let compiled = |entries: &[&Value]| {
        let entries: Vec<Value> = entries.iter().copied().cloned().collect();
        let profile = profile(&profile_of("SCMP_ACT_ALLOW", &entries).to_string());
        compile(&profile, CompileOptions::default())
    };
    assert!(matches!(compiled(&[&one, &other]), Err(SeccompError::Contradiction { .. })));
    for entries in [[&one, &other, &all], [&all, &one, &other]] {
        let filter = compiled(&entries).expect("no contradiction");
        assert_eq!(run(&filter, X86_64, number("mkdirat"), [0; 6]), libc::SECCOMP_RET_LOG, "{entries:?}");
    }
}

/// Jumps reach 255 instructions; answers and chains lie farther away.
#[test]
fn long_chains_hold_together() {
    let rule = |value: u64| {
        json!({ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 2 + value % 50,
            "args": [{ "index": 0, "value": value * 0x1_0000_0003, "op": "SCMP_CMP_EQ" },
                     { "index": 1, "value": value, "op": "SCMP_CMP_NE" }] })
    };
    let all: Vec<Value> = (0..250).map(rule).collect();
    let filter = compiled(&profile_of("SCMP_ACT_ALLOW", &all).to_string());
    for value in 0..250_u64 {
        let answer = ERRNO | u32::try_from(2 + value % 50).expect("an errno");
        let first = value * 0x1_0000_0003;
        for (args, expected) in
            [([first, value + 1], answer), ([first, value], ALLOW), ([first + 1, value + 1], ALLOW)]
        {
            let found = run_native(&filter, "getpid", [args[0], args[1], 0, 0, 0, 0]);
            assert_eq!(found, expected, "{value}: {args:x?}");
        }
    }
}

#[test]
fn rules_for_newer_calls_are_in_force() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [
            {"names": ["mseal", "no_such_call"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["listns"], "action": "SCMP_ACT_ERRNO", "args": [{"index": 1, "value": 3, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    for audit_arch in [X86_64, I386] {
        assert_eq!(run(&filter, audit_arch, 462, [0; 6]), EPERM);
        assert_eq!(run(&filter, audit_arch, 463, [0; 6]), ALLOW);
        assert_eq!(run(&filter, audit_arch, 470, [0, 3, 0, 0, 0, 0]), EPERM);
        assert_eq!(run(&filter, audit_arch, 470, [0; 6]), ALLOW);
    }
    // Allowed by name, and no longer newer than the profile.
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["getpid", "mseal"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(run_native(&filter, "getpid", [0; 6]), ALLOW);
    let [named, older, newer] =
        [462, 461, 463].map(|number| run(&filter, super::super::tests::NATIVE, number, [0; 6]));
    assert_eq!((named, older, newer), (ALLOW, EPERM, ERRNO | 38));
    assert!(number("getpid") < 461);
}
