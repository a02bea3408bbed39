//! The `gristmill` command.
//!
//! * `args`: the command line; `setup`: a session from its options; `execute`: the commands;
//!   `program`: where their text comes from.
//! * `allocator`: the allocator of the process; `resident`: its memory is kept under the limit;
//!   `ending`: its end; `terminal`: its terminal.
//! * `output`: printing results; `progress`: how far a statement is; `report`: errors and exit
//!   codes; `interrupt`: Ctrl-C; `log`: what happens, for those who want to know.

#![deny(unsafe_code)]

mod allocator;
mod args;
#[expect(unsafe_code, reason = "see its header")]
mod ending;
mod execute;
mod interrupt;
mod log;
mod output;
mod program;
mod progress;
mod report;
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "see its header")]
mod resident;
mod setup;
#[expect(unsafe_code, reason = "see its header")]
mod terminal;

use std::io::{self, Write};

use clap::Parser;

fn main() {
    gristmill::tell_uncaught_panics_only();
    let command = args::Cli::parse_from(args::with_comments(std::env::args_os())).command;
    if let Some(options) = command.options() {
        if let Some(limit) = options.memory {
            allocator::keep_little(limit);
        }
        if let Some(level) = options.log {
            log::install(level);
        }
    }
    let code = execute::execute(command);
    // A reader that has gone, as after `| head -1`, misses nothing.
    let _ = io::stdout().flush();
    ending::end(code)
}
