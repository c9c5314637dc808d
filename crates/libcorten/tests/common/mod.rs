//! What tests with real containers share: bundles of a static busybox, and looking for leftovers.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests stop at what they do not expect, and say what they skip"
)]
#![allow(dead_code, unreachable_pub, reason = "shared by test programs, none of which uses all of it")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use procfs::process::{MountInfo, Process};
use serde_json::{Value, json};

/// Says why a test does nothing here; `cargo xtask test` collects these lines.
pub fn skip(reason: &str) {
    println!("skipped: {reason}");
}

/// Whether real containers can be made here; says why not.
pub fn can_make_containers() -> bool {
    let root = fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap_or(1);
    if root != 0 {
        skip("containers need root");
        return false;
    }
    if !Path::new("/bin/busybox").exists() {
        skip("no /bin/busybox (package busybox-static)");
        return false;
    }
    true
}

/// Waits until it is so, a minute at most: under emulation everything takes ten times as long.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The id of a user who is nobody else's on this machine: no account's and no other test's.
pub fn unique_user() -> u32 {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    1_000_000 + std::process::id() % 10_000 * 100 + COUNT.fetch_add(1, Ordering::Relaxed)
}

/// Copies a program by a process of its own: a fork by another test's thread at the same time would have an
/// fd that is open for writing, and whoever executes the copy then gets `ETXTBSY`.
pub fn copy_program(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp {from:?} {to:?}");
}

/// Where cgroups are mounted, v1 and v2.
pub fn cgroup_mounts() -> Vec<PathBuf> {
    let mounts = Process::myself().unwrap().mountinfo().unwrap();
    mounts
        .into_iter()
        .filter(|mount| ["cgroup", "cgroup2"].contains(&&*mount.fs_type))
        .map(|mount| mount.mount_point)
        .collect()
}

/// Root of the user namespaces of tests, on the host.
pub const MAPPED_ROOT: u32 = 100_000;

/// What a test is tried with, as `#[container_test]` takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The container is in the user namespace of the machine.
    Root,
    /// It has one of its own.
    UserNamespace,
}

impl Variant {
    /// Both are, wherever containers are.
    pub fn is_possible(self) -> bool {
        true
    }

    /// Whether ids inside are others than on the host.
    pub fn is_mapped(self) -> bool {
        self == Self::UserNamespace
    }

    /// Changes the config to this variant. What is in the rootfs by then belongs to the container's root.
    pub fn apply(self, test: &mut TestBundle) {
        if self.is_mapped() {
            test.map_ids();
        }
    }
}

/// A bundle in a temporary directory, with a state root beside it. Removed when dropped; nothing of a
/// container may be left then.
#[derive(Debug)]
pub struct TestBundle {
    directory: tempfile::TempDir,
    pub config: Value,
    pub id: String,
    /// Whether what is left of a container is looked for at the end.
    is_ours: bool,
}

impl TestBundle {
    /// A container in a user namespace, with hooks of all kinds and what else takes steps of its own.
    pub fn with_everything() -> Self {
        let mut test = Self::new(&["sleep", "1000"]);
        test.map_ids();
        let hook = json!([{ "path": "/bin/true" }]);
        test.config["hooks"] = json!({
            "prestart": hook, "createRuntime": hook, "createContainer": hook, "startContainer": hook, "poststart": hook,
            "poststop": hook,
        });
        test.config["process"]["oomScoreAdj"] = 10.into();
        test.config["process"]["ioPriority"] = json!({ "class": "IOPRIO_CLASS_BE", "priority": 7 });
        test.config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
        let namespaces = test.config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({ "type": "time" }));
        test.config["linux"]["timeOffsets"] = json!({ "boottime": { "secs": 1000 } });
        let tmpfs = json!({ "destination": "/tmp", "type": "tmpfs", "options": ["tmpcopyup"] });
        test.config["mounts"].as_array_mut().unwrap().push(tmpfs);
        test
    }

    /// A bundle that runs `args` with the default config.
    pub fn new(args: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("corten-test-").tempdir().unwrap();
        let bin = directory.path().join("bundle/rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        for name in ["etc", "tmp"] {
            fs::create_dir(directory.path().join("bundle/rootfs").join(name)).unwrap();
        }
        copy_program("/bin/busybox".as_ref(), &bin.join("busybox"));
        for applet in [
            "cat", "chmod", "echo", "env", "false", "grep", "head", "hostname", "id", "kill", "ls", "mkdir",
            "mknod", "mount", "ps", "pwd", "readlink", "sh", "sleep", "stat", "stty", "touch", "true", "tty",
            "umount", "wc",
        ] {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let id = unique("test");
        let mut bundle = Self { directory, config: default_config(), id, is_ours: true };
        bundle.config["process"]["args"] = json!(args);
        bundle.config["linux"]["cgroupsPath"] = json!(format!("/{}", bundle.id));
        bundle
    }

    /// A bundle for other runtimes, too: what those leave is nobody's business here.
    pub fn of_any_runtime(mut self) -> Self {
        self.is_ours = false;
        self
    }

    /// The same with the config that Docker writes.
    pub fn docker(args: &[&str]) -> Self {
        let mut bundle = Self::new(args);
        bundle.config = serde_json::from_str(include_str!("../data/docker-config.json")).unwrap();
        bundle.config["process"]["args"] = json!(args);
        bundle.config["linux"]["cgroupsPath"] = json!(format!("/{}", bundle.id));
        bundle
    }

    /// Puts the container into a user namespace of its own, whose root is 100000 on the host and owns the
    /// rootfs.
    pub fn map_ids(&mut self) {
        let maps = json!([{ "containerID": 0, "hostID": MAPPED_ROOT, "size": 65536 }]);
        self.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": "user" }));
        self.config["linux"]["uidMappings"] = maps.clone();
        self.config["linux"]["gidMappings"] = maps;
        self.own_rootfs(MAPPED_ROOT);
    }

    /// Gives the rootfs to a user, who may also pass through the directories above.
    pub fn own_rootfs(&self, id: u32) {
        fn give(path: &Path, id: u32) {
            std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
            if path.is_dir() && !path.is_symlink() {
                for entry in fs::read_dir(path).unwrap() {
                    give(&entry.unwrap().path(), id);
                }
            }
        }
        give(&self.rootfs(), id);
        for directory in [self.directory.path(), &self.path()] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(directory, mode).unwrap();
        }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("bundle")
    }

    pub fn rootfs(&self) -> PathBuf {
        self.path().join("rootfs")
    }

    pub fn state_root(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// A path beside the bundle.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes config.json as it is now.
    pub fn write(&self) -> &Self {
        fs::write(self.path().join("config.json"), serde_json::to_vec_pretty(&self.config).unwrap()).unwrap();
        self
    }

    /// Asserts that nothing of the container is on the host.
    pub fn assert_nothing_left(&self, what: &str) {
        let ids: Vec<_> = match fs::read_dir(self.state_root()) {
            Ok(entries) => {
                entries.map(|entry| entry.unwrap().file_name()).filter(|name| name != "@seccomp").collect()
            }
            Err(_) => Vec::new(),
        };
        assert!(ids.is_empty(), "{what}: state is left: {ids:?}");
        for mount_point in cgroup_mounts() {
            let cgroup = mount_point.join(&self.id);
            assert!(!cgroup.exists(), "{what}: {cgroup:?} is left");
        }
        let mounts = Process::myself().unwrap().mountinfo().unwrap();
        // Be it a mount point, what is mounted, or a word of a filesystem's options.
        let path = self.directory.path().to_str().unwrap();
        let is_ours = |mount: &MountInfo| format!("{mount:?}").contains(path);
        let left: Vec<_> = mounts.into_iter().filter(is_ours).collect();
        assert!(left.is_empty(), "{what}: mounts are left: {left:?}");
        // A killed init may take a moment to be reaped by whoever is its parent now.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        loop {
            let pids = self.processes();
            if pids.is_empty() {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{what}: processes {pids:?} are left");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Waits until a program of this name runs in the container.
    pub fn wait_for_program(&self, name: &str) {
        let is_named = |pid: &String| {
            fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
        };
        until(&format!("no {name} runs"), || self.processes().iter().any(is_named));
    }

    /// The processes in cgroups of this test's containers: a process keeps its cgroup to the end, even one
    /// that has been removed. Zombies count if they are this process's to reap; those of a runtime that has
    /// ended are their new parent's.
    pub fn processes(&self) -> Vec<String> {
        let (exact, longer) = (format!("/{}", self.id), format!("/{}-", self.id));
        let is_ours = |line: &str| {
            let line = line.trim_end_matches(" (deleted)");
            line.ends_with(&exact) || line.contains(&longer)
        };
        let own = format!("PPid:\t{}", std::process::id());
        let counts = |pid: &String| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            !status.contains("\nState:\tZ") || status.lines().any(|line| line == own)
        };
        let ours = |pid: &String| {
            fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|text| text.lines().any(is_ours))
        };
        let entries = fs::read_dir("/proc").unwrap().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.parse::<i32>().is_ok()).filter(ours).filter(counts).collect()
    }
}

impl Drop for TestBundle {
    fn drop(&mut self) {
        if self.is_ours && !std::thread::panicking() {
            self.assert_nothing_left("at the end");
        }
    }
}

/// What `corten spec` writes, without terminal.
pub fn default_config() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["true"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "corten",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
              "options": ["nosuid", "noexec", "nodev", "relatime", "ro"] },
        ],
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
                { "type": "cgroup" },
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}
