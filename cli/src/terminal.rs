//! How wide the terminal is.
//!
//! `unsafe`: the system tells it by a call that fills a structure, for which the standard library
//! has no function. A crate that wraps the call turns on a feature that half of the dependencies
//! are built anew for.

/// Characters in a line of the terminal that standard output is; `None` when it is none, or does
/// not tell.
#[cfg(unix)]
pub fn columns() -> Option<u16> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call writes a `winsize` to the pointer, which is one that lives through it.
    let answer = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    Some(size.ws_col).filter(|&columns| answer == 0 && columns > 0)
}

/// As on Unix, where the system is asked.
#[cfg(not(unix))]
pub fn columns() -> Option<u16> {
    None
}
