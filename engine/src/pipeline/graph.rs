//! Which pipeline waits for which: pure bookkeeping.
//!
//! A pipeline waits for the sinks of those it comes after to finish. Where it feeds such a sink
//! itself it waits for the other arm's workers to combine instead: the sink finishes after both.
//! A sink finishes when all its arms have combined.
//!
//! Pipelines that share a sink, directly or through others, are one *group* and share an order.
//!
//! So many pipelines run at once, sinks that finish included, as the query has memory for; which
//! one is next is said by `sequence`.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::roles::Sink;
use super::sequence::sequence;
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
    /// Pipelines that have not begun, as they are to begin.
    later: Vec<usize>,
    /// Pipelines and finishing sinks that may be at work at once, and those that are.
    abreast: usize,
    at_work: usize,
    /// Pipelines that have not combined, and sinks that have not finished.
    open: usize,
}

#[derive(Clone)]
struct Node {
    /// Events that it still waits for.
    waits: usize,
    sinks: Vec<usize>,
    group: usize,
    /// Pipelines that wait for its workers to combine.
    followers: Vec<usize>,
}

#[derive(Clone, Default)]
struct SinkNode {
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
            nodes.push(Node { waits: 0, sinks: own, group: 0, followers: Vec::new() });
        }
        let open = nodes.len() + sinks.len();
        let sink_nodes = vec![SinkNode::default(); sinks.len()];
        let later = (0..nodes.len()).collect();
        let (abreast, at_work) = (usize::MAX, 0);
        let mut graph =
            Graph { pipelines: nodes, sinks: sink_nodes, later, abreast, at_work, open };
        graph.link(pipelines)?;
        graph.group();
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

    /// Lets only so many pipelines run at once, from the beginning on; all of them where they have
    /// no sequence.
    pub(super) fn limit(&mut self, pipelines: &Pipelines, abreast: usize) {
        let groups: Vec<usize> = self.pipelines.iter().map(|node| node.group).collect();
        if abreast < groups.len()
            && let Some(later) = sequence(pipelines, &groups)
        {
            (self.later, self.abreast) = (later, abreast.max(1));
        }
    }

    /// Plays the graph through to see that it comes to its end.
    fn check(&self) -> Result<()> {
        let mut play = self.clone();
        let mut next = Next { start: play.begin(), finish: Vec::new() };
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

    /// The pipelines that can begin now, in the beginning and after others have ended.
    pub(super) fn begin(&mut self) -> Vec<usize> {
        let mut begun = Vec::new();
        // Groups of which one is still to begin: those behind it come after it.
        let mut held: BTreeSet<usize> = BTreeSet::new();
        let Graph { pipelines, later, abreast, at_work, .. } = self;
        let is_limited = *abreast < usize::MAX;
        later.retain(|&id| {
            let Node { waits, group, .. } = pipelines[id];
            let begins = waits == 0 && *at_work < *abreast && !held.contains(&group);
            if begins {
                *at_work += 1;
                begun.push(id);
            } else if is_limited {
                held.insert(group);
            }
            !begins
        });
        begun
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
        self.at_work -= 1;
        let Node { sinks, followers, .. } = self.pipelines[pipeline].clone();
        let mut finish = Vec::new();
        for sink in sinks {
            let left = &mut self.sinks[sink].arms_left;
            *left -= 1;
            if *left == 0 {
                finish.push(sink);
            }
        }
        self.at_work += finish.len();
        Next { start: self.released(&followers), finish }
    }

    /// A sink has finished; answers which pipelines can start.
    pub(super) fn finished(&mut self, sink: usize) -> Vec<usize> {
        self.open -= 1;
        self.at_work -= 1;
        let followers = std::mem::take(&mut self.sinks[sink].followers);
        self.released(&followers)
    }

    fn released(&mut self, followers: &[usize]) -> Vec<usize> {
        followers.iter().for_each(|&id| self.pipelines[id].waits -= 1);
        self.begin()
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
        assert_eq!(graph.begin(), [0]);
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
    fn one_by_one_arms_begin_behind_those_before_them() {
        let [(_, a), (_, b), (_, c)] = std::array::from_fn(|_| sink(Keep::new()));
        // 2 and 3 are arms of one sink, the second one's source is filled by 0; 1 fills the first
        // one's.
        let mut list =
            vec![pipeline(&a, &[]), pipeline(&b, &[]), pipeline(&c, &[1]), pipeline(&c, &[0])];
        list[3].first_morsel = 10;
        let pipelines = Pipelines { list };
        let limited = |abreast| {
            let mut graph = Graph::new(&pipelines).expect("no circle").0;
            graph.limit(&pipelines, abreast);
            graph
        };
        let (mut all, mut two) = (limited(4), limited(2));
        assert_eq!((all.begin(), two.begin()), (vec![0, 1], vec![1, 0]));
        // The second arm has all that it waits for, but the first has not begun.
        let finish = vec![0];
        assert_eq!(all.combined(0), Next { start: vec![], finish: finish.clone() });
        assert_eq!(two.combined(0), Next { start: vec![], finish });
        assert_eq!((all.finished(0), two.finished(0)), (vec![3], vec![]));
        let mut graph = limited(1);
        assert_eq!(graph.begin(), [1]);
        assert_eq!(graph.combined(1), Next { start: vec![], finish: vec![1] });
        assert_eq!(graph.finished(1), [2]);
        assert_eq!(graph.combined(2), Next { start: vec![0], finish: vec![] });
        assert_eq!(graph.combined(0), Next { start: vec![], finish: vec![0] });
        assert_eq!(graph.finished(0), [3]);
        assert_eq!(graph.combined(3), Next { start: vec![], finish: vec![2] });
        assert!(graph.finished(2).is_empty() && graph.is_done());
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
