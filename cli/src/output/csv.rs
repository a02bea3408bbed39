//! Comma-separated values with a header; NULL is an empty field.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::datatypes::SchemaRef;

use super::{Failure, Printer};

/// The header goes out with the first batch, or at the end of an empty result.
pub struct Csv {
    schema: SchemaRef,
    header: bool,
}

impl Csv {
    /// A printer for results of this schema.
    pub fn new(schema: SchemaRef) -> Self {
        Csv { schema, header: true }
    }
}

impl Printer for Csv {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let header = std::mem::take(&mut self.header);
        let mut text = Vec::new();
        WriterBuilder::new().with_header(header).build(&mut text).write(batch)?;
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
