//! Compiles a plan into pipelines: cuts the DAG at its breakers.
//!
//! Nodes are built in topological order, each appending to the streams of its inputs. A node with
//! several readers ends in a [`Shared`] buffer that each of them reads: sharing a running stream
//! instead could deadlock where one reader waits for another (a scan that feeds a join's build and
//! its own probe).

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::operators::Shared;
use crate::plan::{Build, Plan, Stream};

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
        let stream = node.spec.build(inputs.collect::<Result<_>>()?, build)?;
        outputs.push(Some(if wanted > 1 {
            Output::Shared(Shared::materialise(stream, wanted, build))
        } else {
            Output::Once(stream)
        }));
    }
    take(&mut outputs[root.0])
}

/// A node's output, until its readers have it.
enum Output {
    Once(Stream),
    Shared(Arc<Shared>),
}

fn take(output: &mut Option<Output>) -> Result<Stream> {
    match output.take() {
        Some(Output::Once(stream)) => Ok(stream),
        Some(Output::Shared(shared)) => {
            let stream = shared.reader();
            *output = Some(Output::Shared(shared));
            Ok(stream)
        }
        None => Err(Error::internal("a plan node is read more often than its plan says")),
    }
}
