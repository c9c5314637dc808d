//! `cargo xtask mutants`: takes each defence out of a copy of the source, one at a time, and looks whether its test fails.
//!
//! A test of an attack that passes without the defence that it is for shows nothing. The table says which test it is; the working
//! tree is never touched. Not part of CI: each defence takes a build.

mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::shell::{cargo, check, is_root, output, target_directory, workspace};
use table::{DEFENCES, Defence};

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
    let target = match &options.target_dir {
        Some(directory) => std::path::absolute(directory)?,
        None => target_directory()?.join("mutants"),
    };
    let copy = target.join("source");
    copy_source(&copy)?;
    let wanted = |defence: &&Defence| {
        options.names.is_empty() || options.names.iter().any(|name| defence.name.contains(name.as_str()))
    };
    let (mut passed, mut failed) = (0, 0);
    for defence in DEFENCES.iter().filter(wanted) {
        let told = match try_without(defence, &copy, &target) {
            Outcome::Killed => {
                passed += 1;
                "killed".to_owned()
            }
            Outcome::Survived => {
                failed += 1;
                format!("SURVIVED: {} passes without it", defence.test)
            }
            Outcome::Broken(why) => {
                failed += 1;
                format!("NOT TRIED: {why}")
            }
        };
        println!("{}: {told}", defence.name);
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err("a defence has no test that fails without it".into()) }
}

/// Copies what Git knows of the working tree, or would add.
fn copy_source(to: &Path) -> Result {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    let from = workspace();
    let mut git = Command::new("git");
    git.current_dir(&from).args(["ls-files", "--cached", "--others", "--exclude-standard"]);
    for file in output(&mut git)?.lines().filter(|file| from.join(file).is_file()) {
        let copy = to.join(file);
        fs::create_dir_all(copy.parent().ok_or("a file without a directory")?)?;
        fs::copy(from.join(file), copy)?;
    }
    Ok(())
}

/// Runs the test without the defence, and puts the source back.
fn try_without(defence: &Defence, copy: &Path, target: &Path) -> Outcome {
    let file = copy.join(defence.file);
    let Ok(text) = fs::read_to_string(&file) else { return Outcome::Broken(format!("no {}", defence.file)) };
    if text.matches(defence.code).count() != 1 {
        return Outcome::Broken(format!("{} does not have this once: {}", defence.file, defence.code));
    }
    if let Err(error) = fs::write(&file, text.replacen(defence.code, defence.without, 1)) {
        return Outcome::Broken(error.to_string());
    }
    let test = || -> Result<bool> {
        let mut build = cargo_test(defence, copy, target);
        check(build.arg("--no-run").stderr(Stdio::null()))?;
        let tested = cargo_test(defence, copy, target).args(["--", "--exact", defence.test]).output()?;
        let said = String::from_utf8_lossy(&tested.stdout);
        if !said.contains("running 1 test") {
            return Err(format!("there is no test {}", defence.test).into());
        }
        Ok(tested.status.success())
    };
    let tested = test();
    if let Err(error) = fs::write(&file, text) {
        return Outcome::Broken(error.to_string());
    }
    match tested {
        Ok(true) => Outcome::Survived,
        Ok(false) => Outcome::Killed,
        Err(error) => Outcome::Broken(error.to_string()),
    }
}

fn cargo_test(defence: &Defence, copy: &Path, target: &Path) -> Command {
    let mut cargo = cargo();
    cargo.current_dir(copy).args(["test", "--quiet", "-p", defence.package]).env("CARGO_TARGET_DIR", target);
    match defence.program {
        "" => cargo.arg("--lib"),
        program => cargo.args(["--test", program]),
    };
    cargo
}
