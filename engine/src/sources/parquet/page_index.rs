//! The page index of a column chunk: where its pages are and what is in them. Read from the file
//! when a scan can use it, for one column of one row group at a time.
//!
//! The index is an aid: one that is absent or broken is as if nothing were known.

use std::ops::Range;

use parquet::file::metadata::ColumnChunkMetaData;

use super::bounds::{Bounds, value_of};
use super::prune::may_pass;
use super::thrift::{PageLocation, column_index, offset_index};
use crate::error::Result;
use crate::expr::Expr;
use crate::sources::file::InputFile;

/// An index longer than this is not worth reading.
const INDEX_BYTES_MAX: usize = 1 << 20;

/// Where the data pages of a column chunk are; `None` when the file does not say.
///
/// # Errors
/// `Io` when the file cannot be read, `Input` when it changed since planning.
pub(super) fn page_locations(
    file: &InputFile,
    chunk: &ColumnChunkMetaData,
) -> Result<Option<Vec<PageLocation>>> {
    let bytes = read(file, chunk.offset_index_offset(), chunk.offset_index_length())?;
    let pages = bytes.and_then(|bytes| offset_index(&bytes).ok());
    let (start, length) = chunk.byte_range();
    let inside = |page: &PageLocation| (start..start + length).contains(&page.offset);
    Ok(pages.filter(|pages| {
        pages.first().is_some_and(|first| first.first_row == 0) && pages.iter().all(inside)
    }))
}

/// The rows of a row group of `rows` rows on whose pages `condition`, over this column only, may
/// pass; `None` when that is not known.
///
/// # Errors
/// As [`page_locations`].
pub(super) fn rows_that_may_pass(
    file: &InputFile,
    chunk: &ColumnChunkMetaData,
    rows: usize,
    condition: &Expr,
) -> Result<Option<Vec<Range<usize>>>> {
    let bytes = read(file, chunk.column_index_offset(), chunk.column_index_length())?;
    let Some(index) = bytes.as_deref().and_then(|bytes| column_index(bytes).ok()) else {
        return Ok(None);
    };
    let Some(pages) = page_locations(file, chunk)? else { return Ok(None) };
    if pages.len() != index.null_pages.len() {
        return Ok(None);
    }
    let mut passing: Vec<Range<usize>> = Vec::new();
    for (page, location) in pages.iter().enumerate() {
        let start = location.first_row as usize;
        let end = pages.get(page + 1).map_or(rows, |next| next.first_row as usize).min(rows);
        let all_null = index.null_pages[page];
        let page_rows = end.saturating_sub(start) as u64;
        let known_nulls = index.null_counts.get(page).and_then(|&n| u64::try_from(n).ok());
        let bounds = |data_type: &_| Bounds {
            rows: page_rows,
            nulls: if all_null { Some(page_rows) } else { known_nulls },
            min: value_of(index.minima[page], chunk.column_descr(), data_type)
                .filter(|_| !all_null),
            max: value_of(index.maxima[page], chunk.column_descr(), data_type)
                .filter(|_| !all_null),
        };
        if may_pass(condition, &|_, data_type| Some(bounds(data_type))) {
            match passing.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => passing.push(start..end),
            }
        }
    }
    Ok(Some(passing))
}

fn read(file: &InputFile, offset: Option<i64>, length: Option<i32>) -> Result<Option<Vec<u8>>> {
    let (Some(offset), Some(length)) = (offset, length) else { return Ok(None) };
    let (Ok(offset), Ok(length)) = (u64::try_from(offset), usize::try_from(length)) else {
        return Ok(None);
    };
    let inside = offset.checked_add(length as u64).is_some_and(|end| end <= file.size());
    if !inside || length > INDEX_BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    file.read_at(offset, &mut bytes)?;
    Ok(Some(bytes))
}

/// The rows that are in both, each in order.
pub(super) fn intersect(a: &[Range<usize>], b: &[Range<usize>]) -> Vec<Range<usize>> {
    let (mut a, mut b) = (a.iter().peekable(), b.iter().peekable());
    let mut both = Vec::new();
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let common = x.start.max(y.start)..x.end.min(y.end);
        if x.end < y.end {
            a.next()
        } else {
            b.next()
        };
        if !common.is_empty() {
            both.push(common);
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intersections() {
        let some = [0..10, 20..30, 40..50];
        assert_eq!(intersect(&some, std::slice::from_ref(&(0..100))), some);
        assert_eq!(intersect(&some, &[5..25, 29..41]), [5..10, 20..25, 29..30, 40..41]);
        assert!(intersect(&some, std::slice::from_ref(&(10..20))).is_empty());
        assert!(intersect(&some, &[]).is_empty());
    }
}
