//! `list[index]`: NULL for an index beyond 32 bits too, of which the borrowed function makes an
//! error. No list is that long. A list that is a constant is read where it is: the borrowed
//! function writes it out for each row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::{Result, ScalarValue};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};
use datafusion_functions_nested::extract::array_element_udf;

use super::each::each;

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListElement {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn list_element(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ListElement { borrowed }))
}

/// The call for the element of a list.
pub(crate) fn element(list: Expr, index: Expr) -> Expr {
    list_element(array_element_udf()).call(vec![list, index])
}

impl ScalarUDFImpl for ListElement {
    as_borrowed!(name, aliases, signature, return_type, coerce_types, return_field_from_args);

    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.borrowed.schema_name(args)
    }

    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        self.borrowed.simplify(args, info)
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let one = match call.args.first() {
            Some(ColumnarValue::Scalar(ScalarValue::List(list))) => Some(list.value(0)),
            Some(ColumnarValue::Scalar(ScalarValue::LargeList(list))) => Some(list.value(0)),
            _ => None,
        };
        if let (Some(list), Some(ColumnarValue::Array(indexes))) = (one, call.args.get(1))
            && let Some(indexes) = indexes.as_primitive_opt::<Int64Type>()
        {
            return Ok(ColumnarValue::Array(elements(&list, indexes)?));
        }
        if let Some(index) = call.args.get_mut(1)
            && index.data_type() == DataType::Int64
        {
            *index = each(index, |index| Ok(within(index)))?;
        }
        self.borrowed.inner().invoke_with_args(call)
    }
}

/// The elements at these places of one list, from 1 on, or from its end when negative.
fn elements(list: &ArrayRef, indexes: &Int64Array) -> Result<ArrayRef> {
    let length = list.len() as i64;
    let place = |index: i64| {
        let place = if index < 0 { length.checked_add(index)? } else { index.checked_sub(1)? };
        (0..length).contains(&place).then_some(place as u32)
    };
    let places: UInt32Array = indexes.iter().map(|index| index.and_then(place)).collect();
    Ok(take(list, &places, None)?)
}

/// Indexes of which those that are too far are the farthest that 32 bits hold.
fn within(indexes: &ArrayRef) -> ArrayRef {
    let far = i64::from(i32::MAX);
    let indexes: Int64Array =
        indexes.as_primitive::<Int64Type>().unary(|index| index.clamp(-far, far));
    Arc::new(indexes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_one_list_are_counted_from_both_ends() {
        let list: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(9)]));
        let at = |indexes: Vec<Option<i64>>| elements(&list, &Int64Array::from(indexes));
        let wanted = [Some(7), Some(9), Some(9), Some(7), None, None, None, None, None, None];
        let wanted: ArrayRef = Arc::new(Int64Array::from(wanted.to_vec()));
        let ends = [Some(0), Some(4), Some(-4), Some(i64::MIN), None];
        let found =
            at([Some(1), Some(3), Some(-1), Some(-3), Some(2)].into_iter().chain(ends).collect());
        assert_eq!(&found.expect("elements"), &wanted);
    }
}
