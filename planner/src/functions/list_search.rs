//! Searches in lists: whether a value is an element (`list_contains`), and where
//! (`list_position`).
//!
//! * The elements and the value meet as the operands of `=` do: the borrowed functions refuse
//!   some numbers of two types.
//! * Elements that are NULL are equal to nothing: the borrowed search of a constant list becomes
//!   an IN, which is NULL where the list has a NULL and not the value.
//! * Positions are integers with a sign, as those of rows are.

use std::sync::Arc;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion_common::{Result, ScalarValue, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, in_list,
};

use super::each::each;

/// A borrowed function that searches a list.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ListSearch {
    borrowed: Arc<ScalarUDF>,
    signature: Signature,
}

/// The function in place of a borrowed one; nothing when that searches no list.
pub(super) fn list_search(borrowed: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    let is_search = matches!(borrowed.name(), "array_has" | "array_position" | "array_positions");
    let signature = Signature::user_defined(Volatility::Immutable);
    let search = || ListSearch { borrowed: borrowed.clone(), signature };
    is_search.then(|| Arc::new(ScalarUDF::from(search())))
}

impl ListSearch {
    fn type_of_result(&self) -> DataType {
        match self.name() {
            "array_has" => DataType::Boolean,
            "array_position" => DataType::Int64,
            _ => DataType::new_list(DataType::Int64, true),
        }
    }
}

impl ScalarUDFImpl for ListSearch {
    fn name(&self) -> &str {
        self.borrowed.name()
    }

    fn aliases(&self) -> &[String] {
        self.borrowed.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (list, value, from) = match arguments {
            [list, value] => (list, value, None),
            [list, value, from] if self.name() == "array_position" && from.is_integer() => {
                (list, value, Some(DataType::Int64))
            }
            _ => return plan_err!("{} takes a list and a value", self.name()),
        };
        let (list, value) = match (list, element_of(list)) {
            (list, _) if list.is_null() => (list.clone(), value.clone()),
            (list, Some(element)) if value.is_null() => (list.clone(), element.clone()),
            (list, Some(element)) => {
                let Some(common) = common(element, value) else {
                    return plan_err!(
                        "{}: the elements are {element}, and no {value} is equal to one of them",
                        self.name()
                    );
                };
                (list_of(list, &common), common)
            }
            _ => return plan_err!("{} takes a list and a value, not {list}", self.name()),
        };
        Ok([list, value].into_iter().chain(from).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.type_of_result())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.type_of_result(), true)))
    }

    /// A search of a few constants is an IN of those that are not NULL.
    fn simplify(&self, args: Vec<Expr>, _: &SimplifyContext) -> Result<ExprSimplifyResult> {
        if let [Expr::Literal(list @ ScalarValue::List(_), _), value] = &args[..]
            && self.name() == "array_has"
            && !list.is_null()
        {
            let elements = ScalarValue::convert_array_to_scalar_vec(&list.to_array()?)?;
            let known = elements.into_iter().flatten().flatten().filter(|e| !e.is_null());
            let known: Vec<Expr> = known.map(|e| Expr::Literal(e, None)).collect();
            if !known.is_empty() {
                return Ok(ExprSimplifyResult::Simplified(in_list(value.clone(), known, false)));
            }
        }
        Ok(ExprSimplifyResult::Original(args))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let found = self.borrowed.inner().invoke_with_args(call)?;
        match self.name() {
            "array_has" => Ok(found),
            _ => each(&found, |found| Ok(cast(found, &self.type_of_result())?)),
        }
    }
}

fn element_of(list: &DataType) -> Option<&DataType> {
    match list {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => Some(field.data_type()),
        _ => None,
    }
}

/// The list with elements of this type, which are in a list without a fixed size.
fn list_of(list: &DataType, element: &DataType) -> DataType {
    match list {
        DataType::List(field) if field.data_type() == element => list.clone(),
        DataType::LargeList(_) | DataType::LargeListView(_) => {
            DataType::new_large_list(element.clone(), true)
        }
        _ => DataType::new_list(element.clone(), true),
    }
}

/// What an element and a value are compared as. A decimal meets a double as a double.
fn common(element: &DataType, value: &DataType) -> Option<DataType> {
    if element == value || element.is_null() {
        return Some(value.clone());
    }
    let has_double = element.is_floating() || value.is_floating();
    if has_double && (element.is_decimal() || value.is_decimal()) {
        return Some(DataType::Float64);
    }
    let common = BinaryTypeCoercer::new(element, &Operator::Eq, value).get_input_types().ok();
    common.and_then(|(element, value)| (element == value).then_some(element))
}
