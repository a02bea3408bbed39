//! What functions of lists make of NULLs.
//!
//! * Some are NULL when a list is.
//! * Of lists as sets, in which no NULL is (`array_distinct`, `array_intersect`, and whether a list
//!   has some or all of the elements of another), NULL is never found, and nobody asks for it. In
//!   them there is one zero, and one NaN.
//! * Those that compare elements see intervals of one length as one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, filter, is_not_null, take};
use arrow::datatypes::{DataType, FieldRef};
use datafusion_common::Result;
use datafusion_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};
use gristmill_engine::batch::with_float_keys;

use super::each::{each, is_constant, results};
use super::identical_intervals::{Taken, identical_intervals, sought_intervals};
use super::interval_order::has_interval;
use super::list_sets::has_elements;
use super::user::to_front_end;

/// A function with arguments that are lists, by their places.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ListNulls {
    inner: Arc<ScalarUDF>,
    /// It is NULL where one of these is.
    strict: &'static [usize],
    /// It sees these without their elements that are NULL.
    sets: &'static [usize],
    identical: Identical,
}

/// What it sees as identical values because they are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Identical {
    Nothing,
    /// Intervals in the first argument and the second one, when they are equally long.
    Sought(Taken),
    /// All intervals of one length, and numbers.
    All,
}

/// The function, and NULL where one of the arguments at these places is.
pub(crate) fn strict(inner: Arc<ScalarUDF>, strict: &'static [usize]) -> ScalarUDF {
    ScalarUDF::from(ListNulls { inner, strict, sets: &[], identical: Identical::Nothing })
}

/// The function over lists as sets; itself when it is none of these.
pub(super) fn of_sets(inner: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    type Places = &'static [usize];
    let (strict, sets, identical): (Places, Places, Identical) = match inner.name() {
        "array_distinct" => (&[], &[0], Identical::All),
        "array_intersect" => (&[], &[0, 1], Identical::All),
        "array_except" | "array_union" => (&[], &[], Identical::All),
        // The borrowed ones find nothing in a list that is NULL.
        "array_has_all" | "array_has_any" => (&[0, 1], &[1], Identical::All),
        "array_remove" | "array_replace" => (&[], &[], Identical::Sought(Taken::One)),
        "array_remove_n" | "array_replace_n" => (&[], &[], Identical::Sought(Taken::Said)),
        "array_remove_all" | "array_replace_all" => (&[], &[], Identical::Sought(Taken::All)),
        _ => return inner,
    };
    let inner = match inner.name() {
        "array_has_all" | "array_has_any" => has_elements(inner),
        _ => inner,
    };
    Arc::new(ScalarUDF::from(ListNulls { inner, strict, sets, identical }))
}

impl ScalarUDFImpl for ListNulls {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(arguments)?;
        Ok(match self.strict {
            [] => field,
            _ => Arc::new(field.as_ref().clone().with_nullable(true)),
        })
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arguments)
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        for &at in self.sets {
            if let Some(list) = call.args.get_mut(at) {
                *list = each(list, known)?;
            }
        }
        let has_interval = call.args.iter().any(|list| has_interval(&list.data_type()));
        match (self.identical, has_interval) {
            (Identical::Sought(taken), true) => call.args = sought_intervals(call.args, taken)?,
            (Identical::All, true) => call.args = identical_intervals(call.args)?,
            (Identical::All, false) => {
                for list in &mut call.args {
                    *list = each(list, |list| with_float_keys(list).map_err(to_front_end))?;
                }
            }
            (Identical::Sought(_), false) | (Identical::Nothing, _) => {}
        }
        // Not by the shell around the functions, which asks for lists whose elements are called as
        // was said; that is seen to when a call comes back.
        if self.strict.is_empty() {
            return self.inner.inner().invoke_with_args(call);
        }
        let arrays = ColumnarValue::values_to_arrays(&call.args)?;
        let is_constant = is_constant(&call.args);
        let nulls = self.strict.iter().filter_map(|&at| arrays.get(at));
        let nulls = nulls.fold(None, |nulls: Option<NullBuffer>, array| {
            NullBuffer::union(nulls.as_ref(), array.logical_nulls().as_ref())
        });
        let rows = arrays.first().map_or(call.number_rows, |array| array.len());
        let mut result = self.inner.inner().invoke_with_args(call)?.into_array(rows)?;
        if let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) {
            // Lists that are NULL are left without elements, which others would see.
            let places = UInt32Array::new((0..rows as u32).collect(), Some(nulls));
            result = take(&result, &places, None)?;
        }
        results(result, is_constant)
    }
}

/// The lists without the elements that are NULL.
fn known(lists: &ArrayRef) -> Result<ArrayRef> {
    let Some(list) = lists.as_list_opt::<i32>() else { return Ok(lists.clone()) };
    let values = list.values();
    if values.logical_null_count() == 0 {
        return Ok(lists.clone());
    }
    let kept = is_not_null(values)?;
    let lengths = list.offsets().windows(2).map(|ends| {
        let (begin, end) = (ends[0] as usize, ends[1] as usize);
        kept.values().slice(begin, end - begin).count_set_bits()
    });
    let offsets = OffsetBuffer::from_lengths(lengths);
    let (first, last) = (list.offsets()[0] as usize, list.offsets()[list.len()] as usize);
    let values = values.slice(first, last - first);
    let kept = kept.slice(first, last - first);
    let values = filter(&values, &kept)?;
    let DataType::List(field) = list.data_type() else { return Ok(lists.clone()) };
    let known = ListArray::try_new(field.clone(), offsets, values, list.nulls().cloned())?;
    Ok(cast(&known, lists.data_type())?)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn elements_that_are_null_are_left_out_of_slices_too() {
        let lists = vec![
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
            Some(vec![None, Some(2), None, Some(3)]),
        ];
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
        let wanted = vec![Some(vec![Some(1)]), None, Some(vec![]), Some(vec![Some(2), Some(3)])];
        let wanted: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(wanted));
        assert_eq!(&known(&lists).expect("lists"), &wanted);
        assert_eq!(&known(&lists.slice(1, 3)).expect("lists"), &wanted.slice(1, 3));
    }
}
