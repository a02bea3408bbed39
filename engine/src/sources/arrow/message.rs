//! Reads one message of an Arrow file: its metadata, and of its body the buffers that are wanted.
//!
//! Memory: the wanted buffers, and their compressed bytes while they are decompressed.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use arrow::buffer::{Buffer, MutableBuffer};
use arrow::datatypes::{DataType, Field, UnionMode};
use arrow::ipc::{
    Buffer as StoredBuffer, CompressionType, FieldNode, Message, MetadataVersion,
    RecordBatch as StoredBatch, RecordBatchBuilder, root_as_message,
};

use super::error::corrupt;
use crate::error::Result;
use crate::memory::Reservation;
use crate::sources::file::InputFile;

/// Gaps of so many bytes between buffers are read along.
const GAP_BYTES: usize = 64 << 10;

/// What arrays want their buffers aligned to.
const ALIGNMENT: usize = 64;

/// Stands for the length of a buffer that is not compressed after all.
const NOT_COMPRESSED: i64 = -1;

/// What stands before the length of a message.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Zstandard makes no less than a byte of so many, and LZ4 of so many.
const ZSTD_RATIO_MAX: u64 = 1 << 17;
const LZ4_RATIO_MAX: u64 = 256;

/// Where a message is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    offset: u64,
    metadata_bytes: usize,
    body_bytes: usize,
}

impl Block {
    /// A message that must lie within the file.
    pub(super) fn new(file: &InputFile, offset: i64, metadata: i64, body: i64) -> Result<Block> {
        let outside = || corrupt(file.path(), "a message lies beyond the end of the file");
        let offset = u64::try_from(offset).map_err(|_| outside())?;
        let metadata_bytes = usize::try_from(metadata).map_err(|_| outside())?;
        let block = Block { offset, metadata_bytes, body_bytes: 0 };
        if offset.checked_add(metadata_bytes as u64).is_none_or(|end| end > file.size()) {
            return Err(outside());
        }
        block.with_body(file, body)
    }

    /// The same message with a body of so many bytes.
    pub(super) fn with_body(self, file: &InputFile, body: i64) -> Result<Block> {
        let outside = || corrupt(file.path(), "a message is cut off");
        let body_bytes = usize::try_from(body).map_err(|_| outside())?;
        let block = Block { body_bytes, ..self };
        match block.body_offset().checked_add(body_bytes as u64) {
            Some(end) if end <= file.size() => Ok(block),
            _ => Err(outside()),
        }
    }

    fn body_offset(&self) -> u64 {
        self.offset + self.metadata_bytes as u64
    }

    /// The byte behind the message.
    pub(super) fn end(&self) -> u64 {
        self.body_offset() + self.body_bytes as u64
    }
}

/// The metadata of a message.
pub(super) struct Metadata(Vec<u8>);

/// Reads the metadata of a message.
pub(super) fn read_metadata(file: &InputFile, block: &Block) -> Result<Metadata> {
    let mut bytes = vec![0; block.metadata_bytes];
    file.read_at(block.offset, &mut bytes)?;
    Ok(Metadata(bytes))
}

impl Metadata {
    /// The message.
    pub(super) fn message(&self, path: &Path) -> Result<Message<'_>> {
        let prefix = if self.0.starts_with(&CONTINUATION) { 8 } else { 4 };
        let bytes = self.0.get(prefix..).unwrap_or_default();
        root_as_message(bytes).map_err(|e| corrupt(path, format!("the metadata of a message: {e}")))
    }
}

/// A record batch of which only the wanted buffers are in memory, decompressed.
pub(super) struct Assembled {
    /// The record batch, with the places of its buffers in `body`.
    header: Vec<u8>,
    pub(super) body: Buffer,
}

impl Assembled {
    /// The record batch.
    pub(super) fn batch(&self, path: &Path) -> Result<StoredBatch<'_>> {
        flatbuffers::root::<StoredBatch<'_>>(&self.header)
            .map_err(|e| corrupt(path, format!("the metadata of a message: {e}")))
    }
}

/// Reads the wanted buffers of a record batch. What they take in memory is charged to `held`.
pub(super) fn assemble(
    file: &InputFile,
    block: &Block,
    batch: &StoredBatch<'_>,
    wanted: &[usize],
    held: &mut Reservation,
) -> Result<Assembled> {
    let path = file.path();
    let ranges = ranges(path, block, batch, wanted)?;
    let runs = joined(&ranges);
    let stored_bytes: usize = runs.iter().map(Run::len).sum();
    held.grow(stored_bytes)?;
    let mut stored = allocate(path, stored_bytes)?;
    for run in &runs {
        let place = run.at..run.at + run.stored.len();
        let into = stored.as_slice_mut().get_mut(place).unwrap_or_default();
        file.read_at(block.body_offset() + run.stored.start as u64, into)?;
    }
    let place = |range: &Range<usize>| {
        let run = runs.iter().rev().find(|run| run.stored.start <= range.start);
        run.map_or(0..0, |run| {
            let from = run.at + (range.start - run.stored.start);
            from..from + range.len()
        })
    };
    let mut places: Vec<Range<usize>> =
        ranges.iter().map(|r| if r.is_empty() { 0..0 } else { place(r) }).collect();
    if let Some(compression) = batch.compression() {
        let plain = decompress(path, compression.codec(), &stored, &mut places, held)?;
        stored = plain;
        held.shrink(stored_bytes);
    }
    let count = batch.buffers().map_or(0, |buffers| buffers.len());
    let mut buffers = vec![StoredBuffer::new(0, 0); count];
    for (&number, place) in wanted.iter().zip(&places) {
        if let Some(buffer) = buffers.get_mut(number) {
            *buffer = StoredBuffer::new(place.start as i64, place.len() as i64);
        }
    }
    Ok(Assembled { header: header(batch, &buffers), body: stored.into() })
}

/// Zeros, where the budget and the system have so many bytes.
fn allocate(path: &Path, bytes: usize) -> Result<MutableBuffer> {
    // The process would end where memory is refused.
    let refused = |_| corrupt(path, format!("a record batch of {bytes} bytes"));
    Vec::<u8>::new().try_reserve_exact(bytes).map_err(refused)?;
    Ok(MutableBuffer::from_len_zeroed(bytes))
}

/// A record batch like `batch`, not compressed, with its buffers at other places.
fn header(batch: &StoredBatch<'_>, buffers: &[StoredBuffer]) -> Vec<u8> {
    let mut builder = flatbuffers::FlatBufferBuilder::new();
    let nodes: Vec<FieldNode> = batch.nodes().into_iter().flatten().copied().collect();
    let variadic: Option<Vec<i64>> = batch.variadicBufferCounts().map(|all| all.iter().collect());
    let nodes = builder.create_vector(&nodes);
    let buffers = builder.create_vector(buffers);
    let variadic = variadic.map(|variadic| builder.create_vector(&variadic));
    let mut table = RecordBatchBuilder::new(&mut builder);
    table.add_length(batch.length());
    table.add_nodes(nodes);
    table.add_buffers(buffers);
    if let Some(variadic) = variadic {
        table.add_variadicBufferCounts(variadic);
    }
    let root = table.finish();
    builder.finish(root, None);
    builder.finished_data().to_vec()
}

/// Where the wanted buffers are in the body.
fn ranges(
    path: &Path,
    block: &Block,
    batch: &StoredBatch<'_>,
    wanted: &[usize],
) -> Result<Vec<Range<usize>>> {
    let buffers = batch.buffers().ok_or_else(|| corrupt(path, "a batch without buffers"))?;
    let mut ranges = Vec::with_capacity(wanted.len());
    for &number in wanted {
        if number >= buffers.len() {
            return Err(corrupt(path, "a batch has too few buffers"));
        }
        let buffer = buffers.get(number);
        let (offset, length) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let range = match (offset, length) {
            (Ok(offset), Ok(length)) => offset.checked_add(length).map(|end| offset..end),
            _ => None,
        };
        let range = range.filter(|range| range.end <= block.body_bytes);
        ranges.push(range.ok_or_else(|| corrupt(path, "a buffer lies outside of its message"))?);
    }
    Ok(ranges)
}

/// Bytes of a body that are read at once.
struct Run {
    stored: Range<usize>,
    /// Where they are in memory: aligned as they are in the file.
    at: usize,
}

impl Run {
    fn len(&self) -> usize {
        self.stored.len().next_multiple_of(ALIGNMENT)
    }
}

/// The ranges in order, near ones as one.
fn joined(ranges: &[Range<usize>]) -> Vec<Run> {
    let mut sorted: Vec<&Range<usize>> = ranges.iter().filter(|range| !range.is_empty()).collect();
    sorted.sort_by_key(|range| range.start);
    let mut runs: Vec<Run> = Vec::with_capacity(sorted.len());
    for range in sorted {
        let start = range.start / ALIGNMENT * ALIGNMENT;
        match runs.last_mut() {
            Some(last) if start <= last.stored.end.saturating_add(GAP_BYTES) => {
                last.stored.end = last.stored.end.max(range.end);
            }
            _ => runs.push(Run { stored: start..range.end, at: 0 }),
        }
    }
    let mut at = 0;
    for run in &mut runs {
        run.at = at;
        at += run.len();
    }
    runs
}

/// The buffers at `places` decompressed, one behind the other; `places` says then where they are.
fn decompress(
    path: &Path,
    codec: CompressionType,
    stored: &[u8],
    places: &mut [Range<usize>],
    held: &mut Reservation,
) -> Result<MutableBuffer> {
    let mut total: usize = 0;
    let mut plain = Vec::with_capacity(places.len());
    for place in places.iter() {
        let bytes = plain_bytes(path, codec, stored.get(place.clone()).unwrap_or_default())?;
        plain.push(total..total + bytes);
        total = total.saturating_add(bytes.next_multiple_of(ALIGNMENT));
        if total > isize::MAX as usize / 2 {
            return Err(corrupt(path, "compressed buffers of impossible length"));
        }
    }
    held.grow(total)?;
    let mut all = allocate(path, total)?;
    for (place, to) in places.iter_mut().zip(plain) {
        let from = stored.get(place.clone()).unwrap_or_default();
        let into = all.as_slice_mut().get_mut(to.clone()).unwrap_or_default();
        if let Some((prefix, bytes)) = from.split_first_chunk::<8>() {
            let is_plain = i64::from_le_bytes(*prefix) == NOT_COMPRESSED;
            let done = if is_plain { copy(bytes, into) } else { decode(codec, bytes, into) };
            done.map_err(|what| corrupt(path, format!("a compressed buffer: {what}")))?;
        }
        *place = to;
    }
    Ok(all)
}

/// Bytes that a compressed buffer says it becomes, which must be what it can become: memory is
/// asked for on the strength of it.
fn plain_bytes(path: &Path, codec: CompressionType, stored: &[u8]) -> Result<usize> {
    if stored.is_empty() {
        return Ok(0);
    }
    let impossible = || corrupt(path, "a compressed buffer of impossible length");
    let (prefix, compressed) = stored.split_first_chunk::<8>().ok_or_else(impossible)?;
    let length = i64::from_le_bytes(*prefix);
    if length == NOT_COMPRESSED {
        return Ok(compressed.len());
    }
    let length = u64::try_from(length).map_err(|_| impossible())?;
    let (ratio, known) = match codec {
        CompressionType::ZSTD => {
            let known = zstd::zstd_safe::get_frame_content_size(compressed);
            (ZSTD_RATIO_MAX, known.map_err(|_| impossible())?)
        }
        _ => (LZ4_RATIO_MAX, None),
    };
    let most = (compressed.len() as u64).saturating_mul(ratio);
    if length > most || known.is_some_and(|known| known != length) {
        return Err(impossible());
    }
    usize::try_from(length).map_err(|_| impossible())
}

fn copy(from: &[u8], into: &mut [u8]) -> std::result::Result<(), String> {
    into.copy_from_slice(from);
    Ok(())
}

fn decode(codec: CompressionType, from: &[u8], into: &mut [u8]) -> std::result::Result<(), String> {
    match codec {
        CompressionType::LZ4_FRAME => {
            let mut decoder = lz4_flex::frame::FrameDecoder::new(from);
            decoder.read_exact(into).map_err(|e| e.to_string())
        }
        CompressionType::ZSTD => {
            let written =
                zstd::bulk::decompress_to_buffer(from, into).map_err(|e| e.to_string())?;
            if written == into.len() { Ok(()) } else { Err("it is too short".to_string()) }
        }
        other => Err(format!("{other:?} is not known")),
    }
}

/// Numbers of the buffers that hold the wanted fields; `None` when the types do not tell.
pub(super) fn buffers_of(
    fields: &[std::sync::Arc<Field>],
    wanted: &[usize],
    batch: &StoredBatch<'_>,
    version: MetadataVersion,
) -> Option<Vec<usize>> {
    let mut variadic = batch.variadicBufferCounts().into_iter().flatten();
    let mut next = 0;
    let mut numbers = Vec::new();
    for (position, field) in fields.iter().enumerate() {
        let count = count(field.data_type(), &mut variadic, version)?;
        if wanted.contains(&position) {
            numbers.extend(next..next + count);
        }
        next += count;
    }
    Some(numbers)
}

/// Buffers of a column of this type.
fn count(
    data_type: &DataType,
    variadic: &mut impl Iterator<Item = i64>,
    version: MetadataVersion,
) -> Option<usize> {
    use DataType as T;
    Some(match data_type {
        T::Null => 0,
        T::Utf8 | T::LargeUtf8 | T::Binary | T::LargeBinary => 3,
        T::Utf8View | T::BinaryView => {
            2_usize.checked_add(usize::try_from(variadic.next()?).ok()?)?
        }
        T::List(item) | T::LargeList(item) | T::Map(item, _) => {
            2 + count(item.data_type(), variadic, version)?
        }
        T::ListView(item) | T::LargeListView(item) => {
            3 + count(item.data_type(), variadic, version)?
        }
        T::FixedSizeList(item, _) => 1 + count(item.data_type(), variadic, version)?,
        T::Struct(fields) => {
            let mut all = 1_usize;
            for field in fields {
                all = all.checked_add(count(field.data_type(), variadic, version)?)?;
            }
            all
        }
        T::RunEndEncoded(ends, values) => {
            let ends = count(ends.data_type(), variadic, version)?;
            ends.checked_add(count(values.data_type(), variadic, version)?)?
        }
        T::Union(fields, mode) => {
            let mut all = usize::from(version < MetadataVersion::V5) + 1;
            all += usize::from(*mode == UnionMode::Dense);
            for (_, field) in fields.iter() {
                all = all.checked_add(count(field.data_type(), variadic, version)?)?;
            }
            all
        }
        _ => 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_says_it_becomes_more_than_it_can_is_damaged() {
        let plain = vec![7; 100_000];
        let zstd = zstd::bulk::compress(&plain, 1).expect("compresses");
        let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
        std::io::Write::write_all(&mut lz4, &plain).expect("compresses");
        let lz4 = lz4.finish().expect("compresses");
        let path = Path::new("some.arrow");
        for (codec, bytes) in [(CompressionType::ZSTD, zstd), (CompressionType::LZ4_FRAME, lz4)] {
            let says = |length: i64| {
                let stored = [&length.to_le_bytes(), bytes.as_slice()].concat();
                plain_bytes(path, codec, &stored).map_err(|error| error.to_string())
            };
            assert_eq!(says(100_000), Ok(100_000));
            assert_eq!(says(NOT_COMPRESSED), Ok(bytes.len()));
            for length in [-2, 1 << 30, i64::MAX] {
                let error = says(length).expect_err("it cannot be so long");
                assert!(error.contains("some.arrow"), "{error}");
            }
        }
        assert!(plain_bytes(path, CompressionType::ZSTD, &[1, 0, 0]).is_err());
    }
}
