//! Kernels: functions over whole arrays, ignorant of chunks and selections.
//!
//! A kernel gets [`Operand`]s and a row count and computes every row. One that can fail fails when
//! any row with non-NULL operands does; the evaluator then tries again with the live rows only. So
//! a kernel may compute garbage fast and look for trouble afterwards.
//!
//! * `rows`: loops over one or two operands, each an array or a constant; packing of Booleans.
//! * `native`: the short list of physical types with kernels of their own.
//! * `arithmetic`, `decimal`, `narrow`, `temporal`: numbers, dates and times.
//! * `compare`, `text_compare`, `in_list`, `pattern`: predicates.
//! * `cast`: conversions; `moment_text`: from texts to moments.
//! * `merge`: one column out of parts of several.
//!
//! What is not on the short list takes arrow's kernels.

pub(super) mod arithmetic;
pub(super) mod cast;
pub(super) mod compare;
mod decimal;
pub(super) mod in_list;
pub(super) mod merge;
mod moment_text;
mod narrow;
mod native;
pub(super) mod pattern;
mod rows;
mod temporal;
mod text_compare;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Datum, Scalar};
use arrow::buffer::NullBuffer;
use arrow::datatypes::DataType;

pub use decimal::{nearest_double, nearest_float};
pub use moment_text::{in_units, is_time, not_a_time, with_seconds};
pub use temporal::in_coarser_unit;

/// A kernel's input: one value a row, or one for all rows.
#[derive(Debug, Clone)]
pub(super) struct Operand {
    /// The values; exactly one when constant.
    pub array: ArrayRef,
    /// Whether the one value stands for every row.
    pub constant: bool,
}

impl Operand {
    /// Whether every row is NULL.
    pub fn is_all_null(&self) -> bool {
        match self.array.data_type() {
            DataType::Null => true,
            _ => self.constant && self.array.is_null(0),
        }
    }

    /// The NULLs of an operand that is not constant.
    pub fn nulls(&self) -> Option<&NullBuffer> {
        if self.constant { None } else { self.array.nulls() }
    }
}

/// Arrow's kernels take constants as scalars.
enum ArrowOperand {
    Array(ArrayRef),
    Scalar(Scalar<ArrayRef>),
}

impl From<&Operand> for ArrowOperand {
    fn from(operand: &Operand) -> Self {
        let array = Arc::clone(&operand.array);
        if operand.constant {
            ArrowOperand::Scalar(Scalar::new(array))
        } else {
            ArrowOperand::Array(array)
        }
    }
}

impl Datum for ArrowOperand {
    fn get(&self) -> (&dyn Array, bool) {
        match self {
            ArrowOperand::Array(array) => (array.as_ref(), false),
            ArrowOperand::Scalar(scalar) => scalar.get(),
        }
    }
}

/// The NULLs of a result that is NULL wherever an operand is; constant operands are not NULL.
fn union_nulls(left: &Operand, right: &Operand) -> Option<NullBuffer> {
    NullBuffer::union(left.nulls(), right.nulls())
}
