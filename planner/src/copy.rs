//! COPY: the sink behind a statement's rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::LogicalPlan;
use gristmill_engine::plan::Plan;
use gristmill_engine::sinks::WriteCsv;
use gristmill_engine::{Error, Result};

use crate::catalog::{Format, PlannedTable};
use crate::prepare::Prepared;
use crate::sql::CopyTarget;

/// Ends `plan` in the file that COPY names.
///
/// # Errors
/// `Input` for options and formats that are not supported, and for a file that the statement
/// reads.
pub(crate) fn add_sink(plan: &mut Plan, target: &CopyTarget, prepared: &Prepared) -> Result<()> {
    let path = target.path.display();
    if files_read(prepared)?.iter().any(|read| same_file(read, &target.path)) {
        return Err(Error::input(format!("{path} is read by the statement that would write it")));
    }
    if let Some((name, _)) = target.options.first() {
        return Err(Error::input(format!("the option `{name}` of COPY is not supported")));
    }
    match target.format {
        Format::Csv => {
            let root = plan.root()?;
            plan.add(Arc::new(WriteCsv::new(&target.path)), &[root])?;
            Ok(())
        }
        Format::Parquet => Err(Error::input(format!(
            "writing Parquet is not supported, so {path} cannot be written; name a .csv file"
        ))),
    }
}

/// Whether two paths lead to one existing file.
fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// The files that the scans of a statement read.
fn files_read(prepared: &Prepared) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let plans = prepared.shared.iter().map(|shared| &shared.plan).chain([&prepared.plan]);
    for plan in plans {
        let visited = plan.apply(|node| {
            if let LogicalPlan::TableScan(scan) = node
                && let Some(table) = scan.source.downcast_ref::<PlannedTable>()
            {
                files.extend(table.table().source.paths());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        visited.map_err(|e| Error::internal(e.to_string()))?;
    }
    Ok(files)
}
