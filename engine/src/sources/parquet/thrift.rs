//! Reads the few structures between the pages of a Parquet file: page headers, and the indexes that
//! say where pages are and what is in them. The footer is left to the `parquet` crate.
//!
//! Only Thrift's compact protocol is read. Input is untrusted: every read is checked, nesting is
//! bounded, and nothing is allocated by a length that the input does not have.

/// Why bytes could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// They end too early: more bytes may help.
    Short,
    /// They are no Thrift structure of the kind expected.
    Malformed,
}

type Read<T> = Result<T, Fault>;

/// Nesting of structures deeper than this is no Parquet.
const DEPTH_MAX: usize = 16;

const TYPE_STOP: u8 = 0;
const TYPE_TRUE: u8 = 1;
const TYPE_FALSE: u8 = 2;
const TYPE_BYTE: u8 = 3;
const TYPE_I16: u8 = 4;
const TYPE_I32: u8 = 5;
const TYPE_I64: u8 = 6;
const TYPE_DOUBLE: u8 = 7;
const TYPE_BINARY: u8 = 8;
const TYPE_LIST: u8 = 9;
const TYPE_SET: u8 = 10;
const TYPE_MAP: u8 = 11;
const TYPE_STRUCT: u8 = 12;

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
    let mut input = Compact { bytes, position: 0 };
    let (mut kind, mut uncompressed, mut compressed) = (None, None, None);
    let mut detail = None;
    let mut fields = Fields::default();
    while let Some((id, field)) = fields.next(&mut input)? {
        match (id, field) {
            (1, TYPE_I32) => kind = Some(input.integer()?),
            (2, TYPE_I32) => uncompressed = Some(input.length()?),
            (3, TYPE_I32) => compressed = Some(input.length()?),
            (5 | 7 | 8, TYPE_STRUCT) => detail = Some(page_detail(&mut input, id)?),
            (_, other) => input.skip(other, 0)?,
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
    Ok((header, input.position))
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
            (_, other) => input.skip(other, 0)?,
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
    let mut input = Compact { bytes, position: 0 };
    let mut pages = Vec::new();
    let mut fields = Fields::default();
    while let Some((id, field)) = fields.next(&mut input)? {
        if (id, field) != (1, TYPE_LIST) {
            input.skip(field, 0)?;
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
            (_, other) => input.skip(other, 0)?,
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
    let mut input = Compact { bytes, position: 0 };
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
            (_, other) => input.skip(other, 0)?,
        }
    }
    let pages = index.null_pages.len();
    let complete = index.minima.len() == pages && index.maxima.len() == pages;
    if complete { Ok(index) } else { Err(Fault::Malformed) }
}

/// Goes through the fields of one structure.
#[derive(Default)]
struct Fields {
    last: i16,
}

impl Fields {
    /// Number and type of the next field; `None` at the end of the structure.
    fn next(&mut self, input: &mut Compact<'_>) -> Read<Option<(i16, u8)>> {
        let head = input.byte()?;
        let (delta, field) = (head >> 4, head & 0x0f);
        if field == TYPE_STOP {
            return Ok(None);
        }
        self.last = match delta {
            0 => i16::try_from(input.integer()?).map_err(|_| Fault::Malformed)?,
            delta => self.last.checked_add(i16::from(delta)).ok_or(Fault::Malformed)?,
        };
        Ok(Some((self.last, field)))
    }
}

struct Compact<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Compact<'a> {
    fn byte(&mut self) -> Read<u8> {
        let byte = *self.bytes.get(self.position).ok_or(Fault::Short)?;
        self.position += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Read<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Fault::Malformed)
    }

    /// A signed integer of any width.
    fn integer(&mut self) -> Read<i64> {
        let zigzag = self.varint()?;
        Ok((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64))
    }

    /// A 32-bit integer that must not be negative.
    fn length(&mut self) -> Read<u32> {
        let value = i32::try_from(self.integer()?).ok();
        value.and_then(|v| u32::try_from(v).ok()).ok_or(Fault::Malformed)
    }

    fn binary(&mut self) -> Read<&'a [u8]> {
        let length = usize::try_from(self.varint()?).map_err(|_| Fault::Malformed)?;
        let end = self.position.checked_add(length).ok_or(Fault::Malformed)?;
        let bytes = self.bytes.get(self.position..end).ok_or(Fault::Short)?;
        self.position = end;
        Ok(bytes)
    }

    fn binaries(&mut self) -> Read<Vec<&'a [u8]>> {
        let length = self.list(TYPE_BINARY)?;
        (0..length).map(|_| self.binary()).collect()
    }

    /// The length of a list whose elements must be of type `element`.
    fn list(&mut self, element: u8) -> Read<usize> {
        self.list_of(&[element])
    }

    fn list_of(&mut self, elements: &[u8]) -> Read<usize> {
        let (length, element) = self.list_head()?;
        if length > 0 && !elements.contains(&element) {
            return Err(Fault::Malformed);
        }
        // Every element takes a byte at least.
        if length > self.bytes.len() - self.position { Err(Fault::Short) } else { Ok(length) }
    }

    fn list_head(&mut self) -> Read<(usize, u8)> {
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => usize::try_from(self.varint()?).map_err(|_| Fault::Malformed)?,
            short => usize::from(short),
        };
        Ok((length, head & 0x0f))
    }

    /// Passes over a value of type `field`.
    fn skip(&mut self, field: u8, depth: usize) -> Read<()> {
        if depth > DEPTH_MAX {
            return Err(Fault::Malformed);
        }
        match field {
            TYPE_TRUE | TYPE_FALSE => {}
            TYPE_BYTE => drop(self.byte()?),
            TYPE_I16 | TYPE_I32 | TYPE_I64 => drop(self.varint()?),
            TYPE_DOUBLE => {
                if self.bytes.len() - self.position < 8 {
                    return Err(Fault::Short);
                }
                self.position += 8;
            }
            TYPE_BINARY => drop(self.binary()?),
            TYPE_LIST | TYPE_SET => {
                let (length, element) = self.list_head()?;
                self.skip_elements(length, &[element], depth)?;
            }
            TYPE_MAP => {
                let length = usize::try_from(self.varint()?).map_err(|_| Fault::Malformed)?;
                if length > 0 {
                    let types = self.byte()?;
                    self.skip_elements(length, &[types >> 4, types & 0x0f], depth)?;
                }
            }
            TYPE_STRUCT => {
                let mut fields = Fields::default();
                while let Some((_, field)) = fields.next(self)? {
                    self.skip(field, depth + 1)?;
                }
            }
            _ => return Err(Fault::Malformed),
        }
        Ok(())
    }

    fn skip_elements(&mut self, length: usize, types: &[u8], depth: usize) -> Read<()> {
        for _ in 0..length {
            for &element in types {
                match element {
                    // In a list a Boolean takes a byte of its own.
                    TYPE_TRUE | TYPE_FALSE => drop(self.byte()?),
                    other => self.skip(other, depth + 1)?,
                }
            }
        }
        Ok(())
    }
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
