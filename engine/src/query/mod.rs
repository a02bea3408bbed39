//! Queries: a plan compiled into pipelines, run, and handed to the caller.
//!
//! * `engine`: threads, memory and clock, shared by all queries.
//! * `compile`: cuts a plan at its breakers.
//! * `handle`: a running query, as its caller holds it.

mod compile;
mod engine;
mod handle;

pub use compile::compile;
pub use engine::{Engine, EngineOptions, RunOptions, cores, workers_within};
pub use handle::Running;

use crate::plan::Registry;
use crate::{operators, sinks, sources};

/// Everything that plans may name.
pub fn registry() -> Registry {
    Registry::default().with(sources::SPECS).with(operators::SPECS).with(sinks::SPECS)
}

#[cfg(all(test, not(loom)))]
mod tests;
