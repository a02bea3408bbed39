//! AND, OR and CASE: where one part of an expression decides which rows see another.
//!
//! A condition that can fail is evaluated only for rows that the ones before it have not decided:
//! not FALSE in an AND, not TRUE in an OR. A branch of a CASE is evaluated only for the rows that
//! take it, and a condition of a CASE only for rows that no branch before it has taken.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::compute::{and_kleene, or_kleene};
use arrow::datatypes::DataType;

use super::compile::Node;
use super::evaluate::as_boolean;
use super::kernels::merge::{Part, merge};
use super::sizes::{is_nested, written_bytes};
use super::view::View;
use crate::batch::{Column, Form, Selection};
use crate::error::Result;

/// From this cost on, in tenths of a nanosecond a row, a condition is worth finding the rows that
/// still need it.
const DEAR: usize = 50;

/// The three-valued AND (`decisive` is false) or OR (`decisive` is true) of conditions.
pub(super) fn connect(list: &mut [Node], decisive: bool, view: &View<'_>) -> Result<Column> {
    let mut result: Option<Column> = None;
    for node in list {
        let Some(so_far) = result else {
            result = Some(node.evaluate(view)?);
            continue;
        };
        let open = match node.fallible || node.cost >= DEAR {
            true => undecided(&so_far, decisive, view)?,
            false => None,
        };
        let part = match &open {
            Some(open) if open.is_empty() => return Ok(so_far),
            Some(open) => node.evaluate(&view.narrowed(open))?,
            None => node.evaluate(view)?,
        };
        result = Some(combined(&so_far, &part, decisive, view.rows())?);
    }
    Ok(result.unwrap_or_else(|| Column::null(DataType::Boolean)))
}

/// Whether AND or OR of these conditions is computed for all rows at once, as bits.
pub(super) fn is_cheap(list: &[Node]) -> bool {
    list.iter().all(|node| !node.fallible && node.cost < DEAR)
}

/// The live rows whose value is not `decisive`; `None` when that is all of them.
fn undecided(column: &Column, decisive: bool, view: &View<'_>) -> Result<Option<Selection>> {
    let rows = match column.form() {
        Form::Constant(value) => {
            let value = as_boolean(value)?;
            let decided = value.is_valid(0) && value.value(0) == decisive;
            if decided { Vec::new() } else { return Ok(None) }
        }
        _ => {
            let array = column.to_array(view.rows())?;
            let array = as_boolean(&array)?;
            let is_open =
                |row: u32| array.is_null(row as usize) || array.value(row as usize) != decisive;
            match view.selection() {
                Some(live) => live.as_slice().iter().copied().filter(|&r| is_open(r)).collect(),
                None => (0..view.rows() as u32).filter(|&row| is_open(row)).collect::<Vec<_>>(),
            }
        }
    };
    Ok((rows.len() < view.live()).then(|| Selection::new(rows)))
}

fn combined(left: &Column, right: &Column, decisive: bool, rows: usize) -> Result<Column> {
    let both_constant = left.rows().is_none() && right.rows().is_none();
    let rows = if both_constant { 1 } else { rows };
    let (l, r) = (left.to_array(rows)?, right.to_array(rows)?);
    let (l, r) = (as_boolean(&l)?, as_boolean(&r)?);
    let array: BooleanArray = if decisive { or_kleene(l, r)? } else { and_kleene(l, r)? };
    Ok(match both_constant {
        true => Column::constant(DataType::Boolean, Arc::new(array)),
        false => Column::flat(DataType::Boolean, Arc::new(array)),
    })
}

/// CASE: the value of the first branch whose condition is true.
pub(super) fn choose(
    branches: &mut [(Node, Node)],
    otherwise: Option<&mut Node>,
    view: &View<'_>,
    data_type: &DataType,
) -> Result<Column> {
    let mut rest = view.live_rows();
    let mut parts = Vec::new();
    for (when, then) in branches {
        if rest.is_empty() {
            break;
        }
        let taken = match when.select(&view.narrowed(&rest))? {
            Some(taken) => taken,
            None => rest.clone(),
        };
        if taken.is_empty() {
            continue;
        }
        let column = then.evaluate(&view.narrowed(&taken))?;
        rest = rest.without(&taken);
        parts.push(Part { rows: taken, column });
    }
    if !rest.is_empty() {
        let column = match otherwise {
            Some(otherwise) => otherwise.evaluate(&view.narrowed(&rest))?,
            None => Column::null(data_type.clone()),
        };
        parts.push(Part { rows: rest, column });
    }
    match &mut parts[..] {
        // Every live row took the same branch.
        [part] => Ok(part.column.clone()),
        _ => {
            if is_nested(data_type) {
                let bytes = |part: &Part| written_bytes(&part.column, Some(&part.rows), 0);
                view.room().take(parts.iter().map(bytes).sum(), view.live(), "case")?;
            }
            merge(&parts, view.rows(), data_type)
        }
    }
}
