//! What a role may ask of its surroundings.

use std::sync::Arc;

use super::order::Order;
use crate::error::Result;
use crate::memory::Governor;
use crate::scheduler::Cancel;

/// What all pipelines of one query share.
pub struct Query {
    /// Stops the query.
    pub cancel: Cancel,
    /// The process's memory; operators take their reservations from it.
    pub memory: Governor,
    /// Worker threads that may be busy for this query.
    pub threads: usize,
    /// Pipelines that may run at once; one at least.
    pub abreast: usize,
    /// Whether results and files keep the order of the input.
    pub keep_order: bool,
}

#[cfg(test)]
impl Query {
    /// A query of its own that keeps the order, for tests of roles.
    pub(crate) fn alone(memory: Governor, threads: usize) -> Query {
        Query { cancel: Cancel::new(), memory, threads, abreast: usize::MAX, keep_order: true }
    }
}

/// Handed to every call of a role's method.
#[derive(Clone)]
pub struct Context {
    /// The query this pipeline belongs to.
    pub query: Arc<Query>,
    /// Which part of the pipeline's input is complete.
    pub order: Order,
    /// Number of this worker on this pipeline, from 0.
    pub worker: usize,
}

impl Context {
    /// `Ok` while the query may go on; see [`Cancel::check`].
    ///
    /// # Errors
    /// `Cancelled` with the reason.
    pub fn check(&self) -> Result<()> {
        self.query.cancel.check()
    }

    /// The process's memory.
    pub fn memory(&self) -> &Governor {
        &self.query.memory
    }
}
