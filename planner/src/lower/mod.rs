//! Lowers what the borrowed front end gives into the engine's plan.
//!
//! * `expr`, `literal`: expressions with column positions, resolved types and exact constants.
//! * `plan`: relational nodes; `join`: joins, `join_keys`: what they agree on; `aggregate`: groups
//!   and aggregates; `window`: window functions.
//! * `columns`: what a projection below a node computes.
//! * `lambda`: functions that take a lambda.
//! * `scalar_function`: the engine's function trait over the front end's functions.

mod aggregate;
mod columns;
mod expr;
mod join;
mod join_keys;
mod lambda;
mod literal;
mod plan;
mod scalar_function;
mod window;

pub(crate) use literal::lower_literal;
pub(crate) use plan::lower_prepared;
