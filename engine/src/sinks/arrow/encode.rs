//! Rows to messages: a record batch each, whose bytes are as they stand in the file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::concat;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::{
    DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message,
};

use super::ArrowCodec;
use super::compress::compressed;
use super::file::File;
use crate::error::{Error, Result};
use crate::expr::content_bytes;
use crate::memory::Governor;
use crate::sinks::commit::Output;
use crate::sinks::groups::GroupFormat;
use crate::sinks::plain::plain_schema;

/// Bytes of the values of a record batch, unless one row has more: whoever reads it has all of it
/// in memory.
pub(super) const MESSAGE_BYTES_MAX: usize = 2 << 20;

/// What a worker can always have.
const MINIMUM_BYTES: usize = 512 << 10;

/// How rows are written.
pub(in crate::sinks) struct Format {
    pub(super) path: PathBuf,
    /// The schema of the file.
    pub(super) schema: SchemaRef,
    codec: ArrowCodec,
    pub(super) options: IpcWriteOptions,
    pub(super) is_stream: bool,
}

/// Rows that are collected.
pub(in crate::sinks) struct Group {
    parts: Vec<Vec<ArrayRef>>,
    rows: usize,
    bytes: usize,
}

/// A message with a record batch.
pub(in crate::sinks) struct Message {
    pub(super) bytes: Vec<u8>,
    pub(super) metadata_bytes: usize,
    pub(super) body_bytes: usize,
}

impl Format {
    /// A file of rows of `schema`.
    ///
    /// # Errors
    /// `Input` when a column's type has no form in Arrow files, or there is no such level.
    pub(super) fn new(
        path: &Path,
        schema: &Schema,
        codec: ArrowCodec,
        is_stream: bool,
    ) -> Result<Self> {
        if let ArrowCodec::Zstd(Some(level)) = codec {
            let levels = zstd::compression_level_range();
            if !levels.contains(&level) {
                return Err(Error::input(format!(
                    "zstd has no level {level}; its levels go from {} to {}",
                    levels.start(),
                    levels.end()
                )));
            }
        }
        let options = IpcWriteOptions::default();
        let (path, schema) = (path.to_path_buf(), plain_schema(schema));
        Ok(Format { path, schema, codec, options, is_stream })
    }

    pub(super) fn error(&self, error: ArrowError) -> Error {
        match error {
            ArrowError::IoError(_, io) => Error::io("write", &self.path, io),
            other => other.into(),
        }
    }

    fn encode(&self, batch: &RecordBatch) -> Result<Message> {
        let (generator, mut dictionaries) =
            (IpcDataGenerator::default(), DictionaryTracker::new(true));
        let mut context = IpcWriteContext::default();
        let encoded = generator.encode(batch, &mut dictionaries, &self.options, &mut context);
        let (_, encoded) = encoded.map_err(|e| self.error(e))?;
        let encoded = compressed(encoded, self.codec)?;
        let mut bytes = Vec::with_capacity(encoded.arrow_data.len() + 4096);
        let lengths = write_message(&mut bytes, encoded, &self.options);
        let (metadata_bytes, body_bytes) = lengths.map_err(|e| self.error(e))?;
        Ok(Message { bytes, metadata_bytes, body_bytes })
    }
}

impl GroupFormat for Format {
    type Group = Group;
    type Encoded = Vec<Message>;
    type File = File;

    fn name(&self) -> &'static str {
        "write arrow"
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn minimum_bytes(&self) -> usize {
        MINIMUM_BYTES
    }

    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn begin(&self, _: &Governor) -> Result<Group> {
        Ok(Group { parts: Vec::new(), rows: 0, bytes: 0 })
    }

    fn add(&self, group: &mut Group, arrays: &[ArrayRef]) -> Result<()> {
        group.rows += arrays.first().map_or(0, |array| array.len());
        group.bytes += arrays.iter().map(|array| array.get_array_memory_size()).sum::<usize>();
        group.parts.push(arrays.to_vec());
        Ok(())
    }

    fn rows(&self, group: &Group) -> usize {
        group.rows
    }

    /// The parts, as much again for the messages that are made of them, and one of these twice
    /// while it is made.
    fn held_bytes(&self, group: &Group) -> usize {
        2 * group.bytes + 2 * group.bytes.min(MESSAGE_BYTES_MAX)
    }

    fn end(&self, group: Group) -> Result<Vec<Message>> {
        let columns = (0..self.schema.fields().len()).map(|column| {
            let parts: Vec<&dyn Array> =
                group.parts.iter().map(|part| part[column].as_ref()).collect();
            Ok(concat(&parts)?)
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        drop(group);
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        let batch = batch.map_err(|e| Error::internal(e.to_string()))?;
        let encode = |rows: Range<usize>| self.encode(&batch.slice(rows.start, rows.len()));
        pieces(&batch).into_iter().map(encode).collect()
    }

    fn encoded_bytes(&self, messages: &Vec<Message>) -> usize {
        messages.iter().map(|message| message.bytes.capacity()).sum()
    }

    fn open(&self, output: Output, _: &Governor) -> Result<File> {
        File::begin(self, output)
    }

    fn append(&self, file: &mut File, messages: Vec<Message>) -> Result<usize> {
        for message in messages {
            file.append(message).map_err(|e| Error::io("write", &self.path, e))?;
        }
        Ok(file.remembered_bytes())
    }

    fn close(&self, file: File) -> Result<Output> {
        file.end(self)
    }
}

/// The rows of a batch, cut so that each piece has at most [`MESSAGE_BYTES_MAX`] or one row.
fn pieces(batch: &RecordBatch) -> Vec<Range<usize>> {
    let bytes = |rows: &Range<usize>| -> usize {
        let rows = batch.columns().iter().map(|column| column.slice(rows.start, rows.len()));
        rows.map(|column| content_bytes(&column)).sum()
    };
    let mut pieces = Vec::new();
    // The next rows last.
    let mut left: Vec<Range<usize>> = std::iter::once(0..batch.num_rows()).collect();
    while let Some(rows) = left.pop() {
        if rows.len() > 1 && bytes(&rows) > MESSAGE_BYTES_MAX {
            let middle = rows.start + rows.len() / 2;
            left.extend([middle..rows.end, rows.start..middle]);
        } else {
            pieces.push(rows);
        }
    }
    pieces
}
