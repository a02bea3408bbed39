//! Joins the rows of one lane, in one of two ways.
//!
//! * **At once**, when the lane's build rows fit: the probe rows pass through the same worker as
//!   those of a join in memory.
//! * **By blocks**, when they do not, which with one key that has most of the rows is of no help to
//!   divide: the probe rows are read once for each table of some of the build rows. Marks say which
//!   of them have had a match, and decide at the end on rows that come out by that. The further
//!   tables of a null-aware join are gone through in the same way.

use std::sync::Arc;

use super::JoinKind;
use super::build_rows::Unmatched;
use super::emit::emit;
use super::lane_reader::ProbeRows;
use super::lane_table::{Blocks, Workshop};
use super::matcher::Matcher;
use super::matches::Walk;
use super::null_aware::Members;
use super::probe::{ProbeWorker, by_existence};
use super::shape::{Shape, Shared};
use super::table::Table;
use crate::batch::{Chunk, MAX_CHUNK_ROWS, Selection, pick};
use crate::error::{Error, Result};
use crate::memory::rows::RowMarks;
use crate::memory::{Governor, Reservation};
use crate::pipeline::{Context, Pushed, Step, TransformWorker};

/// What came of a step.
pub(super) enum Next {
    Chunk(Chunk),
    /// Nothing came out; there is more to do.
    Again,
    Done,
}

/// A lane whose build rows are in one table.
pub(super) struct AtOnce {
    prober: ProbeWorker,
    probe: ProbeRows,
    /// Whether pairs of the chunk at hand are left.
    more: bool,
    build_rows: Option<Unmatched>,
}

impl AtOnce {
    /// # Errors
    /// `Internal` when the further tables of a null-aware join are not in memory.
    pub(super) fn new(
        shared: &Arc<Shared>,
        members: Option<&Members>,
        table: Arc<Table>,
        probe: ProbeRows,
        memory: &Governor,
    ) -> Result<Self> {
        let prober = ProbeWorker::new(shared, members, table, memory)?;
        Ok(AtOnce { prober, probe, more: false, build_rows: None })
    }

    /// The next step.
    ///
    /// # Errors
    /// As probing; `Io` or `OutOfMemory` when the rows cannot be read.
    pub(super) fn next(&mut self, workshop: &mut Workshop, cx: &Context) -> Result<Next> {
        if let Some(build_rows) = &mut self.build_rows {
            return build_rows.next();
        }
        if self.more {
            if let Step::Chunk(chunk) = self.prober.resume(cx)? {
                return Ok(Next::Chunk(chunk));
            }
            self.more = false;
        }
        let shared = self.prober.matcher.shared.clone();
        let Some((_, chunk)) = self.probe.next(workshop, &shared.shape)? else {
            return Ok(self.end(&shared));
        };
        Ok(match self.prober.push(chunk, cx)? {
            Pushed::NeedInput => Next::Again,
            Pushed::Chunk(chunk) => Next::Chunk(chunk),
            Pushed::HaveMore(chunk) => {
                self.more = true;
                Next::Chunk(chunk)
            }
            Pushed::Finished(None) => self.end(&shared),
            Pushed::Finished(Some(_)) | Pushed::Blocked(..) => {
                return Err(Error::internal("a join's probe ends with a chunk, or waits"));
            }
        })
    }

    /// All probe rows have been seen.
    fn end(&mut self, shared: &Arc<Shared>) -> Next {
        if !shared.shape.kind.gives_build_rows() {
            return Next::Done;
        }
        self.build_rows = Some(Unmatched::all(shared, &self.prober.matcher.table));
        Next::Again
    }
}

/// What a table of some build rows says of a probe row.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// Whether it has a match.
    Match,
    /// Whether a member is NULL.
    NullMember,
    /// Whether it has a member, if its own value is NULL.
    Member,
}

/// A chunk of which pairs are left: the number of its first row, the chunk, and where the walk over
/// its pairs stands.
type Current = (usize, Chunk, Walk);

/// A lane whose build rows are in several tables.
pub(super) struct ByBlocks {
    shared: Arc<Shared>,
    /// What is still to be gone through, the last first.
    passes: Vec<(Asked, Blocks)>,
    probe: ProbeRows,
    /// The table at hand.
    matcher: Option<Matcher>,
    /// The chunk at hand.
    current: Option<Current>,
    build_rows: Option<Unmatched>,
    matched: RowMarks,
    unknown: RowMarks,
    _charge: Reservation,
}

impl ByBlocks {
    /// # Errors
    /// `OutOfMemory` when the marks have no room, `Internal` when the build side is not done.
    pub(super) fn new(
        shared: &Arc<Shared>,
        members: Option<&Members>,
        build: Blocks,
        probe: ProbeRows,
        mut charge: Reservation,
    ) -> Result<Self> {
        let mut passes = Vec::new();
        if let Some(members) = members {
            passes.push((Asked::Member, Blocks::all(&members.any)?));
            passes.push((Asked::NullMember, Blocks::all(&members.null)?));
        }
        passes.push((Asked::Match, build));
        let rows = probe.lane().rows();
        charge.grow(2 * RowMarks::size_bytes(rows))?;
        Ok(ByBlocks {
            shared: shared.clone(),
            passes,
            probe,
            matcher: None,
            current: None,
            build_rows: None,
            matched: RowMarks::new(rows),
            unknown: RowMarks::new(rows),
            _charge: charge,
        })
    }

    /// The next step.
    ///
    /// # Errors
    /// As probing; `Io` or `OutOfMemory` when rows cannot be read.
    pub(super) fn next(&mut self, workshop: &mut Workshop, cx: &Context) -> Result<Next> {
        if let Some(build_rows) = &mut self.build_rows {
            return Ok(match build_rows.next()? {
                Next::Done => {
                    self.build_rows = None;
                    Next::Again
                }
                next => next,
            });
        }
        if let (Some(current), Some(matcher)) = (self.current.take(), &mut self.matcher) {
            let marks = (&self.matched, &self.unknown);
            let (chunk, rest) = pairs(matcher, current, marks.0, cx)?;
            self.current = rest;
            return Ok(chunk.map_or(Next::Again, Next::Chunk));
        }
        let Some((asked, blocks)) = self.passes.last_mut() else { return self.rest(workshop) };
        let asked = *asked;
        let Some(matcher) = &mut self.matcher else {
            self.probe.rewind();
            match blocks.next(workshop, cx)? {
                Some(table) => {
                    self.matcher = Some(Matcher::new(&blocks.shared, table, cx.memory())?)
                }
                None => drop(self.passes.pop()),
            }
            return Ok(Next::Again);
        };
        let Some((row, chunk)) = self.probe.next(workshop, &self.shared.shape)? else {
            if asked == Asked::Match && self.shared.shape.kind.gives_build_rows() {
                self.build_rows = Some(Unmatched::all(&self.shared, &matcher.table));
            }
            self.matcher = None;
            return Ok(Next::Again);
        };
        let kind = self.shared.shape.kind;
        match asked {
            Asked::Match if kind.gives_pairs() => {
                matcher.look_up(&chunk)?;
                matcher.pairs.clear();
                self.current = Some((row, chunk, Walk::default()));
            }
            Asked::Match if kind.gives_build_rows() => matcher.mark_existing(&chunk, cx)?,
            _ => self.ask(asked, row, &chunk, cx)?,
        }
        Ok(Next::Again)
    }

    /// Asks for rows that are not decided yet.
    fn ask(&mut self, asked: Asked, first: usize, chunk: &Chunk, cx: &Context) -> Result<()> {
        let Some(matcher) = &mut self.matcher else { return Ok(()) };
        let marks = if asked == Asked::Match { &self.matched } else { &self.unknown };
        let is_open = |row: usize| !self.matched.is_set(row) && !marks.is_set(row);
        let mut open: Vec<u32> =
            (0..chunk.rows() as u32).filter(|&row| is_open(first + row as usize)).collect();
        if asked == Asked::Member {
            let in_key = self.shared.shape.probe_keys.first().copied().unwrap_or(0);
            let picked = pick([chunk.column(in_key)?], &open);
            let Some(key) = picked.first() else { return Ok(()) };
            let nulls = open.iter().enumerate().filter(|(which, _)| key.is_null(*which));
            open = nulls.map(|(_, &row)| row).collect();
        }
        if open.is_empty() {
            return Ok(());
        }
        let found = matcher.existing(&chunk.clone().select(Selection::new(open.clone())), cx)?;
        let found = open.iter().zip(found).filter(|(_, found)| *found);
        found.for_each(|(&row, _)| marks.set(first + row as usize));
        Ok(())
    }

    /// Rows that come out by whether they have a match in any of the tables.
    fn rest(&mut self, workshop: &mut Workshop) -> Result<Next> {
        let shape = &self.shared.shape;
        let kind = shape.kind;
        if !kind.adds_nulls_to_build() && (kind.gives_pairs() || kind.gives_build_rows()) {
            return Ok(Next::Done);
        }
        let Some((first, chunk)) = self.probe.next(workshop, shape)? else {
            return Ok(Next::Done);
        };
        let bits = |marks: &RowMarks| -> Vec<bool> {
            (0..chunk.rows()).map(|row| marks.is_set(first + row)).collect()
        };
        let unknown = if shape.null_aware { bits(&self.unknown) } else { Vec::new() };
        let output = by_existence(shape, &chunk, &bits(&self.matched), &unknown)?;
        Ok(output.map_or(Next::Again, Next::Chunk))
    }
}

/// Some pairs of a chunk that was looked up, and what is left of it.
fn pairs(
    matcher: &mut Matcher,
    (first, chunk, mut walk): Current,
    matched: &RowMarks,
    cx: &Context,
) -> Result<(Option<Chunk>, Option<Current>)> {
    cx.check()?;
    let shared = matcher.shared.clone();
    let shape: &Shape = &shared.shape;
    let mut more = true;
    // Otherwise some are left of those that were found before.
    if matcher.pairs.is_empty() {
        more = matcher.next_pairs(&mut walk, false, MAX_CHUNK_ROWS, cx)?;
        matcher.filter(&chunk)?;
        for &row in &matcher.pairs.probe {
            let row = first + row as usize;
            if shape.kind == JoinKind::Single && matched.is_set(row) {
                return Err(JoinKind::several_rows());
            }
            matched.set(row);
        }
        if shape.kind.gives_build_rows() {
            matcher.table.mark(&matcher.pairs.build);
        }
    }
    let output = match matcher.pairs.is_empty() {
        true => None,
        false => Some(emit(shape, &matcher.table, &chunk, &mut matcher.pairs)?),
    };
    more |= !matcher.pairs.is_empty();
    Ok((output, more.then_some((first, chunk, walk))))
}
