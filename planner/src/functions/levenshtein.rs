//! levenshtein(): how many characters are inserted, deleted or replaced between two texts.
//!
//! 64 rows of the table of distances are one word, whose bits tell by how much neighbours differ:
//! after Myers, "A fast bit-vector algorithm for approximate string matching based on dynamic
//! programming", and Hyyrö's extension of it to texts that are longer than a word. The borrowed
//! function goes through the table number by number, which takes minutes for texts of a hundred
//! thousand characters.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion_common::{Result, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};

use super::each::{is_constant, results};

/// Rows of the table in a word.
const BITS: usize = 64;

/// The numbers of characters of ASCII: theirs and one more, from 1 on.
const ASCII_NUMBERS: usize = 129;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Levenshtein {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn levenshtein(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(Levenshtein { borrowed }))
}

impl ScalarUDFImpl for Levenshtein {
    as_borrowed!(name, aliases, signature, return_type);

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let [left, right] = &arrays[..] else { return exec_err!("levenshtein takes two texts") };
        let texts = |array: &ArrayRef| cast(array, &DataType::Utf8View);
        let (left, right) = (texts(left)?, texts(right)?);
        let mut between = Between::default();
        let pairs = left.as_string_view().iter().zip(right.as_string_view());
        let distances: Int64Array =
            pairs.map(|(left, right)| Some(between.texts(left?, right?) as i64)).collect();
        let distances = cast(&distances, call.return_field.data_type())?;
        results(distances, is_constant(&call.args))
    }
}

/// Distances between texts, and what is kept from one pair to the next.
#[derive(Default)]
struct Between {
    /// The characters of the shorter text and of the longer one, as numbers from 1 on; 0 may be
    /// one that the shorter text has not.
    rows: Vec<u32>,
    columns: Vec<u32>,
    numbers: HashMap<char, u32>,
    /// The rows of a word that have a character, by its number.
    places: Vec<u64>,
    /// By how much each column differs from the one before it, in the last row that is known.
    steps: Vec<i8>,
}

impl Between {
    fn texts(&mut self, left: &str, right: &str) -> usize {
        self.rows.clear();
        self.columns.clear();
        self.numbers.clear();
        let (short, long) = if left.len() <= right.len() { (left, right) } else { (right, left) };
        if short.is_ascii() && long.is_ascii() {
            let number = |byte| u32::from(byte) + 1;
            self.rows.extend(short.bytes().map(number));
            self.columns.extend(long.bytes().map(number));
        } else {
            for character in short.chars() {
                let next = self.numbers.len() as u32 + 1;
                self.rows.push(*self.numbers.entry(character).or_insert(next));
            }
            let number = |character| self.numbers.get(&character).copied().unwrap_or(0);
            self.columns.extend(long.chars().map(number));
        }
        let alike = self.rows.iter().zip(&self.columns).take_while(|(row, column)| row == column);
        let alike = alike.count();
        let (rows, columns) = (&self.rows[alike..], &self.columns[alike..]);
        // All of them are zeros between two texts.
        let numbers = (self.numbers.len() + 1).max(ASCII_NUMBERS);
        self.places.resize(numbers.max(self.places.len()), 0);
        // Each character of the longer text is one more to insert into none.
        self.steps.clear();
        self.steps.resize(columns.len(), 1);
        for rows in rows.chunks(BITS) {
            for (bit, &row) in rows.iter().enumerate() {
                self.places[row as usize] |= 1 << bit;
            }
            through(columns, &self.places, rows.len(), &mut self.steps);
            for &row in rows {
                self.places[row as usize] = 0;
            }
        }
        let steps: i64 = self.steps.iter().map(|&step| i64::from(step)).sum();
        usize::try_from(rows.len() as i64 + steps).unwrap_or(0)
    }
}

/// Takes the steps between columns from the row above some rows to the last one of them.
fn through(columns: &[u32], places: &[u64], rows: usize, steps: &mut [i8]) {
    let last = 1_u64 << (rows - 1);
    // By how much each row differs from the one above it: by one more, or by one less.
    let (mut more, mut less) = (u64::MAX, 0_u64);
    for (column, step) in columns.iter().zip(steps) {
        let mut alike = places[*column as usize];
        let down = alike | less;
        alike |= u64::from(*step < 0);
        let across = ((alike & more).wrapping_add(more) ^ more) | alike;
        let mut right_more = less | !(across | more);
        let mut right_less = more & across;
        let out = i8::from(right_more & last != 0) - i8::from(right_less & last != 0);
        right_more = (right_more << 1) | u64::from(*step > 0);
        right_less = (right_less << 1) | u64::from(*step < 0);
        more = right_less | !(down | right_more);
        less = right_more & down;
        *step = out;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table, number by number.
    fn by_table(left: &str, right: &str) -> usize {
        let right: Vec<char> = right.chars().collect();
        let mut last: Vec<usize> = (0..=right.len()).collect();
        for (row, left) in left.chars().enumerate() {
            let mut next = vec![row + 1];
            for (at, right) in right.iter().enumerate() {
                let replaced = last[at] + usize::from(left != *right);
                next.push(replaced.min(last[at + 1] + 1).min(next[at] + 1));
            }
            last = next;
        }
        last[right.len()]
    }

    #[test]
    fn distances_are_those_of_the_table() {
        let mut between = Between::default();
        let mut seed = 7_u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
            (seed >> 33) % below
        };
        let letters = ['a', 'b', 'c', 'ü', '日'];
        for round in 0..600 {
            let most = if round < 500 { 20 } else { 300 };
            let mut text = |most| -> String {
                let length = random(most);
                (0..length).map(|_| letters[random(letters.len() as u64) as usize]).collect()
            };
            let (left, right) = (text(most), text(most));
            assert_eq!(between.texts(&left, &right), by_table(&left, &right), "{left} {right}");
        }
        assert_eq!(between.texts("kitten", "sitting"), 3);
        assert_eq!(between.texts("", ""), 0);
        assert_eq!(between.texts("", "abc"), 3);
        let (left, right) = ("a".repeat(20_000), "b".repeat(30_000));
        assert_eq!(between.texts(&left, &right), 30_000);
    }
}
