//! Column names from the first record of a file.

use std::collections::HashSet;

use super::field::{Field, trim};

/// Names for the fields of a header: without blanks around them, `column<n>` for those without a
/// name, and with a number behind those that are there already.
pub(super) fn names<'a>(fields: impl Iterator<Item = Field<'a>>) -> Vec<String> {
    let mut taken = HashSet::new();
    let name = |(position, field): (usize, Field<'a>)| {
        let text = match &field {
            Field::Bare(text) => trim(text),
            Field::Quoted(text) => text,
            Field::Malformed => &[],
        };
        let mut name = String::from_utf8_lossy(text).into_owned();
        if name.is_empty() {
            name = positional(position);
        }
        let mut unique = name.clone();
        let mut number = 1;
        while !taken.insert(unique.clone()) {
            unique = format!("{name}_{number}");
            number += 1;
        }
        unique
    };
    fields.enumerate().map(name).collect()
}

/// The name of a column that has none.
pub(super) fn positional(position: usize) -> String {
    format!("column{}", position + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_there_and_unique() {
        let fields = ["a", " b ", "", "a", "a_1", "a"].map(|name| Field::Bare(name.as_bytes()));
        assert_eq!(names(fields.into_iter()), ["a", "b", "column3", "a_1", "a_1_1", "a_2"]);
    }
}
