//! Paths of the config, as text: no file is looked at.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Returns `path` as an absolute path inside the container without `.`, `..` and doubled slashes.
///
/// A relative path counts from the container's root, and `..` stops there (runc does the same with a
/// warning). This is for comparing and naming; opening goes through `openat2(2)` from the root's fd, which
/// resolves symlinks, too.
pub(crate) fn clean_in_root(path: &Path) -> PathBuf {
    let given = path.as_os_str().as_bytes();
    let mut cleaned = Vec::with_capacity(given.len() + 1);
    for part in given.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                let parent = cleaned.iter().rposition(|byte| *byte == b'/');
                cleaned.truncate(parent.unwrap_or(0));
            }
            part => {
                cleaned.push(b'/');
                cleaned.extend_from_slice(part);
            }
        }
    }
    if cleaned.is_empty() {
        cleaned.push(b'/');
    }
    PathBuf::from(OsString::from_vec(cleaned))
}

/// Returns the file of a sysctl key relative to `/proc/sys`, or `None` when the key cannot name one.
///
/// As in sysctl(8): the first separator tells how the key is written. `net.ipv4.conf.eth0/100.rp_filter` and
/// `net/ipv4/conf/eth0.100/rp_filter` are the same file. `..` never comes out, so a key cannot leave its
/// allow-list.
pub(crate) fn sysctl_file(key: &str) -> Option<String> {
    let file = match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => key
            .chars()
            .map(|character| match character {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        Some(_) => key.to_owned(),
        None => return None,
    };
    let sound = file.split('/').all(|part| !matches!(part, "" | "." | ".."));
    sound.then_some(file)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cleaning() {
        let cases = [
            ("", "/"),
            ("/", "/"),
            ("a", "/a"),
            ("//a//b/", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/../../etc", "/etc"),
            ("../etc/..", "/"),
            ("/a/...", "/a/..."),
        ];
        for (path, expected) in cases {
            assert_eq!(clean_in_root(Path::new(path)).to_str(), Some(expected), "{path}");
        }
    }

    #[test]
    fn sysctl_keys() {
        let cases = [
            ("net.ipv4.ip_forward", Some("net/ipv4/ip_forward")),
            ("net/ipv4/ip_forward", Some("net/ipv4/ip_forward")),
            ("net.ipv4.conf.eth0/100.rp_filter", Some("net/ipv4/conf/eth0.100/rp_filter")),
            ("net/ipv4/conf/eth0.100/rp_filter", Some("net/ipv4/conf/eth0.100/rp_filter")),
            ("net/../kernel/core_pattern", None),
            ("net.//.kernel", None),
            ("net..x", None),
            (".net.x", None),
            ("net.x.", None),
            ("kernel", None),
            ("", None),
        ];
        for (key, expected) in cases {
            assert_eq!(sysctl_file(key).as_deref(), expected, "{key}");
        }
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(path in "[a./]{0,20}") {
            let once = clean_in_root(Path::new(&path));
            prop_assert!(once.is_absolute());
            prop_assert_eq!(clean_in_root(&once), once.clone());
            prop_assert!(!once.components().any(|part| part == std::path::Component::ParentDir));
        }

        #[test]
        fn a_sysctl_file_stays_below_proc_sys(key in "[a./]{0,20}") {
            if let Some(file) = sysctl_file(&key) {
                let cleaned = clean_in_root(Path::new(&file));
                let expected = format!("/{file}");
                prop_assert_eq!(cleaned.to_str(), Some(expected.as_str()));
            }
        }
    }
}
