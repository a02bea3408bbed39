//! A record batch with each of its buffers compressed: the length that it has, and behind that its
//! bytes, as they are where compressing them does not pay.

use std::io::{self, Write};

use arrow::ipc::writer::EncodedData;
use arrow::ipc::{
    BodyCompressionBuilder, BodyCompressionMethod, Buffer, CompressionType, FieldNode,
    MessageBuilder, MessageHeader, MetadataVersion, RecordBatch, RecordBatchBuilder,
    root_as_message,
};
use flatbuffers::FlatBufferBuilder;

use super::ArrowCodec;
use crate::error::{Error, Result};

/// Stands for the length of a buffer that is not compressed after all.
const NOT_COMPRESSED: i64 = -1;

/// What buffers, and bodies, are aligned to.
const BUFFER_ALIGNMENT: usize = 8;
const BODY_ALIGNMENT: usize = 64;

/// The message of a record batch with its buffers compressed.
///
/// # Errors
/// `Internal` when the codec fails.
pub(super) fn compressed(plain: EncodedData, codec: ArrowCodec) -> Result<EncodedData> {
    let Some(kind) = codec.kind() else { return Ok(plain) };
    let message = root_as_message(&plain.ipc_message);
    let message = message.map_err(|e| Error::internal(format!("a message of ours: {e}")))?;
    let batch = message.header_as_record_batch();
    let batch = batch.ok_or_else(|| Error::internal("a message without a record batch"))?;
    let mut body = Vec::with_capacity(plain.arrow_data.len() / 2);
    let mut buffers = Vec::new();
    for buffer in batch.buffers().into_iter().flatten() {
        let from = usize::try_from(buffer.offset()).unwrap_or(usize::MAX);
        let length = usize::try_from(buffer.length()).unwrap_or(usize::MAX);
        let bytes = plain.arrow_data.get(from..from.saturating_add(length));
        let bytes = bytes.ok_or_else(|| Error::internal("a buffer outside of its message"))?;
        let begin = body.len();
        append(bytes, codec, &mut body).map_err(|e| Error::internal(e.to_string()))?;
        buffers.push(Buffer::new(begin as i64, (body.len() - begin) as i64));
        body.resize(body.len().next_multiple_of(BUFFER_ALIGNMENT), 0);
    }
    body.resize(body.len().next_multiple_of(BODY_ALIGNMENT), 0);
    let ipc_message = metadata(&batch, message.version(), kind, &buffers, body.len());
    Ok(EncodedData { ipc_message, arrow_data: body })
}

fn append(bytes: &[u8], codec: ArrowCodec, body: &mut Vec<u8>) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let begin = body.len();
    body.extend_from_slice(&(bytes.len() as i64).to_le_bytes());
    match codec {
        ArrowCodec::None => {}
        ArrowCodec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(&mut *body);
            encoder.write_all(bytes)?;
            encoder.finish().map_err(io::Error::other)?;
        }
        ArrowCodec::Zstd(level) => {
            let level = level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL);
            body.extend_from_slice(&zstd::bulk::compress(bytes, level)?);
        }
    }
    if codec == ArrowCodec::None || body.len() - begin > bytes.len() {
        body.truncate(begin);
        body.extend_from_slice(&NOT_COMPRESSED.to_le_bytes());
        body.extend_from_slice(bytes);
    }
    Ok(())
}

/// The metadata of a message like the one of `batch`, with other buffers.
fn metadata(
    batch: &RecordBatch<'_>,
    version: MetadataVersion,
    kind: CompressionType,
    buffers: &[Buffer],
    body_bytes: usize,
) -> Vec<u8> {
    let mut builder = FlatBufferBuilder::new();
    let nodes: Vec<FieldNode> = batch.nodes().into_iter().flatten().copied().collect();
    let variadic: Option<Vec<i64>> = batch.variadicBufferCounts().map(|all| all.iter().collect());
    let nodes = builder.create_vector(&nodes);
    let buffers = builder.create_vector(buffers);
    let variadic = variadic.map(|variadic| builder.create_vector(&variadic));
    let mut compression = BodyCompressionBuilder::new(&mut builder);
    compression.add_method(BodyCompressionMethod::BUFFER);
    compression.add_codec(kind);
    let compression = compression.finish();
    let mut table = RecordBatchBuilder::new(&mut builder);
    table.add_length(batch.length());
    table.add_nodes(nodes);
    table.add_buffers(buffers);
    table.add_compression(compression);
    if let Some(variadic) = variadic {
        table.add_variadicBufferCounts(variadic);
    }
    let header = table.finish().as_union_value();
    let mut message = MessageBuilder::new(&mut builder);
    message.add_version(version);
    message.add_header_type(MessageHeader::RecordBatch);
    message.add_bodyLength(body_bytes as i64);
    message.add_header(header);
    let root = message.finish();
    builder.finish(root, None);
    builder.finished_data().to_vec()
}
