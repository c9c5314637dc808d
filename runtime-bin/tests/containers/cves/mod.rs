//! Known attacks on container runtimes, one test for each, by CVE number.
//!
//! "The host" of a test is a directory beside the bundle with marker files: it is listed before and after,
//! and so are the kernel values that such attacks are after. What was fixed in one runtime is tried here
//! whichever it was, and in every way that a container comes about (`common/ways.rs`); what is refused by
//! words alone is tried in one. CVE-2019-5736 is in `inside.rs`, beside the other views of `/proc/PID/exe`;
//! mounts that are added to a container that runs are in `attacks/`.

mod cgroups;
mod devices;
mod fds;
mod proc;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::common::exchange::Exchange;
use crate::common::stops::run_and_stop_after_look;
use crate::common::ways::{Way, open_to_all};
use crate::common::{self, TestBundle, corten, one_error, run, skip};
use container_test::container_test;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

/// Kernel values that belong to the host and that attacks try to write.
const KERNEL_VALUES: [&str; 9] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/msgmax",
    "/proc/sys/kernel/shm_rmid_forced",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv4/ip_default_ttl",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/fs/mqueue/msg_max",
];
/// How long a race is run in each way, and with how many containers at least and at most.
const RACE_TIME: Duration = Duration::from_millis(800);
const RACE_CONTAINERS: std::ops::Range<u32> = 8..40;
/// What an error may begin with: an item of the config, or what every container has by the spec.
const ITEMS: [&str; 7] =
    ["mounts[", "process.", "linux.", "root.", "hostname", "default devices", "default links"];
/// What runc, too, puts before an error of init.
const DURING_INIT: &str = "unable to start container process: error during container init: ";

/// The host, as far as the test goes.
struct Host {
    directory: PathBuf,
    before: (BTreeMap<PathBuf, String>, Vec<String>),
}

impl Host {
    /// Makes the markers beside the bundle.
    fn new(test: &TestBundle) -> Self {
        let directory = test.beside("host");
        fs::create_dir_all(directory.join("directory/deeper")).unwrap();
        for name in ["file", "null", "ptmx", "console", "resolv.conf", "hosts", "directory/file"] {
            fs::write(directory.join(name), format!("the host's {name}")).unwrap();
        }
        symlink("file", directory.join("link")).unwrap();
        open_to_all(&directory);
        let before = Self::look(&directory);
        Self { directory, before }
    }

    fn look(directory: &Path) -> (BTreeMap<PathBuf, String>, Vec<String>) {
        let mut found = BTreeMap::new();
        list(directory, &mut found);
        let values = KERNEL_VALUES.map(|path| fs::read_to_string(path).unwrap_or_default());
        (found, values.into())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Asserts that nothing has changed on the host and that nothing of the container is left.
    fn assert_untouched(&self, test: &TestBundle, what: &str) {
        assert_eq!(Self::look(&self.directory), self.before, "{what}: the host has changed");
        test.assert_nothing_left(what);
    }
}

/// Everything below a directory: type, mode, owner, device number, content or target.
fn list(directory: &Path, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let kind = meta.file_type();
        let inside = if kind.is_symlink() {
            format!("{:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
        } else {
            assert!(kind.is_dir() || kind.is_char_device() || kind.is_block_device() || kind.is_fifo());
            String::new()
        };
        found.insert(
            path.clone(),
            format!("{:o} {}:{} {:x} {inside}", meta.mode(), meta.uid(), meta.gid(), meta.rdev()),
        );
        if kind.is_dir() {
            list(&path, found);
        }
    }
}

/// Makes containers in a way while names change places. Each succeeds, and then `judge` sees its output, or
/// ends with one error that names an item of the config; returns the errors.
fn race(
    way: Way,
    test: &TestBundle,
    host: &Host,
    what: &str,
    exchanged: (&Path, &Path),
    judge: impl Fn(&str),
) -> Vec<String> {
    let (prepared, mut succeeded, mut errors) = (way.prepare(test), 0, BTreeMap::<String, u32>::new());
    let _exchange = Exchange::of(exchanged.0, exchanged.1);
    let end = Instant::now() + RACE_TIME;
    for nth in 0..RACE_CONTAINERS.end {
        if Instant::now() > end && nth >= RACE_CONTAINERS.start {
            break;
        }
        let output = prepared.run();
        if output.status.success() {
            succeeded += 1;
            judge(&String::from_utf8_lossy(&output.stdout));
        } else {
            *errors.entry(item_error(&output)).or_default() += 1;
        }
        assert_eq!(Host::look(&host.directory), host.before, "{what}, {way:?}: the host has changed");
    }
    println!("{what}, {way:?}: {succeeded} succeeded, failed: {errors:#?}");
    errors.into_keys().collect()
}

/// The one error of a failed container, which must name an item of the config.
fn item_error(output: &Output) -> String {
    let error = one_error(output);
    let error = error.strip_prefix("corten run failed: ").unwrap_or_else(|| panic!("{error}"));
    let error = error.strip_prefix(DURING_INIT).unwrap_or(error).to_owned();
    assert!(ITEMS.iter().any(|item| error.starts_with(item)), "{error}");
    assert!(error.len() < 9000, "an error of {} bytes", error.len());
    error
}

fn refused(test: &TestBundle, way: Way) -> String {
    item_error(&way.run(test))
}

/// stdout of a container that must succeed, whatever it complained about: it tries what must fail.
fn heard(test: &TestBundle, way: Way) -> String {
    let output = way.run(test);
    assert!(output.status.success(), "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A bundle with a writable root that runs a script, and its host.
fn attack(script: &str) -> (TestBundle, Host) {
    let mut test = TestBundle::new(&["sh", "-c", script]);
    test.config["root"]["readonly"] = false.into();
    let host = Host::new(&test);
    (test, host)
}

fn push(test: &mut TestBundle, mount: Value) {
    test.config["mounts"].as_array_mut().unwrap().push(mount);
}

/// Leaves out the mounts on these paths and below.
fn without_mounts(test: &mut TestBundle, path: &str) {
    let below =
        |mount: &Value| mount["destination"].as_str().is_some_and(|at| Path::new(at).starts_with(path));
    test.config["mounts"].as_array_mut().unwrap().retain(|mount| !below(mount));
}

/// A path of the host as it would be inside the rootfs, made there as a directory: so a link to the host
/// leads somewhere.
fn twin_in_rootfs(test: &TestBundle, of: &Path) -> PathBuf {
    let twin = test.rootfs().join(of.strip_prefix("/").unwrap());
    fs::create_dir_all(&twin).unwrap();
    twin
}
