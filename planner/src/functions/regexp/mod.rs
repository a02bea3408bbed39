//! Functions that look for a pattern in texts and are not among the borrowed ones.
//!
//! * `extract`: regexp_extract(), the first match or a group of it.
//! * `lists`: regexp_extract_all(), all of them, and regexp_split_to_array(), what is between them.
//! * `patterns`: regular expressions with options, compiled when they change.

mod extract;
mod lists;
mod patterns;

use std::sync::Arc;

use datafusion_expr::ScalarUDF;

/// The functions.
pub(super) fn regexp_functions() -> [Arc<ScalarUDF>; 3] {
    [extract::regexp_extract(), lists::regexp_extract_all(), lists::regexp_split()]
}
