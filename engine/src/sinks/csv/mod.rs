//! Writes its input to a CSV file: a header, then a line per row in the order of the input, in
//! UTF-8, with lines ending in `\n`.
//!
//! Texts are quoted only when they would be read as something else without quotes: when they hold
//! the delimiter, a quote or a line end, are empty, or are the text for NULL. Doubles are written
//! with the fewest digits that read back as the same number, decimals exactly, timestamps of a
//! time zone in UTC with a `Z`.
//!
//! Memory: one formatted chunk per worker, and the window of [`super::OrderedOutput`].
//! Concurrency: workers format side by side; only handing bytes to the system is one at a time.

mod format;

use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::format::CsvText;
use super::count::{CountSource, RowCount, count_schema};
use super::ordered::OrderedOutput;
use crate::batch::{Chunk, Place};
use crate::error::{Error, Result};
use crate::memory::Reservation;
use crate::pipeline::{Consumed, Context, Sink, SinkWorker};
use crate::plan::{Build, Field, Spec, Stream, to_fields};
use crate::scheduler::Token;

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
}

impl Spec for WriteCsv {
    fn name(&self) -> &'static str {
        "write_csv"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = inputs else {
            return Err(Error::internal("a CSV file is written from one input"));
        };
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

    fn to_json(&self) -> Result<Value> {
        to_fields(self)
    }

    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream> {
        let Ok([input]) = <[Stream; 1]>::try_from(inputs) else {
            return Err(Error::internal("a CSV file is written from one input"));
        };
        let style = self.text()?;
        let names = input.schema.fields().iter().map(|field| field.name().as_str());
        let head = if self.header { style.line(names) } else { Vec::new() };
        let sink = CsvSink {
            style,
            schema: input.schema.clone(),
            output: Arc::new(OrderedOutput::new(&self.path, head)),
            count: RowCount::default(),
        };
        let count = CountSource::new(sink.count.clone());
        let after = build.sink(input, Arc::new(sink));
        Ok(Stream::new(count_schema(), Arc::new(count), after))
    }
}

struct CsvSink {
    style: CsvText,
    schema: SchemaRef,
    output: Arc<OrderedOutput>,
    count: RowCount,
}

struct CsvSinkWorker {
    style: CsvText,
    schema: SchemaRef,
    output: Arc<OrderedOutput>,
    count: RowCount,
    /// Lines that are not handed over yet, and the chunk they are of.
    block: Vec<u8>,
    waiting: Option<Place>,
    charge: Reservation,
}

impl Sink for CsvSink {
    fn name(&self) -> &str {
        "write csv"
    }

    fn worker(&self, cx: &Context) -> Result<Box<dyn SinkWorker>> {
        Ok(Box::new(CsvSinkWorker {
            style: self.style.clone(),
            schema: self.schema.clone(),
            output: self.output.clone(),
            count: self.count.clone(),
            block: Vec::new(),
            waiting: None,
            charge: cx.memory().reserve("write csv", 0)?,
        }))
    }

    fn prepare(&self, _: &Context) -> Result<usize> {
        self.output.commit()?;
        Ok(0)
    }

    fn finish(&self, _: usize, _: &Context) -> Result<()> {
        Err(Error::internal("a CSV file has no finish tasks"))
    }

    fn reset(&self) -> Result<()> {
        self.output.reset();
        self.count.reset();
        Ok(())
    }
}

impl SinkWorker for CsvSinkWorker {
    fn consume(&mut self, input: Chunk, cx: &Context) -> Result<Consumed> {
        let place = input.place();
        let rows = input.live_rows();
        if self.waiting.take() != Some(place) {
            let batch = input.to_batch(&self.schema)?;
            let columns = batch.columns().iter().map(crate::batch::to_physical);
            let columns: Vec<_> = columns.collect::<Result<_>>()?;
            self.block.clear();
            self.style.rows(&columns, rows, &mut self.block)?;
            self.charge.resize_to(self.block.capacity())?;
        }
        match self.output.offer(place, &mut self.block, &mut self.charge, cx)? {
            Some(token) => {
                self.waiting = Some(place);
                Ok(Consumed::Blocked(token, input))
            }
            None => {
                self.count.add(rows);
                Ok(Consumed::NeedInput)
            }
        }
    }

    fn combine(&mut self, _: &Context) -> Result<Option<Token>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
