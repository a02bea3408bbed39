//! A Parquet file, written as the rows come.
//!
//! Memory: a row group of [`ROW_GROUP_BYTES`], encoded, at most, and one batch.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use gristmill::{Error, parquet_schema, plain_batch};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::handed_on::HandedOn;
use super::{Failure, Printer};

/// Rows in a row group.
const ROW_GROUP_ROWS: usize = 131_072;

/// Bytes of memory behind which a row group ends.
const ROW_GROUP_BYTES: usize = 8 << 20;

/// The file begins with the first batch, or at the end of an empty result.
pub struct ParquetFile {
    schema: SchemaRef,
    bytes: HandedOn,
    writer: Option<ArrowWriter<HandedOn>>,
}

impl ParquetFile {
    /// A printer for results of this schema.
    pub fn new(schema: &SchemaRef) -> Self {
        ParquetFile { schema: parquet_schema(schema), bytes: HandedOn::default(), writer: None }
    }

    fn writer(&mut self) -> Result<&mut ArrowWriter<HandedOn>, Failure> {
        if self.schema.fields().is_empty() {
            return Err(Error::input("a Parquet file needs a column at least").into());
        }
        Ok(match &mut self.writer {
            Some(writer) => writer,
            none => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
                    .build();
                let (bytes, schema) = (self.bytes.clone(), self.schema.clone());
                let writer = ArrowWriter::try_new(bytes, schema, Some(properties));
                none.insert(writer.map_err(failure)?)
            }
        })
    }
}

fn failure(error: ParquetError) -> Failure {
    Error::input(format!("the result cannot be printed as Parquet: {error}")).into()
}

impl Printer for ParquetFile {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let batch = plain_batch(batch, &self.schema)?;
        let writer = self.writer()?;
        writer.write(&batch).map_err(failure)?;
        if writer.in_progress_size() > ROW_GROUP_BYTES {
            writer.flush().map_err(failure)?;
        }
        self.bytes.to(out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        self.writer()?;
        if let Some(writer) = self.writer.take() {
            writer.close().map_err(failure)?;
        }
        self.bytes.to(out)
    }
}
