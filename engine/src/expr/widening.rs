//! Casts that cannot fail.

use arrow::datatypes::{DataType, TimeUnit};

/// Whether every value of one type has a value of the other: a cast cannot fail.
///
/// All dates are timestamps of seconds and of milliseconds. Of microseconds they are from the year
/// -290308 to 294247 only, of nanoseconds from 1677 to 2262.
pub fn widens(from: &DataType, to: &DataType) -> bool {
    let decimal = |data_type: &DataType| match data_type {
        DataType::Decimal128(p, s) => Some((i16::from(*p) - i16::from(*s), i16::from(*s))),
        DataType::Int8 | DataType::UInt8 => Some((3, 0)),
        DataType::Int16 | DataType::UInt16 => Some((5, 0)),
        DataType::Int32 | DataType::UInt32 => Some((10, 0)),
        DataType::Int64 | DataType::UInt64 => Some((20, 0)),
        _ => None,
    };
    use TimeUnit::{Millisecond, Second};
    match (from, to) {
        (from, to) if from == to => true,
        (from, DataType::Float64) => from.is_numeric(),
        (from, DataType::Decimal128(..)) => match (decimal(from), decimal(to)) {
            (Some((digits, scale)), Some((digits_to, scale_to))) => {
                digits_to >= digits && scale_to >= scale
            }
            _ => false,
        },
        (DataType::Int8 | DataType::UInt8, DataType::Int16 | DataType::Int32 | DataType::Int64)
        | (DataType::Int16 | DataType::UInt16, DataType::Int32 | DataType::Int64)
        | (DataType::Int32 | DataType::UInt32, DataType::Int64)
        | (DataType::Date32, DataType::Timestamp(Second | Millisecond, None)) => true,
        (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, to) => to.is_string(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Date32Array};

    use super::*;
    use crate::expr::kernels::cast::cast;

    #[test]
    fn widening_loses_nothing() {
        use DataType::{Decimal128, Float64, Int32, Int64, Utf8, Utf8View};
        assert!(widens(&Decimal128(15, 2), &Decimal128(21, 7)));
        assert!(!widens(&Decimal128(15, 2), &Decimal128(15, 3)));
        assert!(widens(&Int32, &Decimal128(10, 0)) && !widens(&Int64, &Decimal128(19, 0)));
        assert!(widens(&Utf8, &Utf8View) && !widens(&Utf8, &Int64));
        assert!(widens(&Int64, &Float64) && !widens(&Int64, &Int32));
    }

    #[test]
    fn dates_are_timestamps() {
        let days = |days: Vec<i32>| std::sync::Arc::new(Date32Array::from(days)) as ArrayRef;
        for unit in [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond] {
            let target = DataType::Timestamp(unit, None);
            let all = cast(&days(vec![i32::MIN, i32::MAX]), &target, false);
            assert_eq!(all.is_ok(), widens(&DataType::Date32, &target), "{target}");
            // The years from 1 to 9999.
            assert!(cast(&days(vec![-719_162, 2_932_896]), &target, false).is_ok(), "{target}");
        }
    }
}
