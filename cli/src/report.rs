//! Errors for people: what is wrong, where in the text, and the exit code that says who must act;
//! and figures of what was used.

use std::fmt::Write;

use gristmill::Error;
use gristmill::memory::Governor;

/// Exit codes.
pub mod code {
    /// All went well.
    pub const SUCCESS: u8 = 0;
    /// The program or its data is wrong.
    pub const INPUT: u8 = 1;
    /// A file or device failed.
    pub const IO: u8 = 3;
    /// Memory or spill space is exhausted.
    pub const OUT_OF_MEMORY: u8 = 4;
    /// The time limit is over.
    pub const TIMED_OUT: u8 = 124;
    /// A defect of ours.
    pub const INTERNAL: u8 = 70;
    /// Interrupted.
    pub const INTERRUPTED: u8 = 130;
}

/// The exit code for an error.
pub fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Input { .. } => code::INPUT,
        Error::Io { .. } => code::IO,
        Error::OutOfMemory { .. } => code::OUT_OF_MEMORY,
        Error::Cancelled { .. } => code::INTERRUPTED,
        Error::TimedOut { .. } => code::TIMED_OUT,
        Error::Internal(_) => code::INTERNAL,
    }
}

/// The error as text. For a place in the program: its line, with a caret under the column.
pub fn render(error: &Error, program_name: &str, program: &str) -> String {
    let Error::Input { message, position: Some(position) } = error else {
        return format!("error: {error}\n");
    };
    if position.file.is_some() {
        return format!("error: {error}\n");
    }
    let mut out = format!("error: {message}\n");
    let number = position.line.to_string();
    let indent = " ".repeat(number.len());
    let column = match position.column {
        0 => String::new(),
        column => format!(":{column}"),
    };
    let _ = writeln!(out, "{indent}--> {program_name}:{number}{column}");
    let line = usize::try_from(position.line).ok().and_then(|l| program.lines().nth(l.max(1) - 1));
    if let Some(line) = line {
        let _ = writeln!(out, "{indent} |\n{number} | {line}");
        if let Some(before) = usize::try_from(position.column).ok().and_then(|c| c.checked_sub(1)) {
            // Tabs stay tabs, so that the caret stands under its character.
            let pad: String =
                line.chars().take(before).map(|c| if c == '\t' { c } else { ' ' }).collect();
            let _ = writeln!(out, "{indent} | {pad}^");
        }
    }
    out
}

/// What memory and spill space a session used, one figure a line.
pub fn metrics(memory: &Governor) -> String {
    let (held, spilled) = (memory.usage(), memory.spill().usage());
    let figures = [
        ("peak_reserved_bytes", held.peak_reserved as u64),
        ("peak_allocated_bytes", held.peak_allocated as u64),
        ("reserved_at_peak_allocated_bytes", held.reserved_at_peak as u64),
        ("input_read_bytes", gristmill::input_bytes()),
        ("spill_peak_bytes", spilled.peak),
        ("spill_written_bytes", spilled.written),
        ("spill_read_bytes", spilled.read),
    ];
    figures.iter().fold(String::new(), |mut lines, (name, value)| {
        let _ = writeln!(lines, "metric: {name} {value}");
        lines
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill::Position;

    #[test]
    fn a_caret_stands_under_the_column() {
        let error = Error::input_at("no column `x`", Position { file: None, line: 2, column: 9 });
        let text = render(&error, "p.sql", "select 1;\n\tselect x from t");
        assert_eq!(
            text,
            "error: no column `x`\n --> p.sql:2:9\n  |\n2 | \tselect x from t\n  | \t       ^\n"
        );
        assert_eq!(exit_code(&error), 1);
    }

    #[test]
    fn a_position_beyond_the_text_is_no_problem() {
        let error = Error::input_at("m", Position { file: None, line: 99, column: 1 });
        assert!(render(&error, "p", "x").contains("p:99:1"));
    }
}
