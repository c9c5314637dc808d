//! Corten: an OCI container runtime as a library.

// The nouns of the public API.
mod error;
pub mod state;

// The way of a container, in order.
pub mod lifecycle;

pub use error::{Error, ErrorKind, Result};
pub use lifecycle::{Bundle, Container, CreateOptions, Console, Exit, Runtime};
pub use state::{State, Status};
pub use oci_spec::runtime as oci;
