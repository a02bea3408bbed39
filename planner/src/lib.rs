//! Gristmill, the library: SQL programs over Parquet and CSV files inside a memory budget.

#![forbid(unsafe_code)]

pub mod catalog;
mod copy;
mod fallible;
mod files;
mod functions;
mod join_order;
mod lower;
mod prepare;
mod rules;
mod session;
pub mod sql;
mod statistics;
#[cfg(test)]
mod testing;

pub use gristmill_engine::query::Running;
pub use gristmill_engine::scheduler::Cancel;
pub use gristmill_engine::sinks::CsvText;
pub use gristmill_engine::{Error, Position, Result, memory};
pub use session::{Config, Session};
pub use sql::Statement;
