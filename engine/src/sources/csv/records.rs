//! The fields of the next few thousand records: positions of separators, from the structure of a
//! window.
//!
//! When every record has as many fields as the file has columns, the separators, simply listed,
//! are a table with a row per record. That this is so is seen from the line ends: each must stand
//! at the end of a row of the table, and there must be no others. Records are looked at one by
//! one only where it is not so: empty lines and comments are passed over, anything else is
//! reported.

use super::masks::BLOCK;
use super::structure::{Marks, Structure};

/// Most separators listed at once.
const SEPARATORS_MAX: usize = 1 << 20;

/// A record with a wrong number of fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ragged {
    /// Its first byte in the window.
    pub(super) at: usize,
    /// The fields it has.
    pub(super) fields: usize,
}

/// Positions of fields; see the module documentation.
#[derive(Default)]
pub(super) struct Records {
    /// `width` separators per record.
    ends: Vec<u32>,
    /// First byte of each record, when some of them do not begin behind the one before.
    begins: Vec<u32>,
    /// First byte of the first record.
    first: u32,
    width: usize,
    rows: usize,
}

impl Records {
    /// Records listed.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Heap bytes held.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.ends.capacity() + self.begins.capacity()) * size_of::<u32>()
    }

    /// First byte of a field and the byte behind its last; a `\r` before the line end counts as
    /// part of the last field.
    #[inline]
    pub(super) fn field(&self, row: usize, column: usize) -> (usize, usize) {
        let at = row * self.width + column;
        let begin = match (at.checked_sub(1), column) {
            (Some(before), 1..) => self.ends[before] + 1,
            _ => self.begin(row),
        };
        (begin as usize, self.ends[at] as usize)
    }

    /// First byte of a record.
    fn begin(&self, row: usize) -> u32 {
        match (self.begins.get(row), row) {
            (Some(&begin), _) => begin,
            (None, 0) => self.first,
            (None, _) => self.ends[row * self.width - 1] + 1,
        }
    }

    /// Lists up to `rows_max` records of `width` fields that begin at `from` or behind and end
    /// before `stop`. Gives the position where to go on.
    pub(super) fn fill(
        &mut self,
        bytes: &[u8],
        structure: &Structure,
        (from, stop): (usize, usize),
        width: usize,
        rows_max: usize,
        marks: &Marks,
    ) -> Result<usize, Ragged> {
        self.width = width;
        self.first = from as u32;
        self.begins.clear();
        let rows_max = rows_max.min(SEPARATORS_MAX / width).max(1);
        let listed = self.list(structure, from, stop, rows_max * width);
        self.rows = (listed / width).min(rows_max);
        let complete = listed >= rows_max * width || listed.is_multiple_of(width);
        // A comment has one line end and no other separator.
        let alike = width > 1 || marks.comment.is_none();
        if complete && alike && self.line_ends_fit(structure, from) {
            return Ok(match self.rows {
                0 => stop,
                rows => self.ends[rows * width - 1] as usize + 1,
            });
        }
        self.fill_one_by_one(bytes, structure, (from, stop), rows_max, marks)
    }

    /// Counts what [`Records::fill`] would list. `None` when records have to be looked at one by
    /// one.
    pub(super) fn count(
        &mut self,
        structure: &Structure,
        (from, stop): (usize, usize),
        width: usize,
        rows_max: usize,
        marks: &Marks,
    ) -> Option<usize> {
        self.rows = 0;
        if width == 1 && marks.comment.is_some() {
            return None;
        }
        let words = structure.separators.iter().zip(&structure.newlines);
        let mut mask = u64::MAX << (from % BLOCK);
        let (mut before, mut next) = (0, from);
        for (word, (&separators, &newlines)) in words.enumerate().skip(from / BLOCK) {
            let (separators, mut newlines) = (separators & mask, newlines & mask);
            mask = u64::MAX;
            while newlines != 0 {
                let behind = word * BLOCK + newlines.trailing_zeros() as usize + 1;
                if behind > stop || self.rows == rows_max {
                    return Some(next);
                }
                let up_to = newlines ^ (newlines - 1);
                self.rows += 1;
                if before + (separators & up_to).count_ones() as usize != self.rows * width {
                    return None;
                }
                next = behind;
                newlines &= newlines - 1;
            }
            before += separators.count_ones() as usize;
        }
        Some(stop)
    }

    /// Checks that all records listed have nothing in their last field.
    pub(super) fn check_trailing(&self, bytes: &[u8]) -> Result<(), Ragged> {
        for row in 0..self.rows {
            let (begin, end) = self.field(row, self.width - 1);
            if begin < end && bytes.get(begin..end) != Some(b"\r") {
                return Err(Ragged { at: self.begin(row) as usize, fields: self.width });
            }
        }
        Ok(())
    }

    /// Lists at least `wanted` separators, or all.
    fn list(&mut self, structure: &Structure, from: usize, stop: usize, wanted: usize) -> usize {
        if from >= stop {
            return 0;
        }
        if self.ends.len() < wanted + 2 * BLOCK {
            self.ends.resize(wanted + 2 * BLOCK, 0);
        }
        let (first, last) = (from / BLOCK, (stop - 1) / BLOCK);
        let mut listed = 0;
        for (i, &word) in structure.separators[first..=last].iter().enumerate() {
            let base = ((first + i) * BLOCK) as u32;
            let mut bits = word;
            if i == 0 {
                bits &= u64::MAX << (from % BLOCK);
            }
            if first + i == last {
                bits &= u64::MAX >> (BLOCK - 1 - (stop - 1) % BLOCK);
            }
            let count = bits.count_ones() as usize;
            let room = &mut self.ends[listed..listed + BLOCK];
            // Eight at a time without asking whether there are as many: what is too much is
            // overwritten by the next word.
            for eight in room.chunks_exact_mut(8).take(count.div_ceil(8)) {
                for end in eight {
                    *end = base.wrapping_add(bits.trailing_zeros());
                    bits &= bits.wrapping_sub(1);
                }
            }
            listed += count;
            if listed >= wanted {
                break;
            }
        }
        listed
    }

    /// Whether the line ends from `from` on are the ends of the listed rows.
    fn line_ends_fit(&self, structure: &Structure, from: usize) -> bool {
        let mut row_ends = self.ends.iter().skip(self.width - 1).step_by(self.width);
        let mut left = self.rows;
        let mut word = from / BLOCK;
        let mut mask = u64::MAX << (from % BLOCK);
        while left > 0 {
            let Some(&newlines) = structure.newlines.get(word) else { return false };
            let mut bits = newlines & mask;
            mask = u64::MAX;
            while bits != 0 && left > 0 {
                let at = (word * BLOCK) as u32 + bits.trailing_zeros();
                if row_ends.next() != Some(&at) {
                    return false;
                }
                bits &= bits - 1;
                left -= 1;
            }
            word += 1;
        }
        true
    }

    fn fill_one_by_one(
        &mut self,
        bytes: &[u8],
        structure: &Structure,
        (from, stop): (usize, usize),
        rows_max: usize,
        marks: &Marks,
    ) -> Result<usize, Ragged> {
        self.rows = 0;
        self.ends.clear();
        let mut at = from;
        while at < stop && self.rows < rows_max {
            let Some(newline) = structure.next_newline(at).filter(|&newline| newline < stop) else {
                break;
            };
            let line = bytes.get(at..newline).unwrap_or_default();
            let empty = self.width > 1 && (line.is_empty() || line == b"\r");
            let comment = marks.comment.is_some() && line.first() == marks.comment.as_ref();
            if !empty && !comment {
                let fields = self.list_record(structure, at, newline);
                if fields != self.width {
                    return Err(Ragged { at, fields });
                }
                self.begins.push(at as u32);
                self.rows += 1;
            }
            at = newline + 1;
        }
        Ok(at)
    }

    /// Lists the separators of one record and counts them.
    fn list_record(&mut self, structure: &Structure, from: usize, newline: usize) -> usize {
        let before = self.ends.len();
        self.ends.extend(structure.separators_in(from, newline).map(|at| at as u32));
        self.ends.len() - before
    }
}

#[cfg(test)]
mod tests {
    use super::super::structure::State;
    use super::*;

    fn fields(text: &str, width: usize, rows_max: usize) -> Result<Vec<Vec<String>>, Ragged> {
        let marks = Marks {
            delimiter: b',',
            quote: Some(b'"'),
            escape: None,
            newline: b'\n',
            comment: Some(b'#'),
        };
        let bytes = [text.as_bytes(), &[0; BLOCK]].concat();
        let mut structure = Structure::default();
        structure.begin(0);
        structure.read(&bytes, 0, text.len(), State::Start, &marks);
        let mut records = Records::default();
        let (mut at, mut found) = (0, Vec::new());
        while at < text.len() {
            let span = (at, text.len());
            let counted = records.count(&structure, span, width, rows_max, &marks);
            let counted = counted.map(|next| (next, records.rows()));
            at = records.fill(&bytes, &structure, span, width, rows_max, &marks)?;
            assert!(counted.is_none_or(|counted| counted == (at, records.rows())), "{text:?}");
            for row in 0..records.rows() {
                let field = |column| {
                    let (begin, end) = records.field(row, column);
                    text[begin..end].to_string()
                };
                found.push((0..width).map(field).collect());
            }
        }
        Ok(found)
    }

    #[test]
    fn even_records_are_listed_whatever_the_step() {
        let rows: Vec<Vec<String>> =
            (0..300).map(|r| (0..3).map(|c| format!("{}", r * c)).collect()).collect();
        let text: String = rows.iter().map(|r| r.join(",") + "\n").collect();
        for rows_max in [1, 2, 7, 100, 1000] {
            assert_eq!(fields(&text, 3, rows_max).expect("even"), rows);
        }
    }

    #[test]
    fn empty_lines_and_comments_are_passed_over_unless_there_is_one_column() {
        assert_eq!(fields("\n1,2\n\r\n\n3,4\n\n", 2, 10).expect("even"), [["1", "2"], ["3", "4"]]);
        assert_eq!(fields("1\n\n2\n", 1, 10).expect("even"), [["1"], [""], ["2"]]);
        assert_eq!(fields("#\n1,#2\n#3,\"4\n", 2, 10).expect("even"), [["1", "#2"]]);
        assert_eq!(fields("1\n#x\n2\n", 1, 10).expect("even"), [["1"], ["2"]]);
    }

    #[test]
    fn uneven_records_are_found_even_where_their_separators_add_up() {
        for (text, at, count) in [
            ("1,2\n3\n4,5\n", 4, 1),
            ("1,2\n3,4,5\n", 4, 3),
            ("1\n2,3,4\n", 0, 1),
            ("1,2\n3,4,5\n6\n", 4, 3),
        ] {
            for rows_max in [1, 2, 100] {
                let error = fields(text, 2, rows_max).expect_err(text);
                assert_eq!(error, Ragged { at, fields: count }, "{text:?}");
            }
        }
    }
}
