//! Runs that are merged together, cut into ranges of keys.
//!
//! Splitters are quantiles of the samples of all runs, weighted with the rows that a sample
//! stands for. The index of every run on tape is read once to find, for each splitter, the last
//! block that begins before it; runs in memory are searched when a range is opened.
//!
//! Splitters are moved to the begin of the group they fall into, and rows with equal words are
//! never in two ranges: a group or key that is very frequent makes a range that is long. It is
//! merged in the same memory as any other.

use std::sync::Arc;

use super::Check;
use super::pool::facts_of;
use super::run::{Body, Run};
use super::shape::{RunShape, Words};
use super::writer::{index_entries, stagger};
use crate::batch::MORSEL_ROWS;
use crate::error::Result;
use crate::memory::Reservation;
use crate::memory::rows::packed::ColumnFacts;
use crate::memory::spill::TapeReader;

/// The most bytes that splitters and cuts take.
const TABLE_BYTES_MAX: usize = 2 << 20;

/// Samples that are taken of a run in memory.
const MEMORY_SAMPLES: usize = 512;

/// How many times as many rows as usual a range has that is divided, where ranges are given.
const DIVIDED: f64 = 4.0;

/// Bytes of the window through which an index is read.
const INDEX_WINDOW_BYTES: usize = 32 << 10;

/// Runs that are merged together; see the module documentation.
pub struct RunSet {
    shape: Arc<RunShape>,
    pub(super) runs: Vec<Arc<Run>>,
    /// Range `r` begins at splitter `r - 1`.
    splitters: Vec<Words>,
    /// By run, by splitter; empty for runs in memory.
    cuts: Vec<Vec<u64>>,
    facts: Vec<ColumnFacts>,
    /// What the tables are charged to.
    _charge: Reservation,
}

impl RunSet {
    /// Takes `runs` and cuts them into ranges; the tables are charged to `charge`. Where there is
    /// an error, `runs` are as they were.
    ///
    /// # Errors
    /// `OutOfMemory` when the tables cannot be reserved, `Io` when an index cannot be read, and
    /// what `check` reports.
    pub fn new(
        shape: Arc<RunShape>,
        runs: &mut Vec<Run>,
        mut charge: Reservation,
        check: Check<'_>,
    ) -> Result<Self> {
        let samples: usize = runs.iter().map(sample_count).sum();
        let sampled = samples * size_of::<(Words, f64)>();
        charge.grow(sampled)?;
        let splitters = splitters(&shape, runs);
        charge.shrink(sampled);
        charge.grow(splitters.len() * (size_of::<Words>() + 8 * runs.len()))?;
        let mut cuts = Vec::with_capacity(runs.len());
        for run in runs.iter() {
            cuts.push(cut(run, &splitters, &charge, check)?);
        }
        let facts = facts_of(shape.layout().columns(), runs.iter());
        let runs = std::mem::take(runs).into_iter().map(Arc::new).collect();
        Ok(RunSet { shape, runs, splitters, cuts, facts, _charge: charge })
    }

    /// The room that distributed runs have for entries, for the first merger.
    pub(super) fn take_room(&mut self) -> Vec<Reservation> {
        let runs = self.runs.iter_mut().filter_map(Arc::get_mut);
        let room = |run: &mut Run| match &mut run.body {
            Body::Distributed(run) => Some(run.take_room()),
            _ => None,
        };
        runs.filter_map(room).collect()
    }

    /// What all runs have in common.
    pub fn shape(&self) -> &Arc<RunShape> {
        &self.shape
    }

    /// Number of ranges; at least 1.
    pub fn ranges(&self) -> usize {
        self.splitters.len() + 1
    }

    /// Rows in all ranges.
    pub fn rows(&self) -> u64 {
        self.runs.iter().map(|run| run.rows).sum()
    }

    /// Runs that are read through windows.
    pub fn spilled_runs(&self) -> usize {
        self.runs.iter().filter(|run| run.is_spilled()).count()
    }

    pub(super) fn may_have_nulls(&self, column: usize) -> bool {
        self.facts.get(column).is_none_or(|facts| facts.nulls)
    }

    /// Where a range begins and ends.
    pub(super) fn bounds(&self, range: usize) -> (Option<Words>, Option<Words>) {
        let before = range.checked_sub(1).and_then(|at| self.splitters.get(at));
        (before.copied(), self.splitters.get(range).copied())
    }

    /// The blocks of a run on tape that a range begins and ends in.
    pub(super) fn cuts(&self, run: usize, range: usize) -> (u64, Option<u64>) {
        let cuts = self.cuts.get(run).map_or(&[][..], Vec::as_slice);
        let before = range.checked_sub(1).and_then(|at| cuts.get(at));
        (before.copied().unwrap_or(0), cuts.get(range).copied())
    }
}

fn sample_count(run: &Run) -> usize {
    match &run.body {
        Body::Memory(run) => run.entries.len().min(MEMORY_SAMPLES),
        Body::Blocks(run) => run.blocks.index().len().min(MEMORY_SAMPLES),
        Body::Distributed(run) => run.ranges().count(),
        Body::Tape(run) => run.samples.len(),
    }
}

/// Quantiles of the samples, as many as the rows make ranges.
fn splitters(shape: &RunShape, runs: &[Run]) -> Vec<Words> {
    let rows: u64 = runs.iter().map(|run| run.rows).sum();
    let wanted = usize::try_from(rows / MORSEL_ROWS as u64).unwrap_or(usize::MAX);
    let table = size_of::<Words>() + 8 * runs.len();
    let ranges = wanted.min(TABLE_BYTES_MAX / table).max(1);
    if ranges == 1 && given_splitters(runs).is_empty() {
        return Vec::new();
    }
    let mut samples: Vec<(Words, f64)> = Vec::with_capacity(runs.iter().map(sample_count).sum());
    for run in runs {
        let count = sample_count(run);
        let weight = run.rows as f64 / count.max(1) as f64;
        let spread = |n: usize, len: usize| {
            (n * len + stagger(run.number, len as u64) as usize) / count.max(1)
        };
        match &run.body {
            Body::Memory(run) => {
                let at = |n: usize| run.entries[spread(n, run.entries.len())].words();
                samples.extend((0..count).map(|n| (at(n), weight)));
            }
            Body::Blocks(run) => {
                let index = run.blocks.index();
                let at = |n: usize| index[spread(n, index.len())].0;
                samples.extend((0..count).map(|n| (at(n), weight)));
            }
            Body::Distributed(run) => {
                samples.extend(run.ranges().map(|(words, rows)| (words, rows as f64)));
            }
            Body::Tape(run) => samples.extend(run.samples.iter().map(|&words| (words, weight))),
        }
    }
    samples.sort_unstable_by_key(|&(words, _)| words);
    let given = given_splitters(runs);
    // Ranges that are given anyhow are divided only where they are much too large: a part of one
    // is looked for in all the rows of a distributed run's.
    let stretch = if given.is_empty() { 1.0 } else { DIVIDED };
    let step = stretch * rows as f64 / ranges as f64;
    let (mut splitters, mut before, mut due) = (Vec::with_capacity(ranges), 0.0, step);
    let mut given = given.iter().copied().peekable();
    for (words, weight) in samples {
        let splitter = shape.first_of_group(words);
        while let Some(given) = given.next_if(|&given| given <= splitter) {
            splitters.push(given);
            due = before + step;
        }
        // Nothing is before words of zero.
        if before >= due && splitters.last().copied().unwrap_or(0) < splitter {
            splitters.push(splitter);
            due = before + step;
        }
        before += weight;
    }
    splitters.extend(given);
    splitters
}

/// The splitters that rows were distributed by.
fn given_splitters(runs: &[Run]) -> &[Words] {
    let distributed = runs.iter().find_map(Run::distributed);
    distributed.map_or(&[], |run| run.splitters.words())
}

/// For each splitter, the position of the last block of the run that begins before it.
fn cut(run: &Run, splitters: &[Words], charge: &Reservation, check: Check<'_>) -> Result<Vec<u64>> {
    check()?;
    let Body::Tape(tape) = &run.body else { return Ok(Vec::new()) };
    let mut cuts = Vec::with_capacity(splitters.len());
    let mut last = 0;
    let mut reader = TapeReader::new(tape.index.clone(), INDEX_WINDOW_BYTES, charge.child(0)?)?;
    while let Some(block) = reader.next_block()? {
        check()?;
        for (words, position) in index_entries(block.bytes) {
            while splitters.get(cuts.len()).is_some_and(|&splitter| splitter <= words) {
                cuts.push(last);
            }
            last = position;
        }
    }
    cuts.resize(splitters.len(), last);
    Ok(cuts)
}
