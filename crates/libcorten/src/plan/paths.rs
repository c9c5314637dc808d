//! Paths of the config, cleaned by their words alone.

use std::ffi::CString;
use std::path::Path;

use super::PlanError;

/// Cleans a path inside the root: absolute, no `.`, no `..`, no doubled or final slash. What points above the root is the
/// root, as in a chroot. Like Go's `filepath.Clean("/" + path)`, which is runc's.
pub(crate) fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// Makes a string for the kernel.
pub(super) fn text(item: &str, value: impl Into<Vec<u8>>) -> Result<CString, PlanError> {
    CString::new(value).map_err(|_| PlanError::Nul { item: item.to_owned() })
}

/// Makes a string for the kernel from a path.
pub(super) fn path_text(item: &str, path: &Path) -> Result<CString, PlanError> {
    text(item, path.as_os_str().as_encoded_bytes())
}

/// Makes a block of strings that each end with NUL.
pub(super) fn block<'a>(item: &str, strings: impl IntoIterator<Item = &'a str>) -> Result<Vec<u8>, PlanError> {
    let mut block = Vec::new();
    for string in strings {
        block.extend_from_slice(text(item, string)?.as_bytes_with_nul());
    }
    Ok(block)
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn paths_are_cleaned_as_in_a_chroot() {
        for (path, cleaned) in [
            ("/proc", "/proc"),
            ("proc/", "/proc"),
            ("//a/./b//", "/a/b"),
            ("/a/../../../etc", "/etc"),
            ("..", "/"),
            ("", "/"),
        ] {
            assert_eq!(clean(path), cleaned, "{path:?}");
        }
    }
}
