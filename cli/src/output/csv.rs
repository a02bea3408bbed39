//! Values between commas or tabs with a header, written as COPY writes them: NULL is an empty
//! field, an empty text a pair of quotes.

use std::io::Write;
use std::slice;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::SchemaRef;
use gristmill::CsvText;

use super::long::{Part, is_long, parts, write_value};
use super::{Failure, Printer};

/// The header goes out with the first batch, or at the end of an empty result.
pub struct Csv {
    schema: SchemaRef,
    delimiter: char,
    header: bool,
}

impl Csv {
    /// A printer for results of this schema.
    pub fn new(schema: SchemaRef, delimiter: char) -> Self {
        Csv { schema, delimiter, header: true }
    }

    /// A row with long values.
    fn long(&self, lines: &CsvText, row: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        for (position, column) in row.columns().iter().enumerate() {
            if position > 0 {
                write!(out, "{}", self.delimiter)?;
            }
            if is_long(column, 0) {
                long_field(lines, column, out)?;
                continue;
            }
            let mut line = Vec::new();
            lines.rows(slice::from_ref(column), 1, &mut line)?;
            out.write_all(line.strip_suffix(b"\n").unwrap_or(&line))?;
        }
        Ok(out.write_all(b"\n")?)
    }
}

/// The only value of a column. Its text is made twice: the first time shows whether it needs
/// quotes.
fn long_field(lines: &CsvText, column: &ArrayRef, out: &mut dyn Write) -> Result<(), Failure> {
    let mut quoted = false;
    write_value(column, 0, |piece| {
        quoted |= lines.needs_quotes(piece.as_bytes());
        Ok(())
    })?;
    if !quoted {
        return write_value(column, 0, |piece| Ok(out.write_all(piece.as_bytes())?));
    }
    out.write_all(b"\"")?;
    write_value(column, 0, |piece| {
        for part in piece.split_inclusive('"') {
            out.write_all(part.as_bytes())?;
            if part.ends_with('"') {
                out.write_all(b"\"")?;
            }
        }
        Ok(())
    })?;
    Ok(out.write_all(b"\"")?)
}

impl Printer for Csv {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let lines = CsvText::new(self.delimiter, "")?;
        if std::mem::take(&mut self.header) {
            let names = self.schema.fields().iter().map(|field| field.name().as_str());
            out.write_all(&lines.line(names))?;
        }
        let mut text = Vec::new();
        parts(batch, &mut |part| match part {
            Part::Rows(rows) => {
                text.clear();
                lines.rows(rows.columns(), rows.num_rows(), &mut text)?;
                Ok(out.write_all(&text)?)
            }
            Part::Long(row) => self.long(&lines, &row, out),
        })
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.header && !self.schema.fields().is_empty() {
            self.batch(&RecordBatch::new_empty(self.schema.clone()), out)?;
        }
        Ok(())
    }
}
