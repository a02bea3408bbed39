//! Functions of ours that the front end knows by name. The adapters that let the engine call
//! DataFusion's are in `lower`.
//!
//! * `single_value`: the only row of a scalar subquery; `window`: window functions.

mod single_value;
mod window;

pub(crate) use single_value::single_value;
pub(crate) use window::{CountWindowPlanner, WINDOW_FUNCTIONS, window_function};
