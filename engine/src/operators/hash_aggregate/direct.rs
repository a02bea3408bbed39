//! The shortest way to a group: keys of few possible values are a number, and the number is an
//! index into a list of groups.
//!
//! A key column has *codes* when its chunk is indexed over a dictionary (the code is the position
//! in the dictionary), Boolean, or of integers within a small range. The codes of all keys together
//! make one number below [`CODES_MAX`]. A number that comes up for the first time is looked up like
//! any other key, so this is only a map in front of the table: when a dictionary changes, or a
//! range must grow, it is emptied.

use arrow::array::Array;

use super::table::GroupTable;
use crate::batch::{Column, Domain, Form, NULL_INDEX, Picked, Typed, pick};
use crate::memory::rows::RowRef;

/// The most combinations of codes.
const CODES_MAX: usize = 1 << 16;

/// The most codes of one column of integers.
const RANGE_MAX: i64 = 1 << 12;

/// Stands for a combination that has no group yet.
const UNKNOWN: u32 = u32::MAX;

/// How the values of one key column become codes. Code 0 is NULL.
#[derive(Debug, Clone, PartialEq)]
enum Coding {
    Dictionary {
        domain: Domain,
        values: usize,
    },
    Bool,
    /// Integers `low..=high`.
    Range {
        low: i64,
        high: i64,
    },
}

impl Coding {
    fn codes(&self) -> usize {
        match self {
            Coding::Dictionary { values, .. } => values + 1,
            Coding::Bool => 3,
            Coding::Range { low, high } => (high - low) as usize + 2,
        }
    }
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct DirectMap {
    codings: Vec<Coding>,
    /// By combination of codes, a number into `groups`.
    map: Vec<u32>,
    groups: Vec<RowRef>,
    /// The table's generation that `groups` refers to.
    generation: u64,
    /// Set when a column of integers has shown a wide range.
    given_up: bool,
    codes: Vec<u32>,
}

impl DirectMap {
    /// The number of each row's group (see [`DirectMap::groups`]), if all keys have codes. Rows
    /// whose combination is new come into `unknown`, with their number [`u32::MAX`]: their groups
    /// are to be told with [`DirectMap::learn`].
    pub(super) fn numbers(
        &mut self,
        table: &GroupTable,
        keys: &[&Column],
        positions: &[u32],
        numbers: &mut Vec<u32>,
        unknown: &mut Vec<u32>,
    ) -> bool {
        if self.given_up || keys.is_empty() || table.is_appending() {
            return false;
        }
        let picked = pick(keys.iter().copied(), positions);
        if !self.prepare(table, keys, &picked) {
            return false;
        }
        self.codes.clear();
        self.codes.resize(positions.len(), 0);
        for (coding, picked) in self.codings.iter().zip(&picked) {
            add_codes(coding, picked, &mut self.codes);
        }
        numbers.clear();
        unknown.clear();
        numbers.extend(self.codes.iter().map(|&code| self.map[code as usize]));
        if numbers.contains(&UNKNOWN) {
            let rows = numbers.iter().enumerate().filter(|(_, number)| **number == UNKNOWN);
            unknown.extend(rows.map(|(row, _)| row as u32));
            // One row stands for all that have the same combination.
            unknown.sort_by_key(|&row| self.codes[row as usize]);
            unknown.dedup_by_key(|row| self.codes[*row as usize]);
        }
        true
    }

    /// Takes the groups of the unknown rows, and completes the numbers.
    pub(super) fn learn(&mut self, unknown: &[u32], groups: &[RowRef], numbers: &mut [u32]) {
        for (&row, &group) in unknown.iter().zip(groups) {
            self.map[self.codes[row as usize] as usize] = self.groups.len() as u32;
            self.groups.push(group);
        }
        for (number, &code) in numbers.iter_mut().zip(&self.codes) {
            if *number == UNKNOWN {
                *number = self.map[code as usize];
            }
        }
    }

    /// The groups by number.
    pub(super) fn groups(&self) -> &[RowRef] {
        &self.groups
    }

    /// Makes the codings fit this chunk; false when some key has no codes.
    fn prepare(&mut self, table: &GroupTable, keys: &[&Column], picked: &[Picked<'_>]) -> bool {
        if !keys.iter().zip(picked).all(|(column, picked)| may_have_codes(column, picked)) {
            return false;
        }
        let mut codings = Vec::with_capacity(keys.len());
        for (number, (column, picked)) in keys.iter().zip(picked).enumerate() {
            let Some(coding) = coding(column, picked, self.codings.get(number)) else {
                // Dictionaries may become smaller again, ranges do not.
                self.given_up = !is_dictionary(column);
                return false;
            };
            codings.push(coding);
        }
        let sizes = codings.iter().map(Coding::codes);
        let size = sizes.fold(1usize, |all, codes| all.saturating_mul(codes));
        if size > CODES_MAX {
            return false;
        }
        if codings != self.codings || table.generation != self.generation {
            self.codings = codings;
            self.generation = table.generation;
            self.map.clear();
            self.map.resize(size, UNKNOWN);
            self.groups.clear();
        }
        true
    }
}

fn is_dictionary(column: &Column) -> bool {
    matches!(column.form(), Form::Indexed(indexed) if indexed.domain.is_some())
}

/// Whether it makes sense to look at the values of the column.
fn may_have_codes(column: &Column, picked: &Picked<'_>) -> bool {
    is_dictionary(column)
        || !matches!(
            Typed::of(picked.array()),
            Typed::Views(..)
                | Typed::Nested
                | Typed::Null
                | Typed::F64(_)
                | Typed::F32(_)
                | Typed::F16(_)
                | Typed::I128(_)
                | Typed::I256(_)
                | Typed::U64(_)
                | Typed::DayTime(_)
                | Typed::MonthDayNano(_)
        )
}

/// How this chunk's values become codes: as before, if they can.
fn coding(column: &Column, picked: &Picked<'_>, before: Option<&Coding>) -> Option<Coding> {
    if let Form::Indexed(indexed) = column.form()
        && let Some(domain) = indexed.domain
    {
        let values = indexed.base.len();
        return (values < CODES_MAX).then_some(Coding::Dictionary { domain, values });
    }
    let (mut low, mut high) = match Typed::of(picked.array()) {
        Typed::Bool(_) => return Some(Coding::Bool),
        Typed::I8(v) => range(picked, |at| v[at].into()),
        Typed::I16(v) => range(picked, |at| v[at].into()),
        Typed::I32(v) => range(picked, |at| v[at].into()),
        Typed::I64(v) => range(picked, |at| v[at]),
        Typed::U8(v) => range(picked, |at| v[at].into()),
        Typed::U16(v) => range(picked, |at| v[at].into()),
        Typed::U32(v) => range(picked, |at| v[at].into()),
        _ => return None,
    };
    if let Some(&Coding::Range { low: low_before, high: high_before }) = before {
        (low, high) = (low.min(low_before), high.max(high_before));
    }
    if low > high {
        // Nothing but NULL.
        (low, high) = (0, 0);
    }
    let small = high.checked_sub(low).is_some_and(|range| range < RANGE_MAX);
    small.then_some(Coding::Range { low, high })
}

fn range(picked: &Picked<'_>, value: impl Fn(usize) -> i64) -> (i64, i64) {
    let fold = |(low, high): (i64, i64), &at: &u32| {
        let value = value(at as usize);
        (low.min(value), high.max(value))
    };
    match picked.has_nulls() {
        false => picked.at().iter().fold((i64::MAX, i64::MIN), fold),
        true => {
            let valid = picked.at().iter().filter(|&&at| !picked.is_null_at(at));
            valid.fold((i64::MAX, i64::MIN), fold)
        }
    }
}

/// Makes room in every row's number for this column's code, and adds it.
fn add_codes(coding: &Coding, picked: &Picked<'_>, codes: &mut [u32]) {
    let size = coding.codes() as u32;
    let add = |codes: &mut [u32], code: &dyn Fn(u32) -> u32| {
        for (number, &at) in codes.iter_mut().zip(picked.at()) {
            *number = *number * size + code(at);
        }
    };
    match (coding, Typed::of(picked.array())) {
        (Coding::Dictionary { .. }, _) => {
            for (number, &at) in codes.iter_mut().zip(picked.at()) {
                // NULL_INDEX wraps around to 0.
                *number = *number * size + at.wrapping_add(1);
            }
        }
        (Coding::Range { low, .. }, Typed::I32(v)) if !picked.has_nulls() => {
            for (number, &at) in codes.iter_mut().zip(picked.at()) {
                *number = *number * size + (i64::from(v[at as usize]) - low) as u32 + 1;
            }
        }
        (Coding::Range { low, .. }, Typed::I64(v)) if !picked.has_nulls() => {
            for (number, &at) in codes.iter_mut().zip(picked.at()) {
                *number = *number * size + (v[at as usize] - low) as u32 + 1;
            }
        }
        (Coding::Bool, Typed::Bool(v)) => add(codes, &|at| match picked.is_null_at(at) {
            true => 0,
            false => 1 + u32::from(v.value(at as usize)),
        }),
        (Coding::Range { low, .. }, values) => add(codes, &|at| match picked.is_null_at(at) {
            true => 0,
            false => (integer_at(values, at as usize) - low) as u32 + 1,
        }),
        (Coding::Bool, _) => (),
    }
}

/// An integer of any of the types that have ranges.
fn integer_at(values: Typed<'_>, at: usize) -> i64 {
    match values {
        Typed::I8(v) => v[at].into(),
        Typed::I16(v) => v[at].into(),
        Typed::I32(v) => v[at].into(),
        Typed::I64(v) => v[at],
        Typed::U8(v) => v[at].into(),
        Typed::U16(v) => v[at].into(),
        Typed::U32(v) => v[at].into(),
        _ => 0,
    }
}

const _: () = assert!(NULL_INDEX.wrapping_add(1) == 0, "the code of NULL");
