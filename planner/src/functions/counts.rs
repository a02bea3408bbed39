//! Functions that count parts of lists, as integers with a sign: what is without one meets others
//! as a decimal, and `-1 // cardinality(list)` would have digits behind the point.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
};

use super::each::each;

/// A borrowed function whose results are counts, or lists of them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Counts {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of a borrowed one; nothing when that counts nothing.
pub(super) fn counts(borrowed: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    let names = ["array_dims", "array_length", "array_ndims", "cardinality"];
    let counts = || Counts { borrowed: borrowed.clone() };
    names.contains(&borrowed.name()).then(|| Arc::new(ScalarUDF::from(counts())))
}

/// A type that holds counts without a sign, as one that has it.
fn signed(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(_) => DataType::new_list(DataType::Int64, true),
        _ => DataType::Int64,
    }
}

impl ScalarUDFImpl for Counts {
    as_borrowed!(name, aliases, signature, coerce_types);

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(signed(&self.borrowed.return_type(arguments)?))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.borrowed.return_field_from_args(arguments)?;
        Ok(Arc::new(Field::new(self.name(), signed(field.data_type()), true)))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let counted = self.borrowed.inner().invoke_with_args(call)?;
        each(&counted, |counted| Ok(cast(counted, &signed(counted.data_type()))?))
    }
}
