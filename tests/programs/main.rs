//! Programs end to end, from their text to their results. They are one program of tests, because
//! each links all of the front end.
//!
//! * `sql`: the cases under `tests/sql`; `library`: the same from Rust.
//! * `formats`, `corrupt`: files as tables, whole and damaged; `copy`: files as results.
//! * `parameters`, `rehearsal`: values from outside; programs that are planned and not run.
//! * `statement_sets`, `analyze`: several outputs at once; what is measured while they run.
//! * `budgets`, `faults`: little memory, and disks that fail.
//! * `fuzz`: programs that are wrong.

mod analyze;
mod budgets;
mod copy;
mod corrupt;
mod faults;
mod formats;
mod fuzz;
mod library;
mod parameters;
mod rehearsal;
mod sql;
mod statement_sets;
