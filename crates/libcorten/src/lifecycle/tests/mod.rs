//! Tests with real containers that need more than the public API has: a plan of their own, a stand-in for the
//! kernel's files.

mod every_step;
mod intel_rdt;
