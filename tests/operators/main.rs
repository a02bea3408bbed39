//! The engine's operators, by plans and by themselves, beside their naive meaning.
//!
//! * `plans`: random plans; `expressions`: random expressions; `windows`: random windows.
//! * `joins`: joins that spill.
//! * `streaming`: the operators that hold nothing.

mod expressions;
mod joins;
mod plans;
mod streaming;
mod windows;
