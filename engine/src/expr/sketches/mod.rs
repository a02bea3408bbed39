//! States of approximate aggregates, which take little where groups are many: what a group of few
//! values has are its values.
//!
//! * `lists`: a list of words for every group.
//! * `distinct`: how many values are distinct; `quantiles`: percentiles, and `digest`: what
//!   groups of many values have for them.
//!
//! Memory: as `lists` says. What is sorted or compressed is copied, a group at a time.

mod digest;
mod distinct;
mod lists;
mod quantiles;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};

pub use distinct::DistinctStates;
pub use quantiles::{QuantileStates, Quantiles};

/// The rows where no argument is NULL and the filter is true; `None` for all.
fn counted_rows(args: &[ArrayRef], filter: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    let passed = filter.map(|filter| match filter.nulls() {
        Some(nulls) => NullBuffer::new(filter.values() & nulls.inner()),
        None => NullBuffer::new(filter.values().clone()),
    });
    let counted = args.iter().fold(passed, |counted, arg| {
        NullBuffer::union(counted.as_ref(), arg.logical_nulls().as_ref())
    });
    counted.filter(|counted| counted.null_count() > 0).map(NullBuffer::into_inner)
}
