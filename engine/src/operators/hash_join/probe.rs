//! Looks the keys of a chunk up and gives what matches.
//!
//! Without a residual the entries of the keys say everything: semi, anti and mark joins select by
//! them, the others walk over the pairs. With one, pairs are formed a chunk at a time, the
//! condition is evaluated over them, and what passes counts as a match. A left join gives a row
//! without match at its place in the order, hence only when all its pairs have been seen.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;

use super::JoinKind;
use super::emit::emit;
use super::groups::{NONE, group_of};
use super::matcher::Matcher;
use super::matches::{Pairs, Walk};
use super::null_aware::{MemberMatcher, Members, is_spilled};
use super::probe_store::StoreProbe;
use super::shape::{Shape, Shared};
use super::table::Table;
use crate::batch::{Chunk, Column, MAX_CHUNK_ROWS, Selection};
use crate::error::Result;
use crate::expr::Written;
use crate::memory::Governor;
use crate::pipeline::{Context, Pushed, Step, Transform, TransformWorker};

/// The probe side of a join.
pub(super) struct ProbeTransform {
    shared: Arc<Shared>,
    /// Of a null-aware join.
    members: Option<Members>,
}

impl ProbeTransform {
    pub(super) fn new(shared: Arc<Shared>, members: Option<Members>) -> Self {
        ProbeTransform { shared, members }
    }
}

impl Transform for ProbeTransform {
    fn name(&self) -> &str {
        "hash join probe"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn TransformWorker>> {
        if is_spilled(&self.shared, self.members.as_ref()) {
            return Ok(Box::new(StoreProbe::new(&self.shared, cx)?));
        }
        let table = self.shared.table()?;
        Ok(Box::new(ProbeWorker::new(&self.shared, self.members.as_ref(), table, cx.memory())?))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

/// Looks chunks up in one table, and those of a null-aware join.
pub(super) struct ProbeWorker {
    pub(super) matcher: Matcher,
    members: Option<MemberMatcher>,
    /// The chunk of which pairs are left.
    current: Option<Current>,
}

struct Current {
    chunk: Chunk,
    walk: Walk,
    /// With a residual, the row whose pairs were seen last and whether one has passed.
    open: Option<(u32, bool)>,
}

impl TransformWorker for ProbeWorker {
    fn written(&self) -> Written {
        let is_nested = self.matcher.shared.shape.has_nested_keys();
        if is_nested { Written::Nested } else { Written::Nothing }
    }

    fn push(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        let is_empty = match &self.members {
            Some(members) => members.is_empty(),
            None => self.matcher.table.is_empty(),
        };
        if is_empty {
            return self.push_without_build(input);
        }
        if input.is_empty() {
            return Ok(Pushed::NeedInput);
        }
        match self.matcher.shared.shape.kind {
            JoinKind::Semi | JoinKind::Anti | JoinKind::Mark => self.push_existing(input, cx),
            JoinKind::RightSemi | JoinKind::RightAnti => {
                self.matcher.mark_existing(&input, cx)?;
                Ok(Pushed::NeedInput)
            }
            _ => self.push_pairs(input, cx),
        }
    }

    fn resume(&mut self, cx: &Context) -> Result<Step> {
        Ok(self.next(cx)?.map_or(Step::Exhausted, Step::Chunk))
    }
}

impl ProbeWorker {
    /// # Errors
    /// `Internal` when the tables of a null-aware join are not made yet.
    pub(super) fn new(
        shared: &Arc<Shared>,
        members: Option<&Members>,
        table: Arc<Table>,
        memory: &Governor,
    ) -> Result<Self> {
        let in_key = shared.shape.probe_keys.first().copied().unwrap_or(0);
        let members = members.map(|members| MemberMatcher::new(members, in_key, memory));
        let matcher = Matcher::new(shared, table, memory)?;
        Ok(ProbeWorker { matcher, members: members.transpose()?, current: None })
    }

    /// A chunk when the build side has no rows.
    fn push_without_build(&self, input: Chunk) -> Result<Pushed> {
        let shape = &self.matcher.shared.shape;
        if shape.kind.drops_unmatched_probe() {
            return Ok(Pushed::Finished(None));
        }
        let output = input.project(&shape.probe_output)?;
        let mark = (shape.kind == JoinKind::Mark).then(|| {
            let no = Arc::new(BooleanArray::from(vec![false]));
            Column::constant(DataType::Boolean, no)
        });
        let nulls = shape.build_output.iter().map(|p| Column::null(p.logical.clone()));
        Ok(Pushed::Chunk(output.widen(nulls.chain(mark))))
    }

    /// What a semi, anti or mark join gives.
    fn push_existing(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        let shared = self.matcher.shared.clone();
        let shape = &shared.shape;
        if let (Some(members), JoinKind::Anti) = (&self.members, shape.kind)
            && members.all_have_null()
        {
            return Ok(Pushed::Finished(None));
        }
        let matched = self.matcher.existing(&input, cx)?;
        let unknown = match &mut self.members {
            Some(members) => members.unknown(&input, &matched, cx)?,
            None => Vec::new(),
        };
        let output = by_existence(shape, &input, &matched, &unknown)?;
        Ok(output.map_or(Pushed::NeedInput, Pushed::Chunk))
    }

    /// The first of the pairs that other joins give.
    fn push_pairs(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        self.matcher.look_up(&input)?;
        if !self.matcher.has_residual() {
            let kind = self.matcher.shared.shape.kind;
            if kind.gives_build_rows() {
                self.matcher.table.mark_entries(&self.matcher.entries);
            }
            let has_several = |&entry: &u32| entry != NONE && group_of(entry).is_some();
            if kind == JoinKind::Single && self.matcher.entries.iter().any(has_several) {
                return Err(JoinKind::several_rows());
            }
        }
        self.matcher.pairs.clear();
        self.current = Some(Current { chunk: input, walk: Walk::default(), open: None });
        Ok(match self.next(cx)? {
            None => Pushed::NeedInput,
            Some(chunk) if self.current.is_some() => Pushed::HaveMore(chunk),
            Some(chunk) => Pushed::Chunk(chunk),
        })
    }

    /// The next chunk of the current input; `current` is none after the last.
    fn next(&mut self, cx: &Context) -> Result<Option<Chunk>> {
        while let Some(mut current) = self.current.take() {
            let matcher = &mut self.matcher;
            let kind = matcher.shared.shape.kind;
            let unmatched = kind.adds_nulls_to_build();
            let mut more = true;
            // Otherwise some are left of those that were found before.
            if matcher.pairs.is_empty() {
                // One less than fits, for a row that is found to be without match only now.
                more = matcher.next_pairs(&mut current.walk, unmatched, MAX_CHUNK_ROWS - 1, cx)?;
                match (matcher.has_residual(), unmatched) {
                    (false, _) => (),
                    (true, false) => matcher.filter(&current.chunk)?,
                    (true, true) => filter_left(matcher, &mut current, more)?,
                }
                if matcher.has_residual() && kind.gives_build_rows() {
                    matcher.table.mark(&matcher.pairs.build);
                }
            }
            let output = match matcher.pairs.is_empty() {
                true => None,
                false => {
                    let (shape, table) = (&matcher.shared.shape, &matcher.table);
                    Some(emit(shape, table, &current.chunk, &mut matcher.pairs)?)
                }
            };
            if more || !matcher.pairs.is_empty() {
                self.current = Some(current);
            }
            if output.is_some() {
                return Ok(output);
            }
            cx.check()?;
        }
        Ok(None)
    }
}

/// What a semi, anti or mark join gives of a chunk, by which live rows have a match, and for which
/// that is not known (none when `unknown` is empty); left and full joins give their rows without
/// match.
pub(super) fn by_existence(
    shape: &Shape,
    input: &Chunk,
    matched: &[bool],
    unknown: &[bool],
) -> Result<Option<Chunk>> {
    let is_unknown = |row: usize| unknown.get(row).copied().unwrap_or(false);
    if shape.kind == JoinKind::Mark {
        let output = input.project(&shape.probe_output)?;
        let mark = flags(input, matched, (!unknown.is_empty()).then_some(unknown));
        return Ok(Some(output.widen([mark])));
    }
    let is_kept = |row: usize| match shape.kind {
        JoinKind::Semi => matched[row],
        _ => !matched[row] && !is_unknown(row),
    };
    let live = input.live_positions();
    let kept: Vec<u32> =
        live.iter().enumerate().filter(|(row, _)| is_kept(*row)).map(|(_, &at)| at).collect();
    if kept.is_empty() {
        return Ok(None);
    }
    let output = input.project(&shape.probe_output)?;
    let output = match kept.len() == live.len() {
        true => output,
        false => output.select(Selection::new(kept)),
    };
    Ok(Some(output.widen(shape.build_output.iter().map(|p| Column::null(p.logical.clone())))))
}

/// Keeps the pairs that pass the residual and gives rows of which none has passed without match.
/// The last row stays open when there may be more pairs.
fn filter_left(matcher: &mut Matcher, current: &mut Current, more: bool) -> Result<()> {
    let is_single = matcher.shared.shape.kind == JoinKind::Single;
    let passed = matcher.passed(&current.chunk)?;
    let mut passed = passed.as_ref().map(|p| p.as_slice().iter().copied().peekable());
    let mut kept = Pairs::default();
    let mut candidate = 0;
    for (&row, &build) in matcher.pairs.probe.iter().zip(&matcher.pairs.build) {
        if current.open.is_none_or(|(open, _)| open != row) {
            close(current.open.replace((row, false)), &mut kept);
        }
        if build == NONE {
            continue;
        }
        let pass = passed.as_mut().is_none_or(|p| p.next_if_eq(&candidate).is_some());
        candidate += 1;
        if pass {
            if is_single && current.open == Some((row, true)) {
                return Err(JoinKind::several_rows());
            }
            kept.push(row, build);
            current.open = Some((row, true));
        }
    }
    if !more {
        close(current.open.take(), &mut kept);
    }
    matcher.pairs = kept;
    Ok(())
}

/// Gives a row whose pairs have all been seen, unless one has passed.
fn close(open: Option<(u32, bool)>, pairs: &mut Pairs) {
    if let Some((row, false)) = open {
        pairs.push(row, NONE);
    }
}

/// The column that says which live rows have a match, or that it is not known.
fn flags(input: &Chunk, matched: &[bool], unknown: Option<&[bool]>) -> Column {
    let rows = input.rows();
    let spread = |flags: &[bool], invert: bool| match input.selection() {
        None => BooleanBuffer::collect_bool(rows, |row| flags[row] != invert),
        Some(live) => {
            let mut all = vec![false; rows];
            let live = live.as_slice().iter().zip(flags);
            live.for_each(|(&row, &flag)| all[row as usize] = flag != invert);
            BooleanBuffer::from(all)
        }
    };
    let nulls = unknown.map(|unknown| NullBuffer::new(spread(unknown, true)));
    let array = BooleanArray::new(spread(matched, false), nulls);
    Column::flat(DataType::Boolean, Arc::new(array))
}
