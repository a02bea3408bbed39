//! How values become states, and states one: a loop per state over the rows of a batch.
//!
//! A batch is rows with the group of each. Where groups are few, its rows are sorted by group (see
//! `cluster`), and a group's values are put together in registers before its row is touched.

use std::cell::Cell;

use arrow::array::Array;
use arrow::datatypes::i256;

use super::plan::{ExtremeKind, Fold, State};
use crate::batch::{Picked, Typed, float_key};
use crate::error::{Error, Result};
use crate::expr::BitOp;
use crate::expr::moments::{Moments, PairMoments};
use crate::memory::rows::{Fixed, RowPages, RowRef};

/// The groups of a batch's rows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Targets<'a> {
    /// One per row.
    Each(&'a [RowRef]),
    /// Rows before the end that no run before has are of one group.
    Runs(&'a [(RowRef, usize)]),
}

impl Targets<'_> {
    /// Calls `visit` with the number of every row and its group.
    pub(super) fn for_each(&self, mut visit: impl FnMut(usize, RowRef)) {
        match self {
            Targets::Each(rows) => {
                rows.iter().enumerate().for_each(|(number, &row)| visit(number, row));
            }
            Targets::Runs(runs) => {
                let mut start = 0;
                for &(row, end) in *runs {
                    (start..end).for_each(|number| visit(number, row));
                    start = end;
                }
            }
        }
    }
}

/// One state of all groups, and the values to fold into it.
pub(super) struct Folding<'a> {
    pub(super) rows: &'a mut RowPages,
    pub(super) state: &'a State,
    pub(super) targets: Targets<'a>,
}

impl Folding<'_> {
    /// Counts the rows of the batch.
    pub(super) fn count_rows(&mut self) {
        let slot = self.state.value;
        let rows = &mut *self.rows;
        let mut add = |row: RowRef, count: usize| {
            rows.set_slot(row, slot, rows.slot(row, slot) + count as u64);
        };
        match self.targets {
            Targets::Each(groups) => groups.iter().for_each(|&row| add(row, 1)),
            Targets::Runs(runs) => {
                let mut start = 0;
                for &(row, end) in runs {
                    add(row, end - start);
                    start = end;
                }
            }
        }
    }

    /// Folds the values of the batch; not for states in stores and those of pairs.
    ///
    /// # Errors
    /// `Input` when a sum does not fit its accumulator, `Internal` for values of a foreign type.
    pub(super) fn values(&mut self, picked: &Picked<'_>) -> Result<()> {
        let values = Typed::of(picked.array());
        if matches!(values, Typed::Null) {
            return Ok(());
        }
        match self.state.fold {
            Fold::CountRows => self.count_rows(),
            Fold::Count if picked.has_nulls() => self.run(picked, |_| 1_i64, |a, b| a + b),
            Fold::Count => self.count_rows(),
            Fold::SumInteger => {
                let overflow = Cell::new(false);
                let checked = |a, b| add_checked(a, b, &overflow);
                match values {
                    Typed::I128(v) => self.run(picked, |at| v[at], checked),
                    // Sums of less than 2^63 values of 64 bits cannot overflow.
                    _ => self.integers::<i128>(picked, values, i128::wrapping_add)?,
                }
                no_overflow(&overflow)?;
            }
            Fold::SumWide => {
                let overflow = Cell::new(false);
                let checked = |a, b| add_wide_checked(a, b, &overflow);
                match values {
                    Typed::I64(v) => self.run(picked, |at| i256::from_i128(v[at].into()), checked),
                    Typed::I128(v) => self.run(picked, |at| i256::from_i128(v[at]), checked),
                    Typed::I256(v) => self.run(picked, |at| v[at], checked),
                    _ => return Err(foreign(picked)),
                }
                no_overflow(&overflow)?;
            }
            Fold::SumFloat => self.floats(picked, values, |a, b| a + b)?,
            Fold::Extreme { kind, greatest } => self.extreme(picked, values, kind, greatest)?,
            Fold::Bits(BitOp::And) => self.integers::<i64>(picked, values, |a, b| a & b)?,
            Fold::Bits(BitOp::Or) => self.integers::<i64>(picked, values, |a, b| a | b)?,
            Fold::Bits(BitOp::Xor) => self.integers::<i64>(picked, values, |a, b| a ^ b)?,
            Fold::Moments => match values {
                Typed::F64(v) => self.run(picked, |at| Moments::of(v[at]), Moments::merge),
                _ => return Err(foreign(picked)),
            },
            Fold::PairMoments | Fold::Stored { .. } => {
                return Err(Error::internal("a state that is not of single values"));
            }
        }
        Ok(())
    }

    /// Folds the pairs of values of the batch; for [`Fold::PairMoments`].
    ///
    /// # Errors
    /// `Internal` for values of a foreign type.
    pub(super) fn pairs(&mut self, first: &Picked<'_>, second: &Picked<'_>) -> Result<()> {
        let (y, x) = match (Typed::of(first.array()), Typed::of(second.array())) {
            (Typed::Null, _) | (_, Typed::Null) => return Ok(()),
            (Typed::F64(y), Typed::F64(x)) => (y, x),
            (Typed::F64(_), _) => return Err(foreign(second)),
            _ => return Err(foreign(first)),
        };
        let nulls = first.has_nulls() || second.has_nulls();
        let (rows, state) = (&mut *self.rows, self.state);
        self.targets.for_each(|number, row| {
            if nulls && (first.is_null(number) || second.is_null(number)) {
                return;
            }
            let (y, x) = (y[first.at()[number] as usize], x[second.at()[number] as usize]);
            put(rows, row, state, PairMoments::of(y, x), &PairMoments::merge);
        });
        Ok(())
    }

    fn extreme(
        &mut self,
        picked: &Picked<'_>,
        values: Typed<'_>,
        kind: ExtremeKind,
        greatest: bool,
    ) -> Result<()> {
        match (kind, values, greatest) {
            (ExtremeKind::Float, _, true) => self.floats(picked, values, greater_float),
            (ExtremeKind::Float, _, false) => self.floats(picked, values, lesser_float),
            (ExtremeKind::Wide, Typed::I128(v), true) => {
                self.run(picked, |at| v[at], Ord::max);
                Ok(())
            }
            (ExtremeKind::Wide, Typed::I128(v), false) => {
                self.run(picked, |at| v[at], Ord::min);
                Ok(())
            }
            (ExtremeKind::Wide, _, true) => self.integers::<i128>(picked, values, Ord::max),
            (ExtremeKind::Wide, _, false) => self.integers::<i128>(picked, values, Ord::min),
            // The type says that the values fit, whatever they are held in.
            (ExtremeKind::Integer, Typed::I128(v), _) => {
                let fits =
                    |&at: &u32| picked.is_null_at(at) || i64::try_from(v[at as usize]).is_ok();
                if !picked.at().iter().all(fits) {
                    return Err(Error::overflow("a decimal", picked.array().data_type()));
                }
                let merge = if greatest { Ord::max } else { Ord::min };
                self.run(picked, |at| v[at] as i64, merge);
                Ok(())
            }
            (ExtremeKind::Integer, _, true) => self.integers::<i64>(picked, values, Ord::max),
            (ExtremeKind::Integer, _, false) => self.integers::<i64>(picked, values, Ord::min),
        }
    }

    /// Folds integers of at most 64 bits, widened to `A`.
    fn integers<A: Fixed + Widened>(
        &mut self,
        picked: &Picked<'_>,
        values: Typed<'_>,
        merge: impl Fn(A, A) -> A,
    ) -> Result<()> {
        match values {
            Typed::I8(v) => self.run(picked, |at| A::from_i64(v[at].into()), merge),
            Typed::I16(v) => self.run(picked, |at| A::from_i64(v[at].into()), merge),
            Typed::I32(v) => self.run(picked, |at| A::from_i64(v[at].into()), merge),
            Typed::I64(v) => self.run(picked, |at| A::from_i64(v[at]), merge),
            Typed::U8(v) => self.run(picked, |at| A::from_i64(v[at].into()), merge),
            Typed::U16(v) => self.run(picked, |at| A::from_i64(v[at].into()), merge),
            Typed::U32(v) => self.run(picked, |at| A::from_i64(v[at].into()), merge),
            Typed::U64(v) => self.run(picked, |at| A::from_u64(v[at]), merge),
            Typed::Bool(v) => self.run(picked, |at| A::from_i64(v.value(at).into()), merge),
            _ => return Err(foreign(picked)),
        }
        Ok(())
    }

    fn floats(
        &mut self,
        picked: &Picked<'_>,
        values: Typed<'_>,
        merge: impl Fn(f64, f64) -> f64,
    ) -> Result<()> {
        match values {
            Typed::F16(v) => self.run(picked, |at| f64::from(v[at]), merge),
            Typed::F32(v) => self.run(picked, |at| f64::from(v[at]), merge),
            Typed::F64(v) => self.run(picked, |at| v[at], merge),
            _ => return Err(foreign(picked)),
        }
        Ok(())
    }

    /// Folds `value` of the position of every row that is not NULL.
    fn run<A: Fixed>(
        &mut self,
        picked: &Picked<'_>,
        value: impl Fn(usize) -> A,
        merge: impl Fn(A, A) -> A,
    ) {
        let (at, nulls) = (picked.at(), picked.has_nulls());
        let value = |&at: &u32| value(at as usize);
        let valid = |at: &&u32| !picked.is_null_at(**at);
        match self.targets {
            Targets::Each(rows) => {
                for (&row, at) in rows.iter().zip(at) {
                    if !nulls || valid(&at) {
                        put(self.rows, row, self.state, value(at), &merge);
                    }
                }
            }
            Targets::Runs(runs) => {
                let mut start = 0;
                for &(row, end) in runs {
                    let at = &at[start..end];
                    let part = match nulls {
                        true => at.iter().filter(valid).map(value).reduce(&merge),
                        false => at.iter().map(value).reduce(&merge),
                    };
                    if let Some(part) = part {
                        put(self.rows, row, self.state, part, &merge);
                    }
                    start = end;
                }
            }
        }
    }
}

/// Merges the first row's state into the second's, for each pair; not for states in stores.
///
/// # Errors
/// `Input` when a sum does not fit its accumulator.
pub(super) fn merge_state(
    rows: &mut RowPages,
    state: &State,
    pairs: &[(RowRef, RowRef)],
) -> Result<()> {
    let overflow = Cell::new(false);
    match state.fold {
        Fold::CountRows | Fold::Count => merge_pairs(rows, state, pairs, |a: i64, b| a + b),
        Fold::SumInteger => {
            merge_pairs(rows, state, pairs, |a, b| add_checked(a, b, &overflow));
        }
        Fold::SumWide => {
            merge_pairs(rows, state, pairs, |a, b| add_wide_checked(a, b, &overflow));
        }
        Fold::SumFloat => merge_pairs(rows, state, pairs, |a: f64, b| a + b),
        Fold::Extreme { kind, greatest } => match (kind, greatest) {
            (ExtremeKind::Integer, true) => merge_pairs::<i64>(rows, state, pairs, Ord::max),
            (ExtremeKind::Integer, false) => merge_pairs::<i64>(rows, state, pairs, Ord::min),
            (ExtremeKind::Wide, true) => merge_pairs::<i128>(rows, state, pairs, Ord::max),
            (ExtremeKind::Wide, false) => merge_pairs::<i128>(rows, state, pairs, Ord::min),
            (ExtremeKind::Float, true) => merge_pairs(rows, state, pairs, greater_float),
            (ExtremeKind::Float, false) => merge_pairs(rows, state, pairs, lesser_float),
        },
        Fold::Bits(BitOp::And) => merge_pairs(rows, state, pairs, |a: i64, b| a & b),
        Fold::Bits(BitOp::Or) => merge_pairs(rows, state, pairs, |a: i64, b| a | b),
        Fold::Bits(BitOp::Xor) => merge_pairs(rows, state, pairs, |a: i64, b| a ^ b),
        Fold::Moments => merge_pairs(rows, state, pairs, Moments::merge),
        Fold::PairMoments => merge_pairs(rows, state, pairs, PairMoments::merge),
        Fold::Stored { .. } => return Err(Error::internal("a stored state is merged")),
    }
    no_overflow(&overflow)
}

fn merge_pairs<A: Fixed>(
    rows: &mut RowPages,
    state: &State,
    pairs: &[(RowRef, RowRef)],
    merge: impl Fn(A, A) -> A,
) {
    for &(from, to) in pairs {
        let other = rows.row(from);
        if state.seen.width == 0 || other[state.seen.offset] != 0 {
            let value = A::take(&other[state.value.offset..]);
            put(rows, to, state, value, &merge);
        }
    }
}

/// Puts a value into a group's state. Without a mark that there was a value, the state begins at
/// zero.
#[inline]
fn put<A: Fixed>(
    rows: &mut RowPages,
    row: RowRef,
    state: &State,
    value: A,
    merge: &impl Fn(A, A) -> A,
) {
    let bytes = rows.row_mut(row);
    let first = state.seen.width > 0 && std::mem::replace(&mut bytes[state.seen.offset], 1) == 0;
    let own = &mut bytes[state.value.offset..];
    let value = if first { value } else { merge(A::take(own), value) };
    value.put(own);
}

/// The integers that states are in.
trait Widened {
    fn from_i64(value: i64) -> Self;
    fn from_u64(value: u64) -> Self;
}

impl Widened for i64 {
    fn from_i64(value: i64) -> Self {
        value
    }

    fn from_u64(value: u64) -> Self {
        // The same bits: extremes, where the order matters, are kept in 128 of them.
        value as i64
    }
}

impl Widened for i128 {
    fn from_i64(value: i64) -> Self {
        value.into()
    }

    fn from_u64(value: u64) -> Self {
        value.into()
    }
}

fn add_checked(a: i128, b: i128, overflow: &Cell<bool>) -> i128 {
    a.checked_add(b).unwrap_or_else(|| {
        overflow.set(true);
        0
    })
}

fn add_wide_checked(a: i256, b: i256, overflow: &Cell<bool>) -> i256 {
    a.checked_add(b).unwrap_or_else(|| {
        overflow.set(true);
        i256::ZERO
    })
}

fn no_overflow(overflow: &Cell<bool>) -> Result<()> {
    match overflow.get() {
        true => Err(Error::overflow("sum", "any decimal")),
        false => Ok(()),
    }
}

/// The greater number: NaN is the greatest, and -0.0 is below 0.0 so that the choice is always
/// the same.
fn greater_float(a: f64, b: f64) -> f64 {
    if extreme_key(a).total_cmp(&extreme_key(b)).is_lt() { b } else { a }
}

fn lesser_float(a: f64, b: f64) -> f64 {
    if extreme_key(b).total_cmp(&extreme_key(a)).is_lt() { b } else { a }
}

fn extreme_key(value: f64) -> f64 {
    if value.is_nan() { float_key(value) } else { value }
}

fn foreign(picked: &Picked<'_>) -> Error {
    Error::internal(format!("an aggregate of values of type {}", picked.array().data_type()))
}
