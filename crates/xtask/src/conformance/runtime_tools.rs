//! `cargo xtask conformance runtime-tools`: the validation programs of opencontainers/runtime-tools.
//!
//! A program is given the runtime's path and calls it for each operation. It prints TAP. The programs meet in
//! one cgroup, so they run one after the other.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::expected::{Expectations, Outcome};
use super::tap;
use crate::{Result, packages, shell};

/// How long a program may take.
const LIMIT: Duration = Duration::from_secs(40);

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// A checkout of runtime-tools with its programs built
    directory: PathBuf,
    /// The runtime to judge, and others to compare with; a release build of Corten if there is none
    #[arg(long, value_name = "PATH")]
    runtime: Vec<PathBuf>,
    /// Only the programs of this name
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Keep what the programs print, in DIR/RUNTIME/PROGRAM
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result {
    if !shell::is_root() {
        return Err("the programs make containers as root".into());
    }
    let expectations = Expectations::read("runtime-tools")?;
    let checkout = options.directory.canonicalize()?;
    let programs = programs(&checkout, &options.only)?;
    let runtimes = runtimes(&options.runtime)?;
    shell::enter_pure_v2()?;

    let judged = compare(&checkout, &programs, &runtimes, &expectations, options.logs.as_deref())?;
    let mut complaints = Vec::new();
    for (program, run) in programs.iter().zip(&judged) {
        complaints.extend(expectations.complaint(program, &run.outcome));
        complaints.extend(run.left.iter().map(|left| format!("{program}: {left}")));
    }
    if options.only.is_empty() {
        for program in expectations.programs().filter(|name| !programs.iter().any(|program| program == name))
        {
            complaints.push(format!("{program}: not built, or no longer there"));
        }
    }
    if complaints.is_empty() {
        return Ok(());
    }
    println!("\nnot as expected:");
    complaints.iter().for_each(|complaint| println!("  {complaint}"));
    Err("conformance/runtime-tools.toml expects otherwise".into())
}

/// Runs the programs with each runtime in turn and prints the table. Returns the runs of the first.
fn compare(
    checkout: &Path,
    programs: &[String],
    runtimes: &[PathBuf],
    expectations: &Expectations,
    logs: Option<&Path>,
) -> Result<Vec<Run>> {
    let width = programs.iter().map(String::len).max().unwrap_or(0);
    let labels: Vec<String> = runtimes.iter().map(|runtime| shell::label(runtime)).collect();
    println!("{:width$}  {}", "program", labels.join("  "));
    let mut passed = vec![0; runtimes.len()];
    let mut judged = Vec::new();
    for program in programs {
        print!("{program:width$}");
        let mut row = Vec::new();
        for ((runtime, label), passed) in runtimes.iter().zip(&labels).zip(&mut passed) {
            let mut run = run_program(checkout, program, runtime)?;
            for _ in 1..expectations.attempts(program) {
                if !run.outcome.is_pass() {
                    run = run_program(checkout, program, runtime)?;
                }
            }
            print!("  {:1$}", run.outcome, label.len());
            io::stdout().flush()?;
            *passed += usize::from(run.outcome.is_pass());
            if let Some(logs) = logs {
                let directory = logs.join(label.replace([' ', '/'], "-"));
                fs::create_dir_all(&directory)?;
                fs::write(directory.join(program), &run.output)?;
            }
            row.push(run);
        }
        println!();
        judged.extend(row.into_iter().next());
    }
    print!("{:width$}", "passed");
    for (label, passed) in labels.iter().zip(&passed) {
        print!("  {:1$}", format!("{passed} of {}", programs.len()), label.len());
    }
    println!();
    Ok(judged)
}

/// Finds the programs that are built, by their names.
fn programs(checkout: &Path, only: &[String]) -> Result<Vec<String>> {
    let directory = checkout.join("validation");
    let mut programs = Vec::new();
    for entry in fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if program_path(checkout, &name).is_file() && (only.is_empty() || only.contains(&name)) {
            programs.push(name);
        }
    }
    programs.sort();
    if let Some(name) = only.iter().find(|name| !programs.contains(name)) {
        return Err(format!("{} is not built", program_path(checkout, name).display()).into());
    }
    if programs.is_empty() || !checkout.join("runtimetest").is_file() {
        return Err("not built; in the checkout: make runtimetest validation-executables".into());
    }
    Ok(programs)
}

fn program_path(checkout: &Path, name: &str) -> PathBuf {
    checkout.join("validation").join(name).join(name).with_extension("t")
}

/// The runtimes' absolute paths; the first is judged.
fn runtimes(named: &[PathBuf]) -> Result<Vec<PathBuf>> {
    if named.is_empty() {
        packages::install_build_needs()?;
        return Ok(vec![shell::build_release()?]);
    }
    let absolute = |path: &PathBuf| {
        // As a shell does: a bare name is looked for in PATH.
        let found = if path.components().count() == 1 { shell::find(path) } else { None };
        let path = found.unwrap_or_else(|| path.clone());
        path.canonicalize().map_err(|error| format!("{}: {error}", path.display()).into())
    };
    named.iter().map(absolute).collect()
}

/// A program's run with a runtime.
struct Run {
    outcome: Outcome,
    output: String,
    /// Why containers of it may be left.
    left: Vec<String>,
}

/// Runs a program in directories of its own, and removes what it leaves.
fn run_program(checkout: &Path, name: &str, runtime: &Path) -> Result<Run> {
    let directory = tempfile::Builder::new().prefix("conformance-").tempdir()?;
    // Containers with users of their own must be able to come by, as in /tmp.
    fs::set_permissions(directory.path(), Permissions::from_mode(0o711))?;
    // Without a mount namespace a runtime may leave mounts; they go away with this one, which they are on.
    let none = None::<&str>;
    mount(Some(directory.path()), directory.path(), none, MsFlags::MS_BIND, none)?;
    let bundles = directory.path().join("bundles");
    let containers = Containers { runtime, root: directory.path().join("state") };
    fs::create_dir(&bundles)?;
    fs::create_dir(&containers.root)?;

    let output = directory.path().join("output");
    let stdout = File::create(&output)?;
    let mut command = Command::new(program_path(checkout, name));
    command
        .current_dir(checkout)
        .env("RUNTIME", containers.script(directory.path())?)
        .env("TMPDIR", &bundles);
    command.stdin(Stdio::null()).stderr(stdout.try_clone()?).stdout(stdout);
    let status = run_for(&mut command, LIMIT)?;
    let left = containers.remove()?;
    let output = String::from_utf8_lossy(&fs::read(output)?).into_owned();
    umount2(directory.path(), MntFlags::MNT_DETACH)?;
    directory.close()?;
    Ok(Run { outcome: outcome(status, &output), output, left })
}

/// Judges a program by its exit status (none if it took too long) and its output.
fn outcome(status: Option<ExitStatus>, output: &str) -> Outcome {
    let Some(status) = status else { return Outcome::TimedOut };
    let summary = tap::parse(output);
    let not_ok = summary.failed.len();
    let mut reasons = summary.failed;
    reasons.extend(summary.bail_out.map(|reason| format!("gave up: {reason}")));
    if !status.success() {
        let last = output.lines().last().unwrap_or_default();
        reasons.push(format!("{status}; the last line: {last}"));
    }
    if !reasons.is_empty() {
        reasons.extend(summary.doubts);
        return Outcome::Failed { not_ok, reasons };
    }
    if summary.doubts.is_empty() { Outcome::Passed } else { Outcome::Doubtful(summary.doubts) }
}

/// Runs a command in a process group of its own, and kills what is left of the group at the end or after a
/// time.
fn run_for(command: &mut Command, limit: Duration) -> Result<Option<ExitStatus>> {
    let mut child = command.process_group(0).spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let group = Pid::from_raw(i32::try_from(child.id())?);
    let has_ended = wait_for(&child, limit)?;
    // The group is still there, as its leader has not been reaped.
    killpg(group, Signal::SIGKILL)?;
    let status = child.wait()?;
    Ok(has_ended.then_some(status))
}

/// Waits for a child's end, without reaping it; tells whether it came in time.
fn wait_for(child: &Child, limit: Duration) -> Result<bool> {
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    let start = Instant::now();
    while start.elapsed() < limit {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
        if waitid(Id::Pid(pid), flags)? != WaitStatus::StillAlive {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(false)
}

/// The containers of one program: those in a state root of its own.
struct Containers<'runtime> {
    runtime: &'runtime Path,
    root: PathBuf,
}

impl Containers<'_> {
    /// Makes a program that calls the runtime with this state root; the validation programs know no options.
    fn script(&self, directory: &Path) -> Result<PathBuf> {
        let path = directory.join("runtime");
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
        fs::write(
            &path,
            format!("#!/bin/sh\nexec {} --root {} \"$@\"\n", quoted(self.runtime), quoted(&self.root)),
        )?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(path)
    }

    /// Removes the containers that are left; tells of those that cannot be removed.
    fn remove(&self) -> Result<Vec<String>> {
        let errors = self.root.with_file_name("errors");
        let mut left = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let id = entry?.file_name();
            // What begins otherwise is no container's id: a runtime may keep other things there, too.
            if !id.as_encoded_bytes().first().is_some_and(u8::is_ascii_alphanumeric) {
                continue;
            }
            let mut delete = Command::new(self.runtime);
            delete.arg("--root").arg(&self.root).args(["delete", "--force"]).arg(&id);
            delete.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&errors)?);
            let status = run_for(&mut delete, LIMIT)?;
            if !status.is_some_and(|status| status.success()) {
                left.push(format!(
                    "delete --force of a container fails: {}",
                    fs::read_to_string(&errors)?.trim()
                ));
            }
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn ended(code: i32, output: &str) -> Outcome {
        outcome(Some(ExitStatus::from_raw(code << 8)), output)
    }

    #[test]
    fn a_program_passes_with_status_0_and_nothing_that_is_not_ok() {
        assert_eq!(ended(0, "ok 1 - a\nok 2 # SKIP b\n1..2\n"), Outcome::Passed);
    }

    #[test]
    fn a_pass_with_an_error_that_no_point_tells_of_is_doubtful() {
        let outcome = ended(0, "TAP version 13\n  ---\n  {\n    \"error\": \"late\"\n  }\n  ...\n1..0\n");
        assert_eq!(outcome, Outcome::Doubtful(vec!["\"late\"".to_owned()]));
    }

    #[test]
    fn a_program_fails_by_any_point() {
        let outcome = ended(0, "ok 1 - a\n    not ok 1 - b\nnot ok 2 - c\n");
        assert_eq!(
            outcome,
            Outcome::Failed { not_ok: 2, reasons: vec!["1 - b".to_owned(), "2 - c".to_owned()] }
        );
        assert_eq!(format!("{outcome:10}|"), "fail(2)   |");
    }

    #[test]
    fn a_program_fails_by_its_status_and_by_giving_up() {
        let Outcome::Failed { not_ok, reasons } = ended(1, "ok 1\nno such file\n") else { panic!("passed") };
        assert_eq!((not_ok, reasons), (0, vec!["exit status: 1; the last line: no such file".to_owned()]));
        assert!(!ended(0, "Bail out! no rootfs\n").is_pass());
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed_with_its_children() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("pid");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 100 & echo $! >\"$0\"; wait"]).arg(&file);
        assert_eq!(run_for(&mut command, Duration::from_secs(1)).expect("a result"), None);
        let pid = fs::read_to_string(file).expect("the pid");
        let is_gone = || {
            // Nobody but init may reap it, which takes a moment.
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        assert!(
            (0..100).any(|_| is_gone() || {
                std::thread::sleep(Duration::from_millis(10));
                false
            }),
            "still there"
        );
    }

    #[test]
    fn what_ends_in_time_is_told_by_its_status() {
        let status = run_for(Command::new("sh").args(["-c", "exit 3"]), LIMIT).expect("a result");
        assert_eq!(status.and_then(|status| status.code()), Some(3));
    }

    fn write_program(path: &Path, script: &str) {
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(path, format!("#!/bin/sh\n{script}\n")).expect("written");
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("executable");
    }

    /// A runtime whose containers are directories in its state root; it cannot delete the one named `stuck`.
    const RUNTIME: &str = r#"root=$2; shift 2
        case "$1" in
        create) mkdir "$root/$2";;
        delete) [ "$3" != stuck ] || { echo busy >&2; exit 1; }; rmdir "$root/$3";;
        esac"#;

    fn run_with_fake_runtime(script: &str) -> Option<Run> {
        if !shell::is_root() || shell::enter_pure_v2().is_err() {
            println!("skipped: no mount namespace can be made");
            return None;
        }
        let checkout = tempfile::tempdir().expect("a directory");
        let runtime = checkout.path().join("run'time");
        write_program(&runtime, RUNTIME);
        write_program(&program_path(checkout.path(), "fake"), script);
        Some(run_program(checkout.path(), "fake", &runtime).expect("a run"))
    }

    #[test]
    fn a_program_leaves_nothing() {
        let script = r#"echo "$TMPDIR"; "$RUNTIME" create left; mkdir "$TMPDIR/a"; mount -t tmpfs none "$TMPDIR/a"
            echo "not ok 1 - a"; exit 3"#;
        let Some(run) = run_with_fake_runtime(script) else { return };
        assert!(matches!(run.outcome, Outcome::Failed { not_ok: 1, .. }), "{:?}", run.outcome);
        assert_eq!(run.left, [""; 0]);
        let directory =
            Path::new(run.output.lines().next().expect("a line")).parent().expect("a parent").to_owned();
        assert!(!directory.exists(), "{}", directory.display());
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").expect("mounts");
        assert!(!mounts.contains(directory.to_str().expect("text")), "{mounts}");
    }

    #[test]
    fn a_container_that_cannot_be_removed_is_told_of() {
        let Some(run) = run_with_fake_runtime(r#""$RUNTIME" create stuck; "$RUNTIME" create @cache"#) else {
            return;
        };
        assert_eq!(run.outcome, Outcome::Passed);
        assert_eq!(run.left, ["delete --force of a container fails: busy"]);
    }
}
