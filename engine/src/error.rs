//! Errors, sorted by who must act on them.
//!
//! * [`Error::Input`]: the program or its data is wrong; says what, where and what to do.
//! * [`Error::Io`]: a file or device failed; names the path and the operation.
//! * [`Error::OutOfMemory`]: the budget (or the disk cap) is too small; says who holds what and
//!   which knob to turn.
//! * [`Error::Cancelled`]: the caller or a signal stopped the query.
//! * [`Error::TimedOut`]: the query ran longer than it was allowed to.
//! * [`Error::Internal`]: a broken invariant, hence a defect of this engine.
//!
//! Nothing in the engine panics on user input; a panic in a task is caught by the worker and
//! becomes [`Error::Internal`] of that query only.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;

/// Shorthand used by every fallible function of the engine.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A place in a program text or a data file, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Position {
    /// File the position is in; `None` for the program text.
    pub file: Option<PathBuf>,
    /// Line, counted from 1.
    pub line: u64,
    /// Column in characters, counted from 1; 0 when only the line is known.
    pub column: u64,
}

/// What went wrong; see the module documentation for the kinds. Cheap to clone, because the first
/// error of a query is reported to everyone who waits for it.
#[derive(Debug, Clone)]
pub enum Error {
    /// The program or its data is wrong.
    Input {
        /// What is wrong and what to do about it.
        message: String,
        /// Where, when it is known.
        position: Option<Position>,
    },
    /// Reading or writing failed.
    Io {
        /// What was attempted, e.g. `read`, `rename`.
        operation: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// The cause as the system reports it.
        source: Arc<std::io::Error>,
    },
    /// The memory budget or the spill space is exhausted.
    OutOfMemory {
        /// Who asked, e.g. `hash aggregate`.
        who: String,
        /// Bytes asked for when it failed.
        asked_bytes: usize,
        /// Who holds how much, the limit, and the knob to turn.
        detail: String,
    },
    /// The query was stopped from outside.
    Cancelled {
        /// `interrupted` or `result dropped`.
        reason: &'static str,
    },
    /// The query ran longer than it was allowed to.
    TimedOut {
        /// How long it might have run.
        limit: Duration,
    },
    /// A defect of the engine.
    Internal(String),
}

impl Error {
    /// An input error without a position.
    pub fn input(message: impl Into<String>) -> Self {
        Error::Input { message: message.into(), position: None }
    }

    /// An input error at a known place.
    pub fn input_at(message: impl Into<String>, position: Position) -> Self {
        Error::Input { message: message.into(), position: Some(position) }
    }

    /// A failed system call on `path`.
    pub fn io(operation: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io { operation, path: path.as_ref().to_path_buf(), source: Arc::new(source) }
    }

    /// A broken invariant.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::Internal(message.into())
    }

    /// The error for a result that does not fit its type, e.g. `overflow("sum", "Int64")`.
    pub fn overflow(operation: &str, data_type: impl fmt::Display) -> Self {
        Error::input(format!(
            "overflow: the result of {operation} does not fit {data_type}; cast to a wider type"
        ))
    }

    /// The error for `x / 0` and `x % 0` on integers and decimals.
    pub fn division_by_zero() -> Self {
        Error::input("division by zero; guard it with a condition such as `divisor <> 0`")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Input { message, position: Some(Position { file, line, column }) } => {
                if let Some(file) = file {
                    write!(f, "{}: ", file.display())?;
                }
                write!(f, "line {line}")?;
                if *column > 0 {
                    write!(f, ", column {column}")?;
                }
                write!(f, ": {message}")
            }
            Error::Input { message, position: None } => f.write_str(message),
            Error::Io { operation, path, source } => {
                write!(f, "cannot {operation} {}: {source}", path.display())
            }
            Error::OutOfMemory { who, asked_bytes, detail } => {
                write!(f, "out of memory: {who} asked for {asked_bytes} bytes; {detail}")
            }
            Error::Cancelled { reason } => f.write_str(reason),
            Error::TimedOut { limit } => write!(
                f,
                "out of time: the query ran longer than the limit of {limit:?}; raise the limit \
                 (time_limit)"
            ),
            Error::Internal(message) => {
                write!(f, "internal error, please report it: {message}")
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Io { source, .. } => Some(source.as_ref()),
            _ => None,
        }
    }
}

/// Arrow's kernels report bad data (casts, overflow) and misuse through one type; data errors are
/// the user's, the rest are ours.
impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::DivideByZero => Error::division_by_zero(),
            ArrowError::ArithmeticOverflow(m)
            | ArrowError::CastError(m)
            | ArrowError::ParseError(m)
            | ArrowError::ComputeError(m)
            | ArrowError::CsvError(m)
            | ArrowError::JsonError(m) => Error::input(m),
            other => Error::internal(other.to_string()),
        }
    }
}
