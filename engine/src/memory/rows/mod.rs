//! Row pages: the one layout in which join, aggregate and sort keep rows.
//!
//! A page is one block of bytes: rows of a fixed width from its front, and a heap from its back.
//!
//! ```text
//! page  ┌ row 0 ┬ row 1 ┬ row 2 ┬ … ─►        free        ◄─ … heap of bytes ┐
//! row   ┌ columns, widest first ┬ slots of the owner ┬ a bit per NULL ┬ padding to 8 ┐
//! ```
//!
//! A string or binary value takes 16 bytes in the row: its length and up to 12 bytes, or its
//! length, its first 8 bytes, and its distance from the page's **end**. A page without its free
//! middle is therefore still the same page: it can be written out, read back, or handed to
//! another owner byte for byte. There is no pointer in it. Nested types are stored as their
//! `arrow-row` bytes, like binary values.
//!
//! In a layout with a hash ([`RowLayout::with_hash`]) the bits of up to 8 columns that may be NULL
//! are the lowest byte of the hash's slot, the first: it is read and written by [`RowPages::hash`]
//! and [`RowPages::set_hashes`] alone, since [`RowPages::set_slots`] would wipe them out.
//!
//! What one does with it:
//! * [`RowLayout::new`] from the logical types of the columns and the widths of the owner's slots
//!   (hashes, chain links, aggregate states);
//! * [`RowPages::append`] stores rows of a chunk's columns and gives a [`RowRef`] for each, as many
//!   as the reservation allows; [`RowPages::append_rows`] copies rows of other pages;
//! * [`RowPages::gather`] reads one column of many rows as an array;
//! * [`RowPages::split_equal`] tells which rows equal a chunk's rows on key columns, and
//!   [`RowPages::split_equal_rows`] which rows equal each other;
//! * [`compare_rows`] orders two rows; [`SortKey`] makes order-preserving words;
//! * [`RowPages::slot`], [`RowPages::set_slot`], [`RowPages::row`], [`RowPages::row_mut`] reach the
//!   owner's slots;
//! * [`PageWriter`] and [`PageReader`] move pages out of memory and back ([`RowPages::image`],
//!   [`RowPages::push_image`]); [`RowPages::absorb`] takes over the pages of another.
//!
//! Reading works on anything that has pages ([`Pages`]): pages in memory, or windows of a file.
//!
//! Memory: pages grow from [`FIRST_PAGE_BYTES`] to the owner's page size, so that little state
//! takes little memory. A row that would fill a good part of a page gets a page of its own. Every
//! page is charged to the owner's reservation before it is allocated.
//!
//! * `layout`: what is where in a row; `fixed`: values of fixed width and the slots of byte values;
//!   `pages`: pages and references; `append`, `gather`,
//!   `matching`, `compare`: the four things done with rows; `nested`: types without a slot form.
//! * `sort_key`: normalised sort keys; `stored`: from values to what a row holds; `marks`: a bit
//!   for each row; `lanes`: rows by lane; `taped`: pages on tape, `narrow`: what their rows take
//!   there.
//! * `packed`: rows without padding and without pages, for sorting and spilling wide rows.

mod append;
mod compare;
mod fixed;
mod gather;
mod lanes;
mod layout;
mod marks;
mod matching;
mod narrow;
mod nested;
pub mod packed;
mod pages;
mod sort_key;
mod stored;
mod taped;

pub use compare::{RowAt, RowOrder, compare_rows};
pub use fixed::Fixed;
pub use lanes::LaneOrder;
pub use layout::{RowLayout, Slot};
pub use marks::RowMarks;
pub use pages::{
    DEFAULT_PAGE_BYTES, FIRST_PAGE_BYTES, PAGE_BYTES_MAX, PageImage, Pages, RowPages, RowRef,
};
pub use sort_key::{SortKey, longest};
pub use taped::{BESIDE_MAX, PageReader, PageSpan, PageWriter, TapedPage};

#[cfg(test)]
mod tests;
