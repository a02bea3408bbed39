//! Streams: pipelines under construction.
//!
//! Building a plan cuts it at its breakers. Each node appends transforms to the stream of its
//! input, or ends the stream in a sink and begins a new one at the source that reads the sink's
//! state. A stream has several arms when its chunks come from several pipelines in turn (a union,
//! the unmatched rows of a join after the matched ones).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::NodeId;
use super::profile::{Given, Profile};
use crate::batch::{KeyFilterId, KeyFilterSlot};
use crate::error::Result;
use crate::observe::{self, Meter};
use crate::pipeline::{
    Metered, Pipeline, PipelineId, Pipelines, Query, Sink, Source, Transform, Tree,
};

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
    /// Key filters that its scan reads: it starts after the joins that publish them.
    pub key_filters: Vec<KeyFilterId>,
    /// How many arms, of those directly before it in the stream, it comes after: it starts when
    /// their workers have pushed all they have.
    pub follows: usize,
    /// How many of its roles, the source first, are behind meters or do without.
    metered: usize,
}

impl Arm {
    fn new(source: Arc<dyn Source>, after: Vec<PipelineId>, follows: usize) -> Arm {
        let (transforms, key_filters) = (Vec::new(), Vec::new());
        Arm { source, transforms, after, key_filters, follows, metered: 0 }
    }

    /// Puts the roles that are behind no meter yet behind this one.
    fn meter(&mut self, meter: &Arc<Meter>) {
        if self.metered == 0 {
            self.source = Arc::new(Metered::new(self.source.clone(), meter.clone()));
        }
        for transform in self.transforms.iter_mut().skip(self.metered.saturating_sub(1)) {
            *transform = Arc::new(Metered::new(transform.clone(), meter.clone()));
        }
        self.metered = 1 + self.transforms.len();
    }
}

/// The output of a node: chunks of one schema, from one or several arms in order.
#[derive(Clone)]
pub struct Stream {
    /// The arms, in the order of their rows.
    pub arms: Vec<Arm>,
    /// Names and logical types of the columns.
    pub schema: SchemaRef,
    /// Where it is one of several readers of a running stream: the first of its pipelines.
    fork: Option<PipelineId>,
}

impl Stream {
    /// A stream of one arm that begins at `source`, once the pipelines `after` have finished.
    pub fn new(schema: SchemaRef, source: Arc<dyn Source>, after: Vec<PipelineId>) -> Self {
        Stream { arms: vec![Arm::new(source, after, 0)], schema, fork: None }
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

    /// The stream, started only when these key filters are known.
    pub fn reading(mut self, key_filters: &[KeyFilterId]) -> Self {
        for arm in &mut self.arms {
            arm.key_filters.extend_from_slice(key_filters);
        }
        self
    }

    /// What `source` gives when all rows of this stream have been pushed, behind them: what a
    /// transform has gathered from all of them.
    pub fn then_from(mut self, source: Arc<dyn Source>) -> Self {
        let follows = self.arms.len();
        self.arms.push(Arm::new(source, Vec::new(), follows));
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
    key_filters: HashMap<KeyFilterId, KeyFilterSlot>,
    /// Who publishes a key filter, and who reads one.
    publishers: Vec<(KeyFilterId, PipelineId)>,
    readers: Vec<(KeyFilterId, PipelineId)>,
    profile: Option<Arc<Profile>>,
    /// The meter of the node that is being built.
    meter: Option<Arc<Meter>>,
}

impl Build {
    /// Nothing built yet.
    pub fn new(query: Arc<Query>) -> Self {
        Build {
            profile: None,
            meter: None,
            query,
            pipelines: Pipelines::default(),
            key_filters: HashMap::new(),
            publishers: Vec::new(),
            readers: Vec::new(),
        }
    }

    /// The same, for a plan whose nodes are measured.
    pub fn measured(self, profile: Option<Arc<Profile>>) -> Self {
        Build { profile, ..self }
    }

    /// What `make` answers, which builds a node. Where nodes are measured, the roles that it makes
    /// are behind the node's meter.
    ///
    /// # Errors
    /// What `make` reports.
    pub fn within<T>(
        &mut self,
        node: NodeId,
        make: impl FnOnce(&mut Build) -> Result<T>,
    ) -> Result<T> {
        let Some(profile) = &self.profile else { return make(self) };
        let meter = profile.node(node)?.clone();
        let before = self.meter.replace(meter.clone());
        let _at = observe::at(Some(meter));
        let made = make(self);
        self.meter = before;
        made
    }

    /// The stream that a node gives. Where nodes are measured, its rows are counted.
    pub fn given(&self, mut stream: Stream) -> Stream {
        let Some(meter) = &self.meter else { return stream };
        self.meter_arms(&mut stream.arms);
        let schema = stream.schema.clone();
        let mut stream = stream.then(schema, Arc::new(Given { meter: meter.clone() }));
        for arm in &mut stream.arms {
            arm.metered = 1 + arm.transforms.len();
        }
        stream
    }

    fn meter_arms(&self, arms: &mut [Arm]) {
        if let Some(meter) = &self.meter {
            arms.iter_mut().for_each(|arm| arm.meter(meter));
        }
    }

    /// A build of a part of a source, which reads key filters that are known already.
    pub fn part_of(query: Arc<Query>, key_filters: &[(KeyFilterId, KeyFilterSlot)]) -> Self {
        let mut build = Build::new(query);
        build.key_filters.extend(key_filters.iter().cloned());
        build
    }

    /// The slot of a key filter: the same one for the join that publishes it and for its readers.
    pub fn key_filter(&mut self, id: KeyFilterId) -> KeyFilterSlot {
        self.key_filters.entry(id).or_default().clone()
    }

    /// The slot of a key filter that is published when the pipelines `by` have finished.
    pub fn publish_key_filter(&mut self, id: KeyFilterId, by: &[PipelineId]) -> KeyFilterSlot {
        self.publishers.extend(by.iter().map(|&pipeline| (id, pipeline)));
        self.key_filter(id)
    }

    /// Makes several readers of one stream: each gets a copy of the answer, to which it may append
    /// transforms, and ends it in a sink; every chunk goes to all of them as it comes. Nothing
    /// that one of them waits for may come after another.
    pub fn fork(&mut self, stream: Stream) -> Stream {
        let first = PipelineId(self.pipelines.list.len());
        let arms = stream.arms.iter().map(|arm| {
            let reader = Arm::new(arm.source.clone(), Vec::new(), 0);
            // Who reads does not run the source.
            Arm { metered: 1, ..reader }
        });
        let fork =
            Stream { arms: arms.collect(), schema: stream.schema.clone(), fork: Some(first) };
        self.end(stream.arms, &Tree::Fork(Vec::new()));
        fork
    }

    /// Ends `stream` in `sink`; whoever reads the sink's state starts after these pipelines.
    pub fn sink(&mut self, mut stream: Stream, sink: Arc<dyn Sink>) -> Vec<PipelineId> {
        self.meter_arms(&mut stream.arms);
        let sink = Tree::Sink(match &self.meter {
            Some(meter) => Arc::new(Metered::new(sink, meter.clone())),
            None => sink,
        });
        let Some(first) = stream.fork else { return self.end(stream.arms, &sink) };
        let mut ids = Vec::with_capacity(stream.arms.len());
        for (number, arm) in stream.arms.into_iter().enumerate() {
            let id = PipelineId(first.0 + number);
            self.readers.extend(arm.key_filters.iter().map(|&filter| (filter, id)));
            let pipeline = &mut self.pipelines.list[id.0];
            pipeline.after.extend(arm.after);
            if let Some(branches) = branches_of(&mut pipeline.tree) {
                branches.push(chain(arm.transforms, sink.clone()));
            }
            ids.push(id);
        }
        ids
    }

    /// Makes a pipeline of each arm.
    fn end(&mut self, arms: Vec<Arm>, end: &Tree) -> Vec<PipelineId> {
        let first = self.pipelines.list.len();
        for (number, arm) in arms.into_iter().enumerate() {
            let id = PipelineId(self.pipelines.list.len());
            self.readers.extend(arm.key_filters.iter().map(|&filter| (filter, id)));
            let mut after = arm.after;
            after.extend(
                (number.saturating_sub(arm.follows)..number).map(|n| PipelineId(first + n)),
            );
            self.pipelines.list.push(Pipeline {
                source: arm.source,
                first_morsel: number as u64 * ARM_MORSELS,
                tree: chain(arm.transforms, end.clone()),
                after,
            });
        }
        (first..self.pipelines.list.len()).map(PipelineId).collect()
    }

    /// The pipelines built. Those that read a key filter start after those that publish it, unless
    /// that would make them wait for each other; then the filter comes too late and is not used.
    pub fn finish(mut self) -> Pipelines {
        for (filter, reader) in std::mem::take(&mut self.readers) {
            let publishers = self.publishers.iter().filter(|(id, _)| *id == filter);
            for publisher in publishers.map(|&(_, p)| p).collect::<Vec<_>>() {
                if !self.waits_for(publisher, reader) {
                    self.pipelines.list[reader.0].after.push(publisher);
                }
            }
        }
        self.pipelines
    }

    /// Whether `pipeline` is `other`, or starts after it, directly or not.
    fn waits_for(&self, pipeline: PipelineId, other: PipelineId) -> bool {
        let mut seen = vec![false; self.pipelines.list.len()];
        let mut open = vec![pipeline];
        while let Some(next) = open.pop() {
            if next == other {
                return true;
            }
            if !std::mem::replace(&mut seen[next.0], true) {
                open.extend_from_slice(&self.pipelines.list[next.0].after);
            }
        }
        false
    }
}

/// Transforms and what comes after them.
fn chain(transforms: Vec<Arc<dyn Transform>>, end: Tree) -> Tree {
    let then = |tree, transform| Tree::Transform(transform, Box::new(tree));
    transforms.into_iter().rev().fold(end, then)
}

/// The branches of the fork at the end of a tree.
fn branches_of(tree: &mut Tree) -> Option<&mut Vec<Tree>> {
    match tree {
        Tree::Transform(_, next) => branches_of(next),
        Tree::Fork(branches) => Some(branches),
        Tree::Sink(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Consumed, Context, Pull, SinkWorker, SourceWorker};

    struct Nothing;

    impl Source for Nothing {
        fn name(&self) -> &str {
            "nothing"
        }
        fn worker(&self, _: &Context) -> Result<Box<dyn SourceWorker>> {
            Ok(Box::new(Nothing))
        }
        fn parallelism(&self) -> usize {
            1
        }
        fn reset(&self) -> Result<()> {
            Ok(())
        }
    }

    impl SourceWorker for Nothing {
        fn pull(&mut self, _: &Context) -> Result<Pull> {
            Ok(Pull::Finished)
        }
    }

    impl Sink for Nothing {
        fn name(&self) -> &str {
            "nothing"
        }
        fn worker(&self, _: &Context) -> Result<Box<dyn SinkWorker>> {
            Ok(Box::new(Nothing))
        }
        fn prepare(&self, _: &Context) -> Result<usize> {
            Ok(0)
        }
        fn finish(&self, _: usize, _: &Context) -> Result<()> {
            Ok(())
        }
        fn reset(&self) -> Result<()> {
            Ok(())
        }
    }

    impl SinkWorker for Nothing {
        fn consume(&mut self, _: crate::batch::Chunk, _: &Context) -> Result<Consumed> {
            Ok(Consumed::Finished)
        }
        fn combine(&mut self, _: &Context) -> Result<Option<crate::scheduler::Token>> {
            Ok(None)
        }
    }

    fn build() -> Build {
        let query = Query::alone(crate::memory::Governor::unlimited(), 1);
        Build::new(Arc::new(query))
    }

    fn stream(after: &[PipelineId]) -> Stream {
        let schema = Arc::new(arrow::datatypes::Schema::empty());
        Stream::new(schema, Arc::new(Nothing), after.to_vec())
    }

    #[test]
    fn readers_of_a_key_filter_start_after_its_publishers_unless_those_wait_for_them() {
        let mut build = build();
        let (a, b) = (KeyFilterId(1), KeyFilterId(2));
        let early = build.sink(stream(&[]).reading(&[a, b]), Arc::new(Nothing));
        let publisher = build.sink(stream(&[]), Arc::new(Nothing));
        build.publish_key_filter(a, &publisher);
        let late = build.sink(stream(&early), Arc::new(Nothing));
        build.publish_key_filter(b, &late);
        let pipelines = build.finish();
        assert_eq!(pipelines.list[early[0].0].after, publisher);
    }

    #[test]
    fn readers_of_a_fork_are_branches_of_one_pipeline() {
        let mut build = build();
        let before = build.sink(stream(&[]), Arc::new(Nothing));
        let fork = build.fork(stream(&before).chain(stream(&[])));
        let one = build.sink(fork.clone(), Arc::new(Nothing));
        let other = build.sink(fork.after(&before), Arc::new(Nothing));
        assert_eq!((one.len(), &one), (2, &other));
        let pipelines = build.finish();
        assert_eq!(pipelines.list.len(), 3);
        assert_eq!(pipelines.list[2].after, before);
        for id in one {
            let Tree::Fork(branches) = &pipelines.list[id.0].tree else { panic!("no fork") };
            assert_eq!(branches.len(), 2);
        }
    }
}
