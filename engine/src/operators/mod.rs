//! The operators: one file or folder each, holding everything that is true about it.
//!
//! Operators never import each other. The table below is what plans can name.

mod limit;

pub use limit::Limit;

use crate::plan::{FromJson, from_fields};

/// Names and readers of all operators.
pub const SPECS: &[(&str, FromJson)] = &[("limit", |fields, _| from_fields::<Limit>(fields))];
