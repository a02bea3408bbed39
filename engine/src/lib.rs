//! Gristmill's engine.
pub mod error;
pub use error::{Error, Position, Result};
