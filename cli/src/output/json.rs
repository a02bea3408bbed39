//! One array of objects per result, one object a line.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::json::LineDelimitedWriter;
use arrow::json::writer::WriterBuilder;

use super::{Failure, Printer};

/// Whether an object has been printed.
#[derive(Default)]
pub struct Json {
    begun: bool,
}

impl Printer for Json {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let mut text = Vec::new();
        let builder = WriterBuilder::new().with_explicit_nulls(true);
        let mut writer: LineDelimitedWriter<_> = builder.build(&mut text);
        writer.write(batch)?;
        writer.finish()?;
        for object in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            out.write_all(if std::mem::replace(&mut self.begun, true) { b",\n " } else { b"[" })?;
            out.write_all(object)?;
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        out.write_all(if self.begun { b"]\n" } else { b"[]\n" })?;
        Ok(())
    }
}
