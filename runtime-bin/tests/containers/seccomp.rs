//! Seccomp filters (`linux.seccomp`), seen by a program that makes the calls.

use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::{self, TestBundle, Variant, corten, one_error, run, skip, stdout, succeed};
use container_test::container_test;
use nix::libc;
use serde_json::{Value, json};

/// `syscall native|i386|thread NUMBER [ARGUMENT…]` prints `done`, `errno N`, or which call SIGSYS came for.
const PROGRAM: &str = r#"
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long a[6];

static long native(long number) {
#if defined(__x86_64__)
    register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
    long result;
    __asm__ volatile("syscall" : "=a"(result)
        : "0"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
    return result;
#else
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a[0], x1 __asm__("x1") = a[1], x2 __asm__("x2") = a[2];
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
    return x0;
#endif
}

static long i386(long number) {
    long result = -1;
#if defined(__x86_64__)
    __asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a[0]), "c"(a[1]), "d"(a[2])
        : "r8", "r9", "r10", "r11", "memory");
    result = (int)result;
#endif
    return result;
}

static void *thread(void *number) {
    native((long)number);
    return 0;
}

static void trapped(int signal, siginfo_t *info, void *context) {
    dprintf(1, "SIGSYS for %d, errno %d\n", info->si_syscall, info->si_errno);
    _Exit(0);
}

int main(int count, char **words) {
    long number = atol(words[2]);
    for (int at = 3; at < count && at < 9; at++) a[at - 3] = strtoul(words[at], 0, 0);
    struct sigaction action = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };
    sigaction(SIGSYS, &action, 0);
    if (!strcmp(words[1], "thread")) {
        pthread_t one;
        pthread_create(&one, 0, thread, (void *)number);
        pthread_join(one, 0);
        dprintf(1, "the other thread lives\n");
        return 0;
    }
    long result = !strcmp(words[1], "i386") ? i386(number) : native(number);
    result < 0 && result > -4096 ? dprintf(1, "errno %ld\n", -result) : dprintf(1, "done\n");
    return 0;
}
"#;

/// 128 + SIGSYS.
const KILLED: i32 = 159;

/// The program, made once; `None`, with a word about it, where that cannot be.
fn program() -> Option<&'static PathBuf> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    MADE.get_or_init(|| common::compile("corten-test-syscall", PROGRAM)).as_ref()
}

/// A bundle that runs a script under a profile, with `syscall` in its path.
fn bundle(profile: Value, script: &str) -> Option<TestBundle> {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    fs::copy(program()?, test.rootfs().join("bin/syscall")).unwrap();
    test.config["linux"]["seccomp"] = profile;
    Some(test)
}

/// A profile that allows all but some calls.
fn all_but(rules: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules })
}

/// Makes a call under a profile: of root without `noNewPrivileges`, and in a user namespace with.
fn call(profile: &Value, words: &str, check: impl Fn(&Output)) {
    for (mapped, no_new_privileges) in [(false, false), (true, true)] {
        let Some(mut test) = bundle(profile.clone(), "") else { return };
        // Without a shell, which makes calls of its own.
        test.config["process"]["args"] = ["syscall"].into_iter().chain(words.split(' ')).collect();
        test.config["process"]["noNewPrivileges"] = no_new_privileges.into();
        if mapped {
            test.map_ids();
        }
        check(&run(&test));
        test.assert_nothing_left(words);
    }
}

fn prints(expected: &str) -> impl Fn(&Output) {
    let expected = format!("{expected}\n");
    move |output| assert_eq!(stdout(output), expected)
}

fn dies(output: &Output) {
    assert_eq!(output.status.code(), Some(KILLED), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[container_test]
fn every_action() {
    let getppid = libc::SYS_getppid;
    let native = format!("native {getppid}");
    let rule = |action: &str| all_but(json!([{ "names": ["getppid"], "action": action }]));
    call(&rule("SCMP_ACT_ALLOW"), &native, prints("done"));
    call(&rule("SCMP_ACT_LOG"), &native, prints("done"));
    call(&rule("SCMP_ACT_ERRNO"), &native, prints("errno 1"));
    // Nobody traces.
    call(&rule("SCMP_ACT_TRACE"), &native, prints("errno 38"));
    let trap = all_but(json!([{ "names": ["getppid"], "action": "SCMP_ACT_TRAP", "errnoRet": 9 }]));
    call(&trap, &native, |output| {
        let seen = stdout(output);
        assert!(seen.starts_with(&format!("SIGSYS for {getppid}, ")), "{seen}");
    });
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
        // A handler does not help.
        call(&rule(action), &native, dies);
    }
    let thread = format!("thread {getppid}");
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"] {
        call(&rule(action), &thread, prints("the other thread lives"));
    }
    call(&rule("SCMP_ACT_KILL_PROCESS"), &thread, dies);
}

#[container_test]
fn errnos_of_a_rule_and_of_the_default() {
    let native = format!("native {}", libc::SYS_getppid);
    for errno in [0, 77, 4094] {
        let profile =
            all_but(json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": errno }]));
        let expected = if errno == 0 { "done".to_owned() } else { format!("errno {errno}") };
        call(&profile, &native, prints(&expected));
    }
    // Everything else is in the list: numbers up to the largest that a name is given to.
    let mut profile = allow_list(&[]);
    profile["defaultErrnoRet"] = 77.into();
    call(&profile, &native, prints("errno 77"));
    for (key, value) in [("defaultErrnoRet", 5000), ("defaultErrnoRet", 4095)] {
        let mut profile = allow_list(&[]);
        profile[key] = value.into();
        let Some(test) = bundle(profile, "true") else { return };
        let error = one_error(&run(&test));
        assert!(error.contains("linux.seccomp.defaultErrnoRet"), "{error}");
        test.assert_nothing_left("errno");
    }
}

/// A profile that refuses all but what the shell and the program need, and some more. `capset` and `prctl`
/// are for init, which has to drop its privileges under the filter if there is no `noNewPrivileges`; with
/// runc, too, a profile must allow them.
fn allow_list(more: &[&str]) -> Value {
    let mut names = vec![
        "access",
        "arch_prctl",
        "brk",
        "capset",
        "close",
        "dup",
        "dup2",
        "dup3",
        "execve",
        "exit",
        "exit_group",
        "fcntl",
        "fstat",
        "futex",
        "getcwd",
        "getegid",
        "geteuid",
        "getgid",
        "getpid",
        "getrandom",
        "getuid",
        "ioctl",
        "lseek",
        "lstat",
        "madvise",
        "mmap",
        "mprotect",
        "munmap",
        "newfstatat",
        "openat",
        "prctl",
        "prlimit64",
        "read",
        "readlink",
        "readlinkat",
        "rseq",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "set_robust_list",
        "set_tid_address",
        "stat",
        "statx",
        "time",
        "uname",
        "wait4",
        "write",
    ];
    names.extend(more);
    json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "names": names, "action": "SCMP_ACT_ALLOW" }] })
}

/// runc: a C library falls back to an older call on ENOSYS, but not on EPERM.
#[container_test]
fn calls_newer_than_the_profile_do_not_exist() {
    const ENOSYS: &str = "errno 38";
    const EPERM: &str = "errno 1";
    // kcmp, number 312 of x86_64 and 272 of aarch64, is below rseq, which is named; the others are above.
    let kcmp = libc::SYS_kcmp;
    for (more, number, expected) in [
        (&[][..], kcmp, EPERM),
        (&[], libc::SYS_getppid, EPERM),
        (&[], libc::SYS_statx + 120, ENOSYS),
        (&[], 999, ENOSYS),
        (&[], libc::SYS_clone3, ENOSYS),
        (&["faccessat2"], libc::SYS_clone3, EPERM),
        (&["faccessat2"], libc::SYS_faccessat2, "errno 14"),
        (&["faccessat2"], 999, ENOSYS),
        (&["faccessat2", "no_such_call"], 999, ENOSYS),
    ] {
        call(&allow_list(more), &format!("native {number}"), prints(expected));
    }
    // A default that lets calls through, or says ENOSYS itself, stays what it is; one that kills does not
    // kill for these.
    let mut profile = allow_list(&[]);
    profile["defaultErrnoRet"] = 38.into();
    call(&profile, &format!("native {kcmp}"), prints(ENOSYS));
    profile = allow_list(&[]);
    profile["defaultAction"] = "SCMP_ACT_KILL_PROCESS".into();
    call(&profile, &format!("native {kcmp}"), dies);
    call(&profile, "native 999", prints(ENOSYS));
    call(&all_but(json!([])), &format!("native {} 0 0 100", libc::SYS_kcmp), |output| drop(stdout(output)));
}

#[container_test]
fn every_operator() {
    let umask = libc::SYS_umask;
    let big = 1u64 << 32;
    let numbers = [0, 4, 5, 6, 0x12, 0x15, 0x22, big, big + 4, big + 5, u64::MAX];
    type Holds = fn(u64) -> bool;
    let cases: [(&str, u64, u64, Holds); 8] = [
        ("SCMP_CMP_EQ", 5, 0, |n| n == 5),
        ("SCMP_CMP_NE", 5, 0, |n| n != 5),
        ("SCMP_CMP_LT", 5, 0, |n| n < 5),
        ("SCMP_CMP_LE", 5, 0, |n| n <= 5),
        ("SCMP_CMP_GT", 5, 0, |n| n > 5),
        ("SCMP_CMP_GE", 5, 0, |n| n >= 5),
        ("SCMP_CMP_MASKED_EQ", 0xf0, 0x10, |n| n & 0xf0 == 0x10),
        ("SCMP_CMP_GE", (1 << 32) + 5, 0, |n| n >= (1 << 32) + 5),
    ];
    for (op, value, two, holds) in cases {
        let args = json!([{ "index": 0, "value": value, "valueTwo": two, "op": op }]);
        let rule = json!({ "names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args });
        let script: String =
            numbers.iter().map(|number| format!("syscall native {umask} {number};")).collect();
        let Some(test) = bundle(all_but(json!([rule])), &script) else { return };
        let expected = numbers.map(|number| if holds(number) { "errno 77\n" } else { "done\n" }).concat();
        assert_eq!(stdout(&run(&test)), expected, "{op} {value}");
    }
}

#[container_test]
fn comparisons_of_several_arguments() {
    let getpriority = libc::SYS_getpriority;
    let compare = |index: u32, value: u32| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" });
    for (args, expected) in [
        // All must hold.
        (json!([compare(0, 0), compare(1, 0)]), ["errno 77", "done", "done", "done"]),
        // runc: of one argument compared twice, either.
        (json!([compare(1, 0), compare(1, 1)]), ["errno 77", "errno 77", "errno 77", "errno 77"]),
        (json!([compare(0, 1)]), ["done", "done", "errno 77", "errno 77"]),
    ] {
        let rule =
            json!({ "names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77, "args": args });
        let calls =
            ["0 0", "0 1", "1 0", "1 1"].map(|words| format!("syscall native {getpriority} {words};"));
        let Some(test) = bundle(all_but(json!([rule])), &calls.concat()) else { return };
        assert_eq!(stdout(&run(&test)).lines().collect::<Vec<_>>(), expected, "{args}");
    }
    let rule = json!({ "names": ["umask"], "action": "SCMP_ACT_ERRNO", "args": [compare(6, 0)] });
    let Some(test) = bundle(all_but(json!([rule])), "true") else { return };
    let error = one_error(&run(&test));
    assert!(error.contains("linux.seccomp.syscalls[0].args[0].index"), "{error}");
}

#[container_test]
fn flags_are_taken() {
    let native = format!("native {}", libc::SYS_getppid);
    let rule = json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]);
    for flags in [
        json!([]),
        json!(["SECCOMP_FILTER_FLAG_LOG"]),
        json!(["SECCOMP_FILTER_FLAG_TSYNC"]),
        json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]),
        json!(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]),
        json!(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"]),
    ] {
        let mut profile = all_but(rule.clone());
        profile["flags"] = flags;
        call(&profile, &native, prints("errno 77"));
    }
    let mut profile = all_but(rule);
    profile["flags"] = json!(["SECCOMP_FILTER_FLAG_NOPE"]);
    let Some(test) = bundle(profile, "true") else { return };
    let error = one_error(&run(&test));
    assert!(error.contains("linux.seccomp.flags"), "{error}");
}

/// What the kernel says of a process's filter: its flags, of which it tells SECCOMP_FILTER_FLAG_LOG alone.
/// `None` where that may not be asked.
fn flags_of_filter(pid: libc::pid_t) -> Option<u64> {
    #[repr(C)]
    struct Metadata {
        filter_off: u64,
        flags: u64,
    }
    // ptrace(2); libc has no name for it.
    const SECCOMP_GET_METADATA: libc::c_uint = 0x420d;
    let mut metadata = Metadata { filter_off: 0, flags: 0 };
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the process is a container's and sleeps; no memory is passed.
    if unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) } != 0 {
        return None;
    }
    // SAFETY: as before.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, pid, none, none) }, 0);
    // SAFETY: nobody asks for the status.
    assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL) }, pid);
    // SAFETY: the structure has the size that is said and outlives the call.
    let got = unsafe { libc::ptrace(SECCOMP_GET_METADATA, pid, size_of::<Metadata>(), &raw mut metadata) };
    // SAFETY: as at first.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, none, none) }, 0);
    (got > 0).then_some(metadata.flags)
}

#[container_test(Root, UserNamespace)]
fn a_filter_that_logs(variant: Variant) {
    let mapped = variant.is_mapped();
    const LOG: u64 = libc::SECCOMP_FILTER_FLAG_LOG;
    for (flags, expected) in [
        (Value::Null, 0),
        (json!(["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]), 0),
        (json!(["SECCOMP_FILTER_FLAG_LOG"]), LOG),
        (json!(["SECCOMP_FILTER_FLAG_TSYNC", "SECCOMP_FILTER_FLAG_LOG"]), LOG),
    ] {
        let mut test = TestBundle::new(&["sleep", "1000"]);
        test.config["linux"]["seccomp"] = all_but(json!([]));
        if !flags.is_null() {
            test.config["linux"]["seccomp"]["flags"] = flags.clone();
        }
        variant.apply(&mut test);
        let path = test.write().path();
        let mut command = corten(&test, &["run", "-d", "-b", path.to_str().unwrap(), &test.id]);
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        let state: Value = serde_json::from_str(&succeed(&test, &["state", &test.id])).unwrap();
        let found = flags_of_filter(state["pid"].as_i64().unwrap().try_into().unwrap());
        succeed(&test, &["delete", "--force", &test.id]);
        test.assert_nothing_left("flags");
        let Some(found) = found else { return skip("the kernel does not tell the flags of filters") };
        assert_eq!(found, expected, "{flags}, user namespace: {mapped}");
    }
}

/// The other ways into an x86_64 kernel must not be ways around the filter.
#[container_test]
fn other_architectures() {
    if !cfg!(target_arch = "x86_64") {
        return skip("not x86_64");
    }
    // getppid, once more with the bit of x32, and as i386 counts.
    let (native, x32, i386) = ("native 110", format!("native {}", 0x4000_0000 + 110), "i386 64");
    let rule = json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]);
    let mut profile = all_but(rule.clone());
    call(&profile, native, prints("errno 77"));
    call(&profile, &x32, dies);
    call(&profile, i386, dies);
    profile["architectures"] = json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    for words in [native, &x32, i386] {
        call(&profile, words, prints("errno 77"));
    }
    // The native one need not be named.
    profile["architectures"] = json!(["SCMP_ARCH_X86"]);
    call(&profile, native, prints("errno 77"));
    call(&profile, i386, prints("errno 77"));
    call(&profile, &x32, dies);
    // What is newer, by each one's own numbers: rseq is 386 of i386.
    let mut profile = allow_list(&[]);
    profile["architectures"] = json!(["SCMP_ARCH_X86", "SCMP_ARCH_X32"]);
    for words in [x32.as_str(), "i386 64", "i386 349"] {
        call(&profile, words, prints("errno 1"));
    }
    for words in [format!("native {}", 0x4000_0000 + 999), "i386 999".to_owned()] {
        call(&profile, &words, prints("errno 38"));
    }
}

#[container_test]
fn names_that_nobody_knows() {
    let native = format!("native {}", libc::SYS_getppid);
    let names = json!(["no_such_call", "getppid", "neither_this"]);
    let profile = all_but(json!([{ "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]));
    // What was to be restricted and is not is said.
    let Some(test) = bundle(profile.clone(), &format!("syscall {native}")) else { return };
    let output = run(&test);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "errno 77\n");
    let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
    for name in ["no_such_call", "neither_this"] {
        let warning = format!("linux.seccomp.syscalls[0].names: \\\"{name}\\\" is not restricted");
        assert!(warnings.contains(&warning) || warnings.contains(&warning.replace('\\', "")), "{warnings}");
    }
    // What is not allowed anyway needs no rule.
    let allowed = allow_list(&["no_such_call"]);
    call(&allowed, &native, prints("errno 1"));
    for (value, fails) in [("1", true), ("true", true), ("0", false)] {
        let Some(mut test) = bundle(profile.clone(), &format!("syscall {native}")) else { return };
        test.config["annotations"] = json!({ "run.oci.seccomp_fail_unknown_syscall": value });
        let output = run(&test);
        if fails {
            let error = one_error(&output);
            assert!(
                error.contains("linux.seccomp.syscalls[0].names[0]") && error.contains("no_such_call"),
                "{error}"
            );
        } else {
            assert_eq!(String::from_utf8_lossy(&output.stdout), "errno 77\n");
        }
        test.assert_nothing_left(value);
    }
}

/// By libseccomp this takes half a minute, and the kernel refuses the program.
#[container_test]
fn thousands_of_rules_with_arguments() {
    let rule = |name: &str, value: u64| {
        json!({ "names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": 77,
            "args": [{ "index": 0, "value": value, "op": "SCMP_CMP_EQ" }] })
    };
    let getppid = format!("native {}", libc::SYS_getppid);
    let rules: Vec<Value> = (0..3_000).map(|value| rule("getppid", value)).collect();
    let mut profile = all_but(rules.into());
    profile["architectures"] = json!(["SCMP_ARCH_NATIVE"]);
    for (value, expected) in [(0, "errno 77"), (2_999, "errno 77"), (3_000, "done")] {
        call(&profile, &format!("{getppid} {value}"), prints(expected));
    }
    // For many system calls it is more than the kernel takes, with libseccomp, too.
    let names =
        ["getppid", "getpid", "gettid", "sync", "umask", "getpgid", "getsid", "dup", "close", "alarm"];
    let of = |value: u64| rule(names[usize::try_from(value % 10).unwrap()], value * 0x1_0000_0001);
    let profile = all_but((0..6_000).map(of).collect());
    let Some(test) = bundle(profile, &format!("syscall {getppid}")) else { return };
    let error = one_error(&run(&test));
    assert!(
        error.contains("linux.seccomp.syscalls: ") && error.ends_with("the kernel's limit of 4096"),
        "{error}"
    );
    test.assert_nothing_left("too many");
}

/// Whatever libseccomp knows.
#[container_test]
fn rules_for_calls_that_are_newer_than_libseccomp_are_in_force() {
    const LISTNS: &str = "native 470";
    let profile = all_but(json!([{ "names": ["listns"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77 }]));
    let Some(test) = bundle(profile, &format!("syscall {LISTNS}")) else { return };
    assert_eq!(stdout(&run(&test)), "errno 77\n");
}

#[container_test]
fn a_program_in_an_annotation() {
    if !cfg!(target_arch = "x86_64") {
        return skip("not x86_64");
    }
    // Load the number; is it 110? ERRNO 77 : ALLOW.
    const REFUSES_GETPPID: &str = "IAAAAAAAAAAVAAABbgAAAAYAAABNAAUABgAAAAAA/38=";
    for profile in
        [Value::Null, all_but(json!([{ "names": ["getppid"], "action": "SCMP_ACT_KILL_PROCESS" }]))]
    {
        for no_new_privileges in [false, true] {
            let Some(mut test) = bundle(profile.clone(), "syscall native 110; syscall native 102") else {
                return;
            };
            if profile.is_null() {
                test.config["linux"].as_object_mut().unwrap().remove("seccomp");
            }
            test.config["process"]["noNewPrivileges"] = no_new_privileges.into();
            test.config["annotations"] = json!({ "run.oci.seccomp_bpf_data": REFUSES_GETPPID });
            assert_eq!(stdout(&run(&test)), "errno 77\ndone\n");
        }
    }
    // Not base64; half an instruction; nothing; no end.
    for (data, call) in [("!", false), ("IAAA", false), ("", false), ("IAAAAAAAAAA=", true)] {
        let Some(mut test) = bundle(all_but(json!([])), "true") else { return };
        test.config["annotations"] = json!({ "run.oci.seccomp_bpf_data": data });
        let error = one_error(&run(&test));
        let words =
            if call { "linux.seccomp: seccomp: invalid argument" } else { "run.oci.seccomp_bpf_data" };
        assert!(error.contains(words), "{data}: {error}");
        test.assert_nothing_left(data);
    }
}

#[container_test]
fn the_filter_is_there_in_both_modes() {
    for no_new_privileges in [false, true] {
        for uid in [0, 1000] {
            let Some(mut test) = bundle(allow_list(&["poll"]), "") else { return };
            test.config["process"]["args"] = json!(["cat", "/proc/self/status"]);
            test.config["process"]["noNewPrivileges"] = no_new_privileges.into();
            test.config["process"]["user"]["uid"] = uid.into();
            let seen = stdout(&run(&test));
            let expected =
                format!("NoNewPrivs:\t{}\nSeccomp:\t2\nSeccomp_filters:\t1\n", u8::from(no_new_privileges));
            assert!(seen.contains(&expected), "{seen}");
        }
    }
    // What init still does under it fails by name.
    let mut profile = allow_list(&[]);
    profile["syscalls"][0]["names"].as_array_mut().unwrap().retain(|name| name != "capset");
    let Some(mut test) = bundle(profile, "echo here") else { return };
    test.config["process"]["noNewPrivileges"] = false.into();
    let error = one_error(&run(&test));
    assert!(error.ends_with("process.capabilities: capset: operation not permitted"), "{error}");
    test.assert_nothing_left("capset");
    test.config["process"]["noNewPrivileges"] = true.into();
    stdout(&run(&test));
}

/// Init cannot execute, cannot say so and cannot exit: it dies all the same, and nobody waits for it.
#[container_test]
fn a_filter_that_refuses_everything() {
    for action in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_TRACE"] {
        for no_new_privileges in [false, true] {
            let mut test = TestBundle::new(&["true"]);
            test.config["linux"]["seccomp"] = json!({ "defaultAction": action });
            test.config["process"]["noNewPrivileges"] = no_new_privileges.into();
            let start = Instant::now();
            let output = run(&test);
            assert!(!output.status.success(), "{output:?}");
            assert!(start.elapsed() < Duration::from_secs(30), "{action}: {:?}", start.elapsed());
            test.assert_nothing_left(action);
        }
    }
}
