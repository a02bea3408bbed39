//! The pages of one column chunk, from front to back: passes over those that nobody reads without
//! touching more than their headers, and decompresses the others into a buffer that is used again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use parquet::basic::Compression;
use parquet::column::page::PageReader;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::page_index::offset_index::PageLocation as CratePageLocation;
use parquet::file::reader::SerializedPageReader;

use super::bytes::FileBytes;
use super::error::{corrupt, from_parquet, guarded};
use super::footer::Footer;
use super::page_index::page_locations;
use super::scan::ColumnReads;
use super::thrift::{PageHeader, PageKind, PageLocation, page_header};
use super::window::Window;
use crate::error::{Error, Result};
use crate::observe::{Count, count};
use crate::sources::file::InputFile;
use crate::thrift::Fault;

/// Bytes that nearly every page header fits in.
const HEADER_BYTES: usize = 256;

/// A header longer than this is none.
const HEADER_BYTES_MAX: usize = 16 << 20;

/// Snappy's format cannot do better than 64 bytes for 3; a page that claims more is corrupt.
const SNAPPY_RATIO_MAX: usize = 22;

/// Where the reader is among the pages.
pub(super) struct Pages {
    window: Window,
    footer: Arc<Footer>,
    row_group: usize,
    leaf: usize,
    /// Position in the file of the next header.
    offset: u64,
    snappy: snap::raw::Decoder,
}

/// A page that was met, and where its bytes are in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    pub header: PageHeader,
    header_offset: u64,
    data_offset: u64,
}

impl Pages {
    /// The pages of leaf `leaf` of row group `row_group`.
    pub fn open(
        file: &Arc<InputFile>,
        footer: &Arc<Footer>,
        row_group: usize,
        leaf: usize,
    ) -> Result<Pages> {
        let chunk = footer.metadata().row_group(row_group).column(leaf);
        let (start, length) = chunk.byte_range();
        let window = Window::new(file, start..start.saturating_add(length))?;
        let (footer, snappy) = (footer.clone(), snap::raw::Decoder::new());
        Ok(Pages { window, footer, row_group, leaf, offset: start, snappy })
    }

    fn chunk(&self) -> &ColumnChunkMetaData {
        self.footer.metadata().row_group(self.row_group).column(self.leaf)
    }

    /// An error about these bytes.
    pub fn corrupt(&self, what: impl std::fmt::Display) -> Error {
        let name = self.chunk().column_path();
        corrupt(self.footer.path(), format!("column {name}: {what}"))
    }

    /// Bytes of memory held.
    pub fn held_bytes(&self) -> usize {
        self.window.held_bytes()
    }

    /// Gives back what an unusually large page took.
    pub fn release(&mut self) {
        self.window.release();
    }

    /// The next page, not read yet; `None` at the end of the chunk.
    pub fn next(&mut self) -> Result<Option<Page>> {
        if self.offset >= self.window.chunk().end {
            return Ok(None);
        }
        let mut wanted = HEADER_BYTES;
        let (header, length) = loop {
            let bytes = self.window.at(self.offset, wanted)?;
            let complete = bytes.len() < wanted || wanted >= HEADER_BYTES_MAX;
            match page_header(bytes) {
                Ok(read) => break read,
                Err(Fault::Short) if !complete => wanted *= 4,
                Err(_) => return Err(self.corrupt("a page header is malformed")),
            }
        };
        let data_offset = self.offset + length as u64;
        let end = data_offset + u64::from(header.compressed);
        if end > self.window.chunk().end {
            return Err(self.corrupt("a page is longer than its column chunk"));
        }
        let page = Page { header, header_offset: self.offset, data_offset };
        self.offset = end;
        Ok(Some(page))
    }

    /// Where the data pages are; `None` when the file does not say.
    pub fn locations(&self) -> Result<Option<Vec<PageLocation>>> {
        page_locations(self.window.file(), self.chunk())
    }

    /// Whether the page at `location` is not the next one, but behind it.
    pub fn is_before(&self, location: &PageLocation) -> bool {
        self.offset < location.offset
    }

    /// Goes to the page at `location`.
    pub fn seek(&mut self, location: PageLocation) {
        self.offset = location.offset;
    }

    /// Reads a page into `into`, decompressed.
    pub fn load(&mut self, page: &Page, reads: &ColumnReads, into: &mut Vec<u8>) -> Result<()> {
        if matches!(page.header.kind, PageKind::Data | PageKind::DataV2 { .. }) {
            reads.pages.fetch_add(1, Ordering::Relaxed);
            count(Count::Pages, 1);
        }
        match self.chunk().compression() {
            Compression::UNCOMPRESSED => self.copy(page, into),
            Compression::SNAPPY => self.unsnap(page, into),
            _ => self.load_by_crate(page, into),
        }
    }

    fn copy(&mut self, page: &Page, into: &mut Vec<u8>) -> Result<()> {
        let length = page.header.compressed as usize;
        if page.header.uncompressed as usize != length {
            return Err(self.corrupt("an uncompressed page of two lengths"));
        }
        into.clear();
        into.extend_from_slice(&self.window.at(page.data_offset, length)?[..length]);
        Ok(())
    }

    fn unsnap(&mut self, page: &Page, into: &mut Vec<u8>) -> Result<()> {
        let PageHeader { kind, uncompressed, compressed, .. } = page.header;
        let (uncompressed, compressed) = (uncompressed as usize, compressed as usize);
        let plain = match kind {
            PageKind::DataV2 { is_compressed: false, .. } => compressed,
            PageKind::DataV2 { levels: (r, d), .. } => (r as usize).saturating_add(d as usize),
            _ => 0,
        };
        let stored = &self.window.at(page.data_offset, compressed)?[..compressed];
        let done = match stored.split_at_checked(plain) {
            Some((levels, packed)) if plain <= uncompressed => {
                let length = uncompressed - plain;
                let said = snap::raw::decompress_len(packed).unwrap_or(0);
                if said != length || length > packed.len().saturating_mul(SNAPPY_RATIO_MAX) {
                    return Err(self.corrupt("a page is not as long as it says"));
                }
                // Only where the buffer grows are its bytes cleared first.
                into.resize(uncompressed, 0);
                into[..plain].copy_from_slice(levels);
                length == 0 || self.snappy.decompress(packed, &mut into[plain..]) == Ok(length)
            }
            _ => false,
        };
        if done { Ok(()) } else { Err(self.corrupt("a page cannot be decompressed")) }
    }

    /// The codecs that are not worth an implementation of our own go through the `parquet` crate,
    /// page by page.
    fn load_by_crate(&mut self, page: &Page, into: &mut Vec<u8>) -> Result<()> {
        guarded(self.footer.path(), || self.decode_by_crate(page, into))
    }

    fn decode_by_crate(&self, page: &Page, into: &mut Vec<u8>) -> Result<()> {
        let error = |e| from_parquet(self.footer.path(), e);
        let bytes = page.data_offset + u64::from(page.header.compressed) - page.header_offset;
        let location = CratePageLocation {
            offset: i64::try_from(page.header_offset).unwrap_or(i64::MAX),
            compressed_page_size: i32::try_from(bytes).unwrap_or(i32::MAX),
            first_row_index: 0,
        };
        let file = Arc::new(FileBytes(self.window.file().clone()));
        let rows = page.header.values as usize;
        let mut reader = SerializedPageReader::new(file, self.chunk(), rows, Some(vec![location]))
            .map_err(error)?;
        if page.header_offset != self.window.chunk().start {
            // The crate takes what is before the page for the dictionary.
            reader.skip_next_page().map_err(error)?;
        }
        let read = reader.get_next_page().map_err(error)?;
        let read = read.ok_or_else(|| self.corrupt("a page cannot be read"))?;
        into.clear();
        into.extend_from_slice(read.buffer());
        Ok(())
    }
}
