//! Spill space: state that has no room in memory, in a few files without a name.
//!
//! ```text
//! directories ── one unlinked file each ── extents (allocated, reused, capped)
//!                                             └── tapes: checksummed blocks, appended in order
//! ```
//!
//! A [`Tape`] is what an operator writes: blocks of any length, each found again by its position.
//! Its bytes lie in extents that are spread over the directories. Files are unlinked when they are
//! opened, so that nothing is left whatever happens to the process.
//!
//! Writing is by positional writes with checked errors: never through a map, where dirty pages
//! are resident memory and a full disk is a signal. Reading is in windows whose bytes the caller
//! has reserved: see `window`.
//!
//! * `space`: files, extents, the cap, figures.
//! * `free_list`: which bytes of a file are free.
//! * `tape`: writing and reading blocks; `checksum`: theirs.
//! * `io`: the few system calls, replaceable so that tests can make them fail.
//! * `window`: reading back through maps.

mod checksum;
mod free_list;
mod io;
mod space;
mod tape;
mod window;

pub use checksum::checksum;
pub use io::{SpillIo, SystemIo};
pub use space::{SpillSpace, SpillUsage};
pub use tape::{BLOCK_ALIGN, Block, Tape, TapeReader, TapeWriter};
pub use window::{MAP_BYTES_MIN, Map, Window};

#[cfg(test)]
mod tests;
