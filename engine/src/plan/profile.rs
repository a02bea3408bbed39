//! What is measured when a plan is analyzed: a meter per node.
//!
//! A node's roles are put behind its meter when it has been built, and behind them comes a stage
//! that counts what it gives; see [`super::Build::within`]. A buffer that keeps its rows for
//! several readers is measured with it, what each of them reads from there with the reader.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Estimate, NodeId, Plan};
use crate::batch::Chunk;
use crate::error::{Error, Result};
use crate::memory::Bytes;
use crate::observe::{Count, Meter};
use crate::pipeline::{Context, Pushed, Transform, TransformWorker};

/// The figures of a plan that runs, or has run.
#[derive(Debug)]
pub struct Profile {
    nodes: Vec<Arc<Meter>>,
    whole: Arc<Meter>,
}

/// A profile of a plan that has run.
#[derive(Debug)]
pub struct Analysis {
    /// What was measured for its nodes.
    pub profile: Arc<Profile>,
    /// How long it took.
    pub elapsed: Duration,
    /// Threads that it had.
    pub threads: usize,
}

impl Profile {
    /// A profile of `plan`, with nothing measured yet.
    pub fn new(plan: &Plan) -> Profile {
        let whole = Arc::new(Meter::default());
        let meter = |_| Arc::new(Meter::within(&whole));
        Profile { nodes: plan.nodes().iter().map(meter).collect(), whole }
    }

    /// The figures of one node.
    ///
    /// # Errors
    /// `Internal` when the profile is that of another plan.
    pub fn node(&self, id: NodeId) -> Result<&Arc<Meter>> {
        let meter = self.nodes.get(id.0);
        meter.ok_or_else(|| Error::internal(format!("no node {} in the profile", id.0)))
    }

    /// The figures of the whole plan.
    pub fn whole(&self) -> &Meter {
        &self.whole
    }
}

impl Analysis {
    /// What was measured for a node, as a line for people.
    pub(super) fn line(&self, id: NodeId, estimate: Option<&Estimate>) -> Result<String> {
        let meter = self.profile.node(id)?;
        let rows = meter.get(Count::Rows);
        let mut line = format!("measured: {}", counted(rows, "row"));
        if let Some(estimate) = estimate {
            line.push_str(&misestimate(rows as f64, estimate.rows));
        }
        let mut add = |text: String| {
            line.push_str(", ");
            line.push_str(&text);
        };
        if rows > 0 {
            add(counted(meter.get(Count::Chunks), "chunk"));
        }
        if meter.get(Count::BusyNanos) > 0 {
            add(format!("busy {}", millis(meter.get(Count::BusyNanos) as f64 / 1e6)));
        }
        if meter.get(Count::ReadBytes) > 0 {
            add(format!("read {}", Bytes(meter.get(Count::ReadBytes))));
        }
        let groups = meter.get(Count::RowGroups);
        if groups > 0 {
            let skipped = meter.get(Count::RowGroupsSkipped);
            add(format!("{}, {skipped} skipped", counted(groups, "row group")));
            add(format!("{} skipped", counted(meter.get(Count::RowsSkipped), "row")));
            add(counted(meter.get(Count::Pages), "page"));
        }
        if meter.peak_reserved() > 0 {
            add(format!("peak {}", Bytes(meter.peak_reserved() as u64)));
        }
        if meter.get(Count::SpilledBytes) > 0 {
            add(format!("spilled {}", Bytes(meter.get(Count::SpilledBytes))));
        }
        Ok(line)
    }

    /// What was measured for the whole plan, as a line for people.
    pub(super) fn last_line(&self) -> String {
        let whole = self.profile.whole();
        let mut line = format!(
            "measured: {} on {}",
            millis(self.elapsed.as_secs_f64() * 1e3),
            counted(self.threads as u64, "thread")
        );
        let _ = write!(line, ", busy {}", millis(whole.get(Count::BusyNanos) as f64 / 1e6));
        for (label, bytes) in [
            ("read", whole.get(Count::ReadBytes)),
            ("peak", whole.peak_reserved() as u64),
            ("spilled", whole.get(Count::SpilledBytes)),
        ] {
            let _ = write!(line, ", {label} {}", Bytes(bytes));
        }
        line
    }

    /// What was measured for a node, as JSON: what is counted for some operators only is left out
    /// for others.
    pub(super) fn node_json(&self, id: NodeId) -> Result<Value> {
        let meter = self.profile.node(id)?;
        let groups = meter.get(Count::RowGroups);
        let of_groups = [Count::RowGroups, Count::RowGroupsSkipped, Count::RowsSkipped];
        let mut fields = Map::new();
        for count in Count::ALL {
            let value = meter.get(count);
            let kept = match count {
                Count::Rows | Count::Chunks | Count::BusyNanos => true,
                _ if of_groups.contains(&count) => groups > 0,
                _ => value > 0,
            };
            if kept {
                fields.insert(count.name().to_string(), value.into());
            }
        }
        fields.insert("peak_reserved_bytes".to_string(), meter.peak_reserved().into());
        Ok(fields.into())
    }

    /// What was measured for the whole plan, as JSON.
    pub(super) fn json(&self) -> Value {
        let whole = self.profile.whole();
        json!({
            "elapsed_ns": u64::try_from(self.elapsed.as_nanos()).unwrap_or(u64::MAX),
            "threads": self.threads,
            "busy_ns": whole.get(Count::BusyNanos),
            "read_bytes": whole.get(Count::ReadBytes),
            "peak_reserved_bytes": whole.peak_reserved(),
            "spilled_bytes": whole.get(Count::SpilledBytes),
        })
    }
}

/// `1 row`, `2 rows`.
fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn millis(millis: f64) -> String {
    if millis < 1000.0 { format!("{millis:.2} ms") } else { format!("{:.2} s", millis / 1e3) }
}

/// Says so when there were at least twice as many rows as expected, or at most half.
fn misestimate(rows: f64, expected: f64) -> String {
    let (rows, expected) = (rows.max(1.0), expected.max(1.0));
    if rows >= 2.0 * expected {
        format!(" ({:.1} times as many as expected)", rows / expected)
    } else if expected >= 2.0 * rows {
        format!(" ({:.1} times fewer than expected)", expected / rows)
    } else {
        String::new()
    }
}

/// Counts what a node gives.
pub(super) struct Given {
    pub(super) meter: Arc<Meter>,
}

struct GivenWorker {
    meter: Arc<Meter>,
}

impl Transform for Given {
    fn name(&self) -> &str {
        "counted rows"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn TransformWorker>> {
        Ok(Box::new(GivenWorker { meter: self.meter.clone() }))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

impl TransformWorker for GivenWorker {
    fn push(&mut self, input: Chunk, _: &Context) -> Result<Pushed> {
        self.meter.add(Count::Rows, input.live_rows() as u64);
        self.meter.add(Count::Chunks, 1);
        Ok(Pushed::Chunk(input))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_that_are_far_off_are_told() {
        assert_eq!(misestimate(100.0, 60.0), "");
        assert_eq!(misestimate(100.0, 10.0), " (10.0 times as many as expected)");
        assert_eq!(misestimate(0.0, 5.0), " (5.0 times fewer than expected)");
        assert_eq!(misestimate(0.0, 0.3), "");
    }
}
