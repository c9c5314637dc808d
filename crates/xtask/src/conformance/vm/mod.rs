//! `cargo xtask conformance vm`: tests that want all controllers and systemd, in a VM of Debian testing.
//!
//! The programs are built here and seen in the VM, with the workspace, at the same paths as here. The VM's
//! disk is never written to: what a run changes is gone after it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use clap::Args;

use crate::debian::{Cache, Recipe};
use crate::programs::{self, Kind, Program};
use crate::{Result, libtest, packages, shell};

pub(super) const IMAGE: Recipe = Recipe {
    what: "the VM's disk (some minutes, 2 GB, once)",
    directory: ("vm", "CORTEN_VM_CACHE"),
    script: include_str!("image.sh"),
    results: &["disk.img", "vmlinuz", "initrd"],
};

/// What runs in the VM: `vm` is made for it, the others see more there than elsewhere. With the arguments for
/// each program, and the user: an ordinary one is in a session that systemd keeps for them.
const PARTS: [(&str, &[&str], User); 4] = [
    ("vm", &["--skip", "rootless::"], User::Root),
    ("vm", &["rootless::"], User::Tester),
    ("cgroups", &[], User::Root),
    ("containers", &["lifecycle::", "observing::", "limits::", "checkpoint::"], User::Root),
];

/// Who runs a test program in the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum User {
    Root,
    Tester,
}

/// How long the VM may take until it runs the first program.
const BOOT: Duration = Duration::from_secs(15 * 60);

/// How often it may fail to come up: an emulated kernel that changes its own code while another processor
/// runs it falls over now and then.
const BOOTS: usize = 4;

/// What to run.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these: PROGRAM or PROGRAM::MODULE, any of the workspace
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Keep what the programs print in DIR/NAME, and the VM's messages in DIR/console
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

/// A test program, and which of its tests run.
#[derive(Debug)]
struct Part {
    /// The program's name, and what chooses its tests.
    name: String,
    program: Program,
    arguments: Vec<String>,
    user: User,
}

impl Part {
    fn new(programs: &[Program], name: &str, arguments: &[&str], user: User) -> Result<Self> {
        let mut found = programs.iter().filter(|program| program.kind == Kind::Tests && program.name == name);
        let program = found.next().ok_or_else(|| format!("there is no test program {name}"))?.clone();
        let name = match arguments.first().and_then(|first| first.strip_suffix("::")) {
            Some(module) if arguments.len() == 1 => format!("{name}::{module}"),
            _ => name.to_owned(),
        };
        Ok(Self {
            name,
            program,
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            user,
        })
    }
}

pub(crate) fn run(options: &Options) -> Result {
    if !shell::is_root() {
        return Err("making the VM's disk needs root".into());
    }
    packages::check_vm_needs()?;
    packages::install_build_needs()?;
    let image = Cache::get(&IMAGE, options.rebuild)?;
    let parts = chosen(&programs::build()?, &options.only)?;
    if let Some(logs) = &options.logs {
        fs::create_dir_all(logs)?;
    }
    let runs = boot_and_run(&image, &parts, options)?;

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

fn chosen(programs: &[Program], only: &[String]) -> Result<Vec<Part>> {
    if only.is_empty() {
        return PARTS
            .into_iter()
            .map(|(name, arguments, user)| Part::new(programs, name, arguments, user))
            .collect();
    }
    let part = |wanted: &String| {
        let (name, module) = wanted.split_once("::").unwrap_or((wanted, ""));
        let module = Some(format!("{module}::")).filter(|_| !module.is_empty());
        let user = if wanted.starts_with("vm::rootless") { User::Tester } else { User::Root };
        Part::new(programs, name, module.as_deref().as_slice(), user)
    };
    only.iter().map(part).collect()
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
fn boot_and_run(image: &Cache, parts: &[Part], options: &Options) -> Result<Vec<Run>> {
    // Below Cargo's directory for the target, so that programs can be linked into it.
    let profile = profile(parts)?;
    let job = tempfile::Builder::new().prefix("vm-").tempdir_in(profile.parent().unwrap_or(profile))?;
    let programs_now = job.path().join("programs");
    keep(parts, profile, &programs_now)?;
    let workspace = shell::workspace();
    // Cargo's directory may be inside the workspace.
    let shares = [(workspace.as_path(), workspace.as_path()), (&programs_now, profile)];
    fs::write(job.path().join("run.sh"), script(&shares, parts)?)?;
    let console = match &options.logs {
        Some(logs) => logs.join("console"),
        None => job.path().join("console"),
    };
    println!("\nbooting the VM for {} test programs", parts.len());
    boot(image, job.path(), &shares, &console, options.kvm, |lines| listen(lines, options))
}

/// Boots the VM and lets it run `run.sh` of the job's directory; the lines that it prints after `@@ up` go to
/// `listen`.
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
fn profile(parts: &[Part]) -> Result<&Path> {
    let directory = parts.first().and_then(|part| part.program.file.ancestors().nth(2));
    Ok(directory.ok_or("there are no test programs")?)
}

/// Keeps the programs as they are now in a directory like Cargo's: the VM must not see what is built while it
/// runs.
fn keep(parts: &[Part], profile: &Path, directory: &Path) -> Result {
    fs::create_dir_all(directory.join("deps"))?;
    let corten = profile.join("corten");
    // Two parts may be of one program.
    let files: BTreeSet<_> = parts.iter().map(|part| &part.program.file).chain([&corten]).collect();
    for file in files {
        fs::hard_link(file, directory.join(file.strip_prefix(profile)?))?;
    }
    Ok(())
}

/// A directory of this machine, and where the VM sees it.
pub(super) type Share<'a> = (&'a Path, &'a Path);

/// What the VM runs.
fn script(shares: &[Share<'_>], parts: &[Part]) -> Result<String> {
    let mut lines = vec!["shares() {".to_owned()];
    for (index, (_, place)) in shares.iter().enumerate() {
        lines.push(format!("share share{index} {}", quoted(place)?));
    }
    lines.extend(["}".to_owned(), "programs() {".to_owned()]);
    for Part { name, program, arguments, user } in parts {
        let user = if *user == User::Tester { "tester" } else { "root" };
        let (directory, file) = (quoted(&program.directory)?, quoted(&program.file)?);
        lines.push(
            format!("program {name} {user} {directory} {file} {}", arguments.join(" ")).trim_end().to_owned(),
        );
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
    command.args([
        "setpriv",
        "--pdeathsig",
        "KILL",
        "qemu-system-x86_64",
        "-M",
        "q35",
        "-smp",
        "2",
        "-m",
        "4096",
    ]);
    command.args(if kvm {
        ["-accel", "kvm", "-cpu", "host"]
    } else {
        ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"]
    });
    command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
    command.arg("-kernel").arg(image.file("vmlinuz")).arg("-initrd").arg(image.file("initrd"));
    // An emulated processor that has to wait misjudges the speed of its time stamp counter: then its clock
    // runs away, and services time out.
    let clock = if kvm { "" } else { "notsc clocksource=hpet" };
    let options = "console=ttyS0 root=/dev/vda rw panic=-1 quiet mitigations=off nowatchdog systemd.crash_action=poweroff";
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
    use super::*;

    fn options() -> Options {
        Options { only: Vec::new(), logs: None, rebuild: false, kvm: false, minutes: 1 }
    }

    fn named(names: &[&str]) -> Vec<Program> {
        let program = |name: &&str| Program {
            name: (*name).to_owned(),
            kind: Kind::Tests,
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
        let result =
            "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s";
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
    fn programs_and_modules_are_chosen_by_name() {
        let programs = named(&["vm", "cgroups", "containers", "library"]);
        let names = |only: &[&str]| {
            let only: Vec<_> = only.iter().map(|&name| name.to_owned()).collect();
            let chosen = chosen(&programs, &only)?;
            Result::Ok(chosen.into_iter().map(|part| part.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).expect("some"), ["vm", "vm::rootless", "cgroups", "containers"]);
        assert_eq!(
            names(&["containers::mounts", "library"]).expect("two"),
            ["containers::mounts", "library"]
        );
        assert!(names(&["none"]).is_err());
    }

    #[test]
    fn programs_stay_as_they_were() {
        let directory = tempfile::tempdir().expect("a directory");
        let (profile, kept) = (directory.path().join("debug"), directory.path().join("kept"));
        fs::create_dir_all(profile.join("deps")).expect("made");
        let mut programs = named(&["a"]);
        programs[0].file = profile.join("deps/a");
        let parts =
            ["b::", "c::"].map(|module| Part::new(&programs, "a", &[module], User::Root).expect("a part"));
        for file in ["corten", "deps/a"] {
            fs::write(profile.join(file), "old").expect("written");
        }
        keep(&parts, &profile, &kept).expect("kept");
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
        let parts = chosen(&named(&["vm", "cgroups", "containers"]), &[]).expect("parts");
        let text = script(&[(src, src)], &parts).expect("a script");
        assert!(
            text.contains("\nprogram vm::rootless tester '/src' '/target/debug/deps/vm' rootless::\n"),
            "{text}"
        );
        assert!(
            text.contains("\nprogram vm root '/src' '/target/debug/deps/vm' --skip rootless::\n"),
            "{text}"
        );
        assert!(text.contains("\nprogram cgroups root '/src' '/target/debug/deps/cgroups'\n"), "{text}");
    }
}
