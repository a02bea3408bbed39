//! The plan for people: an indented tree from the root down, printed from the specs alone.

use std::fmt::Write;

use super::{NodeId, Plan};
use crate::error::Result;

impl Plan {
    /// The plan as text, the root first and each input indented below its reader. A node with
    /// several readers is printed under the first and referred to by number under the others.
    ///
    /// # Errors
    /// `Internal` when the plan is empty.
    pub fn explain(&self) -> Result<String> {
        let mut out = String::new();
        let mut printed = vec![false; self.nodes().len()];
        let readers = self.readers();
        self.explain_node(self.root()?, 0, &readers, &mut printed, &mut out)?;
        Ok(out)
    }

    fn explain_node(
        &self,
        id: NodeId,
        depth: usize,
        readers: &[usize],
        printed: &mut [bool],
        out: &mut String,
    ) -> Result<()> {
        let node = self.node(id)?;
        let indent = "  ".repeat(depth);
        let shared = readers.get(id.0).is_some_and(|&r| r > 1);
        let _ = write!(out, "{indent}{}", node.spec.name());
        if shared {
            let _ = write!(out, " (shared, number {})", id.0);
        }
        if std::mem::replace(&mut printed[id.0], true) {
            out.push_str(", as above\n");
            return Ok(());
        }
        for (label, text) in node.spec.explain() {
            let _ = write!(out, "  {label}: {text}");
        }
        if let Some(estimate) = &node.estimate {
            let _ = write!(out, "  [{:.0} rows: {}]", estimate.rows, estimate.how);
        }
        out.push('\n');
        for input in &node.inputs {
            self.explain_node(*input, depth + 1, readers, printed, out)?;
        }
        Ok(())
    }
}
