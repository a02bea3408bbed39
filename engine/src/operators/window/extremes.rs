//! `min` and `max`: which of two values is kept.

use arrow::array::ArrayRef;

use super::forms::Form;
use super::totals::Combine;
use crate::error::Result;

/// The least or greatest value.
pub(super) struct Extreme<F> {
    pub(super) form: F,
    pub(super) greatest: bool,
}

impl<F: Form> Combine for Extreme<F> {
    type Value = F::Value;
    type Total = F::Key;

    fn one(&self, value: F::Value) -> F::Key {
        self.form.key(value)
    }

    fn both(&self, a: &F::Key, b: &F::Key) -> Option<F::Key> {
        Some(if self.greatest { a.max(b) } else { a.min(b) }.clone())
    }

    fn bytes(&self, total: &F::Key) -> usize {
        self.form.bytes(total)
    }

    fn results(&self, totals: Vec<Option<F::Key>>, _: Vec<i64>) -> Result<ArrayRef> {
        self.form.values(totals)
    }
}
