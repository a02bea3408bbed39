//! The sinks that write files: one file or folder each. Every sink gives one row, `count`, with
//! the number of rows it wrote; see [`RowCount`]. Files appear whole or not at all; see [`Output`].
//!
//! * `commit`: files under construction, shared by all sinks.
//! * `count`: the row that a sink gives.

mod commit;
mod count;

pub use commit::Output;
pub use count::{CountSource, RowCount, count_schema};

use crate::plan::FromJson;

/// Names and readers of all sinks.
pub const SPECS: &[(&str, FromJson)] = &[];
