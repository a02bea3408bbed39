//! Aligned columns for people.
//!
//! On a terminal ([`Bounded`]) a table has the first and the last of its rows, and as many of its
//! columns as a line holds; what is left out is said below it. Memory: the text of the rows that
//! are shown, and the batches that the last ones are in.
//!
//! Elsewhere ([`Whole`]) it has everything. Column widths come from the first rows; later rows are
//! printed as they come, and a longer cell pushes its line out. Memory: the text of at most
//! [`SAMPLE_ROWS`] rows.

use std::collections::VecDeque;
use std::io::Write;
use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::ArrayFormatter;
use gristmill::formatter;

use super::long::{PART_BYTES, Part, front, is_long, parts, write_value};
use super::screen::{Screen, cut, one_line, width};
use super::{Failure, Printer};

/// Rows that decide the widths.
const SAMPLE_ROWS: usize = 1_000;

/// Bytes of their text: rows behind them do not decide.
const SAMPLE_BYTES: usize = 4 * PART_BYTES;

/// Widest a column is made for; longer cells are printed whole.
const WIDTH_MAX: usize = 60;

/// Narrowest that a column of texts is made to fit a line.
const NARROWEST: usize = 12;

/// Between two columns.
const GAP: usize = 2;

/// Hands the cells of rows to `row`, one row after the other; of each the first `most` bytes.
pub fn texts(
    batch: &RecordBatch,
    rows: Range<usize>,
    most: usize,
    mut row: impl FnMut(Vec<String>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let columns = batch.columns().iter().map(|c| formatter(c));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    for number in rows {
        let cell = |(formatter, column): (&ArrayFormatter<'_>, &ArrayRef)| {
            Ok(one_line(match is_long(column, number) {
                true => front(column, number, most)?,
                false => formatter.value(number).try_to_string()?,
            }))
        };
        let cells = columns.iter().zip(batch.columns()).map(cell);
        row(cells.collect::<Result<Vec<_>, Failure>>()?)?;
    }
    Ok(())
}

/// Whether values of a type stand at the right.
pub fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}

fn names(schema: &SchemaRef) -> Vec<String> {
    schema.fields().iter().map(|field| one_line(field.name().clone())).collect()
}

/// A line of cells, padded to these widths.
fn line(
    cells: &[String],
    widths: &[usize],
    right: &[bool],
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let last = cells.len().saturating_sub(1);
    let mut text = String::new();
    for (c, cell) in cells.iter().enumerate() {
        let pad = " ".repeat(widths[c].saturating_sub(width(cell)));
        if right[c] {
            text.push_str(&pad);
        }
        text.push_str(cell);
        if c < last {
            text.push_str(if right[c] { "" } else { &pad });
            text.push_str("  ");
        }
    }
    writeln!(out, "{}", text.trim_end())?;
    Ok(())
}

/// The same of a row with long values, which come without a text here and are not padded.
fn long_line(
    row: &RecordBatch,
    cells: &[Option<String>],
    (widths, right): (&[usize], &[bool]),
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let mut text = String::new();
    for (c, (cell, column)) in cells.iter().zip(row.columns()).enumerate() {
        if c > 0 {
            text.push_str("  ");
        }
        let Some(cell) = cell else {
            out.write_all(text.as_bytes())?;
            text.clear();
            write_value(column, 0, |piece| {
                Ok(out.write_all(one_line(piece.to_string()).as_bytes())?)
            })?;
            continue;
        };
        let pad = " ".repeat(widths[c].saturating_sub(width(cell)));
        let (before, behind) = if right[c] { (pad.as_str(), "") } else { ("", pad.as_str()) };
        text.extend([before, cell, behind]);
    }
    writeln!(out, "{}", text.trim_end())?;
    Ok(())
}

fn rule(widths: &[usize], out: &mut dyn Write) -> Result<(), Failure> {
    let rule: Vec<String> = widths.iter().map(|&w| "─".repeat(w)).collect();
    writeln!(out, "{}", rule.join("  "))?;
    Ok(())
}

/// All rows and columns.
pub struct Whole {
    schema: SchemaRef,
    right: Vec<bool>,
    /// The first rows, until the widths are known.
    sample: Vec<Vec<String>>,
    sample_bytes: usize,
    widths: Option<Vec<usize>>,
    rows: u64,
}

impl Whole {
    /// A printer for results of this schema.
    pub fn new(schema: SchemaRef) -> Self {
        let right = schema.fields().iter().map(|field| is_number(field.data_type())).collect();
        Whole { schema, right, sample: Vec::new(), sample_bytes: 0, widths: None, rows: 0 }
    }

    /// Decides the widths, prints the header and the rows held. `next` are the cells of the row
    /// behind them, if that has long values.
    fn begin(&mut self, next: &[Option<String>], out: &mut dyn Write) -> Result<(), Failure> {
        let names = names(&self.schema);
        let widest = |c: usize| {
            let cells = self.sample.iter().map(|row| &row[c]).chain([&names[c]]);
            let widest = cells.map(|cell| width(cell)).max().unwrap_or(0);
            let next = next.get(c).map(|cell| cell.as_deref().map_or(WIDTH_MAX, width));
            widest.max(next.unwrap_or(0)).min(WIDTH_MAX)
        };
        let widths: Vec<usize> = (0..names.len()).map(widest).collect();
        line(&names, &widths, &self.right, out)?;
        rule(&widths, out)?;
        for row in std::mem::take(&mut self.sample) {
            line(&row, &widths, &self.right, out)?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    fn short(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        texts(batch, 0..batch.num_rows(), usize::MAX, |cells| {
            match &self.widths {
                Some(widths) => line(&cells, widths, &self.right, out)?,
                None => {
                    self.sample_bytes += cells.iter().map(String::len).sum::<usize>();
                    self.sample.push(cells);
                }
            }
            let is_sample = self.sample.len() == SAMPLE_ROWS || self.sample_bytes > SAMPLE_BYTES;
            if self.widths.is_none() && is_sample {
                self.begin(&[], out)?;
            }
            Ok(())
        })
    }

    fn long(&mut self, row: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let short = |column: &ArrayRef| match is_long(column, 0) {
            true => Ok(None),
            false => front(column, 0, usize::MAX).map(|text| Some(one_line(text))),
        };
        let cells = row.columns().iter().map(short).collect::<Result<Vec<_>, _>>()?;
        if self.widths.is_none() {
            self.begin(&cells, out)?;
        }
        let widths = self.widths.as_deref().unwrap_or_default();
        long_line(row, &cells, (widths, &self.right), out)
    }
}

impl Printer for Whole {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        self.rows += batch.num_rows() as u64;
        parts(batch, &mut |part| match part {
            Part::Rows(rows) => self.short(&rows, out),
            Part::Long(row) => self.long(&row, out),
        })
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.schema.fields().is_empty() && self.rows == 0 {
            return Ok(());
        }
        if self.widths.is_none() {
            self.begin(&[], out)?;
        }
        writeln!(out, "({})", counted(self.rows, "row"))?;
        Ok(())
    }
}

/// What fits a terminal.
pub struct Bounded {
    schema: SchemaRef,
    screen: Screen,
    head: Vec<Vec<String>>,
    /// The batches that hold the last rows.
    tail: VecDeque<RecordBatch>,
    tail_rows: usize,
    rows: u64,
}

impl Bounded {
    /// A printer for results of this schema.
    pub fn new(schema: SchemaRef, screen: Screen) -> Self {
        let tail = VecDeque::new();
        Bounded { schema, screen, head: Vec::new(), tail, tail_rows: 0, rows: 0 }
    }

    fn head_max(&self) -> usize {
        if self.screen.rows == 0 { usize::MAX } else { self.screen.rows.div_ceil(2) }
    }

    /// Bytes of a long cell that are more than a line shows.
    fn cell_max(&self) -> usize {
        self.screen.width * 8
    }

    fn tail_max(&self) -> usize {
        self.screen.rows / 2
    }

    /// The last rows, and how many are left out before them.
    fn tail(&self) -> Result<(Vec<Vec<String>>, u64), Failure> {
        let wanted = self.tail_max().min(self.tail_rows);
        let mut skip = self.tail_rows - wanted;
        let mut rows = Vec::with_capacity(wanted);
        for batch in &self.tail {
            let from = skip.min(batch.num_rows());
            skip -= from;
            texts(batch, from..batch.num_rows(), self.cell_max(), |cells| {
                rows.push(cells);
                Ok(())
            })?;
        }
        let left_out = self.rows - (self.head.len() + rows.len()) as u64;
        Ok((rows, left_out))
    }
}

impl Printer for Bounded {
    fn batch(&mut self, batch: &RecordBatch, _: &mut dyn Write) -> Result<(), Failure> {
        self.rows += batch.num_rows() as u64;
        let head = batch.num_rows().min(self.head_max() - self.head.len());
        let most = self.cell_max();
        texts(batch, 0..head, most, |cells| {
            self.head.push(cells);
            Ok(())
        })?;
        let rest = batch.slice(head, batch.num_rows() - head);
        self.tail_rows += rest.num_rows();
        self.tail.push_back(rest);
        while let Some(first) = self.tail.front()
            && self.tail_rows - first.num_rows() >= self.tail_max()
        {
            self.tail_rows -= first.num_rows();
            self.tail.pop_front();
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.schema.fields().is_empty() && self.rows == 0 {
            return Ok(());
        }
        let (tail, left_out) = self.tail()?;
        let names = names(&self.schema);
        let all = || self.head.iter().chain(&tail);
        let widest = |c: usize| {
            all().map(|row| &row[c]).chain([&names[c]]).map(|cell| width(cell)).max().unwrap_or(0)
        };
        let wanted: Vec<usize> = (0..names.len()).map(widest).collect();
        let right: Vec<bool> =
            self.schema.fields().iter().map(|field| is_number(field.data_type())).collect();
        let shown = fit(&wanted, &right, self.screen.width);
        let cells = |row: &[String]| {
            let cell = |column: &Shown| match column {
                Shown::Column(c, width) => cut(&row[*c], *width),
                Shown::Gap => "…".to_string(),
            };
            shown.iter().map(cell).collect::<Vec<_>>()
        };
        let widths: Vec<usize> = shown.iter().map(Shown::width).collect();
        let right: Vec<bool> =
            shown.iter().map(|s| matches!(s, Shown::Column(c, _) if right[*c])).collect();
        line(&cells(&names), &widths, &right, out)?;
        rule(&widths, out)?;
        for row in &self.head {
            line(&cells(row), &widths, &right, out)?;
        }
        if left_out > 0 {
            let dots: Vec<String> = widths.iter().map(|_| "·".to_string()).collect();
            line(&dots, &widths, &right, out)?;
        }
        for row in &tail {
            line(&cells(row), &widths, &right, out)?;
        }
        let columns = shown.iter().filter(|s| matches!(s, Shown::Column(..))).count();
        writeln!(out, "({})", self.footer(left_out, columns))?;
        Ok(())
    }
}

impl Bounded {
    fn footer(&self, left_out: u64, columns: usize) -> String {
        let mut text = counted(self.rows, "row");
        if left_out > 0 {
            let shown = self.rows - left_out;
            text.push_str(&format!(", {} shown; --rows 0 prints all", grouped(shown)));
        }
        let all = self.schema.fields().len();
        if columns < all {
            text.push_str(&format!("; {} of {}", columns, counted(all as u64, "column")));
        }
        text
    }
}

/// A column as it is shown.
enum Shown {
    /// Its number and its width.
    Column(usize, usize),
    /// In place of columns that are left out.
    Gap,
}

impl Shown {
    fn width(&self) -> usize {
        match self {
            Shown::Column(_, width) => *width,
            Shown::Gap => 1,
        }
    }
}

/// Which columns fit a line, and how wide they are. Long texts are cut first; then columns in the
/// middle are left out.
fn fit(wanted: &[usize], right: &[bool], line: usize) -> Vec<Shown> {
    let mut widths = wanted.to_vec();
    let needed = |widths: &[usize]| widths.iter().sum::<usize>() + GAP * widths.len().max(1) - GAP;
    while needed(&widths) > line {
        let texts = (0..widths.len()).filter(|&c| !right[c] && widths[c] > NARROWEST);
        let Some(widest) = texts.max_by_key(|&c| widths[c]) else { break };
        let spare = needed(&widths) - line;
        let second = (0..widths.len()).filter(|&c| c != widest && !right[c]).map(|c| widths[c]);
        let least = second.max().unwrap_or(0).clamp(NARROWEST, widths[widest] - 1);
        widths[widest] = widths[widest].saturating_sub(spare).max(least);
    }
    let all = (0..widths.len()).map(|c| Shown::Column(c, widths[c])).collect();
    if needed(&widths) <= line || widths.len() < 2 {
        return all;
    }
    // From both ends inwards, as long as the dots in the middle fit as well.
    let (mut front, mut back) = (0, widths.len());
    let mut left = line.saturating_sub(1);
    while front < back {
        let next = if front <= widths.len() - back { front } else { back - 1 };
        if widths[next] + GAP > left {
            break;
        }
        left -= widths[next] + GAP;
        if next == front { front += 1 } else { back -= 1 }
    }
    if front == 0 {
        return vec![Shown::Column(0, line.saturating_sub(GAP + 1)), Shown::Gap];
    }
    let column = |c: usize| Shown::Column(c, widths[c]);
    let tail = (back..widths.len()).map(column);
    (0..front).map(column).chain([Shown::Gap]).chain(tail).collect()
}

/// `1 row`, `1,234 rows`.
fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widths(wanted: &[usize], right: &[bool], line: usize) -> Vec<Option<(usize, usize)>> {
        let column = |shown: &Shown| match shown {
            Shown::Column(c, width) => Some((*c, *width)),
            Shown::Gap => None,
        };
        fit(wanted, right, line).iter().map(column).collect()
    }

    #[test]
    fn columns_fit_the_line() {
        let texts = [false; 4];
        assert_eq!(widths(&[5, 6], &texts, 80), [Some((0, 5)), Some((1, 6))]);
        let cut = widths(&[5, 200, 30], &texts, 80);
        assert_eq!(cut, [Some((0, 5)), Some((1, 41)), Some((2, 30))]);
        let numbers = [true; 8];
        let shown = widths(&[10; 8], &numbers, 40);
        assert_eq!(shown, [Some((0, 10)), Some((1, 10)), None, Some((7, 10))]);
        let used: usize = shown.iter().map(|s| s.map_or(1, |(_, w)| w) + GAP).sum();
        assert!(used - GAP <= 40, "{shown:?}");
        assert_eq!(widths(&[100, 100], &[true; 2], 30), [Some((0, 27)), None]);
        assert!(widths(&[], &[], 30).is_empty());
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(0, "row"), "0 rows");
        assert_eq!(counted(1_234_567, "row"), "1,234,567 rows");
    }

    #[test]
    fn moments_have_a_blank_before_the_time() {
        use std::sync::Arc;

        use arrow::array::{ArrayRef, DurationSecondArray, TimestampSecondArray};

        let stamps: ArrayRef = Arc::new(TimestampSecondArray::from(vec![Some(0), None]));
        let apart: ArrayRef = Arc::new(DurationSecondArray::from(vec![97_440, -1]));
        let batch = RecordBatch::try_from_iter([("a", stamps), ("b", apart)]).expect("a batch");
        let mut rows = Vec::new();
        texts(&batch, 0..2, usize::MAX, |cells| {
            rows.push(cells.join(", "));
            Ok(())
        })
        .expect("printable");
        assert_eq!(rows, ["1970-01-01 00:00:00, 1 day 03:04:00", "NULL, -00:00:01"]);
    }
}
