//! A pipeline's tree laid out as a list of stages, with what its workers tell each other.
//!
//! A stage is *finished* when no worker's further input to it matters: it said so, or nothing that
//! it feeds wants more. The second kind travels upwards: to a transform from what comes after it,
//! to a fork from the last of its branches. When the first stage is finished, workers stop pulling.
//!
//! Concurrency: one flag per stage, read by all workers for every chunk, set once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::context::Context;
use super::roles::{Sink, SinkWorker, Transform, TransformWorker};
use super::tree::Tree;
use crate::error::Result;

/// Number of a stage in its flow; the first is 0, and what a stage feeds comes behind it.
pub(super) type StageId = usize;

/// The shared side of a pipeline's stages.
pub(super) struct Flow {
    stages: Vec<Stage>,
}

struct Stage {
    role: Role,
    parent: Option<StageId>,
    finished: AtomicBool,
}

enum Role {
    Transform(Arc<dyn Transform>, StageId),
    Fork(Vec<StageId>),
    Sink(Arc<dyn Sink>),
}

/// One worker's side of a stage.
pub(super) enum StageWorker {
    /// A transform, and the stage it feeds.
    Transform(Box<dyn TransformWorker>, StageId),
    /// The stages that get each chunk.
    Fork(Arc<[StageId]>),
    /// A sink; `None` when its worker has combined.
    Sink(Option<Box<dyn SinkWorker>>),
}

impl Flow {
    pub(super) fn new(tree: &Tree) -> Self {
        let mut flow = Flow { stages: Vec::new() };
        flow.add(tree, None);
        flow
    }

    fn add(&mut self, tree: &Tree, parent: Option<StageId>) -> StageId {
        let id = self.stages.len();
        // The links of a transform or fork are known once what it feeds has been added.
        let role = match tree {
            Tree::Transform(transform, _) => Role::Transform(transform.clone(), id + 1),
            Tree::Fork(_) => Role::Fork(Vec::new()),
            Tree::Sink(sink) => Role::Sink(sink.clone()),
        };
        self.stages.push(Stage { role, parent, finished: AtomicBool::new(false) });
        match tree {
            Tree::Transform(_, next) => {
                self.add(next, Some(id));
            }
            Tree::Fork(branches) => {
                let ids = branches.iter().map(|branch| self.add(branch, Some(id))).collect();
                self.stages[id].role = Role::Fork(ids);
                if branches.is_empty() {
                    self.finish(id);
                }
            }
            Tree::Sink(_) => {}
        }
        id
    }

    /// One more worker on every stage.
    pub(super) fn workers(&self, cx: &Context) -> Result<Vec<StageWorker>> {
        let worker = |stage: &Stage| {
            Ok(match &stage.role {
                Role::Transform(role, next) => StageWorker::Transform(role.worker(cx)?, *next),
                Role::Fork(branches) => StageWorker::Fork(branches.clone().into()),
                Role::Sink(sink) => StageWorker::Sink(Some(sink.worker(cx)?)),
            })
        };
        self.stages.iter().map(worker).collect()
    }

    /// Whether input to this stage matters no more.
    pub(super) fn is_finished(&self, id: StageId) -> bool {
        self.stages[id].finished.load(Ordering::SeqCst)
    }

    /// Notes that input to this stage matters no more, and what follows from it further up.
    ///
    /// Two workers may finish the last two branches of a fork at once: each sets its flag before it
    /// looks at the other's, and the sequentially consistent order lets one of them see both.
    pub(super) fn finish(&self, id: StageId) {
        let mut id = id;
        loop {
            self.stages[id].finished.store(true, Ordering::SeqCst);
            let Some(parent) = self.stages[id].parent else { return };
            if let Role::Fork(branches) = &self.stages[parent].role
                && !branches.iter().all(|&branch| self.is_finished(branch))
            {
                return;
            }
            id = parent;
        }
    }

    /// The stages that are sinks.
    pub(super) fn sinks(&self) -> impl DoubleEndedIterator<Item = StageId> {
        let is_sink = |id: &StageId| matches!(self.stages[*id].role, Role::Sink(_));
        (0..self.stages.len()).filter(is_sink)
    }

    /// What errors call this stage.
    pub(super) fn name(&self, id: StageId) -> &str {
        match &self.stages[id].role {
            Role::Transform(transform, _) => transform.name(),
            Role::Fork(_) => "fork",
            Role::Sink(sink) => sink.name(),
        }
    }
}
