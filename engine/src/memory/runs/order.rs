//! Puts entries into the order of their words.
//!
//! Entries are thrown into buckets by the highest bits of the words in which they differ at all,
//! about [`BUCKET_ENTRIES`] to a bucket, in place: that is two looks at each, where comparing looks
//! once for every halving. What is in a bucket is in the nearest cache, and is compared. A bucket
//! that is large, because words are not spread evenly, is divided again by the bits that are left.

use std::cmp::Ordering;

use super::run::Entry;

/// Entries of a usual bucket.
const BUCKET_ENTRIES: usize = 16;

/// Entries up to which comparing is faster than dividing.
const COMPARED_MAX: usize = 128;

/// Bits that entries are divided by at once; more buckets than these do not stay in a near cache.
const BITS_MAX: u32 = 11;

/// Sorts entries by `compare`, which orders them by their words first.
pub(super) fn sort_entries<R: Copy>(
    entries: &mut [Entry<R>],
    compare: &impl Fn(&Entry<R>, &Entry<R>) -> Ordering,
) {
    if entries.is_sorted_by(|a, b| compare(a, b).is_le()) {
        return;
    }
    divide(entries, compare);
}

fn divide<R: Copy>(entries: &mut [Entry<R>], compare: &impl Fn(&Entry<R>, &Entry<R>) -> Ordering) {
    let first = entries.first().map_or(0, Entry::words);
    let varying = match entries.len() {
        ..=COMPARED_MAX => 0,
        _ => entries.iter().fold(0, |all, entry| all | (entry.words() ^ first)),
    };
    let Some(top) = varying.checked_ilog2() else {
        entries.sort_unstable_by(compare);
        return;
    };
    let bits = (entries.len() / BUCKET_ENTRIES).ilog2().clamp(1, BITS_MAX).min(top + 1);
    let (shift, mask) = (top + 1 - bits, (1usize << bits) - 1);
    let bucket = |entry: &Entry<R>| (entry.words() >> shift) as usize & mask;
    let mut ends = vec![0; mask + 1];
    entries.iter().for_each(|entry| ends[bucket(entry)] += 1);
    let mut end = 0;
    let mut heads = Vec::with_capacity(ends.len());
    for count in &mut ends {
        heads.push(end);
        end += *count;
        *count = end;
    }
    let mut start = 0;
    for at in 0..ends.len() {
        while heads[at] < ends[at] {
            let place = heads[at];
            let mut entry = entries[place];
            loop {
                let to = bucket(&entry);
                if to == at {
                    break;
                }
                std::mem::swap(&mut entry, &mut entries[heads[to]]);
                heads[to] += 1;
            }
            entries[place] = entry;
            heads[at] += 1;
        }
    }
    for end in ends {
        divide(&mut entries[start..end], compare);
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_however_their_words_are_spread() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            (state ^ (state >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
        };
        let forms: [fn(u64, u64) -> u128; 6] = [
            |random, _| u128::from(random) << 64 | u128::from(random.rotate_left(7)),
            |random, _| u128::from(random % 3) << 100,
            |_, _| 17,
            |_, row| u128::from(row) << 20,
            // Nearly all in one bucket, again and again.
            |random, _| 1 << (random % 128),
            |random, row| u128::from(if row.is_multiple_of(50) { random } else { random % 900 }),
        ];
        for words in forms {
            for count in [0u64, 1, 100, 129, 3000, 70_000] {
                let entry = |row| Entry::new(words(random(), row), row);
                let mut entries: Vec<Entry<u64>> = (0..count).map(entry).collect();
                let key = |entry: &Entry<u64>| (entry.words(), entry.row);
                let mut expected: Vec<_> = entries.iter().map(key).collect();
                expected.sort_unstable();
                sort_entries(&mut entries, &|a, b| key(a).cmp(&key(b)));
                assert!(entries.iter().map(key).eq(expected));
            }
        }
    }
}
