//! Corten: an OCI container runtime as a library.
//!
//! * **Bundle**: a directory with a config (`config.json`) and a root filesystem ([`Bundle`]).
//! * **Plan**: what is done to make a container of a bundle, as two lists of steps ([`Plan`]).
//! * **Container**: an isolated process, with a state ([`Container`], [`State`]).
//!
//! The five operations of the runtime-spec are [`Runtime::create`], [`Container::start`],
//! [`Container::state`], [`Container::kill`] and [`Container::delete`].
//!
//! ```no_run
//! use libcorten::{Bundle, CreateOptions, Runtime};
//!
//! # fn main() -> libcorten::Result<()> {
//! let bundle = Bundle::open("/srv/bundles/web")?;
//! let runtime = Runtime::new("/run/corten");
//! let container = runtime.create("web", &bundle, &CreateOptions::default())?;
//! container.start()?;
//! let exit = container.wait()?;
//! container.delete(false)?;
//! std::process::exit(exit.code());
//! # }
//! ```
//!
//! All of it may be called from any thread of any program: between clone and exec the child makes raw system
//! calls only, and nothing of the caller's memory is left after the exec. The library never prints, exits,
//! changes the caller's working directory, environment or signal handlers, or waits without a deadline (but
//! for the container itself: [`Container::wait`], [`Readiness::forward`], and
//! [`ExecOptions::ignore_paused`]).
//!
//! What it does not do: images, layers, networks. Those are the engine's.

// What is asked for, what there is, and what can go wrong: what all stages have in common.
mod bundle;
mod error;
mod facts;
mod request;
pub mod spec;
pub mod state;

// The way of a container: probed, planned, launched; and what is done with it afterwards.
mod host;
mod launch;
pub mod lifecycle;
pub mod plan;
mod seccomp;

// What stages use on the way.
mod criu;
mod hooks;
mod remains;
mod resctrl;
mod terminal;

// Of the library itself.
pub mod features;
#[cfg(fuzzing)]
pub mod fuzzing;

// The kernel.
mod sys;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

pub use bundle::Bundle;
pub use corten_cgroup::{Reason, stats};
pub(crate) use error::chain;
pub use error::{Error, ErrorKind, Result};
pub use lifecycle::{
    CgroupsRestored, CheckpointOptions, Container, Events, ExecOptions, ExecProcess, Exit, ImageOptions,
    NetworkLock, NotifyOutcome, PageServer, Readiness, RestoreOptions, Runtime, SubCgroup, Update,
};
pub use oci_spec::runtime as oci;
pub use plan::Plan;
pub use request::{CgroupManager, Console, CreateOptions};
pub use state::{State, Status};
