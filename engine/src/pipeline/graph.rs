//! Which pipeline waits for which: pure bookkeeping.
//!
//! A pipeline waits for the sinks of those it comes after to finish. Where it feeds such a sink
//! itself it waits for the other arm's workers to combine instead: the sink finishes after both.
//! A sink finishes when all its arms have combined.
//!
//! Pipelines that share a sink, directly or through others, are one *group* and share an order.
//!
//! Pipelines that have to do with each other are one *part* of the query (`parts`). So many parts
//! run at once as the query has memory for; the next begins when one has ended.

use std::collections::VecDeque;
use std::sync::Arc;

use super::parts::parts_of;
use super::roles::Sink;
use super::tree::{Pipelines, Tree};
use crate::error::{Error, Result};

/// What can go on after an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Next {
    /// Pipelines to start.
    pub(super) start: Vec<usize>,
    /// Sinks to finish.
    pub(super) finish: Vec<usize>,
}

/// The state of a query's pipelines and sinks, by their numbers.
#[derive(Clone)]
pub(super) struct Graph {
    pipelines: Vec<Node>,
    sinks: Vec<SinkNode>,
    parts: Vec<Part>,
    /// Parts that have not begun.
    later: VecDeque<usize>,
    /// Pipelines that have not combined, and sinks that have not finished.
    open: usize,
}

#[derive(Clone, Default)]
struct Part {
    /// The pipelines that wait for nothing.
    first: Vec<usize>,
    /// As [`Graph::open`], of this part.
    open: usize,
}

#[derive(Clone)]
struct Node {
    /// Events that it still waits for.
    waits: usize,
    sinks: Vec<usize>,
    group: usize,
    part: usize,
    /// Pipelines that wait for its workers to combine.
    followers: Vec<usize>,
}

#[derive(Clone, Default)]
struct SinkNode {
    part: usize,
    arms_left: usize,
    /// Pipelines that wait for it to finish.
    followers: Vec<usize>,
}

impl Graph {
    /// The graph of these pipelines, and their distinct sinks by number.
    ///
    /// # Errors
    /// `Internal` when a pipeline comes after one that does not exist, or some wait for each other.
    pub(super) fn new(pipelines: &Pipelines) -> Result<(Graph, Vec<Arc<dyn Sink>>)> {
        let mut sinks: Vec<Arc<dyn Sink>> = Vec::new();
        let mut nodes = Vec::with_capacity(pipelines.list.len());
        for pipeline in &pipelines.list {
            let mut own = Vec::new();
            find_sinks(&pipeline.tree, &mut sinks, &mut own);
            nodes.push(Node { waits: 0, sinks: own, group: 0, part: 0, followers: Vec::new() });
        }
        let open = nodes.len() + sinks.len();
        let sink_nodes = vec![SinkNode::default(); sinks.len()];
        let (parts, later) = (Vec::new(), VecDeque::new());
        let mut graph = Graph { pipelines: nodes, sinks: sink_nodes, parts, later, open };
        graph.link(pipelines)?;
        graph.group();
        graph.part(pipelines);
        graph.check()?;
        Ok((graph, sinks))
    }

    fn link(&mut self, pipelines: &Pipelines) -> Result<()> {
        for (id, pipeline) in pipelines.list.iter().enumerate() {
            let own = self.pipelines[id].sinks.clone();
            for &sink in &own {
                self.sinks[sink].arms_left += 1;
            }
            for before in &pipeline.after {
                let Some(other) = self.pipelines.get_mut(before.0) else {
                    return Err(Error::internal(format!("no pipeline {} to wait for", before.0)));
                };
                let others: Vec<usize> =
                    other.sinks.iter().copied().filter(|sink| !own.contains(sink)).collect();
                other.followers.push(id);
                for &sink in &others {
                    self.sinks[sink].followers.push(id);
                }
                self.pipelines[id].waits += 1 + others.len();
            }
        }
        Ok(())
    }

    /// Gives pipelines with a common sink the same group: the lowest number among them.
    fn group(&mut self) {
        for (id, node) in self.pipelines.iter_mut().enumerate() {
            node.group = id;
        }
        for sink in 0..self.sinks.len() {
            let groups: Vec<usize> = self
                .pipelines
                .iter()
                .filter(|node| node.sinks.contains(&sink))
                .map(|node| node.group)
                .collect();
            let lowest = groups.iter().copied().min().unwrap_or(0);
            for node in self.pipelines.iter_mut().filter(|node| groups.contains(&node.group)) {
                node.group = lowest;
            }
        }
    }

    /// Finds the parts.
    fn part(&mut self, pipelines: &Pipelines) {
        let sinks: Vec<&[usize]> = self.pipelines.iter().map(|node| &*node.sinks).collect();
        let is_last: Vec<bool> = self.sinks.iter().map(|sink| sink.followers.is_empty()).collect();
        let numbers = parts_of(pipelines, &sinks, &is_last);
        let parts = numbers.iter().max().map_or(0, |last| last + 1);
        self.parts = vec![Part::default(); parts];
        for (id, number) in numbers.into_iter().enumerate() {
            let (node, part) = (&mut self.pipelines[id], &mut self.parts[number]);
            node.part = number;
            part.open += 1;
            if node.waits == 0 {
                part.first.push(id);
            }
            // The sink of several parts ends with the last of them.
            for &sink in &node.sinks {
                self.sinks[sink].part = self.sinks[sink].part.max(number);
            }
        }
        for sink in &self.sinks {
            self.parts[sink.part].open += 1;
        }
        self.later = (0..parts).collect();
    }

    /// Plays the graph through to see that it comes to its end.
    fn check(&self) -> Result<()> {
        let mut play = self.clone();
        let mut next = Next { start: play.begin(1), finish: Vec::new() };
        loop {
            let after = if let Some(pipeline) = next.start.pop() {
                play.combined(pipeline)
            } else if let Some(sink) = next.finish.pop() {
                Next { start: play.finished(sink), finish: Vec::new() }
            } else {
                break;
            };
            next.start.extend(after.start);
            next.finish.extend(after.finish);
        }
        if play.is_done() { Ok(()) } else { Err(Error::internal("pipelines wait for each other")) }
    }

    /// Begins so many parts of the query; answers which pipelines can start.
    pub(super) fn begin(&mut self, parts: usize) -> Vec<usize> {
        let begun: Vec<usize> = self.later.drain(..parts.min(self.later.len())).collect();
        begun.into_iter().flat_map(|part| self.parts[part].first.clone()).collect()
    }

    /// The group that a pipeline is of.
    pub(super) fn group_of(&self, pipeline: usize) -> usize {
        self.pipelines[pipeline].group
    }

    /// The group that a sink's arms are of.
    pub(super) fn group_of_sink(&self, sink: usize) -> usize {
        let arm = self.pipelines.iter().find(|node| node.sinks.contains(&sink));
        arm.map_or(0, |node| node.group)
    }

    /// The workers of a pipeline have all combined.
    pub(super) fn combined(&mut self, pipeline: usize) -> Next {
        self.open -= 1;
        let Node { sinks, followers, .. } = self.pipelines[pipeline].clone();
        let mut finish = Vec::new();
        for sink in sinks {
            let left = &mut self.sinks[sink].arms_left;
            *left -= 1;
            if *left == 0 {
                finish.push(sink);
            }
        }
        let mut start = self.released(followers);
        start.extend(self.ended(self.pipelines[pipeline].part));
        Next { start, finish }
    }

    /// A sink has finished; answers which pipelines can start.
    pub(super) fn finished(&mut self, sink: usize) -> Vec<usize> {
        self.open -= 1;
        let followers = std::mem::take(&mut self.sinks[sink].followers);
        let mut start = self.released(followers);
        start.extend(self.ended(self.sinks[sink].part));
        start
    }

    /// Something of a part has ended; begins another part when it was the last of it.
    fn ended(&mut self, part: usize) -> Vec<usize> {
        self.parts[part].open -= 1;
        if self.parts[part].open > 0 { Vec::new() } else { self.begin(1) }
    }

    fn released(&mut self, followers: Vec<usize>) -> Vec<usize> {
        let mut start = Vec::new();
        for id in followers {
            let waits = &mut self.pipelines[id].waits;
            *waits -= 1;
            if *waits == 0 {
                start.push(id);
            }
        }
        start
    }

    /// Whether all pipelines have combined and all sinks have finished.
    pub(super) fn is_done(&self) -> bool {
        self.open == 0
    }
}

/// Adds the numbers of a tree's sinks to `own`, and those not seen before to `sinks`.
fn find_sinks(tree: &Tree, sinks: &mut Vec<Arc<dyn Sink>>, own: &mut Vec<usize>) {
    match tree {
        Tree::Transform(_, next) => find_sinks(next, sinks, own),
        Tree::Fork(branches) => branches.iter().for_each(|b| find_sinks(b, sinks, own)),
        Tree::Sink(sink) => {
            let known =
                sinks.iter().position(|s| std::ptr::addr_eq(&raw const **s, &raw const **sink));
            let id = known.unwrap_or_else(|| {
                sinks.push(sink.clone());
                sinks.len() - 1
            });
            // Two branches of one tree may end in the same sink; it is one arm all the same.
            if !own.contains(&id) {
                own.push(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::fakes::{Keep, script, sink};
    use super::*;
    use crate::pipeline::{Pipeline, PipelineId};

    fn pipeline(tree: &Tree, after: &[usize]) -> Pipeline {
        let after = after.iter().map(|&id| PipelineId(id)).collect();
        Pipeline { source: script([]), first_morsel: 0, tree: tree.clone(), after }
    }

    fn graph(list: Vec<Pipeline>) -> Result<Graph> {
        Ok(Graph::new(&Pipelines { list })?.0)
    }

    #[test]
    fn pipelines_wait_for_sinks_and_arms_for_each_other() {
        let [(_, a), (_, b), (_, c)] = std::array::from_fn(|_| sink(Keep::new()));
        let list = vec![
            pipeline(&a, &[]),
            pipeline(&b, &[0]),
            pipeline(&b, &[1]),
            pipeline(&c, &[1, 2, 2]),
        ];
        let mut graph = graph(list).expect("no circle");
        assert_eq!(graph.begin(1), [0]);
        assert_eq!(graph.combined(0), Next { start: vec![], finish: vec![0] });
        assert_eq!(graph.finished(0), [1]);
        assert_eq!(graph.combined(1), Next { start: vec![2], finish: vec![] });
        assert_eq!(graph.combined(2), Next { start: vec![], finish: vec![1] });
        assert_eq!(graph.finished(1), [3]);
        assert_eq!(graph.combined(3), Next { start: vec![], finish: vec![2] });
        assert!(!graph.is_done());
        assert!(graph.finished(2).is_empty());
        assert!(graph.is_done());
    }

    #[test]
    fn parts_begin_when_others_have_ended() {
        let [(_, a), (_, b), (_, c), (_, d)] = std::array::from_fn(|_| sink(Keep::new()));
        // The sink of 3 and 4 is nobody's source: 0 with 3, 1 with 4 and 2 are parts.
        let list = vec![
            pipeline(&a, &[]),
            pipeline(&b, &[]),
            pipeline(&c, &[]),
            pipeline(&d, &[0]),
            pipeline(&d, &[1]),
        ];
        let mut all = graph(list.clone()).expect("no circle").begin(usize::MAX);
        all.sort_unstable();
        assert_eq!(all, [0, 1, 2]);
        let mut graph = graph(list).expect("no circle");
        assert_eq!(graph.begin(1), [2]);
        assert_eq!(graph.combined(2), Next { start: vec![], finish: vec![2] });
        assert_eq!(graph.finished(2), [0]);
        assert_eq!(graph.combined(0), Next { start: vec![], finish: vec![0] });
        assert_eq!(graph.finished(0), [3]);
        assert_eq!(graph.combined(3), Next { start: vec![1], finish: vec![] });
        assert_eq!(graph.combined(1), Next { start: vec![], finish: vec![1] });
        assert_eq!(graph.finished(1), [4]);
        assert_eq!(graph.combined(4), Next { start: vec![], finish: vec![3] });
        assert!(graph.finished(3).is_empty() && graph.is_done());
    }

    #[test]
    fn circles_and_unknown_pipelines_are_refused() {
        let [(_, a), (_, b)] = std::array::from_fn(|_| sink(Keep::new()));
        let refused = |list| graph(list).err().expect("refused").to_string();
        let circle = vec![pipeline(&a, &[1]), pipeline(&b, &[0])];
        assert!(refused(circle).contains("wait for each other"));
        assert!(refused(vec![pipeline(&a, &[0])]).contains("wait for each other"));
        assert!(refused(vec![pipeline(&a, &[7])]).contains("no pipeline 7"));
        // The arm that waits for its own sink's reader can never start.
        let through = vec![pipeline(&a, &[]), pipeline(&b, &[0]), pipeline(&a, &[1])];
        assert!(refused(through).contains("wait for each other"));
        assert!(graph(Vec::new()).expect("nothing to do").is_done());
    }

    #[test]
    fn arms_are_grouped_through_forks() {
        let [(_, a), (_, b), (_, c)] = std::array::from_fn(|_| sink(Keep::new()));
        let list = vec![
            pipeline(&a, &[]),
            pipeline(&c, &[]),
            pipeline(&b, &[]),
            pipeline(&Tree::Fork(vec![a.clone(), b.clone()]), &[]),
        ];
        let graph = graph(list).expect("no circle");
        let groups: Vec<usize> = (0..4).map(|id| graph.group_of(id)).collect();
        assert_eq!(groups, [0, 1, 0, 0]);
        assert_eq!(graph.group_of_sink(1), 1);
    }
}
