//! Attacks that have no number: an image, or another container, exchanges what init is about to open.

mod home;
mod joining;
mod stdio;
mod ways;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::exchange::Exchange;
use crate::common::stops::run_and_stop_after;
use crate::common::ways::{Way, open_to_all};
use crate::common::{self, MAPPED_ROOT, TestBundle, corten, create, run, skip, state, stdout, succeed};
use container_test::container_test;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

/// How long a race is run.
const RACE_TIME: Duration = Duration::from_secs(3);

/// Makes a device node that everybody may open.
fn device(path: &Path, minor: u64) {
    mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, minor)).unwrap();
}

/// A directory with a null device, and beside it a device of the host's that no container may open
/// (`/dev/kmsg`).
fn fill(dev: &Path) {
    fs::create_dir_all(dev).unwrap();
    device(&dev.join("null"), 3);
    device(&dev.join("other"), 11);
}

/// A bundle whose `/dev` comes with the image.
fn with_images_dev(script: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["mounts"]
        .as_array_mut()
        .unwrap()
        .retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    test.config["root"]["readonly"] = false.into();
    test
}

/// Makes containers while the null device changes places with another one; their stdin must always be a null
/// device.
fn race_on_null(test: &TestBundle, dev: &Path) {
    let _exchange = Exchange::of(&dev.join("null"), &dev.join("other"));
    let end = Instant::now() + RACE_TIME;
    while Instant::now() < end {
        let output = run(test);
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "1:3\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

const WHAT_IS_STDIN: &str = "stat -L -c %t:%T /proc/self/fd/0";

/// The words that a file of the kernel shows, as a line of passwd: reading it shows in `HOME`.
const LINE: &str = "a:b:0:0:c:/stolen:d";
const KERNEL_FILE: &str = "/proc/sys/kernel/hostname";

fn shows_home(before: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", &format!("{before} echo $HOME")]);
    test.config["hostname"] = LINE.into();
    test.config["root"]["readonly"] = false.into();
    test
}

/// A bundle in which a link of the image puts a volume at `/dev`, and the volume: the volume is mounted
/// through the link, or the link leads into the volume.
fn with_volume_at_dev(is_link: bool, script: &str) -> (TestBundle, PathBuf) {
    let mut test = with_images_dev(script);
    let volume = test.beside("volume");
    fs::create_dir(&volume).unwrap();
    if is_link {
        symlink("/data", test.rootfs().join("dev")).unwrap();
    } else {
        fs::create_dir(test.rootfs().join("dev")).unwrap();
        symlink("/dev", test.rootfs().join("data")).unwrap();
    }
    let mount = json!({ "destination": "/data", "source": volume, "options": ["bind"] });
    test.config["mounts"].as_array_mut().unwrap().push(mount);
    (test, volume)
}
