//! The short list of physical types that have kernels of their own.

use arrow::array::{Array, AsArray, StringViewArray};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal64Type, Decimal128Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float64Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};

/// The values of an array, by their machine type.
pub(super) enum Native<'a> {
    /// Integers, dates and times of 32 bits.
    I32(&'a [i32]),
    /// Integers, dates, times, timestamps, durations and narrow decimals.
    I64(&'a [i64]),
    /// Decimals.
    I128(&'a [i128]),
    /// Floating-point numbers.
    F64(&'a [f64]),
    /// Strings.
    Text(&'a StringViewArray),
    /// Everything else.
    Other,
}

/// The values of `array` by machine type.
pub(super) fn native(array: &dyn Array) -> Native<'_> {
    macro_rules! values {
        ($native:ident, $arrow:ty) => {
            Native::$native(array.as_primitive::<$arrow>().values())
        };
    }
    match array.data_type() {
        DataType::Int32 => values!(I32, Int32Type),
        DataType::Date32 => values!(I32, Date32Type),
        DataType::Time32(TimeUnit::Second) => values!(I32, Time32SecondType),
        DataType::Time32(TimeUnit::Millisecond) => values!(I32, Time32MillisecondType),
        DataType::Int64 => values!(I64, Int64Type),
        DataType::Date64 => values!(I64, Date64Type),
        DataType::Time64(TimeUnit::Microsecond) => values!(I64, Time64MicrosecondType),
        DataType::Time64(TimeUnit::Nanosecond) => values!(I64, Time64NanosecondType),
        DataType::Timestamp(TimeUnit::Second, _) => values!(I64, TimestampSecondType),
        DataType::Timestamp(TimeUnit::Millisecond, _) => values!(I64, TimestampMillisecondType),
        DataType::Timestamp(TimeUnit::Microsecond, _) => values!(I64, TimestampMicrosecondType),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => values!(I64, TimestampNanosecondType),
        DataType::Duration(TimeUnit::Second) => values!(I64, DurationSecondType),
        DataType::Duration(TimeUnit::Millisecond) => values!(I64, DurationMillisecondType),
        DataType::Duration(TimeUnit::Microsecond) => values!(I64, DurationMicrosecondType),
        DataType::Duration(TimeUnit::Nanosecond) => values!(I64, DurationNanosecondType),
        DataType::Decimal64(..) => values!(I64, Decimal64Type),
        DataType::Decimal128(..) => values!(I128, Decimal128Type),
        DataType::Float64 => values!(F64, Float64Type),
        DataType::Utf8View => Native::Text(array.as_string_view()),
        _ => Native::Other,
    }
}
