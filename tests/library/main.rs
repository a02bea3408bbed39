//! The library as programs use it.
//!
//! * `functions`: functions of the program's own; `aggregates`: and aggregates.
//! * `sources`: its own sources and sinks.
//! * `concurrent`: one session, several threads.
//! * `data`: tables, and results as text.

mod aggregates;
mod concurrent;
mod data;
mod functions;
mod sources;
