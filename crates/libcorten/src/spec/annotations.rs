//! Annotations that change what is done: crun's, under crun's names.

use oci_spec::runtime::Spec;

/// CRIU's config file, instead of the usual one; an empty name for none. runc's and crun's.
pub(crate) const CRIU_CONFIG: &str = "org.criu.config";
/// Files for the output of hooks: stdout, stderr.
pub(crate) const HOOK_OUTPUTS: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];
/// With any value but `0` the runtime's own groups stay, and `additionalGids` are not asked for.
pub(crate) const KEEP_GROUPS: &str = "run.oci.keep_original_groups";
/// Which of the kernel's four options carries `linux.mountLabel`.
pub(crate) const MOUNT_CONTEXT: &str = "run.oci.mount_context_type";
/// Where init's pidfd goes, if there is no `--pidfd-socket`.
pub(crate) const PIDFD_RECEIVER: &str = "run.oci.pidfd_receiver";
/// Where the fd of a filter goes that notifies, if there is no `linux.seccomp.listenerPath`.
pub(crate) const SECCOMP_RECEIVER: &str = "run.oci.seccomp.receiver";
/// A compiled program, in base64, that is used instead of `linux.seccomp`.
pub(crate) const SECCOMP_PROGRAM: &str = "run.oci.seccomp_bpf_data";
/// With any value but `0` an unknown name of a system call is an error.
pub(crate) const SECCOMP_FAIL_UNKNOWN: &str = "run.oci.seccomp_fail_unknown_syscall";

/// What begins so sets a property of the container's unit.
const SYSTEMD_PROPERTY: &str = "org.systemd.property.";

/// All of them, sorted. An engine that lets others write them lets them do that.
pub(crate) const ALL: [&str; 10] = [
    CRIU_CONFIG,
    SYSTEMD_PROPERTY,
    HOOK_OUTPUTS[1],
    HOOK_OUTPUTS[0],
    KEEP_GROUPS,
    MOUNT_CONTEXT,
    PIDFD_RECEIVER,
    SECCOMP_RECEIVER,
    SECCOMP_PROGRAM,
    SECCOMP_FAIL_UNKNOWN,
];

/// Returns the value of an annotation.
pub(crate) fn annotation<'a>(spec: &'a Spec, key: &str) -> Option<&'a str> {
    spec.annotations().as_ref()?.get(key).map(String::as_str)
}

/// Returns whether an annotation says yes: with any value but `0`. `None` without it.
pub(crate) fn switch(spec: &Spec, key: &str) -> Option<bool> {
    annotation(spec, key).map(|value| value != "0")
}
