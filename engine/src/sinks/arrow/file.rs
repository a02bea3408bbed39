//! What stands around the messages of an Arrow file: the schema before them, and the footer that
//! says where they are.

use std::io::{self, BufWriter, Write};

use arrow::ipc::convert::IpcSchemaEncoder;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, write_message};
use arrow::ipc::{Block, FooterBuilder, MetadataVersion};
use flatbuffers::FlatBufferBuilder;

use super::encode::{Format, Message};
use crate::error::{Error, Result};
use crate::sinks::commit::Output;

/// What a file in the file format begins with, up to where the first message is aligned, and what
/// it ends with.
const HEAD: [u8; 64] = {
    let mut head = [0; 64];
    let mut at = 0;
    while at < MAGIC.len() {
        head[at] = MAGIC[at];
        at += 1;
    }
    head
};
const MAGIC: [u8; 6] = *b"ARROW1";

/// Behind the last message.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Bytes handed to the system at once.
const BUFFER_BYTES: usize = 256 << 10;

/// A file under construction.
pub(in crate::sinks) struct File {
    output: BufWriter<Output>,
    /// Bytes written.
    at: usize,
    blocks: Vec<Block>,
}

impl File {
    /// Writes what stands before the record batches.
    pub(super) fn begin(format: &Format, output: Output) -> Result<File> {
        let mut output = BufWriter::with_capacity(BUFFER_BYTES, output);
        let mut at = 0;
        if !format.is_stream {
            output.write_all(&HEAD).map_err(|e| Error::io("write", &format.path, e))?;
            at += HEAD.len();
        }
        let schema = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            &format.schema,
            &mut DictionaryTracker::new(true),
            &format.options,
        );
        let written = write_message(&mut output, schema, &format.options);
        let (metadata, body) = written.map_err(|e| format.error(e))?;
        Ok(File { output, at: at + metadata + body, blocks: Vec::new() })
    }

    /// Writes a record batch.
    pub(super) fn append(&mut self, message: Message) -> io::Result<()> {
        let (metadata, body) = (message.metadata_bytes, message.body_bytes);
        self.blocks.push(Block::new(self.at as i64, metadata as i32, body as i64));
        self.at += metadata + body;
        self.output.write_all(&message.bytes)
    }

    /// Bytes of memory that record batches are remembered by.
    pub(super) fn remembered_bytes(&self) -> usize {
        self.blocks.capacity() * size_of::<Block>()
    }

    /// Writes what stands behind the record batches.
    pub(super) fn end(mut self, format: &Format) -> Result<Output> {
        let mut tail = END_OF_STREAM.to_vec();
        if !format.is_stream {
            let footer = self.footer(format);
            tail.extend_from_slice(&footer);
            tail.extend_from_slice(&(footer.len() as i32).to_le_bytes());
            tail.extend_from_slice(&MAGIC);
        }
        let failed = |e: io::Error| Error::io("write", &format.path, e);
        self.output.write_all(&tail).map_err(failed)?;
        self.output.into_inner().map_err(|e| failed(e.into_error()))
    }

    fn footer(&self, format: &Format) -> Vec<u8> {
        let mut builder = FlatBufferBuilder::new();
        let dictionaries = builder.create_vector::<Block>(&[]);
        let batches = builder.create_vector(&self.blocks);
        let mut tracker = DictionaryTracker::new(true);
        let mut encoder = IpcSchemaEncoder::new().with_dictionary_tracker(&mut tracker);
        let schema = encoder.schema_to_fb_offset(&mut builder, &format.schema);
        let mut footer = FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_dictionaries(dictionaries);
        footer.add_recordBatches(batches);
        let root = footer.finish();
        builder.finish(root, None);
        builder.finished_data().to_vec()
    }
}
