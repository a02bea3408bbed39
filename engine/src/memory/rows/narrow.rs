//! Rows of fixed width without the bytes that are the same in all of them: numbers are rarely as
//! large as their types, and texts rarely as long as their places.
//!
//! ```text
//! piece   = | rows u32 | width u32 | segments u32 | template | segment … | row … | 8 zeros |
//! segment = | place of a word of 8 bytes u32 | first byte in it u8 | bytes u8 |
//! row     = | bytes of each segment … |
//! ```
//!
//! The template is a row whose bytes are those that all have, and zero in the segments. A segment
//! is written as a whole word, of which the next one takes back what is too much, hence the zeros.

/// Bytes of a word, and of what stands behind the last row.
const WORD: usize = 8;

/// Bytes of what stands before the template, and of a segment.
const HEAD_BYTES: usize = 12;
const SEGMENT_BYTES: usize = 6;

/// Bytes side by side, in a word of a row, that are not the same in all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    /// Where the word begins.
    at: usize,
    /// Where the bytes begin in it.
    first: usize,
    bytes: usize,
}

/// How rows are narrowed; kept for the next ones for its memory.
#[derive(Debug, Default)]
pub(super) struct Narrow {
    template: Vec<u8>,
    /// By word: which bits differ from the first row in any row.
    differs: Vec<u64>,
    segments: Vec<Segment>,
    row_bytes: usize,
}

impl Narrow {
    /// The most bytes of a piece of so many rows.
    pub(super) fn bytes_max(rows: usize, width: usize) -> usize {
        HEAD_BYTES + width + SEGMENT_BYTES * width + rows * width + WORD
    }

    /// Looks at the rows that are narrowed next; `width` is a multiple of 8 and not 0.
    pub(super) fn look_at(&mut self, rows: &[u8], width: usize) {
        self.template.clear();
        self.template.extend_from_slice(&rows[..width.min(rows.len())]);
        self.differs.clear();
        self.differs.resize(width / WORD, 0);
        let (first, _) = self.template.as_chunks::<WORD>();
        for row in rows.chunks_exact(width) {
            let (words, _) = row.as_chunks::<WORD>();
            for ((differs, word), first) in self.differs.iter_mut().zip(words).zip(first) {
                *differs |= u64::from_le_bytes(*word) ^ u64::from_le_bytes(*first);
            }
        }
        self.segments.clear();
        for (number, &differs) in self.differs.iter().enumerate() {
            let at = number * WORD;
            let differs = differs.to_le_bytes();
            let mut first = 0;
            while first < WORD {
                let bytes = differs[first..].iter().take_while(|&&byte| byte != 0).count();
                if bytes > 0 {
                    self.template[at + first..][..bytes].fill(0);
                    self.segments.push(Segment { at, first, bytes });
                }
                first += bytes + 1;
            }
        }
        self.row_bytes = self.segments.iter().map(|segment| segment.bytes).sum();
    }

    /// Bytes of a piece of so many of the rows that were looked at.
    pub(super) fn piece_bytes(&self, rows: usize) -> usize {
        let table = SEGMENT_BYTES * self.segments.len();
        HEAD_BYTES + self.template.len() + table + rows * self.row_bytes + WORD
    }

    /// Appends a piece of the rows that were looked at.
    pub(super) fn put(&self, rows: &[u8], to: &mut Vec<u8>) {
        let width = self.template.len();
        let count = rows.len() / width;
        for number in [count, width, self.segments.len()] {
            to.extend_from_slice(&(number as u32).to_le_bytes());
        }
        to.extend_from_slice(&self.template);
        for segment in &self.segments {
            to.extend_from_slice(&(segment.at as u32).to_le_bytes());
            to.extend_from_slice(&[segment.first as u8, segment.bytes as u8]);
        }
        let begin = to.len();
        to.resize(begin + count * self.row_bytes + WORD, 0);
        let mut rest = &mut to[begin..];
        for row in rows.chunks_exact(width) {
            for segment in &self.segments {
                let word = word(&row[segment.at..]) >> (8 * segment.first);
                if let Some(place) = rest.first_chunk_mut::<WORD>() {
                    *place = word.to_le_bytes();
                }
                rest = &mut rest[segment.bytes..];
            }
        }
        // What the last word had too much.
        rest.fill(0);
    }
}

/// Rows and bytes of a row of a piece; `None` when it is none.
pub(super) fn piece_shape(piece: &[u8]) -> Option<(usize, usize)> {
    let rows = u32::from_le_bytes(*piece.first_chunk::<4>()?);
    let width = u32::from_le_bytes(*piece.get(4..)?.first_chunk::<4>()?);
    Some((rows as usize, width as usize))
}

/// Appends the rows of a piece as they were to others, which come to `most` bytes at most; `None`
/// when it is none or has more.
pub(super) fn widen(piece: &[u8], most: usize, to: &mut Vec<u8>) -> Option<()> {
    let (rows, width) = piece_shape(piece)?;
    if rows.checked_mul(width)?.checked_add(to.len())? > most || rows == 0 || width == 0 {
        return None;
    }
    let segments = u32::from_le_bytes(*piece.get(8..)?.first_chunk::<4>()?) as usize;
    let (template, rest) = piece.get(HEAD_BYTES..)?.split_at_checked(width)?;
    let (table, mut rest) = rest.split_at_checked(segments.checked_mul(SEGMENT_BYTES)?)?;
    let mut segments = Vec::with_capacity(segments);
    for entry in table.as_chunks::<SEGMENT_BYTES>().0 {
        let [a, b, c, d, first, bytes] = *entry;
        let at = u32::from_le_bytes([a, b, c, d]) as usize;
        let (first, bytes) = (usize::from(first), usize::from(bytes));
        if at.checked_add(WORD)? > width || bytes == 0 || first + bytes > WORD {
            return None;
        }
        let mask = u64::MAX >> (8 * (WORD - bytes));
        segments.push((at, 8 * first, bytes, mask));
    }
    let row_bytes: usize = segments.iter().map(|segment| segment.2).sum();
    if rows.checked_mul(row_bytes)?.checked_add(WORD)? != rest.len() {
        return None;
    }
    for _ in 0..rows {
        let begin = to.len();
        to.extend_from_slice(template);
        let row = &mut to[begin..];
        for &(at, shift, bytes, mask) in &segments {
            let place = row[at..].first_chunk_mut::<WORD>()?;
            let bits = (word(rest) & mask) << shift;
            *place = (u64::from_le_bytes(*place) | bits).to_le_bytes();
            rest = &rest[bytes..];
        }
    }
    Some(())
}

/// The word at the front, which is there.
#[inline(always)]
fn word(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<WORD>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random numbers; see Steele and Vigna, "Computationally easy, spectrally good multipliers".
    struct Numbers(u64);

    impl Numbers {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
            self.0 ^ (self.0 >> 29)
        }
    }

    #[test]
    fn rows_come_back_and_take_what_differs() {
        let mut numbers = Numbers(7);
        let mut narrow = Narrow::default();
        for case in 0..300 {
            let words = 1 + numbers.next() as usize % 9;
            let count = 1 + numbers.next() as usize % 70;
            // Which bytes differ between rows, and what all have.
            let masks: Vec<u64> = (0..words)
                .map(|_| match numbers.next() % 4 {
                    0 => 0,
                    1 => 0xff_ffff,
                    2 => (0..8).map(|b| ((numbers.next() % 2) * 0xff) << (8 * b)).sum(),
                    _ => u64::MAX,
                })
                .collect();
            let base: Vec<u64> = (0..words).map(|_| numbers.next()).collect();
            let mut rows = Vec::new();
            for _ in 0..count {
                for (base, mask) in base.iter().zip(&masks) {
                    let word = (base & !mask) | (numbers.next() & mask);
                    rows.extend_from_slice(&word.to_le_bytes());
                }
            }
            let width = words * WORD;
            narrow.look_at(&rows, width);
            let mut piece = vec![1, 2, 3];
            narrow.put(&rows, &mut piece);
            let piece = piece.split_off(3);
            assert_eq!(piece.len(), narrow.piece_bytes(count), "case {case}");
            assert!(piece.len() <= Narrow::bytes_max(count, width), "case {case}");
            let differing: u32 = masks.iter().map(|mask| mask.count_ones() / 8).sum();
            let most = HEAD_BYTES + (1 + SEGMENT_BYTES) * width + count * differing as usize + WORD;
            assert!(piece.len() <= most, "case {case}");
            assert_eq!(piece_shape(&piece), Some((count, width)));
            let mut back = vec![9];
            assert_eq!(widen(&piece, rows.len(), &mut Vec::from([9])), None, "too many");
            assert_eq!(widen(&piece, rows.len() + 1, &mut back), Some(()), "case {case}");
            assert_eq!(back[0], 9);
            assert!(back[1..] == rows, "case {case}");
        }
    }

    #[test]
    fn what_is_no_piece_is_no_rows() {
        let rows: Vec<u8> = (0..64).collect();
        let mut narrow = Narrow::default();
        narrow.look_at(&rows, 16);
        let mut piece = Vec::new();
        narrow.put(&rows, &mut piece);
        for len in 0..piece.len() {
            assert_eq!(widen(&piece[..len], 64, &mut Vec::new()), None, "{len} bytes");
        }
        // Rows more than there are, a segment behind the row, one of 9 bytes.
        for (at, value) in [(0, 9), (HEAD_BYTES + 16, 12), (HEAD_BYTES + 16 + 5, 9)] {
            let mut other = piece.clone();
            other[at] = value;
            assert_eq!(widen(&other, 4096, &mut Vec::new()), None, "byte {at}");
        }
    }
}
