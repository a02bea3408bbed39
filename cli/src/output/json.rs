//! Objects, one a line: in one array per result, or bare. Values are written as COPY writes them.

use std::io::Write;

use arrow::array::RecordBatch;
use gristmill::JsonText;

use super::json_value::{name, value};
use super::long::{Part, parts};
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

impl Json {
    /// What stands before an object.
    fn before(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.in_array {
            out.write_all(if std::mem::replace(&mut self.begun, true) { b",\n " } else { b"[" })?;
        }
        Ok(())
    }

    /// What stands behind it.
    fn after(&self, out: &mut dyn Write) -> Result<(), Failure> {
        if !self.in_array {
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn rows(&mut self, rows: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let (mut text, schema) = (Vec::new(), rows.schema());
        let lines = JsonText::new(schema.fields().iter().map(|field| field.name().as_str()));
        lines.rows(rows.columns(), rows.num_rows(), &mut text)?;
        if !self.in_array {
            out.write_all(&text)?;
            return Ok(());
        }
        for object in text.split(|&b| b == b'\n').filter(|line| !line.is_empty()) {
            self.before(out)?;
            out.write_all(object)?;
        }
        Ok(())
    }

    /// A row with long values.
    fn long(&mut self, row: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        self.before(out)?;
        let schema = row.schema();
        for (at, (field, column)) in schema.fields().iter().zip(row.columns()).enumerate() {
            out.write_all(if at > 0 { b"," } else { b"{" })?;
            name(field, out)?;
            value(column, 0, out)?;
        }
        out.write_all(b"}")?;
        self.after(out)
    }
}

impl Printer for Json {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        parts(batch, &mut |part| match part {
            Part::Rows(rows) => self.rows(&rows, out),
            Part::Long(row) => self.long(&row, out),
        })
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.in_array {
            out.write_all(if self.begun { b"]\n" } else { b"[]\n" })?;
        }
        Ok(())
    }
}
