//! A list with one more element, in front or at the end: the elements and the new one meet as the
//! columns of a union do. The borrowed functions refuse numbers of some types.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, plan_err};
use datafusion_expr::type_coercion::functions::fields_with_udf;
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::common_type::{Meeting, common_type};
use super::search::element_of;

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListAppend {
    borrowed: Arc<ScalarUDF>,
    signature: Signature,
}

/// The function in place of the borrowed one.
pub(crate) fn list_append(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(ListAppend { borrowed, signature }))
}

impl ListAppend {
    /// The types of a list and an element where both are known to be numbers, or are no texts.
    fn met(&self, list: &DataType, value: &DataType) -> Result<Option<(DataType, DataType)>> {
        let Some(element) = element_of(list) else { return Ok(None) };
        let is_other = element.is_string() != value.is_string();
        if element == value || element.is_null() || value.is_null() || is_other {
            return Ok(None);
        }
        let common = common_type(&[element, value], Meeting::United)?;
        Ok(common.map(|common| (DataType::new_list(common.clone(), true), common)))
    }
}

impl ScalarUDFImpl for ListAppend {
    as_borrowed!(name, aliases, return_type, return_field_from_args);

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let is_behind = self.name() == "array_append";
        let met = match arguments {
            [list, value] if is_behind => self.met(list, value)?.map(|(l, v)| vec![l, v]),
            [value, list] => self.met(list, value)?.map(|(l, v)| vec![v, l]),
            _ => return plan_err!("{} takes a list and an element", self.name()),
        };
        if let Some(met) = met {
            return Ok(met);
        }
        let field = |data_type: &DataType| -> FieldRef {
            Arc::new(Field::new(self.name(), data_type.clone(), true))
        };
        let fields: Vec<FieldRef> = arguments.iter().map(field).collect();
        let fields = fields_with_udf(&fields, self.borrowed.as_ref())?;
        Ok(fields.iter().map(|field| field.data_type().clone()).collect())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.borrowed.inner().invoke_with_args(call)
    }
}
