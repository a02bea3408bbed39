//! Gristmill, the library: SQL programs over Parquet, CSV, JSON and Arrow files inside a memory
//! budget.
//!
//! ```
//! use std::sync::Arc;
//!
//! use gristmill::arrow::array::{AsArray, Float64Array};
//! use gristmill::arrow::datatypes::{DataType, Float64Type};
//! use gristmill::{Config, JoinKind, Result, ScalarDef, Session, col};
//!
//! fn main() -> Result<()> {
//!     let session = Session::new(Config {
//!         memory_limit: Some(256 << 20),
//!         ..Config::default()
//!     })?;
//!
//!     // SQL: programs of statements, and queries whose rows are Arrow batches.
//!     session.run_script(
//!         "create table cities as select * from (values
//!              (1, 'Oslo', 59.9), (2, 'Quito', -0.2), (3, 'Perth', -31.9)) t(id, name, latitude);
//!          create table trips as select * from (values
//!              (1, 40.0), (1, 50.0), (3, 68.0)) t(city, fahrenheit)",
//!     )?;
//!     for batch in session.sql("select name from cities where latitude < 0 order by name")? {
//!         println!("{} cities", batch?.num_rows());
//!     }
//!
//!     // A function of one's own, in Rust.
//!     let double = DataType::Float64;
//!     session.register_scalar(ScalarDef::new(
//!         "celsius",
//!         [double.clone()],
//!         double,
//!         |arguments, _rows| {
//!             let degrees = arguments[0].as_primitive::<Float64Type>().iter();
//!             let celsius = degrees.map(|f| f.map(|f| (f - 32.0) / 1.8));
//!             Ok(Arc::new(celsius.collect::<Float64Array>()))
//!         },
//!     ))?;
//!
//!     // The builder: the same queries, step by step.
//!     let warmest = session
//!         .table("trips")
//!         .aggregate("city", "max(celsius(fahrenheit)) as celsius")
//!         .join(session.table("cities"), JoinKind::Inner, [("city", "id")])
//!         .filter(col("celsius").gt(5))
//!         .select(["name", "celsius"])
//!         .sort("name");
//!     assert_eq!(warmest.show(10)?, "\
//! +-------+---------+
//! | name  | celsius |
//! +-------+---------+
//! | Oslo  | 10.0    |
//! | Perth | 20.0    |
//! +-------+---------+");
//!     Ok(())
//! }
//! ```
//!
//! * Tables are files ([`Session::register`] and its like, or by their paths in SQL), what
//!   statements make, [batches](Session::register_batches), or [sources](BatchSource) of one's own.
//! * Functions of one's own are [`ScalarFunction`]s and [`AggregateFunction`]s, most easily made by
//!   [`ScalarDef`] and [`AggregateDef`].
//! * Rows come as [`arrow`] batches: [all](Session::collect), [as they are made](Session::sql), or
//!   into a [sink](BatchSink) of one's own. Strings are `Utf8View` in them; [`plain_batch`] makes
//!   `Utf8` of that.
//! * A session is used by reference from as many threads as one likes.
//!
//! # The parts of this crate
//!
//! A [`Session`] has tables and an engine to run statements on. The way of a statement: `sql`
//! parses it, binds its names and runs the borrowed rules; `prepare` puts these and the rules of
//! ours in order; `lower` makes the engine's plan of the result, which the engine runs.
//!
//! * `session`: tables, functions, settings, an engine; `rehearsal`: statements that are planned
//!   and not run; `parameters`: values for them.
//! * `dataframe`: the builder.
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
mod dataframe;
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
pub use dataframe::{
    DataFrame, Expr, Exprs, JoinKind, LitValue, Pairs, WriteOptions, call, col, count_rows, lit,
    sql_expr,
};
pub use functions::{
    Accumulator, AggregateDef, AggregateFunction, Arguments, GroupStates, ScalarDef, ScalarFunction,
};
pub use gristmill_engine::moment_format::formatter;
pub use gristmill_engine::observe::input_bytes;
pub use gristmill_engine::panics::tell_uncaught_only as tell_uncaught_panics_only;
pub use gristmill_engine::query::{Running, cores};
pub use gristmill_engine::scheduler::Cancel;
pub use gristmill_engine::sinks::{
    CsvText, JsonText, Output as OutputFile, json_key, json_values, parquet_schema, plain_batch,
    plain_schema,
};
pub use gristmill_engine::sources::csv::CsvOptions;
pub use gristmill_engine::sources::json::JsonOptions;
pub use gristmill_engine::sources::{BatchSource, Batches};
pub use gristmill_engine::{Error, Position, Result, memory};
pub use parameters::{Parameter, Parameters};
pub use rehearsal::{Outline, Rehearsal};
pub use session::{Config, Session};
pub use sink::BatchSink;
pub use sql::Statement;

/// The program in README.md is run as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
