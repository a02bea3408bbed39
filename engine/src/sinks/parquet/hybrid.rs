//! Small numbers as runs: Parquet's hybrid of run-length and bit-packed encoding, for dictionary
//! codes and definition levels.

use crate::thrift::write_varint;

/// A repetition shorter than this is bit-packed with its neighbours.
const REPEAT_MIN: usize = 24;

/// Bits that the numbers below `count` need.
pub(super) fn bits_below(count: usize) -> u32 {
    usize::BITS - count.saturating_sub(1).leading_zeros()
}

/// Appends `values`, each of at most `bits` bits, to `out`.
pub(super) fn encode(values: &[u32], bits: u32, out: &mut Vec<u8>) {
    let (mut at, mut packed) = (0, 0);
    while at < values.len() {
        let value = values[at];
        let repeats = values[at..].iter().take_while(|&&other| other == value).count();
        // Packed runs hold multiples of eight values: some of the repeats may fill one up.
        let fill = (at - packed).next_multiple_of(8) - (at - packed);
        if repeats >= fill + REPEAT_MIN {
            pack(&values[packed..at + fill], bits, out);
            repeat(value, repeats - fill, bits, out);
            packed = at + repeats;
        }
        at += repeats;
    }
    pack(&values[packed..], bits, out);
}

/// Appends a value that is repeated.
pub(super) fn repeat(value: u32, times: usize, bits: u32, out: &mut Vec<u8>) {
    write_varint((times as u64) << 1, out);
    out.extend_from_slice(&value.to_le_bytes()[..bits.div_ceil(8) as usize]);
}

/// One bit-packed run, filled up with zeros.
fn pack(values: &[u32], bits: u32, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let groups = values.len().div_ceil(8);
    write_varint((groups as u64) << 1 | 1, out);
    let end = out.len() + groups * bits as usize;
    out.reserve(groups * bits as usize + 8);
    let (mut word, mut used) = (0u64, 0);
    for &value in values {
        word |= u64::from(value) << used;
        used += bits;
        if used >= 32 {
            out.extend_from_slice(&(word as u32).to_le_bytes());
            word >>= 32;
            used -= 32;
        }
    }
    out.extend_from_slice(&word.to_le_bytes());
    out.resize(end, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second reading of the format.
    fn decode(mut bytes: &[u8], bits: u32, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        while values.len() < count {
            let mut header = 0u64;
            for shift in (0..).step_by(7) {
                let byte = bytes[0];
                bytes = &bytes[1..];
                header |= u64::from(byte & 0x7f) << shift;
                if byte < 0x80 {
                    break;
                }
            }
            let length = (header >> 1) as usize;
            if header & 1 == 0 {
                let width = bits.div_ceil(8) as usize;
                let mut word = [0; 4];
                word[..width].copy_from_slice(&bytes[..width]);
                values.extend(vec![u32::from_le_bytes(word); length]);
                bytes = &bytes[width..];
            } else {
                let bit = |n: usize| u32::from(bytes[n / 8] >> (n % 8) & 1);
                for value in 0..length * 8 {
                    let at = value * bits as usize;
                    values.push((0..bits as usize).map(|b| bit(at + b) << b).sum());
                }
                bytes = &bytes[length * bits as usize..];
            }
        }
        assert!(bytes.is_empty());
        values.truncate(count);
        values
    }

    #[test]
    fn runs_and_single_values_come_back() {
        let mut state = 7u64;
        let mut random = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u32
        };
        for bits in [1, 2, 5, 8, 11, 17, 31, 32] {
            let mask = u32::MAX >> (32 - bits);
            let mut values = Vec::new();
            for _ in 0..40 {
                let (repeats, value) = (random() % 60, random() & mask);
                values.extend(vec![value; if random() % 3 == 0 { repeats as usize } else { 1 }]);
                let mut bytes = Vec::new();
                encode(&values, bits, &mut bytes);
                assert_eq!(decode(&bytes, bits, values.len()), values, "{bits} bits");
            }
        }
        let mut bytes = Vec::new();
        encode(&[3; 1000], 2, &mut bytes);
        assert_eq!(bytes, [0xd0, 0x0f, 3]);
        assert_eq!([0, 1, 2, 3, 4, 5, 256, 257].map(bits_below), [0, 0, 1, 2, 2, 3, 8, 9]);
    }
}
