//! Functions of ours that the front end knows by name. The adapters that let the engine call
//! DataFusion's are in `lower`.
//!
//! * `single_value`: the only row of a scalar subquery.

mod single_value;

pub(crate) use single_value::single_value;
