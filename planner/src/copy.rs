//! COPY: the sink behind a statement's rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::LogicalPlan;
use gristmill_engine::plan::Plan;
use gristmill_engine::sinks::{Codec, WriteCsv, WriteParquet};
use gristmill_engine::{Error, Result};

use crate::catalog::{Format, PlannedTable};
use crate::files;
use crate::prepare::Prepared;
use crate::sql::nearest;

/// The file that COPY writes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CopyTarget {
    /// Where.
    pub(crate) path: PathBuf,
    /// How.
    pub(crate) format: Format,
    /// Options as written, names in lower case without the `format.` in front.
    pub(crate) options: Vec<(String, String)>,
}

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
    if let Some(ending @ ("gz" | "zst")) = target.path.extension().and_then(|e| e.to_str())
        && target.format == Format::Csv
    {
        return Err(Error::input(format!(
            "{path}: COPY does not compress CSV; leave out .{ending}, or write Parquet"
        )));
    }
    let root = plan.root()?;
    match target.format {
        Format::Csv => plan.add(Arc::new(csv(target)?), &[root])?,
        Format::Parquet => plan.add(Arc::new(parquet(target)?), &[root])?,
        Format::Text => {
            let message = format!("{path}: COPY does not write lines of text; write CSV");
            return Err(Error::input(message));
        }
    };
    Ok(())
}

fn csv(target: &CopyTarget) -> Result<WriteCsv> {
    let mut sink = WriteCsv::new(&target.path);
    if target.path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv")) {
        sink.delimiter = '\t';
    }
    for (name, value) in &target.options {
        match name.as_str() {
            "header" | "has_header" => sink.header = truth(name, value)?,
            "delimiter" => {
                let mut characters = value.chars();
                match (characters.next(), characters.next()) {
                    (Some(one), None) => sink.delimiter = one,
                    _ => return Err(wrong_value(name, value, "one character")),
                }
            }
            "null" | "null_value" => sink.null_string = value.clone(),
            _ => return Err(unknown_option(name, "CSV", &["header", "delimiter", "null"])),
        }
    }
    Ok(sink)
}

fn parquet(target: &CopyTarget) -> Result<WriteParquet> {
    let mut sink = WriteParquet::new(&target.path);
    for (name, value) in &target.options {
        match name.as_str() {
            "compression" => sink.compression = codec(name, value)?,
            "row_group_size" | "max_row_group_size" => sink.row_group_rows = number(name, value)?,
            "row_group_size_bytes" => sink.row_group_bytes = number(name, value)?,
            _ => {
                let known = ["compression", "row_group_size", "row_group_size_bytes"];
                return Err(unknown_option(name, "Parquet", &known));
            }
        }
    }
    Ok(sink)
}

fn codec(name: &str, value: &str) -> Result<Codec> {
    let wanted = match value.to_ascii_lowercase().as_str() {
        "uncompressed" => "none".to_string(),
        "lz4_raw" => "lz4".to_string(),
        other => other.to_string(),
    };
    let found = Codec::ALL.into_iter().find(|codec| codec.name() == wanted);
    found.ok_or_else(|| {
        let names: Vec<&str> = Codec::ALL.iter().map(|codec| codec.name()).collect();
        wrong_value(name, value, &names.join(", "))
    })
}

fn number(name: &str, value: &str) -> Result<usize> {
    match value.replace('_', "").parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(wrong_value(name, value, "a number above 0")),
    }
}

fn truth(name: &str, value: &str) -> Result<bool> {
    files::truth(value).ok_or_else(|| wrong_value(name, value, "true or false"))
}

fn wrong_value(name: &str, value: &str, expected: &str) -> Error {
    Error::input(format!("the option `{name}` of COPY cannot be '{value}'; use {expected}"))
}

fn unknown_option(name: &str, format: &str, known: &[&str]) -> Error {
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("there are {}", known.join(", ")),
    };
    Error::input(format!("COPY to {format} has no option `{name}`; {hint}"))
}

/// Whether two paths lead to one file, which need not be there yet.
pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    let place = |path: &Path| {
        path.canonicalize().ok().or_else(|| {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new(".")).canonicalize().ok()?;
            Some(folder.join(path.file_name()?))
        })
    };
    a == b || place(a).is_some_and(|a| place(b) == Some(a))
}

/// The files that the scans of a statement read.
pub(crate) fn files_read(prepared: &Prepared) -> Result<Vec<PathBuf>> {
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
