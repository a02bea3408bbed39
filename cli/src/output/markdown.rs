//! A table in Markdown; numbers stand at the right.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::long::{Part, parts, write_value};
use super::screen::one_line;
use super::table::{is_number, texts};
use super::{Failure, Printer};

/// The header goes out with the first batch, or at the end of an empty result.
pub struct Markdown {
    schema: SchemaRef,
    begun: bool,
}

impl Markdown {
    /// A printer for results of this schema.
    pub fn new(schema: SchemaRef) -> Self {
        Markdown { schema, begun: false }
    }

    fn begin(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if std::mem::replace(&mut self.begun, true) {
            return Ok(());
        }
        let fields = self.schema.fields();
        line(fields.iter().map(|field| field.name().clone()), out)?;
        let rule = |number| if number { "--:" } else { "---" }.to_string();
        line(fields.iter().map(|field| rule(is_number(field.data_type()))), out)
    }
}

impl Printer for Markdown {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        self.begin(out)?;
        parts(batch, &mut |part| match part {
            Part::Rows(rows) => texts(&rows, 0..rows.num_rows(), usize::MAX, |row| {
                line(row.into_iter().map(|cell| escaped(&cell)), out)
            }),
            Part::Long(row) => long(&row, out),
        })
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.schema.fields().is_empty() { Ok(()) } else { self.begin(out) }
    }
}

fn line(cells: impl Iterator<Item = String>, out: &mut dyn Write) -> Result<(), Failure> {
    let cells: Vec<String> = cells.collect();
    writeln!(out, "| {} |", cells.join(" | "))?;
    Ok(())
}

fn escaped(cell: &str) -> String {
    cell.replace('\\', "\\\\").replace('|', "\\|")
}

/// A row with long values.
fn long(row: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
    for column in row.columns() {
        out.write_all(b"| ")?;
        write_value(column, 0, |piece| {
            let piece = escaped(&one_line(piece.to_string()));
            Ok(out.write_all(piece.as_bytes())?)
        })?;
        out.write_all(b" ")?;
    }
    Ok(out.write_all(b"|\n")?)
}
