//! Gristmill's engine: pipelines of vectorized operators over Arrow data, inside a memory budget.
//! The map of its modules, what they promise each other and how to add an operator:
#![doc = ""]
#![doc = include_str!("../README.md")]

pub mod calendar;
pub mod error;
pub mod moment_format;
pub mod observe;
pub mod panics;
mod thrift;

pub mod batch;
pub mod memory;
pub mod scheduler;

pub mod expr;

pub mod pipeline;

pub mod plan;

pub mod sources;

pub mod operators;
pub mod sinks;

pub mod query;

pub use error::{Error, Position, Result};
