//! Lowers what the borrowed front end gives into the engine's plan.
//!
//! * `expr`, `literal`: expressions with column positions, resolved types and exact constants.
//! * `scalar_function`: the engine's function trait over the front end's functions.

mod expr;
mod literal;
mod scalar_function;

pub(crate) use expr::lower_expr;
pub(crate) use literal::lower_literal;
pub(crate) use scalar_function::{StringConcat, UdfFunction};
