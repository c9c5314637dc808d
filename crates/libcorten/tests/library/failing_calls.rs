//! Kernel calls that fail, of the runtime and of init: what must be told is told, and nothing is left. `cargo
//! xtask faults` lets all of them fail, one after the other.
//!
//! The test starts itself again under a seccomp filter, which containers made there inherit.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::common::TestBundle;
use container_test::container_test;
use libcorten::lifecycle::foreground::{Signals, attach};
use libcorten::{Bundle, CgroupManager, CreateOptions, Runtime};
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};

const FAILING: &str = "CORTEN_TEST_FAILING_CALL";

/// Lets a call fail: those whose arguments, under these masks, have these values.
fn let_fail(which: &str) {
    let (name, errno, arguments): (_, _, &[(u32, u64, u64)]) = match which {
        // Of init, which has the host's quota.
        "a keyring" => ("keyctl", Errno::EDQUOT, &[]),
        // Init's first calls: the size of its program (of the fd itself; std wants `STATX_BTIME`, too),
        // `PR_SET_NAME`.
        "a look at the program" => ("statx", Errno::EIO, &[(2, u64::MAX, 0x1000), (3, 0xfff, 0x7ff)]),
        "a name" => ("prctl", Errno::EPERM, &[(0, u64::MAX, 15)]),
        "a message with an fd" => ("sendmsg", Errno::ENOBUFS, &[]),
        // `AT_SYMLINK_NOFOLLOW`: of a name in the state directory.
        "a look at the socket" => ("newfstatat", Errno::EIO, &[(3, u64::MAX, 0x100)]),
        // `P_PIDFD` with `WNOWAIT`.
        "a look at an end" => ("waitid", Errno::EIO, &[(0, u64::MAX, 3), (3, 0x0100_0000, 0x0100_0000)]),
        other => panic!("{other}"),
    };
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
    let compare = |&(argument, mask, value): &(u32, u64, u64)| {
        ScmpArgCompare::new(argument, ScmpCompareOp::MaskedEqual(mask), value)
    };
    let compares: Vec<_> = arguments.iter().map(compare).collect();
    let call = ScmpSyscall::from_name(name).unwrap();
    filter.add_rule_conditional(ScmpAction::Errno(errno as i32), call, &compares).unwrap();
    filter.load().unwrap();
}

/// Not a test by itself: makes a container in the test's bundle, and prints what comes of it.
#[test]
fn with_a_failing_call() {
    let Ok(value) = env::var(FAILING) else { return };
    let (bundle, which) = value.split_once(' ').unwrap();
    let signals = Signals::block_and_reap().unwrap();
    let_fail(which);
    let runtime = Runtime::new(Path::new(bundle).parent().unwrap().join("state"));
    let bundle = Bundle::open(bundle).unwrap();
    let cgroup_manager =
        if which == "a message with an fd" { CgroupManager::Disabled } else { CgroupManager::Cgroupfs };
    let options = CreateOptions { cgroup_manager, ..CreateOptions::default() };
    let waits = which == "a look at the socket";
    let made = if waits {
        runtime.create("failing", &bundle, &options)
    } else {
        runtime.run("failing", &bundle, &options)
    };
    let said = match made {
        Err(error) => format!("{} (hint: {:?})", error.chain(), error.hint()),
        Ok(container) => {
            let said = if waits {
                container.state().map(|state| state.status.to_string())
            } else {
                attach(&container, None, &signals).map(|end| format!("{end:?}"))
            };
            container.delete(true).unwrap();
            said.unwrap_or_else(|error| error.chain())
        }
    };
    // A child that nobody reaps keeps the PID namespace that it was in.
    assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD), "{said}");
    println!("said: {said}");
}

/// What comes of a container, and all that is written meanwhile.
fn when_fails(which: &str, test: &TestBundle) -> [String; 2] {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "failing_calls::with_a_failing_call", "--nocapture"])
        .env(FAILING, format!("{} {which}", test.write().path().display()))
        .output()
        .unwrap();
    let written =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{which}: {written}");
    test.assert_nothing_left(which);
    let said =
        written.lines().find_map(|line| line.split_once("said: ")).unwrap_or_else(|| panic!("{written}")).1;
    [said.to_owned(), written]
}

/// Every container has a keyring, which is its user's.
#[container_test]
fn a_quota_of_keys_that_is_used_up_has_a_hint() {
    let [said, _] = when_fails("a keyring", &TestBundle::new(&["true"]));
    assert!(said.contains("keyctl") && said.contains("disk quota exceeded"), "{said}");
    assert!(said.contains("kernel.keys.maxkeys") && said.contains("--no-new-keyring"), "{said}");
}

#[container_test]
fn what_init_fails_at_before_it_has_a_program_is_one_error() {
    for (which, wanted) in [
        ("a look at the program", "corten-init: fstat \"program\": input/output error"),
        ("a name", "corten-init: prctl \"program\": operation not permitted"),
    ] {
        let [said, written] = when_fails(which, &TestBundle::new(&["true"]));
        assert!(said.contains(wanted), "{said}");
        assert!(!written.contains("only the runtime starts this program"), "{written}");
    }
}

#[container_test]
fn a_clone_that_cannot_be_told_of_is_ended_and_reaped() {
    let mut test = TestBundle::new(&["true"]);
    test.map_ids();
    let [said, _] = when_fails("a message with an fd", &test);
    assert!(said.contains("sendmsg \"clone ") && said.contains("no buffer space available"), "{said}");
}

#[container_test]
fn a_container_of_which_it_cannot_be_seen_whether_it_waits_is_not_said_to_run() {
    let [said, _] = when_fails("a look at the socket", &TestBundle::new(&["true"]));
    assert!(said.starts_with("fstatat(") && said.ends_with("\"start.sock\"): input/output error"), "{said}");
}

#[container_test]
fn an_end_that_cannot_be_seen_now_is_not_lost() {
    let [said, _] = when_fails("a look at an end", &TestBundle::new(&["sh", "-c", "exit 7"]));
    assert_eq!(said, "Code(7)");
}
