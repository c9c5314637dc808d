//! Strings of the config as the kernel takes them.

use std::ffi::CString;
use std::path::Path;

use super::PlanError;
use crate::spec::clean_in_root;

/// Makes a string for the kernel.
pub(super) fn text(item: &str, value: impl Into<Vec<u8>>) -> Result<CString, PlanError> {
    CString::new(value).map_err(|_| PlanError::Nul { item: item.to_owned() })
}

/// Makes a path inside the root for the kernel: absolute and cleaned by its words, so that it cannot point
/// above the root.
pub(super) fn path_in_root(item: &str, path: &Path) -> Result<CString, PlanError> {
    text(item, clean_in_root(path).into_os_string().into_encoded_bytes())
}

/// Makes a block of strings that each end with NUL.
pub(super) fn block<'a>(
    item: &str,
    strings: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<u8>, PlanError> {
    let mut block = Vec::new();
    for string in strings {
        block.extend_from_slice(text(item, string)?.as_bytes_with_nul());
    }
    Ok(block)
}
