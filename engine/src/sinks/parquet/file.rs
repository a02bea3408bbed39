//! The file under construction, and what sinks of row groups want to know of the format.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use parquet::file::writer::SerializedFileWriter;

use super::encode::{EncodedGroup, Format, RowGroup};

use crate::error::{Error, Result};
use crate::sinks::commit::Output;
use crate::sinks::groups::GroupFormat;

/// Bytes handed to the system at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What the footer keeps in memory of one column of one row group, about.
const FOOTER_BYTES_PER_COLUMN: usize = 1200;

/// What a worker can always have: enough for row groups that are not tiny.
const MINIMUM_BYTES: usize = 256 << 10;
const MINIMUM_BYTES_PER_COLUMN: usize = 96 << 10;

/// Where the bytes of a file go, until it is committed.
pub(in crate::sinks) struct Bytes(Option<BufWriter<Output>>);

impl Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Some(output) => output.write(bytes),
            None => Err(io::Error::other("the file is committed")),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.as_mut().map_or(Ok(()), BufWriter::flush)
    }
}

impl GroupFormat for Format {
    type Group = RowGroup;
    type Encoded = EncodedGroup;
    type File = SerializedFileWriter<Bytes>;

    fn name(&self) -> &'static str {
        "write parquet"
    }

    fn path(&self) -> &Path {
        self.path()
    }

    fn minimum_bytes(&self) -> usize {
        MINIMUM_BYTES + MINIMUM_BYTES_PER_COLUMN * self.leaves()
    }

    fn schema(&self) -> &SchemaRef {
        self.schema()
    }

    fn begin(&self) -> Result<RowGroup> {
        RowGroup::new(self)
    }

    fn add(&self, group: &mut RowGroup, arrays: &[ArrayRef]) -> Result<()> {
        group.write(self, arrays)
    }

    fn rows(&self, group: &RowGroup) -> usize {
        group.rows()
    }

    fn held_bytes(&self, group: &RowGroup) -> usize {
        group.held_bytes()
    }

    fn end(&self, group: RowGroup) -> Result<EncodedGroup> {
        group.finish(self)
    }

    fn encoded_bytes(&self, encoded: &EncodedGroup) -> usize {
        encoded.bytes
    }

    fn open(&self, output: Output) -> Result<SerializedFileWriter<Bytes>> {
        self.file(Bytes(Some(BufWriter::with_capacity(BUFFER_BYTES, output))))
    }

    fn append(
        &self,
        file: &mut SerializedFileWriter<Bytes>,
        encoded: EncodedGroup,
    ) -> Result<usize> {
        encoded.append_to(file).map_err(|e| self.error(e))?;
        Ok(FOOTER_BYTES_PER_COLUMN * self.leaves())
    }

    fn close(&self, mut file: SerializedFileWriter<Bytes>) -> Result<Output> {
        file.finish().map_err(|e| self.error(e))?;
        match file.inner_mut().0.take() {
            Some(output) => {
                output.into_inner().map_err(|e| Error::io("write", self.path(), e.into_error()))
            }
            None => Err(Error::internal("a file that is committed twice")),
        }
    }
}
