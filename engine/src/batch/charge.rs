//! What long values are charged to, which goes where they go.
//!
//! A source that makes values of more bytes than its taker should have uncharged hands over a part
//! of its reservation with the column that holds them. The rule is: **one charge for the values,
//! as long as any column holds them, and nobody else charges for them.**
//!
//! 1. Clones, slices, reindexed columns and the branches of a fork share values, and the charge
//!    with them; what was given back is free when the last of them is dropped, which may be on
//!    another thread. So the maker does not keep it, and need not be told when its taker is done.
//! 2. Who only reads a column asks for nothing. Who copies values asks for the copy.
//! 3. Who keeps arrays of a column beyond the column keeps its charge too ([`Charge`] is cheap to
//!    clone), and asks only for what it does not cover; or drops the column, and asks anew.
//! 4. A charge may cover less than the values take, never more: what a reservation could not get,
//!    and what its owner needs back, is asked for by who keeps the values.
//! 5. A charge is for the values of one column. Columns computed from others have charges of their
//!    own, if any.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

/// Bytes that are set aside until this is dropped.
pub trait SetAside: Send + Sync {
    /// How many they are.
    fn bytes(&self) -> usize;
}

/// A charge that several columns share; see the module documentation.
#[derive(Clone)]
pub struct Charge(Arc<dyn SetAside>);

impl Charge {
    /// A charge of these bytes.
    pub fn new(bytes: impl SetAside + 'static) -> Charge {
        Charge(Arc::new(bytes))
    }

    /// How many bytes are set aside.
    pub fn bytes(&self) -> usize {
        self.0.bytes()
    }
}

impl fmt::Debug for Charge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charge({} bytes)", self.bytes())
    }
}

/// Whether an array holds on to values of another: it is the same, or has its texts.
pub(super) fn shares(array: &ArrayRef, values: &ArrayRef) -> bool {
    let texts = |array: &ArrayRef| match array.data_type() {
        DataType::Utf8View => array.as_string_view().data_buffers().to_vec(),
        DataType::BinaryView => array.as_binary_view().data_buffers().to_vec(),
        _ => Vec::new(),
    };
    if Arc::ptr_eq(array, values) {
        return true;
    }
    let of_values = texts(values);
    texts(array).iter().any(|own| of_values.iter().any(|other| own.ptr_eq(other)))
}
