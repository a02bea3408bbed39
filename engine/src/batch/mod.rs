//! The chunk: what operators exchange.
//!
//! A [`Chunk`] is a few thousand rows: [`Column`]s over Arrow arrays, a row count, an optional
//! [`Selection`] shared by all columns, and the [`Place`] of its rows in the order of the input.
//! Filters set selections and joins set indices; values are copied only where rows are stored
//! (row pages) and where a chunk has become so thin that gathering is dearer than copying.
//! `RecordBatch` is the form at the edges only.
//!
//! * `chunk`: the chunk and its invariants.
//! * `charge`: who holds the charge of long values, and when.
//! * `column`: flat, constant and indexed columns; composing indices.
//! * `selection`: live rows.
//! * `physical`: which Arrow type holds a logical type; `innermost`: types at any depth.
//! * `settled`: nested values without anything under their NULLs.
//! * `ordinals`: key columns as 64-bit integers; `key_filter`: what a join tells scans about its
//!   keys.
//! * `picked`, `typed`: reading some rows of a column whatever its form, by Rust type.
//! * `hash`: 64-bit hashes of rows, and which values are the same key.
//! * `find`: values among elements.
//! * `content`: bytes of values.
//! * `gather`: the one place where values are copied, and its counter.

mod charge;
mod chunk;
mod column;
mod content;
mod find;
mod gather;
mod hash;
mod innermost;
mod key_filter;
pub mod ordinals;
mod physical;
mod picked;
mod selection;
mod settled;
mod typed;

pub use charge::{Charge, SetAside};
pub use chunk::{Chunk, Place};
pub use column::{Column, Domain, Form, Indexed, Indices, NULL_INDEX};
pub use content::{content_bytes, ends, view_length};
pub use find::{Find, finder};
pub use gather::{copied_bytes, gather, widen_decimal};
pub use hash::{KeyHasher, hash_bytes, hash_word};
pub use innermost::each_innermost;
pub use key_filter::{
    KeyFilter, KeyFilterBuilder, KeyFilterId, KeyFilterProbe, KeyFilterSlot, KeyFilterUse,
    NarrowScratch,
};
pub use ordinals::{Ordinals, has_ordinals, widest};
pub use physical::{held_as, is_physical, logical_type, physical_type, to_logical, to_physical};
pub use picked::{Picked, all_rows, pick};
pub use selection::Selection;
pub use settled::settled;
pub use typed::{
    Half, NESTED_ORDER, Typed, float_key, float_of_order, float_order, has_float, nested_converter,
    nested_keys, nested_order, with_float_keys,
};

/// Rows in a full chunk. Sources aim for it; transforms may emit fewer, never more than
/// [`MAX_CHUNK_ROWS`].
pub const CHUNK_ROWS: usize = 4096;

/// The largest chunk any operator has to accept.
pub const MAX_CHUNK_ROWS: usize = 16_384;

/// Rows in a morsel, the unit a worker takes from a source; a multiple of [`CHUNK_ROWS`].
pub const MORSEL_ROWS: usize = 131_072;

/// Below this share of live rows an operator that keeps a chunk's rows copies them together
/// instead of carrying the selection on.
pub const COMPACT_BELOW: f64 = 0.125;
