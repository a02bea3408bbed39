//! What the tests share: a seeded generator, random tables, the naive meaning of plans, and what
//! any bytes must do.

pub mod fuzzed;
pub mod generate;
pub mod plans;
pub mod random;
pub mod reference;
pub mod table_source;
pub mod windows;
