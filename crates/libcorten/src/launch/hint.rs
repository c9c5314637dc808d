//! What can be done about a failure whose cause is known. What has to be looked at for that is read only
//! here, when something has failed.
//!
//! Engines choose what they make of a failure by phrases in its message (`permission denied`, `no such file
//! or directory`, …): no hint has any of them.

use corten_init::Call;
use nix::errno::Errno;

use super::{IdMapError, InitFailure, LaunchError, LimitError};
use crate::sys::{self, SysError};

/// Returns what can be done about a launch that failed.
pub(super) fn of_launch(error: &LaunchError) -> Option<String> {
    match error {
        LaunchError::Step { source, .. } | LaunchError::Call(source) => of_call(source),
        LaunchError::Init(failure) => of_init(failure),
        LaunchError::IdMap(error) => of_id_map(error),
        LaunchError::Limit(LimitError(error)) => of_limit(error),
        LaunchError::Cgroup(error) if error.is_refused() => Some(DELEGATE.to_owned()),
        LaunchError::Warned { cause, .. } | LaunchError::Left { cause, .. } => of_launch(cause),
        _ => None,
    }
}

const CONTROLLER: &str = "a cgroup has the controllers that cgroup.subtree_control of every cgroup above it names; \
     of systemd's cgroups, those with Delegate=yes";
const DELEGATE: &str = "a cgroup that its user may write to comes from systemd: \
     systemd-run --user --scope -p Delegate=yes, or --systemd-cgroup";
const PROCESSES: &str = "the limit on processes is reached: pids.max of the cgroup, or ulimit -u of the user";
const TOOLS: &str = "newuidmap and newgidmap come with shadow (Debian: package uidmap)";
const KEYS: &str = "every container has a session keyring, and its user as many as kernel.keys.maxkeys says (root: root_maxkeys); \
     --no-new-keyring makes none";
const SUBORDINATE: &str = "the user has the ids that /etc/subuid and /etc/subgid name";

/// Returns what can be done about a limit that could not be set.
pub(super) fn of_limit(error: &corten_cgroup::Error) -> Option<String> {
    (error.errno() == Some(libc::ENOENT)).then(|| CONTROLLER.to_owned())
}

/// Of a call of the runtime's.
fn of_call(error: &SysError) -> Option<String> {
    let errno = error.errno.0;
    match &error.call {
        call if call.is_clone() => of_clone(errno),
        sys::Call::MemfdCreate { .. } if errno == Errno::EACCES && sysctl("vm/memfd_noexec") == Some(2) => Some(
            "vm.memfd_noexec is 2, and corten executes its init from a memfd: 1 keeps others from that as well"
                .to_owned(),
        ),
        _ => None,
    }
}

/// Of a step of init's.
fn of_init(failure: &InitFailure) -> Option<String> {
    let (errno, kind) = (failure.errno.0, failure.detail.as_str());
    match failure.call {
        Call::Clone | Call::Clone3 | Call::Unshare => of_clone(errno),
        // mount_too_revealing()
        Call::Fsmount if errno == Errno::EPERM && ["proc", "sysfs"].contains(&kind) => Some(format!(
            "in a user namespace the kernel mounts {kind} only where one is visible with nothing mounted over parts of it, as \
             outer containers have: bind-mount that one, or unmask it outside"
        )),
        Call::Fsconfig if errno == Errno::EPERM && kind == "proc" => Some(
            "in a user namespace a new procfs needs a new PID namespace; else bind-mount /proc".to_owned(),
        ),
        Call::Fsopen if errno == Errno::EPERM && kind == "sysfs" => Some(
            "in a user namespace a new sysfs needs a new network namespace; else bind-mount /sys".to_owned(),
        ),
        Call::Keyctl if errno == Errno::EDQUOT => Some(KEYS.to_owned()),
        _ if matches!(errno, Errno::EPERM | Errno::EACCES) => restriction(),
        _ => None,
    }
}

/// Returns what can be done about ids that could not be mapped.
pub(super) fn of_id_map(error: &IdMapError) -> Option<String> {
    match error {
        IdMapError::NoTool { .. } => Some(TOOLS.to_owned()),
        IdMapError::Tool { said, .. } if said.contains("not allowed") => Some(SUBORDINATE.to_owned()),
        IdMapError::Tool { .. } => restriction(),
        IdMapError::Call { source, .. } => of_call(source),
    }
}

/// Of a process or a namespace that could not be made.
fn of_clone(errno: Errno) -> Option<String> {
    match errno {
        Errno::EAGAIN => Some(PROCESSES.to_owned()),
        Errno::ENOSPC => {
            let kinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
            let names = kinds.map(|kind| format!("max_{kind}_namespaces"));
            let none = names.into_iter().filter(|name| sysctl(&format!("user/{name}")) == Some(0));
            let none: Vec<_> = none.map(|name| format!("user.{name} is 0")).collect();
            let known = (!none.is_empty()).then(|| none.join(", "));
            Some(known.unwrap_or_else(|| {
                "a limit on namespaces is reached: user.max_*_namespaces, or 32 within each other".to_owned()
            }))
        }
        Errno::EPERM | Errno::EACCES => restriction(),
        _ => None,
    }
}

/// What keeps ordinary users from user namespaces.
fn restriction() -> Option<String> {
    if nix::unistd::geteuid().is_root() {
        return None;
    }
    if sysctl("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return Some(
            "kernel.apparmor_restrict_unprivileged_userns is 1: the runtime needs an AppArmor profile with the rule userns"
                .to_owned(),
        );
    }
    (sysctl("kernel/unprivileged_userns_clone") == Some(0))
        .then(|| "kernel.unprivileged_userns_clone is 0: user namespaces are for root alone".to_owned())
}

/// The value of a kernel parameter that is a number, if there is such a one.
fn sysctl(name: &str) -> Option<i64> {
    std::fs::read_to_string(format!("/proc/sys/{name}")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn init(call: Call, errno: Errno, detail: &str) -> Option<String> {
        of_init(&InitFailure::new(call, errno as i32, b"mounts[0]", detail.as_bytes()))
    }

    /// What Podman, Docker, containerd and CRI-O look for.
    #[test]
    fn hints_say_nothing_that_engines_look_for() {
        let hints = [
            Some(CONTROLLER.to_owned()),
            Some(DELEGATE.to_owned()),
            Some(PROCESSES.to_owned()),
            Some(TOOLS.to_owned()),
            Some(SUBORDINATE.to_owned()),
            init(Call::Fsmount, Errno::EPERM, "proc"),
            init(Call::Fsmount, Errno::EPERM, "sysfs"),
            init(Call::Fsconfig, Errno::EPERM, "proc"),
            init(Call::Fsopen, Errno::EPERM, "sysfs"),
            init(Call::Clone3, Errno::ENOSPC, ""),
        ];
        for hint in hints {
            let hint = hint.expect("a hint").to_lowercase();
            for phrase in [
                "permission denied",
                "not permitted",
                "no such file",
                "executable file",
                "does not exist",
                "not running",
                "not a directory",
                "no such process",
                "already finished",
                "invalid process",
                "attr/",
            ] {
                assert!(!hint.contains(phrase), "{hint}");
            }
        }
    }

    #[test]
    fn others_get_none() {
        assert_eq!(init(Call::Fsmount, Errno::EINVAL, "proc"), None);
        assert_eq!(init(Call::Mkdirat, Errno::ENOSPC, "/x"), None);
        assert_eq!(of_call(&SysError::new(Errno::EPERM, || "mkdir(x)".to_owned())), None);
        assert_eq!(of_clone(Errno::EINVAL), None);
    }
}
