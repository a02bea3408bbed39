//! The `gristmill` command.
//!
//! * `args`: the command line; `setup`: a session from its options; `execute`: the commands.
//! * `allocator`: the allocator of the process; `ending`: its end.
//! * `output`: printing results; `report`: errors and exit codes; `interrupt`: Ctrl-C.

#![deny(unsafe_code)]

mod allocator;
mod args;
#[expect(unsafe_code, reason = "see its header")]
mod ending;
mod execute;
mod interrupt;
mod output;
mod report;
mod setup;

use std::io::{self, Write};

use clap::Parser;

fn main() {
    let command = args::Cli::parse().command;
    if command.options().memory.is_some() {
        allocator::keep_little();
    }
    let code = execute::execute(command);
    // A reader that has gone, as after `| head -1`, misses nothing.
    let _ = io::stdout().flush();
    ending::end(code)
}
