//! `cargo xtask demo`: from a fresh machine to a first container.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, bundle, packages, shell};

const SCRIPT: &str = "echo hello from $(hostname), kernel $(uname -r); id; ps; \
    echo $(ls /dev | wc -l) devices, $(cat /proc/self/mountinfo | wc -l) mounts";

pub(crate) fn run() -> Result {
    packages::install_build_needs()?;
    let corten = shell::build_release()?;
    let directory = shell::workspace().join("target/demo");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    bundle::default(&corten, &directory, &["/bin/sh", "-c", SCRIPT])?;
    if !shell::is_root() {
        return Err(format!(
            "built, and made a bundle; a container needs root so far: sudo {} run --bundle {} demo",
            corten.display(),
            directory.display()
        )
        .into());
    }
    println!("$ corten run --bundle target/demo demo");
    let run = |stdout: Stdio| -> Result<Duration> {
        let id = format!("demo-{}", std::process::id());
        let start = Instant::now();
        shell::check(
            Command::new(&corten)
                .args(["run", "--bundle"])
                .arg(&directory)
                .arg(id)
                .stdin(Stdio::null())
                .stdout(stdout),
        )?;
        Ok(start.elapsed())
    };
    let first = run(Stdio::inherit())?;
    let mut times = (0..10).map(|_| run(Stdio::null())).collect::<Result<Vec<_>>>()?;
    times.sort();
    let median = times.get(times.len() / 2).copied().unwrap_or(first);
    println!(
        "\nThe container ran in {first:.1?}; ten more took {median:.1?} each (median), programs inside included."
    );
    Ok(())
}
