//! Columns of a block copied together: the rows that are left, and several thin blocks in one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::concat;
use arrow::datatypes::DataType;

use crate::batch::{Column, Form, Indexed, Indices, gather};
use crate::error::{Error, Result};

/// The rows of `column` that `rows` names, copied together so that nothing else is kept alive:
/// strings leave their pages. Dictionary columns keep their dictionary.
pub(crate) fn thin(column: &Column, rows: &Indices) -> Result<Column> {
    let logical = column.logical().clone();
    Ok(match column.form() {
        Form::Constant(_) => column.clone(),
        Form::Flat(array) => Column::flat(logical, compact_views(gather(array, rows)?)),
        Form::Indexed(indexed) => {
            let indices = Arc::new(indexed.indices.compose(rows));
            Column::indexed(logical, indices, indexed.base.clone(), indexed.domain)
        }
    })
}

/// Pieces that [`thin`] made of one column of one row group, one after the other.
pub(super) fn join(pieces: &[Column]) -> Result<Column> {
    let [first, others @ ..] = pieces else {
        return Err(Error::internal("a column of no pieces"));
    };
    if others.is_empty() {
        return Ok(first.clone());
    }
    let logical = first.logical().clone();
    if let Some(Indexed { base, domain, .. }) = shared_base(pieces) {
        let mut rows = Vec::with_capacity(pieces.iter().filter_map(Column::rows).sum());
        for piece in pieces {
            if let Form::Indexed(indexed) = piece.form() {
                rows.extend_from_slice(indexed.indices.as_slice());
            }
        }
        let indices = Arc::new(Indices::with_nulls(rows));
        return Ok(Column::indexed(logical, indices, base.clone(), *domain));
    }
    let arrays = pieces.iter().map(|piece| piece.to_array(piece.rows().unwrap_or(1)));
    let arrays: Vec<ArrayRef> = arrays.collect::<Result<_>>()?;
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    Ok(Column::flat(logical, concat(&arrays)?))
}

/// Codes of numbers are good to filter on; what computes with numbers wants them side by side.
pub(super) fn flat_unless_text(column: Column, rows: usize) -> Result<Column> {
    match column.form() {
        Form::Indexed(indexed) if indexed.base.data_type().is_primitive() => {
            Ok(Column::flat(column.logical().clone(), column.to_array(rows)?))
        }
        _ => Ok(column),
    }
}

/// The first piece, when all pieces have its base.
fn shared_base(pieces: &[Column]) -> Option<&Indexed> {
    let Some(Form::Indexed(first)) = pieces.first().map(Column::form) else { return None };
    let same = |piece: &Column| match piece.form() {
        Form::Indexed(other) => Arc::ptr_eq(&first.base, &other.base),
        _ => false,
    };
    pieces.iter().all(same).then_some(first)
}

/// Copies the bytes that views refer to, which frees the pages they are in.
fn compact_views(array: ArrayRef) -> ArrayRef {
    match array.data_type() {
        DataType::Utf8View => Arc::new(array.as_string_view().gc()),
        DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
        _ => array,
    }
}
