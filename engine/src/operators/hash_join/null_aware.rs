//! IN with NULLs, out of three tests for existence.
//!
//! `x IN (set)` is TRUE when a member equals x; else NULL when a member is NULL, or x is NULL and
//! the set has members; else FALSE. The members of a probe row are the build rows that agree with
//! it on the keys behind the first, and pass the residual. So one build side fills three tables:
//! * **equal**, of all keys: does a member equal x;
//! * **any**, of the keys behind the first: is there a member; asked where x is NULL;
//! * **null**, of the same keys, with the rows whose first key is NULL: is a member NULL.
//!
//! A NULL among the keys behind the first makes a build row nobody's member.

use std::sync::Arc;

use arrow::datatypes::Schema;

use super::matcher::Matcher;
use super::shape::{Shape, Shared};
use super::{HashJoin, JoinKind};
use crate::batch::{Chunk, Selection, pick};
use crate::error::Result;
use crate::memory::Governor;
use crate::pipeline::Context;

/// The tables beside the one of all keys.
#[derive(Clone)]
pub(super) struct Members {
    pub(super) any: Arc<Shared>,
    pub(super) null: Arc<Shared>,
}

impl Members {
    /// The tables that a null-aware join needs; `None` for another.
    ///
    /// # Errors
    /// As [`Shape::new`].
    pub(super) fn new(
        spec: &HashJoin,
        probe: &Schema,
        build: &Schema,
        may_spill: bool,
    ) -> Result<Option<Self>> {
        let Some(&in_key) = spec.build_keys.first().filter(|_| spec.null_aware) else {
            return Ok(None);
        };
        let others = HashJoin {
            kind: JoinKind::Semi,
            probe_keys: spec.probe_keys.iter().skip(1).copied().collect(),
            build_keys: spec.build_keys.iter().skip(1).copied().collect(),
            build_output: Vec::new(),
            null_aware: false,
            ..spec.clone()
        };
        let shape = || Shape::new(&others, probe, build);
        let any = Arc::new(Shared::new(shape()?, None, may_spill));
        let null = Shape { only_null: Some(in_key), ..shape()? };
        Ok(Some(Members { any, null: Arc::new(Shared::new(null, None, may_spill)) }))
    }

    /// Whether rows of one of the tables are out of memory.
    pub(super) fn are_spilled(&self) -> bool {
        self.any.lanes().is_some() || self.null.lanes().is_some()
    }
}

/// Whether rows of one of a join's tables are out of memory.
pub(super) fn is_spilled(shared: &Shared, members: Option<&Members>) -> bool {
    shared.lanes().is_some() || members.is_some_and(Members::are_spilled)
}

/// One worker's view of the tables.
pub(super) struct MemberMatcher {
    any: Matcher,
    null: Matcher,
    /// The probe column of the first key.
    in_key: usize,
}

impl MemberMatcher {
    /// # Errors
    /// `Internal` when the tables are not made yet.
    pub(super) fn new(members: &Members, in_key: usize, memory: &Governor) -> Result<Self> {
        let any = Matcher::new(&members.any, members.any.table()?, memory)?;
        let null = Matcher::new(&members.null, members.null.table()?, memory)?;
        Ok(MemberMatcher { any, null, in_key })
    }

    /// Whether no probe row has a member.
    pub(super) fn is_empty(&self) -> bool {
        self.any.table.is_empty()
    }

    /// Whether every probe row has a NULL among its members.
    pub(super) fn all_have_null(&self) -> bool {
        let shape = &self.null.shared.shape;
        shape.build_keys.is_empty() && shape.residual.is_none() && !self.null.table.is_empty()
    }

    /// For which live rows IN is NULL, given those for which it is TRUE.
    ///
    /// # Errors
    /// As [`Matcher::existing`].
    pub(super) fn unknown(
        &mut self,
        input: &Chunk,
        matched: &[bool],
        cx: &Context,
    ) -> Result<Vec<bool>> {
        let mut unknown = vec![false; matched.len()];
        let open: Vec<usize> = (0..matched.len()).filter(|&row| !matched[row]).collect();
        test(&mut self.null, input, &open, &mut unknown, cx)?;
        let key = pick([input.column(self.in_key)?], input.live_positions());
        let open = open.into_iter().filter(|&row| !unknown[row]);
        let open: Vec<usize> = match key.first() {
            Some(key) if key.has_nulls() => open.filter(|&row| key.is_null(row)).collect(),
            _ => Vec::new(),
        };
        test(&mut self.any, input, &open, &mut unknown, cx)?;
        Ok(unknown)
    }
}

/// Sets what is found for those live rows whose numbers are `rows`.
fn test(
    matcher: &mut Matcher,
    input: &Chunk,
    rows: &[usize],
    found: &mut [bool],
    cx: &Context,
) -> Result<()> {
    if rows.is_empty() || matcher.table.is_empty() {
        return Ok(());
    }
    let live = input.live_positions();
    let narrowed = input.clone().select(Selection::new(rows.iter().map(|&r| live[r]).collect()));
    let matched = matcher.existing(&narrowed, cx)?;
    rows.iter().zip(matched).for_each(|(&row, matched)| found[row] = matched);
    Ok(())
}
