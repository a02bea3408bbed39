//! Values by their rank in a group: percentiles, and the n-th value.
//!
//! The values of a group come in order. They are kept until the group ends, because only then it
//! is known which ones are wanted. Where there is no memory for that they are counted, and the
//! wanted ones are picked when the group is read a second time.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal64Array, Decimal128Array, Float64Array, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::picks::Picks;
use crate::batch::{Typed, physical_type};
use crate::error::{Error, Result};
use crate::expr::{OrderedKind, Place, between};

/// See the module documentation.
pub(super) struct Ranks {
    target: OrderedKind,
    data_type: DataType,
    /// The values so far; none when there is no memory for them.
    kept: Option<Vec<Piece>>,
    /// Bytes of the arrays they are in, of those that have been counted.
    kept_bytes: usize,
    /// Whether the last of the arrays has not been counted.
    is_new: bool,
    count: u64,
    /// What is picked in a second pass, and the values gone by.
    wanted: Option<Place>,
    seen: u64,
    found: [Option<Found>; 2],
    results: Results,
}

/// Values of an array, side by side.
struct Piece {
    array: ArrayRef,
    start: usize,
    len: usize,
}

/// One value of an array.
type Found = (ArrayRef, usize);

enum Results {
    Picked(Picks),
    Doubles(Vec<Option<f64>>),
    Integers(Vec<Option<i128>>),
}

impl Ranks {
    /// For arguments and results of these logical types.
    pub(super) fn new(target: OrderedKind, argument: &DataType, data_type: &DataType) -> Self {
        let physical = physical_type(data_type);
        let results = match &target {
            OrderedKind::PercentileCont { .. } if physical.is_floating() => {
                Results::Doubles(Vec::new())
            }
            OrderedKind::PercentileCont { .. } => Results::Integers(Vec::new()),
            _ => Results::Picked(Picks::new(&physical_type(argument))),
        };
        Ranks {
            target,
            data_type: data_type.clone(),
            kept: Some(Vec::new()),
            kept_bytes: 0,
            is_new: false,
            count: 0,
            wanted: None,
            seen: 0,
            found: [None, None],
            results,
        }
    }

    /// Takes values of the open group.
    pub(super) fn rows(&mut self, array: &ArrayRef, rows: Range<usize>) {
        self.count += rows.len() as u64;
        if let Some(kept) = &mut self.kept
            && !rows.is_empty()
        {
            kept.push(Piece { array: array.clone(), start: rows.start, len: rows.len() });
            self.is_new = true;
        }
    }

    /// Keeps the values no longer; the group has to be read again.
    pub(super) fn forget(&mut self) {
        self.kept = None;
        (self.kept_bytes, self.is_new) = (0, false);
    }

    /// Whether the open group has to be read again before it can be closed.
    pub(super) fn has_forgotten(&self) -> bool {
        self.kept.is_none()
    }

    /// Begins the second pass over the open group.
    pub(super) fn begin_again(&mut self) {
        self.wanted = Place::of(&self.target, self.count);
        self.seen = 0;
        self.found = [None, None];
    }

    /// Looks at values of the second pass.
    pub(super) fn look(&mut self, array: &ArrayRef, rows: Range<usize>) {
        if let Some(wanted) = self.wanted {
            for (found, rank) in self.found.iter_mut().zip(wanted.ranks) {
                if let Some(behind) = rank.checked_sub(self.seen)
                    && behind < rows.len() as u64
                {
                    *found = Some((array.clone(), rows.start + behind as usize));
                }
            }
        }
        self.seen += rows.len() as u64;
    }

    /// Notes the result of the open group, and opens the next.
    ///
    /// # Errors
    /// `Internal` for values of a foreign type.
    pub(super) fn close(&mut self) -> Result<()> {
        let place = Place::of(&self.target, self.count);
        let found = match (&self.kept, place) {
            (_, None) => [None, None],
            (Some(kept), Some(place)) => place.ranks.map(|rank| find(kept, rank)),
            (None, Some(_)) => std::mem::take(&mut self.found),
        };
        let (part, is_none) = (place.map_or(0.0, |place| place.part), place.is_none());
        match (&mut self.results, found) {
            (Results::Picked(picks), [Some((array, row)), _]) => picks.push(&array, row),
            (Results::Picked(picks), _) if is_none => picks.push_null(),
            (Results::Doubles(results), _) if is_none => results.push(None),
            (Results::Integers(results), _) if is_none => results.push(None),
            (Results::Doubles(results), [Some(low), Some(high)]) => {
                let (low, high) = (double(&low)?, double(&high)?);
                results.push(Some(between(low, high, part)));
            }
            (Results::Integers(results), [Some(low), Some(high)]) => {
                let (low, high) = (integer(&low)?, integer(&high)?);
                // Two decimals of 38 digits can be further apart than 128 bits tell.
                let apart = high.checked_sub(low).map(|apart| apart as f64);
                let apart = apart.unwrap_or(high as f64 - low as f64);
                results.push(Some(low.saturating_add((apart * part).round() as i128)));
            }
            _ => return Err(Error::internal("a group has fewer rows when it is read again")),
        }
        self.kept = Some(Vec::new());
        (self.kept_bytes, self.is_new) = (0, false);
        self.count = 0;
        self.wanted = None;
        Ok(())
    }

    /// Bytes held; to be asked for once after the rows of each batch.
    pub(super) fn held_bytes(&mut self) -> usize {
        let is_new = std::mem::take(&mut self.is_new);
        let last = self.kept.as_ref().and_then(|kept| kept.last()).filter(|_| is_new);
        self.kept_bytes += last.map_or(0, |piece| piece.array.get_array_memory_size());
        match &self.results {
            Results::Picked(picks) => self.kept_bytes + picks.bytes(),
            _ => self.kept_bytes,
        }
    }

    /// Arrays that results hold on to.
    pub(super) fn arrays(&self) -> usize {
        match &self.results {
            Results::Picked(picks) => picks.arrays(),
            _ => 0,
        }
    }

    /// The results so far, of the physical type.
    ///
    /// # Errors
    /// `Input` when a result does not fit its type.
    pub(super) fn finish(&mut self) -> Result<ArrayRef> {
        let physical = physical_type(&self.data_type);
        Ok(match &mut self.results {
            Results::Picked(picks) => picks.finish()?,
            Results::Doubles(results) => {
                let doubles: ArrayRef = Arc::new(Float64Array::from(std::mem::take(results)));
                cast(&doubles, &physical)?
            }
            Results::Integers(results) => {
                let results = std::mem::take(results);
                let narrow = || -> Vec<Option<i64>> {
                    // A value between two of 64 bits has as many.
                    results.iter().map(|v| v.map(|v| v as i64)).collect()
                };
                match physical {
                    DataType::Decimal64(p, s) => {
                        Arc::new(Decimal64Array::from(narrow()).with_precision_and_scale(p, s)?)
                    }
                    DataType::Decimal128(p, s) => {
                        Arc::new(Decimal128Array::from(results).with_precision_and_scale(p, s)?)
                    }
                    other => {
                        let integers: ArrayRef = Arc::new(Int64Array::from(narrow()));
                        cast(&integers, &other)?
                    }
                }
            }
        })
    }
}

fn find(kept: &[Piece], mut rank: u64) -> Option<Found> {
    for piece in kept {
        if rank < piece.len as u64 {
            return Some((piece.array.clone(), piece.start + rank as usize));
        }
        rank -= piece.len as u64;
    }
    None
}

fn double((array, row): &Found) -> Result<f64> {
    match Typed::of(array) {
        Typed::F64(v) => Ok(v[*row]),
        Typed::F32(v) => Ok(v[*row].into()),
        Typed::F16(v) => Ok(v[*row].into()),
        _ => Err(foreign(array)),
    }
}

fn integer((array, row): &Found) -> Result<i128> {
    match Typed::of(array) {
        Typed::I32(v) => Ok(v[*row].into()),
        Typed::I64(v) => Ok(v[*row].into()),
        Typed::I128(v) => Ok(v[*row]),
        _ => Err(foreign(array)),
    }
}

fn foreign(array: &ArrayRef) -> Error {
    Error::input(format!("there is nothing between two values of type {}", array.data_type()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_kept_or_in_a_second_pass() {
        let first: ArrayRef = Arc::new(Int64Array::from(vec![9, 1, 2]));
        let second: ArrayRef = Arc::new(Int64Array::from(vec![4, 7]));
        for forget in [false, true] {
            let target = OrderedKind::Nth { position: -2 };
            let mut ranks = Ranks::new(target, &DataType::Int64, &DataType::Int64);
            ranks.rows(&first, 1..3);
            if forget {
                ranks.forget();
            }
            ranks.rows(&second, 0..2);
            assert_eq!(ranks.has_forgotten(), forget);
            if forget {
                ranks.begin_again();
                ranks.look(&first, 1..3);
                ranks.look(&second, 0..2);
            }
            ranks.close().expect("closes");
            ranks.close().expect("closes");
            let results = ranks.finish().expect("finishes");
            let expected: ArrayRef = Arc::new(Int64Array::from(vec![Some(4), None]));
            assert_eq!(results.as_ref(), expected.as_ref());
        }
    }
}
