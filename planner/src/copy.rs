//! COPY: the sink behind a statement's rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion_common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion_expr::LogicalPlan;
use gristmill_engine::expr::SortKey;
use gristmill_engine::operators::Sort;
use gristmill_engine::plan::{Plan, Spec};
use gristmill_engine::sinks::{
    ArrowCodec, Codec, Existing, FileSink, WriteArrow, WriteCsv, WriteJson, WriteParquet,
    WritePartitioned,
};
use gristmill_engine::{Error, Result};

use crate::catalog::{Format, PlannedTable};
use crate::files;
use crate::prepare::Prepared;
use crate::sql::{in_any_case, nearest};

/// The file that COPY writes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CopyTarget {
    /// Where.
    pub(crate) path: PathBuf,
    /// How.
    pub(crate) format: Format,
    /// The columns that make partitions: where there are any, `path` is a directory.
    pub(crate) partition_by: Vec<String>,
    /// Options as written, names in lower case without the `format.` in front.
    pub(crate) options: Vec<(String, String)>,
}

/// Ends `plan` in the file that COPY names.
///
/// # Errors
/// `Input` for options and formats that are not supported, and for a file that the statement
/// reads.
pub(crate) fn add_sink(plan: &mut Plan, target: &CopyTarget, prepared: &Prepared) -> Result<()> {
    let is_directory = !target.partition_by.is_empty();
    refuse_own_input(&files_read(prepared)?, &target.path)?;
    let root = plan.root()?;
    if is_directory {
        return partitioned(plan, target);
    }
    let sink: Arc<dyn Spec> = match file_sink(target)? {
        FileSink::Arrow(sink) => Arc::new(sink),
        FileSink::Csv(sink) => Arc::new(sink),
        FileSink::Json(sink) => Arc::new(sink),
        FileSink::Parquet(sink) => Arc::new(sink),
    };
    plan.add(sink, &[root])?;
    Ok(())
}

fn file_sink(target: &CopyTarget) -> Result<FileSink> {
    let path = target.path.display();
    if let Some(ending @ ("gz" | "zst")) = target.path.extension().and_then(|e| e.to_str())
        && matches!(target.format, Format::Csv | Format::Json)
    {
        return Err(Error::input(format!(
            "{path}: COPY does not compress text; leave out .{ending}, or write Parquet"
        )));
    }
    Ok(match target.format {
        Format::Arrow => FileSink::Arrow(arrow(target)?),
        Format::Csv => FileSink::Csv(csv(target)?),
        Format::Json => FileSink::Json(json(target)?),
        Format::Parquet => FileSink::Parquet(parquet(target)?),
        Format::Text => {
            let message = format!("{path}: COPY does not write lines of text; write CSV");
            return Err(Error::input(message));
        }
    })
}

/// Ends `plan` in a directory of files, its rows sorted by the partition columns: then each
/// partition is one file, and few files are open at a time.
fn partitioned(plan: &mut Plan, target: &CopyTarget) -> Result<()> {
    let root = plan.root()?;
    let schema = plan.node(root)?.schema.clone();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut columns = Vec::with_capacity(target.partition_by.len());
    for name in &target.partition_by {
        let known = in_any_case(names.iter().copied(), name);
        let known = known.and_then(|name| names.iter().position(|known| *known == name));
        let Some(column) = known else {
            let hint = match nearest(name, names.iter().copied()) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("there are {}", names.join(", ")),
            };
            let message = format!("PARTITIONED BY names no column of the result, {name}; {hint}");
            return Err(Error::input(message));
        };
        if columns.contains(&column) {
            return Err(Error::input(format!("PARTITIONED BY names the column {name} twice")));
        }
        columns.push(column);
    }
    let mut file = target.clone();
    let mut existing = Existing::default();
    file.options.clear();
    for (name, value) in &target.options {
        let chosen = match name.as_str() {
            "overwrite" => Existing::Replaced,
            "overwrite_or_ignore" => Existing::Overwritten,
            "append" => Existing::Kept,
            _ => {
                file.options.push((name.clone(), value.clone()));
                continue;
            }
        };
        if truth(name, value)? {
            if existing != Existing::default() {
                let all = "overwrite, overwrite_or_ignore and append";
                return Err(Error::input(format!("COPY takes one of the options {all}")));
            }
            existing = chosen;
        }
    }
    let key = |&column: &usize| SortKey { column, descending: false, nulls_first: false };
    let keys = columns.iter().map(key).collect();
    let sorted = plan.add(Arc::new(Sort { keys }), &[root])?;
    let sink = WritePartitioned {
        directory: target.path.clone(),
        file: file_sink(&file)?,
        partition_by: columns,
        is_sorted: true,
        existing,
    };
    plan.add(Arc::new(sink), &[sorted])?;
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

fn json(target: &CopyTarget) -> Result<WriteJson> {
    let mut sink = WriteJson::new(&target.path);
    for (name, value) in &target.options {
        match name.as_str() {
            "array" => sink.array = truth(name, value)?,
            _ => return Err(unknown_option(name, "JSON", &["array"])),
        }
    }
    Ok(sink)
}

fn arrow(target: &CopyTarget) -> Result<WriteArrow> {
    let mut sink = WriteArrow::new(&target.path);
    sink.stream = target.path.extension().is_some_and(|e| e.eq_ignore_ascii_case("arrows"));
    let mut level = None;
    for (name, value) in &target.options {
        match name.as_str() {
            "compression" => sink.compression = arrow_codec(name, value)?,
            "compression_level" => level = Some((name, value)),
            "row_group_size" | "batch_size" => sink.batch_rows = number(name, value)?,
            "stream" => sink.stream = truth(name, value)?,
            _ => {
                let known = ["compression", "compression_level", "batch_size", "stream"];
                return Err(unknown_option(name, "Arrow", &known));
            }
        }
    }
    if let Some((name, value)) = level {
        let number = value.parse().map_err(|_| wrong_value(name, value, "a whole number"))?;
        sink.compression = match sink.compression {
            ArrowCodec::Zstd(_) => ArrowCodec::Zstd(Some(number)),
            other => {
                return Err(Error::input(format!(
                    "the option `{name}` of COPY is for zstd; the compression is {}",
                    other.name()
                )));
            }
        };
    }
    Ok(sink)
}

fn arrow_codec(name: &str, value: &str) -> Result<ArrowCodec> {
    match value.to_ascii_lowercase().as_str() {
        "none" | "uncompressed" => Ok(ArrowCodec::None),
        "lz4" | "lz4_frame" => Ok(ArrowCodec::Lz4),
        "zstd" => Ok(ArrowCodec::Zstd(None)),
        _ => Err(wrong_value(name, value, "none, lz4, zstd")),
    }
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

/// Whether two paths, to what need not be there yet, are one, or one is a directory that the other
/// is in.
pub(crate) fn overlap(a: &Path, b: &Path) -> bool {
    let (a, b) = (place(a), place(b));
    a.starts_with(&b) || b.starts_with(&a)
}

/// The path without links, as far as it is there.
fn place(path: &Path) -> PathBuf {
    for known in path.ancestors() {
        let folder = if known.as_os_str().is_empty() { Path::new(".") } else { known };
        if let (Ok(real), Ok(rest)) = (folder.canonicalize(), path.strip_prefix(known)) {
            return real.join(rest);
        }
    }
    path.to_path_buf()
}

/// # Errors
/// `Input` when one of the files that a statement reads is the target of its rows.
pub(crate) fn refuse_own_input(reads: &[PathBuf], target: &Path) -> Result<()> {
    match reads.iter().find(|read| overlap(read, target)) {
        Some(read) => {
            let path = read.display();
            Err(Error::input(format!("{path} is read by the statement that would write it")))
        }
        None => Ok(()),
    }
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
