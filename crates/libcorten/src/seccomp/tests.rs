//! Profiles, and the filters that are made of them.

use std::io::{Read, Seek};

use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::sys::memfd::{MFdFlags, memfd_create};
use oci_spec::runtime::Spec;

use super::*;

pub(super) const X86_64: u32 = 0xc000_003e;
const AARCH64: u32 = 0xc000_00b7;
pub(super) const I386: u32 = 0x4000_0003;

pub(super) const NATIVE: u32 = if cfg!(target_arch = "x86_64") { X86_64 } else { AARCH64 };

pub(super) const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
pub(super) const ERRNO: u32 = libc::SECCOMP_RET_ERRNO;

pub(crate) fn dockers_profile() -> LinuxSeccomp {
    let spec: Spec =
        serde_json::from_slice(include_bytes!("../../tests/data/docker-config.json")).expect("JSON");
    spec.linux().as_ref().and_then(|linux| linux.seccomp().clone()).expect("a profile")
}

pub(super) fn profile(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect(json)
}

pub(super) fn compiled(json: &str) -> Filter {
    compile(&profile(json), CompileOptions::default()).expect(json)
}

pub(super) fn number(name: &str) -> u32 {
    let syscall = ScmpSyscall::from_name(name).expect(name);
    u32::try_from(syscall.as_raw_syscall()).expect(name)
}

/// Runs the program as the kernel does, on a `struct seccomp_data`.
pub(super) fn run(filter: &Filter, arch: u32, nr: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(nr.to_ne_bytes());
    data.extend(arch.to_ne_bytes());
    data.extend(0x1000_u64.to_ne_bytes());
    args.iter().for_each(|arg| data.extend(arg.to_ne_bytes()));

    let (program, rest) = filter.program.as_chunks::<INSTRUCTION_BYTES>();
    assert!(rest.is_empty());
    let mut accumulator = 0_u32;
    let mut at = 0;
    loop {
        let [c0, c1, if_true, if_false, k0, k1, k2, k3] = program[at];
        let k = u32::from_ne_bytes([k0, k1, k2, k3]);
        at += 1;
        let jump = |taken: bool| usize::from(if taken { if_true } else { if_false });
        match u16::from_ne_bytes([c0, c1]) {
            0x20 => {
                let from = usize::try_from(k).expect("an offset");
                accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().expect("a word"));
            }
            0x05 => at += usize::try_from(k).expect("a jump"),
            0x15 => at += jump(accumulator == k),
            0x25 => at += jump(accumulator > k),
            0x35 => at += jump(accumulator >= k),
            0x45 => at += jump(accumulator & k != 0),
            0x54 => accumulator &= k,
            0x06 => return k,
            code => panic!("instruction {code:#x}"),
        }
    }
}

/// What libseccomp makes of a profile, as runc asks it to. `None` if it does not take a rule.
pub(super) fn by_libseccomp(profile: &LinuxSeccomp) -> Option<Filter> {
    let returned = |action, value| answer(action, value, String::new).expect("a value");
    let default = returned(profile.default_action(), profile.default_errno_ret());
    let rules = rules(profile, CompileOptions::default()).expect("rules");
    let mut filter = ScmpFilterContext::new(scmp_action(default)).expect("a filter");
    for arch in profile.architectures().iter().flatten() {
        filter.add_arch(libseccomp_arch(*arch)).expect("an architecture");
    }
    if rules.len() > 32 {
        filter.set_ctl_optimize(2).expect("a tree");
    }
    for Rule { name, answer, comparisons, .. } in rules.iter().filter(|rule| rule.answer != default) {
        let Ok(syscall) = ScmpSyscall::from_name(name) else { continue };
        let comparisons: Vec<ScmpArgCompare> = comparisons.iter().map(scmp_comparison).collect();
        filter.add_rule_conditional(scmp_action(*answer), syscall, &comparisons).ok()?;
    }
    let memfd = memfd_create(c"filter", MFdFlags::MFD_CLOEXEC).expect("a memfd");
    filter.export_bpf(&memfd).expect("a program");
    let mut file = std::fs::File::from(memfd);
    let mut program = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut program)).expect("read");
    Some(Filter { flags: flags(profile), program, notify: notifies(profile) })
}

fn scmp_action(answer: u32) -> ScmpAction {
    let data = answer & libc::SECCOMP_RET_DATA;
    match answer & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_ALLOW => ScmpAction::Allow,
        libc::SECCOMP_RET_ERRNO => ScmpAction::Errno(data.cast_signed()),
        libc::SECCOMP_RET_KILL_THREAD => ScmpAction::KillThread,
        libc::SECCOMP_RET_KILL_PROCESS => ScmpAction::KillProcess,
        libc::SECCOMP_RET_LOG => ScmpAction::Log,
        other => panic!("{other:#x}"),
    }
}

fn scmp_comparison(comparison: &Comparison) -> ScmpArgCompare {
    let operator = match comparison.operator {
        Operator::Equal if comparison.mask != u64::MAX => ScmpCompareOp::MaskedEqual(comparison.mask),
        Operator::Equal => ScmpCompareOp::Equal,
        Operator::NotEqual => ScmpCompareOp::NotEqual,
        Operator::Less => ScmpCompareOp::Less,
        Operator::LessOrEqual => ScmpCompareOp::LessOrEqual,
        Operator::Greater => ScmpCompareOp::Greater,
        Operator::GreaterEqual => ScmpCompareOp::GreaterEqual,
    };
    ScmpArgCompare::new(comparison.argument, operator, comparison.value)
}

pub(super) fn run_native(filter: &Filter, name: &str, args: [u64; 6]) -> u32 {
    run(filter, NATIVE, number(name), args)
}

/// Podman's rules for sockets, which on x86 are those of another call.
#[test]
fn a_rule_for_all_of_a_call_is_stronger_than_others_in_any_order() {
    let all = r#"{ "names": ["socketcall"], "action": "SCMP_ACT_ALLOW" }"#;
    let some = r#"
        { "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22, "args": [
            { "index": 0, "value": 16, "op": "SCMP_CMP_EQ" }, { "index": 2, "value": 9, "op": "SCMP_CMP_EQ" }] },
        { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 2, "value": 9, "op": "SCMP_CMP_NE" }] },
        { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 0, "value": 16, "op": "SCMP_CMP_NE" }] },
        { "names": ["socket"], "action": "SCMP_ACT_ALLOW", "args": [{ "index": 2, "value": 9, "op": "SCMP_CMP_NE" }] }"#;
    let profile = |rules: &str| {
        let json = format!(
            r#"{{ "defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": [{rules}] }}"#
        );
        self::profile(&json)
    };
    for rules in [[all, some].join(","), [some, all].join(",")] {
        let filter = compile(&profile(&rules), CompileOptions::default()).expect("Podman's rules");
        assert_eq!(run(&filter, X86_64, 41, [16, 3, 9, 0, 0, 0]), ERRNO | 22);
        assert_eq!(run(&filter, X86_64, 41, [2, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(&filter, I386, 102, [1, 1, 0, 0, 0, 0]), ALLOW);
        assert_eq!(run(&filter, I386, 359, [16, 3, 9, 0, 0, 0]), ERRNO | 22);
    }
    // socketcall's arguments are elsewhere, so that there the rules for socket speak of the same.
    let error = compile(&profile(some), CompileOptions::default()).expect_err("a contradiction").to_string();
    assert_eq!(error, r#"linux.seccomp.syscalls[2]: the rule for "socket" contradicts an earlier one"#);
}

#[test]
fn dockers_profile_says_what_docker_means() {
    let filter = compile(&dockers_profile(), CompileOptions::default()).expect("docker's profile");
    let eperm = ERRNO | 1;
    let cases: &[(&str, [u64; 6], u32)] = &[
        ("read", [0; 6], ALLOW),
        ("write", [1, 2, 3, 4, 5, 6], ALLOW),
        ("execve", [0; 6], ALLOW),
        ("openat2", [0; 6], ALLOW),
        ("mount", [0; 6], eperm),
        ("reboot", [0; 6], eperm),
        ("kexec_load", [0; 6], eperm),
        ("init_module", [0; 6], eperm),
        ("clone3", [0; 6], ERRNO | 38),
        // CLONE_NEWUSER among the flags is refused, CLONE_VM is not.
        ("clone", [0x1000_0000, 0, 0, 0, 0, 0], eperm),
        ("clone", [0x100, 0, 0, 0, 0, 0], ALLOW),
        ("personality", [0, 0, 0, 0, 0, 0], ALLOW),
        ("personality", [8, 0, 0, 0, 0, 0], ALLOW),
        ("personality", [0xffff_ffff, 0, 0, 0, 0, 0], ALLOW),
        ("personality", [7, 0, 0, 0, 0, 0], eperm),
        ("socket", [40, 0, 0, 0, 0, 0], eperm),
        ("socket", [2, 0, 0, 0, 0, 0], ALLOW),
    ];
    for (name, args, expected) in cases {
        assert_eq!(run_native(&filter, name, *args), *expected, "{name} {args:x?}");
    }
    // Newer than the profile.
    assert_eq!(run(&filter, NATIVE, 5000, [0; 6]), ERRNO | 38);
    // An architecture that nobody named is killed.
    assert_eq!(run(&filter, 0x1234, number("read"), [0; 6]), libc::SECCOMP_RET_KILL_THREAD);
    assert_eq!((filter.flags, filter.notify), (libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, false));
    if NATIVE == X86_64 {
        // read is 3 on i386; mount is 21.
        assert_eq!(run(&filter, I386, 3, [0; 6]), ALLOW);
        assert_eq!(run(&filter, I386, 21, [0; 6]), eperm);
    }
}

#[test]
fn every_action() {
    let cases: &[(&str, u32)] = &[
        (r#""SCMP_ACT_KILL""#, libc::SECCOMP_RET_KILL_THREAD),
        (r#""SCMP_ACT_KILL_THREAD""#, libc::SECCOMP_RET_KILL_THREAD),
        (r#""SCMP_ACT_KILL_PROCESS""#, libc::SECCOMP_RET_KILL_PROCESS),
        (r#""SCMP_ACT_TRAP""#, libc::SECCOMP_RET_TRAP),
        (r#""SCMP_ACT_LOG""#, libc::SECCOMP_RET_LOG),
        (r#""SCMP_ACT_ERRNO""#, ERRNO | 1),
        (r#""SCMP_ACT_ERRNO", "errnoRet": 0"#, ERRNO),
        (r#""SCMP_ACT_ERRNO", "errnoRet": 38"#, ERRNO | 38),
        (r#""SCMP_ACT_ERRNO", "errnoRet": 4094"#, ERRNO | 4094),
        (r#""SCMP_ACT_TRACE""#, libc::SECCOMP_RET_TRACE | 1),
        (r#""SCMP_ACT_TRACE", "errnoRet": 65535"#, libc::SECCOMP_RET_TRACE | 0xffff),
        (r#""SCMP_ACT_NOTIFY""#, libc::SECCOMP_RET_USER_NOTIF),
        (r#""SCMP_ACT_NOTIFY", "errnoRet": 99999"#, libc::SECCOMP_RET_USER_NOTIF),
        // A rule that says what is the default anyway, with a value that means nothing for it.
        (r#""SCMP_ACT_ALLOW", "errnoRet": 99999"#, ALLOW),
    ];
    for (action, expected) in cases {
        let filter = compiled(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["getpid"], "action": {action}}}]}}"#
        ));
        assert_eq!(run_native(&filter, "getpid", [0; 6]), *expected, "{action}");
        assert_eq!(run_native(&filter, "getppid", [0; 6]), ALLOW, "{action}");
        assert_eq!(filter.notify, *expected == libc::SECCOMP_RET_USER_NOTIF, "{action}");

        let default = action.replace("errnoRet", "defaultErrnoRet");
        let filter = compiled(&format!(
            r#"{{"defaultAction": {default}, "syscalls": [{{"names": ["getpid", "gettid"], "action": "SCMP_ACT_ALLOW"}}]}}"#
        ));
        assert_eq!(run_native(&filter, "getpid", [0; 6]), ALLOW, "{default}");
        assert_eq!(run_native(&filter, "getppid", [0; 6]), *expected, "{default}");
    }
}

#[test]
fn every_operator() {
    const BIG: u64 = 0x1_0000_0005;
    let cases: &[(&str, u64, &[u64], &[u64])] = &[
        ("SCMP_CMP_NE", BIG, &[5, BIG + 1, 0], &[BIG]),
        ("SCMP_CMP_LT", BIG, &[0, 5, BIG - 1], &[BIG, BIG + 1, u64::MAX]),
        ("SCMP_CMP_LE", BIG, &[0, 5, BIG - 1, BIG], &[BIG + 1, u64::MAX]),
        ("SCMP_CMP_EQ", BIG, &[BIG], &[5, BIG + 1, 0]),
        ("SCMP_CMP_GE", BIG, &[BIG, BIG + 1, u64::MAX], &[0, 5, BIG - 1]),
        ("SCMP_CMP_GT", BIG, &[BIG + 1, u64::MAX], &[0, 5, BIG - 1, BIG]),
        // valueTwo is 4: of the mask 0x…05, only bit 2 may be left.
        ("SCMP_CMP_MASKED_EQ", BIG, &[4, 6, 0xf_0000_0000 - (1 << 32) + 4], &[5, BIG, 0, 0x1_0000_0004]),
    ];
    for (op, value, hits, misses) in cases {
        for index in 0..6 {
            let filter = compiled(&format!(
                r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["getpid"], "action": "SCMP_ACT_ERRNO",
                   "args": [{{"index": {index}, "value": {value}, "valueTwo": 4, "op": "{op}"}}]}}]}}"#
            ));
            let found = |value: u64| {
                let mut args = [0x7777; 6];
                args[index] = value;
                run_native(&filter, "getpid", args)
            };
            hits.iter().for_each(|hit| assert_eq!(found(*hit), ERRNO | 1, "{op} {index} {hit:#x}"));
            misses.iter().for_each(|miss| assert_eq!(found(*miss), ALLOW, "{op} {index} {miss:#x}"));
        }
    }
}

#[test]
fn comparisons_of_different_arguments_must_all_hold_of_one_argument_any() {
    let with = |second: usize| {
        compiled(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["getpid"], "action": "SCMP_ACT_ERRNO",
               "args": [{{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}},
                        {{"index": {second}, "value": 2, "op": "SCMP_CMP_EQ"}}]}}]}}"#
        ))
    };
    let both = with(1);
    assert_eq!(run_native(&both, "getpid", [1, 2, 0, 0, 0, 0]), ERRNO | 1);
    assert_eq!(run_native(&both, "getpid", [1, 3, 0, 0, 0, 0]), ALLOW);
    let any = with(0);
    assert_eq!(run_native(&any, "getpid", [1, 0, 0, 0, 0, 0]), ERRNO | 1);
    assert_eq!(run_native(&any, "getpid", [2, 0, 0, 0, 0, 0]), ERRNO | 1);
    assert_eq!(run_native(&any, "getpid", [3, 0, 0, 0, 0, 0]), ALLOW);
}

#[test]
fn unknown_names_and_repetitions_do_no_harm() {
    let long = "x".repeat(1 << 20);
    let filter = compiled(&format!(
        r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {{"names": ["getpid", "getpid", "no_such_call", "{long}", "a\u0000b"], "action": "SCMP_ACT_ALLOW"}},
            {{"names": ["getpid"], "action": "SCMP_ACT_ALLOW"}},
            {{"names": ["getpid", "getppid"], "action": "SCMP_ACT_ERRNO"}}]}}"#
    ));
    assert_eq!(run_native(&filter, "getpid", [0; 6]), ALLOW);
    assert_eq!(run_native(&filter, "getppid", [0; 6]), ERRNO | 1);
    // No rule is left at all.
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["nope"], "action": "SCMP_ACT_TRAP"}]}"#,
    );
    assert_eq!(run_native(&filter, "getpid", [0; 6]), libc::SECCOMP_RET_LOG);
}

#[test]
fn many_names_are_told_apart() {
    let names: Vec<String> = (0..300)
        .filter_map(|nr| ScmpSyscall::from_raw_syscall(nr).get_name().ok())
        .filter(|name| ScmpSyscall::from_name(name).is_ok())
        .collect();
    for (step, count) in [(1, 250), (2, 120), (3, 80), (7, 30), (40, 5)] {
        let named: Vec<&String> = names.iter().step_by(step).take(count).collect();
        let list = serde_json::to_string(&named).expect("names");
        let filter = compiled(&format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{{"names": {list}, "action": "SCMP_ACT_ALLOW"}}]}}"#
        ));
        let last_named = named.iter().map(|name| number(name)).max();
        for name in &names {
            let newer = Some(number(name)) > last_named;
            let expected = if named.contains(&name) { ALLOW } else { ERRNO | if newer { 38 } else { 1 } };
            assert_eq!(run_native(&filter, name, [0; 6]), expected, "{name} of every {step}th");
        }
    }
}

#[test]
fn every_architecture_of_the_spec_compiles() {
    let names = [
        "NATIVE",
        "X86",
        "X86_64",
        "X32",
        "ARM",
        "AARCH64",
        "MIPSEL",
        "MIPSEL64",
        "MIPSEL64N32",
        "PPC64LE",
        "RISCV64",
        "LOONGARCH64",
    ];
    for name in names {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_{name}"],
               "syscalls": [{{"names": ["getpid", "socket"], "action": "SCMP_ACT_ALLOW"}}]}}"#
        );
        match compile(&profile(&json), CompileOptions::default()) {
            // The native architecture is always there.
            Ok(filter) => assert_eq!(run_native(&filter, "getpid", [0; 6]), ALLOW, "{name}"),
            // libseccomp before 2.6 does not know it.
            Err(error) => {
                assert_eq!(name, "LOONGARCH64", "{error:?}");
                assert!(error.to_string().contains("libseccomp does not know it"), "{error}");
            }
        }
    }
    // Of the other byte order: libseccomp makes no filter of both.
    let big_endian = profile(r#"{"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_S390X"]}"#);
    let error = compile(&big_endian, CompileOptions::default()).expect_err("big endian");
    assert!(
        error.to_string().starts_with("linux.seccomp.architectures: SCMP_ARCH_S390X cannot be filtered"),
        "{error}"
    );
}

#[test]
fn flags_follow_runc() {
    let cases: &[(&str, u64)] = &[
        ("", libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        (r#", "flags": []"#, 0),
        (r#", "flags": ["SECCOMP_FILTER_FLAG_TSYNC"]"#, 0),
        (r#", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]"#, 0),
        (r#", "flags": ["SECCOMP_FILTER_FLAG_LOG"]"#, libc::SECCOMP_FILTER_FLAG_LOG),
        (
            r#", "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]"#,
            libc::SECCOMP_FILTER_FLAG_LOG | libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        ),
    ];
    for (json, expected) in cases {
        let filter = compiled(&format!(r#"{{"defaultAction": "SCMP_ACT_ALLOW"{json}}}"#));
        assert_eq!(filter.flags, *expected, "{json}");
    }
    // Only with a listener, without which the kernel takes it for an error.
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ALLOW",
            "flags": ["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
            "syscalls": [{"names": ["getpid"], "action": "SCMP_ACT_NOTIFY"}]}"#,
    );
    assert_eq!((filter.flags, filter.notify), (libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, true));
}

#[test]
fn notify_goes_by_arguments_too() {
    let filter = compiled(
        r#"{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["getpid", "gettid"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mkdirat"], "action": "SCMP_ACT_NOTIFY",
             "args": [{"index": 2, "value": 511, "op": "SCMP_CMP_EQ"}]}]}"#,
    );
    assert!(filter.notify);
    assert_eq!(run_native(&filter, "mkdirat", [0, 0, 511, 0, 0, 0]), libc::SECCOMP_RET_USER_NOTIF);
    assert_eq!(run_native(&filter, "mkdirat", [0; 6]), ERRNO | 1);
    assert_eq!(run_native(&filter, "gettid", [0; 6]), ALLOW);
}

#[test]
fn an_unknown_name_is_an_error_if_asked_for() {
    let options = CompileOptions { fail_unknown: true };
    // Of the default action's rules, too; the name of another architecture's call is known.
    for action in ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO"] {
        let json = format!(
            r#"{{"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
                {{"names": ["getpid", "set_tls", "socketcall"], "action": "SCMP_ACT_ALLOW"}},
                {{"names": ["getpid", "getpid", "no_such_call"], "action": "{action}"}}]}}"#
        );
        assert!(compile(&profile(&json), CompileOptions::default()).is_ok());
        let error = compile(&profile(&json), options).expect_err(action);
        assert_eq!(
            error.to_string(),
            r#"linux.seccomp.syscalls[1].names[2]: no system call is known as "no_such_call""#
        );
        let known = profile(&json.replace("no_such_call", "getppid"));
        assert_eq!(compile(&known, options).ok(), compile(&known, CompileOptions::default()).ok());
    }
}

#[test]
fn a_raw_program_is_taken_as_it_is() {
    let program = compiled(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).program;
    let filter = from_raw(&BASE64_STANDARD.encode(&program)).expect("a program");
    let expected = Filter { flags: libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW, program, notify: false };
    assert_eq!(filter, expected);
    let longest = BASE64_STANDARD.encode(vec![0; INSTRUCTIONS_MAX * INSTRUCTION_BYTES]);
    assert_eq!(from_raw(&longest).expect("a program").program.len(), 1 << 15);

    let field = r#"annotations["run.oci.seccomp_bpf_data"]"#;
    for length in [0, 1, 7, 9, 12, (INSTRUCTIONS_MAX + 1) * INSTRUCTION_BYTES] {
        let error = from_raw(&BASE64_STANDARD.encode(vec![0; length])).expect_err("a bad length");
        let message = format!("{field}: must be 1 to 4096 instructions of 8 bytes, found {length} bytes");
        assert_eq!(error.to_string(), message);
    }
    for text in ["/tmp/seccomp.bpf", "BgAAAAAA/38", "BgAAAAAA/38=\n", "BgAA AAAA/38=", "BgAAAAAA_38="] {
        let error = from_raw(text).expect_err(text);
        assert_eq!(error.to_string(), format!("{field}: not base64"));
    }
    assert_eq!(from_raw("BgAAAAAA/38=").expect("one instruction").program, [6, 0, 0, 0, 0, 0, 0xff, 0x7f]);
}

#[test]
fn errors_name_the_field() {
    let rule = |rest: &str| {
        format!(
            r#"{{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{{"names": ["getpid"], "action": {rest}}}]}}"#
        )
    };
    let cases: &[(String, &str)] = &[
        (
            rule(r#""SCMP_ACT_ERRNO", "errnoRet": 4095"#),
            "linux.seccomp.syscalls[0].errnoRet: must be at most 4094, found 4095",
        ),
        (
            rule(r#""SCMP_ACT_TRACE", "errnoRet": 65536"#),
            "linux.seccomp.syscalls[0].errnoRet: must be at most 65535, found 65536",
        ),
        (
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4294967295}"#.into(),
            "linux.seccomp.defaultErrnoRet: must be at most 4094, found 4294967295",
        ),
        (
            rule(r#""SCMP_ACT_ERRNO", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]"#),
            "linux.seccomp.syscalls[0].args[0].index: must be at most 5, found 6",
        ),
    ];
    for (json, message) in cases {
        let error = compile(&profile(json), CompileOptions::default()).expect_err(json);
        assert_eq!(error.to_string(), *message);
    }
}

#[test]
fn contradictions_and_long_programs_are_refused() {
    // Two things at once for one argument.
    let args = r#""args": [{"index": 0, "value": 7, "op": "SCMP_CMP_EQ"}]"#;
    let json = format!(
        r#"{{"defaultAction": "SCMP_ACT_LOG", "syscalls": [
            {{"names": ["gettid"], "action": "SCMP_ACT_ALLOW"}},
            {{"names": ["getpid"], "action": "SCMP_ACT_ALLOW", {args}}},
            {{"names": ["getppid", "getpid"], "action": "SCMP_ACT_ERRNO", {args}}}]}}"#
    );
    let error = compile(&profile(&json), CompileOptions::default()).expect_err(&json);
    let message = "linux.seccomp.syscalls[2]: the rule for \"getpid\" contradicts an earlier one";
    assert_eq!(error.to_string(), message);

    let error =
        compile(&many_rules(4_200, 1, "SCMP_CMP_EQ"), CompileOptions::default()).expect_err("a long program");
    let SeccompError::TooLong { found } = &error else { panic!("{error}") };
    assert!(*found > INSTRUCTIONS_MAX);
    let message =
        format!("linux.seccomp.syscalls: {found} instructions are more than the kernel's limit of 4096");
    assert_eq!(error.to_string(), message);
}

/// So many rules with so many arguments each, for many system calls of three architectures.
fn many_rules(count: usize, args: usize, op: &str) -> LinuxSeccomp {
    let names: Vec<String> =
        (0..300).map(|nr| ScmpSyscall::from_raw_syscall(nr).get_name().expect("a name")).collect();
    let rule = |at: usize| {
        let arg = |index: usize| serde_json::json!({ "index": index, "value": at * (index + 1), "op": op });
        let args: Vec<_> = (0..args).map(arg).collect();
        serde_json::json!({ "names": [names[at % names.len()]], "action": "SCMP_ACT_ERRNO", "errnoRet": at % 100, "args": args })
    };
    let profile = serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": (0..count).map(rule).collect::<Vec<_>>(),
    });
    self::profile(&profile.to_string())
}

/// libseccomp takes half a minute for 3,000 such rules, and longer than anybody waits for some of these. What
/// is counted is what is written, which is what takes the time.
#[test]
fn what_is_written_grows_with_the_rules_and_no_faster() {
    let written = |count, args, op| {
        let profile = many_rules(count, args, op);
        let (rules, abis) = (rules(&profile, CompileOptions::default()), abis(&profile));
        decisions::program(&rules.expect("rules"), &abis.expect("architectures"), ALLOW)
            .expect("a program")
            .len()
    };
    for op in ["SCMP_CMP_EQ", "SCMP_CMP_GT", "SCMP_CMP_NE"] {
        for args in [1, 6] {
            let (some, many) = (written(300, args, op), written(3_000, args, op));
            assert!(many < 11 * some, "{op} of {args}: {some} and {many} bytes");
            assert!(many < 3_000 * args * 3 * 8 * 6, "{op} of {args}: {many} bytes");
        }
    }
    // Nothing is worked out twice, however long it is.
    let error = compile(&many_rules(10_000, 6, "SCMP_CMP_NE"), CompileOptions::default())
        .expect_err("a long program");
    assert!(matches!(error, SeccompError::TooLong { .. }), "{error}");
}

/// What libseccomp makes that the kernel takes, is taken here.
#[test]
fn programs_are_no_longer_than_those_of_libseccomp() {
    let shortened = |count: usize, args| {
        let mut profile = many_rules(count, args, "SCMP_CMP_EQ");
        profile.set_architectures(None);
        profile
    };
    for profile in
        [dockers_profile(), shortened(100, 1), shortened(600, 1), shortened(200, 2), shortened(60, 6)]
    {
        let ours = compile(&profile, CompileOptions::default()).expect("a filter").program.len();
        let libseccomp = by_libseccomp(&profile).expect("a filter").program.len();
        assert!(ours <= libseccomp, "{ours} and {libseccomp} bytes");
    }
}
