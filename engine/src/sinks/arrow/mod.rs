//! Writes its input to an Arrow file, in the order of the input: record batches of some 100,000
//! rows or 2 MB, compressed or not, in the file format (with a footer, also known as Feather) or as
//! a stream.
//!
//! Types are written so that any reader knows them: strings that are not views, dictionaries as
//! their values.
//!
//! * `encode`: rows to messages; `compress`: their buffers; `file`: what stands around them.

mod compress;
mod encode;
mod file;

use std::path::PathBuf;

use arrow::datatypes::SchemaRef;
use arrow::ipc::CompressionType;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::encode::Format;
use super::count::{count_schema, counted};
use super::groups::GroupSink;
use crate::batch::MORSEL_ROWS;
use crate::error::{Error, Result};
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};

/// Bytes of memory that a record batch takes when it ends, about.
const BATCH_BYTES: usize = 16 << 20;

/// `COPY … TO 'path'` as Arrow; gives one row, `count`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteArrow {
    /// The file to write; it appears when all rows are written.
    pub path: PathBuf,
    /// How buffers are compressed.
    pub compression: ArrowCodec,
    /// Whether it is a stream, without a footer.
    pub stream: bool,
    /// Rows in a record batch, about.
    pub batch_rows: usize,
}

/// How the buffers of a record batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArrowCodec {
    /// Not at all.
    #[default]
    None,
    /// LZ4 frames: fast.
    Lz4,
    /// Zstandard, at this level or at its default: smaller.
    Zstd(Option<i32>),
}

impl ArrowCodec {
    /// Its name in options and explanations.
    pub fn name(self) -> &'static str {
        match self {
            ArrowCodec::None => "none",
            ArrowCodec::Lz4 => "lz4",
            ArrowCodec::Zstd(_) => "zstd",
        }
    }

    fn kind(self) -> Option<CompressionType> {
        match self {
            ArrowCodec::None => None,
            ArrowCodec::Lz4 => Some(CompressionType::LZ4_FRAME),
            ArrowCodec::Zstd(_) => Some(CompressionType::ZSTD),
        }
    }
}

impl WriteArrow {
    /// The file format, not compressed, a batch for every full morsel.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        WriteArrow {
            path: path.into(),
            compression: ArrowCodec::default(),
            stream: false,
            batch_rows: MORSEL_ROWS,
        }
    }

    /// The sink for rows of `schema`.
    pub(in crate::sinks) fn sink(&self, schema: &SchemaRef) -> Result<GroupSink<Format>> {
        Ok(GroupSink::new(self.format(schema)?, self.batch_rows, BATCH_BYTES))
    }

    fn format(&self, schema: &SchemaRef) -> Result<Format> {
        Format::new(&self.path, schema, self.compression, self.stream)
    }
}

impl Spec for WriteArrow {
    fn name(&self) -> &'static str {
        "write_arrow"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "an Arrow file")?;
        if input.fields().is_empty() {
            return Err(Error::input("an Arrow file needs a column at least"));
        }
        if self.batch_rows == 0 {
            return Err(Error::input("a record batch needs a row at least"));
        }
        self.format(input)?;
        Ok(count_schema())
    }

    fn explain(&self) -> Vec<Field> {
        let mut fields = vec![("path", self.path.display().to_string())];
        if self.compression != ArrowCodec::None {
            fields.push(("compression", self.compression.name().to_string()));
        }
        if self.stream {
            fields.push(("stream", "yes".to_string()));
        }
        if self.batch_rows != MORSEL_ROWS {
            fields.push(("batch", self.batch_rows.to_string()));
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
        let [input] = take_inputs(inputs, "an Arrow file")?;
        let sink = self.sink(&input.schema)?;
        let count = sink.count().clone();
        Ok(counted(input, sink, count, build))
    }
}

#[cfg(test)]
mod tests;
