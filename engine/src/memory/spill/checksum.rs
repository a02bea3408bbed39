//! The 64-bit checksum of spilled blocks.
//!
//! Four independent lanes of multiply and fold. Every step of a lane can be undone, so a change
//! in a single word always changes the sum, and any other damage does but for one in 2^64. Made
//! against faulty disks, not against malice. The sum depends on a seed: a block that is read from
//! the wrong place, or an old one, does not pass.

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const LANES: [u64; 4] =
    [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344, 0xa409_3822_299f_31d0, 0x082e_fa98_ec4e_6c89];

/// The checksum of `bytes` under `seed`.
pub fn checksum(bytes: &[u8], seed: u64) -> u64 {
    let mut lanes = LANES.map(|lane| lane ^ seed);
    let (words, rest) = bytes.as_chunks::<32>();
    for word in words {
        let (parts, _) = word.as_chunks::<8>();
        for (lane, part) in lanes.iter_mut().zip(parts) {
            *lane = step(*lane, u64::from_le_bytes(*part));
        }
    }
    let mut last = [0u8; 32];
    last[..rest.len()].copy_from_slice(rest);
    for (lane, part) in lanes.iter_mut().zip(last.as_chunks::<8>().0) {
        *lane = step(*lane, u64::from_le_bytes(*part));
    }
    lanes.iter().fold(bytes.len() as u64, |sum, &lane| step(sum.rotate_left(17), lane))
}

#[inline(always)]
fn step(lane: u64, word: u64) -> u64 {
    let mixed = (lane ^ word).wrapping_mul(MULTIPLIER);
    mixed ^ (mixed >> 29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_a_cut_and_another_seed_show() {
        for len in [0usize, 1, 7, 8, 31, 32, 33, 64, 100] {
            let mut bytes: Vec<u8> = (0..len).map(|i| (i * 37) as u8).collect();
            let sum = checksum(&bytes, 1);
            assert_ne!(sum, checksum(&bytes, 2));
            for bit in 0..len * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_ne!(sum, checksum(&bytes, 1), "bit {bit} of {len} bytes");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            bytes.push(0);
            assert_ne!(sum, checksum(&bytes, 1), "a zero more");
        }
    }
}
