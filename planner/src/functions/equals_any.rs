//! `x = ANY (list)`: TRUE when an element is equal, else NULL when one is NULL or `x` is, else
//! FALSE, as of an empty list.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, make_comparator};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::type_coercion::binary::comparison_coercion;
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::each::{is_constant, results};

/// What the function is called in the syntax tree.
pub(crate) const EQUALS_ANY: &str = "equals_any";

/// `equals_any(list, x)`
#[derive(Debug, PartialEq, Eq, Hash)]
struct EqualsAny {
    signature: Signature,
}

/// The function.
pub(super) fn equals_any() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(EqualsAny { signature }))
}

impl ScalarUDFImpl for EqualsAny {
    fn name(&self) -> &str {
        EQUALS_ANY
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (list, value) = match arguments {
            [list, value] => (list, value),
            _ => return plan_err!("= ANY takes a value and a list"),
        };
        let element = match list {
            DataType::List(field)
            | DataType::LargeList(field)
            | DataType::FixedSizeList(field, _) => field.data_type(),
            DataType::Null => value,
            other => return plan_err!("= ANY takes a list or a subquery, not {other}"),
        };
        match common(element, value) {
            Some(common) => Ok(vec![DataType::new_list(common.clone(), true), common]),
            None => plan_err!("{value} cannot be compared with elements of {element}"),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let [lists, values] = &ColumnarValue::values_to_arrays(&call.args)?[..] else {
            return exec_err!("= ANY takes a value and a list");
        };
        results(Arc::new(found(lists, values)?), is_constant)
    }
}

/// The type that an element and a value are compared as; a double meets a decimal as a double.
fn common(element: &DataType, value: &DataType) -> Option<DataType> {
    let types = [element, value];
    if types.iter().any(|t| t.is_floating()) && types.iter().any(|t| t.is_decimal()) {
        return Some(DataType::Float64);
    }
    if element == value { Some(value.clone()) } else { comparison_coercion(element, value) }
}

fn found(lists: &ArrayRef, values: &ArrayRef) -> Result<BooleanArray> {
    let lists = lists.as_list::<i32>();
    let elements = one_zero(lists.values());
    let is_null = elements.logical_nulls();
    let is_null = |at: usize| is_null.as_ref().is_some_and(|nulls| nulls.is_null(at));
    let order = make_comparator(&elements, &one_zero(values), SortOptions::default())?;
    let offsets = lists.value_offsets();
    let found = offsets.windows(2).enumerate().map(|(row, ends)| {
        let places = ends[0] as usize..ends[1] as usize;
        if lists.is_null(row) || values.is_null(row) && !places.is_empty() {
            return None;
        }
        let mut has_null = false;
        for at in places {
            if is_null(at) {
                has_null = true;
            } else if order(at, row) == Ordering::Equal {
                return Some(true);
            }
        }
        (!has_null).then_some(false)
    });
    Ok(found.collect())
}

/// Floating-point numbers of which no zero is negative; others as they are.
fn one_zero(values: &ArrayRef) -> ArrayRef {
    match values.data_type() {
        DataType::Float32 => {
            Arc::new(values.as_primitive::<Float32Type>().unary::<_, Float32Type>(|x| x + 0.0))
        }
        DataType::Float64 => {
            Arc::new(values.as_primitive::<Float64Type>().unary::<_, Float64Type>(|x| x + 0.0))
        }
        _ => values.clone(),
    }
}
