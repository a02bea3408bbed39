//! Loops over the rows of one or two operands, each an array or a constant.
//!
//! The loops are monomorphic in the shape of their operands and have no branch in their bodies, so
//! that the compiler turns them into vector code where the machine has the instruction.

use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};

/// Values of an operand: one a row, or one for all.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values<'a, T> {
    /// One value a row.
    Each(&'a [T]),
    /// One value for all rows.
    One(T),
}

impl<'a, T: Copy> Values<'a, T> {
    /// The first value for all rows when `constant`.
    pub fn new(values: &'a [T], constant: bool) -> Self {
        match values {
            [value] if constant => Values::One(*value),
            _ => Values::Each(values),
        }
    }

    /// Number of values, unless there is one for all rows.
    pub fn len(&self) -> Option<usize> {
        match self {
            Values::Each(values) => Some(values.len()),
            Values::One(_) => None,
        }
    }

    /// The values of rows `[start, end)`.
    pub fn slice(&self, start: usize, end: usize) -> Self {
        match self {
            Values::Each(values) => Values::Each(&values[start..end]),
            Values::One(value) => Values::One(*value),
        }
    }

    /// The value of one row.
    pub fn at(&self, row: usize) -> T {
        match self {
            Values::Each(values) => values[row],
            Values::One(value) => *value,
        }
    }
}

/// `f` of every row.
pub(super) fn map<A: Copy, B: Copy, R: Copy>(
    rows: usize,
    left: Values<'_, A>,
    right: Values<'_, B>,
    f: impl Fn(A, B) -> R,
) -> Vec<R> {
    let mut out = Vec::with_capacity(rows);
    extend(&mut out, rows, left, right, f);
    out
}

/// Appends `f` of every row.
pub(super) fn extend<A: Copy, B: Copy, R: Copy>(
    out: &mut Vec<R>,
    rows: usize,
    left: Values<'_, A>,
    right: Values<'_, B>,
    f: impl Fn(A, B) -> R,
) {
    match (left, right) {
        (Values::Each(l), Values::Each(r)) => out.extend(l.iter().zip(r).map(|(&l, &r)| f(l, r))),
        (Values::Each(l), Values::One(r)) => out.extend(l.iter().map(|&l| f(l, r))),
        (Values::One(l), Values::Each(r)) => out.extend(r.iter().map(|&r| f(l, r))),
        (Values::One(l), Values::One(r)) => out.resize(out.len() + rows, f(l, r)),
    }
}

/// Whether `f` holds in any row. Looks at all of them: trouble is rare.
pub(super) fn any<A: Copy, B: Copy>(
    left: Values<'_, A>,
    right: Values<'_, B>,
    f: impl Fn(A, B) -> bool,
) -> bool {
    match (left, right) {
        (Values::Each(l), Values::Each(r)) => {
            l.iter().zip(r).fold(false, |any, (&l, &r)| any | f(l, r))
        }
        (Values::Each(l), Values::One(r)) => l.iter().fold(false, |any, &l| any | f(l, r)),
        (Values::One(l), Values::Each(r)) => r.iter().fold(false, |any, &r| any | f(l, r)),
        (Values::One(l), Values::One(r)) => f(l, r),
    }
}

/// `f` of every row that is not NULL, zero elsewhere; stops at the first error.
pub(super) fn try_map<A: Copy, B: Copy, R: Copy + Default, E>(
    rows: usize,
    left: Values<'_, A>,
    right: Values<'_, B>,
    nulls: Option<&NullBuffer>,
    f: impl Fn(A, B) -> Result<R, E>,
) -> Result<Vec<R>, E> {
    let mut out = vec![R::default(); rows];
    match nulls {
        None => {
            for (row, slot) in out.iter_mut().enumerate() {
                *slot = f(left.at(row), right.at(row))?;
            }
        }
        Some(nulls) => {
            for row in nulls.valid_indices() {
                out[row] = f(left.at(row), right.at(row))?;
            }
        }
    }
    Ok(out)
}

/// The rows among `rows` for which `f` holds. Every row is written, and overwritten by the next
/// if it does not: no branch depends on the values.
pub(super) fn keep<A: Copy, B: Copy>(
    left: Values<'_, A>,
    right: Values<'_, B>,
    rows: &[u32],
    f: impl Fn(A, B) -> bool,
) -> Vec<u32> {
    let mut kept = vec![0; rows.len()];
    let mut count = 0;
    let mut each = |row: u32, holds: bool| {
        kept[count] = row;
        count += usize::from(holds);
    };
    match (left, right) {
        (Values::Each(l), Values::Each(r)) => {
            rows.iter().for_each(|&row| each(row, f(l[row as usize], r[row as usize])));
        }
        (Values::Each(l), Values::One(r)) => {
            rows.iter().for_each(|&row| each(row, f(l[row as usize], r)));
        }
        (Values::One(l), Values::Each(r)) => {
            rows.iter().for_each(|&row| each(row, f(l, r[row as usize])));
        }
        (Values::One(l), Values::One(r)) => rows.iter().for_each(|&row| each(row, f(l, r))),
    }
    kept.truncate(count);
    kept
}

/// A bit per row: whether `f` holds.
pub(super) fn bits<A: Copy, B: Copy>(
    rows: usize,
    left: Values<'_, A>,
    right: Values<'_, B>,
    f: impl Fn(A, B) -> bool,
) -> BooleanBuffer {
    match (left, right) {
        (Values::Each(l), Values::Each(r)) => {
            let mut words = Vec::with_capacity(rows.div_ceil(64));
            for (l, r) in l.chunks(64).zip(r.chunks(64)) {
                let mut flags = [0u8; 64];
                for (flag, (&l, &r)) in flags.iter_mut().zip(l.iter().zip(r)) {
                    *flag = u8::from(f(l, r));
                }
                words.push(pack(&flags));
            }
            BooleanBuffer::new(Buffer::from_vec(words), 0, rows)
        }
        (Values::Each(l), Values::One(r)) => bits_of(l, |l| f(l, r)),
        (Values::One(l), Values::Each(r)) => bits_of(r, |r| f(l, r)),
        (Values::One(l), Values::One(r)) if f(l, r) => BooleanBuffer::new_set(rows),
        (Values::One(_), Values::One(_)) => BooleanBuffer::new_unset(rows),
    }
}

/// A bit per value: whether `f` holds.
pub(super) fn bits_of<T: Copy>(values: &[T], f: impl Fn(T) -> bool) -> BooleanBuffer {
    let mut words = Vec::with_capacity(values.len().div_ceil(64));
    for chunk in values.chunks(64) {
        let mut flags = [0u8; 64];
        for (flag, &value) in flags.iter_mut().zip(chunk) {
            *flag = u8::from(f(value));
        }
        words.push(pack(&flags));
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, values.len())
}

/// Bit `i` of the result is byte `i`, which is 0 or 1. Each multiplication moves the lowest bits
/// of eight bytes into the highest byte.
fn pack(flags: &[u8; 64]) -> u64 {
    let mut word = 0;
    for (i, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        let gathered = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word |= gathered << (8 * i);
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_agree_with_the_predicate_at_every_length() {
        for len in [0, 1, 7, 63, 64, 65, 128, 200] {
            let left: Vec<i32> = (0..len).map(|i| i * 7 % 11).collect();
            let right: Vec<i32> = (0..len).map(|i| i * 5 % 13).collect();
            let rows = left.len();
            let shapes = [
                (Values::Each(&left[..]), Values::Each(&right[..])),
                (Values::Each(&left[..]), Values::One(4)),
                (Values::One(4), Values::Each(&right[..])),
                (Values::One(3), Values::One(4)),
            ];
            for (l, r) in shapes {
                let packed = bits(rows, l, r, |l, r| l < r);
                let expected: Vec<bool> = (0..rows).map(|i| l.at(i) < r.at(i)).collect();
                assert_eq!(packed.iter().collect::<Vec<_>>(), expected, "{len} rows");
            }
        }
    }
}
