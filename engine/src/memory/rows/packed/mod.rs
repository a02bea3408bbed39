//! Packed rows: each row in one piece, without padding.
//!
//! Sorting moves every row from where it arrived to its place in a run, and through the disk. The
//! rows of row pages are made for being looked at in place: 16 bytes a string, padding, and a heap
//! that is apart. Packed rows are made for being moved: one copy per row, and as few bytes as
//! there can be. (On TPC-H's lineitem a packed row takes 127 bytes, one in a row page 195.)
//!
//! ```text
//! row   = | length | fixed columns, widest first | a bit per NULL | strings … | mark … |
//! length: 2 bytes, or ff ff and 4 bytes          string: 1 byte length, or ff and 4 bytes; bytes
//! mark: its least significant bytes, as many as are not zero, and 1 byte: how many
//! ```
//!
//! The *mark* is a number of the owner's beside each row, meant to be small. There is no pointer
//! and no offset beyond the row: a row can be copied anywhere. Nested types are stored as their
//! `arrow-row` bytes, like strings. Strings that are sort keys come first, so that comparing them
//! steps over few others.
//!
//! This is the plain form of a row; on the disk integers have fewer bytes, see `form`.
//!
//! * `layout`: what is where in a row; `form`: how wide its integers are.
//! * `pages`: rows in memory, in the order they came; `append` writes them from columns.
//! * `row`: reading one row; comparing two. `unpack`: from rows to arrays.
//!
//! Memory: pages are charged to the owner's reservation before they are allocated, and kept for
//! the next rows when they are cleared.

mod append;
mod form;
mod layout;
mod pages;
mod row;
mod unpack;

pub use form::{ColumnFacts, PackedForm};
pub use layout::PackedLayout;
pub use pages::{PackedPages, PackedRef};
pub use row::PackedRow;
pub use unpack::{UNPACK_ROWS_MAX, Unpacker};

#[cfg(test)]
mod tests;
