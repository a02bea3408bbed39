//! Tables of build rows that come from tape: of a lane, or of as much of it as fits.
//!
//! Rows of a lane of bands (`lane_key`) have the ranges of their keys found again while they are
//! read, in folded ordinals, so that their tables may have slots.
//!
//! Memory: a worker has from the start what it takes to go on by all means: a window, a page of
//! probe rows, and a table of few rows or else, while there is no table, what a lane is divided
//! with. What a table had comes back when it is dropped, and is not free in between.

use std::sync::Arc;

use super::finish::{Begun, Building, Built, Making};
use super::lane_key::Bands;
use super::lane_reader::PROBE_BYTES;
use super::lanes::{Lane, WRITER_BYTES};
use super::shape::{HOLDER, Shape, Shared};
use super::store::{Part, Run};
use super::stretches::Stretch;
use super::table::Table;
use crate::batch::{Ordinals, widest};
use crate::error::{Error, Result};
use crate::memory::rows::{DEFAULT_PAGE_BYTES, PageReader, RowPages, RowRef};
use crate::memory::{Lender, Reservation};
use crate::pipeline::Context;

/// What a row takes of a directory, of groups and of marks.
const TABLE_ROW_BYTES: usize = 24;

/// The window through which tapes are read.
const WINDOW_BYTES: usize = 64 << 10;

/// Bytes that a table may always take.
const SHARE_BYTES_MIN: usize = 256 << 10;

/// What is there for a table or for a writer, whoever else asks for memory.
const LENT_BYTES: usize = WRITER_BYTES;

/// What a worker needs to go on by all means.
pub(super) const READING_BYTES: usize = WINDOW_BYTES + PROBE_BYTES + LENT_BYTES;

/// What a table of these rows takes, more or less.
pub(super) fn table_bytes<'a>(stretches: impl Iterator<Item = Stretch<'a>>) -> usize {
    stretches.map(|stretch| stretch.span.bytes + stretch.span.rows * TABLE_ROW_BYTES).sum()
}

/// What a worker reads and makes tables with.
pub(super) struct Workshop {
    pub(super) reader: PageReader,
    /// What the probe rows at hand are charged to, or a page that is read to be moved.
    pub(super) probe: Reservation,
    /// What tables are made of, or lanes divided with.
    pub(super) lender: Lender,
    /// Bytes that a table may take, so that others have their share.
    pub(super) share: usize,
    /// What all of this is under.
    pub(super) root: Reservation,
}

impl Workshop {
    /// # Errors
    /// `OutOfMemory` when there is not enough to go on with by all means.
    pub(super) fn new(cx: &Context) -> Result<Self> {
        let share = (cx.memory().free() / (cx.query.threads + 1)).max(SHARE_BYTES_MIN);
        let mut root = cx.memory().reserve(HOLDER, READING_BYTES)?;
        let mut part = |bytes| {
            root.grow(bytes)?;
            Ok::<_, Error>(root.cede(bytes))
        };
        Ok(Workshop {
            reader: PageReader::new(part(WINDOW_BYTES)?, WINDOW_BYTES),
            probe: part(PROBE_BYTES)?,
            lender: Lender::new(part(LENT_BYTES)?),
            share,
            root,
        })
    }
}

/// Build rows, as one table after the other.
pub(super) struct Blocks {
    pub(super) shared: Arc<Shared>,
    source: Source,
    /// What the rows have in common, when they are of one lane of bands.
    bands: Option<Bands>,
}

enum Source {
    /// A table in memory, until it is given.
    Table(Option<Arc<Table>>),
    /// A lane, and the stretch that the next table begins with.
    Lane(Arc<Lane>, usize),
}

impl Blocks {
    /// All build rows of a table, from where they are.
    ///
    /// # Errors
    /// `Internal` when the build side is not done.
    pub(super) fn all(shared: &Arc<Shared>) -> Result<Self> {
        match shared.lanes() {
            Some(lanes) => Ok(Blocks::of(shared, Arc::new(lanes.all()?), None)),
            None => {
                let source = Source::Table(Some(shared.table()?));
                Ok(Blocks { shared: shared.clone(), source, bands: None })
            }
        }
    }

    /// The rows of a lane; of bands, if it is one of those.
    pub(super) fn of(shared: &Arc<Shared>, lane: Arc<Lane>, bands: Option<Bands>) -> Self {
        Blocks { shared: shared.clone(), source: Source::Lane(lane, 0), bands }
    }

    /// Whether all rows have been given.
    pub(super) fn is_done(&self) -> bool {
        match &self.source {
            Source::Table(table) => table.is_none(),
            Source::Lane(lane, at) => *at == lane.stretches.len(),
        }
    }

    /// The next table: as large as the worker's share and memory allow, of one stretch at least.
    ///
    /// # Errors
    /// `OutOfMemory` when not even a stretch has room, `Io` when it cannot be read.
    pub(super) fn next(
        &mut self,
        workshop: &mut Workshop,
        cx: &Context,
    ) -> Result<Option<Arc<Table>>> {
        let (lane, at) = match &mut self.source {
            Source::Table(table) => return Ok(table.take()),
            Source::Lane(lane, at) => (lane, at),
        };
        if *at >= lane.stretches.len() {
            return Ok(None);
        }
        let mut count = 0;
        let mut bytes = 0;
        while let Some(stretch) = lane.stretches.get(*at + count) {
            bytes += table_bytes(std::iter::once(stretch));
            if count > 0 && bytes > workshop.share {
                break;
            }
            count += 1;
        }
        loop {
            let stored = Stored { lane, from: *at, until: *at + count, bands: self.bands };
            match table(&self.shared, stored, workshop, cx) {
                Ok(Some(table)) => {
                    *at += count;
                    return Ok(Some(table));
                }
                Ok(None) | Err(Error::OutOfMemory { .. }) if count > 1 => count /= 2,
                Ok(None) => return Err(no_room(stored)),
                Err(error) => return Err(error),
            }
        }
    }
}

/// Some stretches of a lane.
#[derive(Clone, Copy)]
struct Stored<'a> {
    lane: &'a Lane,
    from: usize,
    until: usize,
    bands: Option<Bands>,
}

impl<'a> Stored<'a> {
    fn iter(self) -> impl Iterator<Item = Stretch<'a>> {
        self.lane.stretches.between(self.from, self.until)
    }
}

/// The table of these rows; `None` when there is no room for it, and they are several stretches.
fn table(
    shared: &Arc<Shared>,
    stored: Stored<'_>,
    workshop: &mut Workshop,
    cx: &Context,
) -> Result<Option<Arc<Table>>> {
    let may_fail = stored.until - stored.from > 1;
    let lender = &workshop.lender;
    let needed = table_bytes(stored.iter()).max(LENT_BYTES);
    let mut memory = match lender.try_lend(needed) {
        Some(memory) => memory,
        None if may_fail => return Ok(None),
        None => lender.lend(needed)?,
    };
    memory.grow(stored.iter().map(|stretch| stretch.span.bytes).sum())?;
    let Read { pages, runs, ordinals } = read(shared, stored, &mut workshop.reader, cx)?;
    let parts = vec![Part { pages, runs, memory: memory.split(0), lane_memory: None }];
    let making = Making { may_fail, ordinals, bands: stored.bands, filter: false, threads: 1 };
    let building = match Building::begin(shared, memory, parts, &making)? {
        Begun::Building(building) => building,
        Begun::NoRoom(..) => return Ok(None),
    };
    let mut built = None;
    for task in 0..building.tasks() {
        match building.run(task, shared, cx)? {
            Built::Part => (),
            Built::Table(table) => built = Some(table),
            Built::NoRoom => return Ok(None),
        }
    }
    Ok(Some(built.unwrap_or_else(|| Arc::new(Table::empty()))))
}

/// Rows that were read.
struct Read {
    pages: RowPages,
    runs: Vec<Run>,
    /// Whether the runs have the ranges of all keys, as bands fold them.
    ordinals: bool,
}

/// The rows of stretches, which are charged for.
fn read(
    shared: &Shared,
    stored: Stored<'_>,
    reader: &mut PageReader,
    cx: &Context,
) -> Result<Read> {
    let shape = &shared.shape;
    let mut ranges = Ranges {
        bands: stored.bands,
        keys: vec![Ordinals::default(); shape.build_keys.len()],
        beyond: false,
    };
    let mut pages = RowPages::new(shape.layout.clone(), DEFAULT_PAGE_BYTES);
    let mut runs: Vec<Run> = Vec::new();
    for stretch in stored.iter() {
        cx.check()?;
        if runs.last().is_none_or(|run| run.morsel() != stretch.morsel) {
            runs.push(Run::new(stretch.morsel, shape.build_keys.len()));
        }
        reader.seek(stretch.tape, stretch.span.from, stretch.span.until)?;
        while let Some(page) = reader.next(|_| Ok(()))? {
            pages.push_taped(page)?;
            let rows: Vec<RowRef> = pages.page_refs(pages.pages() - 1).collect();
            if let Some(run) = runs.last_mut() {
                run.add(&rows, shape.layout.width());
                ranges.widen(run, shape, &pages, &rows)?;
            }
        }
    }
    Ok(Read { pages, runs, ordinals: stored.bands.is_some() && !ranges.beyond })
}

/// Finds the ranges of the keys of rows of one lane of bands.
struct Ranges {
    bands: Option<Bands>,
    keys: Vec<Ordinals>,
    /// Whether a key had no ordinal.
    beyond: bool,
}

impl Ranges {
    fn widen(
        &mut self,
        run: &mut Run,
        shape: &Shape,
        pages: &RowPages,
        rows: &[RowRef],
    ) -> Result<()> {
        let Some(bands) = self.bands else { return Ok(()) };
        for (key, ordinals) in self.keys.iter_mut().enumerate() {
            ordinals.read(&shape.key(pages, key, rows)?, rows.len(), None)?;
            self.beyond |= !ordinals.beyond.is_empty();
        }
        if let Some(ordinals) = self.keys.get_mut(bands.key()) {
            ordinals.values.iter_mut().for_each(|ordinal| *ordinal = bands.folded(*ordinal));
        }
        for (range, ordinals) in run.ranges.iter_mut().zip(&self.keys) {
            *range = widest(*range, ordinals.range());
        }
        Ok(())
    }
}

/// The error for the least number of rows that a table is made of.
fn no_room(stored: Stored<'_>) -> Error {
    let rows: usize = stored.iter().map(|stretch| stretch.span.rows).sum();
    let detail = format!("a table of {rows} rows has no room; raise the limit (memory_limit)");
    Error::OutOfMemory { who: HOLDER.to_string(), asked_bytes: table_bytes(stored.iter()), detail }
}
