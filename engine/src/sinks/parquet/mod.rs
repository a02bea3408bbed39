//! Writes its input to a Parquet file, in the order of the input.
//!
//! Memory: beside what `groups` says, a dictionary per column and worker where that pays.
//!
//! * `encode`: rows to row groups; `file`: row groups to the file; `footer`: what it ends with,
//!   which is `remembered` until then.
//! * `flat`: columns of the usual types; `values`: the values of a page, by `dictionary` codes or
//!   plain; `hybrid`: codes as bits; `bounds`: the smallest and largest values.

mod bounds;
mod dictionary;
mod encode;
mod file;
mod flat;
mod footer;
mod hybrid;
mod remembered;
mod values;

use std::path::PathBuf;

use arrow::datatypes::SchemaRef;
use parquet::basic::Compression;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use self::encode::Format;
use super::count::{count_schema, counted};
use super::groups::GroupSink;
use crate::batch::MORSEL_ROWS;
use crate::error::{Error, Result};
use crate::plan::{Build, Field, Intake, Spec, Stream, take_inputs, to_fields};

/// Bytes of a row group unless the statement says otherwise.
const GROUP_BYTES: usize = 16 << 20;

/// `COPY … TO 'path'` as Parquet; gives one row, `count`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteParquet {
    /// The file to write; it appears when all rows are written.
    pub path: PathBuf,
    /// How pages are compressed.
    pub compression: Codec,
    /// Rows in a row group, about: a row group is never cut just before it ends.
    pub row_group_rows: usize,
    /// Bytes of memory that a row group takes when it ends, about.
    pub row_group_bytes: usize,
}

/// How the pages of a file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// Not at all.
    None,
    /// Snappy: fast, the usual choice.
    #[default]
    Snappy,
    /// Zstandard at its default level: smaller, slower to write.
    Zstd,
    /// LZ4 blocks: fast to read.
    Lz4,
    /// Gzip: for readers that know nothing else.
    Gzip,
    /// Brotli: small, slow to write.
    Brotli,
}

impl Codec {
    /// All of them.
    pub const ALL: [Codec; 6] =
        [Codec::None, Codec::Snappy, Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Brotli];

    /// Its name in plans and options.
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Snappy => "snappy",
            Codec::Zstd => "zstd",
            Codec::Lz4 => "lz4",
            Codec::Gzip => "gzip",
            Codec::Brotli => "brotli",
        }
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        match codec {
            Codec::None => Compression::UNCOMPRESSED,
            Codec::Snappy => Compression::SNAPPY,
            Codec::Zstd => Compression::ZSTD(Default::default()),
            Codec::Lz4 => Compression::LZ4_RAW,
            Codec::Gzip => Compression::GZIP(Default::default()),
            Codec::Brotli => Compression::BROTLI(Default::default()),
        }
    }
}

impl WriteParquet {
    /// Snappy, and a row group for every full morsel.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        WriteParquet {
            path: path.into(),
            compression: Codec::default(),
            row_group_rows: MORSEL_ROWS,
            row_group_bytes: GROUP_BYTES,
        }
    }
}

impl WriteParquet {
    /// The sink for rows of `schema`.
    pub(in crate::sinks) fn sink(&self, schema: &SchemaRef) -> Result<GroupSink<Format>> {
        let format = Format::new(&self.path, schema, self.compression)?;
        Ok(GroupSink::new(format, self.row_group_rows, self.row_group_bytes))
    }
}

impl Spec for WriteParquet {
    fn name(&self) -> &'static str {
        "write_parquet"
    }

    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef> {
        let [input] = &take_inputs(inputs.to_vec(), "a Parquet file")?;
        if input.fields().is_empty() {
            return Err(Error::input("a Parquet file needs a column at least"));
        }
        if self.row_group_rows == 0 || self.row_group_bytes == 0 {
            return Err(Error::input("a row group needs a row at least"));
        }
        Format::new(&self.path, input, self.compression)?;
        Ok(count_schema())
    }

    fn explain(&self) -> Vec<Field> {
        let mut fields = vec![("path", self.path.display().to_string())];
        if self.compression != Codec::default() {
            fields.push(("compression", self.compression.name().to_string()));
        }
        if self.row_group_rows != MORSEL_ROWS {
            fields.push(("row group", self.row_group_rows.to_string()));
        }
        if self.row_group_bytes != GROUP_BYTES {
            fields.push(("row group bytes", self.row_group_bytes.to_string()));
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
        let [input] = take_inputs(inputs, "a Parquet file")?;
        let sink = self.sink(&input.schema)?;
        let count = sink.count().clone();
        Ok(counted(input, sink, count, build))
    }
}

#[cfg(test)]
mod tests;
