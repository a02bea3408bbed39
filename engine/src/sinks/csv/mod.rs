//! Writes its input to a CSV file: a header, then a line per row in the order of the input, in
//! UTF-8, with lines ending in `\n`.
//!
//! Texts are quoted only when they would be read as something else without quotes: when they hold
//! the delimiter, a quote or a line end, are empty, or are the text for NULL. Doubles are written
//! with the fewest digits that read back as the same number, decimals exactly, timestamps of a
//! time zone in UTC with a `Z`.

mod format;

use std::path::PathBuf;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::format::CsvText;
use super::count::{count_schema, counted};
use super::lines::{RowText, TextSink};
use super::ordered::OrderedOutput;
use crate::error::{Error, Result};
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};

/// `COPY … TO 'path'` as CSV; gives one row, `count`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteCsv {
    /// The file to write; it appears when all rows are written.
    pub path: PathBuf,
    /// Between fields, one ASCII character.
    pub delimiter: char,
    /// Whether the first line names the columns.
    pub header: bool,
    /// What is written for NULL.
    pub null_string: String,
}

impl WriteCsv {
    /// Commas, a header, and an empty field for NULL.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        WriteCsv { path: path.into(), delimiter: ',', header: true, null_string: String::new() }
    }

    fn text(&self) -> Result<CsvText> {
        CsvText::new(self.delimiter, &self.null_string)
    }

    /// The sink for rows of `schema`.
    pub(super) fn sink(&self, schema: SchemaRef) -> Result<TextSink<CsvText>> {
        let text = self.text()?;
        let names = schema.fields().iter().map(|field| field.name().as_str());
        let head = if self.header { text.line(names) } else { Vec::new() };
        let output = OrderedOutput::new(&self.path, head);
        Ok(TextSink::new("write csv", text, schema, output))
    }
}

impl Spec for WriteCsv {
    fn name(&self) -> &'static str {
        "write_csv"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "a CSV file")?;
        self.text()?;
        if let Some(field) = input.fields().iter().find(|f| !format::is_writable(f.data_type())) {
            return Err(Error::input(format!(
                "column `{}` of type {} cannot be written to a CSV file; write Parquet, or turn it \
                 into text",
                field.name(),
                field.data_type()
            )));
        }
        Ok(count_schema())
    }

    fn explain(&self) -> Vec<Field> {
        let mut fields = vec![("path", self.path.display().to_string())];
        if self.delimiter != ',' {
            fields.push(("delimiter", format!("{:?}", self.delimiter)));
        }
        if !self.header {
            fields.push(("header", "no".to_string()));
        }
        if !self.null_string.is_empty() {
            fields.push(("null", self.null_string.clone()));
        }
        fields
    }

    fn intake(&self) -> Intake {
        Intake::Collects
    }

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let [input] = take_inputs(inputs, "a CSV file")?;
        let sink = self.sink(input.schema.clone())?;
        let count = sink.count().clone();
        Ok(counted(input, sink, count, build))
    }
}

impl RowText for CsvText {
    fn rows(&self, columns: &[ArrayRef], rows: usize, out: &mut Vec<u8>) -> Result<()> {
        CsvText::rows(self, columns, rows, out)
    }
}

#[cfg(test)]
mod tests;
