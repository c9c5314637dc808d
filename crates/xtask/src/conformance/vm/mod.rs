//! `cargo xtask conformance vm`: tests that want all controllers and systemd, in a VM of Debian testing.
//!
//! The programs are built here and seen in the VM, with the workspace, at the same paths as here. The VM's disk is never written to:
//! what a run changes is gone after it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use crate::debian::{Cache, Recipe};
use crate::{Result, libtest, packages, shell};

pub(super) const IMAGE: Recipe = Recipe {
    what: "the VM's disk (some minutes, 2 GB, once)",
    directory: ("vm", "CORTEN_VM_CACHE"),
    script: include_str!("image.sh"),
    results: &["disk.img", "vmlinuz", "initrd"],
};

/// The programs that run in the VM beside those whose names begin with `vm_`: they see more there than elsewhere.
const ALSO: [&str; 7] = ["cgroups", "device_filter", "stats", "lifecycle", "observing", "limits", "checkpoint"];

/// Programs whose names begin so run as an ordinary user, in a session that systemd keeps for them.
const ROOTLESS: &str = "vm_rootless";

/// How long the VM may take until it runs the first program.
const BOOT: Duration = Duration::from_secs(15 * 60);

/// How often it may fail to come up: an emulated kernel that changes its own code while another processor runs it falls over now and then.
const BOOTS: usize = 4;

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only the test programs of this name, which may be any of the workspace's
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Keep what the programs print in DIR/PROGRAM, and the VM's messages in DIR/console
    #[arg(long, value_name = "DIR")]
    logs: Option<PathBuf>,
    /// Make the VM's disk anew
    #[arg(long)]
    rebuild: bool,
    /// Use KVM; without it the processor is emulated, which is slow and works everywhere
    #[arg(long)]
    kvm: bool,
    /// How long the programs may take together
    #[arg(long, default_value_t = 60)]
    minutes: u64,
}

/// A test program.
#[derive(Debug)]
struct Program {
    name: String,
    file: PathBuf,
    /// Its package's.
    directory: PathBuf,
}

pub(crate) fn run(options: &Options) -> Result {
    if !shell::is_root() {
        return Err("making the VM's disk needs root".into());
    }
    packages::check_vm_needs()?;
    packages::install_build_needs()?;
    let image = Cache::get(&IMAGE, options.rebuild)?;
    let programs = chosen(build()?, &options.only)?;
    if let Some(logs) = &options.logs {
        fs::create_dir_all(logs)?;
    }
    let runs = boot_and_run(&image, &programs, options)?;

    println!("\n{:<24} {:>7} {:>7} {:>8} {:>8}", "", "passed", "failed", "ignored", "time");
    for run in &runs {
        let output = &run.output;
        let (name, seconds) = (&run.name, run.time.as_secs());
        print!("{name:<24} {:>7} {:>7} {:>8} {seconds:>6} s", output.passed, output.failed, output.ignored);
        println!("{}", if run.is_good() { "" } else { "  FAILED" });
    }
    let mut skipped: Vec<_> = runs.iter().flat_map(|run| &run.output.skipped).collect();
    skipped.sort();
    skipped.dedup();
    skipped.iter().for_each(|reason| println!("skipped: {reason}"));
    let bad: Vec<_> = runs.iter().filter(|run| !run.is_good()).map(|run| run.name.as_str()).collect();
    if bad.is_empty() { Ok(()) } else { Err(format!("failed: {}", bad.join(", ")).into()) }
}

/// Builds all test programs of the workspace, and corten.
fn build() -> Result<Vec<Program>> {
    let mut command = shell::cargo();
    command.args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
    Ok(shell::output(&mut command)?.lines().filter_map(|line| program(&serde_json::from_str(line).ok()?)).collect())
}

/// The integration test that a message of cargo's is about.
fn program(message: &Value) -> Option<Program> {
    let is_test = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "test");
    let file = message["executable"].as_str().filter(|_| is_test)?;
    Some(Program {
        name: message["target"]["name"].as_str()?.to_owned(),
        file: file.into(),
        directory: Path::new(message["manifest_path"].as_str()?).parent()?.to_owned(),
    })
}

fn chosen(programs: Vec<Program>, only: &[String]) -> Result<Vec<Program>> {
    if let Some(missing) = only.iter().find(|name| !programs.iter().any(|program| program.name == **name)) {
        return Err(format!("there is no test program {missing}").into());
    }
    let is_chosen = |program: &Program| {
        let by_itself = program.name.starts_with("vm_") || ALSO.contains(&program.name.as_str());
        if only.is_empty() { by_itself } else { only.contains(&program.name) }
    };
    Ok(programs.into_iter().filter(is_chosen).collect())
}

/// How a program went.
#[derive(Debug)]
struct Run {
    name: String,
    output: libtest::Output,
    time: Duration,
    status: i32,
}

impl Run {
    fn is_good(&self) -> bool {
        self.status == 0 && self.output.has_result && self.output.failed == 0
    }
}

/// Boots the VM, lets it run the programs, and ends it.
fn boot_and_run(image: &Cache, programs: &[Program], options: &Options) -> Result<Vec<Run>> {
    // Below Cargo's directory for the target, so that programs can be linked into it.
    let profile = profile(programs)?;
    let job = tempfile::Builder::new().prefix("vm-").tempdir_in(profile.parent().unwrap_or(profile))?;
    let programs_now = job.path().join("programs");
    keep(programs, profile, &programs_now)?;
    let workspace = shell::workspace();
    // Cargo's directory may be inside the workspace.
    let shares = [(workspace.as_path(), workspace.as_path()), (&programs_now, profile)];
    fs::write(job.path().join("run.sh"), script(&shares, programs)?)?;
    let console = match &options.logs {
        Some(logs) => logs.join("console"),
        None => job.path().join("console"),
    };
    println!("\nbooting the VM for {} test programs", programs.len());
    boot(image, job.path(), &shares, &console, options.kvm, |lines| listen(lines, options))
}

/// Boots the VM and lets it run `run.sh` of the job's directory; the lines that it prints after `@@ up` go to `listen`.
pub(super) fn boot<T>(
    image: &Cache,
    job: &Path,
    shares: &[Share<'_>],
    console: &Path,
    kvm: bool,
    listen: impl FnOnce(&Receiver<String>) -> Result<T>,
) -> Result<T> {
    for left in (0..BOOTS).rev() {
        let mut machine = Running(machine(image, job, shares, console, kvm)?.spawn()?);
        let lines = lines(&mut machine.0)?;
        match wait_until_up(&lines) {
            Err(RecvTimeoutError::Disconnected) if left > 0 => println!("the VM has not come up; once more"),
            Err(_) => return told(Err("the VM does not come up".into()), console),
            Ok(()) => return told(listen(&lines), console),
        }
    }
    unreachable!("the last attempt returns")
}

/// Waits until the VM is up.
fn wait_until_up(lines: &Receiver<String>) -> std::result::Result<(), RecvTimeoutError> {
    let start = Instant::now();
    loop {
        let line = lines.recv_timeout(BOOT.saturating_sub(start.elapsed()))?;
        if line.starts_with("@@ up") {
            println!("up after {} s", start.elapsed().as_secs());
            return Ok(());
        }
        println!("{line}");
    }
}

/// Prints the VM's last messages if all did not go well.
fn told<T>(told: Result<T>, console: &Path) -> Result<T> {
    if told.is_err() {
        let text = fs::read(console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let last: Vec<_> = text.lines().rev().take(15).collect();
        println!("the VM's last messages:");
        last.iter().rev().for_each(|line| println!("  {}", line.trim()));
    }
    told
}

/// The VM, or whatever runs in namespaces of its own: killed at the end, as nothing is lost with it.
#[derive(Debug)]
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Cargo's directory for the profile: corten is in it, and test programs are in its `deps`.
fn profile(programs: &[Program]) -> Result<&Path> {
    let directory = programs.first().and_then(|program| program.file.ancestors().nth(2));
    Ok(directory.ok_or("there are no test programs")?)
}

/// Keeps the programs as they are now in a directory like Cargo's: the VM must not see what is built while it runs.
fn keep(programs: &[Program], profile: &Path, directory: &Path) -> Result {
    fs::create_dir_all(directory.join("deps"))?;
    let corten = profile.join("corten");
    for file in programs.iter().map(|program| &program.file).chain([&corten]) {
        fs::hard_link(file, directory.join(file.strip_prefix(profile)?))?;
    }
    Ok(())
}

/// A directory of this machine, and where the VM sees it.
pub(super) type Share<'a> = (&'a Path, &'a Path);

/// What the VM runs.
fn script(shares: &[Share<'_>], programs: &[Program]) -> Result<String> {
    let mut lines = vec!["shares() {".to_owned()];
    for (index, (_, place)) in shares.iter().enumerate() {
        lines.push(format!("share share{index} {}", quoted(place)?));
    }
    lines.extend(["}".to_owned(), "programs() {".to_owned()]);
    for program in programs {
        let user = if program.name.starts_with(ROOTLESS) { "tester" } else { "root" };
        let (directory, file) = (quoted(&program.directory)?, quoted(&program.file)?);
        lines.push(format!("program {} {user} {directory} {file}", program.name));
    }
    lines.push("}".to_owned());
    Ok(format!("{}\n{}", lines.join("\n"), include_str!("guest.sh")))
}

/// A path as the shell and QEMU take it.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().filter(|text| !text.contains(['\'', ',']));
    Ok(format!("'{}'", text.ok_or_else(|| format!("{}: a path with ' or , in it", path.display()))?))
}

fn machine(image: &Cache, job: &Path, shares: &[Share<'_>], console: &Path, kvm: bool) -> Result<Command> {
    // It stands back behind what else runs here, and ends with this process.
    let mut command = Command::new("nice");
    command.args(["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-M", "q35", "-smp", "2", "-m", "4096"]);
    command.args(if kvm {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"]
    });
    command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(image.file("vmlinuz")).arg("-initrd").arg(image.file("initrd"));
    // An emulated processor that has to wait misjudges the speed of its time stamp counter: then its clock runs away, and services
    // time out.
    let clock = if kvm { "" } else { "notsc clocksource=hpet" };
    let options =
        "console=ttyS0 root=/dev/vda rw panic=-1 quiet mitigations=off nowatchdog systemd.crash_action=poweroff";
    command.arg("-append").arg(format!("{options} {clock}"));
    let disk = image.file("disk.img");
    command.arg("-drive").arg(format!("file={},if=virtio,format=raw,snapshot=on", disk.display()));
    command.arg("-serial").arg(format!("file:{}", console.display()));
    command.args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=job"]);
    command.args(["-chardev", "file,id=job,path=/dev/fd/1"]);
    let shares = shares.iter().enumerate().map(|(index, (share, _))| (format!("share{index}"), *share));
    for (tag, share) in shares.chain([("job".to_owned(), job)]) {
        let options = "security_model=none,readonly=on,multidevs=remap";
        command.arg("-virtfs").arg(format!("local,path={},mount_tag={tag},{options}", share.display()));
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    Ok(command)
}

/// The lines that a program prints, as they come.
pub(super) fn lines(machine: &mut Child) -> Result<Receiver<String>> {
    let (sender, receiver) = mpsc::channel();
    let mut reader = BufReader::new(machine.stdout.take().ok_or("no stdout")?);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if sender.send(text).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}

/// Follows the run, shows it, and returns how each program went.
fn listen(lines: &Receiver<String>, options: &Options) -> Result<Vec<Run>> {
    let deadline = Instant::now() + Duration::from_secs(options.minutes * 60);
    let mut runs = Vec::new();
    let mut current: Option<(Run, Instant, Option<File>)> = None;
    loop {
        let line = match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => return Err("the VM takes too long".into()),
            Err(RecvTimeoutError::Disconnected) => return Err("the VM ended before its job".into()),
        };
        let words: Vec<_> = line.strip_prefix("@@ ").unwrap_or_default().split(' ').collect();
        match words.as_slice() {
            ["begin", name] => {
                println!("\n=== {name} ===");
                let log = options.logs.as_ref().map(|logs| File::create(logs.join(name))).transpose()?;
                let (name, output) = ((*name).to_owned(), libtest::Output::default());
                current = Some((Run { name, output, time: Duration::ZERO, status: -1 }, Instant::now(), log));
            }
            ["end", _, status] => {
                let (run, begun, _) = current.take().ok_or("the end of no program")?;
                runs.push(Run { time: begun.elapsed(), status: status.parse()?, ..run });
            }
            ["done"] => return Ok(runs),
            _ => {
                let Some((run, _, log)) = &mut current else {
                    println!("{line}");
                    continue;
                };
                if let Some(log) = log {
                    writeln!(log, "{line}")?;
                }
                if run.output.take(&line) {
                    println!("{line}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn options() -> Options {
        Options { only: Vec::new(), logs: None, rebuild: false, kvm: false, minutes: 1 }
    }

    fn named(names: &[&str]) -> Vec<Program> {
        let program = |name: &&str| Program {
            name: (*name).to_owned(),
            file: Path::new("/target/debug/deps").join(name),
            directory: "/src".into(),
        };
        names.iter().map(program).collect()
    }

    fn heard(text: &str) -> Result<Vec<Run>> {
        let (sender, receiver) = mpsc::channel();
        text.lines().for_each(|line| sender.send(line.to_owned()).expect("sent"));
        drop(sender);
        listen(&receiver, &options())
    }

    #[test]
    fn a_programs_lines_are_its_own() {
        let result = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        let text = format!("Linux\n@@ begin a\n{result}\n@@ end a 0\n@@ begin b\n@@ end b 0\n@@ done\n");
        let runs = heard(&text).expect("a whole run");
        let [a, b] = runs.as_slice() else { panic!("{runs:?}") };
        assert!((a.output.passed, a.output.ignored) == (2, 1) && a.is_good(), "{a:?}");
        assert!(!b.is_good(), "a program that tells no result: {b:?}");
    }

    #[test]
    fn a_program_fails_by_its_status_alone() {
        let result = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured";
        let runs = heard(&format!("@@ begin a\n{result}\n@@ end a 139\n@@ done\n")).expect("a whole run");
        assert!(!runs.iter().any(Run::is_good), "{runs:?}");
    }

    #[test]
    fn a_vm_that_ends_early_is_an_error() {
        assert!(heard("@@ begin a\n@@ end a 0\n").is_err());
    }

    #[test]
    fn what_the_vm_says_before_it_is_up_is_not_its_job_s() {
        let (sender, receiver) = mpsc::channel();
        for line in ["mount: no", "@@ up 9.1", "Linux"] {
            sender.send(line.to_owned()).expect("sent");
        }
        drop(sender);
        wait_until_up(&receiver).expect("up");
        assert_eq!(receiver.recv().expect("the rest"), "Linux");
        assert_eq!(wait_until_up(&receiver), Err(RecvTimeoutError::Disconnected));
    }

    #[test]
    fn programs_are_chosen_by_name() {
        let names = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|&name| name.to_owned()).collect();
            let chosen = chosen(named(&["vm_peers", "cgroups", "mounts"]), &only)?;
            Result::Ok(chosen.into_iter().map(|program| program.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).expect("some"), ["vm_peers", "cgroups"]);
        assert_eq!(names(&["mounts"]).expect("one"), ["mounts"]);
        assert!(names(&["none"]).is_err());
    }

    #[test]
    fn of_cargos_messages_those_about_integration_tests_count() {
        let message = |kind| {
            json!({ "target": { "kind": [kind], "name": "cgroups" }, "executable": "/target/debug/deps/cgroups-1",
                    "manifest_path": "/src/Cargo.toml" })
        };
        let found = program(&message("test")).expect("a program");
        assert_eq!((found.name.as_str(), found.directory.as_path()), ("cgroups", Path::new("/src")));
        assert!(program(&message("lib")).is_none() && program(&json!({ "reason": "build-finished" })).is_none());
    }

    #[test]
    fn programs_stay_as_they_were() {
        let directory = tempfile::tempdir().expect("a directory");
        let (profile, kept) = (directory.path().join("debug"), directory.path().join("kept"));
        fs::create_dir_all(profile.join("deps")).expect("made");
        let mut programs = named(&["a"]);
        programs[0].file = profile.join("deps/a");
        for file in ["corten", "deps/a"] {
            fs::write(profile.join(file), "old").expect("written");
        }
        keep(&programs, &profile, &kept).expect("kept");
        for file in ["corten", "deps/a"] {
            fs::remove_file(profile.join(file)).expect("removed");
            fs::write(profile.join(file), "new").expect("written");
            assert_eq!(fs::read_to_string(kept.join(file)).expect("there"), "old");
        }
    }

    #[test]
    fn only_rootless_programs_run_as_the_user() {
        let src = Path::new("/src");
        let text = script(&[(src, Path::new("/it's"))], &[]).expect_err("a quote").to_string();
        assert!(text.contains("/it's"), "{text}");
        let text = script(&[(src, src)], &named(&["vm_rootless", "vm_peers"])).expect("a script");
        assert!(text.contains("\nprogram vm_rootless tester '/src' '/target/debug/deps/vm_rootless'\n"), "{text}");
        assert!(text.contains("\nprogram vm_peers root '/src' "), "{text}");
    }
}
