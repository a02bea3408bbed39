//! Chunks of the probe side against all groups of the build side.
//!
//! The pairs of a chunk and a group are looked at in *strips*: one row of the smaller of the two
//! against all rows of the larger. Strips that give many rows leave at once, with the one row as
//! constants; the pairs of the others are gathered, up to a chunk's worth, and leave as indices.
//! Semi, anti and mark joins ask on only for rows that are not decided. Where bounds of the
//! condition leave a range of the group's rows to a probe row, it meets only those, and groups that
//! no row of the chunk can match are passed by, without being read once they are known.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;

use super::condition::{Outcome, Test};
use super::group_bounds::{Found, GroupBounds};
use super::reader::Reader;
use super::shape::{Shape, Shared};
use super::store::{Columns, Group};
use crate::batch::{CHUNK_ROWS, COMPACT_BELOW, Chunk, Column, Indices, Selection, all_rows};
use crate::error::Result;
use crate::expr::Written;
use crate::expr::bounds::Known;
use crate::operators::JoinKind;
use crate::pipeline::{Context, Pushed, Step, Transform, TransformWorker};

/// Rows of a strip from which on they leave as a chunk of their own.
const DIRECT_ROWS: usize = 1024;

/// Rows of a group from which on each probe row is looked at by itself when bounds leave a range of
/// them.
const SORTED_ROWS_MIN: usize = 256;

/// The probe side of a join.
pub(super) struct ProbeTransform {
    shared: Arc<Shared>,
}

impl ProbeTransform {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        ProbeTransform { shared }
    }
}

impl Transform for ProbeTransform {
    fn name(&self) -> &str {
        "nested loop join probe"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn TransformWorker>> {
        let reader = Reader::new(&self.shared, cx)?;
        let test = Test::new(&self.shared.shape, cx.memory())?;
        let (shared, ready) = (self.shared.clone(), VecDeque::new());
        Ok(Box::new(ProbeWorker { shared, reader, test, current: None, ready }))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

struct ProbeWorker {
    shared: Arc<Shared>,
    reader: Reader,
    test: Option<Test>,
    /// The chunk that is not through with all groups.
    current: Option<Current>,
    /// What comes out next.
    ready: VecDeque<Chunk>,
}

/// A probe chunk on its way through the groups.
struct Current {
    chunk: Chunk,
    /// Its columns that the condition reads.
    tested: Chunk,
    /// Its values for the bounds of the condition beside those of the group, if they are known.
    known: Option<Vec<Vec<Known>>>,
    group: usize,
    strip: usize,
    /// The live rows that are still asked for.
    open: Selection,
    /// Those of them that may have a match in the group at hand; `None` before it is met.
    met: Option<Selection>,
    /// By physical row, whether a match was found, and whether the condition was NULL for a pair.
    matched: Vec<bool>,
    unknown: Vec<bool>,
    /// Pairs of the group at hand that have not left: physical rows of the chunk, rows of the
    /// group.
    probe: Vec<u32>,
    build: Vec<u32>,
}

impl TransformWorker for ProbeWorker {
    fn written(&self) -> Written {
        Written::Nothing
    }

    fn push(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        let kind = self.shared.shape.kind;
        if self.reader.side.is_empty() && kind.drops_unmatched_probe() {
            return Ok(Pushed::Finished(None));
        }
        if input.is_empty() {
            return Ok(Pushed::NeedInput);
        }
        self.current = Some(Current::new(input, self.test.as_ref())?);
        Ok(match self.next(cx)? {
            None => Pushed::NeedInput,
            Some(chunk) if self.current.is_some() || !self.ready.is_empty() => {
                Pushed::HaveMore(chunk)
            }
            Some(chunk) => Pushed::Chunk(chunk),
        })
    }

    fn resume(&mut self, cx: &Context) -> Result<Step> {
        Ok(self.next(cx)?.map_or(Step::Exhausted, Step::Chunk))
    }
}

impl ProbeWorker {
    /// The next chunk that comes out. After each group that is read and gives nothing it is an
    /// empty one, so that others get their turn; those that no row can match are passed by.
    fn next(&mut self, cx: &Context) -> Result<Option<Chunk>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Ok(Some(chunk));
            }
            let Some(mut current) = self.current.take() else { return Ok(None) };
            let shared = self.shared.clone();
            let side = self.reader.side.clone();
            let group = side.groups().get(current.group).filter(|_| !current.open.is_empty());
            let Some(group) = group else {
                self.ready.extend(current.rest(&shared.shape)?);
                continue;
            };
            let met = match current.met.take() {
                Some(met) => met,
                None => self.meet(&mut current, group.rows)?,
            };
            if met.is_empty() {
                cx.check()?;
                current.group += 1;
                self.current = Some(current);
                continue;
            }
            let columns = self.reader.group(current.group)?;
            let mut strips = Strips {
                shape: &shared.shape,
                side: &side,
                group,
                columns: &columns,
                test: self.test.as_mut(),
                ready: &mut self.ready,
            };
            strips.run(&mut current, met, cx)?;
            if self.ready.is_empty() {
                self.ready.push_back(current.chunk.slice(0, 0).project(&[])?);
            }
            self.current = Some(current);
        }
    }

    /// The open rows that may have a match in the next group, of `rows`. It is read only if nothing
    /// is known of it.
    fn meet(&mut self, current: &mut Current, rows: usize) -> Result<Selection> {
        let all = || current.open.clone();
        let Some(test) = &mut self.test else { return Ok(all()) };
        let group = current.group;
        if test.bounds.as_ref().is_some_and(|bounds| !bounds.knows(group)) {
            let build = test.of_build(&self.reader.group(group)?);
            if let Some(bounds) = &mut test.bounds {
                bounds.look_at(group, &build, rows)?;
            }
        }
        let Some(bounds) = &mut test.bounds else { return Ok(all()) };
        if group == 0 || !bounds.read_once() {
            let asked = current.tested.clone().select(current.open.clone());
            current.known = bounds.of_probe(group, &asked)?;
        }
        let met = current
            .known
            .as_ref()
            .and_then(|known| bounds.met(group, known, current.open.as_slice()));
        Ok(met.map_or_else(all, Selection::new))
    }
}

impl Current {
    fn new(chunk: Chunk, test: Option<&Test>) -> Result<Self> {
        let rows = chunk.rows();
        let tested = match test {
            Some(test) => test.of_probe(&chunk)?,
            None => chunk.project(&[])?,
        };
        let open = match chunk.selection() {
            Some(live) => live.clone(),
            None => Selection::new(all_rows(rows).to_vec()),
        };
        let (matched, unknown) = (vec![false; rows], vec![false; rows]);
        let (probe, build) = (Vec::new(), Vec::new());
        let (group, strip, known, met) = (0, 0, None, None);
        Ok(Current {
            chunk,
            tested,
            known,
            group,
            strip,
            open,
            met,
            matched,
            unknown,
            probe,
            build,
        })
    }

    /// What comes out when all groups have been seen: rows by whether they have a match.
    fn rest(&self, shape: &Shape) -> Result<Option<Chunk>> {
        let is_kept = |row: usize| match shape.kind {
            JoinKind::Semi => self.matched[row],
            JoinKind::Anti => !self.matched[row] && !self.unknown[row],
            JoinKind::Mark => true,
            kind => kind.adds_nulls_to_build() && !self.matched[row],
        };
        let live = self.chunk.live_positions();
        let kept: Vec<u32> = live.iter().copied().filter(|&row| is_kept(row as usize)).collect();
        if kept.is_empty() {
            return Ok(None);
        }
        let mut output = self.chunk.project(&shape.probe_output)?;
        if kept.len() < live.len() {
            output = output.select(Selection::new(kept));
        }
        if shape.kind == JoinKind::Mark {
            let nulls = shape.null_aware.then(|| {
                // TRUE outweighs NULL.
                let known = self.unknown.iter().zip(&self.matched).map(|(u, m)| !u || *m);
                NullBuffer::new(known.collect::<BooleanBuffer>())
            });
            let matched = BooleanBuffer::from(&self.matched[..]);
            let mark = Arc::new(BooleanArray::new(matched, nulls));
            return Ok(Some(output.widen([Column::flat(DataType::Boolean, mark)])));
        }
        let nulls =
            shape.build_output.iter().map(|&stored| Column::null(shape.types[stored].clone()));
        Ok(Some(output.widen(nulls)))
    }
}

/// The strips of one chunk and one group.
struct Strips<'a> {
    shape: &'a Shape,
    side: &'a super::store::BuildSide,
    group: &'a Group,
    columns: &'a Columns,
    test: Option<&'a mut Test>,
    ready: &'a mut VecDeque<Chunk>,
}

impl Strips<'_> {
    /// Goes on with the rows that may match until something comes out or the group is through.
    fn run(&mut self, current: &mut Current, mut met: Selection, cx: &Context) -> Result<()> {
        let tested = self.test.as_ref().map(|test| test.of_build(self.columns));
        let tested = tested.unwrap_or_default();
        let rows = self.group.rows;
        let bounds = self.test.as_ref().and_then(|test| test.bounds.as_ref());
        let is_sorted = bounds.is_some_and(|bounds| bounds.is_sorted(current.group));
        let is_sorted = is_sorted && current.known.is_some();
        let by_probe_row = rows >= met.len() || is_sorted && rows >= SORTED_ROWS_MIN;
        // Rows that are decided stay until the end of the group when they are taken one by one:
        // each is asked for once.
        let strips = if by_probe_row { met.len() } else { rows };
        while current.strip < strips && !met.is_empty() {
            if !self.ready.is_empty() {
                current.met = Some(met);
                return Ok(());
            }
            cx.check()?;
            let strip = current.strip;
            current.strip += 1;
            match by_probe_row {
                true => self.probe_row(current, &tested, met.as_slice()[strip])?,
                false => self.build_row(current, &mut met, &tested, strip)?,
            }
        }
        self.flush(current)?;
        current.group += 1;
        current.strip = 0;
        if self.decides() {
            let open = current.open.as_slice().iter().copied();
            let open = open.filter(|&row| !current.matched[row as usize]);
            current.open = Selection::new(open.collect());
        }
        Ok(())
    }

    /// Whether a probe row needs no second match.
    fn decides(&self) -> bool {
        matches!(self.shape.kind, JoinKind::Semi | JoinKind::Anti | JoinKind::Mark)
    }

    /// One probe row against the rows of the group that it may match.
    fn probe_row(&mut self, current: &mut Current, tested: &[Column], row: u32) -> Result<()> {
        let (rows, is_enough) = (self.group.rows, self.decides());
        let outcome = match &mut self.test {
            Some(test) => {
                let bounds = test.bounds.as_ref().zip(current.known.as_ref());
                let has_match = |(bounds, known): (&GroupBounds, &Vec<Vec<Known>>)| {
                    bounds.has_match(current.group, known, row as usize)
                };
                if is_enough && let Some(has_match) = bounds.and_then(has_match) {
                    current.matched[row as usize] |= has_match;
                    return Ok(());
                }
                let found = bounds.and_then(|(bounds, known)| {
                    bounds.of_probe_row(current.group, known, row as usize)
                });
                match found.unwrap_or(Found::Within(0..rows)) {
                    Found::Within(range) if range.is_empty() => return Ok(()),
                    Found::Within(range) => {
                        test.probe_row((&current.tested, row as usize), tested, range, rows)?
                    }
                    Found::Matches(all) if all.len() == rows => Outcome::default(),
                    Found::Matches(some) => Outcome::of(some),
                }
            }
            None => Outcome::default(),
        };
        let passed = outcome.passed.as_ref().map_or_else(|| all_rows(rows), Selection::as_slice);
        current.unknown[row as usize] |= !outcome.unknown.is_empty();
        if passed.is_empty() {
            return Ok(());
        }
        self.note_single(current.matched[row as usize] as usize + passed.len())?;
        current.matched[row as usize] = true;
        self.mark(passed);
        if !self.shape.kind.gives_pairs() {
            return Ok(());
        }
        if passed.len() >= DIRECT_ROWS {
            self.flush(current)?;
            let own = self.shape.probe_output.iter();
            let own = own.map(|&c| Ok(current.chunk.column(c)?.constant_of(row as usize)));
            let own: Vec<Column> = own.collect::<Result<_>>()?;
            let built = self.shape.build_output.iter().map(|&stored| {
                Column::flat(self.shape.types[stored].clone(), self.columns[stored].clone())
            });
            let columns = own.into_iter().chain(built).collect();
            let chunk = Chunk::new(columns, rows, current.chunk.place());
            self.ready.push_back(selected(chunk, outcome.passed));
            return Ok(());
        }
        current.build.extend_from_slice(passed);
        current.probe.resize(current.build.len(), row);
        self.flush_full(current)
    }

    /// One build row against the rows of the chunk that may match.
    fn build_row(
        &mut self,
        current: &mut Current,
        met: &mut Selection,
        tested: &[Column],
        row: usize,
    ) -> Result<()> {
        let is_marked = |row| self.side.marks.as_ref().is_some_and(|marks| marks.is_set(row));
        if !self.shape.kind.has_probe_columns() && is_marked(self.group.first + row) {
            return Ok(());
        }
        let outcome = match &mut self.test {
            Some(test) => {
                let bounds = test.bounds.as_ref().zip(current.known.as_ref());
                let at = (current.group, row);
                let asked = met.as_slice();
                match bounds.and_then(|(bounds, known)| bounds.of_build_row(at, known, asked)) {
                    Some(matches) => Outcome::of(matches),
                    None => {
                        let narrowed = current.tested.clone().select(met.clone());
                        test.build_row(&narrowed, tested, row)?
                    }
                }
            }
            None => Outcome::default(),
        };
        for &row in &outcome.unknown {
            current.unknown[row as usize] = true;
        }
        let passed = outcome.passed.unwrap_or_else(|| met.clone());
        if passed.is_empty() {
            return Ok(());
        }
        let is_single = self.shape.kind == JoinKind::Single;
        for &row in passed.as_slice() {
            let again = std::mem::replace(&mut current.matched[row as usize], true);
            if again && is_single {
                return Err(JoinKind::several_rows());
            }
        }
        self.mark(&[row as u32]);
        if self.decides() {
            *met = met.without(&passed);
        }
        if !self.shape.kind.gives_pairs() {
            return Ok(());
        }
        if passed.len() >= DIRECT_ROWS {
            self.flush(current)?;
            let built = self.shape.build_output.iter().map(|&stored| {
                let array = self.columns[stored].slice(row, 1);
                Column::constant(self.shape.types[stored].clone(), array)
            });
            let output = current.chunk.project(&self.shape.probe_output)?.widen(built);
            self.ready.push_back(selected(output, Some(passed)));
            return Ok(());
        }
        current.probe.extend_from_slice(passed.as_slice());
        current.build.resize(current.probe.len(), row as u32);
        self.flush_full(current)
    }

    fn note_single(&self, matches: usize) -> Result<()> {
        match self.shape.kind == JoinKind::Single && matches > 1 {
            true => Err(JoinKind::several_rows()),
            false => Ok(()),
        }
    }

    /// Notes that rows of the group have a match.
    fn mark(&self, rows: &[u32]) {
        if let Some(marks) = &self.side.marks {
            rows.iter().for_each(|&row| marks.set(self.group.first + row as usize));
        }
    }

    fn flush_full(&mut self, current: &mut Current) -> Result<()> {
        if current.probe.len() >= CHUNK_ROWS { self.flush(current) } else { Ok(()) }
    }

    /// Lets the pairs gathered so far go.
    fn flush(&mut self, current: &mut Current) -> Result<()> {
        if current.probe.is_empty() {
            return Ok(());
        }
        let thin = (current.probe.len() as f64) < COMPACT_BELOW * current.chunk.rows() as f64;
        let probe = Arc::new(Indices::new(std::mem::take(&mut current.probe)));
        let build = Arc::new(Indices::new(std::mem::take(&mut current.build)));
        let built = self.shape.build_output.iter().map(|&stored| {
            let logical = self.shape.types[stored].clone();
            Column::indexed(logical, build.clone(), self.columns[stored].clone(), None)
        });
        let output = current.chunk.project(&self.shape.probe_output)?.reindex(&probe);
        let output = if thin { output.flatten()? } else { output };
        self.ready.push_back(output.widen(built));
        Ok(())
    }
}

fn selected(chunk: Chunk, rows: Option<Selection>) -> Chunk {
    match rows {
        Some(rows) => chunk.select(rows),
        None => chunk,
    }
}
