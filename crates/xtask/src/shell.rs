//! Running other programs, and where things are.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::ptrace::{self, Options as Trace};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use crate::Result;

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether this process may give any capability that the kernel knows to another.
pub(crate) fn has_all_capabilities() -> Result<bool> {
    let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?.trim().parse()?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let bounding =
        status.lines().find_map(|line| line.strip_prefix("CapBnd:")).ok_or("/proc/self/status: no CapBnd")?;
    Ok(u64::from_str_radix(bounding.trim(), 16)?.count_ones() == last + 1)
}

/// The directory of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new(".")).to_owned()
}

/// `cargo`, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace());
    cargo
}

/// Runs a command and tells it if it fails.
pub(crate) fn check(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?}: {status}").into()) }
}

/// Runs a command and returns what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Starts a program that is traced by this thread (ptrace(2)) from before its execve on, with all that it
/// clones. They end when the thread does.
pub(crate) fn trace(
    words: impl IntoIterator<Item = impl AsRef<OsStr>>,
    stdout: Stdio,
    stderr: Stdio,
    more: Trace,
) -> Result<Pid> {
    // What is executed stands still until it is traced.
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"kill -STOP $$; exec "$@""#, "sh"]).args(words);
    command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    let first = Pid::from_raw(i32::try_from(command.spawn()?.id())?);
    waitpid(first, Some(WaitPidFlag::WUNTRACED))?;
    let clones = Trace::PTRACE_O_TRACECLONE | Trace::PTRACE_O_TRACEFORK | Trace::PTRACE_O_TRACEVFORK;
    ptrace::seize(first, clones | Trace::PTRACE_O_TRACEEXEC | Trace::PTRACE_O_EXITKILL | more)?;
    kill(first, Signal::SIGCONT)?;
    Ok(first)
}

/// Finds a program in PATH.
pub(crate) fn find(program: impl AsRef<Path>) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Administrators' programs are not in everybody's PATH.
    let directories = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    directories.map(|directory| directory.join(&program)).find(|file| file.is_file())
}

/// Builds the release binary and returns its path.
pub(crate) fn build_release() -> Result<PathBuf> {
    build("release")
}

/// Builds the binary with Cargo's profile `dev` or `release`, and returns its path.
pub(crate) fn build(profile: &str) -> Result<PathBuf> {
    check(cargo().args(["build", "--profile", profile, "--package", "corten"]))?;
    let directory = if profile == "dev" { "debug" } else { profile };
    Ok(host_directory()?.join(directory).join("corten"))
}

/// Builds a program of the package of benchmarks, optimised, and returns its path.
pub(crate) fn build_benches(program: &str) -> Result<PathBuf> {
    check(cargo().args(["build", "--profile", "bench", "--package", "corten-benches", "--bin", program]))?;
    Ok(host_directory()?.join("release").join(program))
}

/// Cargo's directory for what is built for this machine.
fn host_directory() -> Result<PathBuf> {
    Ok(target_directory()?.join(host()?))
}

/// The target triple of this machine.
pub(crate) fn host() -> Result<String> {
    let host = output(Command::new("rustc").arg("-vV"))?;
    Ok(host.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc names no host")?.to_owned())
}

/// Cargo's directory for targets.
pub(crate) fn target_directory() -> Result<PathBuf> {
    let metadata = output(cargo().args(["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    Ok(metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?.into())
}

/// Whether the machine has v1 hierarchies beside cgroup2.
pub(crate) fn is_hybrid() -> bool {
    let magic = |path: &str| nix::sys::statfs::statfs(path).map(|stat| stat.filesystem_type());
    magic("/sys/fs/cgroup").is_ok_and(|kind| kind != nix::sys::statfs::CGROUP2_SUPER_MAGIC)
}

/// Moves this process into a mount namespace of its own in which cgroup2 is at /sys/fs/cgroup. Nobody else
/// sees what is mounted there.
pub(crate) fn enter_pure_v2() -> Result {
    const CGROUP: &str = "/sys/fs/cgroup";
    enter_mount_namespace()?;
    if is_hybrid() {
        umount2(CGROUP, MntFlags::MNT_DETACH)?;
        mount(Some("none"), CGROUP, Some("cgroup2"), MsFlags::empty(), None::<&str>)?;
    }
    Ok(())
}

/// Moves this process into a mount namespace of its own. Nobody else sees what is mounted there.
pub(crate) fn enter_mount_namespace() -> Result {
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    Ok(())
}

/// A runtime's name and version.
pub(crate) fn label(runtime: &Path) -> String {
    let name = runtime.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let version = Command::new(runtime).arg("--version").output().ok();
    let version = version.and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next()?.split("version ").nth(1).map(str::to_owned)
    });
    format!("{name} {}", version.unwrap_or_default())
}
