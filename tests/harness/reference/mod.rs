//! The naive meaning of expressions and plans: one row at a time, values in an enum, nested loops,
//! and no kernel, hash table or key encoding of the engine.
//!
//! * `value`: values, their order and equality, and reading them out of Arrow arrays.
//! * `expr`: expressions; `pattern`: LIKE.
//! * `plan`: relational operators over vectors of rows; `window`: window functions.

pub mod expr;
pub mod pattern;
pub mod plan;
pub mod value;
pub mod window;
