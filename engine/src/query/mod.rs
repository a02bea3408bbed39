//! Queries: a plan compiled into pipelines, run, and handed to the caller.
//!
//! * `compile`: cuts a plan at its breakers.

mod compile;

pub use compile::compile;

use crate::plan::Registry;
use crate::{operators, sinks, sources};

/// Everything that plans may name.
pub fn registry() -> Registry {
    Registry::default().with(sources::SPECS).with(operators::SPECS).with(sinks::SPECS)
}
