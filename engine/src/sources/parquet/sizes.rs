//! How large the rows of a column chunk are, as far as the headers of its pages say.
//!
//! Rows of text may take anything from a byte to megabytes: blocks are cut by what their rows take,
//! and a worker reserves room for the largest page before it reads one.

use std::ops::Range;
use std::sync::Arc;

use super::footer::Footer;
use super::pages::Pages;
use super::thrift::PageKind;
use crate::error::Result;
use crate::sources::file::InputFile;

/// A column chunk that takes less is small, whatever its pages.
const SMALL_BYTES: usize = 2 << 20;

/// The sizes of one leaf's pages in one row group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sizes {
    /// By page, its first row and its bytes, decompressed; then the end of the rows.
    pages: Vec<(usize, usize)>,
    /// What reading it takes at most: its dictionary and its largest page.
    held_bytes: usize,
}

impl Sizes {
    /// Rows that are all as large as the average.
    fn even(rows: usize, bytes: usize) -> Self {
        Sizes { pages: vec![(0, bytes), (rows, 0)], held_bytes: bytes }
    }

    /// The sizes of leaf `leaf` of row group `row_group`.
    ///
    /// # Errors
    /// `Io` when the file cannot be read, `Input` when it is malformed.
    pub(super) fn read(
        file: &Arc<InputFile>,
        footer: &Arc<Footer>,
        row_group: usize,
        leaf: usize,
    ) -> Result<Self> {
        let group = footer.metadata().row_group(row_group);
        let chunk = group.column(leaf);
        let rows = usize::try_from(group.num_rows()).unwrap_or(0);
        let bytes = usize::try_from(chunk.uncompressed_size()).unwrap_or(0);
        if bytes <= SMALL_BYTES {
            return Ok(Sizes::even(rows, bytes));
        }
        let (mut dictionary, mut largest, mut first_row) = (0, 0, 0);
        let mut sizes = Vec::new();
        let mut pages = Pages::open(file, footer, row_group, leaf)?;
        while let Some(page) = pages.next()? {
            let bytes = page.header.uncompressed as usize;
            match page.header.kind {
                PageKind::Dictionary => dictionary = bytes,
                PageKind::Other => {}
                PageKind::Data | PageKind::DataV2 { .. } => {
                    largest = bytes.max(largest);
                    sizes.push((first_row, bytes));
                    first_row += page.header.values as usize;
                }
            }
        }
        sizes.push((first_row, 0));
        // The values of a page are its rows, unless some are in lists.
        if chunk.column_descr().max_rep_level() > 0 {
            sizes = Sizes::even(rows, bytes).pages;
        }
        Ok(Sizes { pages: sizes, held_bytes: dictionary + largest })
    }

    /// What reading it takes at most.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes of these rows, as if the rows of a page were all of one size.
    pub(super) fn bytes_of(&self, rows: &Range<usize>) -> usize {
        let first = self.pages.partition_point(|page| page.0 <= rows.start).saturating_sub(1);
        let mut sum = 0;
        for pair in self.pages[first..].windows(2) {
            let ((start, bytes), (end, _)) = (pair[0], pair[1]);
            if start >= rows.end {
                break;
            }
            let shared = end.min(rows.end).saturating_sub(start.max(rows.start));
            sum += (bytes as u128 * shared as u128 / (end - start).max(1) as u128) as usize;
        }
        sum
    }
}

/// What reading a leaf takes at a time: its dictionary, and its largest page as it is stored and
/// decompressed. Reads the headers of all pages.
///
/// # Errors
/// As [`Sizes::read`].
pub(super) fn page_bytes(
    file: &Arc<InputFile>,
    footer: &Arc<Footer>,
    row_group: usize,
    leaf: usize,
) -> Result<usize> {
    let (mut dictionary, mut largest) = (0, 0);
    let mut pages = Pages::open(file, footer, row_group, leaf)?;
    while let Some(page) = pages.next()? {
        let (plain, stored) = (page.header.uncompressed as usize, page.header.compressed as usize);
        match page.header.kind {
            PageKind::Dictionary => dictionary = plain,
            _ => largest = largest.max(plain + stored),
        }
    }
    Ok(dictionary + largest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_take_their_part_of_their_pages() {
        let pages = vec![(0, 1000), (10, 6), (13, 0), (13, 800), (15, 0)];
        let sizes = Sizes { pages, held_bytes: 1000 };
        assert_eq!(sizes.bytes_of(&(0..15)), 1806);
        assert_eq!(sizes.bytes_of(&(5..6)), 100);
        assert_eq!(sizes.bytes_of(&(9..12)), 104);
        assert_eq!(sizes.bytes_of(&(12..14)), 402);
        assert_eq!(sizes.bytes_of(&(14..99)), 400);
        assert_eq!(sizes.bytes_of(&(3..3)), 0);
        assert_eq!(Sizes::even(4, 40).bytes_of(&(1..3)), 20);
        assert_eq!(Sizes::even(0, 0).bytes_of(&(0..3)), 0);
    }
}
