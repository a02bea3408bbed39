//! Functions that look for a pattern in texts and are not among the borrowed ones.
//!
//! * `extract`: regexp_extract(), the first match or a group of it.
//! * `lists`: regexp_extract_all(), all of them, and regexp_split_to_array(), what is between them.
//! * `glob`: patterns of GLOB.
//! * `patterns`: regular expressions with options, compiled when they change.

mod extract;
mod glob;
mod lists;
mod patterns;

use std::sync::Arc;

use datafusion_expr::ScalarUDF;

pub(crate) use glob::{GLOB_REGEX, regex_of};

/// The functions.
pub(super) fn regexp_functions() -> [Arc<ScalarUDF>; 4] {
    let glob = Arc::new(glob::glob_regex());
    [extract::regexp_extract(), lists::regexp_extract_all(), lists::regexp_split(), glob]
}
