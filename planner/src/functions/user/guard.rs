//! Calls of code that is not ours: panics become errors, and results are checked.

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use datafusion_common::DataFusionError;
use gristmill_engine::panics::caught;
use gristmill_engine::{Error, Result};

/// Runs a call of the function `name`.
///
/// # Errors
/// Those of the call, with the function's name in front; `Input` when it panics.
pub(super) fn guarded<T>(name: &str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    match caught(call) {
        Ok(Err(Error::Input { message, position })) => {
            Err(Error::Input { message: format!("{name}: {message}"), position })
        }
        Ok(result) => result,
        Err(panic) => {
            let said = panic.message.as_deref().unwrap_or("no message");
            Err(Error::input(format!("the function {name} panicked: {said}")))
        }
    }
}

/// Checks what a function gave.
///
/// # Errors
/// `Input` when it is not `rows` values of this type.
pub(super) fn checked(name: &str, given: &ArrayRef, rows: usize, wanted: &DataType) -> Result<()> {
    if given.len() == rows && given.data_type() == wanted {
        return Ok(());
    }
    Err(Error::input(format!(
        "the function {name} gave {} values of {} where it was to give {rows} of {wanted}",
        given.len(),
        given.data_type(),
    )))
}

/// An error of ours on its way through the front end.
pub(in crate::functions) fn to_front_end(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
