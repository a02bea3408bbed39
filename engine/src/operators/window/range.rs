//! Ends of RANGE frames: where a key is so much less or greater than that of the row.
//!
//! Integers and decimals are compared as 128-bit integers, times as nanoseconds in 128 bits: no
//! sum of a key and an offset is too large for that. NULLs are peers of each other and nobody
//! else's neighbours.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{ArrowNativeType, DataType, TimeUnit};

use super::bounds::{At, PartitionScan};
use super::lane::{Decode, Lane, Values, floats, integers};
use super::store::Store;
use crate::batch::float_key;
use crate::calendar::add_months;
use crate::error::{Error, Result};
use crate::expr::{Literal, Over, SortKey, Value};

const NANOS_PER_DAY: i128 = 86_400_000_000_000;

/// One end of RANGE frames.
pub(super) trait RangeEdge: Send {
    /// Where the frame of a row begins, or what is behind it; `None` when rows are missing.
    fn find(&mut self, at: &At, store: &mut Store) -> Result<Option<u64>>;

    /// The first position that is read again.
    fn keeps(&self) -> u64;
}

/// Which end, and how far it is.
#[derive(Debug, Clone)]
pub(super) struct RangeBound {
    /// How far, in the direction that `following` says.
    pub(super) offset: Literal,
    pub(super) following: bool,
    /// Whether it is the end of the frame: rows with just that key belong to it.
    pub(super) is_end: bool,
}

/// An edge over the one key behind those of the partition.
///
/// # Errors
/// `Input` when keys of this type, or this offset, cannot be computed with.
pub(super) fn range_edge(
    over: Over,
    change_column: usize,
    key: &SortKey,
    key_type: &DataType,
    bound: &RangeBound,
) -> Result<Box<dyn RangeEdge>> {
    if is_negative(&bound.offset.value) {
        return Err(Error::input(format!(
            "the offset of a RANGE frame is negative: {}; use PRECEDING or FOLLOWING",
            bound.offset
        )));
    }
    // In the order of the rows, behind is greater unless the order is descending.
    let add = bound.following != key.descending;
    let scan = PartitionScan::new(over.partition, change_column);
    if key_type.is_floating() {
        let Value::Float(by) = bound.offset.value else { return Err(foreign(key_type, bound)) };
        let shift: Shift<f64> = Box::new(move |v| if add { v + by } else { v - by });
        let lanes = Lanes::new(key.column, floats(), shift);
        return Ok(Box::new(KeyEdge { key: *key, is_end: bound.is_end, scan, lanes }));
    }
    let (decode, shift) = match key_type {
        DataType::Decimal256(..) => return Err(foreign(key_type, bound)),
        number if number.is_integer() || number.is_decimal() => {
            let by = whole(&bound.offset.value).ok_or_else(|| foreign(key_type, bound))?;
            let by = if add { by } else { -by };
            let shift: Shift<i128> = Box::new(move |v: i128| v.saturating_add(by));
            (integers(), shift)
        }
        time => of_time(time, bound, add)?,
    };
    let lanes = Lanes::new(key.column, decode, shift);
    Ok(Box::new(KeyEdge { key: *key, is_end: bound.is_end, scan, lanes }))
}

fn of_time(
    key_type: &DataType,
    bound: &RangeBound,
    add: bool,
) -> Result<(Decode<i128>, Shift<i128>)> {
    let unit = nanos_of(key_type).ok_or_else(|| foreign(key_type, bound))?;
    let Value::Interval { months, days, nanoseconds } = bound.offset.value else {
        return Err(foreign(key_type, bound));
    };
    let is_local = matches!(key_type, DataType::Timestamp(_, Some(zone))
        if !matches!(zone.as_ref(), "UTC" | "Z" | "+00:00"));
    if is_local && (months != 0 || days != 0) {
        return Err(Error::input(format!(
            "RANGE by days or months of {key_type} is not supported; use hours, or a timestamp \
             without a time zone"
        )));
    }
    let sign: i32 = if add { 1 } else { -1 };
    let rest = i128::from(days) * NANOS_PER_DAY + i128::from(nanoseconds);
    let shift = move |v: i128| {
        let v = if months == 0 { v } else { shift_months(v, sign * months) };
        v + i128::from(sign) * rest
    };
    let native = integers();
    let decode = move |array: &arrow::array::ArrayRef| {
        Ok(native(array)?.iter().map(|v| v * unit).collect::<ScalarBuffer<i128>>())
    };
    Ok((Arc::new(decode), Box::new(shift)))
}

/// A time so many months later; in a shorter month on its last day.
fn shift_months(nanos: i128, months: i32) -> i128 {
    let (days, rest) = (nanos.div_euclid(NANOS_PER_DAY), nanos.rem_euclid(NANOS_PER_DAY));
    // Days of 64 bits of seconds have less than 50.
    i128::from(add_months(days as i64, months.into())) * NANOS_PER_DAY + rest
}

/// Nanoseconds of one unit of a type of dates or times.
fn nanos_of(data_type: &DataType) -> Option<i128> {
    let unit = |unit: &TimeUnit| match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1,
    };
    match data_type {
        DataType::Date32 => Some(NANOS_PER_DAY),
        DataType::Date64 => Some(1_000_000),
        DataType::Timestamp(u, _) | DataType::Time32(u) | DataType::Time64(u) => Some(unit(u)),
        _ => None,
    }
}

fn whole(value: &Value) -> Option<i128> {
    match value {
        Value::Int(v) => Some((*v).into()),
        Value::UInt(v) => Some((*v).into()),
        Value::Decimal(v) => Some(*v),
        _ => None,
    }
}

fn is_negative(value: &Value) -> bool {
    match value {
        Value::Float(v) => v.is_nan() || *v < 0.0,
        Value::Interval { months, days, nanoseconds } => {
            *months < 0 || *days < 0 || *nanoseconds < 0
        }
        other => whole(other).is_some_and(|v| v < 0),
    }
}

fn foreign(key_type: &DataType, bound: &RangeBound) -> Error {
    let offset = &bound.offset;
    Error::input(format!("a RANGE frame of {offset} over keys of type {key_type} is not supported"))
}

/// The key that the edge is at, for the key of the row.
type Shift<V> = Box<dyn Fn(V) -> V + Send>;

/// A type of keys.
trait Key: ArrowNativeType {
    fn order(self, other: Self) -> Ordering;
}

impl Key for i128 {
    fn order(self, other: Self) -> Ordering {
        self.cmp(&other)
    }
}

impl Key for f64 {
    fn order(self, other: Self) -> Ordering {
        float_key(self).total_cmp(&float_key(other))
    }
}

/// The keys of rows and the keys of edges.
struct Lanes<V: ArrowNativeType> {
    rows: Lane<V>,
    edges: Lane<V>,
    shift: Shift<V>,
}

impl<V: ArrowNativeType> Lanes<V> {
    fn new(column: usize, decode: Decode<V>, shift: Shift<V>) -> Self {
        let lane = || Lane::new(column, None, decode.clone());
        Lanes { rows: lane(), edges: lane(), shift }
    }
}

struct KeyEdge<V: ArrowNativeType> {
    key: SortKey,
    is_end: bool,
    scan: PartitionScan,
    lanes: Lanes<V>,
}

impl<V: Key> RangeEdge for KeyEdge<V> {
    fn find(&mut self, at: &At, store: &mut Store) -> Result<Option<u64>> {
        let KeyEdge { key, is_end, scan, lanes } = self;
        let Lanes { rows, edges, shift } = lanes;
        let edge = rows.get(store, at.row)?.map(shift);
        scan.find(at.partition, store, |position, store| {
            let other = edges.get(store, position)?;
            let ordering = in_order(key, other, edge);
            Ok(ordering.is_gt() || (ordering.is_eq() && !*is_end))
        })
    }

    fn keeps(&self) -> u64 {
        self.scan.keeps()
    }
}

/// How two keys are ordered among the rows.
fn in_order<V: Key>(key: &SortKey, a: Option<V>, b: Option<V>) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) if key.nulls_first => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (Some(_), None) if key.nulls_first => Ordering::Greater,
        (Some(_), None) => Ordering::Less,
        (Some(a), Some(b)) if key.descending => b.order(a),
        (Some(a), Some(b)) => a.order(b),
    }
}
