//! Expressions: plain data with resolved types, and their evaluation over chunks.
//!
//! An [`Expr`] names columns by position and knows its type; it says what is computed, never how.
//! An [`Evaluator`] holds an expression together with what its worker remembers (results per
//! dictionary, scratch) and computes a [`crate::batch::Column`] aligned with the chunk's physical
//! rows. Only live rows count: values elsewhere are unspecified, and whatever can fail is computed
//! for live rows only. In a conjunction a condition that can fail sees only the rows that passed
//! the conditions written before it; conditions that cannot fail may be reordered.
//!
//! * `node`: the expression tree.
//! * `data_type`: data types as text, for plans.
//! * `literal`: exact constants.
//! * `calls`: sort keys and aggregate calls; `place`: which of sorted values some give; `window`:
//!   window calls.
//! * `totals`: results of aggregates as arrays; `moments`: variance, correlation and regression.
//! * `function`: the traits for functions that are not built in; `sketches`: states of approximate
//!   aggregates.
//! * `widening`: casts that cannot fail.
//! * `check`: whether an expression fits a schema.
//! * `compile`: from expressions to nodes that are evaluated.
//! * `evaluate`, `logic`, `kernels`: evaluation; `view`: what it is over; `memo`: what it
//!   remembers; `room`, `pieces`: the memory of what functions make; `sizes`: bytes of values.
//! * `select`, `filter`: conditions to selections; `bounds`: what those of joins say of build rows.

pub mod bounds;
mod calls;
mod check;
mod compile;
pub mod data_type;
mod evaluate;
mod filter;
mod function;
mod kernels;
mod literal;
mod logic;
mod memo;
pub mod moments;
mod node;
mod pieces;
mod place;
mod room;
mod select;
mod sizes;
mod sketches;
pub mod totals;
mod view;
mod widening;
mod window;

pub use crate::batch::content_bytes;
pub use calls::{
    AggregateCall, AggregateKind, BitOp, OrderedCall, OrderedKind, PairStatistic, SortKey, Spread,
};
pub use evaluate::Evaluator;
pub use filter::Conjunction;
pub use function::{
    AggregateFunction, AggregateRef, Argument, FunctionRef, Functions, GroupStates, ScalarFunction,
};
pub use kernels::{
    in_coarser_unit, in_units, is_time, nearest_double, nearest_float, not_a_time, with_seconds,
};
pub use literal::{Literal, Value};
pub use node::{ArithmeticOp, CompareOp, Expr, MatchKind};
pub use pieces::Piece;
pub use place::{Place, between};
pub use room::Growth;
pub use sizes::{
    ValueBytes, WRITTEN_BYTES_MAX, Written, bytes_taken, count_within, is_fixed, rows_within,
};
pub use sketches::{DistinctStates, QuantileStates, Quantiles};
pub use widening::widens;
pub use window::{Frame, FrameBound, FrameUnits, Over, WindowArgument, WindowCall, WindowKind};

#[cfg(test)]
mod tests;
