//! How many rows and distinct values a logical plan gives: guesses from what the files say about
//! themselves. Pure functions of the plan and its tables' statistics.
//!
//! * `profile`: rows and columns of every kind of node; `selectivity`: the share of rows that a
//!   condition leaves; `number`: constants on one scale.

mod number;
mod profile;
mod selectivity;

pub(crate) use profile::{Profile, Profiles, distinct_of, profile};
pub(crate) use selectivity::selectivity;
