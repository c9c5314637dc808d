//! Mounts, masked paths and devices as they are seen from inside: in mountinfo, by stat, by writes that fail.
//!
//! What a test needs of the host's mounts it makes in a mount namespace of its own, in which the runtime is
//! started. Errors are asked for their config item and for the kernel's words.

mod copies;
mod devices;
mod hidden;
mod host;
mod kernel;
mod locked;
mod mapped_ids;
mod options;
mod places;
mod propagation;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::common::{CORTEN, TestBundle, Variant, one_error, run, skip, stdout};
use container_test::container_test;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use procfs::process::{MountInfo, MountOptFields};
use serde_json::{Value, json};

// What a container is asked, and what it answers

/// Prints the mount table.
const TABLE: &str = "cat /proc/self/mountinfo";
/// Names of the options of a superblock that belong to the kernel, not to the filesystem.
const SUPERBLOCK: [&str; 6] = ["ro", "rw", "sync", "dirsync", "mand", "lazytime"];

/// A bundle that runs a script as root with the capabilities that a script may need, on a writable root.
fn script(script: &str) -> TestBundle {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["root"]["readonly"] = false.into();
    let all = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "MKNOD", "SETUID", "SETGID", "SYS_ADMIN"]
        .map(|name| format!("CAP_{name}"));
    for set in ["bounding", "effective", "permitted"] {
        test.config["process"]["capabilities"][set] = json!(all);
    }
    test
}

fn mount(test: &mut TestBundle, mount: Value) {
    test.config["mounts"].as_array_mut().unwrap().push(mount);
}

fn bind(test: &mut TestBundle, source: &Path, destination: &str, options: &[&str]) {
    let options: Vec<&str> =
        if options.contains(&"rbind") { options.to_vec() } else { [&["bind"], options].concat() };
    mount(test, json!({ "destination": destination, "source": source, "options": options }));
}

fn tmpfs(test: &mut TestBundle, destination: &str, options: &[&str]) {
    mount(
        test,
        json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs", "options": options }),
    );
}

/// The position of the last mount, as errors name it.
fn last(test: &TestBundle) -> String {
    format!("mounts[{}]", test.config["mounts"].as_array().unwrap().len() - 1)
}

/// What a container printed, whatever it ended with.
fn stdout_of_failed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

/// Runs the container after a script of the host, in a mount namespace of its own. `$1` is the directory
/// beside the bundle.
fn run_after(test: &TestBundle, host: &str) -> Output {
    run_in(test, host, &["--mount", "--propagation", "private"], &[])
}

/// The same in other namespaces, and with more words for the runtime.
fn run_in(test: &TestBundle, host: &str, namespaces: &[&str], words: &[&str]) -> Output {
    let script = format!("cd \"$1\"; {host}\nshift; exec \"$@\"");
    let mut command = Command::new("unshare");
    command
        .args(namespaces)
        .args(["sh", "-euc", &script, "sh"])
        .arg(test.beside(""))
        .arg(CORTEN)
        .arg("--root")
        .arg(test.state_root());
    command
        .arg("run")
        .args(words)
        .arg("--bundle")
        .arg(test.write().path())
        .arg(&test.id)
        .stdin(Stdio::null());
    command.output().unwrap()
}

/// What a container that succeeded printed.
fn answer(output: &Output) -> String {
    stdout(output).trim_end().to_owned()
}

/// What a container that must not be made is refused with; nothing of it may be left.
fn refused(test: &TestBundle, output: &Output) -> String {
    let error = one_error(output);
    test.assert_nothing_left(&error);
    error
}

/// A line of mountinfo, to be compared with words.
#[derive(Debug)]
struct Mount {
    root: String,
    point: String,
    /// Options of the mount, without the superblock's.
    options: BTreeSet<String>,
    /// `shared`, `master`, `unbindable`, without their numbers.
    propagation: BTreeSet<String>,
    fstype: String,
    source: String,
    superblock: BTreeSet<String>,
}

impl From<MountInfo> for Mount {
    fn from(info: MountInfo) -> Self {
        let words = |options: HashMap<String, Option<String>>| {
            let word = |(name, value)| match value {
                Some(value) => format!("{name}={value}"),
                None => name,
            };
            options.into_iter().map(word).collect()
        };
        let propagation = |field: &MountOptFields| match field {
            MountOptFields::Shared(_) => "shared",
            MountOptFields::Master(_) => "master",
            MountOptFields::PropagateFrom(_) => "propagate_from",
            MountOptFields::Unbindable => "unbindable",
        };
        Self {
            root: info.root,
            point: info.mount_point.to_str().unwrap().to_owned(),
            options: words(info.mount_options),
            propagation: info.opt_fields.iter().map(|field| propagation(field).to_owned()).collect(),
            fstype: info.fs_type,
            source: info.mount_source.unwrap_or_else(|| "none".to_owned()),
            superblock: words(info.super_options),
        }
    }
}

fn set(words: &str) -> BTreeSet<String> {
    words.split([' ', ',']).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn mounts(text: &str) -> Vec<Mount> {
    // Among what else a container prints.
    let lines =
        text.lines().filter(|line| line.contains(" - ")).filter_map(|line| MountInfo::from_line(line).ok());
    lines.map(Mount::from).collect()
}

/// The mount at a point, the uppermost if there are several.
#[track_caller]
fn at<'a>(mounts: &'a [Mount], point: &str) -> &'a Mount {
    mounts
        .iter()
        .rev()
        .find(|mount| mount.point == point)
        .unwrap_or_else(|| panic!("nothing at {point}: {mounts:#?}"))
}

fn words(text: &str) -> Vec<&str> {
    text.split(' ').filter(|word| !word.is_empty()).collect()
}

/// Options, and the propagation of a copy of a shared tree with one submount: of the tree's root, and of the
/// submount.
const PROPAGATION: [(&str, &str); 10] = [
    ("", "master/master"),
    ("private", "/master"),
    ("rprivate", "/"),
    ("slave", "master/master"),
    ("rslave", "master/master"),
    ("shared", "shared master/master"),
    ("rshared", "shared master/shared master"),
    ("unbindable", "unbindable/master"),
    ("runbindable", "unbindable/unbindable"),
    ("rprivate shared", "shared/"),
];

/// Runs a container beside a script of the host, both at once, and returns what both print.
fn beside(test: &TestBundle, before: &str, meanwhile: &str) -> String {
    let script = format!("cd \"$1\"; {before}\nshift; \"$@\" > out & {meanwhile}\nwait $!; cat out");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-euc", &script, "sh"])
        .arg(test.beside(""))
        .arg(CORTEN);
    command
        .arg("--root")
        .arg(test.state_root())
        .arg("run")
        .arg("--bundle")
        .arg(test.write().path())
        .arg(&test.id);
    answer(&command.stdin(Stdio::null()).output().unwrap())
}

fn owner(path: &Path) -> (u32, u32) {
    let found = fs::symlink_metadata(path).unwrap();
    (found.uid(), found.gid())
}
