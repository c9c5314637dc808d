//! System packages that the build and the tests need, by what they provide.

use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::shell::{check, find, is_root};

/// A need: how to see that it is met, and the package by package manager (apt, dnf, pacman, apk).
struct Need {
    name: &'static str,
    is_met: fn() -> bool,
    packages: [&'static str; 4],
}

const BUILD: [Need; 3] = [
    Need {
        name: "a C linker",
        is_met: || find("cc").is_some(),
        packages: ["gcc libc6-dev", "gcc glibc-static", "base-devel", "build-base"],
    },
    Need {
        name: "libseccomp.a",
        is_met: || libraries().any(|directory| Path::new(directory).join("libseccomp.a").is_file()),
        packages: [
            "libseccomp-dev",
            "libseccomp-static libseccomp-devel",
            "libseccomp",
            "libseccomp-static libseccomp-dev",
        ],
    },
    Need {
        name: "a static busybox",
        is_met: || busybox().is_some(),
        packages: ["busybox-static", "busybox", "busybox", "busybox-static"],
    },
];

const PEERS: [Need; 4] = [
    Need {
        name: "criu, for checkpoint and restore",
        is_met: || find("criu").is_some(),
        packages: ["criu"; 4],
    },
    Need {
        name: "newuidmap, for containers of ordinary users with more than one id",
        is_met: || find("newuidmap").is_some() && find("newgidmap").is_some(),
        packages: ["uidmap", "shadow-utils", "shadow", "shadow-uidmap"],
    },
    Need { name: "crun, to compare with", is_met: || find("crun").is_some(), packages: ["crun"; 4] },
    Need { name: "runc, to compare with", is_met: || find("runc").is_some(), packages: ["runc"; 4] },
];

const DEBOOTSTRAP: Need =
    Need { name: "debootstrap", is_met: || find("debootstrap").is_some(), packages: ["debootstrap"; 4] };

const VM: [Need; 3] = [
    Need {
        name: "QEMU",
        is_met: || find("qemu-system-x86_64").is_some(),
        packages: ["qemu-system-x86", "qemu-system-x86-core", "qemu-system-x86", "qemu-system-x86_64"],
    },
    DEBOOTSTRAP,
    Need { name: "mkfs.ext4", is_met: || find("mkfs.ext4").is_some(), packages: ["e2fsprogs"; 4] },
];

const MUSL: [Need; 2] = [
    Need {
        name: "musl-gcc",
        is_met: || find("musl-gcc").is_some(),
        packages: ["musl-tools", "musl-gcc", "musl", "musl-dev"],
    },
    Need { name: "gperf, for libseccomp", is_met: || find("gperf").is_some(), packages: ["gperf"; 4] },
];

fn libraries() -> impl Iterator<Item = &'static str> {
    ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"].into_iter()
}

/// Finds a busybox that needs no libraries.
pub(crate) fn busybox() -> Option<std::path::PathBuf> {
    let candidates = ["busybox", "busybox-static", "busybox.static"].into_iter().filter_map(find);
    candidates.into_iter().find(|file| {
        // A dynamic ELF names its interpreter in the first page.
        std::fs::read(file).is_ok_and(|bytes| {
            !bytes.iter().take(4096).copied().collect::<Vec<_>>().windows(8).any(|word| word == b"ld-linux")
        })
    })
}

/// Installs what the build needs, or says how to.
pub(crate) fn install_build_needs() -> Result {
    let missing: Vec<&Need> = BUILD.iter().filter(|need| !(need.is_met)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)?;
    match missing.iter().find(|need| !(need.is_met)()) {
        Some(need) => Err(format!("{} is still missing after the installation", need.name).into()),
        None => Ok(()),
    }
}

/// Installs the runtimes and tools that tests compare with or run. Without them those tests say that they
/// were skipped.
pub(crate) fn install_peers() {
    let missing: Vec<&Need> = PEERS.iter().filter(|need| !(need.is_met)()).collect();
    if !missing.is_empty()
        && is_root()
        && let Err(error) = install(&missing)
    {
        println!("going on without peers: {error}");
    }
}

/// Says how to install what the VM needs, if something is missing. It is much, so whoever wants it does it.
pub(crate) fn check_vm_needs() -> Result {
    check_needs(&VM)
}

/// Says how to install what libseccomp is built for musl with, if it is missing.
pub(crate) fn check_musl_needs() -> Result {
    check_needs(&MUSL)
}

/// Says how to install what a root of Debian is made with, if it is missing.
pub(crate) fn check_debian_needs() -> Result {
    check_needs(&[DEBOOTSTRAP])
}

fn check_needs(needs: &[Need]) -> Result {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_met)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (names, how) = (names(&missing), installation(&missing)?);
    Err(format!("missing: {names}; please run: {}", how.join(" ")).into())
}

fn names(missing: &[&Need]) -> String {
    missing.iter().map(|need| need.name).collect::<Vec<_>>().join(", ")
}

/// The command that installs what is missing.
fn installation(missing: &[&Need]) -> Result<Vec<&'static str>> {
    let managers: [(&str, &[&str]); 4] = [
        ("apt-get", &["install", "--yes", "--no-install-recommends"]),
        ("dnf", &["install", "--assumeyes"]),
        ("pacman", &["-S", "--noconfirm"]),
        ("apk", &["add"]),
    ];
    let Some((index, (manager, arguments))) =
        managers.iter().enumerate().find(|(_, (manager, _))| find(manager).is_some())
    else {
        return Err("no package manager that this task knows; please install the above by hand".into());
    };
    let packages =
        missing.iter().filter_map(|need| need.packages.get(index)).flat_map(|names| names.split(' '));
    Ok([*manager].into_iter().chain(arguments.iter().copied()).chain(packages).collect())
}

fn install(missing: &[&Need]) -> Result {
    println!("missing: {}", names(missing));
    let words = installation(missing)?;
    let line = words.join(" ");
    if !is_root() {
        return Err(format!("please run: sudo {line}").into());
    }
    println!("running: {line}");
    let [manager, arguments @ ..] = words.as_slice() else { return Err("no package manager".into()) };
    let mut command = Command::new(manager);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    if *manager == "apt-get" && check(&mut command).is_err() {
        // Package lists may be missing or old.
        check(Command::new(manager).arg("update"))?;
        return check(&mut command);
    }
    if *manager == "apt-get" { Ok(()) } else { check(&mut command) }
}
