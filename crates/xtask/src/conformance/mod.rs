//! `cargo xtask conformance`: suites of others, run with Corten.
//!
//! What is expected of Corten stands in `conformance/` at the top of the workspace, one file for each suite.

mod expected;
mod runtime_tools;
mod tap;

use clap::Subcommand;

use crate::Result;

/// The suites.
#[derive(Debug, Subcommand)]
pub(crate) enum Suite {
    /// The validation programs of OCI runtime-tools, in pure cgroup v2
    RuntimeTools(runtime_tools::Options),
}

pub(crate) fn run(suite: &Suite) -> Result {
    match suite {
        Suite::RuntimeTools(options) => runtime_tools::run(options),
    }
}
