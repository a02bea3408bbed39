//! 64-bit hashes of rows by some of their columns.
//!
//! One rule decides which values are the same key, here and in the row pages: -0.0
//! is 0.0, NaN is NaN, decimals and integers count by value whatever their width, strings by their
//! bytes, NULL is one value of its own. Values of nested types count by their `arrow-row` form.
//!
//! A word is hashed by a folded 64x64-bit multiplication, which spreads every input bit over the
//! upper and the lower half; partitions may take bits from the top, directories from the bottom.
//! Of a column with a dictionary domain every dictionary value is hashed once, and remembered.

use arrow::array::{Array, ArrayRef};
use arrow::buffer::Buffer;

use super::column::{Column, Domain, Form, NULL_INDEX};
use super::picked::{Picked, all_rows, pick};
use super::typed::{Typed, float_key, nested_keys};

use crate::error::Result;

const SEEDS: [u64; 4] =
    [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

/// The hash of NULL.
const NULL_HASH: u64 = 0x1d8e_4e27_c47d_124f;

/// Dictionaries remembered for one column.
const DOMAINS_MAX: usize = 8;

/// Values of the largest dictionary whose hashes are remembered (512 KB): nobody reserves them, and
/// beyond the caches looking a hash up costs what computing it does.
const DICTIONARY_VALUES_MAX: usize = 1 << 16;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

/// Spreads the result of a multiplication by a constant, which for consecutive words is a regular
/// sequence.
fn finish(hash: u64) -> u64 {
    (hash ^ (hash >> 32)).wrapping_mul(SEEDS[3])
}

/// The hash of one word.
pub fn hash_word(word: u64) -> u64 {
    finish(fold(word ^ SEEDS[0], SEEDS[1]))
}

fn hash_words(low: u64, high: u64) -> u64 {
    finish(fold(low ^ SEEDS[0], high ^ SEEDS[1]))
}

/// The hash of two columns' hashes.
fn combine(left: u64, right: u64) -> u64 {
    fold(left ^ SEEDS[2], right ^ SEEDS[3])
}

fn hash_wide(value: i128) -> u64 {
    match i64::try_from(value) {
        Ok(narrow) => hash_word(narrow as u64),
        Err(_) => hash_words(value as u64, (value >> 64) as u64),
    }
}

/// The hash of bytes; equal to that of a view of them.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    if bytes.len() <= 12 {
        let mut view = [0; 16];
        view[..4].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        view[4..4 + bytes.len()].copy_from_slice(bytes);
        return hash_inline(u128::from_le_bytes(view));
    }
    let mut state = bytes.len() as u64 ^ SEEDS[2];
    let (blocks, _) = bytes.as_chunks::<16>();
    for block in blocks {
        let word = u128::from_le_bytes(*block);
        state = fold(word as u64 ^ SEEDS[1], (word >> 64) as u64 ^ state);
    }
    // The last 16 bytes again, or the first and last 8: no byte is left out.
    let word =
        |at: usize| bytes[at..].first_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight));
    let (low, high) = match bytes.len() {
        16.. => (word(bytes.len() - 16), word(bytes.len() - 8)),
        _ => (word(0), word(bytes.len() - 8)),
    };
    finish(fold(low ^ SEEDS[3], high ^ state))
}

/// The hash of a view of at most 12 bytes.
fn hash_inline(view: u128) -> u64 {
    hash_words(view as u64, (view >> 64) as u64)
}

fn hash_view(view: u128, buffers: &[Buffer]) -> u64 {
    if view as u32 <= 12 {
        return hash_inline(view);
    }
    hash_bytes(view_bytes(view, buffers))
}

/// The bytes of a view that are not inline.
fn view_bytes(view: u128, buffers: &[Buffer]) -> &[u8] {
    let (buffer, offset) = ((view >> 64) as u32, (view >> 96) as u32);
    &buffers[buffer as usize][offset as usize..][..view as u32 as usize]
}

/// Hashes rows by the same columns, chunk after chunk, and remembers the hashes of dictionaries.
#[derive(Debug, Default)]
pub struct KeyHasher {
    /// By column, the dictionaries met last.
    domains: Vec<Vec<Dictionary>>,
}

#[derive(Debug)]
struct Dictionary {
    domain: Domain,
    /// Rows hashed so far; a large dictionary pays only when many rows use it.
    rows: usize,
    hashes: Vec<u64>,
}

impl KeyHasher {
    /// A hasher that remembers nothing yet.
    pub fn new() -> Self {
        KeyHasher::default()
    }

    /// Puts the hash of each of `rows` (physical positions) by all `columns` into `hashes`, in
    /// that order. Without columns all hashes are equal.
    ///
    /// # Errors
    /// `Input` for a column of a type that has no equality.
    pub fn hash(&mut self, columns: &[&Column], rows: &[u32], hashes: &mut Vec<u64>) -> Result<()> {
        hashes.clear();
        hashes.resize(rows.len(), NULL_HASH);
        self.domains.resize_with(columns.len().max(self.domains.len()), Vec::new);
        let picked = pick(columns.iter().copied(), rows);
        for (number, (column, picked)) in columns.iter().zip(&picked).enumerate() {
            let mut put = Put { hashes, first: number == 0 };
            match column.form() {
                Form::Constant(_) if !rows.is_empty() => {
                    let mut one = Vec::new();
                    hash_values(picked.array(), &mut one)?;
                    let one = one.first().copied().unwrap_or(NULL_HASH);
                    put.all(rows.len(), |_| one);
                }
                Form::Indexed(indexed) => {
                    let domain = indexed.domain;
                    let known = &mut self.domains[number];
                    match domain.map(|d| dictionary(known, d, picked)).transpose()?.flatten() {
                        Some(dictionary) => put.through(&dictionary.hashes, picked),
                        None => hash_picked(picked, &mut put)?,
                    }
                }
                _ => hash_picked(picked, &mut put)?,
            }
        }
        Ok(())
    }
}

/// The hashes of a dictionary's values, once enough rows have used it.
fn dictionary<'a>(
    known: &'a mut Vec<Dictionary>,
    domain: Domain,
    picked: &Picked<'_>,
) -> Result<Option<&'a Dictionary>> {
    if picked.array().len() > DICTIONARY_VALUES_MAX {
        return Ok(None);
    }
    let at = match known.iter().position(|d| d.domain == domain) {
        Some(at) => at,
        None => {
            if known.len() == DOMAINS_MAX {
                known.remove(0);
            }
            known.push(Dictionary { domain, rows: 0, hashes: Vec::new() });
            known.len() - 1
        }
    };
    let dictionary = &mut known[at];
    dictionary.rows += picked.len();
    let values = picked.array();
    if dictionary.hashes.len() != values.len() {
        if dictionary.rows < values.len() {
            return Ok(None);
        }
        hash_values(values, &mut dictionary.hashes)?;
    }
    Ok(Some(dictionary))
}

/// The hashes of all values of an array.
fn hash_values(values: &ArrayRef, hashes: &mut Vec<u64>) -> Result<()> {
    hashes.clear();
    hashes.resize(values.len(), NULL_HASH);
    let positions: Vec<u32>;
    let positions = match values.len() <= super::MAX_CHUNK_ROWS {
        true => all_rows(values.len()),
        false => {
            positions = (0..values.len() as u32).collect();
            &positions
        }
    };
    hash_picked(&Picked::of_array(values, positions), &mut Put { hashes, first: true })
}

/// Where hashes go: into an empty list, or combined with those of the columns before.
struct Put<'a> {
    hashes: &'a mut [u64],
    first: bool,
}

impl Put<'_> {
    fn all(&mut self, rows: usize, hash: impl Fn(usize) -> u64) {
        let hashes = &mut self.hashes[..rows];
        if self.first {
            hashes.iter_mut().enumerate().for_each(|(row, h)| *h = hash(row));
        } else {
            hashes.iter_mut().enumerate().for_each(|(row, h)| *h = combine(*h, hash(row)));
        }
    }

    /// One hash a picked row, from the value's position.
    fn each(&mut self, picked: &Picked<'_>, hash: impl Fn(usize) -> u64) {
        let at = picked.at();
        if picked.has_nulls() {
            let hash = |row: usize| match picked.is_null_at(at[row]) {
                true => NULL_HASH,
                false => hash(at[row] as usize),
            };
            self.all(at.len(), hash);
        } else {
            self.all(at.len(), |row| hash(at[row] as usize));
        }
    }

    /// Hashes by position; NULLs inside the dictionary have theirs already.
    fn through(&mut self, hashes: &[u64], picked: &Picked<'_>) {
        let at = picked.at();
        self.all(at.len(), |row| match at[row] {
            NULL_INDEX => NULL_HASH,
            at => hashes[at as usize],
        });
    }
}

fn hash_picked(picked: &Picked<'_>, put: &mut Put<'_>) -> Result<()> {
    match Typed::of(picked.array()) {
        Typed::Bool(values) => put.each(picked, |at| hash_word(u64::from(values.value(at)))),
        Typed::I8(values) => put.each(picked, |at| hash_word(i64::from(values[at]) as u64)),
        Typed::I16(values) => put.each(picked, |at| hash_word(i64::from(values[at]) as u64)),
        Typed::I32(values) => put.each(picked, |at| hash_word(i64::from(values[at]) as u64)),
        Typed::I64(values) => put.each(picked, |at| hash_word(values[at] as u64)),
        Typed::U8(values) => put.each(picked, |at| hash_word(u64::from(values[at]))),
        Typed::U16(values) => put.each(picked, |at| hash_word(u64::from(values[at]))),
        Typed::U32(values) => put.each(picked, |at| hash_word(u64::from(values[at]))),
        Typed::U64(values) => put.each(picked, |at| hash_wide(i128::from(values[at]))),
        Typed::F16(values) => {
            put.each(picked, |at| hash_word(float_key(f64::from(values[at])).to_bits()))
        }
        Typed::F32(values) => {
            put.each(picked, |at| hash_word(float_key(f64::from(values[at])).to_bits()))
        }
        Typed::F64(values) => put.each(picked, |at| hash_word(float_key(values[at]).to_bits())),
        Typed::I128(values) => put.each(picked, |at| hash_wide(values[at])),
        Typed::I256(values) => put.each(picked, |at| match values[at].to_i128() {
            Some(value) => hash_wide(value),
            None => hash_bytes(&values[at].to_le_bytes()),
        }),
        Typed::DayTime(values) => put
            .each(picked, |at| hash_words(values[at].days as u64, values[at].milliseconds as u64)),
        Typed::MonthDayNano(values) => put.each(picked, |at| {
            let value = values[at];
            let days = (i64::from(value.months) << 32) | i64::from(value.days as u32);
            hash_words(days as u64, value.nanoseconds as u64)
        }),
        Typed::Views(views, buffers) => put.each(picked, |at| hash_view(views[at], buffers)),
        Typed::Null => put.all(picked.len(), |_| NULL_HASH),
        Typed::Nested => {
            let rows = nested_keys(picked)?;
            put.all(picked.len(), |row| match picked.is_null(row) {
                true => NULL_HASH,
                false => hash_bytes(rows.row(row).as_ref()),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use arrow::array::{Int64Array, StringViewArray};
    use arrow::datatypes::DataType;

    use super::*;
    use crate::batch::Indices;

    /// How far the fullest of 4096 buckets is above its share, for buckets by these bits.
    fn fullest(hashes: &[u64], shift: u32) -> usize {
        let mut buckets = vec![0; 4096];
        hashes.iter().for_each(|hash| buckets[(hash >> shift) as usize % 4096] += 1);
        buckets.into_iter().max().unwrap_or(0)
    }

    #[test]
    fn hashes_of_regular_keys_are_spread_in_every_part() {
        let texts: Vec<String> = (0..40_960).map(|i| format!("Customer#{i:09}")).collect();
        let mut families: Vec<Vec<u64>> = [0, 3, 10, 20, 32, 44]
            .iter()
            .map(|&bits| (0..40_960u64).map(|i| hash_word(i << bits)).collect())
            .collect();
        families.push((0..40_960).map(|i: i64| hash_word((i as f64).to_bits())).collect());
        families.push(texts.iter().map(|t| hash_bytes(t.as_bytes())).collect());
        families.push(texts.iter().map(|t| hash_bytes(&t.as_bytes()[9..])).collect());
        families.push(
            (0..40_960u64).map(|i| combine(hash_word(i / 200), hash_word(i % 200))).collect(),
        );
        for (number, hashes) in families.iter().enumerate() {
            let distinct: HashSet<&u64> = hashes.iter().collect();
            assert_eq!(distinct.len(), hashes.len(), "family {number}");
            for shift in [0, 16, 32, 46, 52] {
                // Ten are expected; more than 35 in one is less likely than one in a million.
                let fullest = fullest(hashes, shift);
                assert!(fullest <= 35, "family {number}, bits from {shift}: {fullest}");
            }
        }
    }

    #[test]
    fn forms_and_dictionaries_do_not_change_hashes() {
        let values: Vec<String> = (0..50).map(|i| "x".repeat(i % 20) + &i.to_string()).collect();
        let base: ArrayRef = Arc::new(StringViewArray::from_iter_values(&values));
        let indices: Vec<u32> =
            (0..300).map(|i| if i % 7 == 0 { NULL_INDEX } else { i % 50 }).collect();
        let indices = Arc::new(Indices::with_nulls(indices));
        let domain = Some(Domain::unique());
        let text = DataType::Utf8;
        let dictionary = Column::indexed(text.clone(), indices.clone(), base.clone(), domain);
        let indexed = Column::indexed(text.clone(), indices, base.clone(), None);
        let flat = Column::flat(text.clone(), indexed.to_array(300).expect("flat"));
        let number = Column::constant(DataType::Int64, Arc::new(Int64Array::from(vec![7])));
        let mut hasher = KeyHasher::new();
        let (mut first, mut hashes) = (Vec::new(), Vec::new());
        hasher.hash(&[&flat, &number], all_rows(300), &mut first).expect("hashes");
        for column in [&dictionary, &indexed, &dictionary] {
            // The second time the dictionary's hashes are known.
            hasher.hash(&[column, &number], all_rows(300), &mut hashes).expect("hashes");
            assert_eq!(hashes, first);
        }
        hasher.hash(&[&dictionary, &number], &[5, 3], &mut hashes).expect("hashes");
        assert_eq!(hashes, [first[5], first[3]]);
        let constant = Column::constant(text, base.slice(1, 1));
        hasher.hash(&[&constant, &number], &[9], &mut hashes).expect("hashes");
        assert_eq!(hashes, [first[1]]);
    }
}
