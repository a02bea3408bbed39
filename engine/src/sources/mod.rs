//! The sources that read files: one folder each.
//!
//! * `file`: input files with positional reads, shared by all sources.

mod file;

pub use file::{FileRef, InputFile};

use crate::plan::FromJson;

/// Names and readers of all sources.
pub const SPECS: &[(&str, FromJson)] = &[];
