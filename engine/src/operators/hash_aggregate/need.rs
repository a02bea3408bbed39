//! How much memory the rows of a chunk can need.

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;

use super::plan::{Fold, Plan};
use super::table::GroupTable;
use crate::batch::{Chunk, Column, pick};
use crate::error::Result;
use crate::memory::rows::FIRST_PAGE_BYTES;

/// Bytes that an overestimate of a nested value's stored form takes beside its buffers.
const NESTED_BYTES: usize = 64;

/// Bytes that taking in the live rows of a chunk needs at most, whatever their groups are.
/// Estimates are too high as a rule; too low only for nested values of very unequal size.
pub(super) fn needed_bytes(plan: &Plan, table: &GroupTable, input: &Chunk) -> Result<usize> {
    let rows = input.live_rows();
    let mut bytes = rows * plan.layout.width();
    for &key in &plan.keys {
        bytes += value_bytes(input, input.column(key)?);
    }
    let mut beside = table.stores.copied_bytes(table.rows.rows());
    for state in &plan.states {
        let Fold::Stored { store, .. } = state.fold else { continue };
        let Some(store) = plan.stores.get(store) else { continue };
        let mut values = rows * store.layout.width();
        let best = store.best.iter();
        let order = best.clone().flat_map(|best| best.order.iter().map(|key| key.column));
        let kept = best.flat_map(|best| best.values.iter().copied());
        for column in state.argument.into_iter().chain(order).chain(kept) {
            values += value_bytes(input, input.column(column)?);
        }
        // Values of nested types are stored twice for as long as a chunk lasts.
        beside += 2 * (values + values / 3) + FIRST_PAGE_BYTES;
    }
    for custom in &plan.customs {
        for &argument in &custom.arguments {
            let column = input.column(argument)?;
            beside += 2 * (rows * NESTED_BYTES + value_bytes(input, column));
        }
    }
    Ok(table.needed_bytes(plan, rows, bytes) + beside)
}

/// Bytes of the values of varying length in the live rows.
fn value_bytes(input: &Chunk, column: &Column) -> usize {
    let positions = input.live_positions();
    let picked = pick([column], positions);
    let Some(picked) = picked.first() else { return 0 };
    let array = picked.array();
    let sum = |len: &dyn Fn(usize) -> usize| {
        let at = picked.at().iter().filter(|&&at| !picked.is_null_at(at));
        at.map(|&at| len(at as usize)).sum::<usize>()
    };
    match array.data_type() {
        DataType::Utf8View => sum_lengths(picked.at(), array.as_string_view().views()),
        DataType::BinaryView => sum_lengths(picked.at(), array.as_binary_view().views()),
        data_type if data_type.is_nested() => {
            let average = array.get_buffer_memory_size() / array.len().max(1);
            sum(&|_| 2 * average + NESTED_BYTES)
        }
        _ => 0,
    }
}

/// The lengths of the views that are not inline; those of NULLs may be among them.
fn sum_lengths(at: &[u32], views: &[u128]) -> usize {
    let lengths = at.iter().filter_map(|&at| views.get(at as usize)).map(|&view| view as u32);
    lengths.map(|len| len as usize).sum()
}
