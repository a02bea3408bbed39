//! Compiles a plan into pipelines: cuts the DAG at its breakers.
//!
//! Nodes are built in topological order, each appending to the streams of its inputs. A node with
//! several readers is a fork where each of them collects all rows and waits for nothing else: every
//! chunk goes to all of them as it comes. Where memory is short only some of them read at once, and
//! what gives the same rows again (a scan of a file, what is filtered and computed of it) is run
//! anew for the next: each that collects needs room to begin. Elsewhere the node ends in a
//! [`Shared`] buffer that each of them reads: a running stream could deadlock where one reader
//! waits for another (a scan that feeds a join's build and its own probe).

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::operators::Shared;
use crate::plan::{Build, Intake, NodeId, Plan, Stream};

/// So many readers of one scan that collect its rows count as one pipeline of [`Query::abreast`]:
/// they share its pages, and four of them hold about as much as one more scan does.
///
/// [`Query::abreast`]: crate::pipeline::Query::abreast
const READERS_ABREAST: usize = 4;

/// Builds all nodes of `plan` into `build` and returns the stream of its root.
///
/// # Errors
/// What a spec reports while it is built: `Io` or `Input` for files, `Internal` for a plan that
/// does not fit together.
pub fn compile(plan: &Plan, build: &mut Build) -> Result<Stream> {
    let root = plan.root()?;
    let readers = plan.readers();
    let mut outputs: Vec<Option<Output>> = Vec::with_capacity(plan.nodes().len());
    for (number, node) in plan.nodes().iter().enumerate() {
        let wanted = readers[number] + usize::from(number == root.0);
        if wanted == 0 {
            outputs.push(None);
            continue;
        }
        let inputs = node.inputs.iter().map(|&input| take(plan, &mut outputs[input.0], build));
        let inputs: Vec<Stream> = inputs.collect::<Result<_>>()?;
        let output = build.within(NodeId(number), |build| {
            let stream = node.spec.build(inputs, build)?;
            let stream = build.given(stream);
            Ok(if wanted == 1 {
                Output::Once(stream)
            } else if number != root.0 && is_collected(plan, &readers, NodeId(number)) {
                Output::Fork(Fork { node: NodeId(number), stream: build.fork(stream), taken: 0 })
            } else {
                Output::Shared(Shared::materialise(stream, wanted, build))
            })
        })?;
        outputs.push(Some(output));
    }
    take(plan, &mut outputs[root.0], build)
}

/// Whether all that read a node collect its rows, directly or through operators that pass them on.
fn is_collected(plan: &Plan, readers: &[usize], node: NodeId) -> bool {
    let is_root = |number| plan.root().is_ok_and(|root| root.0 == number);
    let mut reading = plan.nodes().iter().enumerate().filter(|(_, n)| n.inputs.contains(&node));
    reading.all(|(number, reader)| match reader.spec.intake() {
        Intake::Collects => true,
        Intake::Passes => {
            readers[number] == 1 && !is_root(number) && is_collected(plan, readers, NodeId(number))
        }
        Intake::Other => false,
    })
}

/// A node's output, until its readers have it.
enum Output {
    Once(Stream),
    Fork(Fork),
    Shared(Arc<Shared>),
}

/// A running stream of a node, and how many read it by now.
struct Fork {
    node: NodeId,
    stream: Stream,
    taken: usize,
}

impl Fork {
    /// The stream for one reader more: the one that runs, or where as many read that as may at
    /// once, one of its own.
    fn take(&mut self, plan: &Plan, build: &mut Build) -> Result<Stream> {
        let most = build.query.abreast.saturating_mul(READERS_ABREAST);
        if self.taken >= most && is_repeatable(plan, self.node) {
            let again = again(plan, self.node, build)?;
            (self.stream, self.taken) = (build.fork(again), 0);
        }
        self.taken += 1;
        Ok(self.stream.clone())
    }
}

fn is_repeatable(plan: &Plan, node: NodeId) -> bool {
    let node = &plan.nodes()[node.0];
    node.spec.is_repeatable() && node.inputs.iter().all(|&input| is_repeatable(plan, input))
}

/// Builds a node and what it reads once more; where nodes are measured, its rows count each time.
fn again(plan: &Plan, id: NodeId, build: &mut Build) -> Result<Stream> {
    let node = &plan.nodes()[id.0];
    let inputs = node.inputs.iter().map(|&input| again(plan, input, build));
    let inputs: Vec<Stream> = inputs.collect::<Result<_>>()?;
    build.within(id, |build| {
        let stream = node.spec.build(inputs, build)?;
        Ok(build.given(stream))
    })
}

fn take(plan: &Plan, output: &mut Option<Output>, build: &mut Build) -> Result<Stream> {
    match output.take() {
        Some(Output::Once(stream)) => Ok(stream),
        Some(Output::Fork(mut fork)) => {
            let stream = fork.take(plan, build)?;
            *output = Some(Output::Fork(fork));
            Ok(stream)
        }
        Some(Output::Shared(shared)) => {
            let stream = shared.reader();
            *output = Some(Output::Shared(shared));
            Ok(stream)
        }
        None => Err(Error::internal("a plan node is read more often than its plan says")),
    }
}
