//! Writes the numbers of system calls down, and compiles `src/main.rs` into the freestanding executable that
//! the library embeds.
//!
//! The same `rustc` and target as the library's, without std, libc or a C runtime: a static ELF of some KiB.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(corten_freestanding)");
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=build.rs");
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"));
    let directory = PathBuf::from(variable("OUT_DIR"));
    let numbers = numbers(&variable("CARGO_CFG_TARGET_ARCH"));
    fs::write(directory.join("numbers.rs"), numbers).unwrap_or_else(|error| panic!("numbers.rs: {error}"));
    let out = directory.join("corten-init");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args([
        "--crate-name",
        "corten_init_executable",
        "--crate-type",
        "bin",
        "--edition",
        "2024",
        "src/main.rs",
    ]);
    rustc.args(["--cfg", "corten_freestanding", "--target", &freestanding_target(&variable)]);
    rustc.args(["-A", "dead_code", "-A", "unreachable_pub"]);
    for option in [
        "panic=abort",
        "opt-level=s",
        "lto=fat",
        "codegen-units=1",
        "relocation-model=static",
        "target-feature=+crt-static",
        "overflow-checks=off",
        "debug-assertions=off",
        "strip=symbols",
        "force-unwind-tables=no",
        "default-linker-libraries=no",
        "link-arg=-nostdlib",
        "link-arg=-nostartfiles",
        "link-arg=-static",
        "link-arg=-Wl,--build-id=none,--gc-sections,-z,norelro,-z,noseparate-code,-z,noexecstack",
    ] {
        rustc.args(["-C", option]);
    }
    // Cross builds: the linker that cargo uses for the library serves here too.
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg("-C").arg(format!("linker={linker}"));
    }
    rustc.arg("-o").arg(&out);
    let status = rustc.status().unwrap_or_else(|error| panic!("cannot run rustc: {error}"));
    assert!(status.success(), "corten-init does not compile");
    let size = fs::metadata(&out).map(|meta| meta.len()).unwrap_or_default();
    assert!(
        size < 64 * 1024,
        "corten-init has grown to {size} bytes: something has pulled in what it must do without"
    );
}

/// The numbers of system calls, as constants. The target's, which need not be the host's: so no constants of
/// a crate that is built for the host would do (docs/adr/0019).
fn numbers(architecture: &str) -> String {
    let calls: Vec<(&str, usize)> = match architecture {
        "x86_64" => syscalls::x86_64::Sysno::iter().map(|call| (call.name(), call as usize)).collect(),
        "aarch64" => syscalls::aarch64::Sysno::iter().map(|call| (call.name(), call as usize)).collect(),
        // What `src/arch` refuses, too.
        _ => Vec::new(),
    };
    calls.into_iter().fold(String::new(), |mut text, (name, number)| {
        writeln!(text, "pub const {}: usize = {number};", name.to_uppercase())
            .unwrap_or_else(|error| panic!("{error}"));
        text
    })
}

/// The host's target for its own architecture: nothing of a libc is used, and its `core` is there even where
/// std is built anew.
fn freestanding_target(variable: &dyn Fn(&str) -> String) -> String {
    let (host, target) = (variable("HOST"), variable("TARGET"));
    let machine = |triple: &str| triple.split('-').next().map(str::to_owned);
    if machine(&host) == machine(&target) && host.contains("-linux-") { host } else { target }
}
