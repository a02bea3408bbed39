//! Values of nested and other rare types as bytes: their `arrow-row` form, whose order is the
//! order of the values and which can be turned back into an array.

use arrow::array::{ArrayRef, new_empty_array, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, Rows};

use crate::batch::{Picked, gather, nested_converter, with_float_keys};
use crate::error::Result;

/// Converts the values of one column; see the module documentation.
#[derive(Debug)]
pub(super) struct NestedCodec {
    converter: RowConverter,
    physical: DataType,
    /// What decodes to NULL.
    null: Vec<u8>,
}

impl NestedCodec {
    pub(super) fn new(physical: DataType) -> Result<Self> {
        let converter = nested_converter(&physical)?;
        let null = converter.convert_columns(&[new_null_array(&physical, 1)])?;
        let null = null.row(0).as_ref().to_vec();
        Ok(NestedCodec { converter, physical, null })
    }

    /// The bytes of picked rows.
    pub(super) fn encode(&self, picked: &Picked<'_>) -> Result<Rows> {
        let values = picked_values(picked)?;
        Ok(self.converter.convert_columns(&[values])?)
    }

    /// The bytes that picked rows have as keys; see [`crate::batch::float_key`].
    pub(super) fn encode_keys(&self, picked: &Picked<'_>) -> Result<Rows> {
        let values = with_float_keys(&picked_values(picked)?)?;
        Ok(self.converter.convert_columns(&[values])?)
    }

    /// The values of these bytes, an array of their type.
    pub(super) fn decode<'a>(
        &'a self,
        values: impl Iterator<Item = Option<&'a [u8]>>,
    ) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let rows = values.map(|value| parser.parse(value.unwrap_or(&self.null)));
        match self.converter.convert_rows(rows)?.into_iter().next() {
            Some(array) if *array.data_type() == self.physical => Ok(array),
            Some(array) => Ok(cast(&array, &self.physical)?),
            None => Ok(new_empty_array(&self.physical)),
        }
    }
}

/// The values of picked rows, which are not copied where they are all there are.
fn picked_values(picked: &Picked<'_>) -> Result<ArrayRef> {
    let array = picked.array();
    let is_all =
        picked.len() == array.len() && picked.at().iter().copied().eq(0..array.len() as u32);
    match is_all {
        true => Ok(array.clone()),
        false => gather(array, &picked.indices()),
    }
}
