//! Tables of build rows that come from tape: of a lane, or of as much of it as fits.

use std::sync::Arc;

use super::finish::{Building, Built};
use super::lane_reader::LaneReader;
use super::lanes::{Lane, Stretch};
use super::shape::Shared;
use super::store::{Part, Run};
use super::table::Table;
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::memory::rows::{DEFAULT_PAGE_BYTES, RowPages, RowRef};
use crate::pipeline::Context;

/// What a row takes of a directory, of groups and of marks.
const TABLE_ROW_BYTES: usize = 24;

/// What a table of these rows takes, more or less.
pub(super) fn table_bytes(stretches: &[Stretch]) -> usize {
    stretches.iter().map(|stretch| stretch.bytes + stretch.rows * TABLE_ROW_BYTES).sum()
}

/// What a worker reads and makes tables with.
pub(super) struct Workshop {
    pub(super) reader: LaneReader,
    pub(super) memory: Reservation,
    /// Bytes that a table may take, so that others have their share.
    pub(super) share: usize,
}

/// Build rows, as one table after the other.
pub(super) struct Blocks {
    pub(super) shared: Arc<Shared>,
    source: Source,
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
            Some(lanes) => Ok(Blocks::of(shared, Arc::new(lanes.all()))),
            None => {
                let source = Source::Table(Some(shared.table()?));
                Ok(Blocks { shared: shared.clone(), source })
            }
        }
    }

    /// The rows of a lane.
    pub(super) fn of(shared: &Arc<Shared>, lane: Arc<Lane>) -> Self {
        Blocks { shared: shared.clone(), source: Source::Lane(lane, 0) }
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
        let rest = lane.stretches.get(*at..).unwrap_or(&[]);
        if rest.is_empty() {
            return Ok(None);
        }
        let mut count = 0;
        let mut bytes = 0;
        while let Some(stretch) = rest.get(count) {
            bytes += table_bytes(std::slice::from_ref(stretch));
            if count > 0 && bytes > workshop.share {
                break;
            }
            count += 1;
        }
        loop {
            match table(&self.shared, &rest[..count], workshop, cx) {
                Ok(Some(table)) => {
                    *at += count;
                    return Ok(Some(table));
                }
                Ok(None) | Err(Error::OutOfMemory { .. }) if count > 1 => count /= 2,
                Ok(None) => return Err(Error::internal("a table of one stretch has no room")),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The table of these rows; `None` when there is no room for it.
fn table(
    shared: &Arc<Shared>,
    stored: &[Stretch],
    workshop: &mut Workshop,
    cx: &Context,
) -> Result<Option<Arc<Table>>> {
    let needed = table_bytes(stored);
    let bytes: usize = stored.iter().map(|stretch| stretch.bytes).sum();
    if !workshop.memory.try_grow(needed) {
        if stored.len() > 1 {
            return Ok(None);
        }
        workshop.memory.grow(needed)?;
    }
    let mut memory = workshop.memory.cede(needed);
    memory.grow(bytes)?;
    let shape = &shared.shape;
    let mut pages = RowPages::new(shape.layout.clone(), DEFAULT_PAGE_BYTES);
    let mut runs: Vec<Run> = Vec::new();
    for stretch in stored {
        cx.check()?;
        if runs.last().is_none_or(|run| run.morsel() != stretch.morsel()) {
            runs.push(Run::new(stretch.morsel(), shape.build_keys.len()));
        }
        let mut at = stretch.from;
        while at < stretch.until {
            at = workshop.reader.load(stretch, at, &mut pages, |_| Ok(()))?;
            let rows: Vec<RowRef> = pages.page_refs(pages.pages() - 1).collect();
            if let Some(run) = runs.last_mut() {
                run.add(&rows, shape.layout.width());
            }
        }
    }
    let parts = vec![Part { pages, runs, memory: memory.split(0) }];
    let building = Building::new(shared, memory, parts, false, false, 1)?;
    match building.tasks() {
        0 => Ok(Some(Arc::new(Table::empty()))),
        _ => match building.run(0, shared, cx)? {
            Built::Table(table) => Ok(Some(table)),
            Built::Part | Built::NoRoom => Ok(None),
        },
    }
}
