//! Reads the few structures between the pages of a Parquet file: page headers, and the indexes that
//! say where pages are and what is in them. The footer is left to the `parquet` crate.
//!
//! Input is untrusted: see [`crate::thrift`].

use crate::thrift::{
    Compact, Fault, Fields, Read, TYPE_FALSE, TYPE_I32, TYPE_I64, TYPE_LIST, TYPE_STRUCT, TYPE_TRUE,
};

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    /// Values, with levels in front, all compressed together.
    Data,
    /// Values behind levels that are not compressed.
    DataV2 {
        /// Bytes of repetition levels and definition levels.
        levels: (u32, u32),
        /// Whether the values are compressed.
        is_compressed: bool,
    },
    /// The dictionary.
    Dictionary,
    /// Something that readers may pass over.
    Other,
}

/// How values are stored in a page, as far as this engine decodes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageEncoding {
    /// One after the other.
    Plain,
    /// Positions in the dictionary.
    Codes,
    /// Any other.
    Other(i32),
}

/// The header of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    /// What the page holds.
    pub kind: PageKind,
    /// Bytes of the page, decompressed, without the header.
    pub uncompressed: u32,
    /// Bytes of the page in the file, without the header.
    pub compressed: u32,
    /// Values in the page, NULLs included.
    pub values: u32,
    /// How they are stored.
    pub encoding: PageEncoding,
}

/// Where a data page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageLocation {
    /// Position of its header in the file.
    pub offset: u64,
    /// Its first row within the row group.
    pub first_row: u32,
}

/// Reads the header at the start of `bytes`; also gives its length.
pub(super) fn page_header(bytes: &[u8]) -> Read<(PageHeader, usize)> {
    let mut input = Compact::new(bytes);
    let (mut kind, mut uncompressed, mut compressed) = (None, None, None);
    let mut detail = None;
    let mut fields = Fields::default();
    while let Some((id, field)) = fields.next(&mut input)? {
        match (id, field) {
            (1, TYPE_I32) => kind = Some(input.integer()?),
            (2, TYPE_I32) => uncompressed = Some(input.length()?),
            (3, TYPE_I32) => compressed = Some(input.length()?),
            (5 | 7 | 8, TYPE_STRUCT) => detail = Some(page_detail(&mut input, id)?),
            (_, other) => input.skip(other)?,
        }
    }
    let kind_number = kind.ok_or(Fault::Malformed)?;
    let (kind, values, encoding) = match (kind_number, detail) {
        (0, Some(d @ (PageKind::Data, ..))) => d,
        (2, Some(d @ (PageKind::Dictionary, ..))) => d,
        (3, Some(d @ (PageKind::DataV2 { .. }, ..))) => d,
        (0 | 2 | 3, _) => return Err(Fault::Malformed),
        _ => (PageKind::Other, 0, PageEncoding::Other(-1)),
    };
    let header = PageHeader {
        kind,
        uncompressed: uncompressed.ok_or(Fault::Malformed)?,
        compressed: compressed.ok_or(Fault::Malformed)?,
        values,
        encoding,
    };
    Ok((header, input.position()))
}

/// The part of a page header that depends on what the page holds; `id` is its field.
fn page_detail(input: &mut Compact<'_>, id: i16) -> Read<(PageKind, u32, PageEncoding)> {
    let (mut values, mut encoding) = (None, None);
    let (mut definition, mut repetition, mut is_compressed) = (0, 0, true);
    let encoding_field = if id == 8 { 4 } else { 2 };
    let mut fields = Fields::default();
    while let Some((field_id, field)) = fields.next(input)? {
        match (field_id, field) {
            (1, TYPE_I32) => values = Some(input.length()?),
            (n, TYPE_I32) if n == encoding_field => encoding = Some(input.integer()?),
            (5, TYPE_I32) if id == 8 => definition = input.length()?,
            (6, TYPE_I32) if id == 8 => repetition = input.length()?,
            (7, TYPE_TRUE | TYPE_FALSE) if id == 8 => is_compressed = field == TYPE_TRUE,
            (_, other) => input.skip(other)?,
        }
    }
    let kind = match id {
        5 => PageKind::Data,
        7 => PageKind::Dictionary,
        _ => PageKind::DataV2 { levels: (repetition, definition), is_compressed },
    };
    let encoding = match encoding.ok_or(Fault::Malformed)? {
        0 => PageEncoding::Plain,
        2 | 8 => PageEncoding::Codes,
        other => PageEncoding::Other(i32::try_from(other).unwrap_or(-1)),
    };
    Ok((kind, values.ok_or(Fault::Malformed)?, encoding))
}

/// Reads an offset index: where the data pages of a column chunk are.
pub(super) fn offset_index(bytes: &[u8]) -> Read<Vec<PageLocation>> {
    let mut input = Compact::new(bytes);
    let mut pages = Vec::new();
    let mut fields = Fields::default();
    while let Some((id, field)) = fields.next(&mut input)? {
        if (id, field) != (1, TYPE_LIST) {
            input.skip(field)?;
            continue;
        }
        for _ in 0..input.list(TYPE_STRUCT)? {
            pages.push(page_location(&mut input)?);
        }
    }
    let in_order = pages.windows(2).all(|w| w[0].first_row <= w[1].first_row);
    if in_order { Ok(pages) } else { Err(Fault::Malformed) }
}

fn page_location(input: &mut Compact<'_>) -> Read<PageLocation> {
    let (mut offset, mut first_row) = (None, None);
    let mut fields = Fields::default();
    while let Some((id, field)) = fields.next(input)? {
        match (id, field) {
            (1, TYPE_I64) => offset = u64::try_from(input.integer()?).ok(),
            (3, TYPE_I64) => first_row = u32::try_from(input.integer()?).ok(),
            (_, other) => input.skip(other)?,
        }
    }
    match (offset, first_row) {
        (Some(offset), Some(first_row)) => Ok(PageLocation { offset, first_row }),
        _ => Err(Fault::Malformed),
    }
}

/// What is in the data pages of a column chunk.
#[derive(Debug, Default)]
pub(super) struct ColumnIndex<'a> {
    /// Whether a page has NULLs only.
    pub null_pages: Vec<bool>,
    /// A lower bound of each page's values, in the form values have in pages.
    pub minima: Vec<&'a [u8]>,
    /// An upper bound.
    pub maxima: Vec<&'a [u8]>,
    /// NULLs in each page; empty when unknown.
    pub null_counts: Vec<i64>,
}

/// Reads a column index.
pub(super) fn column_index(bytes: &[u8]) -> Read<ColumnIndex<'_>> {
    let mut input = Compact::new(bytes);
    let mut index = ColumnIndex::default();
    let mut fields = Fields::default();
    while let Some((id, field)) = fields.next(&mut input)? {
        match (id, field) {
            (1, TYPE_LIST) => {
                let length = input.list_of(&[TYPE_TRUE, TYPE_FALSE])?;
                for _ in 0..length {
                    index.null_pages.push(input.byte()? == TYPE_TRUE);
                }
            }
            (2, TYPE_LIST) => index.minima = input.binaries()?,
            (3, TYPE_LIST) => index.maxima = input.binaries()?,
            (5, TYPE_LIST) => {
                for _ in 0..input.list(TYPE_I64)? {
                    index.null_counts.push(input.integer()?);
                }
            }
            (_, other) => input.skip(other)?,
        }
    }
    let pages = index.null_pages.len();
    let complete = index.minima.len() == pages && index.maxima.len() == pages;
    if complete { Ok(index) } else { Err(Fault::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version 1 data page of 20000 values: types, sizes, then the detail with statistics.
    const HEADER: &[u8] = &[
        0x15, 0x00, 0x15, 0x80, 0x02, 0x15, 0x40, 0x2c, 0x15, 0xc0, 0xb8, 0x02, 0x15, 0x10, 0x15,
        0x06, 0x15, 0x06, 0x1c, 0x18, 0x01, 0x61, 0x00, 0x00, 0x00, 0xff,
    ];

    #[test]
    fn reads_a_data_page_header_and_says_when_it_is_cut() {
        let (header, length) = page_header(HEADER).expect("reads");
        assert_eq!(length, HEADER.len() - 1);
        assert_eq!(header.kind, PageKind::Data);
        assert_eq!((header.uncompressed, header.compressed), (128, 32));
        assert_eq!((header.values, header.encoding), (20_000, PageEncoding::Codes));
        for cut in 0..length {
            assert_eq!(page_header(&HEADER[..cut]), Err(Fault::Short), "cut at {cut}");
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let mut state = 1u64;
        for round in 0..20_000 {
            let mut bytes = HEADER.to_vec();
            for _ in 0..1 + round % 4 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (state >> 33) as usize % bytes.len();
                bytes[at] = (state >> 24) as u8;
            }
            let _ = page_header(&bytes);
            let _ = offset_index(&bytes);
            let _ = column_index(&bytes);
        }
    }

    #[test]
    fn reads_page_locations() {
        // Field 1: a list of two structures of offset, size and first row.
        let bytes = [
            0x19, 0x2c, 0x16, 0x08, 0x15, 0x14, 0x16, 0x00, 0x00, 0x16, 0x1c, 0x15, 0x14, 0x16,
            0xc8, 0x01, 0x00, 0x00,
        ];
        let pages = offset_index(&bytes).expect("reads");
        let expected = [(4, 0), (14, 100)];
        let expected = expected.map(|(offset, first_row)| PageLocation { offset, first_row });
        assert_eq!(pages, expected);
    }
}
