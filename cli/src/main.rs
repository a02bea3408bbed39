//! The `gristmill` command.
//!
//! * `args`: the command line; `setup`: a session from its options; `execute`: the commands;
//!   `program`: where their text comes from.
//! * `allocator`: the allocator of the process.
//! * `output`: printing results; `report`: errors and exit codes; `interrupt`: Ctrl-C; `log`: what
//!   happens, for those who want to know.

#![forbid(unsafe_code)]

mod allocator;
mod args;
mod execute;
mod interrupt;
mod log;
mod output;
mod program;
mod report;
mod setup;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let command = args::Cli::parse().command;
    if let Some(options) = command.options() {
        if options.memory.is_some() {
            allocator::keep_little();
        }
        if let Some(level) = options.log {
            log::install(level);
        }
    }
    execute::execute(command)
}
