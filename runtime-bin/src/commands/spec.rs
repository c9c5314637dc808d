//! `corten spec`: a config.json to start from, the same that `runc spec` writes.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use serde_json::{Value, json};

use crate::arguments::Spec;
use crate::{Failure, Outcome, output, reason};

pub(crate) fn run(options: &Spec) -> Outcome {
    let directory = options.bundle.as_deref().unwrap_or(Path::new("."));
    let path = directory.join(options.file.as_deref().unwrap_or(Path::new("config.json")));
    let mut document = default_config();
    if has_v2_alone()
        && let Some(namespaces) = document["linux"]["namespaces"].as_array_mut()
    {
        namespaces.push(json!({ "type": "cgroup" }));
    }
    if options.rootless {
        make_rootless(&mut document);
    }
    let mut open = OpenOptions::new();
    // Who names a file means it (crun).
    let open = if options.file.is_some() { open.create(true).truncate(true) } else { open.create_new(true) };
    let mut file = open.write(true).open(&path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::new("File config.json exists. Remove it first"),
        _ => Failure::new(format!("open {}: {}", path.display(), reason(&error))),
    })?;
    let text = output::json(&document, b"\t")?;
    file.write_all(text.as_bytes())
        .map_err(|error| Failure::new(format!("write {}: {}", path.display(), reason(&error))))?;
    Ok(0)
}

/// runc: beside hierarchies of v1, images and engines expect the host's cgroups.
fn has_v2_alone() -> bool {
    statfs("/sys/fs/cgroup").is_ok_and(|filesystem| filesystem.filesystem_type() == CGROUP2_SUPER_MAGIC)
}

fn default_config() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    json!({
        "ociVersion": libcorten::features::SPEC_VERSION,
        "process": {
            "terminal": true,
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
            },
            "rlimits": [{ "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024 }],
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": true },
        "hostname": "corten",
        "mounts": default_mounts(),
        "linux": {
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" },
                { "type": "network" },
                { "type": "ipc" },
                { "type": "uts" },
                { "type": "mount" },
            ],
            "maskedPaths": [
                "/proc/acpi",
                "/proc/asound",
                "/proc/kcore",
                "/proc/keys",
                "/proc/latency_stats",
                "/proc/timer_list",
                "/proc/timer_stats",
                "/proc/sched_debug",
                "/sys/firmware",
                "/proc/scsi",
            ],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

fn default_mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc" },
        {
            "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
            "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
        },
        {
            "destination": "/dev/pts", "type": "devpts", "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        },
        {
            "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
            "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
        },
        {
            "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
            "options": ["nosuid", "noexec", "nodev"],
        },
        {
            "destination": "/sys", "type": "sysfs", "source": "sysfs",
            "options": ["nosuid", "noexec", "nodev", "ro"],
        },
        {
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
        },
    ])
}

/// What changes for an ordinary user: a user namespace that maps the user to root, the host's network, and no
/// cgroups.
fn make_rootless(document: &mut Value) {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let Some(linux) = document.get_mut("linux").and_then(Value::as_object_mut) else { return };
    if let Some(namespaces) = linux.get_mut("namespaces").and_then(Value::as_array_mut) {
        namespaces.retain(|namespace| namespace["type"] != "network" && namespace["type"] != "user");
        namespaces.push(json!({ "type": "user" }));
    }
    linux.insert("uidMappings".to_owned(), json!([{ "containerID": 0, "hostID": uid, "size": 1 }]));
    linux.insert("gidMappings".to_owned(), json!([{ "containerID": 0, "hostID": gid, "size": 1 }]));
    linux.remove("resources");
    let Some(mounts) = document.get_mut("mounts").and_then(Value::as_array_mut) else { return };
    for mount in mounts.iter_mut() {
        if mount["destination"] == "/sys" {
            // sysfs shows the network namespace, and only its owner may mount it. In its place: mounts on it
            // come after it.
            *mount = json!({
                "destination": "/sys", "type": "none", "source": "/sys",
                "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
            });
        }
        if let Some(options) = mount.get_mut("options").and_then(Value::as_array_mut) {
            // No such ids in the namespace.
            options.retain(|option| {
                !option.as_str().is_some_and(|text| text.starts_with("gid=") || text.starts_with("uid="))
            });
        }
    }
}
