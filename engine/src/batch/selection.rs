//! The live rows of a chunk.

use arrow::array::{Array, BooleanArray};
use arrow::buffer::ScalarBuffer;

/// Positions of the live rows in a chunk, strictly increasing. Cloning shares the positions.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    rows: ScalarBuffer<u32>,
}

impl Selection {
    /// Takes positions that are strictly increasing.
    pub fn new(rows: Vec<u32>) -> Self {
        debug_assert!(rows.windows(2).all(|w| w[0] < w[1]), "a selection increases strictly");
        Selection { rows: rows.into() }
    }

    /// The rows where `mask` is true; NULL counts as false, as in a WHERE clause.
    pub fn from_mask(mask: &BooleanArray) -> Self {
        let live = match mask.nulls() {
            Some(nulls) => mask.values() & nulls.inner(),
            None => mask.values().clone(),
        };
        let mut rows = vec![0u32; live.len().next_multiple_of(64)];
        let mut count = 0;
        let chunks = live.bit_chunks();
        for (number, word) in chunks.iter().chain([chunks.remainder_bits()]).enumerate() {
            let Some(out) = rows[count..].first_chunk_mut() else { break };
            count += set_bits(word, number as u32 * 64, out);
        }
        rows.truncate(count);
        Selection { rows: rows.into() }
    }

    /// The positions.
    pub fn as_slice(&self) -> &[u32] {
        &self.rows
    }

    /// Number of live rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no row is live.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The positions without copying them.
    pub fn buffer(&self) -> &ScalarBuffer<u32> {
        &self.rows
    }

    /// The rows `[offset, offset + len)` of the live ones.
    pub fn slice(&self, offset: usize, len: usize) -> Self {
        Selection { rows: self.rows.slice(offset, len) }
    }

    /// The rows that `numbers` names by their number among the live ones.
    pub fn pick(&self, numbers: &Selection) -> Self {
        let rows: Vec<u32> = numbers.as_slice().iter().map(|&n| self.rows[n as usize]).collect();
        Selection { rows: rows.into() }
    }

    /// The rows that are not in `others`, all of which are in this selection.
    pub fn without(&self, others: &Selection) -> Self {
        let mut rows = Vec::with_capacity(self.len().saturating_sub(others.len()));
        let mut others = others.as_slice().iter().peekable();
        for &row in self.rows.iter() {
            if others.next_if_eq(&&row).is_none() {
                rows.push(row);
            }
        }
        Selection { rows: rows.into() }
    }
}

/// The positions of the bits set in a byte, in order, and then zeros.
static POSITIONS: [[u8; 8]; 256] = {
    let mut table = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut count) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                table[byte][count] = bit as u8;
                count += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    table
};

/// Writes the positions of the bits set, from `first` on, and returns how many they are.
fn set_bits(word: u64, first: u32, out: &mut [u32; 64]) -> usize {
    const FEW: u32 = 12;
    let count = word.count_ones();
    if word == u64::MAX {
        out.iter_mut().zip(first..).for_each(|(slot, row)| *slot = row);
    } else if count <= FEW {
        let mut rest = word;
        for slot in out.iter_mut().take(count as usize) {
            *slot = first + rest.trailing_zeros();
            rest &= rest - 1;
        }
    } else {
        let mut next = 0;
        for (byte, first) in word.to_le_bytes().into_iter().zip((first..).step_by(8)) {
            // Eight rows are written, those not set are overwritten by the next byte's.
            if let Some(slots) = out.get_mut(next..next + 8) {
                let positions = &POSITIONS[byte as usize];
                slots.iter_mut().zip(positions).for_each(|(slot, &at)| *slot = first + at as u32);
            }
            next += byte.count_ones() as usize;
        }
    }
    count as usize
}

impl From<Vec<u32>> for Selection {
    fn from(rows: Vec<u32>) -> Self {
        Selection::new(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_of_every_density_and_offset() {
        for percent in [0, 3, 30, 70, 97, 100] {
            let bits: Vec<bool> = (0..333u32).map(|i| (i * 7919 % 101) < percent + 1).collect();
            let bits: Vec<Option<bool>> = bits
                .iter()
                .enumerate()
                .map(|(i, &bit)| (i % 17 != 0 || percent == 100).then_some(bit || percent == 100))
                .collect();
            for (offset, len) in [(0, 333), (0, 64), (5, 128), (77, 256), (3, 0), (320, 13)] {
                let mask = BooleanArray::from(bits.clone()).slice(offset, len);
                let expected: Vec<u32> =
                    (0..len as u32).filter(|&i| bits[offset + i as usize] == Some(true)).collect();
                assert_eq!(Selection::from_mask(&mask).as_slice(), expected, "{percent} {offset}");
            }
        }
    }
}
