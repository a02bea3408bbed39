//! The smallest and the largest value of a page or a column, as the file states them.

use parquet::basic::{LogicalType, Type};
use parquet::data_type::ByteArray;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::schema::types::ColumnDescriptor;

/// Longer bounds are stated as something shorter that is still a bound.
const BOUND_BYTES_MAX: usize = 64;

/// The smallest and the largest value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bounds {
    Words(i64, i64),
    Texts(Vec<u8>, Vec<u8>),
}

impl Bounds {
    /// Widens `bounds` to hold what `others` hold.
    pub fn widen(bounds: &mut Option<Bounds>, others: &Option<Bounds>) {
        match (bounds, others) {
            (_, None) => {}
            (bounds @ None, Some(others)) => *bounds = Some(others.clone()),
            (Some(Bounds::Words(low, high)), Some(Bounds::Words(other_low, other_high))) => {
                *low = (*low).min(*other_low);
                *high = (*high).max(*other_high);
            }
            (Some(Bounds::Texts(low, high)), Some(Bounds::Texts(other_low, other_high))) => {
                if other_low < low {
                    low.clone_from(other_low);
                }
                if other_high > high {
                    high.clone_from(other_high);
                }
            }
            (bounds, _) => *bounds = None,
        }
    }

    /// What the footer says of a column.
    pub fn statistics(
        bounds: &Option<Bounds>,
        column: &ColumnDescriptor,
        nulls: u64,
    ) -> Statistics {
        let nulls = Some(nulls);
        // Integers have one order, so old readers may be told as well.
        let both = |statistics| match statistics {
            Statistics::Int32(values) => {
                Statistics::Int32(values.with_backwards_compatible_min_max(true))
            }
            Statistics::Int64(values) => {
                Statistics::Int64(values.with_backwards_compatible_min_max(true))
            }
            other => other,
        };
        match (bounds, column.physical_type()) {
            (Some(Bounds::Words(low, high)), Type::INT32) => {
                both(Statistics::int32(Some(*low as i32), Some(*high as i32), None, nulls, false))
            }
            (Some(Bounds::Words(low, high)), _) => {
                both(Statistics::int64(Some(*low), Some(*high), None, nulls, false))
            }
            (Some(Bounds::Texts(low, high)), _) => {
                let (short_low, short_high) = shortened(low, high, is_text(column));
                let (low_is_exact, high_is_exact) = (short_low == *low, short_high == *high);
                let (low, high) = (ByteArray::from(short_low), ByteArray::from(short_high));
                let values = ValueStatistics::new(Some(low), Some(high), None, nulls, false)
                    .with_min_is_exact(low_is_exact)
                    .with_max_is_exact(high_is_exact);
                Statistics::ByteArray(values)
            }
            (None, Type::INT32) => Statistics::int32(None, None, None, nulls, false),
            (None, Type::INT64) => Statistics::int64(None, None, None, nulls, false),
            (None, _) => Statistics::byte_array(None, None, None, nulls, false),
        }
    }

    /// What the page index says of a page.
    pub fn encoded(&self, column: &ColumnDescriptor) -> (Vec<u8>, Vec<u8>) {
        match (self, column.physical_type()) {
            (Bounds::Words(low, high), Type::INT32) => {
                ((*low as i32).to_le_bytes().to_vec(), (*high as i32).to_le_bytes().to_vec())
            }
            (Bounds::Words(low, high), _) => {
                (low.to_le_bytes().to_vec(), high.to_le_bytes().to_vec())
            }
            (Bounds::Texts(low, high), _) => shortened(low, high, is_text(column)),
        }
    }
}

fn is_text(column: &ColumnDescriptor) -> bool {
    column.logical_type_ref() == Some(&LogicalType::String)
}

/// Bounds of at most [`BOUND_BYTES_MAX`] bytes, where there are such.
fn shortened(low: &[u8], high: &[u8], is_text: bool) -> (Vec<u8>, Vec<u8>) {
    let cut = |value: &[u8]| match std::str::from_utf8(value) {
        Ok(text) if is_text => text.floor_char_boundary(BOUND_BYTES_MAX),
        _ => value.len().min(BOUND_BYTES_MAX),
    };
    let short_low = low[..cut(low)].to_vec();
    if high.len() <= BOUND_BYTES_MAX {
        return (short_low, high.to_vec());
    }
    let raised = match std::str::from_utf8(&high[..cut(high)]) {
        Ok(text) if is_text => raised_text(text),
        _ => raised_bytes(&high[..BOUND_BYTES_MAX]),
    };
    (short_low, raised.unwrap_or_else(|| high.to_vec()))
}

/// A text above all that begin with `text`: its last character that has a next one, raised.
fn raised_text(text: &str) -> Option<Vec<u8>> {
    text.char_indices().rev().find_map(|(at, last)| {
        let next = char::from_u32(u32::from(last) + 1)?;
        let mut raised = text[..at].to_string();
        raised.push(next);
        Some(raised.into_bytes())
    })
}

fn raised_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    let last = bytes.iter().rposition(|&byte| byte < u8::MAX)?;
    let mut raised = bytes[..=last].to_vec();
    raised[last] += 1;
    Some(raised)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bounds_are_shortened_outwards() {
        let long = "é".repeat(50);
        let (low, high) = shortened(long.as_bytes(), long.as_bytes(), true);
        assert!(low.as_slice() < long.as_bytes() && low.len() == 64);
        assert!(high.as_slice() > long.as_bytes() && high.len() <= 65);
        assert!(std::str::from_utf8(&high).is_ok());
        let (low, high) = shortened(&[255; 80], &[255; 80], false);
        assert_eq!((low.len(), high.len()), (64, 80), "nothing shorter is above");
        let (_, high) = shortened(&[7; 80], &[7; 80], false);
        assert_eq!((high.len(), high[63]), (64, 8));
        let top = "\u{10FFFF}".repeat(20);
        let (_, high) = shortened(b"", top.as_bytes(), true);
        assert_eq!(high, top.as_bytes());
        assert_eq!(shortened(b"a", b"b", true), (b"a".to_vec(), b"b".to_vec()));
    }

    #[test]
    fn bounds_grow() {
        let mut bounds = None;
        Bounds::widen(&mut bounds, &Some(Bounds::Words(3, 5)));
        Bounds::widen(&mut bounds, &None);
        Bounds::widen(&mut bounds, &Some(Bounds::Words(-1, 4)));
        assert_eq!(bounds, Some(Bounds::Words(-1, 5)));
    }
}
