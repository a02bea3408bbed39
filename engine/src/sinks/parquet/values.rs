//! The values of a page under construction: as codes of a dictionary, or plain.

use parquet::basic::Encoding;
use parquet::errors::{ParquetError, Result};

use super::bounds::Bounds;
use super::dictionary::{Integers, Texts};
use super::hybrid;

/// Bytes of memory that a dictionary may take.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;

/// Rows of a page, about.
pub(super) const PAGE_ROWS: usize = 16_384;

/// Values after which a column may see that its values do not repeat.
const EARLY_VALUES: usize = 4096;

/// How often values of a dictionary must be used, on average, when memory is short.
const SCARCE_USES_MIN: usize = 4;

/// Pages of a column of a usual row group, for the estimate of what a dictionary comes to.
const GROUP_PAGES: usize = 8;

/// Values of one column; see the module documentation.
pub(super) struct Values {
    dictionary: Dictionary,
    /// Whether values are turned into codes.
    is_coded: bool,
    /// The page's values when it is coded.
    codes: Vec<u32>,
    /// The page's values when it is not.
    plain: Vec<u8>,
    /// What is known of the bounds of the page.
    bounds: Option<Bounds>,
    /// Values so far, those of earlier pages included.
    count: usize,
    /// Distinct values when there was half a page of them.
    half: Option<usize>,
    /// Whether pages behind this one do without the dictionary.
    is_last_coded: bool,
}

enum Dictionary {
    /// With the width of a value in bytes.
    Words(Integers, usize),
    Texts(Texts),
}

impl Dictionary {
    fn len(&self) -> usize {
        match self {
            Dictionary::Words(integers, _) => integers.values().len(),
            Dictionary::Texts(texts) => texts.len(),
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            Dictionary::Words(integers, _) => integers.held_bytes(),
            Dictionary::Texts(texts) => texts.held_bytes(),
        }
    }

    /// Whether it will pay, by how many distinct values the first half of a page had (`half`) and
    /// the whole page has. Where values are drawn from a limited set, every half brings fewer new
    /// ones than the one before, in about the same proportion; where the values are sorted or
    /// unique, the same number. Long values gain more by a dictionary.
    fn will_pay(&self, half: usize) -> bool {
        let (half, all) = (half as f64, self.len() as f64);
        let linear = all * GROUP_PAGES as f64;
        let distinct = match all - half < half {
            true => (half * half / (2.0 * half - all)).min(linear),
            false => linear,
        };
        let uses_min = match self {
            Dictionary::Words(..) => 6.0,
            Dictionary::Texts(_) => 3.0,
        };
        distinct * uses_min <= (PAGE_ROWS * GROUP_PAGES) as f64
    }

    /// No more values are looked up.
    fn close(&mut self) {
        match self {
            Dictionary::Words(integers, _) => integers.close(),
            Dictionary::Texts(texts) => texts.close(),
        }
    }

    /// Bytes of distinct texts.
    fn text_bytes(&self) -> usize {
        match self {
            Dictionary::Words(..) => 0,
            Dictionary::Texts(texts) => texts.page().len(),
        }
    }

    fn is_large(&self) -> bool {
        self.held_bytes() > DICTIONARY_BYTES_MAX
    }
}

impl Values {
    /// Integers that are written in `width` bytes, 4 or 8.
    pub fn words(width: usize) -> Self {
        Values::new(Dictionary::Words(Integers::new(), width))
    }

    /// Texts or byte strings.
    pub fn texts() -> Self {
        Values::new(Dictionary::Texts(Texts::new()))
    }

    fn new(dictionary: Dictionary) -> Self {
        let (codes, plain) = (Vec::new(), Vec::new());
        Values {
            dictionary,
            is_coded: true,
            codes,
            plain,
            bounds: None,
            count: 0,
            half: None,
            is_last_coded: false,
        }
    }

    /// Bytes of the page's values that are not coded.
    pub fn plain_bytes(&self) -> usize {
        self.plain.len()
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.dictionary.held_bytes() + self.codes.capacity() * 4 + self.plain.capacity()
    }

    /// Adds integers.
    pub fn push_words(&mut self, values: impl Iterator<Item = i64> + Clone) {
        let Dictionary::Words(integers, width) = &mut self.dictionary else { return };
        let (mut low, mut high, mut count) = (i64::MAX, i64::MIN, 0);
        for value in values.clone() {
            (low, high, count) = (low.min(value), high.max(value), count + 1);
        }
        if count == 0 {
            return;
        }
        self.count += count;
        Bounds::widen(&mut self.bounds, &Some(Bounds::Words(low, high)));
        if self.is_coded {
            self.codes.extend(values.map(|value| integers.code(value)));
        } else {
            self.plain.reserve(count * *width);
            extend_words(&mut self.plain, values, *width);
        }
    }

    /// Adds texts or byte strings.
    pub fn push_texts<'a>(&mut self, values: impl Iterator<Item = &'a [u8]> + Clone) {
        let Dictionary::Texts(texts) = &mut self.dictionary else { return };
        if self.is_coded {
            let before = self.codes.len();
            self.codes.extend(values.map(|value| texts.code(value)));
            self.count += self.codes.len() - before;
            return;
        }
        let mut bounds: Option<(&[u8], &[u8])> = None;
        for value in values {
            self.plain.extend_from_slice(&(value.len() as u32).to_le_bytes());
            self.plain.extend_from_slice(value);
            self.count += 1;
            bounds = Some(match bounds {
                Some((low, high)) => (low.min(value), high.max(value)),
                None => (value, value),
            });
        }
        if let Some((low, high)) = bounds {
            let bounds = Bounds::Texts(low.to_vec(), high.to_vec());
            Bounds::widen(&mut self.bounds, &Some(bounds));
        }
    }

    /// Called between the slices of the first page: leaves the dictionary when it is clear early
    /// that it does not pay; of long texts when they would be a page of these bytes.
    pub fn give_up_early(&mut self, page_bytes: usize) {
        let distinct = self.dictionary.len();
        if self.half.is_none() && self.count >= PAGE_ROWS / 2 {
            self.half = Some(distinct);
        }
        let is_seen = self.count >= EARLY_VALUES || self.dictionary.text_bytes() >= page_bytes;
        let repeats_little = is_seen && distinct > self.count - self.count / 8;
        if self.is_coded && (repeats_little || self.dictionary.is_large()) {
            self.give_up();
        }
    }

    /// Called before a page ends early because memory is short: leaves a dictionary whose values
    /// repeat little. How it would grow is not to be seen from such a page.
    pub fn economize(&mut self, is_first: bool) {
        self.half = None;
        if !self.is_coded || self.dictionary.len() * SCARCE_USES_MIN <= self.count {
            return;
        }
        match is_first {
            true => self.give_up(),
            false => self.is_last_coded = true,
        }
    }

    /// Gives back the memory of a page that is complete.
    pub fn release(&mut self) {
        (self.codes, self.plain) = (Vec::new(), Vec::new());
    }

    /// Turns the codes of the first page back into values.
    fn give_up(&mut self) {
        self.bounds = self.coded_bounds();
        let codes = std::mem::take(&mut self.codes);
        match &mut self.dictionary {
            Dictionary::Words(integers, width) => {
                let values = integers.values();
                let values = codes.iter().map(|&code| values[code as usize]);
                extend_words(&mut self.plain, values, *width);
                *integers = Integers::new();
            }
            Dictionary::Texts(texts) => {
                for &code in &codes {
                    let value = texts.value(code);
                    self.plain.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    self.plain.extend_from_slice(value);
                }
                *texts = Texts::new();
            }
        }
        self.is_coded = false;
    }

    /// The bounds of the page, where texts are known by their codes only.
    fn coded_bounds(&mut self) -> Option<Bounds> {
        let Dictionary::Texts(texts) = &self.dictionary else { return self.bounds.take() };
        let mut is_used = vec![false; texts.len()];
        self.codes.iter().for_each(|&code| is_used[code as usize] = true);
        let used = (0u32..).zip(is_used).filter(|(_, is_used)| *is_used);
        let mut values = used.map(|(code, _)| texts.value(code));
        let first = values.next()?;
        let (low, high) =
            values.fold((first, first), |(low, high), value| (low.min(value), high.max(value)));
        Some(Bounds::Texts(low.to_vec(), high.to_vec()))
    }

    /// Appends the page's values to `out` and begins the next page. The answer is how they are
    /// encoded, and their bounds.
    ///
    /// # Errors
    /// When an integer does not fit its width.
    pub fn end_page(
        &mut self,
        is_first: bool,
        out: &mut Vec<u8>,
    ) -> Result<(Encoding, Option<Bounds>)> {
        if let Some(half) = self.half.filter(|_| self.is_coded && is_first)
            && !self.dictionary.will_pay(half)
        {
            self.give_up();
        }
        let was_coded = self.is_coded;
        let bounds = if was_coded { self.coded_bounds() } else { self.bounds.take() };
        self.bounds = None;
        if let (Dictionary::Words(_, 4), Some(Bounds::Words(low, high))) =
            (&self.dictionary, &bounds)
            && (i32::try_from(*low).is_err() || i32::try_from(*high).is_err())
        {
            return Err(ParquetError::General(format!("{low} or {high} does not fit 32 bits")));
        }
        if !was_coded {
            out.extend_from_slice(&self.plain);
            self.plain.clear();
            return Ok((Encoding::PLAIN, bounds));
        }
        let bits = hybrid::bits_below(self.dictionary.len());
        out.push(bits as u8);
        hybrid::encode(&self.codes, bits, out);
        self.codes.clear();
        if self.is_last_coded || self.dictionary.is_large() {
            // The codes that are written stay; values from here on do without.
            self.is_coded = false;
            self.dictionary.close();
        }
        Ok((Encoding::RLE_DICTIONARY, bounds))
    }

    /// Appends the values of the dictionary to `out`; the answer is their number.
    pub fn dictionary_page(&self, out: &mut Vec<u8>) -> usize {
        match &self.dictionary {
            Dictionary::Words(integers, width) => {
                extend_words(out, integers.values().iter().copied(), *width);
            }
            Dictionary::Texts(texts) => out.extend_from_slice(texts.page()),
        }
        self.dictionary.len()
    }
}

fn extend_words(out: &mut Vec<u8>, values: impl Iterator<Item = i64>, width: usize) {
    match width {
        4 => values.for_each(|value| out.extend_from_slice(&(value as i32).to_le_bytes())),
        _ => values.for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
    }
}
