//! What this runtime can do (`corten features`). Spec: features.md.
//!
//! Complete and honest: what is refused by `spec::validate` is not listed here.

use libseccomp::ScmpVersion;
use serde_json::{Value, json};

use crate::plan::MOUNT_OPTIONS;
use crate::spec::{HookKind, annotations};

/// The version of the runtime-spec that Corten follows.
pub const SPEC_VERSION: &str = "1.3.0";

/// Returns the version of libseccomp, or `unknown`.
pub fn libseccomp_version() -> String {
    ScmpVersion::current().map_or_else(
        |_| "unknown".to_owned(),
        |version| format!("{}.{}.{}", version.major, version.minor, version.micro),
    )
}

/// Returns the features document.
pub fn features() -> Value {
    let mut capabilities: Vec<String> =
        caps::all().into_iter().map(|capability| capability.to_string()).collect();
    capabilities.sort();
    let enabled = json!({ "enabled": true });
    let mut supported_flags =
        vec!["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC"];
    if kernel_at_least(5, 19) {
        supported_flags.push("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV");
    }
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": SPEC_VERSION,
        "hooks": HookKind::ALL.map(HookKind::name),
        "mountOptions": MOUNT_OPTIONS,
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            // libseccomp joins architectures of one byte order only, and Corten runs on little-endian ones.
            "seccomp": {
                "enabled": true,
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE", "SCMP_ACT_TRAP",
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
                    "SCMP_CMP_NE",
                ],
                "archs": [
                    "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_MIPSEL", "SCMP_ARCH_MIPSEL64",
                    "SCMP_ARCH_MIPSEL64N32", "SCMP_ARCH_PPC64LE", "SCMP_ARCH_RISCV64", "SCMP_ARCH_X32", "SCMP_ARCH_X86",
                    "SCMP_ARCH_X86_64",
                ],
                "knownFlags": [
                    "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
                    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
                ],
                "supportedFlags": supported_flags,
            },
            // What the runtime can do, not whether the kernel has it (features-linux.md).
            "apparmor": enabled,
            "selinux": enabled,
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": {
                "modes": [
                    "MPOL_BIND", "MPOL_DEFAULT", "MPOL_INTERLEAVE", "MPOL_LOCAL", "MPOL_PREFERRED", "MPOL_PREFERRED_MANY",
                    "MPOL_WEIGHTED_INTERLEAVE",
                ],
                "flags": ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"],
            },
            "mountExtensions": { "idmap": enabled },
            "netDevices": enabled,
        },
        "annotations": {
            "io.github.seccomp.libseccomp.version": libseccomp_version(),
            "dev.corten.version": env!("CARGO_PKG_VERSION"),
            // runc's, under runc's name: engines ask for it.
            "org.opencontainers.runc.checkpoint.enabled": "true",
        },
        "potentiallyUnsafeConfigAnnotations": annotations::ALL,
    })
}

/// Whether the kernel is of this version or newer.
fn kernel_at_least(major: u32, minor: u32) -> bool {
    let Ok(names) = nix::sys::utsname::uname() else { return false };
    let release = names.release().to_string_lossy().into_owned();
    let mut numbers =
        release.split(|character: char| !character.is_ascii_digit()).map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten().unwrap_or(0);
    (next(), next()) >= (major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Features, LinuxSeccomp};

    /// The engines' types, which are the ones of the spec, can read it.
    #[test]
    fn the_document_is_one_of_the_spec() {
        let document = features();
        let read: Features = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(read.oci_version_max(), SPEC_VERSION);
        assert_eq!(document["linux"]["capabilities"].as_array().unwrap().len(), 41);
    }

    /// Each name that is offered can be used.
    #[test]
    fn names_of_seccomp_are_known() {
        let offered = &features()["linux"]["seccomp"];
        for name in offered["actions"].as_array().unwrap() {
            serde_json::from_value::<LinuxSeccomp>(json!({ "defaultAction": name })).unwrap();
        }
        for (list, key) in [("archs", "architectures"), ("knownFlags", "flags"), ("supportedFlags", "flags")]
        {
            for name in offered[list].as_array().unwrap() {
                let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", key: [name] });
                serde_json::from_value::<LinuxSeccomp>(profile)
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
            }
        }
        for name in offered["operators"].as_array().unwrap() {
            let args = json!([{ "index": 0, "value": 0, "op": name }]);
            let syscall = json!({ "names": ["getpid"], "action": "SCMP_ACT_ERRNO", "args": args });
            let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [syscall] });
            serde_json::from_value::<LinuxSeccomp>(profile).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
