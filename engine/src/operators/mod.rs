//! The operators: one file or folder each, holding everything that is true about it.
//!
//! Operators never import each other. The table below is what plans can name.

mod key_filter;
mod limit;
mod shared;

pub use key_filter::KeyFilters;
pub use limit::Limit;
pub use shared::Shared;

use crate::plan::{FromJson, from_fields};

/// Names and readers of all operators.
pub const SPECS: &[(&str, FromJson)] = &[
    ("key_filter", |fields, _| from_fields::<KeyFilters>(fields)),
    ("limit", |fields, _| from_fields::<Limit>(fields)),
];
