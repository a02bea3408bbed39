//! Looks the keys of a chunk up and gives what matches.
//!
//! Without a residual the entries of the keys say everything: semi and anti joins select by them,
//! the others walk over the pairs. With one, pairs are formed a chunk at a time, the condition is
//! evaluated over them, and what passes counts as a match. A left join gives a row without match
//! at its place in the order, hence only when all its pairs have been seen.

use std::sync::Arc;

use super::JoinKind;
use super::emit::{candidates, emit, project};
use super::groups::{Entry, NONE};
use super::matches::{Pairs, Walk};
use super::shape::{Residual, Shared};
use super::table::{LookUp, Table};
use crate::batch::{Chunk, Column, MAX_CHUNK_ROWS, Selection};
use crate::error::{Error, Result};
use crate::expr::Conjunction;
use crate::pipeline::{Context, Pushed, Step, Transform, TransformWorker};

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
        "hash join probe"
    }

    fn worker(&self, _: &Context) -> Result<Box<dyn TransformWorker>> {
        let Some(table) = self.shared.state().table.clone() else {
            return Err(Error::internal("a join is probed before its build side is done"));
        };
        let condition = self.shared.shape.residual.as_ref().map(Condition::new);
        Ok(Box::new(ProbeWorker {
            shared: self.shared.clone(),
            table,
            condition,
            look_up: LookUp::default(),
            entries: Vec::new(),
            pairs: Pairs::default(),
            current: None,
        }))
    }

    fn reset(&self) -> Result<()> {
        Ok(())
    }
}

struct ProbeWorker {
    shared: Arc<Shared>,
    table: Arc<Table>,
    condition: Option<Condition>,
    look_up: LookUp,
    /// By live row of the current chunk.
    entries: Vec<Entry>,
    pairs: Pairs,
    /// The chunk of which pairs are left.
    current: Option<Current>,
}

struct Current {
    chunk: Chunk,
    walk: Walk,
    /// With a residual, the row whose pairs were seen last and whether one has passed.
    open: Option<(u32, bool)>,
}

/// A residual and what is remembered about it.
struct Condition {
    residual: Residual,
    conjunction: Conjunction,
}

impl TransformWorker for ProbeWorker {
    fn push(&mut self, input: Chunk, cx: &Context) -> Result<Pushed> {
        if self.table.is_empty() {
            return self.push_without_build(input);
        }
        if input.is_empty() {
            return Ok(Pushed::NeedInput);
        }
        let shared = self.shared.clone();
        self.look_up.run(&self.table, &shared.shape, &input, &mut self.entries)?;
        match shared.shape.kind {
            JoinKind::Semi | JoinKind::Anti => {
                let matched = match self.condition {
                    Some(_) => self.existing(&input, cx)?,
                    None => self.entries.iter().map(|&entry| entry != NONE).collect(),
                };
                self.select(input, &matched)
            }
            JoinKind::Inner | JoinKind::Left => {
                self.current = Some(Current { chunk: input, walk: Walk::default(), open: None });
                Ok(match self.next(cx)? {
                    None => Pushed::NeedInput,
                    Some(chunk) if self.current.is_some() => Pushed::HaveMore(chunk),
                    Some(chunk) => Pushed::Chunk(chunk),
                })
            }
        }
    }

    fn resume(&mut self, cx: &Context) -> Result<Step> {
        Ok(self.next(cx)?.map_or(Step::Exhausted, Step::Chunk))
    }
}

impl ProbeWorker {
    /// A chunk when the build side has no rows.
    fn push_without_build(&self, input: Chunk) -> Result<Pushed> {
        let shape = &self.shared.shape;
        match shape.kind {
            JoinKind::Inner | JoinKind::Semi => Ok(Pushed::Finished(None)),
            JoinKind::Anti => Ok(Pushed::Chunk(project(&input, &shape.probe_output)?)),
            JoinKind::Left => {
                let output = project(&input, &shape.probe_output)?;
                let nulls = shape.build_output.iter().map(|p| Column::null(p.logical.clone()));
                let columns = output.columns().iter().cloned().chain(nulls).collect();
                Ok(Pushed::Chunk(output.with_columns(columns)))
            }
        }
    }

    /// Keeps the live rows that a semi or anti join gives.
    fn select(&self, input: Chunk, matched: &[bool]) -> Result<Pushed> {
        let shape = &self.shared.shape;
        let wanted = shape.kind == JoinKind::Semi;
        let live = input.live_positions();
        let kept: Vec<u32> =
            live.iter().zip(matched).filter(|(_, m)| **m == wanted).map(|(&row, _)| row).collect();
        if kept.is_empty() {
            return Ok(Pushed::NeedInput);
        }
        let output = project(&input, &shape.probe_output)?;
        if kept.len() == live.len() {
            return Ok(Pushed::Chunk(output));
        }
        Ok(Pushed::Chunk(output.select(Selection::new(kept))))
    }

    /// Which live rows have a match that passes the residual.
    fn existing(&mut self, input: &Chunk, cx: &Context) -> Result<Vec<bool>> {
        let mut matched = vec![false; input.live_rows()];
        let mut walk = Walk::default();
        loop {
            self.pairs.clear();
            let groups = self.table.groups();
            let more = walk.next(&self.entries, groups, false, MAX_CHUNK_ROWS, &mut self.pairs);
            self.filter(input)?;
            self.pairs.probe.iter().for_each(|&row| matched[row as usize] = true);
            if !more {
                return Ok(matched);
            }
            cx.check()?;
        }
    }

    /// The next chunk of the current input; `current` is none after the last.
    fn next(&mut self, cx: &Context) -> Result<Option<Chunk>> {
        while let Some(mut current) = self.current.take() {
            let shared = self.shared.clone();
            let unmatched = shared.shape.kind == JoinKind::Left;
            self.pairs.clear();
            let groups = self.table.groups();
            // One less than fits, for a row that is found to be without match only now.
            let most = MAX_CHUNK_ROWS - 1;
            let more = current.walk.next(&self.entries, groups, unmatched, most, &mut self.pairs);
            match (&self.condition, unmatched) {
                (None, _) => (),
                (Some(_), false) => self.filter(&current.chunk)?,
                (Some(_), true) => self.filter_left(&mut current, more)?,
            }
            let output = match self.pairs.is_empty() {
                true => None,
                false => Some(emit(&shared.shape, &self.table, &current.chunk, &self.pairs)?),
            };
            if more {
                self.current = Some(current);
            }
            if output.is_some() {
                return Ok(output);
            }
            cx.check()?;
        }
        Ok(None)
    }

    /// Which of the pairs with a build row pass the residual; `None` when all do.
    fn passed(&mut self, input: &Chunk) -> Result<Option<Selection>> {
        let Some(Condition { residual, conjunction }) = &mut self.condition else {
            return Ok(None);
        };
        let (probe, build) = (&residual.probe, &residual.build);
        let chunk = candidates(probe, build, &self.table, input, &self.pairs)?;
        if chunk.is_empty() { Ok(None) } else { conjunction.select(&chunk) }
    }

    /// Keeps the pairs that pass the residual; all have a build row.
    fn filter(&mut self, input: &Chunk) -> Result<()> {
        if let Some(passed) = self.passed(input)? {
            let passed = passed.as_slice().iter().map(|&pair| pair as usize);
            for (to, from) in passed.clone().enumerate() {
                self.pairs.probe[to] = self.pairs.probe[from];
                self.pairs.build[to] = self.pairs.build[from];
            }
            self.pairs.probe.truncate(passed.len());
            self.pairs.build.truncate(passed.len());
        }
        Ok(())
    }

    /// Keeps the pairs that pass the residual and gives rows of which none has passed without
    /// match. The last row stays open when there may be more pairs.
    fn filter_left(&mut self, current: &mut Current, more: bool) -> Result<()> {
        let passed = self.passed(&current.chunk)?;
        let mut passed = passed.as_ref().map(|p| p.as_slice().iter().copied().peekable());
        let mut kept = Pairs::default();
        let mut candidate = 0;
        for (&row, &build) in self.pairs.probe.iter().zip(&self.pairs.build) {
            if current.open.is_none_or(|(open, _)| open != row) {
                close(current.open.replace((row, false)), &mut kept);
            }
            if build == NONE {
                continue;
            }
            let pass = passed.as_mut().is_none_or(|p| p.next_if_eq(&candidate).is_some());
            candidate += 1;
            if pass {
                kept.push(row, build);
                current.open = Some((row, true));
            }
        }
        if !more {
            close(current.open.take(), &mut kept);
        }
        self.pairs = kept;
        Ok(())
    }
}

/// Gives a row whose pairs have all been seen, unless one has passed.
fn close(open: Option<(u32, bool)>, pairs: &mut Pairs) {
    if let Some((row, false)) = open {
        pairs.push(row, NONE);
    }
}

impl Condition {
    fn new(residual: &Residual) -> Self {
        let conjunction = Conjunction::new(vec![residual.condition.clone()]);
        Condition { residual: residual.clone(), conjunction }
    }
}
