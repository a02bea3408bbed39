//! The end of the process, at once.
//!
//! Before a process ends, the allocator gives all that it keeps back to the system, piece by
//! piece; the system takes the whole back sooner by itself. After a sort that held 9.5 GB the
//! first takes 65 ms of the 100 in which a prompt is to return.

use std::io::{self, Write};
use std::process::ExitCode;

/// Ends the process, when nothing is left to do but to give memory back: files that are to go are
/// gone. What stands in the buffer of the standard output is written first.
#[cfg(unix)]
pub fn end(code: u8) -> ExitCode {
    // A reader that has gone, as after `| head -1`, misses nothing.
    let _ = io::stdout().flush();
    // SAFETY: `_exit` takes any code and runs nothing of this process, neither handlers nor the
    // buffers of the C library, which nobody here writes to.
    unsafe { libc::_exit(i32::from(code)) }
}

/// As above; the allocator takes its time.
#[cfg(not(unix))]
pub fn end(code: u8) -> ExitCode {
    ExitCode::from(code)
}
