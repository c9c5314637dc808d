//! `cargo xtask faults`: lets each kernel call of a container's commands fail in each way that it can, and
//! makes fds, memory and the state directory's disk scarce.
//!
//! After each: a line that names the call, or success with full effect; no hang, no panic; and after
//! `delete --force` nothing is left, and the id can be used again. What fails is told with the words to try
//! it alone.

mod calls;
mod scenarios;
mod stage;
mod trace;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use nix::sys::prctl;

use self::calls::Call;
use self::scenarios::{ALL, Cause, Scenario, Trial};
use self::stage::{How, Stage};
use self::trace::Place;
use crate::{Result, shell};

/// What to let fail.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Only these commands: create, run, start, exec, kill, update, delete
    #[arg(long, value_name = "COMMAND")]
    only: Vec<String>,
    /// Only these calls; `fds`, `memory`, `disk` for what is made scarce
    #[arg(long, value_name = "NAME")]
    call: Vec<String>,
    /// At most so many trials of each command
    #[arg(long, value_name = "NUMBER")]
    limit: Option<usize>,
    /// Another binary than the one that is built for debugging
    #[arg(long, value_name = "FILE")]
    corten: Option<PathBuf>,
    /// In pure cgroup v2
    #[arg(long)]
    pure_v2: bool,
    /// Which part of the trials: one of those that run at once
    #[arg(long, hide = true, value_name = "NUMBER")]
    part: Option<usize>,
}

/// How many run at once.
const PARTS: usize = 2;
/// What a part writes at its end before the figures.
const RESULT: &str = "result ";

pub(crate) fn run(options: &Options) -> Result {
    if !cfg!(target_arch = "x86_64") || !shell::is_root() {
        return Err("tracing containers being made needs x86_64 and root".into());
    }
    match options.part {
        Some(part) => run_part(options, part),
        None => run_parts(options),
    }
}

/// Runs this program once for each part, and adds up.
fn run_parts(options: &Options) -> Result {
    let begun = Instant::now();
    let corten = match &options.corten {
        Some(corten) => corten.clone(),
        None => shell::build("dev")?,
    };
    let mut parts = Vec::new();
    for part in 0..PARTS {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(std::env::args_os().skip(1)).arg("--part").arg(part.to_string());
        if options.corten.is_none() {
            command.arg("--corten").arg(&corten);
        }
        parts.push(command.stdout(Stdio::piped()).spawn()?);
    }
    let (mut passed, mut failed, mut is_complete) = (0, 0, true);
    let (sender, lines) = std::sync::mpsc::channel();
    for output in parts.iter_mut().filter_map(|part| part.stdout.take()) {
        let sender = sender.clone();
        std::thread::spawn(move || {
            BufReader::new(output)
                .lines()
                .map_while(std::io::Result::ok)
                .try_for_each(|line| sender.send(line))
        });
    }
    drop(sender);
    for line in lines {
        match line.strip_prefix(RESULT).and_then(|figures| figures.split_once(' ')) {
            Some((good, bad)) => {
                passed += good.parse::<usize>()?;
                failed += bad.parse::<usize>()?;
            }
            None => println!("{line}"),
        }
    }
    for mut part in parts {
        is_complete &= part.wait()?.success();
    }
    println!("{passed} passed, {failed} failed ({} s)", begun.elapsed().as_secs());
    if failed > 0 || !is_complete { Err("not as it should be".into()) } else { Ok(()) }
}

/// What was found.
#[derive(Debug, Default)]
struct Figures {
    passed: usize,
    failed: usize,
}

impl Figures {
    fn count(&mut self, what: &str, wrong: &[String], err: &str) {
        if wrong.is_empty() {
            self.passed += 1;
        } else {
            self.failed += 1;
            println!(
                "FAILED {what}: {}\n    said: {}",
                wrong.join("; "),
                err.trim_end().replace('\n', "\n          ")
            );
        }
    }
}

fn run_part(options: &Options, part: usize) -> Result {
    let directory = tempfile::Builder::new().prefix("corten-faults-").tempdir()?;
    if options.pure_v2 {
        shell::enter_pure_v2()?;
    } else {
        shell::enter_mount_namespace()?;
    }
    // Whoever loses its parent is seen here.
    prctl::set_child_subreaper(true)?;
    let corten = options.corten.as_deref().ok_or("--part without --corten")?;
    let stage = Stage::new(corten, directory.path())?;
    let mut figures = Figures::default();
    for scenario in ALL {
        if options.only.is_empty() || options.only.iter().any(|name| name == scenario.command()) {
            try_scenario(options, part, &stage, scenario, &mut figures)?;
        }
    }
    println!("{RESULT}{} {}", figures.passed, figures.failed);
    Ok(())
}

/// Each fault of each call of a command, and then what is scarce.
fn try_scenario(
    options: &Options,
    part: usize,
    stage: &Stage,
    scenario: Scenario,
    figures: &mut Figures,
) -> Result {
    let (begun, before) = (Instant::now(), figures.passed + figures.failed);
    let mut trial = Trial::new(stage, scenario);
    let calls = learn(&mut trial)?;
    let is_wanted = |name: &str| options.call.is_empty() || options.call.iter().any(|wanted| wanted == name);
    let mut unknown: Vec<i64> =
        calls.iter().map(|place| place.number).filter(|n| Call::find(*n).is_none()).collect();
    unknown.dedup();
    if !unknown.is_empty() {
        return Err(format!("{}: calls that the table does not know: {unknown:?}", scenario.name()).into());
    }
    if part == 0 {
        tell_left_out(scenario, &calls);
    }
    let faults = faults(&calls).into_iter().filter(|(_, call, _)| is_wanted(call.name));
    let mine = |index: &usize| index % PARTS == part;
    let limit = options.limit.unwrap_or(usize::MAX);
    let mut missed = 0;
    for (_, (place, call, errno)) in faults.take(limit).enumerate().filter(|(index, _)| mine(index)) {
        let what = format!("{}: {} {}({}) {errno:?}", scenario.name(), place.who, call.name, place.nth);
        if !attempt(
            &mut trial,
            &what,
            How::Traced(Some((&place, errno))),
            Cause::Fault(call, errno),
            figures,
        )? {
            missed += 1;
        }
    }
    for (_, scarcity) in scarcities(stage)?.into_iter().enumerate().filter(|(index, _)| mine(index)) {
        if is_wanted(scarcity.kind) {
            let what = format!("{}: {}", scenario.name(), scarcity.words);
            attempt(&mut trial, &what, How::After(&scarcity.words), Cause::Scarcity, figures)?;
        }
    }
    if is_wanted("disk") {
        for size in (0..24).filter(mine) {
            try_disk(&mut trial, size, figures)?;
        }
    }
    trial.finish(false);
    let tried = figures.passed + figures.failed - before;
    println!("{}: {tried} trials, {missed} calls not met, {} s", scenario.name(), begun.elapsed().as_secs());
    Ok(())
}

/// Which calls the command makes, when it has made what those that follow share, and nobody else is making
/// it.
fn learn(trial: &mut Trial<'_>) -> Result<Vec<Place>> {
    const MOST: usize = 5;
    let of = |calls: &[Place]| calls.iter().cloned().collect::<std::collections::BTreeSet<_>>();
    // What the first one leaves is no fault.
    let mut before = trial.learn().unwrap_or_default();
    for _ in 0..MOST {
        trial.begin();
        let calls = trial.learn()?;
        if of(&calls) == of(&before) {
            break;
        }
        before = calls;
    }
    Ok(before)
}

/// Which calls are made and let be.
fn tell_left_out(scenario: Scenario, calls: &[Place]) {
    let calls = calls.iter().filter_map(|place| Call::find(place.number));
    let names: std::collections::BTreeSet<_> =
        calls.filter_map(|call| Some((call.why_not()?, call.name))).collect();
    names.into_iter().for_each(|(why, name)| println!("{}: left out: {name}: {why}", scenario.name()));
}

/// Each errno of each call, but those before main.
fn faults(calls: &[Place]) -> Vec<(Place, &'static Call, nix::errno::Errno)> {
    // Its first call asks whether stdio is open.
    let main = calls.iter().position(|place| place.number == nix::libc::SYS_fcntl).unwrap_or(0);
    let calls = calls.iter().skip(main).filter_map(|place| Some((place, Call::find(place.number)?)));
    calls
        .flat_map(|(place, call)| call.errnos().iter().map(move |errno| (place.clone(), call, *errno)))
        .collect()
}

/// Makes one attempt; false if the call was not made.
fn attempt(
    trial: &mut Trial<'_>,
    what: &str,
    how: How<'_>,
    cause: Cause<'_>,
    figures: &mut Figures,
) -> Result<bool> {
    if let Err(error) = trial.prepare() {
        figures.count(what, &[format!("the container before it: {error}")], "");
        trial.finish(false);
        return Ok(true);
    }
    let processes = trial.stage.processes();
    let output = trial.run(how)?;
    let is_met = output.failed || !matches!(how, How::Traced(_));
    let mut wrong = if is_met { trial.judge(&output, cause, &processes) } else { Vec::new() };
    let is_sound = wrong.is_empty() && trial.stage.processes() == processes;
    wrong.extend(trial.finish(is_sound));
    if is_met {
        figures.count(what, &wrong, &output.err);
    }
    Ok(is_met)
}

/// Words for a shell that make something scarce.
#[derive(Debug)]
struct Scarcity {
    kind: &'static str,
    words: String,
}

fn scarcities(stage: &Stage) -> Result<Vec<Scarcity>> {
    let fds = (6..=60).map(|count| Scarcity { kind: "fds", words: format!("ulimit -n {count}") });
    // What is needed to get as far as main.
    let memory = |kib: usize| format!("ulimit -v {kib}");
    let starts =
        |kib: usize| stage.corten(&["--version"], How::After(&memory(kib))).map(|out| out.status == Some(0));
    let (mut too_little, mut enough) = (0_usize, 1 << 20);
    while enough - too_little > 16 {
        let middle = too_little.midpoint(enough);
        if starts(middle)? { enough = middle } else { too_little = middle }
    }
    let memory = (0..40).map(|step| Scarcity { kind: "memory", words: memory(enough + step * 16) });
    Ok(fds.chain(memory).collect())
}

/// With a disk for the state that is full but for some pages, or some files.
fn try_disk(trial: &mut Trial<'_>, size: usize, figures: &mut Figures) -> Result {
    trial.finish(false);
    let makes = trial.scenario.makes();
    let options = match (makes, size.is_multiple_of(2)) {
        (true, true) => format!("size={}k", 4 + size * 2),
        (true, false) => format!("nr_inodes={}", 1 + size / 2),
        (false, _) => "size=1m".to_owned(),
    };
    trial.stage.shrink(&options)?;
    trial.begin();
    let filler = trial.stage.path("root/filler");
    if !makes {
        trial.prepare()?;
        fill(&filler, size / 6)?;
    }
    let processes = trial.stage.processes();
    let output = trial.run(How::Plainly)?;
    std::fs::remove_file(&filler).ok();
    let mut wrong = trial.judge(&output, Cause::Scarcity, &processes);
    wrong.extend(trial.finish(false));
    let what = if makes { options } else { format!("{} pages", size / 6) };
    figures.count(&format!("{}: a disk of {what}", trial.scenario.name()), &wrong, &output.err);
    trial.stage.grow()?;
    trial.begin();
    Ok(())
}

/// Writes a file until there is no space, and gives some pages back.
fn fill(path: &Path, pages: usize) -> Result {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    let mut written = 0;
    while file.write_all(&[0; 4096]).is_ok() {
        written += 4096;
    }
    Ok(file.set_len(written - 4096 * u64::try_from(pages)?)?)
}
