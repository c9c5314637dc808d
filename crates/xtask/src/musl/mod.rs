//! `cargo xtask musl`: the release binary, which is linked against musl.
//!
//! Where rustup has musl's target, this machine's cargo builds it. Elsewhere it is built in a root of Debian
//! testing, with Debian's compiler and a std built from source: good to measure and to test with.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::debian::{Cache, Recipe};
use crate::{Result, packages, shell};

const LIBSECCOMP: &str = include_str!("libseccomp.sh");

const ROOT: Recipe = Recipe {
    what: "a Debian testing with Rust and musl (some minutes, 1.5 GB, once)",
    directory: ("musl-root", "CORTEN_MUSL_CACHE"),
    script: concat!(
        "\nlibseccomp() {\ncat <<'END'\n",
        include_str!("libseccomp.sh"),
        "END\n}\n",
        include_str!("root.sh")
    ),
    results: &["root"],
};

/// What to do with it.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Copy the binary to FILE
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// In a root of Debian testing, even where rustup has the target
    #[arg(long)]
    debian: bool,
    /// Make the root anew
    #[arg(long)]
    rebuild: bool,
}

pub(crate) fn run(options: &Options) -> Result {
    let in_root = options.debian || options.rebuild || !has_target()?;
    let mut binary = if in_root { build_in_root(options.rebuild) } else { build() }?;
    if let Some(output) = &options.output {
        // A binary that runs cannot be written to.
        let new = output.with_added_extension("new");
        fs::copy(&binary, &new)
            .and_then(|_| fs::rename(&new, output))
            .map_err(|error| format!("{}: {error}", new.display()))?;
        binary.clone_from(output);
    }
    println!("{}", binary.display());
    Ok(())
}

/// musl's target of this machine's architecture.
pub(crate) fn target() -> String {
    format!("{ARCH}-unknown-linux-musl")
}

/// Whether this machine's Rust has musl's target.
pub(crate) fn has_target() -> Result<bool> {
    let mut rustc = Command::new("rustc");
    rustc.current_dir(shell::workspace()).args(["--print", "target-libdir", "--target", &target()]);
    Ok(Path::new(shell::output(&mut rustc)?.trim()).is_dir())
}

/// Has the compiler look at the binary for musl, without building it; false where there is no std for it.
pub(crate) fn check() -> Result<bool> {
    if !has_target()?
        && !Command::new("rustup").args(["target", "add", &target()]).status().is_ok_and(|it| it.success())
    {
        return Ok(false);
    }
    let mut cargo = shell::cargo();
    cargo.args(["check", "--package", "corten", "--target", &target()]);
    // Nothing is linked: no libseccomp for musl is wanted, wherever it is said to be.
    cargo.env("PKG_CONFIG", "false").env("LIBSECCOMP_LIB_PATH", shell::workspace());
    shell::check(&mut cargo).map(|()| true)
}

/// Builds the release binary with this machine's cargo and returns its path.
pub(crate) fn build() -> Result<PathBuf> {
    let mut cargo = shell::cargo();
    cargo.args(["build", "--release", "--package", "corten", "--target", &target()]);
    // What pkg-config knows is the other libc's.
    cargo.env("PKG_CONFIG", "false");
    if std::env::var_os("LIBSECCOMP_LIB_PATH").is_none() {
        cargo.env("LIBSECCOMP_LIB_PATH", libseccomp()?.directory());
    }
    shell::check(&mut cargo)?;
    Ok(built(&shell::target_directory()?))
}

/// The binary below Cargo's directory for targets.
fn built(target_directory: &Path) -> PathBuf {
    target_directory.join(target()).join("release/corten")
}

/// A directory with a libseccomp.a for musl.
fn libseccomp() -> Result<Cache> {
    Cache::made_by(("musl-libseccomp", "CORTEN_MUSL_LIBSECCOMP"), LIBSECCOMP, false, |cache| {
        if shell::find("apt-get").is_none() {
            return Err(
                "LIBSECCOMP_LIB_PATH must name a directory with a libseccomp.a built by musl-gcc".into()
            );
        }
        packages::check_musl_needs()?;
        println!("building libseccomp for musl in {}", cache.directory().display());
        shell::check(Command::new("sh").args(["-c", LIBSECCOMP, "sh"]).arg(cache.directory()))
    })
}

/// Builds the release binary in a root of Debian testing and returns its path.
fn build_in_root(rebuild: bool) -> Result<PathBuf> {
    if !shell::is_root() {
        return Err(format!("please run: rustup target add {} (without it this needs root)", target()).into());
    }
    packages::check_debian_needs()?;
    let cache = Cache::get(&ROOT, rebuild)?;
    fs::create_dir_all(cache.file("mnt"))?;
    let target_directory = shell::target_directory()?.join("debian");
    fs::create_dir_all(&target_directory)?;
    let cargo_home = cargo_home()?;
    // By this machine's cargo, which knows the way; std's own crates, too.
    let std = cache.file("root/usr/lib/rustlib/src/rust/library/Cargo.toml");
    shell::check(shell::cargo().args(["fetch", "--locked"]))?;
    shell::check(
        shell::cargo().args(["fetch", "--locked", "--manifest-path"]).arg(std).env("RUSTC_BOOTSTRAP", "1"),
    )?;
    let script = cache.file("build.sh");
    fs::write(&script, include_str!("build.sh"))?;
    // Mounts end with the namespace, and the namespace with this process.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
    command.args(["--propagation", "private", "sh"]).arg(script).arg(cache.directory());
    command.arg(shell::workspace()).arg(cargo_home).arg(&target_directory).arg(commit()).arg(target());
    shell::check(&mut command)?;
    Ok(built(&target_directory))
}

/// Where Cargo keeps crates.
fn cargo_home() -> Result<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".cargo"));
    Ok(std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).ok_or("no home directory")?)
}

/// The commit for `corten --version`; there is no git in the root.
fn commit() -> String {
    let mut git = Command::new("git");
    git.current_dir(shell::workspace()).args(["rev-parse", "--short=12", "HEAD"]);
    std::env::var("CORTEN_COMMIT").or_else(|_| shell::output(&mut git)).unwrap_or_default().trim().to_owned()
}
