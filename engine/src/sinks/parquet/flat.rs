//! Encodes columns of integers, dates, timestamps, narrow decimals and texts, the bulk of most
//! files, with less work and memory than the general way.
//!
//! Every column begins with a dictionary. When the values of its first page turn out not to repeat,
//! the page's codes are turned back into values and the column goes on without; when the dictionary
//! gets too large later, the pages from there on do without.
//!
//! Invariant 1: all codes of finished pages are codes of the dictionary that the column ends with.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::mem;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType,
};
use bytes::{Buf, Bytes};
use parquet::basic::{Encoding, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::Codec;
use super::bounds::Bounds;
use super::hybrid;
use super::values::{PAGE_ROWS, Values};

/// Bytes of a page, about, where memory is short and where it is not.
pub(super) const PAGE_BYTES_MIN: usize = 128 << 10;
const PAGE_BYTES_MAX: usize = 512 << 10;

/// Which part of the budget a page is: while it is written it is there three times, twice the
/// bytes where a text is long, and every worker writes one.
const PAGE_SHARE: usize = 256;

/// Bytes of a page, about, under a limit.
pub(super) fn page_bytes(limit: usize) -> usize {
    (limit / PAGE_SHARE).clamp(PAGE_BYTES_MIN, PAGE_BYTES_MAX)
}

/// Room for the header of a page.
const HEADER_BYTES: usize = 64;

/// Rows looked at together.
const SLICE_ROWS: usize = 2048;

/// A column of one row group under construction.
pub(super) struct FlatColumn {
    descriptor: ColumnDescPtr,
    codec: Codec,
    values: Values,
    /// Rows of the page under construction.
    rows: usize,
    /// Its definition levels, once it has a NULL.
    levels: Vec<u32>,
    nulls: usize,
    /// Pages that are complete.
    pages: Vec<Bytes>,
    page_bytes: usize,
    /// Bytes of a page, about.
    page_bytes_max: usize,
    index: Vec<PageEntry>,
    /// Of the complete pages.
    bounds: Option<Bounds>,
    uncompressed_bytes: usize,
}

struct PageEntry {
    bytes: usize,
    rows: usize,
    nulls: usize,
    bounds: Option<Bounds>,
    encoding: Encoding,
}

/// Buffers that the columns of a row group use in turn.
pub(super) struct Scratch {
    snappy: snap::raw::Encoder,
    page: Vec<u8>,
    compressed: Vec<u8>,
}

impl Scratch {
    pub fn new() -> Self {
        let (page, compressed) = (Vec::new(), Vec::new());
        Scratch { snappy: snap::raw::Encoder::new(), page, compressed }
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.page.capacity() + self.compressed.capacity() + size_of::<snap::raw::Encoder>()
    }
}

impl FlatColumn {
    /// An empty column for arrays of `data_type`, whose pages have about so many bytes; `None` for
    /// those that go the general way.
    pub fn new(
        data_type: &DataType,
        descriptor: ColumnDescPtr,
        codec: Codec,
        page_bytes_max: usize,
    ) -> Option<Self> {
        let is_flat = descriptor.max_rep_level() == 0 && descriptor.max_def_level() <= 1;
        if !is_flat || !matches!(codec, Codec::None | Codec::Snappy) {
            return None;
        }
        use DataType::{BinaryView, Date32, Decimal64, Int32, Int64, Timestamp, Utf8View};
        use TimeUnit::{Microsecond, Millisecond, Nanosecond};
        let values = match (data_type, descriptor.physical_type()) {
            (Int32 | Date32 | Decimal64(..), Type::INT32) => Values::words(4),
            (
                Int64 | Decimal64(..) | Timestamp(Millisecond | Microsecond | Nanosecond, _),
                Type::INT64,
            ) => Values::words(8),
            (Utf8View | BinaryView, Type::BYTE_ARRAY) => Values::texts(),
            _ => return None,
        };
        Some(FlatColumn {
            descriptor,
            codec,
            values,
            rows: 0,
            levels: Vec::new(),
            nulls: 0,
            pages: Vec::new(),
            page_bytes: 0,
            page_bytes_max,
            index: Vec::new(),
            bounds: None,
            uncompressed_bytes: 0,
        })
    }

    /// Adds rows.
    pub fn write(&mut self, array: &ArrayRef, scratch: &mut Scratch) -> Result<()> {
        let mut start = 0;
        while start < array.len() {
            let rows = fitting(array, start, self.page_bytes_max);
            self.append(&array.slice(start, rows))?;
            start += rows;
            if self.index.is_empty() {
                self.values.give_up_early(self.page_bytes_max);
            }
            if self.rows >= PAGE_ROWS || self.values.plain_bytes() >= self.page_bytes_max {
                self.end_page(scratch)?;
            }
        }
        Ok(())
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.page_bytes + self.values.held_bytes() + self.levels.capacity() * 4
    }

    /// Ends the page under construction early, and gives back the memory that it had.
    pub fn compact(&mut self, scratch: &mut Scratch) -> Result<()> {
        let is_first = self.index.is_empty();
        self.values.economize(is_first);
        self.end_page(scratch)?;
        self.values.release();
        self.levels = Vec::new();
        Ok(())
    }

    fn append(&mut self, array: &ArrayRef) -> Result<()> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        match nulls {
            Some(nulls) => {
                if self.descriptor.max_def_level() == 0 {
                    let name = self.descriptor.name();
                    return Err(ParquetError::General(format!("a NULL in required `{name}`")));
                }
                self.levels.resize(self.rows, 1);
                self.levels.extend(nulls.iter().map(u32::from));
                self.nulls += nulls.null_count();
            }
            None if !self.levels.is_empty() => self.levels.resize(self.rows + array.len(), 1),
            None => {}
        }
        self.rows += array.len();
        use DataType::{Date32, Decimal64, Int32, Int64, Timestamp};
        match array.data_type() {
            Int32 => self.words::<Int32Type>(array.as_primitive()),
            Date32 => self.words::<Date32Type>(array.as_primitive()),
            Int64 => self.words::<Int64Type>(array.as_primitive()),
            Decimal64(..) => self.words::<Decimal64Type>(array.as_primitive()),
            Timestamp(TimeUnit::Millisecond, _) => {
                self.words::<TimestampMillisecondType>(array.as_primitive());
            }
            Timestamp(TimeUnit::Microsecond, _) => {
                self.words::<TimestampMicrosecondType>(array.as_primitive());
            }
            Timestamp(TimeUnit::Nanosecond, _) => {
                self.words::<TimestampNanosecondType>(array.as_primitive());
            }
            DataType::Utf8View => {
                let texts = array.as_string_view();
                self.values.push_texts(texts.iter().flatten().map(str::as_bytes));
            }
            DataType::BinaryView => self.values.push_texts(array.as_binary_view().iter().flatten()),
            other => return Err(ParquetError::General(format!("{other} is not a flat type"))),
        }
        Ok(())
    }

    fn words<T: ArrowPrimitiveType<Native: Into<i64>>>(&mut self, array: &PrimitiveArray<T>) {
        let values = array.values();
        match array.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => self.values.push_words(values.iter().map(|&v| v.into())),
            Some(nulls) => {
                let valid: Vec<i64> = nulls.valid_indices().map(|row| values[row].into()).collect();
                self.values.push_words(valid.iter().copied());
            }
        }
    }

    /// Completes the page under construction.
    fn end_page(&mut self, scratch: &mut Scratch) -> Result<()> {
        let rows = mem::take(&mut self.rows);
        if rows == 0 {
            return Ok(());
        }
        scratch.page.clear();
        if self.descriptor.max_def_level() > 0 {
            scratch.page.extend_from_slice(&[0; 4]);
            match self.levels.is_empty() {
                true => hybrid::repeat(1, rows, 1, &mut scratch.page),
                false => hybrid::encode(&self.levels, 1, &mut scratch.page),
            }
            let length = (scratch.page.len() - 4) as u32;
            scratch.page[..4].copy_from_slice(&length.to_le_bytes());
            self.levels.clear();
        }
        let (encoding, bounds) = self.values.end_page(self.index.is_empty(), &mut scratch.page)?;
        let page = |buf| Page::DataPage {
            buf,
            num_values: rows as u32,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let (bytes, uncompressed_bytes) = encoded_page(self.codec, scratch, page)?;
        self.uncompressed_bytes += uncompressed_bytes;
        Bounds::widen(&mut self.bounds, &bounds);
        self.index.push(PageEntry {
            bytes: bytes.len(),
            rows,
            nulls: mem::take(&mut self.nulls),
            bounds,
            encoding,
        });
        self.page_bytes += bytes.len();
        self.pages.push(bytes);
        Ok(())
    }

    /// Ends the column: its bytes, dictionary first, and what the footer says of them.
    pub fn finish(mut self, scratch: &mut Scratch) -> Result<(Pages, ColumnCloseResult)> {
        self.end_page(scratch)?;
        let mut pages = mem::take(&mut self.pages);
        let mut dictionary_bytes = 0;
        let is_coded = self.index.iter().any(|page| page.encoding == Encoding::RLE_DICTIONARY);
        if is_coded {
            scratch.page.clear();
            let num_values = self.values.dictionary_page(&mut scratch.page) as u32;
            let encoding = Encoding::PLAIN;
            let page = |buf| Page::DictionaryPage { buf, num_values, encoding, is_sorted: false };
            let (bytes, uncompressed_bytes) = encoded_page(self.codec, scratch, page)?;
            self.uncompressed_bytes += uncompressed_bytes;
            dictionary_bytes = bytes.len();
            pages.insert(0, bytes);
        }
        let close = self.describe(self.page_bytes + dictionary_bytes, dictionary_bytes)?;
        Ok((Pages(pages), close))
    }

    fn describe(&self, bytes: usize, dictionary_bytes: usize) -> Result<ColumnCloseResult> {
        let rows: usize = self.index.iter().map(|page| page.rows).sum();
        let nulls: usize = self.index.iter().map(|page| page.nulls).sum();
        let mut encodings = vec![Encoding::RLE];
        let mut counts = Vec::new();
        if dictionary_bytes > 0 {
            encodings.push(Encoding::PLAIN);
            let (page_type, encoding) = (PageType::DICTIONARY_PAGE, Encoding::PLAIN);
            counts.push(PageEncodingStats { page_type, encoding, count: 1 });
        }
        for encoding in [Encoding::RLE_DICTIONARY, Encoding::PLAIN] {
            let count = self.index.iter().filter(|page| page.encoding == encoding).count() as i32;
            if count > 0 {
                encodings.push(encoding);
                let page_type = PageType::DATA_PAGE;
                counts.push(PageEncodingStats { page_type, encoding, count });
            }
        }
        let statistics = Bounds::statistics(&self.bounds, self.descriptor.as_ref(), nulls as u64);
        let metadata = ColumnChunkMetaData::builder(self.descriptor.clone())
            .set_encodings(encodings)
            .set_page_encoding_stats(counts)
            .set_compression(self.codec.into())
            .set_num_values(rows as i64)
            .set_total_compressed_size(bytes as i64)
            .set_total_uncompressed_size(self.uncompressed_bytes as i64)
            .set_data_page_offset(dictionary_bytes as i64)
            .set_dictionary_page_offset((dictionary_bytes > 0).then_some(0))
            .set_statistics(statistics)
            .build()?;
        let mut columns = ColumnIndexBuilder::new(self.descriptor.physical_type());
        let mut offsets = OffsetIndexBuilder::new();
        let mut offset = dictionary_bytes as i64;
        for page in &self.index {
            let (low, high) = match &page.bounds {
                Some(bounds) => bounds.encoded(self.descriptor.as_ref()),
                None => (Vec::new(), Vec::new()),
            };
            columns.append(page.bounds.is_none(), low, high, page.nulls as i64);
            offsets.append_offset_and_size(offset, page.bytes as i32);
            offset += page.bytes as i64;
            offsets.append_row_count(page.rows as i64);
        }
        Ok(ColumnCloseResult {
            bytes_written: bytes as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index: Some(columns.build()?),
            offset_index: Some(offsets.build()),
        })
    }
}

/// How many rows from `start` on are added together: not more than a page's worth of bytes.
fn fitting(array: &ArrayRef, start: usize, page_bytes: usize) -> usize {
    let rows = (array.len() - start).min(SLICE_ROWS);
    let views = match array.data_type() {
        DataType::Utf8View => array.as_string_view().views(),
        DataType::BinaryView => array.as_binary_view().views(),
        _ => return rows,
    };
    let mut bytes = 0;
    // The low half of a view is the length of its value.
    let fits = views[start..start + rows].iter().take_while(|&&view| {
        bytes += view as u32 as usize;
        bytes <= page_bytes
    });
    fits.count().max(1)
}

/// Compresses what is in `scratch.page`; the answer is the page with its header, and how many
/// bytes it would have had without compression.
fn encoded_page(
    codec: Codec,
    scratch: &mut Scratch,
    page: impl FnOnce(Bytes) -> Page,
) -> Result<(Bytes, usize)> {
    let uncompressed_bytes = scratch.page.len();
    let body = match codec {
        Codec::Snappy => {
            let bound = snap::raw::max_compress_len(uncompressed_bytes);
            if scratch.compressed.len() < bound {
                scratch.compressed.resize(bound, 0);
            }
            let compressed = scratch.snappy.compress(&scratch.page, &mut scratch.compressed);
            let length = compressed.map_err(|e| ParquetError::External(Box::new(e)))?;
            Bytes::from(mem::take(&mut scratch.compressed)).slice(..length)
        }
        _ => Bytes::from(mem::take(&mut scratch.page)),
    };
    let mut out = TrackedWrite::new(Vec::with_capacity(body.len() + HEADER_BYTES));
    let compressed = CompressedPage::new(page(body.clone()), uncompressed_bytes);
    let written = SerializedPageWriter::new(&mut out).write_page(compressed)?;
    // The page is gone, so the buffer is ours again.
    match codec {
        Codec::Snappy => scratch.compressed = Vec::from(body),
        _ => scratch.page = Vec::from(body),
    }
    let mut bytes = out.into_inner()?;
    bytes.shrink_to_fit();
    Ok((bytes.into(), written.uncompressed_size))
}

/// The bytes of a column, page by page.
pub(super) struct Pages(Vec<Bytes>);

impl Pages {
    /// Bytes of all pages.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

impl Length for Pages {
    fn len(&self) -> u64 {
        self.bytes() as u64
    }
}

impl ChunkReader for Pages {
    type T = PagesReader;

    fn get_read(&self, start: u64) -> Result<PagesReader> {
        let mut pages = PagesReader(self.0.clone().into());
        io::copy(&mut (&mut pages).take(start), &mut io::sink())?;
        Ok(pages)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.get_read(start)?.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads pages one behind the other.
pub(super) struct PagesReader(VecDeque<Bytes>);

impl Read for PagesReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.0.front().is_some_and(Bytes::is_empty) {
            self.0.pop_front();
        }
        let Some(page) = self.0.front_mut() else { return Ok(0) };
        let length = page.len().min(out.len());
        out[..length].copy_from_slice(&page[..length]);
        page.advance(length);
        Ok(length)
    }
}
