//! The shape of pipelines, before they run.

use std::sync::Arc;

use super::roles::{Sink, Source, Transform};

/// What a source's chunks, or a transform's, are pushed into.
#[derive(Clone)]
pub enum Tree {
    /// A transform and what comes after it.
    Transform(Arc<dyn Transform>, Box<Tree>),
    /// Every branch gets every chunk; each stops on its own.
    Fork(Vec<Tree>),
    /// The end of a branch.
    Sink(Arc<dyn Sink>),
}

/// Number of a pipeline within its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PipelineId(pub usize);

/// One pipeline and what must have finished before it starts.
#[derive(Clone)]
pub struct Pipeline {
    /// Where the chunks come from.
    pub source: Arc<dyn Source>,
    /// Added to the source's morsel numbers, to place this arm after others of the same sink.
    pub first_morsel: u64,
    /// Where they go.
    pub tree: Tree,
    /// Pipelines whose sinks must be finished first. A pipeline may come after another arm of its
    /// own sink: then it starts when that arm's workers have combined, and the sink finishes
    /// after both.
    pub after: Vec<PipelineId>,
}

/// The pipelines of one query. A sink that several pipelines feed finishes after the last of them.
#[derive(Clone, Default)]
pub struct Pipelines {
    /// All pipelines; [`PipelineId`] is the position.
    pub list: Vec<Pipeline>,
}
