//! Functions of ours that the front end knows by name. The adapters that let the engine call
//! DataFusion's are in `lower`.
//!
//! * `declared`: aggregates; `grouping`: grouping().
//! * `opaque`: marks around expressions that borrowed rules must not look into.
//! * `series`: functions whose calls are not folded; `window`: window functions.
//! * `user`: functions of the program's own.

mod declared;
mod grouping;
mod opaque;
mod series;
mod user;
mod window;

pub(crate) use declared::{Declared, declared_aggregates};
pub(crate) use grouping::grouping_bits;
pub(crate) use opaque::{in_place, is_opaque, three_valued};
pub(crate) use series::{called, unfolded};
pub use user::{
    Accumulator, AggregateDef, AggregateFunction, Arguments, GroupStates, ScalarDef, ScalarFunction,
};
pub(crate) use user::{BoundAggregate, BoundScalar};
pub(crate) use window::{CountWindowPlanner, WINDOW_FUNCTIONS, window_function};
