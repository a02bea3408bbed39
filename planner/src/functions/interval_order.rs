//! How long intervals are, as the standard way to compare them has it: a month has 30 days, and a
//! day 24 hours. Intervals themselves are compared part by part, months first. Lists and structures
//! have the lengths of the intervals in them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, DynComparator, FixedSizeListArray, LargeListArray,
    ListArray, MapArray, StructArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
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

/// What is said of an interval that is read beside its length, and would be another one then.
pub(crate) const DRAWN_AGAIN: &str = "an interval of random(), or of another function whose \
     results differ from call to call, is a key, a distinct value, the mode, a percentile, or the \
     least or greatest of a group only as a column of a subquery";

/// The member of a pair that is the value.
pub(crate) const MEASURED_VALUE: &str = "value";

/// Values with the nanoseconds of their intervals.
#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalOrder {
    /// In a pair with the value itself.
    paired: bool,
    signature: Signature,
}

/// An interval's nanoseconds; of other values those with nanoseconds for each interval in them.
pub(crate) fn interval_order(value: Expr) -> Expr {
    call(false, value)
}

/// A pair: what `interval_order` makes of a value, and the value. NULL of NULL.
pub(crate) fn with_interval_order(value: Expr) -> Expr {
    call(true, value)
}

fn call(paired: bool, value: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::from(IntervalOrder { paired, signature }).call(vec![value])
}

impl ScalarUDFImpl for IntervalOrder {
    fn name(&self) -> &str {
        if self.paired { "with_interval_order" } else { "interval_order" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [one] if self.paired => Ok(DataType::Struct(pair_fields(one))),
            [one] => Ok(measured_type(one)),
            _ => exec_err!("{} takes one argument", self.name()),
        }
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(values) = call.args.first() else {
            return exec_err!("the length of no interval");
        };
        each(values, |values| {
            let measured = measured(values)?;
            if !self.paired {
                return Ok(measured);
            }
            let fields = pair_fields(values.data_type());
            let pair = vec![measured, values.clone()];
            Ok(Arc::new(StructArray::try_new(fields, pair, values.logical_nulls())?))
        })
    }
}

fn pair_fields(value: &DataType) -> Fields {
    let fields = [("length", measured_type(value)), (MEASURED_VALUE, value.clone())];
    fields.into_iter().map(|(name, t)| Field::new(name, t, true)).collect()
}

/// Whether values of a type are intervals, or have some in them.
pub(crate) fn has_interval(data_type: &DataType) -> bool {
    match data_type {
        DataType::Interval(_) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => has_interval(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_interval(field.data_type())),
        _ => false,
    }
}

/// The type with the lengths of intervals in place of these.
fn measured_type(data_type: &DataType) -> DataType {
    let measured = |field: &FieldRef| {
        Arc::new(field.as_ref().clone().with_data_type(measured_type(field.data_type())))
    };
    match data_type {
        DataType::Interval(_) => DataType::Decimal128(PRECISION, 0),
        DataType::List(field) => DataType::List(measured(field)),
        DataType::LargeList(field) => DataType::LargeList(measured(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(measured(field), *size),
        DataType::Map(field, sorted) => DataType::Map(measured(field), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(measured).collect()),
        other => other.clone(),
    }
}

/// The values with the lengths of intervals in place of these, at any depth.
pub(super) fn measured(values: &ArrayRef) -> Result<ArrayRef> {
    if !has_interval(values.data_type()) {
        return Ok(values.clone());
    }
    let nulls = values.nulls().cloned();
    Ok(match (values.data_type(), measured_type(values.data_type())) {
        (DataType::Interval(_), _) => Arc::new(lengths(values)?),
        (_, DataType::List(field)) => {
            let lists = values.as_list::<i32>();
            let elements = measured(lists.values())?;
            Arc::new(ListArray::try_new(field, lists.offsets().clone(), elements, nulls)?)
        }
        (_, DataType::LargeList(field)) => {
            let lists = values.as_list::<i64>();
            let elements = measured(lists.values())?;
            Arc::new(LargeListArray::try_new(field, lists.offsets().clone(), elements, nulls)?)
        }
        (_, DataType::FixedSizeList(field, size)) => {
            let elements = measured(values.as_fixed_size_list().values())?;
            let rows = values.len();
            Arc::new(FixedSizeListArray::try_new_with_length(field, size, elements, nulls, rows)?)
        }
        (_, DataType::Map(field, sorted)) => {
            let maps = values.as_map();
            let entries: ArrayRef = Arc::new(maps.entries().clone());
            let (entries, offsets) = (measured(&entries)?, maps.offsets().clone());
            let entries = entries.as_struct().clone();
            Arc::new(MapArray::try_new(field, offsets, entries, nulls, sorted)?)
        }
        (_, DataType::Struct(fields)) => {
            let members = values.as_struct().columns().iter().map(measured);
            Arc::new(StructArray::try_new(fields, members.collect::<Result<_>>()?, nulls)?)
        }
        (other, _) => return exec_err!("the lengths of intervals in {other}"),
    })
}

/// The order of two values by their rows; neither is NULL.
///
/// # Errors
/// `Input` when the values cannot be compared.
pub(super) fn value_order(left: &ArrayRef, right: &ArrayRef) -> Result<DynComparator> {
    nested_order(&measured(left)?, &measured(right)?).map_err(to_front_end)
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
