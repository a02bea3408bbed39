//! EXECUTE STATEMENT SET: several COPYs as one plan.
//!
//! The statements see tables and files as they are before the set, so that none may read what
//! another one writes. Each is planned by itself; their plans are put together below a union of the
//! counts of rows written, and what several of them read is read once (`share_scans`).
//!
//! Each file appears when all of its rows are written. When a statement fails, so does the set, and
//! files that are not complete then do not appear.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion_sql::parser::Statement as Parsed;
use gristmill_engine::operators::Union;
use gristmill_engine::plan::{NodeId, Plan};
use gristmill_engine::{Error, Result};

use super::query::Copied;
use super::{Command, Planned, Task, Written};
use crate::copy::overlap;
use crate::rules::{
    PARTITION_TOP_K, PUSH_KEY_FILTERS, SHARE_SCANS, partition_top_k, push_key_filters, share_scans,
};
use crate::sql::Statement;

/// Plans the statements of a set.
///
/// # Errors
/// `Input` with a place for what is wrong with one of them, and for a file that two of them write,
/// or one writes and one reads.
pub(super) fn plan_set(set: &Statement, task: &Task<'_>, explained: bool) -> Result<Planned> {
    let explain = set.explain_of_set()?;
    let record = explained || explain.is_some();
    let (mut plans, mut fired) = (Vec::new(), Vec::new());
    let mut files: Vec<Written> = Vec::new();
    let mut reads: Vec<(PathBuf, &Statement)> = Vec::new();
    for member in set.members() {
        let parsed = member.parse(Some(task.parameters))?;
        let (Parsed::CopyTo(copy), None) = (parsed.body, parsed.explain) else {
            let what = format!("{} in a statement set; it may have COPY only", member.kind());
            return Err(wrong(&format!("not supported: {what}"), member));
        };
        let binder = task.binder();
        let mut planner = task.planner(member, &binder, record);
        let copied = planner.copied(copy).map_err(|error| at_member(error, member))?;
        fired.extend(planner.planning.fired().to_vec());
        let Copied { plan, file, reads: read } = copied;
        if files.iter().any(|other| overlap(&other.path, &file.path)) {
            let path = file.path.display();
            return Err(wrong(&format!("another statement of the set writes {path} too"), member));
        }
        plans.push(plan);
        files.push(file);
        reads.extend(read.into_iter().map(|path| (path, member)));
    }
    let written = |path: &PathBuf| files.iter().any(|file| overlap(&file.path, path));
    if let Some((path, reader)) = reads.iter().find(|(path, _)| written(path)) {
        let path = path.display();
        let message = format!("{path} is read here, and written by another statement of the set");
        return Err(wrong(&message, reader));
    }
    let (plan, shared) = share_scans(together(&plans)?)?;
    let (plan, filtered) = push_key_filters(plan)?;
    let (plan, limited) = partition_top_k(plan)?;
    fired.extend(shared.then(|| SHARE_SCANS.to_string()));
    fired.extend(filtered.then(|| PUSH_KEY_FILTERS.to_string()));
    fired.extend(limited.then(|| PARTITION_TOP_K.to_string()));
    let mut seen = Vec::new();
    fired.retain(|rule| {
        !seen.contains(rule) && {
            seen.push(rule.clone());
            true
        }
    });
    Ok(Planned { command: Command::Write { plan, files }, explain, fired, reads: Vec::new() })
}

fn wrong(message: &str, statement: &Statement) -> Error {
    Error::input_at(message, statement.position().clone())
}

/// The error with the place of its statement, if it has none: in a set it is not clear which.
fn at_member(error: Error, member: &Statement) -> Error {
    match error {
        Error::Input { message, position: None } => wrong(&message, member),
        other => other,
    }
}

/// All plans as one that gives the rows of the first, of the second, and so on.
fn together(plans: &[Plan]) -> Result<Plan> {
    let mut all = Plan::new();
    let mut roots = Vec::with_capacity(plans.len());
    for plan in plans {
        let before = all.nodes().len();
        for node in plan.nodes() {
            let inputs: Vec<NodeId> = node.inputs.iter().map(|id| NodeId(before + id.0)).collect();
            let added = all.add(node.spec.clone(), &inputs)?;
            if let Some(estimate) = &node.estimate {
                all.estimate(added, estimate.clone());
            }
        }
        roots.push(NodeId(before + plan.root()?.0));
    }
    all.add(Arc::new(Union {}), &roots)?;
    Ok(all)
}
