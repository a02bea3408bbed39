//! Which bytes of a block have a meaning, as bit masks.
//!
//! Every byte of a file goes through here, so the wide registers of the processor at hand are
//! used where there are some: over lineitem of TPC-H the masks take a fifth of the time that they
//! take in words of eight bytes, which was a third of a scan of three columns. The compiler does
//! not find this by itself, because code for any processor may not use them.
//!
//! Invariant 1: both ways give the same masks.

use super::structure::Marks;

/// Bytes in a block, one bit each in a mask.
pub(super) const BLOCK: usize = 64;

/// A block of bytes.
pub(super) type Block = [u8; BLOCK];

/// Where the marks stand in one block; bit `i` is byte `i`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Masks {
    pub(super) quote: u64,
    pub(super) delimiter: u64,
    pub(super) newline: u64,
    pub(super) comment: u64,
}

/// Calls `each` with every block, in order, and its masks.
pub(super) fn for_each_block(blocks: &[Block], marks: &Marks, each: impl FnMut(&Block, Masks)) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") {
        // SAFETY: the processor has what the function is compiled for.
        unsafe { in_vectors(blocks, marks, each) };
        return;
    }
    in_words(blocks, marks, each);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1")]
fn in_vectors(blocks: &[Block], marks: &Marks, mut each: impl FnMut(&Block, Masks)) {
    use std::arch::x86_64::{__m256i, _mm256_cmpeq_epi8, _mm256_movemask_epi8};
    use std::arch::x86_64::{_mm256_set_epi64x, _mm256_set1_epi8};
    let equal = |halves: [__m256i; 2], mark: u8| {
        let mark = _mm256_set1_epi8(mark.cast_signed());
        let bits = |half| _mm256_movemask_epi8(_mm256_cmpeq_epi8(half, mark)).cast_unsigned();
        u64::from(bits(halves[0])) | u64::from(bits(halves[1])) << 32
    };
    for block in blocks {
        let word = |i: usize| word(block, i).cast_signed();
        let halves =
            [0, 4].map(|i| _mm256_set_epi64x(word(i + 3), word(i + 2), word(i + 1), word(i)));
        let masks = Masks {
            quote: marks.quote.map_or(0, |mark| equal(halves, mark)),
            delimiter: equal(halves, marks.delimiter),
            newline: equal(halves, marks.newline),
            comment: marks.comment.map_or(0, |mark| equal(halves, mark)),
        };
        each(block, masks);
    }
}

/// Compares eight bytes at a time.
fn in_words(blocks: &[Block], marks: &Marks, mut each: impl FnMut(&Block, Masks)) {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // The eighth bits of the bytes, gathered into one byte.
    let gather = |bits: u64| ((bits & HIGH) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56;
    for block in blocks {
        let mut masks = Masks { quote: 0, delimiter: 0, newline: 0, comment: 0 };
        for lane in 0..BLOCK / 8 {
            let word = word(block, lane);
            let equal = |mark: u8| {
                let other = word ^ (LOW * u64::from(mark));
                // A byte is zero when neither its low seven bits nor its eighth are set.
                let nonzero = ((other & !HIGH) + !HIGH) | other;
                gather(!nonzero) << (lane * 8)
            };
            masks.delimiter |= equal(marks.delimiter);
            masks.newline |= equal(marks.newline);
            masks.quote |= marks.quote.map_or(0, equal);
            masks.comment |= marks.comment.map_or(0, equal);
        }
        each(block, masks);
    }
}

/// Eight bytes of a block, the first one lowest.
#[inline(always)]
fn word(block: &Block, number: usize) -> u64 {
    let (words, _) = block.as_chunks::<8>();
    u64::from_le_bytes(words[number])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(
        blocks: &[Block],
        marks: &Marks,
        run: impl Fn(&[Block], &Marks, &mut dyn FnMut(&Block, Masks)),
    ) -> Vec<Masks> {
        let mut found = Vec::new();
        run(blocks, marks, &mut |_, masks| found.push(masks));
        found
    }

    #[test]
    fn every_way_gives_the_masks_of_each_byte() {
        let mut state = 1_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize
        };
        let all = Marks {
            delimiter: b',',
            newline: b'\n',
            quote: Some(b'"'),
            escape: None,
            comment: Some(b'#'),
        };
        let few = Marks { delimiter: b'\n', quote: None, comment: None, ..all };
        // Neighbours of the marks, and bytes that differ from them in the eighth bit.
        let alphabet = b",\n\"#-+\x0b\x09!$\xac\x8a\xa2\xa3\x00\xff";
        for _ in 0..200 {
            let blocks: Vec<Block> = (0..3)
                .map(|_| std::array::from_fn(|_| alphabet[next() % alphabet.len()]))
                .collect();
            for marks in [all, few] {
                let mask = |block: &Block, mark: Option<u8>| {
                    let bits = block.iter().enumerate();
                    bits.map(|(i, &byte)| u64::from(Some(byte) == mark) << i).sum::<u64>()
                };
                let each = |block: &Block| Masks {
                    quote: mask(block, marks.quote),
                    delimiter: mask(block, Some(marks.delimiter)),
                    newline: mask(block, Some(marks.newline)),
                    comment: mask(block, marks.comment),
                };
                let expected: Vec<Masks> = blocks.iter().map(each).collect();
                let in_words = collect(&blocks, &marks, |b, m, each| in_words(b, m, each));
                assert_eq!(in_words, expected);
                let found = collect(&blocks, &marks, |b, m, each| for_each_block(b, m, each));
                assert_eq!(found, expected);
            }
        }
    }
}
