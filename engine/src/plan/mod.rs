//! The plan as data: a DAG of operator specs, the contract between planner and engine.
//!
//! A [`Spec`] is everything that is true *about* one operator: its name, the schema it gives, the
//! fields that explain prints, its JSON, and how it is built into pipelines. A [`Plan`] holds specs
//! in topological order; a node with several readers is computed once. Explain and JSON are
//! printed from the specs alone.
//!
//! * `spec`: the trait; `build`: streams, the pipelines under construction.
//! * `json`: out and in; `explain`: text for people; `profile`: what is measured when it runs.

mod build;
mod explain;
mod json;
mod profile;
mod spec;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

pub use build::{ARM_MORSELS, Arm, Build, Stream};
pub use json::{FORMAT_VERSION, FromJson, Registry};
pub use profile::{Analysis, Profile};
pub use spec::{Field, Intake, Spec, from_fields, from_fields_with, take_inputs, to_fields};

use crate::error::{Error, Result};

/// Number of a node in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub usize);

/// How many rows a node is expected to give, and how that was found.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Estimate {
    /// Expected rows.
    pub rows: f64,
    /// E.g. `exact`, `file metadata`, `equality on 25 values`.
    pub how: String,
}

/// One operator in a plan.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it does.
    pub spec: Arc<dyn Spec>,
    /// The nodes it reads, all before it in the plan.
    pub inputs: Vec<NodeId>,
    /// What it gives: logical types.
    pub schema: SchemaRef,
    /// Expected rows, when the planner said.
    pub estimate: Option<Estimate>,
}

/// A DAG of operators in topological order.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    nodes: Vec<Node>,
    root: Option<NodeId>,
}

impl Plan {
    /// A plan without nodes.
    pub fn new() -> Self {
        Plan::default()
    }

    /// Adds an operator over nodes added before, and makes it the root.
    ///
    /// # Errors
    /// What the spec finds wrong with its inputs.
    pub fn add(&mut self, spec: Arc<dyn Spec>, inputs: &[NodeId]) -> Result<NodeId> {
        let schemas = inputs.iter().map(|id| Ok(self.node(*id)?.schema.clone()));
        let schemas: Vec<SchemaRef> = schemas.collect::<Result<_>>()?;
        let schema = spec.schema(&schemas)?;
        let id = NodeId(self.nodes.len());
        self.nodes.push(Node { spec, inputs: inputs.to_vec(), schema, estimate: None });
        self.root = Some(id);
        Ok(id)
    }

    /// Says how many rows a node is expected to give.
    pub fn estimate(&mut self, id: NodeId, estimate: Estimate) {
        if let Some(node) = self.nodes.get_mut(id.0) {
            node.estimate = Some(estimate);
        }
    }

    /// All nodes, inputs before readers; [`NodeId`] is the position.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// One node.
    ///
    /// # Errors
    /// `Internal` when there is none.
    pub fn node(&self, id: NodeId) -> Result<&Node> {
        self.nodes.get(id.0).ok_or_else(|| Error::internal(format!("no node {} in plan", id.0)))
    }

    /// The node whose rows are the result.
    ///
    /// # Errors
    /// `Internal` when the plan is empty.
    pub fn root(&self) -> Result<NodeId> {
        self.root.ok_or_else(|| Error::internal("an empty plan"))
    }

    /// How many nodes read each node.
    pub fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.nodes.len()];
        for input in self.nodes.iter().flat_map(|node| &node.inputs) {
            readers[input.0] += 1;
        }
        readers
    }
}
