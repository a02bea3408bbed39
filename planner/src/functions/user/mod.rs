//! Functions of the program's own: what a program implements to have its Rust code called in SQL
//! and in the builder, and what the front end and the engine see of it.
//!
//! * `arguments`: which types functions take.
//! * `scalar`: functions of one row; `aggregate`: of many rows, states of all groups at once;
//!   `accumulator`: the same, a group at a time.
//! * `bound_scalar`, `bound_aggregate`: the two as the front end declares and the engine calls
//!   them; `bound`: what both are.
//! * `guard`: calls of code that is not ours.
//!
//! Invariant: what such a function does (a panic, a result of another type or length) ends the
//! query that calls it with an error that names the function, and nothing else.

mod accumulator;
mod aggregate;
mod arguments;
mod bound;
mod bound_aggregate;
mod bound_scalar;
mod guard;
mod scalar;

pub use accumulator::{Accumulator, AggregateDef};
pub use aggregate::{AggregateFunction, GroupStates};
pub use arguments::Arguments;
pub(crate) use bound_aggregate::BoundAggregate;
pub(crate) use bound_scalar::BoundScalar;
pub(in crate::functions) use guard::to_front_end;
pub use scalar::{ScalarDef, ScalarFunction};
