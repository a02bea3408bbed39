//! Whether a list has all or some of the elements of another: of long lists, elements are found by
//! their hash. The borrowed functions compare each with each.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, ListArray};
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_common::Result;
use datafusion_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};
use hashbrown::HashSet;

use super::each::{is_constant, results};

/// So many comparisons take no longer than hashes.
const COMPARED_MAX: usize = 1 << 12;

#[derive(Debug, PartialEq, Eq, Hash)]
struct HasElements {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed one.
pub(super) fn has_elements(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(HasElements { borrowed }))
}

impl ScalarUDFImpl for HasElements {
    as_borrowed!(name, aliases, signature, return_type, return_field_from_args, coerce_types);

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let rows = if is_constant { 1 } else { call.number_rows };
        let lists = match &call.args[..] {
            [lists, others] => Lists::of(lists)?.zip(Lists::of(others)?),
            _ => None,
        };
        let Some((lists, others)) = lists else {
            return self.borrowed.inner().invoke_with_args(call);
        };
        let is_long = |row| lists.length(row).saturating_mul(others.length(row)) > COMPARED_MAX;
        let element = lists.lists.value_type();
        let fields = vec![SortField::new(element.clone())];
        if element != others.lists.value_type()
            || !RowConverter::supports_fields(&fields)
            || !(0..rows).any(is_long)
        {
            return self.borrowed.inner().invoke_with_args(call);
        }
        let converter = RowConverter::new(fields)?;
        let all = self.name() == "array_has_all";
        let found = found(&lists, &others, rows, &converter, all)?;
        results(Arc::new(found), is_constant)
    }
}

fn found(
    lists: &Lists,
    others: &Lists,
    rows: usize,
    converter: &RowConverter,
    all: bool,
) -> Result<BooleanArray> {
    let of_rows = |lists: &Lists, row: usize| -> Result<Rows> {
        let places = lists.places(row);
        let elements = lists.lists.values().slice(places.start, places.len());
        Ok(converter.convert_columns(&[elements])?)
    };
    // Lists that are the same in all rows are hashed once.
    let one = if lists.is_one { Some(of_rows(lists, 0)?) } else { None };
    let hashed: Option<HashSet<&[u8]>> = one.as_ref().map(set);
    let mut found = Vec::with_capacity(rows);
    for row in 0..rows {
        let others = of_rows(others, row)?;
        let mut others = others.iter();
        let mut is_found = |known: &HashSet<&[u8]>| match all {
            true => others.all(|other| known.contains(other.data())),
            false => others.any(|other| known.contains(other.data())),
        };
        found.push(match &hashed {
            Some(hashed) => is_found(hashed),
            None => is_found(&set(&of_rows(lists, row)?)),
        });
    }
    Ok(found.into())
}

fn set(elements: &Rows) -> HashSet<&[u8]> {
    (0..elements.num_rows()).map(|element| elements.row(element).data()).collect()
}

/// Lists, each of a row, or one of all rows.
struct Lists {
    lists: ListArray,
    is_one: bool,
}

impl Lists {
    fn of(argument: &ColumnarValue) -> Result<Option<Lists>> {
        let (array, is_one) = match argument {
            ColumnarValue::Array(array) => (array.clone(), false),
            ColumnarValue::Scalar(value) => (value.to_array()?, true),
        };
        Ok(array.as_list_opt::<i32>().map(|lists| Lists { lists: lists.clone(), is_one }))
    }

    fn places(&self, row: usize) -> Range<usize> {
        let row = if self.is_one { 0 } else { row };
        let offsets = self.lists.value_offsets();
        offsets[row] as usize..offsets[row + 1] as usize
    }

    fn length(&self, row: usize) -> usize {
        self.places(row).len()
    }
}
