//! The library as programs use it.
//!
//! * `functions`: functions of the program's own; `aggregates`: and aggregates.
//! * `sources`: its own sources and sinks.
//! * `builder`: frames beside the same SQL.
//! * `concurrent`: one session, several threads.
//! * `data`: tables, and results as text.

mod aggregates;
mod builder;
mod concurrent;
mod data;
mod functions;
mod sources;
