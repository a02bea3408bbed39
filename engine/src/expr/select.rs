//! Conditions as filters: which rows are live after them.
//!
//! A filter needs no third value: NULL does not pass. So AND narrows the selection condition by
//! condition, OR tries each condition on the rows that have not passed yet, and only what is
//! neither is evaluated to a column of Booleans.

use arrow::array::{Array, BooleanArray};
use arrow::buffer::BooleanBuffer;

use super::compile::{Kind, Node};
use super::evaluate::as_boolean;
use super::kernels::Operand;
use super::kernels::compare::pick;
use super::logic::is_cheap;
use super::view::View;
use crate::batch::{Column, Form, Selection};
use crate::error::Result;

impl Node {
    /// The live rows for which the condition is true, as physical rows of the view; `None` when
    /// all are.
    pub(super) fn select(&mut self, view: &View<'_>) -> Result<Option<Selection>> {
        if view.live() == 0 {
            return Ok(None);
        }
        if let Some(column) = self.remembered(view)? {
            return passing(&column, view);
        }
        if let Kind::Compare { op, operands: [left, right] } = &self.kind
            && let Some(live) = view.selection()
            && let (Some(left), Some(right)) = (left.given(view)?, right.given(view)?)
            && let Some(rows) = pick(*op, &left, &right, live.as_slice())
        {
            return Ok(some_of(Selection::new(rows), view));
        }
        match &mut self.kind {
            Kind::And(list) => select_all(list, view, Node::select),
            Kind::Or(list) if view.selection().is_some() || !is_cheap(list) => {
                select_any(list, view)
            }
            _ if view.is_thin(self.cost, self.reads.len()) => {
                let columns = view.gather(&self.reads)?;
                let together = view.dense(&columns, view.live());
                let numbers = passing(&self.compute(&together)?, &together)?;
                Ok(numbers.map(|numbers| match view.selection() {
                    Some(live) => live.pick(&numbers),
                    None => numbers,
                }))
            }
            _ => passing(&self.compute(view)?, view),
        }
    }

    /// The operand as it stands, when the node is a flat column or a constant.
    fn given(&self, view: &View<'_>) -> Result<Option<Operand>> {
        let column = match &self.kind {
            Kind::Column(index) => view.column(*index)?,
            Kind::Literal(column) => column,
            _ => return Ok(None),
        };
        Ok(match column.form() {
            Form::Flat(array) => Some(Operand { array: array.clone(), constant: false }),
            Form::Constant(array) => Some(Operand { array: array.clone(), constant: true }),
            Form::Indexed(_) => None,
        })
    }
}

/// The live rows that pass every condition, where `select` gives those that pass one; `None` when
/// all do.
pub(super) fn select_all<C>(
    conditions: &mut [C],
    view: &View<'_>,
    select: impl Fn(&mut C, &View<'_>) -> Result<Option<Selection>>,
) -> Result<Option<Selection>> {
    let mut passed: Option<Selection> = None;
    for condition in conditions {
        let narrowed = match &passed {
            Some(passed) if passed.is_empty() => break,
            Some(passed) => select(condition, &view.narrowed(passed))?,
            None => select(condition, view)?,
        };
        passed = narrowed.or(passed);
    }
    Ok(passed)
}

/// Rows that pass some condition.
fn select_any(list: &mut [Node], view: &View<'_>) -> Result<Option<Selection>> {
    let mut rest = view.live_rows();
    for node in list {
        match node.select(&view.narrowed(&rest))? {
            None => return Ok(None),
            Some(passed) => rest = rest.without(&passed),
        }
    }
    Ok(Some(view.live_rows().without(&rest)))
}

/// The live rows where a column of Booleans is true; `None` when it is in all.
pub(super) fn passing(column: &Column, view: &View<'_>) -> Result<Option<Selection>> {
    let rows = match column.form() {
        Form::Constant(value) => {
            let value = as_boolean(value)?;
            if value.is_valid(0) && value.value(0) {
                return Ok(None);
            }
            return Ok(Some(Selection::new(Vec::new())));
        }
        Form::Flat(values) => {
            let mask = as_boolean(values)?;
            match view.selection() {
                None => return Ok(some_of(Selection::from_mask(mask), view)),
                Some(live) => {
                    let passes = true_only(mask);
                    keep(live.as_slice(), |row| passes.value(row as usize))
                }
            }
        }
        Form::Indexed(indexed) => {
            let passes = true_only(as_boolean(&indexed.base)?);
            let indices = indexed.indices.as_slice();
            if passes.len() <= indices.len() {
                let passes: Vec<u8> = passes.iter().map(u8::from).collect();
                // NULL_INDEX is beyond the end.
                keep_at(indices, view, |at| passes.get(at).is_some_and(|&passes| passes == 1))
            } else {
                keep_at(indices, view, |at| at < passes.len() && passes.value(at))
            }
        }
    };
    Ok(some_of(Selection::new(rows), view))
}

/// Where values are true and not NULL.
fn true_only(mask: &BooleanArray) -> BooleanBuffer {
    match mask.nulls() {
        Some(nulls) => mask.values() & nulls.inner(),
        None => mask.values().clone(),
    }
}

/// The live rows of which the value that their index leads to holds.
fn keep_at(indices: &[u32], view: &View<'_>, holds: impl Fn(usize) -> bool) -> Vec<u32> {
    match view.selection() {
        Some(live) => keep(live.as_slice(), |row| holds(indices[row as usize] as usize)),
        None => {
            let mut kept = vec![0; view.rows()];
            let mut count = 0;
            for (row, &at) in (0..view.rows() as u32).zip(indices) {
                kept[count] = row;
                count += usize::from(holds(at as usize));
            }
            kept.truncate(count);
            kept
        }
    }
}

fn some_of(selection: Selection, view: &View<'_>) -> Option<Selection> {
    (selection.len() < view.live()).then_some(selection)
}

/// The rows that hold, found without branches on what they hold.
fn keep(rows: &[u32], holds: impl Fn(u32) -> bool) -> Vec<u32> {
    let mut kept = vec![0; rows.len()];
    let mut count = 0;
    for &row in rows {
        kept[count] = row;
        count += usize::from(holds(row));
    }
    kept.truncate(count);
    kept
}
