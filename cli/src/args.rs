//! The command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use gristmill::memory::Bytes;

use crate::output::Format;
use crate::progress::When;
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
        /// Options of what is run.
        #[command(flatten)]
        options: Options,
    },
    /// Run SQL given on the command line.
    Query {
        /// One or more statements, separated by semicolons; `-` reads them from standard input.
        sql: String,
        /// Options of what is run.
        #[command(flatten)]
        options: Options,
    },
    /// Look for mistakes in a SQL program without running it: statements are parsed, bound and
    /// planned, each as if those before it had been run.
    Check {
        /// The program; `-` reads it from standard input.
        program: PathBuf,
        /// Options of what is run.
        #[command(flatten)]
        options: Options,
    },
    /// Show the plan of each statement of a SQL program, without running it unless that is asked
    /// for.
    Explain {
        /// The program; `-` reads it from standard input.
        program: PathBuf,
        /// Print the plan as JSON, the form it can be read back from.
        #[arg(long)]
        json: bool,
        /// Run each statement, and show with its plan what was measured; rows are left out.
        #[arg(long)]
        analyze: bool,
        /// Options of what is run.
        #[command(flatten)]
        options: Options,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page.
    Man,
}

impl Command {
    /// The options of commands that look at a program.
    pub fn options(&self) -> Option<&Options> {
        match self {
            Command::Run { options, .. }
            | Command::Query { options, .. }
            | Command::Check { options, .. }
            | Command::Explain { options, .. } => Some(options),
            Command::Completions { .. } | Command::Man => None,
        }
    }
}

/// Options shared by all commands that look at a program.
#[derive(Debug, Args)]
pub struct Options {
    /// Give a file, or the files of a directory or a pattern, a table name; may be repeated. The
    /// endings (.parquet, .csv, .tsv, .txt, .json, .ndjson, .arrow) tell the format.
    #[arg(short, long = "table", value_name = "NAME=PATH", value_parser = parse_pair)]
    pub tables: Vec<(String, String)>,
    /// Give the parameter `$NAME` of the program a value; may be repeated. Beside a number it is
    /// a number, beside a date a date.
    #[arg(short, long = "param", value_name = "NAME=VALUE", value_parser = parse_parameter)]
    pub params: Vec<(String, String)>,
    /// Worker threads; fewer are started where the memory limit is small [default: one per core].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// Bound on the memory of the whole process, e.g. 512MB or 2GB (1 MB = 1,048,576 bytes)
    /// [default: 80 % of the machine's memory].
    #[arg(long, value_name = "SIZE", value_parser = parse_memory, allow_hyphen_values = true)]
    pub memory: Option<u64>,
    /// Directory for spilled data; may be repeated [default: the system's].
    #[arg(long = "temp-dir", value_name = "DIR", value_parser = parse_directory)]
    pub temp_dirs: Vec<PathBuf>,
    /// How results are printed [default: by the ending of --output, else table]. Arrow and Parquet
    /// hold one result, and are for files and pipes.
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Write results to a file, which appears when all is done; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Rows of a table that are printed on a terminal; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 40, allow_negative_numbers = true)]
    pub rows: usize,
    /// Show on standard error how far a statement is: on a terminal, always, or never.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = When::Auto)]
    pub progress: When,
    /// Log what happens on standard error, from this level on.
    #[arg(long, value_enum, value_name = "LEVEL")]
    pub log: Option<Level>,
    /// Print `timing: <statement> <seconds>` on standard error after each statement.
    #[arg(long)]
    pub timing: bool,
    /// Print what memory and spill space were used on standard error at the end, in bytes:
    /// `metric: <name> <value>` per line.
    #[arg(long)]
    pub metrics: bool,
}

impl Options {
    /// The file that results go to; none for standard output.
    pub fn output_file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|file| *file != Path::new("-"))
    }
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// What went wrong.
    Error,
    /// And what may have.
    Warn,
    /// And what was found out about files.
    Info,
    /// And what was done when.
    Debug,
    /// And more.
    Trace,
}

/// The arguments, of which one that begins with a comment of SQL is no option.
pub fn with_comments(
    arguments: impl IntoIterator<Item = OsString>,
) -> impl Iterator<Item = OsString> {
    arguments.into_iter().map(|argument| match argument.to_str() {
        Some(text) if is_commented(text) => format!(" {text}").into(),
        _ => argument,
    })
}

fn is_commented(text: &str) -> bool {
    text.strip_prefix("--").is_some_and(|rest| {
        rest.contains('\n') || rest.starts_with(|first: char| first.is_whitespace())
    })
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    pair(text).ok_or_else(|| "expected NAME=PATH, e.g. flights=data/flights.parquet".to_string())
}

fn parse_parameter(text: &str) -> Result<(String, String), String> {
    pair(text).ok_or_else(|| "expected NAME=VALUE, e.g. day=2013-01-31".to_string())
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    (!name.is_empty()).then(|| (name.to_string(), value.to_string()))
}

/// A directory that exists.
fn parse_directory(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() { Ok(path) } else { Err("there is no such directory".to_string()) }
}

/// A limit that leaves room to work.
fn parse_memory(text: &str) -> Result<u64, String> {
    let Bytes(bytes) = text.parse().map_err(|e: gristmill::Error| e.to_string())?;
    if bytes < setup::LIMIT_BYTES_MIN {
        return Err(format!(
            "the program itself takes {} MB, so the least is {} MB",
            setup::FIXED_BYTES >> 20,
            setup::LIMIT_BYTES_MIN >> 20
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_name_and_value() {
        let pair = |name: &str, value: &str| Ok((name.to_string(), value.to_string()));
        assert_eq!(parse_pair("a=b=c.csv"), pair("a", "b=c.csv"));
        assert_eq!(parse_pair("day="), pair("day", ""));
        assert!(parse_pair("flights").is_err());
        assert!(parse_pair("=x").is_err());
    }

    #[test]
    fn a_program_may_begin_with_a_comment() {
        let sql = |arguments: &[&str]| {
            let arguments = arguments.iter().map(|argument| OsString::from(*argument));
            match Cli::try_parse_from(with_comments(arguments)).map(|cli| cli.command) {
                Ok(Command::Query { sql, .. }) => Some(sql.trim_start().to_string()),
                _ => None,
            }
        };
        for text in ["-- note\nselect 1", "--note\nselect 1", "select 1 -- note"] {
            assert_eq!(sql(&["gristmill", "query", text]).as_deref(), Some(text));
        }
        let found = sql(&["gristmill", "query", "--timing", "-- note\nselect 1"]);
        assert_eq!(found.as_deref(), Some("-- note\nselect 1"));
        assert_eq!(sql(&["gristmill", "query", "--timin", "select 1"]), None);
    }

    #[test]
    fn the_command_line_fits_together() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
