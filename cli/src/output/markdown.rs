//! A table in Markdown; numbers stand at the right.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

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
        let escaped = |cell: String| cell.replace('\\', "\\\\").replace('|', "\\|");
        texts(batch, 0..batch.num_rows(), |row| line(row.into_iter().map(escaped), out))
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
