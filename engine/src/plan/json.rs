//! A plan as JSON, out and in.
//!
//! ```json
//! {"gristmill_plan": 1,
//!  "nodes": [{"operator": "limit", "inputs": [0], "fields": {"offset": 0, "count": 10},
//!             "estimate": {"rows": 10.0, "how": "limit"}}]}
//! ```
//!
//! Nodes stand in topological order, the last one is the root. Types are resolved, literals exact,
//! functions and sources go by registered name.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::spec::Spec;
use super::{Analysis, Estimate, NodeId, Plan};
use crate::error::{Error, Result};
use crate::expr::Functions;

/// Version of the format; a reader refuses any other.
pub const FORMAT_VERSION: u32 = 1;

/// Makes a spec of its JSON fields.
pub type FromJson = fn(Value, &Functions) -> Result<Arc<dyn Spec>>;

/// The operators that plans may name.
#[derive(Clone, Default)]
pub struct Registry {
    readers: HashMap<&'static str, FromJson>,
}

#[derive(Serialize, Deserialize)]
struct PlanJson {
    gristmill_plan: u32,
    nodes: Vec<NodeJson>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measured: Option<Value>,
}

#[derive(Serialize, Deserialize)]
struct NodeJson {
    operator: String,
    inputs: Vec<usize>,
    fields: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    estimate: Option<Estimate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    measured: Option<Value>,
}

impl Registry {
    /// Adds rows of names and readers.
    pub fn with(mut self, rows: &[(&'static str, FromJson)]) -> Self {
        self.readers.extend(rows.iter().copied());
        self
    }

    /// Names of all operators, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.readers.keys().copied().collect();
        names.sort_unstable();
        names
    }
}

impl Plan {
    /// The plan as JSON text.
    ///
    /// # Errors
    /// `Input` naming a closure that is not registered.
    pub fn to_json(&self) -> Result<String> {
        self.to_json_with(None)
    }

    /// The same, with what was measured when the plan ran; whoever reads it back leaves that out.
    ///
    /// # Errors
    /// As [`Plan::to_json`], and `Internal` when another plan was measured.
    pub fn to_json_analyzed(&self, analysis: &Analysis) -> Result<String> {
        self.to_json_with(Some(analysis))
    }

    fn to_json_with(&self, analysis: Option<&Analysis>) -> Result<String> {
        let root = self.root()?;
        if root.0 + 1 != self.nodes().len() {
            return Err(Error::internal("the root of a plan is its last node"));
        }
        let nodes = self.nodes().iter().enumerate().map(|(number, node)| {
            Ok(NodeJson {
                measured: analysis.map(|a| a.node_json(NodeId(number))).transpose()?,
                operator: node.spec.name().to_string(),
                inputs: node.inputs.iter().map(|id| id.0).collect(),
                fields: node.spec.to_json()?,
                estimate: node.estimate.clone(),
            })
        });
        let nodes = nodes.collect::<Result<_>>()?;
        let measured = analysis.map(Analysis::json);
        let plan = PlanJson { gristmill_plan: FORMAT_VERSION, nodes, measured };
        serde_json::to_string_pretty(&plan).map_err(|e| Error::internal(e.to_string()))
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// `Input` when the text is not a plan of this version, names an operator or a function that is
    /// not registered, or puts together what does not fit.
    pub fn from_json(text: &str, registry: &Registry, functions: &Functions) -> Result<Plan> {
        let read: PlanJson = serde_json::from_str(text)
            .map_err(|e| Error::input(format!("this is not a plan in JSON: {e}")))?;
        if read.gristmill_plan != FORMAT_VERSION {
            return Err(Error::input(format!(
                "the plan has format version {}, this program reads version {FORMAT_VERSION}",
                read.gristmill_plan
            )));
        }
        let mut plan = Plan::new();
        for (number, node) in read.nodes.into_iter().enumerate() {
            if node.inputs.iter().any(|&input| input >= number) {
                return Err(Error::input(format!(
                    "node {number} reads a node that is not before it"
                )));
            }
            let Some(reader) = registry.readers.get(node.operator.as_str()) else {
                return Err(Error::input(format!(
                    "node {number}: there is no operator `{}`; known are {}",
                    node.operator,
                    registry.names().join(", ")
                )));
            };
            let wrong = |error| match error {
                // What a planner put together wrongly is a defect; this is somebody's text.
                Error::Input { message, .. } | Error::Internal(message) => {
                    Error::input(format!("node {number} ({}): {message}", node.operator))
                }
                other => other,
            };
            let spec = reader(node.fields, functions).map_err(wrong)?;
            let inputs: Vec<NodeId> = node.inputs.into_iter().map(NodeId).collect();
            let id = plan.add(spec, &inputs).map_err(wrong)?;
            if let Some(estimate) = node.estimate {
                plan.estimate(id, estimate);
            }
        }
        if plan.nodes().is_empty() {
            return Err(Error::input("the plan has no nodes"));
        }
        Ok(plan)
    }
}
