//! Compiles a plan into pipelines: cuts the DAG at its breakers.
//!
//! Nodes are built in topological order, each appending to the streams of its inputs. A node with
//! several readers is a fork where each of them collects all rows and waits for nothing else: every
//! chunk goes to all of them as it comes. Elsewhere it ends in a [`Shared`] buffer that each of
//! them reads: a running stream could deadlock where one reader waits for another (a scan that
//! feeds a join's build and its own probe).

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::operators::Shared;
use crate::plan::{Build, Intake, NodeId, Plan, Stream};

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
        let inputs = node.inputs.iter().map(|input| take(&mut outputs[input.0]));
        let inputs: Vec<Stream> = inputs.collect::<Result<_>>()?;
        let output = build.within(NodeId(number), |build| {
            let stream = node.spec.build(inputs, build)?;
            let stream = build.given(stream);
            Ok(if wanted == 1 {
                Output::Once(stream)
            } else if number != root.0 && is_collected(plan, &readers, NodeId(number)) {
                Output::Fork(build.fork(stream))
            } else {
                Output::Shared(Shared::materialise(stream, wanted, build))
            })
        })?;
        outputs.push(Some(output));
    }
    take(&mut outputs[root.0])
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
    Fork(Stream),
    Shared(Arc<Shared>),
}

fn take(output: &mut Option<Output>) -> Result<Stream> {
    match output.take() {
        Some(Output::Once(stream)) => Ok(stream),
        Some(Output::Fork(stream)) => {
            *output = Some(Output::Fork(stream.clone()));
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
