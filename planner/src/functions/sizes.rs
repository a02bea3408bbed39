//! How many bytes borrowed functions make of their arguments, for the room that is taken before
//! they are called.
//!
//! What is not listed makes about as much as it takes; what it makes beyond that is noticed when it
//! is made. Listed are those whose results can be many times their arguments.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, TimeUnit};
use gristmill_engine::expr::Argument;

/// Bytes of a character at most.
const CHARACTER: i64 = 4;
/// Bytes of a list's element of a fixed size at most, but for decimals of 256 bits.
const ELEMENT: i64 = 16;

/// Bytes that the function of this name makes of `rows` rows; `None` when that is about what its
/// arguments take.
pub(crate) fn result_bytes(name: &str, args: &[Argument], rows: usize) -> Option<usize> {
    let sum = |of: &dyn Fn(usize) -> i64| {
        let bytes = (0..rows).fold(0i64, |sum, row| sum.saturating_add(of(row).max(0)));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    };
    match (name, args) {
        ("repeat", [text, count]) => {
            let (text, count) = (Numbers::lengths(text)?, Numbers::of(count)?);
            Some(sum(&|row| text.get(row).saturating_mul(count.get(row))))
        }
        ("lpad" | "rpad", [_, width, ..]) => {
            let width = Numbers::of(width)?;
            Some(sum(&|row| width.get(row).saturating_mul(CHARACTER)))
        }
        ("replace", [text, from, to]) => {
            let [text, from, to] = [text, from, to].map(Numbers::lengths);
            let (text, from, to) = (text?, from?, to?);
            let places = |row| text.get(row) / from.get(row).max(1) + 1;
            Some(sum(&|row| text.get(row).saturating_add(places(row).saturating_mul(to.get(row)))))
        }
        ("array_repeat", [element, count]) => {
            let count = Numbers::of(count)?;
            let one = i64::try_from(element.content_bytes(rows) / rows.max(1)).ok()?;
            Some(sum(&|row| count.get(row).saturating_mul(one.max(1))))
        }
        ("array_resize", [_, count, ..]) => {
            let count = Numbers::of(count)?;
            Some(sum(&|row| count.get(row).saturating_mul(ELEMENT)))
        }
        ("string_to_array", [text, ..]) => {
            // A place of an element takes more than a short element and what is between two.
            Some(text.content_bytes(rows).saturating_mul(2))
        }
        ("range" | "generate_series", [stop]) => {
            let stop = Numbers::of(stop)?;
            Some(sum(&|row| stop.get(row).saturating_add(1).saturating_mul(8)))
        }
        ("range" | "generate_series", [start, stop, step @ ..]) => {
            let (start, stop) = (Numbers::of(start)?, Numbers::of(stop)?);
            let step = step.first().map(Numbers::of);
            let step = match step {
                Some(step) => Some(step?),
                None => None,
            };
            let elements = |row| {
                let distance = stop.get(row).saturating_sub(start.get(row)).saturating_abs();
                let step = step.as_ref().map_or(1, |step| step.get(row).saturating_abs().max(1));
                (distance / step).saturating_add(1)
            };
            Some(sum(&|row| elements(row).saturating_mul(8)))
        }
        _ => None,
    }
}

/// An argument's values as integers; moments and intervals in microseconds.
struct Numbers {
    values: Int64Array,
    constant: bool,
}

impl Numbers {
    fn of(arg: &Argument) -> Option<Numbers> {
        Numbers::new(arg, |array| match array.data_type() {
            DataType::Date32 | DataType::Timestamp(..) => {
                let moments =
                    cast(array, &DataType::Timestamp(TimeUnit::Microsecond, None)).ok()?;
                cast(&moments, &DataType::Int64).ok()
            }
            DataType::Interval(_) => {
                let intervals = array.as_primitive_opt::<IntervalMonthDayNanoType>()?;
                let micros = |interval: arrow::datatypes::IntervalMonthDayNano| {
                    let days = i64::from(interval.months) * 28 + i64::from(interval.days);
                    days * 86_400_000_000 + interval.nanoseconds / 1000
                };
                let micros = intervals.iter().map(|interval| interval.map(micros));
                Some(std::sync::Arc::new(micros.collect::<Int64Array>()) as ArrayRef)
            }
            _ => cast(array, &DataType::Int64).ok(),
        })
    }

    /// The lengths of texts or binaries in bytes.
    fn lengths(arg: &Argument) -> Option<Numbers> {
        Numbers::new(arg, |array| cast(&length(array).ok()?, &DataType::Int64).ok())
    }

    fn new(arg: &Argument, numbers: impl Fn(&ArrayRef) -> Option<ArrayRef>) -> Option<Numbers> {
        let (array, constant) = match arg {
            Argument::Array(array) => (array, false),
            Argument::Constant(array) => (array, true),
        };
        let values = numbers(array)?.as_primitive_opt::<Int64Type>()?.clone();
        Some(Numbers { values, constant })
    }

    /// The number of a row, 0 where there is none.
    fn get(&self, row: usize) -> i64 {
        let row = if self.constant { 0 } else { row };
        if self.values.is_valid(row) { self.values.value(row) } else { 0 }
    }
}

/// Bytes that a call with constants makes.
pub(super) fn constant_bytes(name: &str, args: &[ArrayRef]) -> usize {
    let args: Vec<Argument> = args.iter().cloned().map(Argument::Constant).collect();
    let taken = || args.iter().map(|arg| arg.content_bytes(1)).sum();
    result_bytes(name, &args, 1).unwrap_or_else(taken)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringViewArray;
    use gristmill_engine::expr::content_bytes;

    use super::*;

    fn text(values: &[Option<&str>]) -> Argument {
        Argument::Array(Arc::new(values.iter().copied().collect::<StringViewArray>()))
    }

    fn number(value: i64) -> Argument {
        Argument::Constant(Arc::new(Int64Array::from(vec![value])))
    }

    #[test]
    fn results_that_outgrow_their_arguments_are_known_before() {
        let texts = || text(&[Some("ab"), None, Some("cdef")]);
        let bytes = |name: &str, args: &[Argument]| result_bytes(name, args, 3);
        assert_eq!(bytes("repeat", &[texts(), number(10)]), Some(60));
        assert_eq!(bytes("repeat", &[texts(), number(-1)]), Some(0));
        assert_eq!(bytes("repeat", &[texts(), number(i64::MAX)]), Some(i64::MAX as usize));
        assert_eq!(bytes("lpad", &[texts(), number(5)]), Some(60));
        let (from, to) = (text(&[Some("a"); 3]), text(&[Some("xyz"); 3]));
        assert_eq!(bytes("replace", &[texts(), from, to]), Some(2 + 9 + 3 + 4 + 15));
        assert_eq!(bytes("range", &[number(0), number(9), number(3)]), Some(3 * 4 * 8));
        assert_eq!(bytes("upper", &[texts()]), None);
        let ten = [Arc::new(StringViewArray::from(vec!["x"])) as ArrayRef];
        assert_eq!(constant_bytes("upper", &ten), 16);
        assert_eq!(content_bytes(&ten[0]), 16);
    }
}
