//! The builder: queries as values, put together step by step.
//!
//! A frame is a tree of steps; nothing is looked up before its rows are asked for. Then each step
//! becomes a small statement over the plans of the steps before it, and the whole is planned as one
//! query: a frame means what the SQL means that it stands for.
//!
//! * `frame`: frames and their steps; `begin`: where frames begin.
//! * `results`: rows, files, plans.
//! * `expr`: expressions; `terms`: what they begin with.
//! * `step`: the tree; `bind`: steps as bound plans; `join`: joins.

mod begin;
mod bind;
mod expr;
mod frame;
mod join;
mod results;
mod step;
mod terms;

pub use expr::{Expr, Exprs};
pub use frame::DataFrame;
pub use join::{JoinKind, Pairs};
pub use results::WriteOptions;
pub(crate) use step::Step;
pub use terms::{LitValue, call, col, count_rows, lit, sql_expr};
