//! Maps: what they have for a key (`element_at`), and that no key is in one twice. Keys are equal
//! as the operands of `=` are: zeros whatever their sign, and intervals of one length.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::util::display::array_value_to_string;
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion_functions_nested::map_extract::map_extract_udf;
use gristmill_engine::batch::has_float;

use super::common_type::{Meeting, common_type};
use super::each::{each, is_constant, results};
use super::identical_intervals::keys;
use super::interval_order::has_interval;
use super::search::Search;
use crate::sql::type_name;

/// The list of what a map has for a key: one value, or none. NULL where the map is.
#[derive(Debug, PartialEq, Eq, Hash)]
struct MapElement {
    borrowed: Arc<ScalarUDF>,
    signature: Signature,
}

/// The map of a list of keys and a list of values.
#[derive(Debug, PartialEq, Eq, Hash)]
struct MapOf {
    borrowed: Arc<ScalarUDF>,
}

/// The function in place of the borrowed `map_extract`.
pub(super) fn map_element(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    let signature = Signature::user_defined(Volatility::Immutable);
    Arc::new(ScalarUDF::from(MapElement { borrowed, signature }))
}

/// The list of what a map has for a key.
pub(crate) fn values_of_key(map: Expr, key: Expr) -> Expr {
    map_element(map_extract_udf()).call(vec![map, key])
}

/// The function in place of the borrowed `map`.
pub(super) fn map_of(borrowed: Arc<ScalarUDF>) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::from(MapOf { borrowed }))
}

/// The keys of a type of maps.
pub(crate) fn key_type(maps: &DataType) -> Option<&DataType> {
    let DataType::Map(entries, _) = maps else { return None };
    let DataType::Struct(members) = entries.data_type() else { return None };
    members.first().map(|key| key.data_type())
}

impl ScalarUDFImpl for MapElement {
    as_borrowed!(name, aliases, return_type);

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> =
            arguments.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    /// What is asked for and the keys meet in a common type; a text beside other keys is read as
    /// one, and what meets none is cast to one.
    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [maps, wanted] = arguments else {
            return plan_err!("{} takes a map and a key", self.name());
        };
        if maps.is_null() {
            return Ok(arguments.to_vec());
        }
        let Some(key) = key_type(maps) else {
            return plan_err!("{} takes a map and a key, not {}", self.name(), type_name(maps));
        };
        // A map without entries does not say what its keys are.
        if key.is_null() {
            return Ok(arguments.to_vec());
        }
        let met = match key.is_string() == wanted.is_string() {
            true => common_type(&[key, wanted], Meeting::Compared)?,
            false => None,
        };
        Ok(vec![maps.clone(), met.unwrap_or_else(|| key.clone())])
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let [maps, wanted] = &call.args[..] else {
            return exec_err!("{} takes a map and a key", self.name());
        };
        if maps.data_type().is_null() {
            return Ok(ColumnarValue::Scalar(ScalarValue::Null));
        }
        let rows = if is_constant { 1 } else { call.number_rows };
        let (maps, is_one) = match maps {
            ColumnarValue::Array(maps) => (maps.clone(), false),
            ColumnarValue::Scalar(map) => (map.to_array()?, true),
        };
        let maps = maps.as_map();
        let lists: ArrayRef = Arc::new(lists_of_keys(maps, &wanted.data_type())?);
        let lists = if is_one { results(lists, true)? } else { ColumnarValue::Array(lists) };
        let found = elements(maps, &Search::new(&lists, wanted)?, rows)?;
        results(found, is_constant)
    }
}

/// The keys of each map as values of a type, in their places.
fn lists_of_keys(maps: &MapArray, wanted: &DataType) -> Result<ListArray> {
    let keys = cast(maps.keys(), wanted)?;
    let field = Arc::new(Field::new_list_field(wanted.clone(), true));
    Ok(ListArray::try_new(field, maps.offsets().clone(), keys, maps.nulls().cloned())?)
}

fn elements(maps: &MapArray, search: &Search, rows: usize) -> Result<ArrayRef> {
    let mut found = Vec::with_capacity(rows);
    let mut lengths = Vec::with_capacity(rows);
    let mut is_known = Vec::with_capacity(rows);
    for row in 0..rows {
        let places = search.places(row);
        is_known.push(places.is_some());
        let place = places.filter(|_| !search.is_null_value(row));
        let place = place.and_then(|places| search.find(places, row));
        lengths.push(usize::from(place.is_some()));
        found.extend(place.map(|place| place as u32));
    }
    let values = take(maps.values(), &UInt32Array::from(found), None)?;
    let field = Arc::new(Field::new_list_field(values.data_type().clone(), true));
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(is_known.into()))?))
}

impl ScalarUDFImpl for MapOf {
    as_borrowed!(name, aliases, signature, return_type, coerce_types, return_field_from_args);

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let Some(keys) = call.args.first() {
            each(keys, |keys| {
                // The borrowed one sees to the others.
                match keys.as_list_opt::<i32>() {
                    Some(lists)
                        if has_interval(keys.data_type()) || has_float(keys.data_type()) =>
                    {
                        all_differ(lists)?;
                    }
                    _ => {}
                }
                Ok(keys.clone())
            })?;
        }
        self.borrowed.inner().invoke_with_args(call)
    }
}

/// # Errors
/// When a list has two elements that are equal.
fn all_differ(lists: &ListArray) -> Result<()> {
    let values = lists.values();
    let keys = keys(values)?;
    let mut seen = HashSet::new();
    for (row, ends) in lists.offsets().windows(2).enumerate() {
        seen.clear();
        let mut places =
            if lists.is_valid(row) { ends[0] as usize..ends[1] as usize } else { 0..0 };
        if let Some(twice) = places.find(|&place| !seen.insert(keys.row(place))) {
            let key = array_value_to_string(values, twice)?;
            return exec_err!("map key must be unique, duplicate key found: {key}");
        }
    }
    Ok(())
}
