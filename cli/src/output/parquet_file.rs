//! A Parquet file, written as the rows come.
//!
//! Memory: the encoded pages of one row group.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use gristmill::{Error, plain_batch, plain_schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Failure, Printer};

/// Rows in a row group.
const ROW_GROUP_ROWS: usize = 131_072;

/// The file begins with the first batch, or at the end of an empty result.
pub struct ParquetFile {
    schema: SchemaRef,
    bytes: Bytes,
    writer: Option<ArrowWriter<Bytes>>,
}

/// What was written and is not handed on yet.
#[derive(Clone, Default)]
struct Bytes(Arc<Mutex<Vec<u8>>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Bytes {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn hand_on(&self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut bytes = self.lock();
        out.write_all(&bytes)?;
        bytes.clear();
        Ok(())
    }
}

impl ParquetFile {
    /// A printer for results of this schema.
    pub fn new(schema: &SchemaRef) -> Self {
        ParquetFile { schema: plain_schema(schema), bytes: Bytes::default(), writer: None }
    }

    fn writer(&mut self) -> Result<&mut ArrowWriter<Bytes>, Failure> {
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
        self.writer()?.write(&batch).map_err(failure)?;
        self.bytes.hand_on(out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        self.writer()?;
        if let Some(writer) = self.writer.take() {
            writer.close().map_err(failure)?;
        }
        self.bytes.hand_on(out)
    }
}
