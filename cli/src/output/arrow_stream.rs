//! An Arrow stream: a schema and a record batch for each batch of the result, for programs that
//! read them from a pipe.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamEncoder;
use gristmill::{plain_batch, plain_schema};

use super::{Failure, Printer};

/// The stream begins with the first batch, or at the end of an empty result.
pub struct ArrowStream {
    schema: SchemaRef,
    encoder: Option<StreamEncoder>,
}

impl ArrowStream {
    /// A printer for results of this schema.
    pub fn new(schema: &SchemaRef) -> Self {
        ArrowStream { schema: plain_schema(schema), encoder: None }
    }

    fn encoder(&mut self) -> Result<&mut StreamEncoder, Failure> {
        Ok(match &mut self.encoder {
            Some(encoder) => encoder,
            none => none.insert(StreamEncoder::try_new(&self.schema)?),
        })
    }
}

fn write(buffers: &[Buffer], out: &mut dyn Write) -> Result<(), Failure> {
    buffers.iter().try_for_each(|buffer| out.write_all(buffer))?;
    Ok(())
}

impl Printer for ArrowStream {
    fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<(), Failure> {
        let batch = plain_batch(batch, &self.schema)?;
        let buffers = self.encoder()?.encode(&batch)?;
        write(&buffers, out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> Result<(), Failure> {
        if self.encoder.is_none() {
            self.batch(&RecordBatch::new_empty(self.schema.clone()), out)?;
        }
        match self.encoder.take() {
            Some(encoder) => write(&encoder.finish()?, out),
            None => Ok(()),
        }
    }
}
