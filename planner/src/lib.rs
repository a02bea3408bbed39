//! Gristmill, the library: SQL programs over Parquet, CSV, JSON and Arrow files inside a memory
//! budget.
//!
//! A [`Session`] has tables and an engine to run statements on. The way of a statement: `sql`
//! parses it, binds its names and runs the borrowed rules; `prepare` puts these and the rules of
//! ours in order; `lower` makes the engine's plan of the result, which the engine runs.
//!
//! * `session`: tables, functions, settings, an engine; `rehearsal`: statements that are planned
//!   and not run; `parameters`: values for them.
//! * `statements`: what each kind of statement does.
//! * `catalog`: tables and views by name; `files`: files as tables; `format`: how files are
//!   written; `csv_options`: what is said about a CSV file in words; `stored`: tables that the
//!   session holds; `sources`: tables whose rows are the program's own.
//! * `sink`: sinks of the program's own.
//! * `sql`: DataFusion's SQL front end; `prepare`: a bound statement as optimized logical plans.
//! * `rules`: our rules, one a file; `join_order`: the order of inner joins; `statistics`: guesses
//!   at rows and distinct values; `fallible`: which expressions can fail.
//! * `lower`: from logical plans to the engine's; `functions`: functions of ours; `copy`: the sink
//!   behind COPY.
//! * `testing`: tables without rows, for unit tests.

#![forbid(unsafe_code)]

pub mod catalog;
mod copy;
mod csv_options;
mod fallible;
mod files;
mod format;
mod functions;
mod join_order;
mod lower;
mod parameters;
mod prepare;
mod rehearsal;
mod rules;
mod session;
mod sink;
mod sources;
pub mod sql;
mod statements;
mod statistics;
mod stored;
#[cfg(test)]
mod testing;

pub use arrow;
pub use csv_options::csv_options;
pub use functions::{
    Accumulator, AggregateDef, AggregateFunction, Arguments, GroupStates, ScalarDef, ScalarFunction,
};
pub use gristmill_engine::observe::input_bytes;
pub use gristmill_engine::query::Running;
pub use gristmill_engine::scheduler::Cancel;
pub use gristmill_engine::sinks::{CsvText, Output as OutputFile, plain_batch, plain_schema};
pub use gristmill_engine::sources::csv::CsvOptions;
pub use gristmill_engine::sources::json::JsonOptions;
pub use gristmill_engine::sources::{BatchSource, Batches};
pub use gristmill_engine::{Error, Position, Result, memory};
pub use parameters::{Parameter, Parameters};
pub use rehearsal::{Outline, Rehearsal};
pub use session::{Config, Session};
pub use sink::BatchSink;
pub use sql::Statement;
