//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::setup;

/// Runs dataflow programs in SQL over Parquet, CSV, JSON and Arrow files, inside a memory budget.
#[derive(Debug, Parser)]
#[command(name = "gristmill", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the statements of a SQL program in order and print what they return.
    Run {
        /// The program; `-` reads it from standard input.
        program: PathBuf,
        /// Options shared by all commands.
        #[command(flatten)]
        options: Options,
    },
    /// Run SQL given on the command line.
    Query {
        /// One or more statements, separated by semicolons.
        sql: String,
        /// Options shared by all commands.
        #[command(flatten)]
        options: Options,
    },
    /// Show the plan of each statement of a SQL program without running it.
    Explain {
        /// The program; `-` reads it from standard input.
        program: PathBuf,
        /// Print the plan as JSON, the form it can be read back from.
        #[arg(long)]
        json: bool,
        /// Options shared by all commands.
        #[command(flatten)]
        options: Options,
    },
}

impl Command {
    /// The options that all commands share.
    pub fn options(&self) -> &Options {
        match self {
            Command::Run { options, .. }
            | Command::Query { options, .. }
            | Command::Explain { options, .. } => options,
        }
    }
}

/// Options shared by all commands.
#[derive(Debug, Args)]
pub struct Options {
    /// Give a file, or the files of a directory or a pattern, a table name; may be repeated. The
    /// endings (.parquet, .csv, .json, .ndjson, .arrow) tell the format.
    #[arg(short, long = "table", value_name = "NAME=PATH", value_parser = parse_table)]
    pub tables: Vec<(String, PathBuf)>,
    /// Worker threads [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Bound on the memory of the whole process, e.g. 512MB or 2GB (1 MB = 1,048,576 bytes)
    /// [default: 80 % of the machine's memory].
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    pub memory: Option<u64>,
    /// Directory for spilled data; may be repeated [default: the system's].
    #[arg(long = "temp-dir", value_name = "DIR", value_parser = parse_directory)]
    pub temp_dirs: Vec<PathBuf>,
    /// How results are printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Print `timing: <statement> <seconds>` on standard error after each statement.
    #[arg(long)]
    pub timing: bool,
    /// Print what memory and spill space were used on standard error at the end, in bytes:
    /// `metric: <name> <value>` per line.
    #[arg(long)]
    pub metrics: bool,
}

impl Format {
    /// Whether results are bytes that a terminal cannot show.
    pub fn is_binary(self) -> bool {
        matches!(self, Format::Arrow | Format::Parquet)
    }
}

/// Result formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people.
    Table,
    /// Comma-separated values with a header; NULL is an empty field.
    Csv,
    /// One array of objects per statement.
    Json,
    /// An Arrow stream per statement, for a pipe or a file.
    Arrow,
    /// A Parquet file, of one statement, for a pipe or a file.
    Parquet,
}

fn parse_table(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_string(), PathBuf::from(path)))
        }
        _ => Err("expected NAME=PATH, e.g. -t flights=data/flights.parquet".to_string()),
    }
}

/// A directory that exists.
fn parse_directory(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err("there is no such directory".to_string()) }
}

/// A limit that leaves room to work.
fn parse_memory(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    if bytes < setup::LIMIT_BYTES_MIN {
        return Err(format!(
            "the program itself takes {} MB, so the least is {} MB",
            setup::FIXED_BYTES >> 20,
            setup::LIMIT_BYTES_MIN >> 20
        ));
    }
    Ok(bytes)
}

/// Bytes of a size such as `128MB`, `1.5GB`, `4096`.
fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim().to_ascii_uppercase().as_str() {
        "" | "B" => 1,
        "K" | "KB" | "KIB" => 1 << 10,
        "M" | "MB" | "MIB" => 1 << 20,
        "G" | "GB" | "GIB" => 1 << 30,
        "T" | "TB" | "TIB" => 1 << 40,
        other => return Err(format!("`{other}` is not a unit; use KB, MB, GB or TB")),
    };
    let bytes = match number.parse::<u64>() {
        Ok(whole) => whole.checked_mul(factor),
        Err(_) => number.parse::<f64>().ok().map(|n| (n * factor as f64) as u64),
    };
    bytes.filter(|&b| b > 0).ok_or_else(|| format!("`{text}` is not a size; try 512MB or 2GB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_size("128MB"), Ok(128 << 20));
        assert_eq!(parse_size("1.5 gb"), Ok(3 << 29));
        assert_eq!(parse_size("4096"), Ok(4096));
        for bad in ["", "MB", "-1GB", "1.2.3", "12XB", "0", "99999999999TB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tables_are_name_and_path() {
        assert!(parse_table("a=b=c.csv").is_ok_and(|(n, p)| n == "a" && p.ends_with("b=c.csv")));
        assert!(parse_table("flights").is_err());
        assert!(parse_table("=x").is_err());
    }
}
