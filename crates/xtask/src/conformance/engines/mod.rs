//! `cargo xtask conformance engines`: what users of Docker, Podman, containerd and Buildah do, with one
//! runtime in reach.
//!
//! The checks are shell functions in `conformance/engines`, one file for each row of a tour through Docker.
//! They run in a root of Debian testing that is entered through namespaces, so that nothing of this machine
//! is touched, or in the VM.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Args;

use super::vm;
use crate::debian::{Cache, Recipe};
use crate::{Result, packages, shell};

const ROOT: Recipe = Recipe {
    what: "the engines' root (some minutes, 2 GB, once)",
    directory: ("engines-root", "CORTEN_ENGINES_CACHE"),
    script: include_str!("root.sh"),
    results: &["root"],
};

const ENTER: &str = include_str!("enter.sh");

const GUEST: &str = include_str!("guest.sh");

/// How much slower than this machine the VM is, as checks wait.
const SLOW: u32 = 10;

/// What runs in the VM if nothing else is said: what other machines skip, as it wants all controllers or
/// systemd, and of the rest what shows that each engine works there. All checks would take hours.
const IN_VM: [&str; 22] = [
    "02-echo",
    "05-exec-options",
    "05-stats-values",
    "05-health",
    "07-stop-143",
    "13",
    "14-apparmor",
    "18-rootless-run",
    "18-rootless-exec",
    "18-rootless-limits",
    "18-rootless-oom",
    "18-rootless-health",
    "18-rootless-quadlet",
    "18-root-limits",
    "18-root-quadlet",
    "18-checkpoint-restore",
    "19-ctr-run",
    "19-ctr-exec",
    "19-ctr-metrics",
    "19-ctr-kill",
    "19-cri",
    "20-run",
];

/// The status with which a check says that it cannot be shown here.
const SKIPPED: i32 = 77;

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only the rows (08) or checks (08-rm, 19-cri) of this name; in the VM, a selection if none is named
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// The runtime: corten, which is built; runc or crun, which are Debian's; or a file
    #[arg(long, value_name = "RUNTIME", default_value = "corten")]
    runtime: PathBuf,
    /// Build corten without optimisation
    #[arg(long)]
    debug: bool,
    /// Keep what the checks print, in DIR/CHECK
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// A shell in the root instead of the checks; `dockerd_up` there starts Docker
    #[arg(long)]
    shell: bool,
    /// Make the root, or the VM's disk, anew
    #[arg(long)]
    rebuild: bool,
    /// In the VM, with all controllers and systemd
    #[arg(long, conflicts_with = "shell")]
    vm: bool,
    /// Use KVM; without it the VM's processor is emulated, which is slow and works everywhere
    #[arg(long, requires = "vm")]
    kvm: bool,
    /// How long the checks may take together
    #[arg(long, default_value_t = 240)]
    minutes: u64,
}

pub(crate) fn run(options: &Options) -> Result {
    if !shell::is_root() {
        return Err("engines run as root".into());
    }
    let runtime = Runtime::get(options)?;
    if let Some(logs) = &options.logs {
        fs::create_dir_all(logs)?;
    }
    if options.shell {
        let (_cgroup, mut command) = enter(&runtime, options.rebuild)?;
        return shell::check(
            command.arg("bash").arg("/opt/checks/shell.sh").arg(&runtime.inside).arg(&runtime.name),
        );
    }
    judge(&if options.vm { run_in_vm(options, &runtime)? } else { run_in_root(options, &runtime)? })
}

fn run_in_root(options: &Options, runtime: &Runtime) -> Result<Vec<Run>> {
    let (_cgroup, mut command) = enter(runtime, options.rebuild)?;
    command.args(["bash", "/opt/checks/run.sh", &runtime.inside, &runtime.name, "1"]).args(&options.only);
    let mut running = vm::Running(command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?);
    listen(&vm::lines(&mut running.0)?, options)
}

fn run_in_vm(options: &Options, runtime: &Runtime) -> Result<Vec<Run>> {
    packages::check_vm_needs()?;
    let image = Cache::get(&vm::IMAGE, options.rebuild)?;
    // All that the VM sees of this machine, as it is now.
    let job = tempfile::Builder::new().prefix("engines-").tempdir()?;
    let copies = job.path().join("opt");
    fs::create_dir_all(copies.join("checks"))?;
    fs::create_dir_all(copies.join("runtime"))?;
    for entry in fs::read_dir(checks())? {
        let entry = entry?;
        fs::copy(entry.path(), copies.join("checks").join(entry.file_name()))?;
    }
    if let Some(file) = &runtime.file {
        fs::copy(file, copies.join("runtime").join(file.file_name().unwrap_or_default()))?;
    }
    fs::write(job.path().join("run.sh"), guest(runtime, &names_in_vm(options))?)?;
    let console = options.logs.as_deref().unwrap_or(job.path()).join("console");
    println!("booting the VM");
    vm::boot(&image, job.path(), &[], &console, options.kvm, |lines| listen(lines, options))
}

/// The names of the rows and checks that the VM runs.
fn names_in_vm(options: &Options) -> Vec<String> {
    if options.only.is_empty() { IN_VM.map(str::to_owned).into() } else { options.only.clone() }
}

/// What the VM runs.
fn guest(runtime: &Runtime, only: &[String]) -> Result<String> {
    let slow = SLOW.to_string();
    let words = [&runtime.inside, &runtime.name, &slow].into_iter().chain(only);
    if let Some(word) = words.clone().find(|word| word.contains('\'')) {
        return Err(format!("{word}: a ' in it").into());
    }
    let words: Vec<_> = words.map(|word| format!("'{word}'")).collect();
    Ok(format!("set -- {}\n{GUEST}", words.join(" ")))
}

/// A runtime, and what the root knows it as.
#[derive(Debug)]
struct Runtime {
    /// The file that is put into the root; none for a peer, which is there.
    file: Option<PathBuf>,
    /// Its path inside.
    inside: String,
    /// What engines call it.
    name: String,
}

impl Runtime {
    fn get(options: &Options) -> Result<Self> {
        let name = options.runtime.to_str().ok_or("--runtime: not in UTF-8")?;
        match name {
            // Docker lets nobody else be called runc.
            "runc" | "crun" => {
                Ok(Self { file: None, inside: format!("/opt/peers/{name}"), name: format!("peer-{name}") })
            }
            "corten" => {
                packages::install_build_needs()?;
                Self::file(&shell::build(if options.debug { "dev" } else { "release" })?)
            }
            _ => Self::file(&options.runtime),
        }
    }

    fn file(path: &Path) -> Result<Self> {
        let file = path.canonicalize().map_err(|error| format!("{}: {error}", path.display()))?;
        let name =
            file.file_name().and_then(|name| name.to_str()).ok_or("the runtime's name is not in UTF-8")?;
        let (inside, name) = (format!("/opt/runtime/{name}"), name.to_owned());
        Ok(Self { file: Some(file), inside, name })
    }
}

/// A cgroup that is the root of all that the engines see.
#[derive(Debug)]
struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one in cgroup2, which is at its place.
    fn make() -> Result<Self> {
        let path = PathBuf::from(format!("/sys/fs/cgroup/corten-engines-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Its processes have been killed with their namespace; they are gone in a moment.
        let remove =
            |path: &Path| Command::new("find").arg(path).args(["-depth", "-type", "d", "-delete"]).output();
        for _ in 0..50 {
            if remove(&self.0).is_ok_and(|output| output.status.success()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("left: {}", self.0.display());
    }
}

/// A command that runs what is appended to it in the root, in a cgroup that is removed when it is no longer
/// wanted.
fn enter(runtime: &Runtime, rebuild: bool) -> Result<(Cgroup, Command)> {
    packages::check_debian_needs()?;
    let cache = Cache::get(&ROOT, rebuild)?;
    fs::create_dir_all(cache.file("mnt"))?;
    let script = cache.file("enter.sh");
    fs::write(&script, ENTER)?;
    shell::enter_pure_v2()?;
    let cgroup = Cgroup::make()?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "sh"])
        .arg(script)
        .arg(&cgroup.0)
        .arg(cache.directory())
        .arg(checks());
    command.arg(runtime.file.as_deref().unwrap_or(Path::new("")));
    Ok((cgroup, command))
}

/// The directory of the checks.
fn checks() -> PathBuf {
    shell::workspace().join("conformance/engines")
}

/// How a check went.
#[derive(Debug)]
struct Run {
    name: String,
    time: Duration,
    status: i32,
    /// The last line that it printed.
    last: String,
}

impl Run {
    fn is_skipped(&self) -> bool {
        self.status == SKIPPED
    }

    fn is_good(&self) -> bool {
        self.status == 0 || self.is_skipped()
    }
}

/// The rows of the tour, by the digits that their checks begin with.
fn row(check: &str) -> &str {
    check.split_once('-').map_or(check, |(row, _)| row)
}

/// Follows the run, shows a line for each check as it ends, and returns how each went.
fn listen(lines: &Receiver<String>, options: &Options) -> Result<Vec<Run>> {
    let deadline = Instant::now() + Duration::from_secs(options.minutes * 60);
    let mut runs: Vec<Run> = Vec::new();
    let mut current: Option<(String, Instant, String)> = None;
    println!("{:<28} {:<5} {:>6}", "check", "", "time");
    loop {
        let at =
            || current.as_ref().map_or_else(|| "between two".to_owned(), |(name, ..)| format!("in {name}"));
        let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("the checks take too long, {}", at()).into());
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(format!("the checks ended early, {}", at()).into());
            }
        };
        let words: Vec<_> = line.strip_prefix("@@ ").unwrap_or_default().split(' ').collect();
        match (words.as_slice(), &mut current) {
            (["done"], _) => return Ok(runs),
            (["begin", name], _) => current = Some(((*name).to_owned(), Instant::now(), String::new())),
            (["end", name, status], now) => {
                let (begun, time, output) =
                    now.take().ok_or_else(|| format!("{name}: an end without a beginning"))?;
                if begun != **name {
                    return Err(format!("{name}: the end of {begun}").into());
                }
                if let Some(logs) = &options.logs {
                    fs::write(logs.join(&begun), &output)?;
                }
                let last = output
                    .lines()
                    .map(str::trim)
                    .rfind(|line| !line.is_empty())
                    .unwrap_or_default()
                    .to_owned();
                let run = Run { name: begun, time: time.elapsed(), status: status.parse()?, last };
                show(&run, &output);
                runs.push(run);
            }
            (_, Some((_, _, output))) => {
                output.push_str(&line);
                output.push('\n');
            }
            (_, None) => println!("{line}"),
        }
    }
}

fn show(run: &Run, output: &str) {
    let result = match run {
        run if run.is_skipped() => "skip",
        run if run.is_good() => "ok",
        _ => "FAIL",
    };
    let reason = if run.is_skipped() { run.last.as_str() } else { "" };
    println!("{:<28} {result:<5} {:>4.1} s  {reason}", run.name, run.time.as_secs_f64());
    if !run.is_good() {
        let status = if run.status == 124 { ": it took too long" } else { "" };
        println!("    status {}{status}", run.status);
        output.lines().for_each(|line| println!("    {line}"));
    }
}

/// Prints a line for each row; an error if any check failed.
fn judge(runs: &[Run]) -> Result {
    if runs.is_empty() {
        return Err("no check of this name".into());
    }
    let mut rows: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for run in runs {
        let counts = rows.entry(row(&run.name)).or_default();
        let [passed, failed, skipped] = counts;
        *(if run.is_skipped() {
            skipped
        } else if run.is_good() {
            passed
        } else {
            failed
        }) += 1;
    }
    println!("\n{:<5} {:>7} {:>7} {:>8}", "row", "passed", "failed", "skipped");
    for (row, [passed, failed, skipped]) in &rows {
        println!("{row:<5} {passed:>7} {failed:>7} {skipped:>8}");
    }
    let bad: Vec<_> = runs.iter().filter(|run| !run.is_good()).map(|run| run.name.as_str()).collect();
    if bad.is_empty() { Ok(()) } else { Err(format!("failed: {}", bad.join(", ")).into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(runtime: &str) -> Options {
        Options {
            only: Vec::new(),
            runtime: runtime.into(),
            debug: false,
            logs: None,
            shell: false,
            rebuild: false,
            vm: false,
            kvm: false,
            minutes: 1,
        }
    }

    fn heard_with(options: &Options, text: &str) -> Result<Vec<Run>> {
        let (sender, receiver) = std::sync::mpsc::channel();
        text.lines().for_each(|line| sender.send(line.to_owned()).expect("sent"));
        drop(sender);
        listen(&receiver, options)
    }

    fn heard(text: &str) -> Result<Vec<Run>> {
        heard_with(&options("corten"), text)
    }

    #[test]
    fn a_checks_status_and_last_line_are_its_own() {
        let text = "@@ begin 01-a\nfirst\nno luck\n\n@@ end 01-a 1\n@@ begin 02-b\n@@ end 02-b 0\n@@ done\n";
        let runs = heard(text).expect("a whole run");
        let [a, b] = runs.as_slice() else { panic!("{runs:?}") };
        assert!(!a.is_good() && a.last == "no luck", "{a:?}");
        assert!(b.is_good() && b.last.is_empty(), "{b:?}");
        assert!(judge(&runs).expect_err("a failure").to_string().ends_with("failed: 01-a"));
    }

    #[test]
    fn a_skipped_check_fails_nothing() {
        let runs =
            heard("@@ begin 13-memory\nno memory here\n@@ end 13-memory 77\n@@ done\n").expect("a whole run");
        assert!(runs.iter().all(Run::is_skipped), "{runs:?}");
        judge(&runs).expect("nothing failed");
    }

    #[test]
    fn checks_that_end_early_are_an_error() {
        let error = heard("@@ begin 01-a\n@@ end 01-a 0\n@@ begin 02-b\n").expect_err("no end").to_string();
        assert!(error.ends_with("early, in 02-b"), "{error}");
        assert!(
            heard("@@ end 01-a 0\n@@ done\n").is_err()
                && heard("@@ begin 01-a\n@@ end 01-b 0\n@@ done\n").is_err()
        );
    }

    #[test]
    fn no_checks_are_an_error() {
        assert!(judge(&heard("@@ done\n").expect("a whole run")).is_err());
    }

    #[test]
    fn what_a_check_prints_is_kept() {
        let logs = tempfile::tempdir().expect("a directory");
        let text = "@@ begin 01-a\none\ntwo\n@@ end 01-a 0\n@@ done\n";
        let options = Options { logs: Some(logs.path().to_owned()), ..options("corten") };
        heard_with(&options, text).expect("a whole run");
        assert_eq!(fs::read_to_string(logs.path().join("01-a")).expect("kept"), "one\ntwo\n");
    }

    #[test]
    fn a_peer_is_in_the_root_and_has_another_name() {
        let runc = Runtime::get(&options("runc")).expect("a peer");
        assert!(
            runc.file.is_none() && runc.inside == "/opt/peers/runc" && runc.name == "peer-runc",
            "{runc:?}"
        );
        assert!(Runtime::get(&options("/no/such/runtime")).is_err());
    }

    #[test]
    fn the_vm_is_told_the_runtime_and_the_names() {
        let runc = Runtime::get(&options("runc")).expect("a peer");
        let script = guest(&runc, &["08-rm".to_owned()]).expect("a script");
        assert!(script.starts_with("set -- '/opt/peers/runc' 'peer-runc' '10' '08-rm'\n"), "{script}");
        assert!(guest(&runc, &["it's".to_owned()]).is_err());
    }

    /// The names of all checks, with those of the files that they are in.
    fn names() -> Vec<(String, String)> {
        let mut names = Vec::new();
        for entry in fs::read_dir(checks()).expect("the checks") {
            let path = entry.expect("an entry").path();
            let file = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            let text = fs::read_to_string(&path).expect("a script");
            let checks = text.lines().filter_map(|line| line.strip_suffix("() {"));
            let checks = checks.filter(|name| name.starts_with(|letter: char| letter.is_ascii_digit()));
            names.extend(checks.map(|check| (check.to_owned(), file.clone())));
        }
        names
    }

    #[test]
    fn what_the_vm_runs_is_there() {
        let names = names();
        for wanted in names_in_vm(&options("corten")) {
            let is_it = |name: &str| {
                name.strip_prefix(&wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            };
            assert!(names.iter().any(|(name, _)| is_it(name)), "{wanted}");
        }
    }

    #[test]
    fn each_check_has_a_name_of_its_own_in_the_file_of_its_row() {
        let mut names: Vec<_> =
            names().into_iter().inspect(|(check, file)| assert_eq!(row(check), row(file))).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert!(count > 100 && names.len() == count, "{count}: {names:?}");
    }
}
