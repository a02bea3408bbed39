//! list_sum() in the kind of its elements: integers are added as integers and decimals as decimals.
//! The borrowed one makes doubles of them all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{ArrowNativeTypeOp, DataType, Decimal128Type, Int64Type};
use datafusion_common::{DataFusionError, Result, exec_datafusion_err, exec_err};
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};

use super::each::each;

/// The digits of a sum of decimals.
const PRECISION: u8 = 38;

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListSum {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn list_sum(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(ListSum { borrowed }))
}

/// What elements of a type are added as, unless that is a double.
fn exact(list: &DataType) -> Option<DataType> {
    let (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) =
        list
    else {
        return None;
    };
    match item.data_type() {
        integer if integer.is_integer() => Some(DataType::Int64),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale) => Some(DataType::Decimal128(PRECISION, *scale)),
        _ => None,
    }
}

impl ScalarUDFImpl for ListSum {
    as_borrowed!(name, aliases, signature);

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [list] if exact_list(list).is_some() => Ok(exact_list(list).into_iter().collect()),
            _ => self.borrowed.coerce_types(arguments),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first().and_then(exact) {
            Some(sum) => Ok(sum),
            None => self.borrowed.inner().return_type(arguments),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(lists) = call.args.first() else {
            return exec_err!("list_sum takes a list");
        };
        match exact(&lists.data_type()) {
            Some(DataType::Int64) => each(lists, |lists| Ok(Arc::new(sums::<Int64Type>(lists)?))),
            Some(DataType::Decimal128(precision, scale)) => each(lists, |lists| {
                let sums = sums::<Decimal128Type>(lists)?;
                sums.validate_decimal_precision(precision).map_err(|_| too_large())?;
                Ok(Arc::new(sums.with_precision_and_scale(precision, scale)?))
            }),
            _ => self.borrowed.inner().invoke_with_args(call),
        }
    }
}

/// The list with elements as they are added.
fn exact_list(list: &DataType) -> Option<DataType> {
    exact(list).map(|element| DataType::new_list(element, true))
}

fn too_large() -> DataFusionError {
    exec_datafusion_err!("the sum of a list is beyond its type")
}

/// The sums of lists; NULL of those without an element that is not.
fn sums<T: ArrowPrimitiveType>(lists: &ArrayRef) -> Result<PrimitiveArray<T>> {
    let Some(lists) = lists.as_list_opt::<i32>() else {
        return exec_err!("list_sum takes a list, not {}", lists.data_type());
    };
    let sum = |list: Option<ArrayRef>| {
        let Some(list) = list else { return Ok(None) };
        let mut known = list.as_primitive::<T>().iter().flatten();
        let Some(first) = known.next() else { return Ok(None) };
        let sum = known.try_fold(first, |sum, element| sum.add_checked(element));
        sum.map(Some).map_err(|_| too_large())
    };
    lists.iter().map(sum).collect()
}
