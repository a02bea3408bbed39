//! product(): all values of a group that are not NULL, multiplied as doubles; NULL of none.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion_expr::AggregateUDF;
use gristmill_engine::{Error, Result};

use super::user::{AggregateFunction, Arguments, BoundAggregate, GroupStates};

struct Product;

/// The function.
///
/// # Errors
/// Those of a function that cannot say its name, which this one can.
pub(super) fn product() -> Result<AggregateUDF> {
    Ok(AggregateUDF::from(BoundAggregate::new(Arc::new(Product))?))
}

impl AggregateFunction for Product {
    fn name(&self) -> &str {
        "product"
    }

    fn arguments(&self) -> Arguments {
        [DataType::Float64].into()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn states(&self, _: &[DataType]) -> Result<Box<dyn GroupStates>> {
        Ok(Box::new(Products::default()))
    }
}

/// The products of groups; nothing of those without values.
#[derive(Default)]
struct Products {
    groups: Vec<Option<f64>>,
}

impl GroupStates for Products {
    fn update(&mut self, arguments: &[ArrayRef], groups: &[u32], group_count: usize) -> Result<()> {
        self.groups.resize(group_count, None);
        let Some(values) = arguments.first() else {
            return Err(Error::internal("the product of nothing"));
        };
        for (value, &group) in values.as_primitive::<Float64Type>().iter().zip(groups) {
            if let (Some(value), Some(product)) = (value, self.groups.get_mut(group as usize)) {
                *product = Some(product.unwrap_or(1.0) * value);
            }
        }
        Ok(())
    }

    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], group_count: usize) -> Result<()> {
        self.update(states, groups, group_count)
    }

    fn state(&mut self) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.evaluate()?])
    }

    fn evaluate(&mut self) -> Result<ArrayRef> {
        Ok(Arc::new(Float64Array::from(std::mem::take(&mut self.groups))))
    }

    fn size_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<Option<f64>>()
    }
}
