//! Regular expressions as arguments of calls, with options.

use arrow::array::{Array, ArrayRef, AsArray, StringViewArray};
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_datafusion_err, exec_err};
use regex::{Regex, RegexBuilder};

/// Whether an argument may be a text.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, values) => values.is_string(),
        other => other.is_string() || other.is_null(),
    }
}

/// The patterns of the rows of a call. They are constants as a rule: the last one is kept.
pub(super) struct Patterns<'a> {
    patterns: &'a StringViewArray,
    options: Option<&'a StringViewArray>,
    last: Option<(&'a str, &'a str, Regex)>,
}

impl<'a> Patterns<'a> {
    /// Both are of texts as views.
    pub(super) fn new(patterns: &'a ArrayRef, options: Option<&'a ArrayRef>) -> Self {
        let options = options.map(|options| options.as_string_view());
        Patterns { patterns: patterns.as_string_view(), options, last: None }
    }

    /// A row's pattern; `None` where it, or its options, are NULL.
    ///
    /// # Errors
    /// `Execution` for a pattern that is none, and for unknown options.
    pub(super) fn at(&mut self, row: usize) -> Result<Option<&Regex>> {
        let options = match self.options {
            Some(options) if options.is_null(row) => return Ok(None),
            Some(options) => options.value(row),
            None => "",
        };
        if self.patterns.is_null(row) {
            return Ok(None);
        }
        let pattern = self.patterns.value(row);
        let is_last = self.last.as_ref().is_some_and(|(p, o, _)| *p == pattern && *o == options);
        if !is_last {
            self.last = Some((pattern, options, compiled(pattern, options)?));
        }
        Ok(self.last.as_ref().map(|(.., regex)| regex))
    }
}

/// # Errors
/// As [`Patterns::at`].
pub(super) fn compiled(pattern: &str, options: &str) -> Result<Regex> {
    let mut builder = RegexBuilder::new(pattern);
    for option in options.chars() {
        match option {
            'i' => builder.case_insensitive(true),
            'c' => builder.case_insensitive(false),
            's' => builder.dot_matches_new_line(true),
            'm' | 'n' | 'p' => builder.multi_line(true),
            other => {
                return exec_err!("'{other}' is no option of a pattern: there are c, i, m and s");
            }
        };
    }
    builder
        .build()
        .map_err(|e| exec_datafusion_err!("'{pattern}' is not a regular expression: {e}"))
}

/// The group of a pattern that has this number.
///
/// # Errors
/// `Execution` when there is none.
pub(super) fn group_of(regex: &Regex, group: i64) -> Result<usize> {
    let count = regex.captures_len();
    match usize::try_from(group).ok().filter(|group| *group < count) {
        Some(group) => Ok(group),
        None => exec_err!("there is no group {group}: the pattern '{regex}' has {}", count - 1),
    }
}
