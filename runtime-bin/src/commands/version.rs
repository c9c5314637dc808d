//! `corten --version`. Engines look for the lines `NAME version X` and `commit: C`.

use crate::{Outcome, output};

pub(crate) fn run() -> Outcome {
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("CORTEN_COMMIT"));
    let (spec, seccomp) = (libcorten::features::SPEC_VERSION, libcorten::features::libseccomp_version());
    output::print(&format!(
        "corten version {version}\ncommit: {commit}\nspec: {spec}\nlibseccomp: {seccomp}\n"
    ))?;
    Ok(0)
}
