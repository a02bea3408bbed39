//! The first of some elements that is a value: a loop for each type of numbers and of texts, the
//! order of values for all others.

use std::ops::Range;

use arrow::array::{
    Array, ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, GenericStringArray,
    OffsetSizeTrait, downcast_primitive,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

use super::typed::{nested_order, with_float_keys};
use crate::error::Result;

/// The first place of some where an element is the value of a row; NULL is where NULL is.
pub type Find = Box<dyn Fn(Range<usize>, usize) -> Option<usize> + Send + Sync>;

/// How many elements are compared before one of them is looked for.
const BLOCK: usize = 64;

/// The longest text that a view holds in itself.
const INLINE_BYTES: u32 = 12;

/// How values are found among elements, by the equality of [`nested_order`].
///
/// # Errors
/// `Input` when the elements and the values cannot be compared.
pub fn finder(elements: &ArrayRef, values: &ArrayRef) -> Result<Find> {
    let (elements, values) = (with_float_keys(elements)?, with_float_keys(values)?);
    if elements.data_type() != values.data_type() {
        return in_order(&elements, &values);
    }
    macro_rules! numbers {
        ($type:ty) => {
            among_numbers::<$type>(&elements, &values)
        };
    }
    Ok(downcast_primitive! {
        elements.data_type() => (numbers),
        DataType::Utf8 => among_texts::<i32>(&elements, &values),
        DataType::LargeUtf8 => among_texts::<i64>(&elements, &values),
        DataType::Utf8View => among_views(&elements, &values),
        _ => return in_order(&elements, &values),
    })
}

fn in_order(elements: &ArrayRef, values: &ArrayRef) -> Result<Find> {
    let order = nested_order(elements, values)?;
    Ok(Box::new(move |mut places, row| places.find(|&place| order(place, row).is_eq())))
}

fn first_null(nulls: Option<&NullBuffer>, mut places: Range<usize>) -> Option<usize> {
    nulls.and_then(|nulls| places.find(|&place| nulls.is_null(place)))
}

/// Floating-point numbers are those that stand for all that are equal.
fn among_numbers<T: ArrowPrimitiveType>(elements: &ArrayRef, values: &ArrayRef) -> Find {
    let elements = elements.as_primitive::<T>().clone();
    let values = values.as_primitive::<T>().clone();
    Box::new(move |places, row| {
        if values.is_null(row) {
            return first_null(elements.nulls(), places);
        }
        let wanted = values.value(row);
        let mut begin = places.start;
        for block in elements.values().get(places)?.chunks(BLOCK) {
            if block.iter().fold(false, |found, element| found | element.is_eq(wanted)) {
                let mut found = block.iter().enumerate().filter(|(_, e)| e.is_eq(wanted));
                if let Some((at, _)) = found.find(|(at, _)| elements.is_valid(begin + at)) {
                    return Some(begin + at);
                }
            }
            begin += block.len();
        }
        None
    })
}

fn among_texts<O: OffsetSizeTrait>(elements: &ArrayRef, values: &ArrayRef) -> Find {
    let elements: GenericStringArray<O> = elements.as_string::<O>().clone();
    let values: GenericStringArray<O> = values.as_string::<O>().clone();
    Box::new(move |places, row| {
        if values.is_null(row) {
            return first_null(elements.nulls(), places);
        }
        let (wanted, begin) = (values.value(row).as_bytes(), places.start);
        let ends = elements.value_offsets().get(begin..places.end + 1)?;
        let is_wanted = |(at, ends): (usize, &[O])| {
            let (from, to) = (ends[0].as_usize(), ends[1].as_usize());
            to - from == wanted.len()
                && elements.value_data()[from..to] == *wanted
                && elements.is_valid(begin + at)
        };
        ends.windows(2).enumerate().position(is_wanted).map(|at| begin + at)
    })
}

fn among_views(elements: &ArrayRef, values: &ArrayRef) -> Find {
    let elements = elements.as_string_view().clone();
    let values = values.as_string_view().clone();
    Box::new(move |mut places, row| {
        if values.is_null(row) {
            return first_null(elements.nulls(), places);
        }
        let (wanted, text) = (values.views()[row], values.value(row));
        let views = elements.views();
        if wanted as u32 <= INLINE_BYTES {
            return places.find(|&place| views[place] == wanted && elements.is_valid(place));
        }
        // The length and the first bytes come first.
        places.find(|&place| {
            views[place] as u64 == wanted as u64
                && elements.is_valid(place)
                && elements.value(place) == text
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, StringArray, StringViewArray};

    use super::*;

    /// What is found of each value among all elements behind the first.
    fn found(elements: ArrayRef, values: ArrayRef) -> Vec<Option<usize>> {
        let find = finder(&elements, &values).expect("values that are compared");
        (0..values.len()).map(|row| find(1..elements.len(), row)).collect()
    }

    #[test]
    fn numbers_are_found_as_values_are() {
        let mut elements: Vec<Option<i64>> = (0..200).map(Some).collect();
        elements[130] = None;
        let values = [Some(0), Some(1), Some(64), Some(129), Some(130), None, Some(-1)];
        let places = [None, Some(1), Some(64), Some(129), None, Some(130), None];
        let elements = Int64Array::from(elements);
        assert_eq!(found(Arc::new(elements), Arc::new(Int64Array::from(values.to_vec()))), places);
    }

    #[test]
    fn zeros_are_one_number() {
        let elements = Float64Array::from(vec![1.0, 2.0, -0.0, -f64::NAN]);
        let values = Float64Array::from(vec![0.0, f64::NAN, 1.0]);
        assert_eq!(found(Arc::new(elements), Arc::new(values)), [Some(2), Some(3), None]);
    }

    #[test]
    fn texts_are_found_whatever_holds_them() {
        let texts = ["a", "b", "a longer text, one", "a longer text, two", "exactly 12 b"];
        let mut elements: Vec<Option<&str>> = texts.map(Some).to_vec();
        elements.extend([None, Some("")]);
        let values =
            ["a", "b", "a longer text, two", "a longer text, six", "exactly 12 b", "exactly 12 "];
        let mut values: Vec<Option<&str>> = values.map(Some).to_vec();
        values.extend([Some(""), None]);
        let places = [None, Some(1), Some(3), None, Some(4), None, Some(6), Some(5)];
        let plain = |texts: &[Option<&str>]| StringArray::from(texts.to_vec());
        let views = |texts: &[Option<&str>]| StringViewArray::from(texts.to_vec());
        assert_eq!(found(Arc::new(plain(&elements)), Arc::new(plain(&values))), places);
        assert_eq!(found(Arc::new(views(&elements)), Arc::new(views(&values))), places);
    }
}
