//! Memory.
/// placeholder
#[derive(Clone)]
pub struct Governor;
