//! Sorted runs: forming them within a budget, and merging them by ranges of keys in parallel.
//!
//! ```text
//! chunks ─► RunBuilder (one a worker) ─► runs, in memory or on tape ─► RunSet ─► ranges
//!           packed rows + key words       sorted, blocks of 8 KB       reduce     │
//!                                                                                 ▼
//!                                                 Merger (one a worker): loser tree ─► arrays
//! ```
//!
//! 1. A builder packs rows into pages and keeps an entry for each: its key words and where it is.
//!    When its memory is refused, or after [`RUN_BYTES_MAX`], it sorts the entries: that is a run.
//!    Refused or pressed, it writes runs to tapes, the oldest first. Where more than one run comes,
//!    those that stay in memory are written as blocks as well, and the buffer is used again.
//!    Where memory is plenty only the first run of a builder is formed like this: it gives
//!    splitters, and later rows are appended to the range they belong to. Such a *distributed* run
//!    is in order by range only; who reads a range sorts it, and so does who writes it to tape.
//! 2. A run on tape is a sequence of blocks of rows, each behind its key words, and an index of
//!    the first words of every block on a second tape. A sample of the words stays in memory.
//! 3. A set of runs that are too many to be merged at once in the memory there is, is reduced:
//!    the smallest are merged into one, until the rest can be.
//! 4. The samples give splitters, which cut the output into ranges of about
//!    [`crate::batch::MORSEL_ROWS`] rows. A merger takes the rows of one range from all runs.
//!    Ranges are disjoint and in order, so that several mergers work side by side. Rows that are
//!    equal in the keys that make groups (all keys, unless the owner says less) are in one range.
//!    Where there is room for its rows it copies them side by side and sorts them at once.
//!
//! Rows with equal keys keep the order of their arrival: within a run by the order of their
//! references, between runs by morsel (the mark of a packed row), then by the number of the run:
//! rows of one morsel are all in runs of one builder, which come in order.
//!
//! Memory: everything is charged to reservations that are handed in; runs in memory keep theirs.
//! What a spill needs is part of a builder's minimum ([`BUILDER_MINIMUM`]), and of what a
//! distributed run holds.
//! Concurrency: builders and mergers belong to one thread each; runs are read-only and shared.
//!
//! * `shape`: what all runs of one sort have in common. `builder`: rows to runs; `collector`: a
//!   builder that gives way between its chunks; `bound`: how far the first rows reach, when only
//!   they are wanted.
//! * `splitters`: where ranges of distributed rows begin; `distribution`: rows to ranges;
//!   `distributed`: the run that they become.
//! * `order`: sorting entries by their words.
//! * `run`: runs; `tape_form`: how their rows are on tape; `writer`: runs to tapes, or to the same
//!   blocks in memory, `blocks`; `cursor`: reading one run.
//! * `tournament`: the loser tree over cursors; `gather`: a range of all runs sorted at once;
//!   `merge`: from one range of all runs to arrays.
//! * `pool`: runs that are spilled and merged until they are few; `set`: splitters and cuts.
//! * `sorting`: all of it in turn, for an operator that sorts.

mod blocks;
mod bound;
mod builder;
mod collector;
mod cursor;
mod distributed;
mod distribution;
mod gather;
mod merge;
mod order;
mod pool;
mod run;
mod set;
mod shape;
mod sorting;
mod splitters;
mod tape_form;
mod tournament;
mod writer;

pub use bound::Bound;
pub use builder::{BUILDER_MINIMUM, RUN_BYTES_MAX, RunBuilder};
pub use collector::Collector;
pub use cursor::{WINDOW_BYTES_MAX, WINDOW_BYTES_MIN, cursor_bytes};
pub use merge::{Merged, Merger, merger_bytes};
pub use pool::RunPool;
pub use run::Run;
pub use set::RunSet;
pub use shape::RunShape;
pub use sorting::{SortReader, Sorting};
pub use splitters::DistributionPlan;
pub use writer::SPILL_BYTES;

use crate::error::Result;

/// Asked every few thousand rows: `Err` stops the work. Sorting and merging know nothing of
/// queries.
pub type Check<'a> = &'a dyn Fn() -> Result<()>;

#[cfg(test)]
mod tests;
