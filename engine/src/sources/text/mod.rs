//! What the text formats have in common.
//!
//! * `ranges`: parts of a file, handed out in order; `window`: the lines of one part.
//! * `number`, `time`: a text to a value; `values`: the texts of a column to an array.
//! * `locate`: lines and columns for errors.

pub(in crate::sources) mod locate;
pub(in crate::sources) mod number;
pub(in crate::sources) mod ranges;
pub(in crate::sources) mod time;
pub(in crate::sources) mod values;
pub(in crate::sources) mod window;
