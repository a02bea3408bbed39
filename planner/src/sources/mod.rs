//! Tables whose rows are the program's own.
//!
//! * `own`: sources of record batches, as tables.
//! * `memory`: record batches that are there already.

mod memory;
mod own;

pub(crate) use memory::MemoryTable;
pub(crate) use own::OwnSource;
