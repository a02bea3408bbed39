//! last_day(): the last day of the month that a date or timestamp is in.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Date32Array};
use arrow::datatypes::{DataType, Date32Type};
use arrow::error::ArrowError;
use datafusion_common::{Result, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gristmill_engine::calendar::{add_months, date_of, first_of};

use super::each::each;
use crate::sql::type_name;

#[derive(Debug, PartialEq, Eq, Hash)]
struct LastDay {
    signature: Signature,
}

/// `last_day(moment)`
pub(super) fn last_day() -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(LastDay { signature }))
}

impl ScalarUDFImpl for LastDay {
    fn name(&self) -> &str {
        "last_day"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Date32)
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) | DataType::Null] => {
                Ok(vec![DataType::Date32])
            }
            [text] if text.is_string() => Ok(vec![DataType::Date32]),
            [other] => plan_err!("last_day takes a date or timestamp, not {}", type_name(other)),
            _ => plan_err!("last_day takes one date or timestamp"),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(dates) = call.args.first() else { return exec_err!("last_day of nothing") };
        each(dates, |dates| {
            let last: Date32Array = dates.as_primitive::<Date32Type>().try_unary(last_of_month)?;
            Ok(Arc::new(last) as ArrayRef)
        })
    }
}

/// The last day of the month of a day, both counted from 1970.
fn last_of_month(day: i32) -> std::result::Result<i32, ArrowError> {
    let (year, month, _) = date_of(day.into());
    let last = add_months(first_of(year, month), 1) - 1;
    i32::try_from(last).map_err(|_| ArrowError::ComputeError(format!("no day {last}")))
}
