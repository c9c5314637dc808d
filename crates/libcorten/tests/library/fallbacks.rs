//! Older kernels, as far as they can be played: calls that they do not know fail here as there
//! (docs/kernel-features.md).
//!
//! The test starts itself again under a seccomp filter, which containers made there inherit.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::common::TestBundle;
use container_test::container_test;
use libcorten::{Bundle, CreateOptions, Exit, Runtime};
use libseccomp::{ScmpAction, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};

const OLD_KERNEL: &str = "CORTEN_TEST_OLD_KERNEL";
const EINVAL: i32 = 22;

/// `memfd_create` knows no mark for executables (before 6.3), and a detached mount cannot be copied (before
/// 6.15; seen by init's flags: of the thing itself, not of the tree).
fn play_old_kernel(which: &str) {
    let mut filter = ScmpFilterContext::new(ScmpAction::Allow).unwrap();
    let mut refuse = |name: &str, argument: u32, mask: u64, value: u64| {
        let compare = ScmpArgCompare::new(argument, ScmpCompareOp::MaskedEqual(mask), value);
        let call = ScmpSyscall::from_name(name).unwrap();
        filter.add_rule_conditional(ScmpAction::Errno(EINVAL), call, &[compare]).unwrap();
    };
    match which {
        "memfd" => {
            refuse("memfd_create", 1, 0x10, 0x10);
            refuse("memfd_create", 1, 0x8, 0x8);
        }
        "open_tree" => refuse("open_tree", 2, 0x9000, 0x1000),
        other => panic!("{other}"),
    }
    filter.load().unwrap();
}

/// Not a test by itself: makes a container in the test's bundle.
#[test]
fn on_an_old_kernel() {
    let Ok(value) = env::var(OLD_KERNEL) else { return };
    let (which, bundle) = value.split_once(' ').unwrap();
    play_old_kernel(which);
    let root = Path::new(bundle).parent().unwrap().join("state");
    let runtime = Runtime::new(root);
    let bundle = Bundle::open(bundle).unwrap();
    let container = runtime
        .run("old", &bundle, &CreateOptions::default())
        .unwrap_or_else(|error| panic!("{}", error.chain()));
    assert_eq!(container.wait().unwrap(), Exit::Code(0));
    container.delete(false).unwrap();
}

fn run_on(which: &str, test: &TestBundle) -> (bool, String) {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "fallbacks::on_an_old_kernel", "--nocapture"])
        .env(OLD_KERNEL, format!("{which} {}", test.write().path().display()))
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    test.assert_nothing_left(which);
    (output.status.success(), said)
}

#[container_test]
fn memfds_without_a_mark() {
    let (made, said) = run_on("memfd", &TestBundle::new(&["true"]));
    assert!(made, "{said}");
}

/// With one masked file and one masked directory the covers are attached themselves.
#[container_test]
fn covers_that_cannot_be_copied_are_attached() {
    let script = "test $(stat -c %t:%T /proc/keys) = 1:3 && test -z \"$(ls -A /sys/firmware)\"";
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["linux"]["maskedPaths"] = serde_json::json!(["/proc/keys", "/sys/firmware"]);
    let (made, said) = run_on("open_tree", &test);
    assert!(made, "{said}");
    // A kernel that does not even copy what is attached: an error, and never a path that is left uncovered.
    test.config["linux"]["maskedPaths"] =
        serde_json::json!(["/proc/keys", "/proc/timer_list", "/sys/firmware"]);
    let (made, said) = run_on("open_tree", &test);
    assert!(!made && said.contains("linux.maskedPaths[1]: open_tree"), "{said}");
}
