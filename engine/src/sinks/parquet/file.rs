//! The file under construction, and what sinks of row groups want to know of the format.

use std::io::{BufWriter, Write};
use std::path::Path;

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use parquet::file::writer::TrackedWrite;

use super::encode::{EncodedGroup, Format, RowGroup};
use super::flat::page_bytes;
use super::footer::{Footer, MAGIC};
use crate::error::{Error, Result};
use crate::memory::Governor;
use crate::sinks::commit::Output;
use crate::sinks::groups::GroupFormat;

/// Bytes handed to the system at once.
const BUFFER_BYTES: usize = 256 << 10;

/// What a worker can always have: enough for row groups that are not tiny.
const MINIMUM_BYTES: usize = 256 << 10;
const MINIMUM_BYTES_PER_COLUMN: usize = 96 << 10;

/// A file under construction.
pub(in crate::sinks) struct File {
    output: TrackedWrite<BufWriter<Output>>,
    footer: Footer,
}

impl GroupFormat for Format {
    type Group = RowGroup;
    type Encoded = EncodedGroup;
    type File = File;

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

    fn begin(&self, memory: &Governor) -> Result<RowGroup> {
        RowGroup::new(self, page_bytes(memory.limit()))
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

    fn compact(&self, group: &mut RowGroup) -> Result<()> {
        group.compact(self)
    }

    fn end(&self, group: RowGroup) -> Result<EncodedGroup> {
        group.finish(self)
    }

    fn encoded_bytes(&self, encoded: &EncodedGroup) -> usize {
        encoded.bytes
    }

    fn open(&self, output: Output, memory: &Governor) -> Result<File> {
        let footer = Footer::new(memory, self.name()).map_err(|e| self.error(e))?;
        let mut output = TrackedWrite::new(BufWriter::with_capacity(BUFFER_BYTES, output));
        output.write_all(&MAGIC).map_err(|e| Error::io("write", self.path(), e))?;
        Ok(File { output, footer })
    }

    fn append(&self, file: &mut File, encoded: EncodedGroup) -> Result<usize> {
        let Ok(number) = i16::try_from(file.footer.groups()) else {
            return Err(Error::input(format!(
                "{} would have more than {} row groups, and many programs cannot read that; \
                 write several files, or larger row groups, for which more memory may be needed",
                self.path().display(),
                file.footer.groups()
            )));
        };
        let written = encoded.write(self, number, &mut file.output).map_err(|e| self.error(e))?;
        file.footer.add(written, self)?;
        Ok(file.footer.held_bytes())
    }

    fn close(&self, file: File) -> Result<Output> {
        let File { mut output, footer } = file;
        footer.write(self, &mut output)?;
        let failed = |e| Error::io("write", self.path(), e);
        output.flush().map_err(failed)?;
        let output = output.into_inner().map_err(|e| self.error(e))?;
        output.into_inner().map_err(|e| failed(e.into_error()))
    }
}
