//! Writes its input to a file of JSON: an object a row, in the order of the input, on a line of its
//! own or as items of one array.
//!
//! Keys are the names of the columns; NULL is written as `null`, so that every row has all keys.
//! Numbers are exact: doubles have the fewest digits that read back as the same number, decimals
//! all of theirs. JSON has no NaN and no infinities: `NaN`, `Infinity` and `-Infinity` are written,
//! which this engine and others read. Dates and timestamps are strings in the form of ISO 8601,
//! timestamps of a time zone in UTC with a `Z`.
//! Lists are arrays, structs and maps are objects, binary values are strings of hexadecimal digits.

mod format;

use std::path::PathBuf;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::format::{JsonText, json_key, json_values};
use super::count::{count_schema, counted};
use super::lines::{RowText, TextSink};
use super::ordered::OrderedOutput;
use crate::error::{Error, Result};
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};

/// `COPY … TO 'path'` as JSON; gives one row, `count`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteJson {
    /// The file to write; it appears when all rows are written.
    pub path: PathBuf,
    /// Whether the rows are the items of one array; else each has a line.
    pub array: bool,
}

impl WriteJson {
    /// A line a row.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        WriteJson { path: path.into(), array: false }
    }

    /// The sink for rows of `schema`.
    pub(super) fn sink(&self, schema: SchemaRef) -> TextSink<JsonText> {
        let text = JsonText::new(schema.fields().iter().map(|field| field.name().as_str()));
        let (text, output) = match self.array {
            true => {
                let output = OrderedOutput::new(&self.path, b"[\n".to_vec());
                (text.items(), output.joined(b",\n", b"\n]\n"))
            }
            false => (text, OrderedOutput::new(&self.path, Vec::new())),
        };
        TextSink::new("write json", text, schema, output)
    }
}

impl Spec for WriteJson {
    fn name(&self) -> &'static str {
        "write_json"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "a JSON file")?;
        if let Some(field) = input.fields().iter().find(|f| !format::is_writable(f.data_type())) {
            return Err(Error::input(format!(
                "column `{}` of type {} cannot be written as JSON; turn it into text",
                field.name(),
                field.data_type()
            )));
        }
        Ok(count_schema())
    }

    fn explain(&self) -> Vec<Field> {
        let mut fields = vec![("path", self.path.display().to_string())];
        if self.array {
            fields.push(("array", "yes".to_string()));
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
        let [input] = take_inputs(inputs, "a JSON file")?;
        let sink = self.sink(input.schema.clone());
        let count = sink.count().clone();
        Ok(counted(input, sink, count, build))
    }
}

impl RowText for JsonText {
    fn rows(&self, columns: &[ArrayRef], rows: usize, out: &mut Vec<u8>) -> Result<()> {
        JsonText::rows(self, columns, rows, out)
    }
}

#[cfg(test)]
mod tests;
