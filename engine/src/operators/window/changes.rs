//! Where keys change from one row to the next.
//!
//! Every row gets a mark: 0 for the first row of all, otherwise one more than the number of the
//! first key that differs from the row before; one more than the number of keys when none does. A
//! row begins a new group by the first `n` keys when its mark is at most `n`.
//!
//! Equal keys are those that sort as equal: NULL equals NULL, NaN equals NaN, -0.0 equals 0.0.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::concat;

use crate::batch::{Half, Picked, Typed, float_key, nested_keys};
use crate::error::Result;

/// Marks the rows of one chunk after another.
pub(super) struct Changes {
    /// The key columns.
    keys: Vec<usize>,
    /// Of each key column the last value; none before the first row.
    last: Vec<ArrayRef>,
    is_first: bool,
}

impl Changes {
    pub(super) fn new(keys: Vec<usize>) -> Self {
        Changes { keys, last: Vec::new(), is_first: true }
    }

    /// The next row is the first of all.
    pub(super) fn restart(&mut self) {
        self.last.clear();
        self.is_first = true;
    }

    /// The marks of the rows of these columns.
    ///
    /// # Errors
    /// `Input` when a key has a type that cannot be compared.
    pub(super) fn mark(&mut self, columns: &[ArrayRef], rows: usize) -> Result<Vec<u16>> {
        let unchanged = self.keys.len() as u16 + 1;
        let mut marks = vec![unchanged; rows];
        if rows == 0 {
            return Ok(marks);
        }
        // From the last key to the first: what an earlier key marks stays.
        for (number, &key) in self.keys.iter().enumerate().rev() {
            let mark = number as u16 + 1;
            let column = &columns[key];
            mark_column(column, mark, &mut marks)?;
            if let Some(last) = self.last.get(number) {
                let border = concat(&[last.as_ref(), &column.slice(0, 1)])?;
                let mut pair = [unchanged, unchanged];
                mark_column(&border, mark, &mut pair)?;
                marks[0] = marks[0].min(pair[1]);
            }
        }
        if std::mem::take(&mut self.is_first) {
            marks[0] = 0;
        }
        // A copy of its own: a slice would hold on to the whole chunk.
        let last = |&key: &usize| Ok(concat(&[&columns[key].slice(rows - 1, 1)])?);
        self.last = self.keys.iter().map(last).collect::<Result<_>>()?;
        Ok(marks)
    }
}

/// Sets the mark of every row but the first whose value differs from that of the row before.
fn mark_column(column: &ArrayRef, mark: u16, marks: &mut [u16]) -> Result<()> {
    match Typed::of(column) {
        Typed::Bool(v) => mark_where(column, mark, marks, |a, b| v.value(a) != v.value(b)),
        Typed::I8(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::I16(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::I32(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::I64(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::U8(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::U16(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::U32(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::U64(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::I128(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::I256(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::DayTime(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::MonthDayNano(v) => mark_where(column, mark, marks, |a, b| v[a] != v[b]),
        Typed::F16(v) => {
            let key = |v: Half| float_key(v.into()).to_bits();
            mark_where(column, mark, marks, |a, b| key(v[a]) != key(v[b]));
        }
        Typed::F32(v) => {
            let key = |v: f32| float_key(v.into()).to_bits();
            mark_where(column, mark, marks, |a, b| key(v[a]) != key(v[b]));
        }
        Typed::F64(v) => {
            let key = |v: f64| float_key(v).to_bits();
            mark_where(column, mark, marks, |a, b| key(v[a]) != key(v[b]));
        }
        Typed::Views(views, _) => {
            let bytes = |row: usize| match column.as_string_view_opt() {
                Some(text) => text.value(row).as_bytes(),
                None => column.as_binary_view().value(row),
            };
            mark_where(column, mark, marks, |a, b| {
                let (x, y) = (views[a], views[b]);
                // The length and the first four bytes are in the view, short values entirely.
                x != y && (x as u64 != y as u64 || x as u32 <= 12 || bytes(a) != bytes(b))
            });
        }
        Typed::Null => (),
        Typed::Nested => {
            let at: Vec<u32> = (0..column.len() as u32).collect();
            let rows = nested_keys(&Picked::of_array(column, &at))?;
            mark_where(column, mark, marks, |a, b| rows.row(a) != rows.row(b));
        }
    }
    Ok(())
}

/// `differs` is asked of rows that are both not NULL.
fn mark_where(
    column: &ArrayRef,
    mark: u16,
    marks: &mut [u16],
    differs: impl Fn(usize, usize) -> bool,
) {
    match column.nulls().filter(|nulls| nulls.null_count() > 0) {
        None => {
            for (row, slot) in marks.iter_mut().enumerate().skip(1) {
                *slot = if differs(row - 1, row) { mark } else { *slot };
            }
        }
        Some(nulls) => {
            for (row, slot) in marks.iter_mut().enumerate().skip(1) {
                let changed = match (nulls.is_null(row - 1), nulls.is_null(row)) {
                    (true, true) => false,
                    (false, false) => differs(row - 1, row),
                    _ => true,
                };
                *slot = if changed { mark } else { *slot };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int32Array, StringViewArray};

    use super::*;

    #[test]
    fn marks_name_the_first_key_that_changes_across_chunks() {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![None, None, Some(1), Some(1)]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.0, -0.0, f64::NAN, -f64::NAN]));
        let long = "a text of more than twelve bytes";
        let texts: ArrayRef = Arc::new(StringViewArray::from(vec![
            long,
            long,
            "a text of more than twelve others",
            "a",
        ]));
        let columns = [texts, floats, numbers];
        let mut changes = Changes::new(vec![2, 1, 0]);
        assert_eq!(changes.mark(&columns, 4).expect("marks"), [0, 4, 1, 3]);
        let tail: Vec<ArrayRef> = columns.iter().map(|c| c.slice(3, 1)).collect();
        assert_eq!(changes.mark(&tail, 1).expect("marks"), [4]);
        assert_eq!(changes.mark(&columns, 4).expect("marks"), [1, 4, 1, 3]);
        changes.restart();
        assert_eq!(changes.mark(&tail, 1).expect("marks"), [0]);
        let mut none = Changes::new(Vec::new());
        assert_eq!(none.mark(&columns, 4).expect("marks"), [0, 1, 1, 1]);
        assert_eq!(none.mark(&columns, 4).expect("marks"), [1, 1, 1, 1]);
    }
}
