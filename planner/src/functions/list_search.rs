//! Searches in lists: whether a value is an element (`list_contains`), and where
//! (`list_position`).
//!
//! * The elements and the value meet as the operands of `=` do: the borrowed functions refuse
//!   some numbers of two types, and tell the zeros of floating-point numbers apart.
//! * Elements that are NULL are equal to nothing but, where positions are asked for, NULL: a search
//!   of constants or of a few values in brackets becomes comparisons that know them.
//! * Positions are integers with a sign, as those of rows are.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, Int64Builder, ListBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion_common::{Result, ScalarValue, exec_err, plan_err};
use datafusion_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion_expr::utils::disjunction;
use datafusion_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, binary_expr, in_list, when,
};

use super::each::{is_constant, results};
use super::interval_order::has_interval;
use super::is_random;
use super::search::{Search, element_of, searched};

/// The most values in brackets that are compared one by one.
const COMPARED_MAX: usize = 16;

/// A borrowed function that searches a list.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ListSearch {
    borrowed: Arc<ScalarUDF>,
    signature: Signature,
}

/// The function in place of a borrowed one; nothing when that searches no list.
pub(super) fn list_search(borrowed: &Arc<ScalarUDF>) -> Option<Arc<ScalarUDF>> {
    let is_search = matches!(borrowed.name(), "array_has" | "array_position" | "array_positions");
    let signature = Signature::user_defined(Volatility::Immutable);
    let search = || ListSearch { borrowed: borrowed.clone(), signature };
    is_search.then(|| Arc::new(ScalarUDF::from(search())))
}

impl ListSearch {
    fn type_of_result(&self) -> DataType {
        match self.name() {
            "array_has" => DataType::Boolean,
            "array_position" => DataType::Int64,
            _ => DataType::new_list(DataType::Int64, true),
        }
    }
}

impl ScalarUDFImpl for ListSearch {
    as_borrowed!(name, aliases);

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let (list, value, from) = match arguments {
            [list, value] => (list, value, None),
            [list, value, from] if self.name() == "array_position" && from.is_integer() => {
                (list, value, Some(DataType::Int64))
            }
            _ => return plan_err!("{} takes a list and a value", self.name()),
        };
        let Some(element) = element_of(list) else {
            return plan_err!("{} takes a list and a value, not {list}", self.name());
        };
        let Some((list, value)) = searched(list, value) else {
            return plan_err!(
                "{}: the elements are {element}, and no {value} is equal to one of them",
                self.name()
            );
        };
        Ok([list, value].into_iter().chain(from).collect())
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.type_of_result())
    }

    fn return_field_from_args(&self, _: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        Ok(Arc::new(Field::new(self.name(), self.type_of_result(), true)))
    }

    /// A search of a few constants is an IN of those that are not NULL, one of a few other values
    /// is their comparisons; the value that is searched is in each of them.
    fn simplify(&self, args: Vec<Expr>, info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let compared = match &args[..] {
            [list, value] if self.name() == "array_has" && !is_random(value) => match list {
                Expr::Literal(list @ ScalarValue::List(_), _) => in_constants(list, value)?,
                Expr::ScalarFunction(call) if call.func.name() == "make_array" => {
                    in_brackets(&call.args, value, info)?
                }
                _ => None,
            },
            _ => None,
        };
        Ok(compared.map_or(ExprSimplifyResult::Original(args), ExprSimplifyResult::Simplified))
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_constant = is_constant(&call.args);
        let rows = if is_constant { 1 } else { call.number_rows };
        let [lists, values, from @ ..] = &call.args[..] else {
            return exec_err!("{} takes a list and a value", self.name());
        };
        let search = Search::new(lists, values)?;
        let found = match (self.name(), from) {
            ("array_has", _) => Arc::new(has(&search, rows)),
            ("array_position", []) => position(&search, None, rows)?,
            ("array_position", [from, ..]) => {
                let from = from.to_array(rows)?;
                position(&search, Some(from.as_primitive::<Int64Type>()), rows)?
            }
            _ => positions(&search, rows),
        };
        results(found, is_constant)
    }
}

fn in_constants(list: &ScalarValue, value: &Expr) -> Result<Option<Expr>> {
    // Intervals are found by their lengths, which comparisons that are made now do not see.
    if list.is_null() || has_interval(&list.data_type()) {
        return Ok(None);
    }
    let elements = ScalarValue::convert_array_to_scalar_vec(&list.to_array()?)?;
    let known = elements.into_iter().flatten().flatten().filter(|e| !e.is_null());
    let known: Vec<Expr> = known.map(|e| Expr::Literal(e, None)).collect();
    Ok((!known.is_empty()).then(|| in_list(value.clone(), known, false)))
}

/// Only of a value that costs nothing, and NULL where that is.
fn in_brackets(elements: &[Expr], value: &Expr, info: &SimplifyContext) -> Result<Option<Expr>> {
    let is_at_hand = matches!(value, Expr::Column(_) | Expr::Literal(..));
    let is_null = matches!(value, Expr::Literal(value, _) if value.is_null());
    let wanted = info.get_data_type(value)?;
    if has_interval(&wanted) {
        return Ok(None);
    }
    for element in elements {
        if is_random(element) || info.get_data_type(element)? != wanted {
            return Ok(None);
        }
    }
    if !is_at_hand || is_null || elements.len() > COMPARED_MAX {
        return Ok(None);
    }
    let is_value =
        |element: &Expr| binary_expr(element.clone(), Operator::IsNotDistinctFrom, value.clone());
    let Some(any) = disjunction(elements.iter().map(is_value)) else { return Ok(None) };
    Ok(Some(match info.nullable(value)? {
        true => when(value.clone().is_not_null(), any).end()?,
        false => any,
    }))
}

fn has(search: &Search, rows: usize) -> BooleanArray {
    let has = |row| {
        let places = search.places(row).filter(|_| !search.is_null_value(row))?;
        Some(search.find(places, row).is_some())
    };
    (0..rows).map(has).collect()
}

/// Where a value is first in a list, from a place of it on.
fn position(search: &Search, from: Option<&Int64Array>, rows: usize) -> Result<ArrayRef> {
    let mut found = Int64Builder::with_capacity(rows);
    for row in 0..rows {
        let Some(places) = search.places(row) else {
            found.append_null();
            continue;
        };
        let from = from.map_or(1, |from| if from.is_null(row) { 0 } else { from.value(row) });
        let Some(skipped) = from.checked_sub(1).and_then(|n| usize::try_from(n).ok()) else {
            return exec_err!("array_position: {from} is no place to search from, 1 is the first");
        };
        let begin = places.start.saturating_add(skipped).min(places.end);
        let rest = search.find(begin..places.end, row);
        found.append_option(rest.map(|place| (place - places.start + 1) as i64));
    }
    Ok(Arc::new(found.finish()))
}

fn positions(search: &Search, rows: usize) -> ArrayRef {
    let mut found = ListBuilder::new(Int64Builder::new());
    for row in 0..rows {
        let places = search.places(row);
        if let Some(places) = &places {
            let mut rest = places.clone();
            while let Some(place) = search.find(rest.clone(), row) {
                found.values().append_value((place - places.start) as i64 + 1);
                rest.start = place + 1;
            }
        }
        found.append(places.is_some());
    }
    Arc::new(found.finish())
}
