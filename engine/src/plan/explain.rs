//! The plan for people: an indented tree from the root down, printed from the specs alone.

use std::fmt::Write;

use super::{Analysis, NodeId, Plan};
use crate::error::Result;

impl Plan {
    /// The plan as text, the root first and each input indented below its reader. A node with
    /// several readers is printed under the first and referred to by number under the others.
    ///
    /// # Errors
    /// `Internal` when the plan is empty.
    pub fn explain(&self) -> Result<String> {
        self.explain_with(None)
    }

    /// The same, with what was measured when the plan ran.
    ///
    /// # Errors
    /// `Internal` when the plan is empty, or another one was measured.
    pub fn explain_analyzed(&self, analysis: &Analysis) -> Result<String> {
        self.explain_with(Some(analysis))
    }

    fn explain_with(&self, analysis: Option<&Analysis>) -> Result<String> {
        let readers = self.readers();
        let printed = vec![false; self.nodes().len()];
        let mut text = Text { plan: self, analysis, readers, printed, out: String::new() };
        text.node(self.root()?, 0)?;
        if let Some(analysis) = analysis {
            let _ = writeln!(text.out, "{}", analysis.last_line());
        }
        Ok(text.out)
    }
}

/// A plan as text, under construction.
struct Text<'a> {
    plan: &'a Plan,
    analysis: Option<&'a Analysis>,
    readers: Vec<usize>,
    printed: Vec<bool>,
    out: String,
}

impl Text<'_> {
    fn node(&mut self, id: NodeId, depth: usize) -> Result<()> {
        let node = self.plan.node(id)?;
        let out = &mut self.out;
        let indent = "  ".repeat(depth);
        let _ = write!(out, "{indent}{}", node.spec.name());
        if self.readers.get(id.0).is_some_and(|&readers| readers > 1) {
            let _ = write!(out, " (shared, number {})", id.0);
        }
        if std::mem::replace(&mut self.printed[id.0], true) {
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
        if let Some(analysis) = self.analysis {
            let measured = analysis.line(id, node.estimate.as_ref())?;
            let _ = writeln!(out, "{indent}    {measured}");
        }
        node.inputs.iter().try_for_each(|input| self.node(*input, depth + 1))
    }
}
