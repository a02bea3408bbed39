//! The `gristmill` command.
//!
//! * `args`: the command line; `setup`: a session from its options; `execute`: the commands.
//! * `allocator`: the allocator of the process.
//! * `output`: printing results; `report`: errors and exit codes; `interrupt`: Ctrl-C.

#![forbid(unsafe_code)]

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
    let command = args::Cli::parse().command;
    if command.options().memory.is_some() {
        allocator::keep_little();
    }
    execute::execute(command)
}
