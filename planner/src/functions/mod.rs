//! Functions of ours that the front end knows by name. The adapters that let the engine call
//! DataFusion's are in `lower`.
//!
//! * `declared`: aggregates; `single_value`: the only row of a scalar subquery.
//! * `grouping`: grouping().

mod declared;
mod grouping;
mod single_value;

pub(crate) use declared::{Declared, declared_aggregates};
pub(crate) use grouping::grouping_bits;
pub(crate) use single_value::{SINGLE_VALUE, single_value};
