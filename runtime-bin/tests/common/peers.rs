//! Other runtimes on this machine, and what a container sees, to compare with theirs.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

/// The peers that are there: `crun` and `runc`, and what CORTEN_TEST_PEERS lists, separated by colons.
pub fn peers() -> Vec<PathBuf> {
    let listed = std::env::var_os("CORTEN_TEST_PEERS").unwrap_or_default();
    let listed: Vec<_> = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    // Two names of one program are one peer.
    let found =
        ["/usr/bin/crun", "/usr/sbin/runc", "/usr/bin/runc"].into_iter().map(PathBuf::from).chain(listed);
    let found: BTreeSet<_> = found.filter_map(|path| fs::canonicalize(path).ok()).collect();
    found.into_iter().collect()
}

/// What a run looked like, with what may differ taken out. `text`: sections that begin with `## NAME`; `##
/// mounts` is a mountinfo. Without `propagation` that of the mounts is left out, too.
pub fn normalise(text: &str, propagation: bool) -> BTreeSet<String> {
    let mut section = "";
    let mut lines = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            section = if name == "mounts" { "mounts" } else { "rest" };
        } else if section != "mounts" {
            // A link of crun's alone, to a file that is masked; and crun makes missing directories with the
            // sticky bit.
            if !line.starts_with("/dev/core ") {
                lines.insert(line.replace(" directory 1755 ", " directory 755 "));
            }
        } else {
            lines.insert(mount(line, propagation));
        }
    }
    lines
}

/// A line of mountinfo: `id parent major:minor root point options [optional…] - type source superblock`.
fn mount(line: &str, propagation: bool) -> String {
    let (left, right) = line.split_once(" - ").unwrap();
    let left: Vec<_> = left.split(' ').collect();
    let (root, point, options) = (left[3], left[4], left[5]);
    let right: Vec<_> = right.split(' ').collect();
    let (kind, superblock) = (right[0], right[2]);
    // The numbers of peer groups are the machine's.
    let words = if propagation { &left[6..] } else { &[] };
    let propagation: BTreeSet<_> = words.iter().map(|word| word.split(':').next().unwrap()).collect();
    // Some make the filesystem writable and only the mount readonly, and some change the mode after they have
    // mounted it.
    let data: Vec<_> = superblock.split(',').skip(1).filter(|word| !word.starts_with("mode=")).collect();
    let data = data.join(",");
    match (root, kind) {
        // The null device of the container or of the host.
        (root, _) if root.ends_with("/null") => format!("null over {point}"),
        // Corten makes no v1 cgroups yet; runc versions differ about the directory around them.
        (_, "cgroup") => format!("v1 {point} {options}"),
        ("/", "tmpfs") if point == "/sys/fs/cgroup" => format!("v1 {point}"),
        // An empty filesystem, made in one of several ways.
        ("/", "tmpfs")
            if superblock.ends_with("nr_inodes=1") || options.starts_with("ro") && data.is_empty() =>
        {
            format!("nothing over {point}")
        }
        // crun's empty directory is one of the host.
        (root, _) if root.ends_with("/.empty-directory") => format!("nothing over {point}"),
        // crun leaves the superblock of sysfs writable, and keeps links in cgroup2 from being followed.
        (_, "sysfs") => format!("{root} {point} {options} {propagation:?} {kind}"),
        (_, "cgroup2") => {
            format!("{root} {point} {} {propagation:?} {kind}", options.replace(",nosymfollow", ""))
        }
        _ if point == "/" => format!("/ {options} {propagation:?} {kind}"),
        (_, "tmpfs") => format!("{root} {point} {options} {propagation:?} {kind} {data}"),
        _ => format!("{root} {point} {options} {propagation:?} {kind} {superblock}"),
    }
}
