//! The library as programs use it.
//!
//! * `functions`: functions of the program's own; `aggregates`: and aggregates.
//! * `sources`: its own sources and sinks.
//! * `builder`: frames beside the same SQL.
//! * `concurrent`: one session, several threads.
//! * `long_values`: long texts and lists in little memory.
//! * `data`: tables, and results as text.

mod aggregates;
mod builder;
mod concurrent;
mod data;
mod functions;
mod long_values;
mod sources;
