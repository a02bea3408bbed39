//! The shape of pipelines, before they run.

use std::sync::Arc;

use super::roles::{Sink, Source, Transform};
use crate::error::Result;

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

impl Pipelines {
    /// Makes all roles ready for another run, each once; nothing may be running.
    ///
    /// # Errors
    /// What the roles say.
    pub fn reset(&self) -> Result<()> {
        let mut seen = Seen::default();
        for pipeline in &self.list {
            seen.reset_tree(&pipeline.tree)?;
            if is_new(&*pipeline.source, &mut seen.sources) {
                pipeline.source.reset()?;
            }
        }
        Ok(())
    }
}

/// Addresses of the roles that have been reset. One object may be a sink and a source.
#[derive(Default)]
struct Seen {
    sources: Vec<*const ()>,
    transforms: Vec<*const ()>,
    sinks: Vec<*const ()>,
}

impl Seen {
    fn reset_tree(&mut self, tree: &Tree) -> Result<()> {
        match tree {
            Tree::Transform(transform, next) => {
                if is_new(&**transform, &mut self.transforms) {
                    transform.reset()?;
                }
                self.reset_tree(next)
            }
            Tree::Fork(branches) => branches.iter().try_for_each(|b| self.reset_tree(b)),
            Tree::Sink(sink) if is_new(&**sink, &mut self.sinks) => sink.reset(),
            Tree::Sink(_) => Ok(()),
        }
    }
}

fn is_new<T: ?Sized>(role: &T, seen: &mut Vec<*const ()>) -> bool {
    let role: *const () = std::ptr::from_ref(role).cast();
    let new = !seen.contains(&role);
    if new {
        seen.push(role);
    }
    new
}
