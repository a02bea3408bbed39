//! Aligned columns for people.
//!
//! Column widths come from the first rows; later rows are printed as they come, and a longer cell
//! pushes its line out. Memory: the text of at most [`SAMPLE_ROWS`] rows.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Failure, Printer};

/// Rows that decide the widths.
const SAMPLE_ROWS: usize = 1_000;

/// Widest a column is made for; longer cells are printed whole.
const WIDTH_MAX: usize = 60;

/// Holds the first rows until the widths are known.
pub struct Table {
    schema: SchemaRef,
    sample: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
    rows: u64,
}

impl Table {
    /// A printer for results of this schema.
    pub fn new(schema: SchemaRef) -> Self {
        Table { schema, sample: Vec::new(), widths: None, rows: 0 }
    }

    /// Decides the widths, prints the header and the rows held.
    fn begin(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        let names: Vec<String> = self.schema.fields().iter().map(|f| f.name().clone()).collect();
        let width = |c: usize| {
            let cells = self.sample.iter().map(|row| &row[c]).chain([&names[c]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).min(WIDTH_MAX)
        };
        let widths: Vec<usize> = (0..names.len()).map(width).collect();
        self.line(&names, &widths, out)?;
        let rule: Vec<String> = widths.iter().map(|&w| "─".repeat(w)).collect();
        writeln!(out, "{}", rule.join("  "))?;
        for row in std::mem::take(&mut self.sample) {
            self.line(&row, &widths, out)?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    fn line(&self, cells: &[String], widths: &[usize], out: &mut dyn Write) -> Result<(), Failure> {
        let last = cells.len().saturating_sub(1);
        let mut text = String::new();
        for (c, cell) in cells.iter().enumerate() {
            let pad = " ".repeat(widths[c].saturating_sub(cell.chars().count()));
            let right = is_number(self.schema.field(c).data_type());
            if right {
                text.push_str(&pad);
            }
            text.push_str(cell);
            if c < last {
                text.push_str(if right { "" } else { &pad });
                text.push_str("  ");
            }
        }
        writeln!(out, "{}", text.trim_end())?;
        Ok(())
    }
}

impl Printer for Table {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let options = FormatOptions::new().with_null("NULL");
        let columns = batch.columns().iter().map(|c| ArrayFormatter::try_new(c, &options));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        self.rows += batch.num_rows() as u64;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|c| c.value(row).try_to_string());
            let cells = cells.collect::<Result<Vec<_>, _>>()?;
            match &self.widths {
                Some(widths) => self.line(&cells, widths, out)?,
                None => self.sample.push(cells),
            }
            if self.widths.is_none() && self.sample.len() == SAMPLE_ROWS {
                self.begin(out)?;
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.widths.is_none() {
            self.begin(out)?;
        }
        let rows = if self.rows == 1 { "row" } else { "rows" };
        writeln!(out, "({} {rows})", self.rows)?;
        Ok(())
    }
}

fn is_number(data_type: &DataType) -> bool {
    data_type.is_numeric()
}
