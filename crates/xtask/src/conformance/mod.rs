//! `cargo xtask conformance`: suites of others, run with Corten, and its own where this machine cannot be
//! what they want.
//!
//! What is expected of Corten in those of others stands in `conformance/` at the top of the workspace, one
//! file for each suite.

mod engines;
mod expected;
mod runtime_tools;
mod tap;
mod vm;

use clap::Subcommand;

use crate::Result;

/// The suites.
#[derive(Debug, Subcommand)]
pub(crate) enum Suite {
    /// The validation programs of OCI runtime-tools, in pure cgroup v2
    RuntimeTools(runtime_tools::Options),
    /// What users of Docker, Podman, containerd and Buildah do, with Corten as their only runtime
    Engines(engines::Options),
    /// Corten's own tests that want all controllers and systemd, in a VM
    Vm(vm::Options),
}

pub(crate) fn run(suite: &Suite) -> Result {
    match suite {
        Suite::RuntimeTools(options) => runtime_tools::run(options),
        Suite::Engines(options) => engines::run(options),
        Suite::Vm(options) => vm::run(options),
    }
}
