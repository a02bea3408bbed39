//! How values are held that come out again: as keys, whose order is theirs.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{ArrayRef, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, DataType, IntervalUnit};
use arrow::row::RowConverter;

use super::evaluate::Evaluate;
use super::lane::{self, KeyLane, Lane, Values, valid_where};
use crate::batch::{float_key, float_of_order, float_order, nested_converter, physical_type};
use crate::error::{Error, Result};
use crate::expr::between;
use crate::expr::totals::{floats, integers};

/// See the module documentation.
pub(super) trait Form: Send {
    /// What comes from a lane.
    type Value: Clone + Send;
    /// What is held of it.
    type Key: Ord + Hash + Clone + Send;

    fn key(&self, value: Self::Value) -> Self::Key;

    /// The one of the keys of equal values.
    fn same(&self, key: Self::Key) -> Self::Key {
        key
    }

    /// Bytes that a key has elsewhere.
    fn bytes(&self, _: &Self::Key) -> usize {
        0
    }

    /// The key of what is at a part of the way from one value to a greater one.
    ///
    /// # Errors
    /// `Input` when there is nothing between two values.
    fn between(&self, low: &Self::Key, high: &Self::Key, part: f64) -> Result<Self::Key>;

    /// The values of keys, as a physical array.
    ///
    /// # Errors
    /// `Input` when a value does not fit its type.
    fn values(&self, keys: Vec<Option<Self::Key>>) -> Result<ArrayRef>;
}

/// What is computed of values, whatever their form.
pub(super) trait OfForm {
    /// What computes it. A second lane is made for rows that leave frames.
    fn make<L, F>(self, lane: impl Fn() -> Result<L>, form: F) -> Result<Box<dyn Evaluate>>
    where
        L: Values<Value = F::Value> + 'static,
        F: Form + 'static;
}

/// What computes something of the values of a column of a logical type, where `filter` is true.
/// Its results are of the type `returns`.
///
/// # Errors
/// `Input` when values of the type cannot be compared, and what `of` reports.
pub(super) fn with_form(
    of: impl OfForm,
    (column, argument): (usize, &DataType),
    filter: Option<usize>,
    returns: &DataType,
) -> Result<Box<dyn Evaluate>> {
    match physical_type(argument) {
        DataType::UInt64 | DataType::Decimal128(..) => {
            let lane = || Ok(Lane::new(column, filter, lane::integers()));
            of.make(lane, Integers::<i128>::new(returns.clone()))
        }
        float if float.is_floating() => {
            of.make(|| Ok(Lane::new(column, filter, lane::floats())), Floats(returns.clone()))
        }
        wide @ (DataType::Decimal256(..)
        | DataType::Interval(IntervalUnit::DayTime | IntervalUnit::MonthDayNano)) => {
            of.make(|| KeyLane::new(column, filter, &wide), Keys::new(wide.clone())?)
        }
        small if small.is_primitive() || matches!(small, DataType::Boolean) => {
            let lane = || Ok(Lane::new(column, filter, lane::small_integers()));
            of.make(lane, Integers::<i64>::new(returns.clone()))
        }
        other => of.make(|| KeyLane::new(column, filter, &other), Keys::new(other.clone())?),
    }
}

/// Integers, decimals, dates and what is stored like them.
pub(super) struct Integers<V> {
    data_type: DataType,
    of: PhantomData<V>,
}

impl<V> Integers<V> {
    pub(super) fn new(data_type: DataType) -> Self {
        Integers { data_type, of: PhantomData }
    }
}

impl<V> Form for Integers<V>
where
    V: ArrowNativeType + Ord + Hash + Into<i128> + TryFrom<i128>,
{
    type Value = V;
    type Key = V;

    fn key(&self, value: V) -> V {
        value
    }

    fn between(&self, low: &V, high: &V, part: f64) -> Result<V> {
        let (low, high): (i128, i128) = ((*low).into(), (*high).into());
        let between = low.saturating_add((apart(low, high) * part).round() as i128);
        V::try_from(between).map_err(|_| Error::internal("a value is not between two of its type"))
    }

    fn values(&self, keys: Vec<Option<V>>) -> Result<ArrayRef> {
        let nulls = valid_where(keys.iter().map(Option::is_some));
        let values = keys.into_iter().map(|key| key.unwrap_or_default().into());
        integers(values.collect(), nulls, "a value", &self.data_type)
    }
}

/// How far one number is from another: decimals of 38 digits can be further apart than 128 bits
/// tell.
fn apart(low: i128, high: i128) -> f64 {
    high.checked_sub(low).map_or(high as f64 - low as f64, |apart| apart as f64)
}

/// Floating-point numbers: NaN is the greatest, and -0.0 is below 0.0 so that a choice is always
/// the same.
pub(super) struct Floats(pub(super) DataType);

impl Form for Floats {
    type Value = f64;
    type Key = i64;

    fn key(&self, value: f64) -> i64 {
        float_order(if value.is_nan() { float_key(value) } else { value })
    }

    fn same(&self, key: i64) -> i64 {
        float_order(float_key(float_of_order(key)))
    }

    fn between(&self, low: &i64, high: &i64, part: f64) -> Result<i64> {
        let is_one = part == 0.0 || low == high;
        Ok(if is_one {
            *low
        } else {
            self.key(between(float_of_order(*low), float_of_order(*high), part))
        })
    }

    fn values(&self, keys: Vec<Option<i64>>) -> Result<ArrayRef> {
        let nulls = valid_where(keys.iter().map(Option::is_some));
        floats(
            keys.into_iter().map(|key| float_of_order(key.unwrap_or(0))).collect(),
            nulls,
            &self.0,
        )
    }
}

/// Values of any type, as ordered bytes.
pub(super) struct Keys {
    physical: DataType,
    converter: RowConverter,
    /// What decodes to NULL.
    null: Vec<u8>,
}

impl Keys {
    /// # Errors
    /// `Input` when values of the type cannot be compared.
    pub(super) fn new(physical: DataType) -> Result<Self> {
        let converter = nested_converter(&physical)?;
        let null = converter.convert_columns(&[new_null_array(&physical, 1)])?;
        let null = null.row(0).as_ref().to_vec();
        Ok(Keys { physical, converter, null })
    }
}

impl Form for Keys {
    type Value = Arc<[u8]>;
    type Key = Arc<[u8]>;

    fn key(&self, value: Arc<[u8]>) -> Arc<[u8]> {
        value
    }

    fn bytes(&self, key: &Arc<[u8]>) -> usize {
        key.len() + 2 * size_of::<usize>()
    }

    fn between(&self, low: &Arc<[u8]>, high: &Arc<[u8]>, part: f64) -> Result<Arc<[u8]>> {
        if part == 0.0 || low == high {
            return Ok(low.clone());
        }
        let message = format!("there is nothing between two values of type {}", self.physical);
        Err(Error::input(message))
    }

    fn values(&self, keys: Vec<Option<Arc<[u8]>>>) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let rows = keys.iter().map(|key| parser.parse(key.as_deref().unwrap_or(&self.null)));
        match self.converter.convert_rows(rows)?.into_iter().next() {
            Some(array) if *array.data_type() == self.physical => Ok(array),
            Some(array) => Ok(cast(&array, &self.physical)?),
            None => Err(Error::internal("no values of keys")),
        }
    }
}

/// A value, and what it goes by.
#[derive(Clone)]
pub(super) struct Measured {
    pub(super) by: Arc<[u8]>,
    pub(super) value: Arc<[u8]>,
}

impl Ord for Measured {
    fn cmp(&self, other: &Self) -> Ordering {
        self.by.cmp(&other.by)
    }
}

impl PartialOrd for Measured {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Measured {
    fn eq(&self, other: &Self) -> bool {
        self.by == other.by
    }
}

impl Eq for Measured {}

impl Hash for Measured {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.by.hash(hasher);
    }
}

/// Values that go by others, as intervals by their lengths: of those that are equal in that any one
/// stands for all.
pub(super) struct ByOthers(pub(super) Keys);

impl Form for ByOthers {
    type Value = Measured;
    type Key = Measured;

    fn key(&self, value: Measured) -> Measured {
        value
    }

    fn bytes(&self, key: &Measured) -> usize {
        self.0.bytes(&key.by) + self.0.bytes(&key.value)
    }

    fn between(&self, low: &Measured, high: &Measured, part: f64) -> Result<Measured> {
        let value = self.0.between(&low.value, &high.value, part)?;
        Ok(Measured { by: low.by.clone(), value })
    }

    fn values(&self, keys: Vec<Option<Measured>>) -> Result<ArrayRef> {
        self.0.values(keys.into_iter().map(|key| key.map(|key| key.value)).collect())
    }
}
