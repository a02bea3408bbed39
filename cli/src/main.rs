//! The `gristmill` command.
//!
//! * `args`: the command line; `session`: a session from its options; `execute`: the commands.
//! * `output`: printing results; `report`: errors and exit codes; `interrupt`: Ctrl-C.

#![forbid(unsafe_code)]

mod args;
mod execute;
mod interrupt;
mod output;
mod report;
mod setup;

use std::process::ExitCode;

use clap::Parser;
use gristmill::memory::Counting;

/// All allocations of the process are counted: what the reservations say is checked against it.
#[global_allocator]
static ALLOCATOR: Counting<mimalloc::MiMalloc> = Counting::new(mimalloc::MiMalloc);

fn main() -> ExitCode {
    execute::execute(args::Cli::parse().command)
}
