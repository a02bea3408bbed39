//! Estimates how many distinct hashes there are: HyperLogLog with 4096 registers, off by 1.6 % as
//! a rule.

const INDEX_BITS: u32 = 12;
const REGISTERS: usize = 1 << INDEX_BITS;

/// See the module documentation.
#[derive(Debug, Clone)]
pub(super) struct Sketch {
    registers: [u8; REGISTERS],
}

impl Sketch {
    /// A sketch of nothing.
    pub(super) fn new() -> Self {
        Sketch { registers: [0; REGISTERS] }
    }

    /// Counts a hash.
    #[inline]
    pub(super) fn add(&mut self, hash: u64) {
        let register = &mut self.registers[(hash >> (u64::BITS - INDEX_BITS)) as usize];
        let rank = ((hash << INDEX_BITS).leading_zeros() + 1).min(u64::BITS - INDEX_BITS) as u8;
        *register = (*register).max(rank);
    }

    /// Distinct hashes so far, about.
    pub(super) fn estimate(&self) -> usize {
        let registers = REGISTERS as f64;
        let sum: f64 = self.registers.iter().map(|&r| 0.5_f64.powi(i32::from(r))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / registers) * registers * registers / sum;
        let empty = self.registers.iter().filter(|&&r| r == 0).count();
        let estimate = match empty {
            1.. if raw <= 2.5 * registers => registers * (registers / empty as f64).ln(),
            _ => raw,
        };
        estimate as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::hash_word;

    #[test]
    fn estimates_are_close() {
        for distinct in [0u64, 10, 1000, 10_000, 300_000] {
            let mut sketch = Sketch::new();
            for word in (0..distinct).chain(0..distinct / 2) {
                sketch.add(hash_word(word));
            }
            let estimate = sketch.estimate() as f64;
            let off = (estimate - distinct as f64).abs();
            assert!(off <= 0.06 * distinct as f64 + 1.0, "{distinct}: {estimate}");
        }
    }
}
