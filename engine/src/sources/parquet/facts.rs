//! What the planner wants to know of a Parquet file: rows, and for each column its range, its NULLs
//! and about how many distinct values it has. All of it comes from the footer, but for the sizes
//! of one row group's dictionaries, which are in the headers of their pages.

use std::cmp::Ordering;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::bounds::{Bounds, compare};
use super::error::guarded;
use super::footer::Footer;
use super::thrift::{PageKind, page_header};
use crate::error::Result;
use crate::expr::{Literal, Value};
use crate::memory::Governor;
use crate::sources::file::{FileRef, InputFile};

/// Bytes that the header of a dictionary page fits in.
const HEADER_BYTES: usize = 64;

/// What a Parquet file says of itself.
#[derive(Debug, Clone)]
pub struct FileFacts {
    /// The file, as it was when this was read.
    pub file: FileRef,
    /// Its footer, for the scans of this plan; `None` once it is not kept.
    pub footer: Option<Arc<Footer>>,
    /// Its columns with their logical types.
    pub schema: SchemaRef,
    /// Rows.
    pub rows: u64,
    /// Row groups.
    pub row_groups: usize,
    /// One a column.
    pub columns: Vec<ColumnFacts>,
}

/// What a Parquet file says of one of its columns.
#[derive(Debug, Clone, Default)]
pub struct ColumnFacts {
    /// No value is less; it need not occur. `None` when unknown.
    pub min: Option<Literal>,
    /// No value is greater, NaN aside; it need not occur. `None` when unknown.
    pub max: Option<Literal>,
    /// NULLs, when known.
    pub nulls: Option<u64>,
    /// About how many distinct values there are, when something is known about it.
    pub distinct: Option<f64>,
    /// Bytes of the column, decompressed.
    pub bytes: u64,
    /// Whether every row group's values are above those of the one before it (or equal at the
    /// border): the file is in the order of this column, row group by row group.
    pub is_ascending: bool,
}

/// Reads what a file says of itself.
///
/// # Errors
/// `Io` when it cannot be read, `Input` when it is no Parquet file, `OutOfMemory` when its footer
/// does not fit the budget.
pub fn describe(path: &Path, memory: &Governor) -> Result<FileFacts> {
    let file = FileRef::of(path)?;
    let footer = Footer::read(&file, memory)?;
    let opened = InputFile::open(&file)?;
    let columns = guarded(path, || {
        let columns = (0..footer.schema().fields().len()).map(|c| column(&footer, &opened, c));
        columns.collect::<Result<Vec<_>>>()
    })?;
    Ok(FileFacts {
        file,
        schema: footer.schema().clone(),
        rows: footer.rows(),
        row_groups: footer.metadata().num_row_groups(),
        columns,
        footer: Some(footer),
    })
}

fn column(footer: &Footer, file: &InputFile, position: usize) -> Result<ColumnFacts> {
    let Some(leaf) = footer.leaf(position) else { return Ok(ColumnFacts::default()) };
    let data_type = footer.schema().field(position).data_type();
    let groups = footer.metadata().row_groups();
    let filled = groups.iter().filter(|group| group.num_rows() > 0);
    let bounds: Vec<Bounds> =
        filled.map(|group| Bounds::of_chunk(group.column(leaf), data_type)).collect();
    let literal =
        |value: Option<Value>| value.map(|value| Literal { data_type: data_type.clone(), value });
    let min = extreme(bounds.iter().map(|b| (&b.min, b)), Ordering::Less);
    let max = extreme(bounds.iter().map(|b| (&b.max, b)), Ordering::Greater);
    let nulls = bounds.iter().map(|b| b.nulls).sum::<Option<u64>>();
    let is_ascending = is_ascending(&bounds);
    let stored = groups.iter().map(|group| group.column(leaf).uncompressed_size());
    let values = footer.rows() - nulls.unwrap_or(0).min(footer.rows());
    let in_group = distinct_in_largest_group(groups, leaf, file)?;
    let range = range_size(data_type, min.as_ref(), max.as_ref());
    Ok(ColumnFacts {
        distinct: distinct(in_group, values as f64, range, is_ascending),
        min: literal(min),
        max: literal(max),
        nulls,
        bytes: u64::try_from(stored.sum::<i64>()).unwrap_or(0),
        is_ascending,
    })
}

/// The least or greatest of the values; `None` when one is unknown. Row groups of NULLs have none.
fn extreme<'a>(
    values: impl Iterator<Item = (&'a Option<Value>, &'a Bounds)>,
    wanted: Ordering,
) -> Option<Value> {
    let mut best: Option<&Value> = None;
    for (value, bounds) in values {
        match (value, best) {
            (Some(value), Some(old)) if compare(value, old)? != wanted => {}
            (Some(value), _) => best = Some(value),
            (None, _) if bounds.nulls == Some(bounds.rows) => {}
            (None, _) => return None,
        }
    }
    best.cloned()
}

/// Whether each row group begins where the one before it ends, or above, and none has NULLs.
fn is_ascending(bounds: &[Bounds]) -> bool {
    let ordered = |pair: &[Bounds]| match (&pair[0].max, &pair[1].min) {
        (Some(before), Some(after)) => compare(before, after).is_some_and(Ordering::is_le),
        _ => false,
    };
    bounds.iter().all(|b| b.nulls == Some(0)) && bounds.windows(2).all(ordered)
}

/// Distinct values and values in the largest row group, from the header of its dictionary.
fn distinct_in_largest_group(
    groups: &[RowGroupMetaData],
    leaf: usize,
    file: &InputFile,
) -> Result<Option<(f64, f64)>> {
    let Some(group) = groups.iter().max_by_key(|group| group.num_rows()) else { return Ok(None) };
    let chunk = group.column(leaf);
    let nulls = chunk.statistics().and_then(|s| s.null_count_opt()).unwrap_or(0);
    let values = u64::try_from(chunk.num_values()).unwrap_or(0).saturating_sub(nulls);
    if let Some(distinct) = chunk.statistics().and_then(|s| s.distinct_count_opt()) {
        return Ok(Some((distinct as f64, values as f64)));
    }
    Ok(dictionary_size(chunk, file)?.map(|distinct| (distinct as f64, values as f64)))
}

/// Values in a chunk's dictionary, when all its values are in it.
fn dictionary_size(chunk: &ColumnChunkMetaData, file: &InputFile) -> Result<Option<u32>> {
    use parquet::basic::Encoding::{PLAIN_DICTIONARY, RLE_DICTIONARY};
    let in_dictionary = chunk
        .page_encoding_stats_mask()
        .is_some_and(|mask| mask.is_only(RLE_DICTIONARY) || mask.is_only(PLAIN_DICTIONARY));
    let (start, length) = chunk.byte_range();
    // A chunk beyond the end is for the scan to report, which reads all of it.
    let inside = start.checked_add(length).is_some_and(|end| end <= file.size());
    if !inside || !in_dictionary || chunk.dictionary_page_offset().is_none() {
        return Ok(None);
    }
    let length = usize::try_from(length).map_or(HEADER_BYTES, |length| length.min(HEADER_BYTES));
    let mut bytes = vec![0; length];
    file.read_at(start, &mut bytes)?;
    Ok(match page_header(&bytes) {
        Ok((header, _)) if header.kind == PageKind::Dictionary => Some(header.values),
        _ => None,
    })
}

/// How many values a column of whole numbers can have between its bounds.
fn range_size(data_type: &DataType, min: Option<&Value>, max: Option<&Value>) -> Option<f64> {
    let width = match (min?, max?) {
        (Value::Int(min), Value::Int(max)) => *max as f64 - *min as f64,
        (Value::UInt(min), Value::UInt(max)) => *max as f64 - *min as f64,
        (Value::Decimal(min), Value::Decimal(max)) => *max as f64 - *min as f64,
        (Value::Bool(_), Value::Bool(_)) => 1.0,
        _ => return None,
    };
    let whole = data_type.is_integer() || data_type.is_decimal() || data_type.is_temporal();
    (whole || *data_type == DataType::Boolean).then_some(width + 1.0)
}

/// Distinct values among `values`, of which `in_group` was counted in one row group.
fn distinct(
    in_group: Option<(f64, f64)>,
    values: f64,
    range: Option<f64>,
    is_ascending: bool,
) -> Option<f64> {
    let most = range.map_or(values, |range| range.min(values));
    let Some((distinct, counted)) = in_group.filter(|(distinct, _)| *distinct > 0.0) else {
        return range.map(|_| most);
    };
    let guess = if is_ascending {
        // Row groups share no values.
        distinct * values / counted.max(1.0)
    } else {
        drawn_from(distinct, counted, values)
    };
    Some(guess.clamp(distinct.min(most), most))
}

/// The distinct values of `values` rows, if rows are drawn at random from a set that gave
/// `distinct` in `counted` draws: the size of the set solves `distinct = n (1 - e^(-counted/n))`.
fn drawn_from(distinct: f64, counted: f64, values: f64) -> f64 {
    let seen = |n: f64| n * -(-counted / n).exp_m1();
    if distinct >= counted * 0.999 {
        return values * (distinct / counted.max(1.0)).min(1.0);
    }
    let (mut low, mut high) = (distinct, distinct * 2.0);
    while seen(high) < distinct && high < values.max(1.0) * 1024.0 {
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if seen(middle) < distinct { low = middle } else { high = middle }
    }
    high * -(-values / high).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_values_of_a_sample_are_extrapolated() {
        // 100 000 suppliers in a row group of 115 000 rows: 68 335 of them are expected.
        let guess = distinct(Some((68_335.0, 115_000.0)), 6e7, Some(1e9), false).expect("known");
        assert!((95_000.0..105_000.0).contains(&guess), "{guess}");
        let few = distinct(Some((50.0, 115_000.0)), 6e7, None, false).expect("known");
        assert!((49.9..50.1).contains(&few), "{few}");
        let unique = distinct(Some((1e5, 1e5)), 6e7, None, false).expect("known");
        assert_eq!(unique, 6e7);
        let clustered = distinct(Some((28_750.0, 115_000.0)), 6e7, Some(6e7), true);
        assert_eq!(clustered, Some(1.5e7));
        assert_eq!(distinct(None, 1000.0, Some(25.0), false), Some(25.0));
        assert_eq!(distinct(None, 1000.0, None, false), None);
    }
}
