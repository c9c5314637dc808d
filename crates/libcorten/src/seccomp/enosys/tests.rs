//! Calls that are newer than a profile.

use std::collections::BTreeSet;

use libseccomp::{ScmpArch, ScmpSyscall};
use proptest::prelude::*;

use super::super::calls::Abi;
use super::super::tests::{
    ALLOW, ERRNO, I386, NATIVE, X86_64, by_libseccomp, compiled, dockers_profile, number, profile, run,
};
use super::super::{CompileOptions, Filter, compile};
use super::*;

const EPERM: u32 = ERRNO | 1;
const X32_BIT: u32 = 0x4000_0000;

/// The architectures of this byte order that libseccomp 2.5 knows, and their first numbers.
const ARCHS: &[(&str, ScmpArch, u32)] = &[
    ("X86_64", ScmpArch::X8664, 0),
    ("X32", ScmpArch::X32, X32_BIT),
    ("X86", ScmpArch::X86, 0),
    ("ARM", ScmpArch::Arm, 0),
    ("AARCH64", ScmpArch::Aarch64, 0),
    ("MIPSEL", ScmpArch::Mipsel, 4000),
    ("MIPSEL64", ScmpArch::Mipsel64, 5000),
    ("MIPSEL64N32", ScmpArch::Mipsel64N32, 6000),
    ("PPC64LE", ScmpArch::Ppc64Le, 0),
    ("RISCV64", ScmpArch::Riscv64, 0),
];

fn audit_arch(arch: ScmpArch) -> u32 {
    Abi::of(arch).expect("little-endian").audit_arch
}

fn number_on(name: &str, arch: ScmpArch) -> u32 {
    let syscall = ScmpSyscall::from_name_by_arch(name, arch).expect(name);
    u32::try_from(syscall.as_raw_syscall()).expect(name)
}

/// The filter of a profile, and libseccomp's, which knows nothing of this.
fn pair(json: &str) -> (Filter, Filter) {
    let profile = profile(json);
    let filter = compile(&profile, CompileOptions::default()).expect(json);
    (filter, by_libseccomp(&profile).expect(json))
}

#[test]
fn what_is_newer_than_the_profile_gets_enosys() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": ["getpid", "gettid"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    let last = number("gettid");
    assert_eq!(run(&filter, NATIVE, last, [0; 6]), ALLOW);
    assert_eq!(run(&filter, NATIVE, number("getppid"), [0; 6]), EPERM);
    assert_eq!(run(&filter, NATIVE, last + 1, [0; 6]), ENOSYS);
    assert_eq!(run(&filter, NATIVE, 100_000, [0; 6]), ENOSYS);
    // Nobody named these: as without the prologue.
    assert_eq!(run(&filter, 0x1234, last + 1, [0; 6]), libc::SECCOMP_RET_KILL_THREAD);
    assert_eq!(run(&filter, I386, last + 1, [0; 6]), libc::SECCOMP_RET_KILL_THREAD);
    if NATIVE == X86_64 {
        assert_eq!(run(&filter, X86_64, X32_BIT + last + 1, [0; 6]), libc::SECCOMP_RET_KILL_THREAD);
        assert_eq!(run(&filter, X86_64, X32_BIT - 1, [0; 6]), ENOSYS);
    }
}

#[test]
fn a_rule_of_any_action_names_a_system_call() {
    for rule in [
        r#""action": "SCMP_ACT_KILL""#,
        r#""action": "SCMP_ACT_ERRNO""#,
        r#""action": "SCMP_ACT_NOTIFY""#,
        r#""action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]"#,
    ] {
        let filter = compiled(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                {{"names": ["getpid"], "action": "SCMP_ACT_ALLOW"}}, {{"names": ["gettid", "no_such_call"], {rule}}}]}}"#
        ));
        let last = number("gettid");
        assert_eq!(run(&filter, NATIVE, number("getppid"), [0; 6]), EPERM, "{rule}");
        assert_ne!(run(&filter, NATIVE, last, [0; 6]), ENOSYS, "{rule}");
        assert_eq!(run(&filter, NATIVE, last + 1, [0; 6]), ENOSYS, "{rule}");
    }
}

#[test]
fn a_permissive_default_stays_as_it_is() {
    let cases: &[(&str, u32)] = &[
        (r#""SCMP_ACT_ALLOW""#, ALLOW),
        (r#""SCMP_ACT_LOG""#, libc::SECCOMP_RET_LOG),
        (r#""SCMP_ACT_TRACE""#, libc::SECCOMP_RET_TRACE | 1),
        (r#""SCMP_ACT_NOTIFY""#, libc::SECCOMP_RET_USER_NOTIF),
        (r#""SCMP_ACT_ERRNO", "defaultErrnoRet": 38"#, ENOSYS),
    ];
    for (default, expected) in cases {
        let json = format!(
            r#"{{"defaultAction": {default}, "syscalls": [{{"names": ["getpid"], "action": "SCMP_ACT_KILL"}}]}}"#
        );
        let filter = compiled(&json);
        assert_eq!(run(&filter, NATIVE, 5000, [0; 6]), *expected, "{default}");
    }
    for (default, expected) in [
        (r#""SCMP_ACT_KILL""#, libc::SECCOMP_RET_KILL_THREAD),
        (r#""SCMP_ACT_KILL_PROCESS", "defaultErrnoRet": 38"#, libc::SECCOMP_RET_KILL_PROCESS),
        (r#""SCMP_ACT_TRAP""#, libc::SECCOMP_RET_TRAP),
        (r#""SCMP_ACT_ERRNO", "defaultErrnoRet": 0"#, ERRNO),
    ] {
        let filter = compiled(&format!(
            r#"{{"defaultAction": {default}, "syscalls": [{{"names": ["getpid", "gettid"], "action": "SCMP_ACT_ALLOW"}}]}}"#
        ));
        assert_eq!(run(&filter, NATIVE, number("getppid"), [0; 6]), expected, "{default}");
        assert_eq!(run(&filter, NATIVE, 5000, [0; 6]), ENOSYS, "{default}");
    }
}

#[test]
fn a_profile_that_names_nothing_makes_nothing_newer() {
    for syscalls in ["", r#", "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_ALLOW"}]"#] {
        let filter = compiled(&format!(r#"{{"defaultAction": "SCMP_ACT_ERRNO"{syscalls}}}"#));
        assert_eq!(run(&filter, NATIVE, 5000, [0; 6]), EPERM);
    }
    // Only the 32-bit architecture has it.
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_NATIVE", "SCMP_ARCH_X86"],
            "syscalls": [{"names": ["waitpid"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    assert_eq!(run(&filter, NATIVE, 5000, [0; 6]), EPERM);
    assert_eq!(run(&filter, I386, 7, [0; 6]), ALLOW);
    assert_eq!(run(&filter, I386, 8, [0; 6]), ENOSYS);
}

#[test]
fn every_architecture_has_its_own_limit() {
    let template = |archs: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "architectures": [{archs}],
                "syscalls": [{{"names": ["prlimit64", "openat2"], "action": "SCMP_ACT_ALLOW"}}]}}"#
        )
    };
    let all: Vec<String> = ARCHS.iter().map(|(name, ..)| format!(r#""SCMP_ARCH_{name}""#)).collect();
    for archs in [all.join(", "), all.iter().rev().cloned().collect::<Vec<_>>().join(",")].iter().chain(&all)
    {
        let filter = compiled(&template(archs));
        for (name, arch, first) in ARCHS.iter().filter(|(name, ..)| archs.contains(&format!("_{name}\""))) {
            let verdict = |nr| run(&filter, audit_arch(*arch), nr, [0; 6]);
            let last = number_on("openat2", *arch);
            assert_eq!(last, first + 437, "{name}");
            assert_eq!(verdict(last), ALLOW, "{name}");
            assert_eq!(verdict(number_on("prlimit64", *arch)), ALLOW, "{name}");
            assert_eq!(verdict(number_on("getpid", *arch)), EPERM, "{name}");
            assert_eq!(verdict(last - 1), EPERM, "{name}");
            assert_eq!(verdict(last + 1), ENOSYS, "{name}");
            assert_eq!(verdict(first + 1000), ENOSYS, "{name}");
        }
    }
}

#[test]
fn x32_and_x86_64_share_an_architecture_but_no_numbers() {
    if NATIVE != X86_64 {
        eprintln!("skipped: x32 is x86's");
        return;
    }
    let verdicts = |archs: &str, name: &str| {
        let filter = compiled(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "architectures": [{archs}],
                "syscalls": [{{"names": ["{name}"], "action": "SCMP_ACT_ALLOW"}}]}}"#
        ));
        [38, 39, 40, X32_BIT - 1, X32_BIT + 38, X32_BIT + 39, X32_BIT + 40, u32::MAX]
            .map(|nr| run(&filter, X86_64, nr, [0; 6]))
    };
    let kill = libc::SECCOMP_RET_KILL_THREAD;
    // libseccomp lets -1, a tracer's "skip", through to the default action.
    assert_eq!(
        verdicts(r#""SCMP_ARCH_X86_64""#, "getpid"),
        [EPERM, ALLOW, ENOSYS, ENOSYS, kill, kill, kill, EPERM]
    );
    for archs in [r#""SCMP_ARCH_X32""#, r#""SCMP_ARCH_X86_64", "SCMP_ARCH_X32""#] {
        assert_eq!(
            verdicts(archs, "getpid"),
            [EPERM, ALLOW, ENOSYS, ENOSYS, EPERM, ALLOW, ENOSYS, ENOSYS],
            "{archs}"
        );
    }
}

#[test]
fn multiplexed_calls_count_with_their_own_numbers() {
    // Both ways to them are allowed: socketcall (102) and socket (359), ipc (117) and shmget (395).
    for (name, last) in [("socket", 359), ("shmget", 395)] {
        let filter = compiled(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86"],
                "syscalls": [{{"names": ["{name}", "read"], "action": "SCMP_ACT_ALLOW"}}]}}"#
        ));
        assert_eq!(run(&filter, I386, last, [0; 6]), ALLOW, "{name}");
        assert_eq!(run(&filter, I386, last - 1, [0; 6]), EPERM, "{name}");
        assert_eq!(run(&filter, I386, last + 1, [0; 6]), ENOSYS, "{name}");
    }
}

#[test]
fn arms_private_calls_do_not_hide_what_is_newer() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_ARM"],
            "syscalls": [{"names": ["set_tls", "openat2"], "action": "SCMP_ACT_ALLOW"}]}"#,
    );
    let arm = audit_arch(ScmpArch::Arm);
    let set_tls = number_on("set_tls", ScmpArch::Arm);
    assert_eq!(set_tls, 0xf_0005);
    assert_eq!(run(&filter, arm, set_tls, [0; 6]), ALLOW);
    assert_eq!(run(&filter, arm, set_tls - 1, [0; 6]), EPERM);
    assert_eq!(run(&filter, arm, 437, [0; 6]), ALLOW);
    assert_eq!(run(&filter, arm, 438, [0; 6]), ENOSYS);
}

#[test]
fn dockers_profile_is_not_changed_for_what_it_knows() {
    let json = serde_json::to_string(&dockers_profile()).expect("JSON");
    let (with, without) = pair(&json);
    judge(&with, &without);
}

/// Only what has the default action may become ENOSYS, above all that has another, and all of that does.
fn judge(with: &Filter, without: &Filter) {
    for (name, arch, first) in ARCHS {
        let mut newer = false;
        for nr in (*first..first + 600).chain([first + 5000, first + 0xd_0000]) {
            let audit_arch = audit_arch(*arch);
            let (before, after) = (run(without, audit_arch, nr, [0; 6]), run(with, audit_arch, nr, [0; 6]));
            // libseccomp 2.5.4 has no names for these, which profiles allow.
            let is_x86_64 = matches!(arch, ScmpArch::X8664 | ScmpArch::X32);
            let unknown = nr - first > 450 || is_x86_64 && nr - first == 335;
            if after != before && !(unknown && after == ALLOW) {
                assert_eq!((before, after), (EPERM, ENOSYS), "{name} {nr}");
            }
            assert!(!newer || after == ENOSYS, "{name} {nr}");
            newer |= (before, after) == (EPERM, ENOSYS);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn only_the_default_action_becomes_enosys(
        numbers in proptest::collection::btree_set(0_i32..460, 0..80),
        archs in proptest::sample::subsequence(ARCHS.to_vec(), 0..ARCHS.len()),
        of in proptest::sample::select(vec![ScmpArch::X8664, ScmpArch::X86, ScmpArch::Aarch64]),
    ) {
        let names: Vec<String> =
            numbers.iter().filter_map(|nr| ScmpSyscall::from_raw_syscall(*nr).get_name_by_arch(of).ok()).collect();
        let tokens: Vec<String> = archs.iter().map(|(name, ..)| format!("SCMP_ARCH_{name}")).collect();
        let json = serde_json::json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "architectures": tokens,
            "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }],
        });
        let (with, without) = pair(&json.to_string());
        judge(&with, &without);
        for (arch_name, arch, first) in archs {
            let numbers = Abi::of(arch).expect("little-endian");
            let named: BTreeSet<u32> = names
                .iter()
                .filter_map(|name| ScmpSyscall::from_name_by_arch(name, arch).ok())
                .filter_map(|syscall| u32::try_from(syscall.as_raw_syscall()).ok())
                .filter(|nr| *nr <= numbers.last)
                .collect();
            for nr in named.last().into_iter().flat_map(|last| first..=*last) {
                let verdict = run(&with, numbers.audit_arch, nr, [0; 6]);
                prop_assert_eq!(verdict, run(&without, numbers.audit_arch, nr, [0; 6]), "{} {}", arch_name, nr);
                // Through socketcall and ipc, more may be allowed than is named.
                if named.contains(&nr) {
                    prop_assert_eq!(verdict, ALLOW, "{} {}", arch_name, nr);
                } else if !is_multiplexed(arch) {
                    prop_assert_eq!(verdict, EPERM, "{} {}", arch_name, nr);
                }
            }
        }
    }
}

/// Returns whether the architecture has `socketcall(2)` and `ipc(2)`.
fn is_multiplexed(arch: ScmpArch) -> bool {
    matches!(arch, ScmpArch::X86 | ScmpArch::Mipsel | ScmpArch::Ppc64Le)
}
