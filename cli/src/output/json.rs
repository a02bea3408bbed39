//! Objects, one a line: in one array per result, or bare.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::WriterBuilder;

use super::{Failure, Printer};

/// Prints objects.
pub struct Json {
    in_array: bool,
    /// Whether an object has been printed.
    begun: bool,
}

impl Json {
    /// `[{…},` and so on.
    pub fn array() -> Self {
        Json { in_array: true, begun: false }
    }

    /// Every line is an object.
    pub fn lines() -> Self {
        Json { in_array: false, begun: false }
    }
}

impl Printer for Json {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let mut text = Vec::new();
        let builder = WriterBuilder::new().with_explicit_nulls(true);
        let mut writer: LineDelimitedWriter<_> = builder.build(&mut text);
        writer.write(batch)?;
        writer.finish()?;
        if !self.in_array {
            out.write_all(&text)?;
            return Ok(());
        }
        for object in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            out.write_all(if std::mem::replace(&mut self.begun, true) { b",\n " } else { b"[" })?;
            out.write_all(object)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.in_array {
            out.write_all(if self.begun { b"]\n" } else { b"[]\n" })?;
        }
        Ok(())
    }
}
