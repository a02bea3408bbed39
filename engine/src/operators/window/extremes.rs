//! `min` and `max`: which of two values is kept, by how they are held.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::cast;
use arrow::datatypes::{ArrowNativeType, DataType};
use arrow::row::RowConverter;

use super::lane::valid_where;
use super::totals::Combine;
use crate::batch::{float_key, nested_converter};
use crate::error::{Error, Result};
use crate::expr::totals::{floats, integers};

/// The least or greatest of integers, decimals, dates and what is stored like them.
pub(super) struct IntegerExtreme<V> {
    greatest: bool,
    data_type: DataType,
    of: std::marker::PhantomData<V>,
}

impl<V> IntegerExtreme<V> {
    pub(super) fn new(greatest: bool, data_type: DataType) -> Self {
        IntegerExtreme { greatest, data_type, of: std::marker::PhantomData }
    }
}

impl<V: ArrowNativeType + Ord + Into<i128>> Combine for IntegerExtreme<V> {
    type Value = V;
    type Total = V;

    fn one(&self, value: V) -> V {
        value
    }

    fn both(&self, a: &V, b: &V) -> Option<V> {
        Some(if self.greatest { *a.max(b) } else { *a.min(b) })
    }

    fn results(&self, totals: Vec<Option<V>>, _: Vec<i64>) -> Result<ArrayRef> {
        let nulls = valid_where(totals.iter().map(Option::is_some));
        let values = totals.into_iter().map(|total| total.unwrap_or_default().into());
        integers(values.collect(), nulls, name(self.greatest), &self.data_type)
    }
}

/// The least or greatest number: NaN is the greatest, and -0.0 is below 0.0 so that the choice is
/// always the same.
pub(super) struct FloatExtreme {
    pub(super) greatest: bool,
    pub(super) data_type: DataType,
}

impl Combine for FloatExtreme {
    type Value = f64;
    type Total = f64;

    fn one(&self, value: f64) -> f64 {
        if value.is_nan() { float_key(value) } else { value }
    }

    fn both(&self, a: &f64, b: &f64) -> Option<f64> {
        let keep = if self.greatest { Ordering::Greater } else { Ordering::Less };
        Some(if b.total_cmp(a) == keep { *b } else { *a })
    }

    fn results(&self, totals: Vec<Option<f64>>, _: Vec<i64>) -> Result<ArrayRef> {
        let nulls = valid_where(totals.iter().map(Option::is_some));
        let values = totals.into_iter().map(Option::unwrap_or_default);
        floats(values.collect(), nulls, &self.data_type)
    }
}

/// The least or greatest of values of any type, as ordered bytes.
pub(super) struct KeyExtreme {
    greatest: bool,
    physical: DataType,
    converter: RowConverter,
    /// What decodes to NULL.
    null: Vec<u8>,
}

impl KeyExtreme {
    /// # Errors
    /// `Input` when values of the type cannot be compared.
    pub(super) fn new(greatest: bool, physical: DataType) -> Result<Self> {
        let converter = nested_converter(&physical)?;
        let null = converter.convert_columns(&[arrow::array::new_null_array(&physical, 1)])?;
        let null = null.row(0).as_ref().to_vec();
        Ok(KeyExtreme { greatest, physical, converter, null })
    }
}

impl Combine for KeyExtreme {
    type Value = Arc<[u8]>;
    type Total = Arc<[u8]>;

    fn one(&self, value: Arc<[u8]>) -> Arc<[u8]> {
        value
    }

    fn both(&self, a: &Arc<[u8]>, b: &Arc<[u8]>) -> Option<Arc<[u8]>> {
        Some(Arc::clone(if self.greatest { a.max(b) } else { a.min(b) }))
    }

    fn bytes(&self, total: &Arc<[u8]>) -> usize {
        total.len() + 2 * size_of::<usize>()
    }

    fn results(&self, totals: Vec<Option<Arc<[u8]>>>, _: Vec<i64>) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let rows = totals.iter().map(|total| parser.parse(total.as_deref().unwrap_or(&self.null)));
        match self.converter.convert_rows(rows)?.into_iter().next() {
            Some(array) if *array.data_type() == self.physical => Ok(array),
            Some(array) => Ok(cast(&array, &self.physical)?),
            None => Err(Error::internal("no values of an extreme")),
        }
    }
}

fn name(greatest: bool) -> &'static str {
    if greatest { "max" } else { "min" }
}
