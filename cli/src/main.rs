//! The `gristmill` command.
//!
//! * `args`: the command line; `session`: a session from its options; `execute`: the commands.
//! * `allocator`: the allocator of the process.
//! * `output`: printing results; `report`: errors and exit codes; `interrupt`: Ctrl-C.

#![deny(unsafe_code)]

#[allow(unsafe_code)]
mod allocator;
mod args;
mod execute;
mod interrupt;
mod output;
mod report;
mod setup;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    execute::execute(args::Cli::parse().command)
}
