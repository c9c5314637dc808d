//! `corten features`: what this runtime can do. Spec: features.md.

use crate::{Failure, Outcome, output};

pub(crate) fn run() -> Outcome {
    let text = serde_json::to_string_pretty(&libcorten::features::features())
        .map_err(|error| Failure::new(format!("features: {error}")))?;
    output::print(&(text + "\n"))?;
    Ok(0)
}
