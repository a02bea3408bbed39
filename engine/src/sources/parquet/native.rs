//! Reads columns of fixed-width values, and of strings that are stored as dictionary codes, with
//! decoders of our own.
//!
//! A page is decompressed when the first row of it is read, not before. Where only some rows are
//! wanted, plain values and packed codes are picked singly instead of decoded and dropped.
//!
//! A column gives codes (an indexed column whose domain is the same for the whole row group) when
//! it is a string, or when the scan wants codes to filter on and the dictionary is small;
//! otherwise it gives flat values.

use std::sync::Arc;

use arrow::array::{Array, NullBufferBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::DataType;
use parquet::basic::{Encoding, Type as PhysicalType};
use parquet::file::metadata::ColumnChunkMetaData;

use super::column::ColumnReader;
use super::dictionary::{ChunkKey, Dictionary, byte_values, fixed_values};
use super::footer::Footer;
use super::pages::{Page, Pages};
use super::runs::{Broken, Runs};
use super::scan::Shared;
use super::thrift::{PageEncoding, PageKind, PageLocation};
use super::values::{Values, retain, spread, values_for};
use crate::batch::{Column, Indices, NULL_INDEX, Selection};
use crate::error::Result;
use crate::sources::file::InputFile;

/// Filters run on codes when every value of the dictionary stands for so many rows at least.
const ROWS_PER_VALUE_MIN: usize = 4;

/// A skip of this many rows asks the page index for the way.
const SEEK_ROWS_MIN: usize = 32_768;

/// Codes are picked singly when at most one row in so many is wanted.
const PICK_ONE_IN: usize = 4;

/// A column that this engine decodes itself.
pub(super) struct NativeColumn {
    pages: Pages,
    shared: Arc<Shared>,
    key: ChunkKey,
    rows: usize,
    logical: DataType,
    physical: DataType,
    /// Whether rows may be NULL, and pages have levels that say which.
    nullable: bool,
    /// Whether codes are wanted, and all data pages hold them.
    wants_codes: bool,
    dictionary: Option<Arc<Dictionary>>,
    page: Option<Current>,
    /// The row that the next page begins with.
    next_row: usize,
    /// Where the pages are; the inner `None` when the file does not say.
    locations: Option<Option<Vec<PageLocation>>>,
    /// The page's bytes, decompressed.
    buffer: Vec<u8>,
    codes: Vec<u32>,
    to_skip: usize,
    out: Output,
}

/// The page that the next row is in.
struct Current {
    page: Page,
    rows_left: usize,
    /// What decoders there are, once the page is decompressed.
    loaded: Option<Loaded>,
    /// Rows to pass over when the page is loaded.
    skipped: usize,
}

struct Loaded {
    levels: Option<Runs>,
    body: Body,
}

enum Body {
    /// Position of the next value in the buffer.
    Plain(usize),
    Codes(Runs),
}

/// Where rows go.
enum Output {
    Flat(Box<dyn Values>),
    Codes(Vec<u32>),
}

impl Output {
    fn len(&self) -> usize {
        match self {
            Output::Flat(values) => values.len(),
            Output::Codes(codes) => codes.len(),
        }
    }

    fn spread(&mut self, from: usize, valid: &BooleanBuffer) {
        match self {
            Output::Flat(values) => values.spread(from, valid),
            Output::Codes(codes) => spread(codes, from, valid, NULL_INDEX),
        }
    }

    fn retain(&mut self, from: usize, positions: &[u32], base: usize) {
        match self {
            Output::Flat(values) => values.retain(from, positions, base),
            Output::Codes(codes) => retain(codes, from, positions, base),
        }
    }
}

/// The part of a selection that lies in one page: positions that count from `base`.
#[derive(Clone, Copy)]
struct Kept<'a> {
    positions: &'a [u32],
    base: usize,
}

impl NativeColumn {
    /// Column `column` of a row group; `None` when it needs the generic reader.
    pub fn open(
        file: &Arc<InputFile>,
        footer: &Arc<Footer>,
        shared: &Arc<Shared>,
        column: usize,
        key: ChunkKey,
        wants_codes: bool,
    ) -> Result<Option<Self>> {
        let Some(leaf) = footer.leaf(column) else { return Ok(None) };
        let group = footer.metadata().row_group(key.1);
        let chunk = group.column(leaf);
        let descr = chunk.column_descr();
        let physical = footer.physical()[column].data_type();
        let all_codes = holds_codes_only(chunk);
        let out = match values_for(descr, physical) {
            Some(values) => Output::Flat(values),
            None if is_text(descr.physical_type(), physical) && all_codes => {
                Output::Codes(Vec::new())
            }
            None => return Ok(None),
        };
        if !chunk.encodings().all(is_decoded) || descr.max_def_level() > 1 {
            return Ok(None);
        }
        Ok(Some(NativeColumn {
            pages: Pages::open(file, footer, key.1, leaf)?,
            shared: shared.clone(),
            key,
            rows: usize::try_from(group.num_rows()).unwrap_or(0),
            logical: footer.schema().field(column).data_type().clone(),
            physical: physical.clone(),
            nullable: descr.max_def_level() == 1,
            wants_codes: wants_codes && all_codes,
            dictionary: None,
            page: None,
            next_row: 0,
            locations: None,
            buffer: Vec::new(),
            codes: Vec::new(),
            to_skip: 0,
            out,
        }))
    }

    fn broken(&self, _: Broken) -> crate::Error {
        self.pages.corrupt("a page's values are not what its header says")
    }

    /// Makes the page current that the next row is in, passing over what is to be skipped.
    fn settle(&mut self) -> Result<()> {
        loop {
            if let Some(current) = &mut self.page {
                let skipped = self.to_skip.min(current.rows_left);
                self.to_skip -= skipped;
                current.rows_left -= skipped;
                if current.rows_left > 0 {
                    if current.loaded.is_none() {
                        current.skipped += skipped;
                    } else if skipped > 0 {
                        self.advance(skipped)?;
                    }
                    return Ok(());
                }
                self.page = None;
            }
            if self.to_skip >= SEEK_ROWS_MIN {
                self.seek()?;
            }
            let Some(page) = self.pages.next()? else {
                return Err(self.pages.corrupt("it ends before its row group"));
            };
            match page.header.kind {
                PageKind::Dictionary => self.read_dictionary(&page)?,
                PageKind::Other => {}
                PageKind::Data | PageKind::DataV2 { .. } => {
                    let rows_left = page.header.values as usize;
                    self.next_row += rows_left;
                    self.page = Some(Current { page, rows_left, loaded: None, skipped: 0 });
                }
            }
        }
    }

    /// Goes straight to the page that the next row is in, if the file says where that is.
    fn seek(&mut self) -> Result<()> {
        if self.locations.is_none() {
            self.locations = Some(self.pages.locations()?);
        }
        let Some(Some(locations)) = &self.locations else { return Ok(()) };
        let before_data = locations.first().is_some_and(|first| self.pages.is_before(first));
        if before_data && self.next_row == 0 && self.dictionary.is_none() {
            return Ok(());
        }
        let target = self.next_row + self.to_skip;
        let behind = locations.partition_point(|page| page.first_row as usize <= target);
        let page = behind.checked_sub(1).map(|index| locations[index]);
        if let Some(page) = page.filter(|page| page.first_row as usize > self.next_row) {
            self.pages.seek(page);
            self.to_skip = target - page.first_row as usize;
            self.next_row = page.first_row as usize;
        }
        Ok(())
    }

    fn read_dictionary(&mut self, page: &Page) -> Result<()> {
        let dictionary = match self.shared.dictionaries.get(self.key) {
            Some(dictionary) => dictionary,
            None => {
                let reads = &self.shared.reads[self.key.2];
                self.pages.load(page, reads, &mut self.buffer)?;
                let count = page.header.values as usize;
                let values = match &mut self.out {
                    Output::Flat(values) => fixed_values(values.as_mut(), &self.buffer, count)?,
                    Output::Codes(_) => byte_values(&self.physical, &self.buffer, count),
                };
                let values =
                    values.ok_or_else(|| self.pages.corrupt("its dictionary is broken"))?;
                // A dictionary page is often many times larger than the data pages behind it.
                self.buffer = Vec::new();
                self.pages.release();
                self.shared.dictionaries.share(self.key, values)
            }
        };
        if let Output::Flat(values) = &mut self.out {
            values.set_dictionary(&dictionary.values);
            let small = dictionary.values.len().saturating_mul(ROWS_PER_VALUE_MIN) <= self.rows;
            if self.wants_codes && small {
                self.out = Output::Codes(Vec::new());
            }
        }
        self.dictionary = Some(dictionary);
        Ok(())
    }

    /// Decompresses the current page.
    fn load(&mut self) -> Result<()> {
        let Some(current) = &mut self.page else { return Ok(()) };
        if current.loaded.is_some() {
            return Ok(());
        }
        self.pages.load(&current.page, &self.shared.reads[self.key.2], &mut self.buffer)?;
        let loaded = decoders(&current.page, &self.buffer, self.nullable);
        current.loaded = match loaded {
            Ok(loaded) => Some(loaded),
            Err(broken) => return Err(self.broken(broken)),
        };
        let skipped = std::mem::take(&mut current.skipped);
        if skipped > 0 { self.advance(skipped) } else { Ok(()) }
    }

    /// Passes over rows of the loaded page.
    fn advance(&mut self, rows: usize) -> Result<()> {
        let Some(Current { loaded: Some(loaded), .. }) = &mut self.page else { return Ok(()) };
        let width = if let Output::Flat(values) = &self.out { values.width() } else { 0 };
        let done = valid_rows(loaded, &self.buffer, rows, &mut self.codes).and_then(|valid| {
            let values = valid.map_or(rows, |valid| valid.count_set_bits());
            match &mut loaded.body {
                Body::Plain(position) => {
                    *position += values * width;
                    Ok(())
                }
                Body::Codes(runs) => runs.skip(&self.buffer, values),
            }
        });
        done.map_err(|broken| self.broken(broken))
    }

    /// Appends the next `rows` rows of the loaded page, or those of them that are kept.
    fn append(
        &mut self,
        rows: usize,
        kept: Option<Kept<'_>>,
        nulls: &mut NullBufferBuilder,
    ) -> Result<(), Broken> {
        let Some(Current { loaded: Some(loaded), .. }) = &mut self.page else {
            return Err(Broken);
        };
        let (buffer, codes) = (&self.buffer, &mut self.codes);
        let from = self.out.len();
        let Some(valid) = valid_rows(loaded, buffer, rows, codes)? else {
            nulls.append_n_non_nulls(kept.map_or(rows, |kept| kept.positions.len()));
            return append_values(&mut loaded.body, buffer, codes, &mut self.out, rows, kept);
        };
        let values = valid.count_set_bits();
        append_values(&mut loaded.body, buffer, codes, &mut self.out, values, None)?;
        self.out.spread(from, &valid);
        match kept {
            None => nulls.append_buffer(&NullBuffer::new(valid)),
            Some(Kept { positions, base }) => {
                self.out.retain(from, positions, base);
                let kept_valid = positions.iter().map(|&p| valid.value(p as usize - base));
                nulls.append_buffer(&kept_valid.collect::<Vec<bool>>().into());
            }
        }
        Ok(())
    }

    fn read_rows(&mut self, rows: usize, kept: Option<&[u32]>) -> Result<Column> {
        let mut nulls = NullBufferBuilder::new(kept.map_or(rows, <[u32]>::len));
        let mut done = 0;
        let mut kept = kept;
        while done < rows {
            self.settle()?;
            let left = self.page.as_ref().map_or(0, |page| page.rows_left);
            let taken = left.min(rows - done);
            let part = kept.map(|positions| {
                let end = positions.partition_point(|&p| (p as usize) < done + taken);
                let (part, rest) = positions.split_at(end);
                kept = Some(rest);
                Kept { positions: part, base: done }
            });
            done += taken;
            if part.is_some_and(|part| part.positions.is_empty()) {
                self.to_skip = taken;
                continue;
            }
            self.load()?;
            self.append(taken, part, &mut nulls).map_err(|broken| self.broken(broken))?;
            if let Some(page) = &mut self.page {
                page.rows_left -= taken;
            }
        }
        self.finish(nulls.finish())
    }

    fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<Column> {
        let logical = self.logical.clone();
        match &mut self.out {
            Output::Flat(values) => Ok(Column::flat(logical, values.finish(nulls)?)),
            Output::Codes(codes) => {
                let codes = std::mem::take(codes);
                let Some(dictionary) = &self.dictionary else {
                    return Err(self.pages.corrupt("it has no dictionary"));
                };
                let size = dictionary.values.len();
                if codes.iter().any(|&code| code as usize >= size && code != NULL_INDEX) {
                    return Err(self.broken(Broken));
                }
                let indices =
                    if nulls.is_some() { Indices::with_nulls(codes) } else { Indices::new(codes) };
                let (base, domain) = (dictionary.values.clone(), dictionary.domain);
                Ok(Column::indexed(logical, Arc::new(indices), base, Some(domain)))
            }
        }
    }
}

impl ColumnReader for NativeColumn {
    fn skip(&mut self, rows: usize) -> Result<()> {
        self.to_skip += rows;
        Ok(())
    }

    fn read(&mut self, rows: usize) -> Result<Column> {
        self.read_rows(rows, None)
    }

    fn read_selected(&mut self, rows: usize, kept: &Selection) -> Result<Column> {
        self.read_rows(rows, Some(kept.as_slice()))
    }

    fn held_bytes(&self) -> usize {
        let dictionary = self.dictionary.as_ref().map_or(0, |dictionary| dictionary.bytes);
        self.pages.held_bytes() + self.buffer.capacity() + 4 * self.codes.capacity() + dictionary
    }
}

/// Whether all data pages hold dictionary codes, as far as the footer says.
fn holds_codes_only(chunk: &ColumnChunkMetaData) -> bool {
    chunk.page_encoding_stats_mask().is_some_and(|mask| {
        mask.is_only(Encoding::RLE_DICTIONARY) || mask.is_only(Encoding::PLAIN_DICTIONARY)
    })
}

fn is_decoded(encoding: Encoding) -> bool {
    matches!(
        encoding,
        Encoding::PLAIN | Encoding::RLE | Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY
    )
}

fn is_text(stored: PhysicalType, held: &DataType) -> bool {
    stored == PhysicalType::BYTE_ARRAY && matches!(held, DataType::Utf8View | DataType::BinaryView)
}

/// Decoders for the parts of a page.
fn decoders(page: &Page, buffer: &[u8], nullable: bool) -> Result<Loaded, Broken> {
    let mut start = 0;
    let mut levels = None;
    match page.header.kind {
        PageKind::DataV2 { levels: (repetition, definition), .. } => {
            start = repetition as usize;
            let end = start + definition as usize;
            if end > buffer.len() {
                return Err(Broken);
            }
            if nullable {
                levels = Some(Runs::new(1, start, end)?);
            }
            start = end;
        }
        _ if nullable => {
            let length = buffer.first_chunk::<4>().ok_or(Broken)?;
            start = 4 + u32::from_le_bytes(*length) as usize;
            if start > buffer.len() {
                return Err(Broken);
            }
            levels = Some(Runs::new(1, 4, start)?);
        }
        _ => {}
    }
    let body = match page.header.encoding {
        PageEncoding::Plain => Body::Plain(start),
        // A page of NULLs only may have no codes at all.
        PageEncoding::Codes => match buffer.get(start) {
            Some(&width) => Body::Codes(Runs::new(width, start + 1, buffer.len())?),
            None => Body::Codes(Runs::default()),
        },
        PageEncoding::Other(_) => return Err(Broken),
    };
    Ok(Loaded { levels, body })
}

/// Which of the next `rows` rows are not NULL; `None` when all are. Passes over their levels.
fn valid_rows(
    loaded: &mut Loaded,
    buffer: &[u8],
    rows: usize,
    scratch: &mut Vec<u32>,
) -> Result<Option<BooleanBuffer>, Broken> {
    let Some(levels) = &mut loaded.levels else { return Ok(None) };
    if rows == 0 {
        return Ok(None);
    }
    match levels.take_same(buffer, rows)? {
        Some(1) => Ok(None),
        Some(_) => Ok(Some(BooleanBuffer::new_unset(rows))),
        None => {
            scratch.resize(rows, 0);
            levels.read(buffer, scratch)?;
            Ok(Some(BooleanBuffer::collect_bool(rows, |row| scratch[row] == 1)))
        }
    }
}

/// Appends the next `count` values, or those of them that are kept.
fn append_values(
    body: &mut Body,
    buffer: &[u8],
    scratch: &mut Vec<u32>,
    out: &mut Output,
    count: usize,
    kept: Option<Kept<'_>>,
) -> Result<(), Broken> {
    match (body, out) {
        (Body::Plain(position), Output::Flat(values)) => {
            let end = *position + count * values.width();
            let stored = buffer.get(*position..end).ok_or(Broken)?;
            *position = end;
            match kept {
                None => values.plain(stored),
                Some(Kept { positions, base }) => values.plain_at(stored, positions, base)?,
            }
            Ok(())
        }
        (Body::Plain(_), Output::Codes(_)) => Err(Broken),
        (Body::Codes(runs), out) => {
            let from = out.len();
            let mut retained = None;
            match kept {
                Some(Kept { positions, base }) if positions.len() * PICK_ONE_IN <= count => {
                    scratch.clear();
                    let positions = positions.iter().map(|&p| p as usize - base);
                    runs.read_at(buffer, count, positions, scratch)?;
                }
                _ => {
                    scratch.resize(count, 0);
                    runs.read(buffer, scratch)?;
                    retained = kept;
                }
            }
            match out {
                Output::Flat(values) => values.lookup(scratch)?,
                Output::Codes(codes) => codes.extend_from_slice(scratch),
            }
            if let Some(Kept { positions, base }) = retained {
                out.retain(from, positions, base);
            }
            Ok(())
        }
    }
}
