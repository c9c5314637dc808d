//! `cargo xtask bench`: Corten beside its peers.
//!
//! The runtimes take turns, so that a machine that gets slower does so for all of them. What counts is the median and the ratio
//! of medians; single times on a shared machine mean little.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use clap::Args;
use serde_json::{Value, json};

use crate::{Result, bundle, packages, shell};

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Counted runs of each runtime
    #[arg(long, default_value_t = 60)]
    runs: usize,
    /// More runtimes to compare with
    #[arg(long, value_name = "PATH")]
    runtime: Vec<PathBuf>,
    /// Write the figures to a file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(crate) fn run(options: &Options) -> Result {
    if !shell::is_root() {
        return Err("making containers needs root so far".into());
    }
    packages::install_build_needs()?;
    packages::install_peers();
    let corten = shell::build_release()?;
    shell::enter_pure_v2()?;
    let directory = tempfile::tempdir()?;
    // A copy, as an installed binary is one: what a linker has just written lies in the page cache in small pieces, which
    // makes mapping it slower.
    let installed = directory.path().join("corten");
    fs::copy(&corten, &installed)?;
    let corten = installed;
    let (default, docker) = (directory.path().join("default"), directory.path().join("docker"));
    bundle::default(&corten, &default, &["/bin/true"])?;
    bundle::docker(&docker, &["/bin/true"])?;
    let mut runtimes = vec![corten.clone()];
    runtimes.extend(["crun", "runc"].into_iter().filter_map(shell::find));
    runtimes.extend(options.runtime.iter().cloned());
    let mut figures = serde_json::Map::new();
    for (name, bundle) in [("default", &default), ("docker", &docker)] {
        figures.insert(name.to_owned(), compare(name, bundle, &runtimes, options.runs));
    }
    figures.insert("waiting init".to_owned(), memory(&default, &runtimes)?);
    figures.insert("execve calls before the user's".to_owned(), exec_count(&corten, &default)?);
    if let Some(path) = &options.json {
        fs::write(path, serde_json::to_string_pretty(&figures)?)?;
    }
    Ok(())
}

/// A command of a runtime, silent.
fn command(runtime: &Path, bundle: &Path, verb: &str, id: &str) -> Command {
    let mut command = Command::new(runtime);
    command.args([verb, "--bundle"]).arg(bundle).arg(id);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs a bundle with each runtime in turn and prints the figures, in milliseconds.
fn compare(name: &str, bundle: &Path, runtimes: &[PathBuf], runs: usize) -> Value {
    println!("\nrun of the {name} bundle, {runs} times each, ms");
    let id = format!("bench-{}", std::process::id());
    let mut able = Vec::new();
    for runtime in runtimes {
        let tried = command(runtime, bundle, "run", &id).stderr(Stdio::piped()).output();
        match tried {
            Ok(output) if output.status.success() => able.push(runtime),
            Ok(output) => {
                println!("left out: {}: {}", runtime.display(), String::from_utf8_lossy(&output.stderr).trim())
            }
            Err(error) => println!("left out: {}: {error}", runtime.display()),
        }
    }
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); able.len()];
    const WARM_UPS: usize = 5;
    for round in 0..runs + WARM_UPS {
        for (runtime, times) in able.iter().zip(&mut times) {
            let mut command = command(runtime, bundle, "run", &id);
            let start = Instant::now();
            let status = command.status();
            let time = start.elapsed().as_secs_f64() * 1000.0;
            if round >= WARM_UPS && status.is_ok_and(|status| status.success()) {
                times.push(time);
            }
        }
    }
    let mut rows = serde_json::Map::new();
    let mut first = None;
    println!("{:<16} {:>8} {:>8} {:>8}  corten's median is", "", "min", "median", "p90");
    for (runtime, times) in able.iter().zip(&mut times) {
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times.get(index(times.len(), part)).copied().unwrap_or(f64::NAN);
        let (min, median, p90) = (at(0.0), at(0.5), at(0.9));
        let ratio = *first.get_or_insert(median) / median;
        let label = shell::label(runtime);
        println!("{label:<16} {min:>8.2} {median:>8.2} {p90:>8.2}  {ratio:.2} of this");
        rows.insert(label, json!({ "min_ms": min, "median_ms": median, "p90_ms": p90, "corten_ratio": ratio }));
    }
    Value::Object(rows)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small positive numbers"
)]
fn index(length: usize, part: f64) -> usize {
    (length.saturating_sub(1) as f64 * part).round() as usize
}

/// Memory of a created container's init, which waits for start.
fn memory(bundle: &Path, runtimes: &[PathBuf]) -> Result<Value> {
    println!("\nmemory of an init that waits for start, KiB");
    let mut rows = serde_json::Map::new();
    let file = bundle.join("pid");
    for runtime in runtimes {
        let id = format!("bench-memory-{}", std::process::id());
        let mut create = Command::new(runtime);
        create.args(["create", "--bundle"]).arg(bundle).arg("--pid-file").arg(&file).arg(&id);
        let created = create.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if created.success() {
            let pid = fs::read_to_string(&file)?;
            let rollup = fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.trim()))?;
            let value = |key: &str| {
                let line = rollup.lines().find_map(|line| line.strip_prefix(key));
                line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
            };
            let (rss, pss) = (value("Rss:"), value("Pss:"));
            let label = shell::label(runtime);
            println!("{label:<16} resident {rss:>6}  proportional {pss:>6}");
            rows.insert(label, json!({ "rss_kib": rss, "pss_kib": pss }));
        }
        Command::new(runtime).args(["delete", "--force", &id]).stderr(Stdio::null()).status()?;
    }
    Ok(Value::Object(rows))
}

/// Counts the execs of a run up to the user's program.
fn exec_count(corten: &Path, bundle: &Path) -> Result<Value> {
    let Some(strace) = shell::find("strace") else {
        println!("\nno strace: execs are not counted");
        return Ok(Value::Null);
    };
    let trace = bundle.join("trace");
    let mut command = Command::new(strace);
    command.args(["-f", "-qq", "-e", "trace=execve,execveat", "-o"]).arg(&trace).arg(corten);
    command.args(["run", "--bundle"]).arg(bundle).arg(format!("bench-strace-{}", std::process::id()));
    shell::check(command.stdout(Stdio::null()))?;
    let trace = fs::read_to_string(trace)?;
    let execs = trace.lines().take_while(|line| !line.contains("\"/bin/true\"") || line.contains("corten")).count();
    println!("\nexecs before the user's: {execs}");
    Ok(json!(execs))
}
