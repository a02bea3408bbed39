//! A function of the program's own under the name and with the arguments that it had when it was
//! registered: it is asked for them once.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion_expr::Signature;

use super::arguments::Arguments;

/// See the module documentation. Two are equal when they are one function.
pub(crate) struct Bound<F: ?Sized> {
    pub(super) name: String,
    pub(super) arguments: Arguments,
    pub(super) signature: Signature,
    pub(super) function: Arc<F>,
}

impl<F: ?Sized> Clone for Bound<F> {
    fn clone(&self) -> Self {
        Bound {
            name: self.name.clone(),
            arguments: self.arguments.clone(),
            signature: self.signature.clone(),
            function: self.function.clone(),
        }
    }
}

impl<F: ?Sized> fmt::Debug for Bound<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl<F: ?Sized> PartialEq for Bound<F> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.function, &other.function)
    }
}

impl<F: ?Sized> Eq for Bound<F> {}

impl<F: ?Sized> Hash for Bound<F> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}
