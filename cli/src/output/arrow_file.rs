//! An Arrow file with a footer: a record batch for each batch of the result.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::FileWriter;
use gristmill::{plain_batch, plain_schema};

use super::handed_on::HandedOn;
use super::{Failure, Printer};

/// The file begins with the first batch, or at the end of an empty result.
pub struct ArrowFile {
    schema: SchemaRef,
    bytes: HandedOn,
    writer: Option<FileWriter<HandedOn>>,
}

impl ArrowFile {
    /// A printer for results of this schema.
    pub fn new(schema: &SchemaRef) -> Self {
        ArrowFile { schema: plain_schema(schema), bytes: HandedOn::default(), writer: None }
    }

    fn writer(&mut self) -> Result<&mut FileWriter<HandedOn>, Failure> {
        Ok(match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(FileWriter::try_new(self.bytes.clone(), &self.schema)?),
        })
    }
}

impl Printer for ArrowFile {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let batch = plain_batch(batch, &self.schema)?;
        self.writer()?.write(&batch)?;
        self.bytes.to(out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        self.writer()?.finish()?;
        self.bytes.to(out)
    }
}
