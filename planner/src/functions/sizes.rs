//! How many bytes borrowed functions make of their arguments, for the room that is taken before
//! they are called.
//!
//! What is not listed makes about as much as it takes; what it makes beyond that is noticed when it
//! is made. Listed are those whose results can be many times their arguments.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::compute::kernels::length::length;
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, TimeUnit,
};
use gristmill_engine::expr::{Argument, bytes_taken};

use super::formats::bytes_of_form;

/// Bytes of a character at most.
const CHARACTER: i64 = 4;
/// Bytes of a list's element of a fixed size at most, but for decimals of 256 bits.
const ELEMENT: i64 = 16;
/// Bytes of a text beside its own.
const VIEW: i64 = 16;

/// Functions whose results have all of their arguments in them, constants in every row.
const JOINING: [&str; 12] = [
    "array_append",
    "array_concat",
    "array_prepend",
    "coalesce",
    "concat",
    "concat_ws",
    "greatest",
    "least",
    "make_array",
    "overlay",
    "regexp_replace",
    "translate",
];

/// Functions that read a constant list where it is.
const READING: [&str; 5] =
    ["array_element", "array_has", "array_position", "array_positions", "equals_any"];

/// Whether the function of this name writes constants out, once for each row.
pub(crate) fn writes_constants(name: &str) -> bool {
    !READING.contains(&name)
}

/// Bytes that the function of this name makes of `rows` rows; `None` when that is about what its
/// arguments take.
pub(crate) fn result_bytes(name: &str, args: &[Argument], rows: usize) -> Option<usize> {
    let sum = |of: &dyn Fn(usize) -> i64| sum_of(rows, of);
    match (name, args) {
        ("repeat", [text, count]) => {
            let (text, count) = (Numbers::lengths(text)?, Numbers::of(count)?);
            Some(sum(&|row| text.get(row).saturating_mul(count.get(row))))
        }
        ("lpad" | "rpad", [text, width, fill @ ..]) => {
            let (text, width) = (Numbers::lengths(text)?, Numbers::of(width)?);
            let character = if fill.iter().all(is_ascii) { 1 } else { CHARACTER };
            Some(sum(&|row| {
                text.get(row).saturating_add(width.get(row).max(0).saturating_mul(character))
            }))
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
        ("array_resize", [_, count, filler @ ..]) => {
            let count = Numbers::of(count)?;
            let filler: usize = filler.iter().map(|value| value.content_bytes(rows)).sum();
            let one = i64::try_from(filler / rows.max(1)).ok()?.max(ELEMENT);
            Some(sum(&|row| count.get(row).saturating_mul(one)))
        }
        ("list_text", [values]) => Some(bytes_of_texts(values, rows)),
        ("format" | "printf", [form, values @ ..]) => formatted_bytes(name, form, values, rows),
        (name, _) if JOINING.contains(&name) => Some(bytes_taken(args, rows)),
        ("string_to_array" | "regexp_extract_all" | "regexp_split_to_array", [text, ..]) => {
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
                let step = step.as_ref().map_or(Some(1), |step| step.known(row))?;
                let distance = stop.known(row)?.saturating_sub(start.known(row)?);
                let steps =
                    distance.checked_div(step).filter(|_| distance.signum() != -step.signum());
                steps.map(|steps| steps.saturating_add(1))
            };
            Some(sum(&|row| elements(row).unwrap_or(0).saturating_mul(8)))
        }
        _ => part_bytes(name, args, rows),
    }
}

/// The same for functions that give a small part of what they take.
fn part_bytes(name: &str, args: &[Argument], rows: usize) -> Option<usize> {
    match (name, args) {
        // Digests as digits, and their views.
        ("md5" | "sha256", _) => Some(rows.saturating_mul(64 + size_of::<u128>())),
        ("array_element" | "array_min" | "array_max", [lists, ..]) => {
            Some(bytes_of_elements(lists, rows))
        }
        ("left" | "right", [text, count]) => {
            let (text, count) = (Numbers::lengths(text)?, Numbers::of(count)?);
            let characters = |row| match count.get(row) {
                count @ 0.. => count.saturating_mul(CHARACTER),
                _ => i64::MAX,
            };
            Some(sum_of(rows, &|row| text.get(row).min(characters(row)).saturating_add(VIEW)))
        }
        ("substr" | "substring", [text, _, count]) => {
            let (text, count) = (Numbers::lengths(text)?, Numbers::of(count)?);
            let characters = |row| count.get(row).max(0).saturating_mul(CHARACTER);
            Some(sum_of(rows, &|row| text.get(row).min(characters(row)).saturating_add(VIEW)))
        }
        _ => None,
    }
}

fn sum_of(rows: usize, of: &dyn Fn(usize) -> i64) -> usize {
    let bytes = (0..rows).fold(0i64, |sum, row| sum.saturating_add(of(row).max(0)));
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Bytes of values in their forms, estimated: each value is taken to be as long as the average of
/// its column, once for each place that a form has for it. A form that differs from row to row may
/// have any width: what is made of it is the sum of those of all rows.
fn formatted_bytes(name: &str, form: &Argument, values: &[Argument], rows: usize) -> Option<usize> {
    let (array, forms) = match form {
        Argument::Array(array) => (array, rows.min(array.len())),
        Argument::Constant(array) => (array, 1),
    };
    let contents: Vec<usize> =
        values.iter().map(|value| value.content_bytes(rows) / rows.max(1) + 1).collect();
    let texts = cast(array, &DataType::Utf8View).ok()?;
    let texts = texts.as_string_view();
    let mut sum = 0usize;
    let mut last: Option<(&str, usize)> = None;
    for row in (0..forms).filter(|row| texts.is_valid(*row)) {
        let text = texts.value(row);
        let bytes = match last {
            Some((known, bytes)) if known == text => bytes,
            _ => {
                let (bytes, times) = bytes_of_form(name, text, values.len()).unwrap_or_default();
                let own = times.iter().zip(&contents);
                bytes + own.map(|(times, content)| times * content).sum::<usize>()
            }
        };
        last = Some((text, bytes));
        sum = sum.saturating_add(bytes);
    }
    let times = if forms == 1 { rows } else { 1 };
    Some(sum.saturating_mul(times))
}

/// Bytes of an element of each list: what is longer than others is noticed when it is there.
fn bytes_of_elements(lists: &Argument, rows: usize) -> usize {
    let (Argument::Array(array) | Argument::Constant(array)) = lists;
    let elements = array.as_list_opt::<i32>().map(|list| list.values().len());
    let lists = lists.content_bytes(1);
    (lists / elements.unwrap_or(0).max(1) + size_of::<u128>()).saturating_mul(rows).min(lists)
}

/// Bytes of nested values as texts, estimated.
fn bytes_of_texts(values: &Argument, rows: usize) -> usize {
    let (array, times) = match values {
        Argument::Array(array) => (array, 1),
        Argument::Constant(array) => (array, rows),
    };
    let written = values.content_bytes(rows).saturating_mul(2);
    written.saturating_add(bytes_of_names(array).saturating_mul(times))
}

/// Bytes of the names of members in the texts of nested values.
fn bytes_of_names(values: &ArrayRef) -> usize {
    /// Quotes, a colon and a comma, with spaces.
    const AROUND: usize = 6;
    match values.data_type() {
        DataType::List(_) => bytes_of_names(values.as_list::<i32>().values()),
        DataType::Map(..) => bytes_of_names(values.as_map().values()),
        DataType::Struct(fields) => {
            let names: usize = fields.iter().map(|field| field.name().len() + AROUND).sum();
            let members = values.as_struct().columns().iter().map(bytes_of_names);
            members.sum::<usize>().saturating_add(values.len().saturating_mul(names))
        }
        _ => 0,
    }
}

/// Whether a text takes a byte for each of its characters.
fn is_ascii(arg: &Argument) -> bool {
    let (Argument::Array(array) | Argument::Constant(array)) = arg;
    array.as_string_view_opt().is_some_and(|text| text.is_ascii())
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
                let micros = intervals.iter().map(|interval| interval.map(micros_of));
                Some(Arc::new(micros.collect::<Int64Array>()) as ArrayRef)
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
        self.known(row).unwrap_or(0)
    }

    fn known(&self, row: usize) -> Option<i64> {
        let row = if self.constant { 0 } else { row };
        self.values.is_valid(row).then(|| self.values.value(row))
    }
}

/// Microseconds of an interval, of short months.
fn micros_of(interval: IntervalMonthDayNano) -> i64 {
    let days = i64::from(interval.months) * 28 + i64::from(interval.days);
    days.saturating_mul(86_400_000_000).saturating_add(interval.nanoseconds / 1000)
}

/// Bytes that a call with constants makes.
pub(super) fn constant_bytes(name: &str, args: &[ArrayRef]) -> usize {
    let args: Vec<Argument> = args.iter().cloned().map(Argument::Constant).collect();
    result_bytes(name, &args, 1).unwrap_or_else(|| bytes_taken(&args, 1))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ListArray, StringViewArray, StructArray};
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
        assert_eq!(bytes("lpad", &[texts(), number(5)]), Some(2 + 4 + 3 * 5));
        assert_eq!(bytes("lpad", &[texts(), number(5), text(&[Some("ä")])]), Some(2 + 4 + 3 * 20));
        let (from, to) = (text(&[Some("a"); 3]), text(&[Some("xyz"); 3]));
        assert_eq!(bytes("replace", &[texts(), from, to]), Some(2 + 9 + 3 + 4 + 15));
        assert_eq!(bytes("range", &[number(0), number(9), number(3)]), Some(3 * 4 * 8));
        assert_eq!(bytes("range", &[number(9), number(0), number(-3)]), Some(3 * 4 * 8));
        assert_eq!(bytes("range", &[number(i64::MAX), number(0)]), Some(0));
        assert_eq!(bytes("range", &[number(0), number(9), number(0)]), Some(0));
        let none = Argument::Constant(Arc::new(Int64Array::from(vec![None])));
        assert_eq!(bytes("range", &[number(i64::MIN), none]), Some(0));
        let long = IntervalMonthDayNano::new(i32::MAX, i32::MAX, i64::MAX);
        assert_eq!(micros_of(long), i64::MAX);
        assert_eq!(bytes("concat", &[texts(), number(1)]), Some(48 + 3 * 8));
        let form = |form: &str| {
            let form = StringViewArray::from(vec![form]);
            bytes("format", &[Argument::Constant(Arc::new(form)), number(1)])
        };
        assert!(form("{:10000}").is_some_and(|bytes| bytes >= 3 * 10_000));
        assert!(form("{0}{0:.5000f}").is_some_and(|bytes| bytes >= 3 * 5_000));
        assert!(form("{}").is_some_and(|bytes| bytes < 3 * 500));
        assert_eq!(form("{:"), Some(0));
        assert_eq!(bytes("upper", &[texts()]), None);
        let long = || text(&[Some(&"x".repeat(100_000)), None, Some("y")]);
        assert_eq!(bytes("md5", &[long()]), Some(3 * 80));
        assert_eq!(bytes("left", &[long(), number(5)]), Some(20 + 1 + 3 * 16));
        assert_eq!(bytes("left", &[long(), number(-5)]), Some(100_001 + 3 * 16));
        assert_eq!(bytes("substr", &[long(), number(1), number(2)]), Some(8 + 1 + 3 * 16));
        let numbers = ListArray::from_iter_primitive::<Int64Type, _, _>([
            Some((0..1000).map(Some).collect::<Vec<_>>()),
            Some(vec![Some(1)]),
            None,
        ]);
        let lists = Argument::Array(Arc::new(numbers));
        assert!(bytes("array_max", &[lists]).is_some_and(|bytes| bytes <= 3 * 32));
        let member: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let structs = StructArray::try_from(vec![("name", member)]).expect("structures");
        let structs = Argument::Array(Arc::new(structs));
        assert_eq!(bytes("list_text", &[structs]), Some(2 * 3 * 8 + 3 * 10));
        let ten = [Arc::new(StringViewArray::from(vec!["x"])) as ArrayRef];
        assert_eq!(constant_bytes("upper", &ten), 16);
        assert_eq!(content_bytes(&ten[0]), 16);
    }
}
