//! `cargo xtask mutants`: takes each defence out of a copy of the source, one at a time, and looks whether
//! its test fails.
//!
//! A test of an attack that passes without the defence that it is for shows nothing. The table says which
//! test it is; the working tree is never touched. First all of these tests must pass as they are: one that
//! fails anyway shows nothing either. Not part of CI: each defence takes a build.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::shell::{cargo, check, host, is_root, output, target_directory, workspace};
use crate::{Result, programs};
use table::{DEFENCES, Defence, Program, Test};

/// How long a test may take. Without its defence it may wait for ever.
const DEADLINE: Duration = Duration::from_secs(150);

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only defences whose name contains one of these
    names: Vec<String>,
    /// Where the mutants are built [default: mutants in Cargo's directory for targets]
    #[arg(long)]
    target_dir: Option<PathBuf>,
}

/// What has become of a mutant.
enum Outcome {
    Killed,
    Survived,
    /// It could not be tried.
    Broken(String),
}

pub(crate) fn run(options: &Options) -> Result {
    if !is_root() {
        return Err("the tests of the defences make containers, which needs root".into());
    }
    let begun = Instant::now();
    let target = match &options.target_dir {
        Some(directory) => std::path::absolute(directory)?,
        None => target_directory()?.join("mutants"),
    };
    let wanted = |defence: &&Defence| {
        options.names.is_empty() || options.names.iter().any(|name| defence.name.contains(name.as_str()))
    };
    let defences: Vec<_> = DEFENCES.iter().filter(wanted).collect();
    let bench = Bench::prepare(&target, &defences)?;
    println!(
        "baseline: {} tests, {} fail, after {:.0?}",
        bench.baseline.len(),
        bench.failing(),
        begun.elapsed()
    );
    let mut counts = [0; 3];
    for defence in defences {
        let tried = Instant::now();
        let (which, told) = match bench.try_without(defence) {
            Outcome::Killed => (0, "killed".to_owned()),
            Outcome::Survived => (1, format!("SURVIVED: {} passes without it", defence.test.name)),
            Outcome::Broken(why) => (2, format!("NOT TRIED: {why}")),
        };
        counts[which] += 1;
        println!("{}: {told} ({:.0?})", defence.name, tried.elapsed());
    }
    let [killed, survived, not_tried] = counts;
    println!("{killed} killed, {survived} survived, {not_tried} not tried, in {:.0?}", begun.elapsed());
    if survived + not_tried == 0 { Ok(()) } else { Err("a defence has no test that fails without it".into()) }
}

/// A copy of the source in which defences are taken out, and the tests, which stay as they are.
struct Bench<'d> {
    copy: PathBuf,
    target: &'d Path,
    /// The binary's test program, which runs the copy's binary.
    containers: PathBuf,
    /// Whether each test passes with all defences.
    baseline: BTreeMap<&'d Test, bool>,
}

impl<'d> Bench<'d> {
    fn prepare(target: &'d Path, defences: &[&'d Defence]) -> Result<Self> {
        let copy = target.join("source");
        copy_source(&copy)?;
        let mut bench = Self { copy, target, containers: PathBuf::new(), baseline: BTreeMap::new() };
        let tests: BTreeSet<&Test> = defences.iter().map(|defence| &defence.test).collect();
        check(bench.cargo().args(["build", "--quiet", "--package", "corten"]))?;
        bench.containers = bench.build_containers()?;
        for test in tests {
            let passes = bench.passes(test)?;
            bench.baseline.insert(test, passes);
        }
        Ok(bench)
    }

    fn failing(&self) -> usize {
        self.baseline.values().filter(|passes| !**passes).count()
    }

    fn cargo(&self) -> Command {
        let mut cargo = cargo();
        cargo.current_dir(&self.copy).env("CARGO_TARGET_DIR", self.target);
        cargo
    }

    /// Builds the binary's test program once, for the binary that is built in the copy.
    fn build_containers(&self) -> Result<PathBuf> {
        let mut build = self.cargo();
        build.env("CORTEN_TEST_BINARY", self.target.join(host()?).join("debug/corten"));
        build.args(["test", "--quiet", "--package", "corten", "--test", "containers", "--no-run"]);
        let messages = output(build.args(["--message-format", "json"]))?;
        let mut built =
            programs::named_by(&messages).into_iter().filter(|program| program.name == "containers");
        Ok(built.next().ok_or("cargo names no program containers")?.file)
    }

    /// Runs a test, without building what it tests.
    fn passes(&self, test: &Test) -> Result<bool> {
        let mut command = match test.program {
            Program::Containers => {
                let mut command = Command::new(&self.containers);
                command.current_dir(self.copy.join("runtime-bin")).args(test.choice());
                command
            }
            Program::Library => self.package_test(&["libcorten", "--test", "library"], test)?,
            Program::Cgroups => self.package_test(&["corten-cgroup", "--test", "cgroups"], test)?,
            Program::Units => self.package_test(&["libcorten", "--lib"], test)?,
        };
        let log = self.target.join("test.log");
        let file = fs::File::create(&log)?;
        command.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
        let end = Instant::now() + DEADLINE;
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status.success(),
                None if Instant::now() > end => {
                    child.kill()?;
                    child.wait()?;
                    break false;
                }
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        sweep(child.id());
        let log = fs::read_to_string(log)?;
        if !log.contains("running ") || log.contains("running 0 tests") {
            return Err(format!("there is no test {}", test.name).into());
        }
        Ok(status)
    }

    /// Builds tests of a package, and returns the command that runs one of them.
    fn package_test(&self, which: &[&str], test: &Test) -> Result<Command> {
        let mut build = self.cargo();
        build.args(["test", "--quiet", "--package"]).args(which).arg("--no-run");
        check(build.stderr(Stdio::null()))?;
        let mut command = self.cargo();
        command.args(["test", "--quiet", "--package"]).args(which).arg("--").args(test.choice());
        Ok(command)
    }

    /// Runs the test without the defence, and puts the source back.
    fn try_without(&self, defence: &Defence) -> Outcome {
        if self.baseline.get(&defence.test) != Some(&true) {
            return Outcome::Broken(format!("baseline fails: {}", defence.test.name));
        }
        let file = self.copy.join(defence.file);
        let Ok(text) = fs::read_to_string(&file) else {
            return Outcome::Broken(format!("no {}", defence.file));
        };
        if text.matches(defence.code).count() != 1 {
            return Outcome::Broken(format!("{} does not have this once: {}", defence.file, defence.code));
        }
        if let Err(error) = fs::write(&file, text.replacen(defence.code, defence.without, 1)) {
            return Outcome::Broken(error.to_string());
        }
        let build = || match defence.test.program {
            Program::Containers => {
                check(self.cargo().args(["build", "--quiet", "--package", "corten"]).stderr(Stdio::null()))
            }
            Program::Library | Program::Cgroups | Program::Units => Ok(()),
        };
        let tested = build().and_then(|()| self.passes(&defence.test));
        if let Err(error) = fs::write(&file, text) {
            return Outcome::Broken(error.to_string());
        }
        match tested {
            Ok(true) => Outcome::Survived,
            Ok(false) => Outcome::Killed,
            Err(error) => Outcome::Broken(error.to_string()),
        }
    }
}

/// Copies what Git knows of the working tree, or would add. Files that are the same stay as they are, so that
/// they need not be built again; those that have gone go.
fn copy_source(to: &Path) -> Result {
    let from = workspace();
    let mut git = Command::new("git");
    git.current_dir(&from).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    let listed = output(&mut git)?;
    let files: BTreeSet<&Path> =
        listed.lines().map(Path::new).filter(|file| from.join(file).is_file()).collect();
    fs::create_dir_all(to)?;
    remove_others(to, Path::new(""), &files)?;
    for file in files {
        let (source, copy) = (from.join(file), to.join(file));
        fs::create_dir_all(copy.parent().ok_or("a file without a directory")?)?;
        if fs::read(&copy).ok() != Some(fs::read(&source)?) {
            fs::copy(source, copy)?;
        }
    }
    Ok(())
}

/// Removes the files below a directory of the copy that are not among these.
fn remove_others(copy: &Path, directory: &Path, files: &BTreeSet<&Path>) -> Result {
    for entry in fs::read_dir(copy.join(directory))? {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            remove_others(copy, &path, files)?;
        } else if !files.contains(path.as_path()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Ends what a test that has failed may have left in its containers' cgroups, which have the names of its
/// process, and removes them.
fn sweep(pid: u32) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_cgroup = |line: &&str| line.contains(" - cgroup ") || line.contains(" - cgroup2 ");
    let mount_points = mounts.lines().filter(is_cgroup).filter_map(|line| line.split(' ').nth(4));
    let entries = mount_points.flat_map(|point| fs::read_dir(point).into_iter().flatten().flatten());
    let is_tests = |name: &str| name.split('-').nth(1) == Some(&pid.to_string());
    let left: Vec<_> = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_tests)).collect();
    for round in 0..20 {
        let gone = left.iter().map(|entry| remove(&entry.path())).filter(|gone| *gone).count();
        if gone == left.len() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10 * round));
    }
}

/// Kills what is in a cgroup and below, and removes it. Says whether it is gone.
fn remove(cgroup: &Path) -> bool {
    for (file, value) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0"), ("cgroup.kill", "1")] {
        fs::write(cgroup.join(file), value).ok();
    }
    for pid in fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default().lines() {
        let pid = pid.parse().ok().filter(|pid| *pid > 0).map(nix::unistd::Pid::from_raw);
        // It may have ended meanwhile.
        pid.map(|pid| nix::sys::signal::kill(pid, nix::sys::signal::SIGKILL).ok());
    }
    let below = fs::read_dir(cgroup).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in below.filter(|path| path.is_dir()) {
        remove(&path);
    }
    fs::remove_dir(cgroup).is_ok() || !cgroup.exists()
}
