//! Streams: pipelines under construction.
//!
//! Building a plan cuts it at its breakers. Each node appends transforms to the stream of its
//! input, or ends the stream in a sink and begins a new one at the source that reads the sink's
//! state. A stream has several arms when its chunks come from several pipelines in turn (a union,
//! the unmatched rows of a join after the matched ones).

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::pipeline::{Pipeline, PipelineId, Pipelines, Query, Sink, Source, Transform, Tree};

/// Morsel numbers of one arm; the next arm's begin after them, so that arms keep their order.
pub const ARM_MORSELS: u64 = 1 << 40;

/// One pipeline under construction.
#[derive(Clone)]
pub struct Arm {
    /// Where its chunks come from.
    pub source: Arc<dyn Source>,
    /// What they go through.
    pub transforms: Vec<Arc<dyn Transform>>,
    /// What must have finished before it starts.
    pub after: Vec<PipelineId>,
}

/// The output of a node: chunks of one schema, from one or several arms in order.
#[derive(Clone)]
pub struct Stream {
    /// The arms, in the order of their rows.
    pub arms: Vec<Arm>,
    /// Names and logical types of the columns.
    pub schema: SchemaRef,
}

impl Stream {
    /// A stream of one arm that begins at `source`, once the pipelines `after` have finished.
    pub fn new(schema: SchemaRef, source: Arc<dyn Source>, after: Vec<PipelineId>) -> Self {
        Stream { arms: vec![Arm { source, transforms: Vec::new(), after }], schema }
    }

    /// The stream after `transform`, whose shared state serves all arms.
    pub fn then(mut self, schema: SchemaRef, transform: Arc<dyn Transform>) -> Self {
        for arm in &mut self.arms {
            arm.transforms.push(transform.clone());
        }
        self.schema = schema;
        self
    }

    /// The stream, started only when the pipelines `after` have finished.
    pub fn after(mut self, after: &[PipelineId]) -> Self {
        for arm in &mut self.arms {
            arm.after.extend_from_slice(after);
        }
        self
    }

    /// The rows of `other` behind those of this stream.
    pub fn chain(mut self, other: Stream) -> Self {
        self.arms.extend(other.arms);
        self
    }
}

/// The pipelines of a query under construction.
pub struct Build {
    /// What the query's pipelines share.
    pub query: Arc<Query>,
    pipelines: Pipelines,
}

impl Build {
    /// Nothing built yet.
    pub fn new(query: Arc<Query>) -> Self {
        Build { query, pipelines: Pipelines::default() }
    }

    /// Ends `stream` in `sink`; whoever reads the sink's state starts after these pipelines.
    pub fn sink(&mut self, stream: Stream, sink: Arc<dyn Sink>) -> Vec<PipelineId> {
        let first = self.pipelines.list.len();
        for (number, arm) in stream.arms.into_iter().enumerate() {
            let mut tree = Tree::Sink(sink.clone());
            for transform in arm.transforms.into_iter().rev() {
                tree = Tree::Transform(transform, Box::new(tree));
            }
            self.pipelines.list.push(Pipeline {
                source: arm.source,
                first_morsel: number as u64 * ARM_MORSELS,
                tree,
                after: arm.after,
            });
        }
        (first..self.pipelines.list.len()).map(PipelineId).collect()
    }

    /// The pipelines built.
    pub fn finish(self) -> Pipelines {
        self.pipelines
    }
}
