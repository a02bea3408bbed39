//! Functions that are not the engine's own: ours for the front end, and the adapters that let the
//! engine call DataFusion's.

mod single_value;

pub(crate) use single_value::single_value;
