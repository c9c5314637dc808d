//! How much memory a create takes, what a container takes that waits, and how little it can do with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::json;

use super::many::{proportional_kib, value_kib};
use crate::Result;
use crate::bench::figures::{Measurement, Sample, Unit};
use crate::bench::measure::{Case, Rounds, alternate};
use crate::bench::runtime::{Bundle, Live, Runtime};
use crate::bench::{Bench, entrants};

/// Memory hardly differs from one time to the next.
const ROUNDS: Rounds = Rounds { warm_ups: 0, counted: 5 };

/// How exactly the lowest limit is found.
const STEP_BYTES: u64 = 16 << 10;

/// A limit with which every runtime starts a container.
const ENOUGH_BYTES: u64 = 64 << 20;

/// How often a container has to start with a limit.
const TRIES: usize = 3;

pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Measurement>> {
    let cases = [
        "largest process of a create, at its peak",
        "all processes of a create, each at its peak",
        "waiting init, resident",
        "waiting init, proportional",
    ]
    .map(|name| Case::new("memory", name, Unit::Kibibytes));
    let runtimes = bench.oci_runtimes();
    let mut measurements = alternate(ROUNDS, &cases, &entrants(&runtimes), |index| {
        let live = Live::of(runtimes[index], bench.id());
        let peaks = peaks(&runtimes[index].create(&bench.default, &live.id))?;
        let largest = peaks.values().copied().fold(0.0, f64::max);
        let init = runtimes[index].pid()?;
        let rollup = fs::read_to_string(format!("/proc/{init}/smaps_rollup"))?;
        let waiting = [value_kib(&rollup, "Rss:")?, proportional_kib(init)?];
        Ok([largest, peaks.values().sum()].into_iter().chain(waiting).map(Sample::from).collect())
    });
    if can_limit() {
        let case = Case::new("memory", "lowest limit with which a container starts", Unit::Kibibytes);
        let once = Rounds { warm_ups: 0, counted: 1 };
        measurements.extend(alternate(once, &[case], &entrants(&runtimes), |index| {
            #[expect(clippy::cast_precision_loss, reason = "a small number")]
            let kib = lowest_limit(bench, runtimes[index])? as f64 / 1024.0;
            Ok(vec![Sample::from(kib)])
        }));
    } else {
        println!("left out: the lowest memory limit: these cgroups have no memory controller");
    }
    Ok(measurements)
}

/// Runs a command to its end, and returns the peaks of its processes, in KiB. They are traced: the kernel
/// stops each when it is about to end, and those that stay are looked at when the command has ended.
fn peaks(command: &Command) -> Result<BTreeMap<i32, f64>> {
    // What is executed stands still until it is traced.
    let mut traced = Command::new("/bin/sh");
    traced
        .args(["-c", r#"kill -STOP $$; exec "$@""#, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    traced
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let first = Pid::from_raw(i32::try_from(traced.spawn()?.id())?);
    waitpid(first, Some(WaitPidFlag::WUNTRACED))?;
    let options = Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXIT;
    ptrace::seize(first, options)?;
    kill(first, Signal::SIGCONT)?;
    let mut peaks = BTreeMap::new();
    let mut threads = vec![first];
    let status = loop {
        let event = waitpid(None, Some(WaitPidFlag::__WALL))?;
        if let Some(pid) = event.pid()
            && !threads.contains(&pid)
        {
            threads.push(pid);
        }
        match event {
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == ptrace::Event::PTRACE_EVENT_EXIT as i32 {
                    look(pid, &mut peaks)?;
                }
                resume(pid, None)?;
            }
            WaitStatus::Stopped(pid, signal) => resume(pid, Some(signal))?,
            WaitStatus::Exited(pid, status) => {
                threads.retain(|thread| *thread != pid);
                if pid == first {
                    break status;
                }
            }
            WaitStatus::Signaled(pid, ..) => {
                threads.retain(|thread| *thread != pid);
                if pid == first {
                    break 128;
                }
            }
            _ => {}
        }
    };
    for thread in threads {
        release(thread, &mut peaks)?;
    }
    if status == 0 { Ok(peaks) } else { Err(format!("a traced create ends with {status}").into()) }
}

/// Notes the peak of the process that a thread belongs to.
fn look(thread: Pid, peaks: &mut BTreeMap<i32, f64>) -> Result {
    let status = fs::read_to_string(format!("/proc/{thread}/status"))?;
    let process = value_kib(&status, "Tgid:")?;
    // A process that has given its memory back has none.
    let Ok(peak) = value_kib(&status, "VmHWM:") else { return Ok(()) };
    #[expect(clippy::cast_possible_truncation, reason = "a pid")]
    let known = peaks.entry(process as i32).or_insert(peak);
    *known = known.max(peak);
    Ok(())
}

/// Goes on, unless it has been killed meanwhile.
fn resume(thread: Pid, signal: Option<Signal>) -> Result {
    match ptrace::cont(thread, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Looks at a thread that stays, and lets go of it: it has to stand still for that.
fn release(thread: Pid, peaks: &mut BTreeMap<i32, f64>) -> Result {
    if ptrace::interrupt(thread).is_err() {
        return Ok(());
    }
    match waitpid(thread, Some(WaitPidFlag::__WALL)) {
        Ok(WaitStatus::PtraceEvent(..) | WaitStatus::Stopped(..)) => {
            look(thread, peaks)?;
            match ptrace::detach(thread, None) {
                Ok(()) | Err(Errno::ESRCH) => Ok(()),
                Err(error) => Err(error.into()),
            }
        }
        _ => Ok(()),
    }
}

/// Whether containers can be limited here.
fn can_limit() -> bool {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    controllers.split_whitespace().any(|name| name == "memory") || Path::new("/sys/fs/cgroup/memory").is_dir()
}

fn lowest_limit(bench: &Bench<'_>, runtime: &Runtime) -> Result<u64> {
    if !starts_with(bench, runtime, ENOUGH_BYTES)? {
        return Err("does not even start with 64 MiB".into());
    }
    let (mut too_low, mut enough) = (0, ENOUGH_BYTES);
    while enough - too_low > STEP_BYTES {
        let middle = (too_low + enough) / 2 / 4096 * 4096;
        if starts_with(bench, runtime, middle)? { enough = middle } else { too_low = middle }
    }
    Ok(enough)
}

/// Whether a container starts with a limit, every time.
fn starts_with(bench: &Bench<'_>, runtime: &Runtime, bytes: u64) -> Result<bool> {
    let bundle = bench.variant("limited", &bench.default, |config| {
        config["linux"]["resources"]["memory"] = json!({ "limit": bytes });
    })?;
    for _ in 0..TRIES {
        if !starts(runtime, &bundle, bench.id())? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Runs a container, which may not take for ever: some runtimes wait for an init that the kernel has killed.
fn starts(runtime: &Runtime, bundle: &Bundle, id: String) -> Result<bool> {
    let live = Live::of(runtime, id);
    let mut child = runtime.run(bundle, &live.id)?.spawn()?;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(status) = child.try_wait()? {
            if status.success() {
                live.forget();
            }
            return Ok(status.success());
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}
