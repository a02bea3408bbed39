//! What is true about one operator, in one place.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::build::{Build, Stream};
use crate::error::{Error, Result};

/// One line of an operator's explanation: a label and its text, e.g. `keys` and `#0, #1`.
pub type Field = (&'static str, String);

/// How an operator takes the rows of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intake {
    /// Those of its only input as they come: it keeps none and waits for nothing but its turn in
    /// the order.
    Passes,
    /// All those of its only input before one comes out; it waits for nothing else.
    Collects,
    /// In another way.
    Other,
}

/// An operator as plain data; see the module documentation of [`crate::plan`]. Rules of the planner
/// that are about one operator find it through [`Any`].
pub trait Spec: Any + Send + Sync + fmt::Debug {
    /// Its name in plans, e.g. `hash_join`.
    fn name(&self) -> &'static str;

    /// The schema it gives for inputs of these schemas; checks its own fields against them.
    ///
    /// # Errors
    /// `Internal` when the planner put together what does not fit.
    fn schema(&self, inputs: &[SchemaRef]) -> Result<SchemaRef>;

    /// What explain prints about it, in order.
    fn explain(&self) -> Vec<Field>;

    /// Its fields as JSON.
    ///
    /// # Errors
    /// `Input` when it holds a closure that is not registered by name.
    fn to_json(&self) -> Result<Value>;

    /// How it takes the rows of its inputs.
    fn intake(&self) -> Intake {
        Intake::Other
    }

    /// Whether it gives the same rows once more when it is built again over inputs that do.
    fn is_repeatable(&self) -> bool {
        false
    }

    /// Appends its roles to the streams of its inputs.
    ///
    /// # Errors
    /// `Io` or `Input` when a file cannot be opened or is not what the plan says.
    fn build(&self, inputs: Vec<Stream>, build: &mut Build) -> Result<Stream>;
}

/// Schemas or streams of an operator's inputs, as many as `who` takes.
///
/// # Errors
/// `Internal` when they are more or fewer.
pub fn take_inputs<const N: usize, T>(given: Vec<T>, who: &str) -> Result<[T; N]> {
    let count = given.len();
    let inputs = <[T; N]>::try_from(given);
    inputs.map_err(|_| Error::internal(format!("{who} takes {N} inputs, not {count}")))
}

/// Reads a spec that is plain serde data; for registry rows.
///
/// # Errors
/// `Input` when the fields are not those of `S`.
pub fn from_fields<S: Spec + DeserializeOwned + 'static>(fields: Value) -> Result<Arc<dyn Spec>> {
    from_fields_with(fields, |_: &mut S| Ok(()))
}

/// As [`from_fields`], for a spec that names functions: `resolve` finds them.
///
/// # Errors
/// As there, and those of `resolve`.
pub fn from_fields_with<S: Spec + DeserializeOwned + 'static>(
    fields: Value,
    resolve: impl FnOnce(&mut S) -> Result<()>,
) -> Result<Arc<dyn Spec>> {
    let mut spec: S = serde_json::from_value(fields).map_err(|e| Error::input(e.to_string()))?;
    resolve(&mut spec)?;
    Ok(Arc::new(spec))
}

/// Writes a spec that is plain serde data; for [`Spec::to_json`].
///
/// # Errors
/// `Input` when it holds something that has no JSON form.
pub fn to_fields(spec: &impl Serialize) -> Result<Value> {
    serde_json::to_value(spec).map_err(|e| Error::input(e.to_string()))
}
