//! How long intervals are, as the standard way to compare them has it: a month has 30 days, and a
//! day 24 hours. Intervals themselves are compared part by part, months first.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Decimal128Array, DynComparator, make_comparator};
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};
use datafusion_common::{Result, exec_err};
use datafusion_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use gristmill_engine::batch::nested_order;

use super::each::each;
use super::user::to_front_end;

/// All digits that there are: 2^31 months have 25.
const PRECISION: u8 = 38;

const DAYS_PER_MONTH: i128 = 30;
const NANOSECONDS_PER_DAY: i128 = 24 * 60 * 60 * 1_000_000_000;

/// The nanoseconds of an interval.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalOrder {
    signature: Signature,
}

/// The nanoseconds of an interval.
pub(crate) fn interval_order(interval: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(IntervalOrder { signature }).call(vec![interval])
}

impl ScalarUDFImpl for IntervalOrder {
    fn name(&self) -> &str {
        "interval_order"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Decimal128(PRECISION, 0))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(intervals) = call.args.first() else {
            return exec_err!("the length of no interval");
        };
        each(intervals, |intervals| Ok(Arc::new(lengths(intervals)?)))
    }
}

/// The order of two values by their rows; neither is NULL.
///
/// # Errors
/// `Input` when the values cannot be compared.
pub(super) fn value_order(left: &ArrayRef, right: &ArrayRef) -> Result<DynComparator> {
    let is_interval = |values: &ArrayRef| matches!(values.data_type(), DataType::Interval(_));
    if is_interval(left) && is_interval(right) {
        let (left, right) = (lengths(left)?, lengths(right)?);
        return Ok(make_comparator(&left, &right, SortOptions::default())?);
    }
    nested_order(left, right).map_err(to_front_end)
}

/// How long intervals of any unit are.
pub(super) fn lengths(intervals: &ArrayRef) -> Result<Decimal128Array> {
    let parts = cast(intervals, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let parts = parts.as_primitive::<IntervalMonthDayNanoType>();
    let lengths: Decimal128Array = parts.unary(nanoseconds);
    Ok(lengths.with_precision_and_scale(PRECISION, 0)?)
}

fn nanoseconds(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * DAYS_PER_MONTH + i128::from(interval.days);
    days * NANOSECONDS_PER_DAY + i128::from(interval.nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_intervals_have_a_length() {
        let day = NANOSECONDS_PER_DAY as i64;
        let length = |months, days, rest| {
            nanoseconds(IntervalMonthDayNano { months, days, nanoseconds: rest })
        };
        assert_eq!(length(1, 0, 0), length(0, 30, 0));
        assert_eq!(length(0, 1, 0), length(0, 0, day));
        assert_eq!(length(0, 1, -day), 0);
        let longest = length(i32::MAX, i32::MAX, i64::MAX);
        assert!(longest > length(i32::MAX, i32::MAX, 0) && longest < 10_i128.pow(25));
        assert!(length(i32::MIN, i32::MIN, i64::MIN) > -(10_i128.pow(25)));
    }
}
