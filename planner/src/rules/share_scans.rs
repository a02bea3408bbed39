//! `share_scans`: a CSV file that several parts of a plan read is read once.
//!
//! The scans of a file become one, of all the columns that any of them gives or has conditions on.
//! The conditions that all of them begin with stay with it; over it, each part filters by its
//! others and picks its own columns.
//!
//! Sound: the conditions of a scan are those of a filter over its columns, in their order, and
//! rows come in the order of the file either way. What differs is which fields are read: one that
//! cannot be read is an error for all parts, although a part may leave its row out.
//!
//! Parquet files are left alone: their scans skip what conditions exclude, and columns that a part
//! does not want cost it nothing.

use std::any::Any;
use std::collections::BTreeSet;
use std::sync::Arc;

use gristmill_engine::expr::Expr;
use gristmill_engine::operators::{Filter, Project};
use gristmill_engine::plan::{Node, NodeId, Plan};
use gristmill_engine::sources::csv::CsvScan;
use gristmill_engine::{Error, Result};

/// The rule's name in explain.
pub(crate) const SHARE_SCANS: &str = "share_scans";

/// The scans of one file with one dialect.
struct Group<'a> {
    scans: Vec<&'a CsvScan>,
    /// Positions in the file of the columns that the common scan gives.
    columns: Vec<usize>,
    /// Where it is in the new plan.
    common: Option<NodeId>,
}

/// The plan with common scans, and whether there are any.
///
/// # Errors
/// `Internal` when the plan does not fit together.
pub(crate) fn share_scans(plan: Plan) -> Result<(Plan, bool)> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut group_of: Vec<Option<usize>> = Vec::with_capacity(plan.nodes().len());
    for node in plan.nodes() {
        let scan = as_scan(node).filter(|scan| scan.key_filters.is_empty());
        group_of.push(scan.map(|scan| match groups.iter().position(|g| reads_same(g, scan)) {
            Some(known) => {
                groups[known].scans.push(scan);
                known
            }
            None => {
                groups.push(Group { scans: vec![scan], columns: Vec::new(), common: None });
                groups.len() - 1
            }
        }));
    }
    if groups.iter().all(|group| group.scans.len() < 2) {
        return Ok((plan, false));
    }
    for group in &mut groups {
        group.columns = columns_of(&group.scans);
    }
    let mut out = Plan::new();
    let mut moved: Vec<NodeId> = Vec::with_capacity(plan.nodes().len());
    for (number, node) in plan.nodes().iter().enumerate() {
        let group = group_of[number].map(|group| &mut groups[group]);
        let added = match (group.filter(|group| group.scans.len() > 1), as_scan(node)) {
            (Some(group), Some(scan)) => part_of(group, scan, &mut out)?,
            _ => {
                let inputs: Vec<NodeId> = node.inputs.iter().map(|input| moved[input.0]).collect();
                out.add(node.spec.clone(), &inputs)?
            }
        };
        if let Some(estimate) = &node.estimate {
            out.estimate(added, estimate.clone());
        }
        moved.push(added);
    }
    Ok((out, true))
}

fn as_scan(node: &Node) -> Option<&CsvScan> {
    let spec: &dyn Any = node.spec.as_ref();
    spec.downcast_ref()
}

fn reads_same(group: &Group<'_>, scan: &CsvScan) -> bool {
    group.scans.first().is_some_and(|first| bare(first) == bare(scan))
}

/// What a scan reads, whatever it gives of that.
fn bare(scan: &CsvScan) -> CsvScan {
    let mut bare = scan.clone();
    bare.projection.clear();
    bare.predicates.clear();
    bare
}

/// The conditions that the common scan keeps: those that all its parts begin with. One that can
/// fail stays behind those before it.
fn kept<'a>(scans: &[&'a CsvScan]) -> &'a [Expr] {
    let Some((first, rest)) = scans.split_first() else { return &[] };
    let is_common = |(at, condition): &(usize, &Expr)| {
        rest.iter().all(|scan| scan.predicates.get(*at) == Some(condition))
    };
    let common = first.predicates.iter().enumerate().take_while(is_common).count();
    &first.predicates[..common]
}

fn columns_of(scans: &[&CsvScan]) -> Vec<usize> {
    let mut columns: BTreeSet<usize> = scans.iter().flat_map(|s| s.projection.clone()).collect();
    let common = kept(scans).len();
    let own = scans.iter().flat_map(|scan| &scan.predicates[common..]);
    columns.extend(own.flat_map(Expr::columns));
    columns.into_iter().collect()
}

/// What one scan gives, made of what the common one does.
fn part_of(group: &mut Group<'_>, scan: &CsvScan, out: &mut Plan) -> Result<NodeId> {
    let mut at = match group.common {
        Some(common) => common,
        None => {
            let common = CsvScan {
                projection: group.columns.clone(),
                predicates: kept(&group.scans).to_vec(),
                ..bare(scan)
            };
            *group.common.insert(out.add(Arc::new(common), &[])?)
        }
    };
    let place = |column: usize| group.columns.iter().position(|&c| c == column);
    let own = &scan.predicates[kept(&group.scans).len()..];
    if !own.is_empty() {
        let moved = |expr: &Expr| expr.clone().map_columns(&|c| place(c).unwrap_or(usize::MAX));
        let conditions = own.iter().map(moved).collect();
        at = out.add(Arc::new(Filter { conditions }), &[at])?;
    }
    if scan.projection == group.columns {
        return Ok(at);
    }
    let (mut exprs, mut names) = (Vec::new(), Vec::new());
    for &column in &scan.projection {
        let (Some(place), Some(known)) = (place(column), scan.columns.get(column)) else {
            return Err(Error::internal(format!("a scan without its column {column}")));
        };
        exprs.push(Expr::column(place, known.data_type.clone()));
        names.push(known.name.clone());
    }
    out.add(Arc::new(Project { exprs, names }), &[at])
}
