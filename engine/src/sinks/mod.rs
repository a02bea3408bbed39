//! The sinks at the end of a plan: the result for the caller, and files, one file or folder each.
//! Every sink that writes a file gives one row, `count`, with the number of rows it wrote; see
//! [`RowCount`]. Files appear whole or not at all; see [`Output`].
//!
//! * `collect`: the result, batch by batch.
//! * `commit`: files under construction, shared by all sinks.
//! * `count`: the row that a sink gives.

mod collect;
mod commit;
mod count;

pub use collect::{Collect, READY_BATCHES, WINDOW_BATCHES};
pub use commit::Output;
pub use count::{CountSource, RowCount, count_schema};

use crate::plan::FromJson;

/// Names and readers of all sinks.
pub const SPECS: &[(&str, FromJson)] = &[];
