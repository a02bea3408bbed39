//! Values between commas or tabs with a header, written as COPY writes them: NULL is an empty
//! field, an empty text a pair of quotes.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use gristmill::CsvText;

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
}

impl Printer for Csv {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let lines = CsvText::new(self.delimiter, "")?;
        if std::mem::take(&mut self.header) {
            let names = self.schema.fields().iter().map(|field| field.name().as_str());
            out.write_all(&lines.line(names))?;
        }
        let mut text = Vec::new();
        lines.rows(batch.columns(), batch.num_rows(), &mut text)?;
        out.write_all(&text)?;
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.header && !self.schema.fields().is_empty() {
            self.batch(&RecordBatch::new_empty(self.schema.clone()), out)?;
        }
        Ok(())
    }
}
