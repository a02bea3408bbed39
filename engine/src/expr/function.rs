//! The traits for functions that are not built in, and the names they have in plans.
//!
//! A function gets compact arrays of the declared (logical) types and nothing else: no selections,
//! no indices, no narrow decimals. Plans know functions by registered name; a closure that was
//! never registered runs, but its plan cannot be exported.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::literal::Literal;
use super::room::Growth;
use super::sizes::bytes_taken;
use crate::error::{Error, Result};

/// An argument of a [`ScalarFunction`], of the declared type.
#[derive(Debug, Clone)]
pub enum Argument {
    /// One value per row.
    Array(ArrayRef),
    /// One value for all rows: an array of length one.
    Constant(ArrayRef),
}

/// A function from the values of a row to a value.
pub trait ScalarFunction: Send + Sync {
    /// Its registered name.
    fn name(&self) -> &str;

    /// Whether equal arguments may give different results (`random()`).
    fn is_volatile(&self) -> bool {
        false
    }

    /// Whether it can fail on some argument; if so it only ever sees live rows.
    fn is_fallible(&self) -> bool {
        true
    }

    /// Whether it writes constants out, once for each row: lists take that much room then while it
    /// runs.
    fn writes_constants(&self) -> bool {
        true
    }

    /// Bytes that the results for these arguments take, where their type does not say it (texts,
    /// binaries, lists): what the rows are given room for before the function is called, so it
    /// should not be less than they take; what they took beyond it is noticed when they are made.
    /// Without anything better: what the arguments take, constants once.
    fn result_bytes(&self, args: &[Argument], rows: usize) -> usize {
        let _ = rows;
        bytes_taken(args, 1)
    }

    /// The results for `rows` rows: an array of length `rows` and of type `returns`.
    ///
    /// # Errors
    /// `Input` for arguments it is not defined on.
    fn invoke(&self, args: &[Argument], rows: usize, returns: &DataType) -> Result<ArrayRef>;

    /// The same for a function whose results of one row can be more than memory has room for, and
    /// are made bit by bit: it takes room while they grow. This is what evaluations call.
    ///
    /// # Errors
    /// As [`ScalarFunction::invoke`], and those of [`Growth::reach`].
    fn invoke_growing(
        &self,
        args: &[Argument],
        rows: usize,
        returns: &DataType,
        growth: &Growth<'_>,
    ) -> Result<ArrayRef> {
        let _ = growth;
        self.invoke(args, rows, returns)
    }
}

/// An aggregate that is not built in.
pub trait AggregateFunction: Send + Sync {
    /// Its registered name.
    fn name(&self) -> &str;

    /// Empty states for arguments of these types, made with these constants.
    ///
    /// # Errors
    /// `Input` for types or constants that it is not defined for.
    fn states(
        &self,
        args: &[DataType],
        parameters: &[Literal],
        returns: &DataType,
    ) -> Result<Box<dyn GroupStates>>;
}

/// The states of one aggregate for groups numbered from 0.
pub trait GroupStates: Send {
    /// Adds rows: row `i` belongs to group `groups[i] < group_count`.
    fn update(
        &mut self,
        args: &[ArrayRef],
        groups: &[u32],
        filter: Option<&BooleanArray>,
        group_count: usize,
    ) -> Result<()>;

    /// Adds states of the same function, as [`GroupStates::state`] gave them.
    fn merge(&mut self, states: &[ArrayRef], groups: &[u32], group_count: usize) -> Result<()>;

    /// Takes all states out, as columns with a row per group.
    fn state(&mut self) -> Result<Vec<ArrayRef>>;

    /// Takes all results out, a row per group.
    fn evaluate(&mut self) -> Result<ArrayRef>;

    /// Bytes held.
    fn size_bytes(&self) -> usize;
}

/// All functions that plans may name.
#[derive(Clone, Default)]
pub struct Functions {
    scalars: HashMap<String, Arc<dyn ScalarFunction>>,
    aggregates: HashMap<String, Arc<dyn AggregateFunction>>,
}

impl Functions {
    /// Registers a scalar function under its name; the last one wins.
    pub fn register_scalar(&mut self, function: Arc<dyn ScalarFunction>) {
        self.scalars.insert(function.name().to_string(), function);
    }

    /// Registers an aggregate under its name; the last one wins.
    pub fn register_aggregate(&mut self, function: Arc<dyn AggregateFunction>) {
        self.aggregates.insert(function.name().to_string(), function);
    }

    /// The scalar function of that name.
    ///
    /// # Errors
    /// `Input` when there is none.
    pub fn scalar(&self, name: &str) -> Result<Arc<dyn ScalarFunction>> {
        self.scalars.get(name).cloned().ok_or_else(|| not_registered(name))
    }

    /// The aggregate of that name.
    ///
    /// # Errors
    /// `Input` when there is none.
    pub fn aggregate(&self, name: &str) -> Result<Arc<dyn AggregateFunction>> {
        self.aggregates.get(name).cloned().ok_or_else(|| not_registered(name))
    }
}

fn not_registered(name: &str) -> Error {
    Error::input(format!(
        "function `{name}` is not registered; register it before reading the plan"
    ))
}

macro_rules! by_name {
    ($(#[$doc:meta])* $reference:ident, $function:ident, $lookup:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $reference {
            name: String,
            registered: bool,
            function: Option<Arc<dyn $function>>,
        }

        impl $reference {
            /// A function that other processes find under its name.
            pub fn registered(function: Arc<dyn $function>) -> Self {
                let name = function.name().to_string();
                Self { name, registered: true, function: Some(function) }
            }

            /// A function that exists in this process only: its plan cannot be exported.
            pub fn closure(function: Arc<dyn $function>) -> Self {
                let name = function.name().to_string();
                Self { name, registered: false, function: Some(function) }
            }

            /// Its name.
            pub fn name(&self) -> &str {
                &self.name
            }

            /// Finds the function, after the reference was read from a plan.
            ///
            /// # Errors
            /// `Input` when no function has that name.
            pub fn resolve(&mut self, functions: &Functions) -> Result<()> {
                if self.function.is_none() {
                    self.function = Some(functions.$lookup(&self.name)?);
                }
                Ok(())
            }

            /// The function.
            ///
            /// # Errors
            /// `Internal` when the reference was read from a plan and never resolved.
            pub fn get(&self) -> Result<&Arc<dyn $function>> {
                self.function.as_ref().ok_or_else(|| {
                    Error::internal(format!("function `{}` was not resolved", self.name))
                })
            }
        }

        impl fmt::Debug for $reference {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.name)
            }
        }

        impl PartialEq for $reference {
            fn eq(&self, other: &Self) -> bool {
                self.name == other.name
            }
        }

        impl Serialize for $reference {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                if !self.registered {
                    return Err(serde::ser::Error::custom(format!(
                        "function `{}` is a closure that is not registered; register it by name \
                         to export the plan",
                        self.name
                    )));
                }
                to.serialize_str(&self.name)
            }
        }

        impl<'de> Deserialize<'de> for $reference {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let name = String::deserialize(from)?;
                Ok(Self { name, registered: true, function: None })
            }
        }
    };
}

by_name!(
    /// A scalar function in a plan.
    FunctionRef,
    ScalarFunction,
    scalar
);
by_name!(
    /// An aggregate function in a plan.
    AggregateRef,
    AggregateFunction,
    aggregate
);
