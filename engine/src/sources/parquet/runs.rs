//! Decodes the hybrid of runs and packed bits that Parquet stores levels and dictionary codes in.
//!
//! The data is a sequence of runs: `n` times one value, or `8 n` values of `width` bits each. A
//! [`Runs`] holds positions only; the bytes are passed to every call, because they sit in a buffer
//! that is used again for the next page.

/// The data ended, or said something impossible, before all values were there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

/// Where a decoder is in its data.
#[derive(Debug, Clone, Default)]
pub(super) struct Runs {
    /// Bits of a value, at most 32.
    width: usize,
    /// Position in the data after the head of the current run, and for packed bits its start.
    position: usize,
    end: usize,
    run: Run,
}

#[derive(Debug, Clone, Copy)]
enum Run {
    /// One value, this many times.
    Same { value: u32, left: usize },
    /// Packed values; `next` counts from the start of the run.
    Packed { start: usize, next: usize, left: usize },
}

impl Default for Run {
    fn default() -> Self {
        Run::Same { value: 0, left: 0 }
    }
}

impl Runs {
    /// A decoder of `width`-bit values in the bytes `[start, end)` of the data passed later.
    pub fn new(width: u8, start: usize, end: usize) -> Result<Runs, Broken> {
        if width > 32 {
            return Err(Broken);
        }
        Ok(Runs { width: usize::from(width), position: start, end, run: Run::default() })
    }

    /// The next `out.len()` values.
    pub fn read(&mut self, data: &[u8], out: &mut [u32]) -> Result<(), Broken> {
        let mut done = 0;
        while done < out.len() {
            let taken = match &mut self.run {
                Run::Same { left: 0, .. } | Run::Packed { left: 0, .. } => {
                    self.next_run(data)?;
                    continue;
                }
                Run::Same { value, left } => {
                    let taken = (*left).min(out.len() - done);
                    out[done..done + taken].fill(*value);
                    *left -= taken;
                    taken
                }
                Run::Packed { start, next, left } => {
                    let taken = (*left).min(out.len() - done);
                    unpack(
                        &data[*start..self.position],
                        self.width,
                        *next,
                        &mut out[done..done + taken],
                    );
                    *next += taken;
                    *left -= taken;
                    taken
                }
            };
            done += taken;
        }
        Ok(())
    }

    /// Passes over `count` values.
    pub fn skip(&mut self, data: &[u8], mut count: usize) -> Result<(), Broken> {
        while count > 0 {
            let skipped = match &mut self.run {
                Run::Same { left: 0, .. } | Run::Packed { left: 0, .. } => {
                    self.next_run(data)?;
                    continue;
                }
                Run::Same { left, .. } => {
                    let skipped = (*left).min(count);
                    *left -= skipped;
                    skipped
                }
                Run::Packed { next, left, .. } => {
                    let skipped = (*left).min(count);
                    *next += skipped;
                    *left -= skipped;
                    skipped
                }
            };
            count -= skipped;
        }
        Ok(())
    }

    /// Of the next `count` values those at `positions`, which increase.
    pub fn read_at(
        &mut self,
        data: &[u8],
        count: usize,
        positions: impl Iterator<Item = usize>,
        out: &mut Vec<u32>,
    ) -> Result<(), Broken> {
        let mut at = 0;
        for position in positions {
            self.skip(data, position - at)?;
            out.push(self.next(data)?);
            at = position + 1;
        }
        self.skip(data, count - at)
    }

    fn next(&mut self, data: &[u8]) -> Result<u32, Broken> {
        loop {
            match &mut self.run {
                Run::Same { left: 0, .. } | Run::Packed { left: 0, .. } => self.next_run(data)?,
                Run::Same { value, left } => {
                    *left -= 1;
                    return Ok(*value);
                }
                Run::Packed { start, next, left } => {
                    let value = packed_at(&data[*start..self.position], self.width, *next);
                    *next += 1;
                    *left -= 1;
                    return Ok(value);
                }
            }
        }
    }

    /// If the next `count` values are the same, that value; passes over them then.
    pub fn take_same(&mut self, data: &[u8], count: usize) -> Result<Option<u32>, Broken> {
        loop {
            match &mut self.run {
                Run::Same { left: 0, .. } | Run::Packed { left: 0, .. } => self.next_run(data)?,
                Run::Same { value, left } if *left >= count => {
                    *left -= count;
                    return Ok(Some(*value));
                }
                _ => return Ok(None),
            }
        }
    }

    fn next_run(&mut self, data: &[u8]) -> Result<(), Broken> {
        let head = self.varint(data)?;
        let count = usize::try_from(head >> 1).map_err(|_| Broken)?;
        if count == 0 {
            return Err(Broken);
        }
        let start = self.position;
        if head & 1 == 0 {
            let bytes = self.width.div_ceil(8);
            let stored = data.get(start..start + bytes).filter(|_| start + bytes <= self.end);
            let value = stored.ok_or(Broken)?.iter().rev();
            let value = value.fold(0u32, |value, &byte| value << 8 | u32::from(byte));
            self.position += bytes;
            self.run = Run::Same { value, left: count };
        } else {
            // A writer may leave out the padding of the last run.
            let wanted = count.checked_mul(self.width).ok_or(Broken)?;
            let bytes = wanted.min(self.end.saturating_sub(start));
            let values = match self.width {
                0 => count.checked_mul(8).ok_or(Broken)?,
                width => bytes * 8 / width,
            };
            if values == 0 {
                return Err(Broken);
            }
            self.position += bytes;
            self.run = Run::Packed { start, next: 0, left: values };
        }
        Ok(())
    }

    fn varint(&mut self, data: &[u8]) -> Result<u64, Broken> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            if self.position >= self.end {
                return Err(Broken);
            }
            let byte = *data.get(self.position).ok_or(Broken)?;
            self.position += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Broken)
    }
}

/// The packed value number `index`.
fn packed_at(packed: &[u8], width: usize, index: usize) -> u32 {
    if width == 0 {
        return 0;
    }
    let bit = index * width;
    let from = bit / 8;
    let mut word = [0u8; 8];
    let available = &packed[from..packed.len().min(from + 8)];
    word[..available.len()].copy_from_slice(available);
    ((u64::from_le_bytes(word) >> (bit % 8)) & mask(width)) as u32
}

fn mask(width: usize) -> u64 {
    (1u64 << width) - 1
}

/// The packed values from number `index` on.
fn unpack(packed: &[u8], width: usize, index: usize, out: &mut [u32]) {
    // Values before the next multiple of 8 and behind the last one go singly, between them 8 at a
    // time, which are a whole number of bytes.
    let head = (index.next_multiple_of(8) - index).min(out.len());
    let (first, rest) = out.split_at_mut(head);
    for (i, value) in first.iter_mut().enumerate() {
        *value = packed_at(packed, width, index + i);
    }
    let start = (index + head) / 8 * width;
    let groups = unpack_groups(packed.get(start..).unwrap_or(&[]), width, rest);
    let index = index + head + 8 * groups;
    for (i, value) in rest[8 * groups..].iter_mut().enumerate() {
        *value = packed_at(packed, width, index + i);
    }
}

macro_rules! by_width {
    ($width:expr, $packed:expr, $out:expr, $($w:literal)*) => {
        match $width {
            $($w => unpack_all::<$w>($packed, $out),)*
            _ => {
                $out.fill(0);
                $out.len() / 8
            }
        }
    };
}

/// Unpacks as many groups of 8 as there are, and says how many.
fn unpack_groups(packed: &[u8], width: usize, out: &mut [u32]) -> usize {
    by_width!(width, packed, out, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24
        25 26 27 28 29 30 31 32)
}

fn unpack_all<const W: usize>(packed: &[u8], out: &mut [u32]) -> usize {
    let (groups, _) = out.as_chunks_mut::<8>();
    let mut done = 0;
    // Words are read whole, beyond the group, as long as there is something beyond it.
    for group in groups.iter_mut() {
        let Some(from) = packed.get(done * W..done * W + W + 8) else { break };
        unpack_8::<W>(from, group);
        done += 1;
    }
    for group in &mut groups[done..] {
        let Some(from) = packed.get(done * W..done * W + W) else { break };
        let mut padded = [0; 40];
        padded[..W].copy_from_slice(from);
        unpack_8::<W>(&padded[..W + 8], group);
        done += 1;
    }
    done
}

/// 8 values of `W` bits from `W` bytes and the 8 behind them.
#[inline(always)]
fn unpack_8<const W: usize>(from: &[u8], to: &mut [u32; 8]) {
    let from = &from[..W + 8];
    let value = |i: usize| {
        let (byte, shift) = (i * W / 8, i * W % 8);
        let mut word = [0; 8];
        word.copy_from_slice(&from[byte..byte + 8]);
        ((u64::from_le_bytes(word) >> shift) & mask(W)) as u32
    };
    *to = [value(0), value(1), value(2), value(3), value(4), value(5), value(6), value(7)];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs values of `width` bits.
    fn pack(values: &[u32], width: usize) -> Vec<u8> {
        let mut bytes = vec![0u8; (values.len() * width).div_ceil(8)];
        for (i, &value) in values.iter().enumerate() {
            for bit in 0..width {
                if value >> bit & 1 == 1 {
                    bytes[(i * width + bit) / 8] |= 1 << ((i * width + bit) % 8);
                }
            }
        }
        bytes
    }

    /// A packed run, a run of one value, and a packed run.
    fn sample(width: usize) -> (Vec<u8>, Vec<u32>) {
        let limit = mask(width) as u32;
        let packed = |seed: u32, count: u32| -> Vec<u32> {
            (0..count).map(|i| (i.wrapping_mul(2_654_435_761) ^ seed) & limit).collect()
        };
        let (first, last) = (packed(7, 200), packed(99, 808));
        let same = 0x5a5a_5a5a & limit;
        let mut bytes = vec![(200 / 8) << 1 | 1];
        bytes.extend(pack(&first, width));
        bytes.extend([0x80 | (1000u32 << 1 & 0x7f) as u8, (1000u32 >> 6) as u8]);
        bytes.extend(&same.to_le_bytes()[..width.div_ceil(8)]);
        bytes.extend([0x80 | (101u32 << 1 & 0x7f) as u8 | 1, (101u32 >> 6) as u8]);
        bytes.extend(pack(&last, width));
        let values = first.into_iter().chain([same; 1000]).chain(last).collect();
        (bytes, values)
    }

    #[test]
    fn every_width_reads_the_same_in_pieces_of_any_size() {
        for width in 0..=32u8 {
            let (bytes, expected) = sample(usize::from(width));
            for piece in [1, 7, 32, 33, 500, 2008] {
                let mut runs = Runs::new(width, 0, bytes.len()).expect("width");
                let mut values = vec![0; expected.len()];
                for out in values.chunks_mut(piece) {
                    runs.read(&bytes, out).expect("reads");
                }
                assert_eq!(values, expected, "width {width} in pieces of {piece}");
                assert!(runs.read(&bytes, &mut [0]).is_err(), "nothing is left");
            }
        }
    }

    #[test]
    fn skipping_and_picking_agree_with_reading() {
        for width in [1u8, 3, 12, 17, 32] {
            let (bytes, expected) = sample(usize::from(width));
            let mut runs = Runs::new(width, 0, bytes.len()).expect("width");
            runs.skip(&bytes, 13).expect("skips");
            let mut picked = Vec::new();
            let wanted = (0..1900).filter(|i| i % 7 == 3 || i % 50 < 3);
            runs.read_at(&bytes, 1900, wanted.clone(), &mut picked).expect("picks");
            let direct: Vec<u32> = wanted.map(|i| expected[13 + i]).collect();
            assert_eq!(picked, direct);
            let mut rest = vec![0; expected.len() - 1913];
            runs.read(&bytes, &mut rest).expect("reads");
            assert_eq!(rest, expected[1913..]);
        }
    }

    #[test]
    fn broken_data_is_refused() {
        assert!(Runs::new(33, 0, 0).is_err());
        for bytes in [&[][..], &[0x00, 1], &[0x80, 0x80, 0x80, 0x80, 0x80, 1], &[0x08]] {
            let mut runs = Runs::new(8, 0, bytes.len()).expect("width");
            assert!(runs.read(bytes, &mut [0; 4]).is_err(), "{bytes:?}");
            assert!(runs.take_same(bytes, 4).is_err());
        }
    }
}
