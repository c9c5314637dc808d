//! `corten features`: what this runtime can do. Spec: features.md.

use crate::{Outcome, output};

pub(crate) fn run() -> Outcome {
    output::print(&output::json(&libcorten::features::features(), b"    ")?)?;
    Ok(0)
}
